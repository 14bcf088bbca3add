/*
 * The start of a created container. runc's init waits until somebody opens the fifo it writes to (runc's state
 * directory, exec.fifo), then becomes the container's program. `runc start` is a Go program of 5 ms that does no more
 * than read it and remove it; kogge-pause does the same in less. It is a process of its own, as runc would be, because
 * an init whose reader is killed before the byte has passed dies. Other runtimes (crun's init reads its fifo), and a
 * runc that has none, are asked themselves.
 *
 * The rest of the way from nothing to running is mostly `runc create`: two starts of a Go program, control groups
 * (whose waits cgroup_move.c takes out of the way) and mounts. `scripts/bench pods` shows it beside a bare `runc run`.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "oci.h"

struct starting {
  kg_msg_t *request;
};

static void start_forget(container_t *c) {
  starting_t *s = c->start;
  if (!s) return;
  c->start = NULL;
  kg_msg_unref(s->request);
  free(s);
}

void start_end(container_t *c, const char *why) {
  if (c->start && why) kg_fail(c->oci->ctx, c->start->request, KG_ECONFLICT, "container %s: %s", c->id, why);
  start_forget(c);
}

static void reply_started(const container_t *c, const kg_msg_t *m) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "started", c->started_us);
  kg_pack_kv_int(&p, "pid", c->pid);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(c->oci->ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

static void start_failed(container_t *c, const char *said) {
  char *text = runc_message(said);
  kg_fail(c->oci->ctx, c->start->request, KG_EINTERNAL, "failed to start container: %s", text);
  free(text);
  start_forget(c);
  container_kill(c, SIGKILL);
  if (c->state != C_EXITED) container_ended(c, 128, "StartError");
}

static void fifo_path(const container_t *c, char path[PATH_SIZE]) {
  snprintf(path, PATH_SIZE, "%s/runc/%s/exec.fifo", c->oci->run, c->id);
}

static void start_done(container_t *c) {
  oci_t *o = c->oci;
  kg_error_t err;
  /* It may have ended already: then the order of events is kept, started before exited. */
  c->started_us = kg_wall_us(o->ctx);
  c->state = C_RUNNING;
  if (record_container(o, c, &err) < 0) kg_log(o->ctx, KG_LOG_WARN, "container %s: %s", c->id, err.text);
  reply_started(c, c->start->request);
  start_forget(c);
  watchers_tell(o, c, "started");
  container_reap(c);
}

/* It was started, and kogge died before it wrote that down: its process is runc's no more, or its fifo was read. */
static bool has_begun(const container_t *c) {
  char fifo[PATH_SIZE];
  fifo_path(c, fifo);
  if (c->begun && access(fifo, F_OK) < 0) return true;
  return c->pid > 0 && kill(c->pid, 0) == 0 && !container_is_runc(c);
}

static void started(oci_t *o, const proc_end_t *end, void *arg) {
  char *id = arg;
  container_t *c = container_find(o, kg_str(id));
  free(id);
  if (!c || !c->start) return;
  if (end->code)
    start_failed(c, *end->err ? end->err : "the container process is already dead");
  else
    start_done(c);
}

static int start_begin(container_t *c, kg_error_t *err) {
  oci_t *o = c->oci;
  char fifo[PATH_SIZE], root[PATH_SIZE], pause[PATH_SIZE], pid[16], *id = strdup(c->id);
  fifo_path(c, fifo);
  snprintf(root, sizeof root, "%s/runc", o->run);
  snprintf(pid, sizeof pid, "%d", (int)c->pid);
  const char *const by_runc[] = {container_program(c), "--root", root, "start", c->id, NULL};
  const char *const by_pause[] = {pause, fifo, pid, NULL};
  bool own = !strcmp(c->kind, "runc") && access(fifo, F_OK) == 0 && pause_find(pause, NULL) == 0;
  if (id && proc_run(o, own ? by_pause : by_runc, NULL, started, id, err) == 0) return 0;
  free(id);
  return -1;
}

void container_start(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  oci_t *o = self;
  kg_error_t err = {.code = KG_EINTERNAL, .text = "out of memory"};
  container_t *c = container_find(o, kg_view_str(kg_view_get(kg_msg_args(m), "id")));
  if (!c || c->creating) return kg_fail(ctx, m, KG_ENOTFOUND, "there is no such container");
  if (c->started_us) return reply_started(c, m);
  if (c->start) return kg_fail(ctx, m, KG_EUNAVAILABLE, "container %s is being started", c->id);
  if (c->state == C_EXITED) return kg_fail(ctx, m, KG_ECONFLICT, "container %s has ended", c->id);
  c->start = calloc(1, sizeof *c->start);
  if (!c->start) return kg_fail(ctx, m, err.code, "%s", err.text);
  *c->start = (starting_t){.request = kg_msg_ref(m)};
  if (has_begun(c)) return start_done(c);
  c->begun = true; /* written down first: what may have run is never made anew */
  if (record_container(o, c, &err) < 0) kg_log(ctx, KG_LOG_WARN, "container %s: %s", c->id, err.text);
  if (start_begin(c, &err) == 0) return;
  kg_fail(ctx, m, err.code, "%s", err.text);
  start_forget(c);
}
