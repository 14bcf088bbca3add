/* The kernel as a whole: making, loading, unloading, ending. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "files.h"
#include "mail.h"
#include "manager.h"
#include "pending.h"
#include "registry.h"
#include "shade.h"
#include "sim.h"

#define PATIENCE_MS 1000 /* so long the start waits for a plugin on another machine */

/* --- making
 * ---------------------------------------------------------------------------------------------------------------- */

static int make_dir(const char *path, mode_t mode, kg_error_t *err) {
  char part[PATH_MAX];
  size_t n = strlen(path);
  if (n == 0 || n >= sizeof part || path[0] != '/')
    return kg_error_set(err, KG_EINVAL, "directory \"%s\" is no absolute path", path);
  memcpy(part, path, n + 1);
  for (char *p = part + 1; *p; p++) {
    if (*p != '/') continue;
    *p = 0;
    mkdir(part, 0755);
    *p = '/';
  }
  struct stat st;
  if (mkdir(part, mode) < 0 && errno != EEXIST)
    return kg_error_set(err, KG_EINVAL, "directory %s cannot be made: %s", path, strerror(errno));
  if (stat(part, &st) < 0 || !S_ISDIR(st.st_mode)) return kg_error_set(err, KG_EINVAL, "%s is no directory", path);
  return 0;
}

static char *without_slash(const char *path) {
  char *copy = strdup(path);
  for (size_t n = copy ? strlen(copy) : 0; n > 1 && copy[n - 1] == '/'; n--) copy[n - 1] = 0;
  return copy;
}

static int make_dirs(kg_kernel_t *k, const kg_kernel_options_t *o, kg_error_t *err) {
  char temporary[] = "/tmp/kogge-XXXXXX";
  if (!o->run_dir) {
    if (!mkdtemp(temporary))
      return kg_error_set(err, KG_EINVAL, "no directory can be made in /tmp: %s", strerror(errno));
    k->own_run_dir = true;
  }
  k->run_dir = without_slash(o->run_dir ? o->run_dir : temporary);
  k->data_dir = without_slash(o->data_dir ? o->data_dir : k->run_dir);
  if (!k->run_dir || !k->data_dir) return kg_error_set(err, KG_EFULL, "out of memory");
  if (make_dir(k->run_dir, 0700, err) < 0 || make_dir(k->data_dir, 0700, err) < 0) return -1;
  return 0;
}

static void set_limits(kg_kernel_t *k, const kg_kernel_options_t *o) {
  k->start_timeout_ms = o->start_timeout_ms ? o->start_timeout_ms : 30000;
  k->drain_timeout_ms = o->drain_timeout_ms ? o->drain_timeout_ms : 5000;
  k->trial_timeout_ms = o->trial_timeout_ms ? o->trial_timeout_ms : 10000;
  k->step_timeout_ms = o->step_timeout_ms ? o->step_timeout_ms : 10000;
  k->stuck_us = (o->stuck_ms ? o->stuck_ms : 1000) * 1000;
  k->budget_us = (o->budget_ms ? o->budget_ms : 50) * 1000;
}

static void init_locks(kg_kernel_t *k) {
  pthread_condattr_t a;
  pthread_condattr_init(&a);
  pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
  pthread_cond_init(&k->changed, &a);
  pthread_condattr_destroy(&a);
  pthread_mutex_init(&k->manage, NULL);
  pthread_mutex_init(&k->life, NULL);
  pthread_mutex_init(&k->list, NULL);
  pthread_mutex_init(&k->trace_lock, NULL);
  pthread_mutex_init(&k->command_lock, NULL);
  kg_registry_init(&k->registry);
}

kg_kernel_t *kg_kernel_new(const kg_kernel_options_t *o, kg_error_t *err) {
  kg_kernel_t *k = calloc(1, sizeof *k);
  if (!k) {
    kg_error_set(err, KG_EFULL, "out of memory");
    return NULL;
  }
  init_locks(k);
  set_limits(k, o);
  k->last_command = &k->commands;
  k->command_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  k->plugin_path = o->plugin_path ? strdup(o->plugin_path) : NULL;
  k->trial_command = o->trial_command ? strdup(o->trial_command) : NULL;
  atomic_init(&k->log.level, o->log_level);
  k->log.json = o->log_json;
  if (o->crash_fd > 0) kg_crash_report(o->crash_fd);
  k->zmq = zmq_ctx_new();
  if (k->zmq) zmq_ctx_set(k->zmq, ZMQ_IO_THREADS, 0); /* inproc needs none */
  if (!k->zmq || k->command_fd < 0) kg_error_set(err, KG_EINTERNAL, "the bus cannot be made: %s", strerror(errno));
  if (!k->zmq || k->command_fd < 0 || kg_log_open(&k->log, o->log_file, err) < 0 || make_dirs(k, o, err) < 0) {
    kg_kernel_free(k);
    return NULL;
  }
  return k;
}

