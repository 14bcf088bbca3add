/* Requests that load, swap and unload: taken by the control plugin, done by the manager thread, answered in the lane
 * again. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "control.h"
#include "manager.h"
#include "pending.h"

void kg_control_command(kg_ctx_t *ctx, const kg_msg_t *m) {
  kg_kernel_t *k = ctx->k;
  kg_command_t *c = calloc(1, sizeof *c);
  if (!c) {
    kg_fail(ctx, m, KG_EFULL, "out of memory");
    return;
  }
  c->ctx = kg_ctx_ref(ctx);
  c->m = kg_msg_ref(m);
  pthread_mutex_lock(&k->command_lock);
  *k->last_command = c;
  k->last_command = &c->next;
  pthread_mutex_unlock(&k->command_lock);
  uint64_t one = 1;
  if (write(k->command_fd, &one, sizeof one) < 0) return; /* full: somebody will look anyway */
}

int kg_kernel_command_fd(kg_kernel_t *k) {
  return k->command_fd;
}

static void answer(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane;
  kg_msg_t *m = job->arg;
  if (atomic_load(&ctx->state) != KG_STOPPED && ctx->created) {
    if (job->err.code)
      kg_fail(ctx, m, job->err.code, "%s", job->err.text);
    else
      kg_reply(ctx, m, job->doc, NULL, 0);
  }
  kg_msg_unref(m);
}

static char *text_arg(const kg_msg_t *m, const char *key, kg_error_t *err) {
  kg_str_t s = kg_view_str(kg_view_get(kg_msg_args(m), key));
  if (!s.p || !s.n || memchr(s.p, 0, s.n)) {
    if (err) kg_error_set(err, KG_EINVAL, "%s needs the argument %s", kg_msg_topic(m), key);
    return NULL;
  }
  return kg_str_dup(s);
}

static kg_doc_t *pause_doc(int64_t pause_us) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "pause_us", pause_us);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static kg_doc_t *doc_arg(const kg_msg_t *m, const char *key) {
  kg_view_t v = kg_view_get(kg_msg_args(m), key);
  return kg_view_type(v) == KG_V_MAP ? kg_doc_copy(v.p, kg_view_span(v)) : NULL;
}

static void load(kg_kernel_t *k, const kg_msg_t *m, kg_job_t *job) {
  char *name = text_arg(m, "name", &job->err), *file = name ? text_arg(m, "file", &job->err) : NULL;
  char *lane = text_arg(m, "lane", NULL);
  kg_doc_t *config = doc_arg(m, "config");
  if (file && (!kg_cfg_good_name(name) || (lane && !kg_cfg_good_name(lane)))) {
    kg_error_set(&job->err, KG_EINVAL, "a name is of a-z, 0-9, - and _: not \"%s\"",
                 kg_cfg_good_name(name) ? lane : name);
  } else if (file) {
    pthread_mutex_lock(&k->manage);
    kg_plugin_spec_t spec = {
        .name = name, .file = file, .lane = lane, .config = config, .process = lane && strcmp(lane, "process") == 0};
    if (kg_load(k, &spec, true, &job->err) < 0) kg_error_prefix(&job->err, "plugin %s was not loaded", name);
    pthread_mutex_unlock(&k->manage);
  }
  kg_doc_unref(config);
  free(lane);
  free(file);
  free(name);
}

static void swap(kg_kernel_t *k, const kg_msg_t *m, kg_job_t *job) {
  char *name = text_arg(m, "name", &job->err), *file = name ? text_arg(m, "file", &job->err) : NULL;
  int64_t pause_us = 0;
  bool force = kg_view_bool(kg_view_get(kg_msg_args(m), "force"), false);
  int rc = !file   ? -1
           : force ? kg_kernel_swap_by_force(k, name, file, NULL, &pause_us, &job->err)
                   : kg_kernel_swap(k, name, file, NULL, &pause_us, &job->err);
  if (rc == 0) job->doc = pause_doc(pause_us);
  free(file);
  free(name);
}

