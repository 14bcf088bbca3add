/*
 * Logs of containers do not grow without bound: one that is too big gets another name, its writer begins a new one, and
 * the oldest goes. Configuration: containerLogMaxSize (10Mi), containerLogMaxFiles (5), containerLogMonitorInterval
 * (10s).
 */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "node.h"

enum { PATH_SIZE = 4096, LEAST_FILES = 2 };

static int64_t most_bytes(const agent_t *a) {
  int64_t bytes;
  kg_str_t s = VIEW_STR(kg_config(a->ctx), "containerLogMaxSize");
  return s.n && !kube_quantity_value(s, &bytes) && bytes > 0 ? bytes : 10 << 20;
}

static int64_t most_files(const agent_t *a) {
  int64_t n = kg_view_int(kg_view_get(kg_config(a->ctx), "containerLogMaxFiles"), 5);
  return n < LEAST_FILES ? LEAST_FILES : n;
}

static int64_t interval_ms(const agent_t *a) {
  return config_ms(a, "containerLogMonitorInterval", 10000);
}

/* Its older files, named after the time they were put aside; so many stay beside the one being written. */
static void drop_oldest(const char *path, int64_t stay) {
  char pattern[PATH_SIZE + 4];
  glob_t g = {0};
  snprintf(pattern, sizeof pattern, "%s.*", path);
  if (!glob(pattern, 0, NULL, &g))
    for (size_t i = 0; (int64_t)i < (int64_t)g.gl_pathc - stay; i++) unlink(g.gl_pathv[i]); /* sorted by name */
  globfree(&g);
}

static void reopened(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self, (void)arg;
  if (kg_msg_type(m) == KG_MSG_ERROR) kg_log(ctx, KG_LOG_WARN, "a log was not rotated: %s", kg_msg_text(m));
}

static void rotate(const box_t *b, const char *path) {
  agent_t *a = b->pod->agent;
  char aside[PATH_SIZE + 64], stamp[32];
  int64_t us = kg_wall_us(a->ctx);
  time_t s = (time_t)(us / 1000000);
  struct tm tm;
  gmtime_r(&s, &tm);
  strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
  snprintf(aside, sizeof aside, "%s.%s.%06lld", path, stamp, (long long)(us % 1000000));
  drop_oldest(path, most_files(a) - 2);
  if (rename(path, aside))
    return kg_log(a->ctx, KG_LOG_WARN, "the log %s could not be rotated: %s", path, strerror(errno));
  agent_call(a, a->runtime, "runtime.container.reopenlog", id_args(b->id), reopened);
}

static void on_look(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  agent_t *a = self;
  char path[PATH_SIZE];
  struct stat st;
  int64_t most = most_bytes(a);
  bool any = false;
  for (const pod_t *p = a->list; p; p = p->next)
    for (size_t i = 0; i < p->nboxes; i++) {
      const box_t *b = p->boxes[i];
      if (b->state != BOX_RUNNING) continue;
      any = true;
      box_log_path(b, b->attempt, path, sizeof path);
      if (!stat(path, &st) && st.st_size > most) rotate(b, path);
    }
  a->rotate_timer = any ? kg_timer(ctx, interval_ms(a), 0, on_look, NULL) : 0;
}

void rotate_soon(agent_t *a) {
  if (!a->rotate_timer) a->rotate_timer = kg_timer(a->ctx, interval_ms(a), 0, on_look, NULL);
}