/* --- loading
 * --------------------------------------------------------------------------------------------------------------- */

char **kg_names_copy(const char *const *names) {
  size_t n = 0;
  if (!names) return NULL;
  while (names[n]) n++;
  char **copy = calloc(n + 1, sizeof *copy);
  for (size_t i = 0; copy && i < n; i++) copy[i] = strdup(names[i]);
  return copy;
}

int kg_enlist(kg_kernel_t *k, kg_ctx_t *ctx) {
  pthread_mutex_lock(&k->list);
  kg_ctx_t **more = realloc(k->instances, (k->ninstances + 1) * sizeof(kg_ctx_t *));
  if (more) {
    k->instances = more;
    more[k->ninstances++] = ctx;
  }
  pthread_mutex_unlock(&k->list);
  return more ? 0 : -1;
}

void kg_unlist(kg_kernel_t *k, kg_ctx_t *ctx) {
  size_t kept = 0;
  pthread_mutex_lock(&k->list);
  for (size_t i = 0; i < k->ninstances; i++)
    if (k->instances[i] != ctx) k->instances[kept++] = k->instances[i];
  k->ninstances = kept;
  pthread_mutex_unlock(&k->list);
}

static int open_source(kg_kernel_t *k, const kg_plugin_spec_t *spec, bool tried, kg_source_t *src, kg_error_t *err) {
  *src = (kg_source_t){.desc = spec->descriptor};
  if (spec->descriptor) return kg_loader_check(spec->descriptor, spec->name, err);
  if (k->sim && (spec->remote || spec->process)) return kg_error_set(err, KG_EINVAL, "a simulation has one process");
  if (spec->remote)
    return kg_source_remote(k, &(kg_remote_spec_t){.name = spec->name, .listen = spec->remote}, src, err);
  char *path = kg_loader_find(k->plugin_path, spec->file, NULL, err);
  if (path && spec->process) {
    int made = kg_source_remote(k, &(kg_remote_spec_t){.name = spec->name, .file = path}, src, err);
    free(path);
    return made;
  }
  int rc = path ? kg_source_open(k, path, spec->name, spec->config, tried, src, err) : -1;
  free(path);
  return rc;
}

int kg_load_source(kg_kernel_t *k, const kg_plugin_spec_t *spec, kg_source_t *src, kg_error_t *err) {
  int64_t since = kg_time_us(k);
  kg_lane_t *lane = kg_lane_named(k, spec->lane ? spec->lane : "main", err);
  if (!lane) {
    kg_source_close(src);
    return -1;
  }
  kg_ctx_t *ctx = kg_bring_up(k, spec->name, lane, src, spec->config, kg_names_copy(spec->services), NULL, err);
  if (!ctx) return -1;
  if (kg_do(ctx, kg_job_claim, k->step_timeout_ms, "activate", err) < 0 || kg_enlist(k, ctx) < 0) {
    kg_take_down(ctx, "the plugin did not start", NULL);
    return -1;
  }
  kg_logf(k, KG_LOG_DEBUG, "kernel", "%s: %s %s runs in lane %s after %lld ms", ctx->name, ctx->desc->name,
          ctx->desc->version, lane->name, (long long)(kg_time_us(k) - since) / 1000);
  return 0;
}

/* A plugin on another machine that may come later. 1: it is waited for. */
static int load_patiently(kg_kernel_t *k, const kg_plugin_spec_t *spec, kg_source_t *src, kg_error_t *err) {
  kg_error_t why = {0};
  kg_remote_t *r = kg_remote_open(k, &(kg_remote_spec_t){.name = spec->name, .listen = spec->remote}, &why);
  if (r && kg_remote_greet(r, PATIENCE_MS, &why) == 0) {
    *src = (kg_source_t){.desc = kg_remote_descriptor(r), .remote = r};
    return 0;
  }
  if (r && why.code != KG_EDEADLINE) {
    kg_remote_free(r);
    r = NULL;
  }
  if (kg_pending_add(k, spec, r, &why) == 0) return 1;
  kg_remote_free(r);
  return kg_error_set(err, KG_EFULL, "out of memory");
}

int kg_load(kg_kernel_t *k, const kg_plugin_spec_t *spec, bool tried, kg_error_t *err) {
  kg_source_t src = {0};
  if (!spec->name || !*spec->name || strlen(spec->name) > 200)
    return kg_error_set(err, KG_EINVAL, "the plugin has no name");
  if (kg_find(k, spec->name)) return kg_error_set(err, KG_ECONFLICT, "there is a plugin %s already", spec->name);
  if (kg_pending_has(k, spec->name))
    return kg_error_set(err, KG_ECONFLICT, "a plugin %s is waited for already", spec->name);
  int rc = spec->remote && spec->patient && !k->sim ? load_patiently(k, spec, &src, err)
                                                    : open_source(k, spec, tried, &src, err);
  if (rc) return rc;
  if (kg_loader_keys(src.desc, kg_view_of(spec->config), err) == 0) return kg_load_source(k, spec, &src, err);
  kg_source_close(&src);
  return -1;
}