static void by_name(kg_kernel_t *k, const kg_msg_t *m, kg_job_t *job) {
  char *name = text_arg(m, "name", &job->err);
  int64_t pause_us = 0;
  kg_doc_t *config;
  if (!name) return;
  if (strcmp(kg_msg_topic(m), "kernel.unload") == 0) {
    kg_kernel_unload(k, name, &job->err);
  } else if (strcmp(kg_msg_topic(m), "kernel.reload") == 0) {
    if (kg_kernel_reload(k, name, &pause_us, &job->err) == 0) job->doc = pause_doc(pause_us);
  } else if ((config = doc_arg(m, "config")) != NULL) {
    kg_kernel_configure(k, name, config, &job->err);
    kg_doc_unref(config);
  } else {
    kg_error_set(&job->err, KG_EINVAL, "kernel.configure needs the argument config, a map");
  }
  free(name);
}

/* An array of texts under `key`; the caller frees it and each of them. NULL if there is none. */
static char **list_arg(const kg_msg_t *m, const char *key) {
  kg_view_t list = kg_view_get(kg_msg_args(m), key);
  size_t n = 0, count = kg_view_count(list);
  char **out = calloc(count + 1, sizeof *out);
  for (kg_iter_t it = kg_iter(list); out && n < count && kg_iter_next(&it);) {
    kg_str_t s = kg_view_str(it.value);
    if (s.n && !memchr(s.p, 0, s.n) && (out[n] = kg_str_dup(s)) != NULL) n++;
  }
  return out;
}

static void free_list(char **list) {
  for (char **w = list; w && *w; w++) free(*w);
  free(list);
}

static void shadow(kg_kernel_t *k, const kg_msg_t *m, kg_job_t *job) {
  char *name = text_arg(m, "name", &job->err), *file = name ? text_arg(m, "file", &job->err) : NULL;
  char **reads = list_arg(m, "reads"), **ignore = list_arg(m, "ignore"), **by = list_arg(m, "by");
  kg_shadow_spec_t spec = {.name = name,
                           .file = file,
                           .reads = (const char *const *)reads,
                           .ignore = (const char *const *)ignore,
                           .by = (const char *const *)by,
                           .with_state = kg_view_bool(kg_view_get(kg_msg_args(m), "with_state"), false),
                           .isolated = kg_view_bool(kg_view_get(kg_msg_args(m), "isolated"), false),
                           .patience_ms = kg_view_int(kg_view_get(kg_msg_args(m), "patience_ms"), 0)};
  if (file) kg_kernel_shadow(k, &spec, &job->err);
  free_list(reads);
  free_list(ignore);
  free_list(by);
  free(file);
  free(name);
}

static void shadow_report(kg_kernel_t *k, const kg_msg_t *m, kg_job_t *job) {
  char *name = text_arg(m, "name", &job->err);
  bool stop = kg_view_bool(kg_view_get(kg_msg_args(m), "stop"), false);
  if (name) job->doc = kg_kernel_shadow_report(k, name, stop, &job->err);
  free(name);
}

static void run_command(kg_kernel_t *k, kg_command_t *c) {
  kg_job_t *job = kg_job_new(k);
  if (job) {
    if (strcmp(kg_msg_topic(c->m), "kernel.load") == 0)
      load(k, c->m, job);
    else if (strcmp(kg_msg_topic(c->m), "kernel.swap") == 0)
      swap(k, c->m, job);
    else if (strcmp(kg_msg_topic(c->m), "kernel.shadow") == 0)
      shadow(k, c->m, job);
    else if (strcmp(kg_msg_topic(c->m), "kernel.shadow_report") == 0)
      shadow_report(k, c->m, job);
    else
      by_name(k, c->m, job);
    job->fn = answer;
    job->arg = c->m;
    pthread_mutex_lock(&k->manage);
    kg_lane_post_from_manager(k, c->ctx->lane, (kg_parcel_t){.to = c->ctx, .job = job});
    pthread_mutex_unlock(&k->manage);
  }
  free(c);
}

void kg_kernel_run_commands(kg_kernel_t *k) {
  uint64_t n;
  if (read(k->command_fd, &n, sizeof n) < 0) n = 0;
  pthread_mutex_lock(&k->manage);
  kg_pending_look(k);
  pthread_mutex_unlock(&k->manage);
  for (;;) {
    pthread_mutex_lock(&k->command_lock);
    kg_command_t *c = k->commands;
    if (c && !(k->commands = c->next)) k->last_command = &k->commands;
    pthread_mutex_unlock(&k->command_lock);
    if (!c) return;
    run_command(k, c);
  }
}