int kg_kernel_load(kg_kernel_t *k, const kg_plugin_spec_t *spec, kg_error_t *err) {
  kg_error_t local = {0};
  pthread_mutex_lock(&k->manage);
  int rc = kg_load(k, spec, false, &local);
  pthread_mutex_unlock(&k->manage);
  if (rc < 0) kg_error_prefix(&local, "plugin %s was not loaded", spec->name ? spec->name : "");
  if (err) *err = local;
  return rc;
}

int kg_stop(kg_kernel_t *k, kg_ctx_t *ctx, const char *why, kg_error_t *err) {
  kg_error_t slow = {0};
  pthread_mutex_lock(&k->life);
  ctx->drained = false;
  pthread_mutex_unlock(&k->life);
  if (ctx->shade)
    kg_shade_untap(k, ctx); /* nobody waits for what it does */
  else if (kg_do(ctx, kg_job_drain, k->drain_timeout_ms, "drain", &slow) < 0 ||
           kg_wait_drained(ctx, k->drain_timeout_ms, &slow) < 0)
    kg_logf(k, KG_LOG_WARN, "kernel", "%s: it is stopped all the same", slow.text);
  kg_unlist(k, ctx);
  return kg_take_down(ctx, why, err);
}

int kg_kernel_unload(kg_kernel_t *k, const char *name, kg_error_t *err) {
  int rc = 0;
  pthread_mutex_lock(&k->manage);
  kg_ctx_t *ctx = kg_find(k, name);
  if (!ctx)
    rc = kg_pending_drop(k, name) ? 0 : kg_error_set(err, KG_ENOTFOUND, "there is no plugin %s", name);
  else if (strcmp(ctx->desc->role, "kernel") == 0)
    rc = kg_error_set(err, KG_EDENIED, "plugin %s is part of the kernel", name);
  else
    rc = kg_stop(k, ctx, "the plugin was unloaded", err);
  pthread_mutex_unlock(&k->manage);
  return rc;
}

int kg_kernel_configure(kg_kernel_t *k, const char *name, kg_doc_t *config, kg_error_t *err) {
  int rc = -1;
  pthread_mutex_lock(&k->manage);
  kg_ctx_t *ctx = kg_find(k, name);
  kg_job_t *job = ctx ? kg_job_new(k) : NULL;
  if (!ctx) kg_error_set(err, KG_ENOTFOUND, "there is no plugin %s", name);
  if (job) {
    job->doc = kg_doc_ref(config);
    job = kg_run_job(ctx, kg_job_configure, job, k->step_timeout_ms, "configure", err);
  }
  if (job) {
    rc = job->rc;
    if (rc < 0 && err) *err = job->err;
    kg_job_unref(job);
  }
  pthread_mutex_unlock(&k->manage);
  return rc;
}

/* --- ending
 * ---------------------------------------------------------------------------------------------------------------- */

void kg_kernel_end_lanes(kg_kernel_t *k) {
  kg_watchdog_stop(k);
  for (unsigned i = 0; i < atomic_load(&k->nlanes); i++) {
    kg_job_t *job = k->sim ? NULL : kg_job_new(k);
    if (job) job->fn = kg_job_stop_lane;
    if (job) kg_lane_post_from_manager(k, k->lanes[i], (kg_parcel_t){.job = job});
    kg_lane_stop(k->lanes[i]);
  }
  atomic_store(&k->nlanes, 0);
  for (unsigned i = 0; i < KG_MAX_LANES; i++) kg_outlet_close(&k->outlets[i]);
}

void kg_kernel_free(kg_kernel_t *k) {
  pthread_mutex_lock(&k->manage);
  kg_pending_drop(k, NULL);
  while (k->ninstances) kg_stop(k, k->instances[k->ninstances - 1], "the kernel stops", NULL);
  kg_kernel_end_lanes(k);
  kg_bury(k, true);
  kg_sim_free(k->sim);
  k->sim = NULL;
  pthread_mutex_unlock(&k->manage);
  kg_registry_free(&k->registry);
  if (k->net) zmq_ctx_shutdown(k->net);
  if (k->zap) pthread_join(k->guard, NULL);
  if (k->net) zmq_ctx_term(k->net);
  if (k->zmq) zmq_ctx_term(k->zmq);
  if (k->own_run_dir && k->run_dir) kg_remove_tree(k->run_dir);
  if (k->command_fd >= 0) close(k->command_fd);
  kg_log_close(&k->log);
  free(k->instances);
  free(k->known);
  free(k->run_dir);
  free(k->data_dir);
  free(k->plugin_path);
  free(k->trial_command);
  free(k);
}
