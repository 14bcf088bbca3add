#include "manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shade.h"
#include "sim.h"

/* --- waiting
 * --------------------------------------------------------------------------------------------------------------- */

static struct timespec in_ms(int64_t ms) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_sec += ms / 1000;
  t.tv_nsec += ms % 1000 * 1000000;
  if (t.tv_nsec >= 1000000000) {
    t.tv_sec++;
    t.tv_nsec -= 1000000000;
  }
  return t;
}

kg_job_t *kg_job_new(kg_kernel_t *k) {
  kg_job_t *job = calloc(1, sizeof *job);
  if (!job) return NULL;
  atomic_init(&job->refs, 1);
  job->k = k;
  return job;
}

/* Says what keeps a lane busy: the instance it is in, if not the one we ask for. */
static int stuck(kg_ctx_t *ctx, const char *what, int64_t timeout_ms, kg_error_t *err) {
  kg_ctx_t *current = atomic_load(&ctx->lane->current);
  char by[200] = "";
  pthread_mutex_lock(&ctx->k->list);
  for (size_t i = 0; current && current != ctx && i < ctx->k->ninstances; i++)
    if (ctx->k->instances[i] == current) snprintf(by, sizeof by, ": it is held up by %s", current->name);
  pthread_mutex_unlock(&ctx->k->list);
  return kg_error_set(err, KG_EDEADLINE, "lane %s did not %s plugin %s within %lld ms%s", ctx->lane->name, what,
                      ctx->name, (long long)timeout_ms, by);
}

kg_job_t *kg_run_job(kg_ctx_t *ctx, kg_job_fn fn, kg_job_t *job, int64_t timeout_ms, const char *what,
                     kg_error_t *err) {
  kg_kernel_t *k = ctx->k;
  if (!job && !(job = kg_job_new(k))) {
    kg_error_set(err, KG_EFULL, "out of memory");
    return NULL;
  }
  bool done = false;
  if (!job->begun) { /* its begin was seen under the lock by who waited for the one before it */
    job->fn = fn;
    job->what = what;
    if (k->sim) return kg_sim_job(ctx, job, timeout_ms, err);
    atomic_fetch_add(&job->refs, 1);
    done = kg_lane_post_from_manager(k, ctx->lane, (kg_parcel_t){.to = kg_ctx_ref(ctx), .job = job}) < 0;
  }
  struct timespec until = in_ms(timeout_ms);
  pthread_mutex_lock(&k->life);
  while (!job->done && !done) done = pthread_cond_timedwait(&k->changed, &k->life, &until) == ETIMEDOUT;
  done = job->done;
  pthread_mutex_unlock(&k->life);
  if (done) return job;
  /* What comes too late must not happen after all; only an end, and the return to
   * work after a swap, are better late than never. */
  for (kg_job_t *j = job; j && fn != kg_job_destroy && fn != kg_job_resume; j = j->then)
    atomic_compare_exchange_strong(&j->taken, &(int){0}, 2);
  stuck(ctx, what, timeout_ms, err);
  kg_job_unref(job);
  return NULL;
}

int kg_do(kg_ctx_t *ctx, kg_job_fn fn, int64_t timeout_ms, const char *what, kg_error_t *err) {
  kg_job_t *job = kg_run_job(ctx, fn, NULL, timeout_ms, what, err);
  if (!job) return -1;
  int rc = job->rc;
  if (rc < 0 && err) *err = job->err;
  kg_job_unref(job);
  return rc;
}

int kg_wait_ready(kg_ctx_t *ctx, int64_t timeout_ms, kg_error_t *err) {
  kg_kernel_t *k = ctx->k;
  struct timespec until = in_ms(timeout_ms);
  bool late = k->sim != NULL; /* a simulation waits here, in its own time */
  if (k->sim) kg_sim_wait(k->sim, &ctx->ready, &ctx->not_ready.code, timeout_ms);
  pthread_mutex_lock(&k->life);
  while (!ctx->ready && !ctx->not_ready.code && !late)
    late = pthread_cond_timedwait(&k->changed, &k->life, &until) == ETIMEDOUT;
  bool ready = ctx->ready;
  kg_error_t why = ctx->not_ready;
  pthread_mutex_unlock(&k->life);
  if (ready) return 0;
  if (!why.code) return kg_error_set(err, KG_EDEADLINE, "it was not ready within %lld ms", (long long)timeout_ms);
  if (err) *err = why;
  return -1;
}

int kg_wait_drained(kg_ctx_t *ctx, int64_t timeout_ms, kg_error_t *err) {
  kg_kernel_t *k = ctx->k;
  struct timespec until = in_ms(timeout_ms);
  bool late = k->sim != NULL;
  if (k->sim) kg_sim_wait(k->sim, &ctx->drained, NULL, timeout_ms);
  pthread_mutex_lock(&k->life);
  while (!ctx->drained && !late) late = pthread_cond_timedwait(&k->changed, &k->life, &until) == ETIMEDOUT;
  bool drained = ctx->drained;
  pthread_mutex_unlock(&k->life);
  if (drained) return 0;
  return kg_error_set(err, KG_EDEADLINE, "%s had not finished its work after %lld ms", ctx->name,
                      (long long)timeout_ms);
}

/* --- up and down
 * ----------------------------------------------------------------------------------------------------------- */

kg_ctx_t *kg_find(kg_kernel_t *k, const char *name) {
  for (size_t i = 0; i < k->ninstances; i++)
    if (strcmp(k->instances[i]->name, name) == 0) return k->instances[i];
  return NULL;
}

kg_lane_t *kg_lane_named(kg_kernel_t *k, const char *name, kg_error_t *err) {
  for (unsigned i = 0; i < atomic_load(&k->nlanes); i++)
    if (k->sim || strcmp(k->lanes[i]->name, name) == 0) return k->lanes[i];
  if (!k->sim) kg_watchdog_start(k);
  return kg_lane_start(k, name, err);
}

static bool known(const kg_kernel_t *k, uint64_t hash) {
  for (size_t i = 0; i < k->nknown; i++)
    if (k->known[i] == hash) return true;
  return false;
}

static void learn(kg_kernel_t *k, uint64_t hash) {
  uint64_t *more = known(k, hash) ? NULL : realloc(k->known, (k->nknown + 1) * sizeof *more);
  if (!more) return;
  k->known = more;
  more[k->nknown++] = hash;
}

int kg_source_open(kg_kernel_t *k, const char *path, const char *name, kg_doc_t *config, bool tried, kg_source_t *out,
                   kg_error_t *err) {
  *out = (kg_source_t){0};
  uint64_t hash = kg_loader_hash(path, err);
  if (!hash) return -1;
  if (tried && k->trial_command && !known(k, hash) && kg_trial(k, path, name, config, err) < 0) return -1;
  if (kg_loader_open(k->run_dir, path, &out->loaded, err) < 0) return -1;
  out->desc = out->loaded.desc;
  learn(k, out->loaded.hash);
  return 0;
}

int kg_source_remote(kg_kernel_t *k, const kg_remote_spec_t *spec, kg_source_t *out, kg_error_t *err) {
  *out = (kg_source_t){.remote = kg_remote_open(k, spec, err)};
  if (!out->remote) return -1;
  if (kg_remote_greet(out->remote, k->start_timeout_ms, err) < 0) {
    kg_remote_free(out->remote);
    out->remote = NULL;
    return -1;
  }
  out->desc = kg_remote_descriptor(out->remote);
  return 0;
}

void kg_source_close(kg_source_t *s) {
  kg_remote_free(s->remote);
  kg_shade_free(s->shade);
  kg_loader_close(&s->loaded);
  *s = (kg_source_t){0};
}

kg_ctx_t *kg_bring_up(kg_kernel_t *k, const char *name, kg_lane_t *lane, kg_source_t *src, kg_doc_t *config,
                      char **wanted, kg_ctx_t *predecessor, kg_error_t *err) {
  kg_ctx_t *ctx = kg_instance_new(k, name, lane, src->desc, config);
  if (!ctx) {
    kg_source_close(src);
    kg_error_set(err, KG_EFULL, "out of memory");
    return NULL;
  }
  ctx->code = src->loaded.code;
  ctx->remote = src->remote;
  ctx->shade = src->shade;
  char *path = src->remote ? strdup(kg_remote_path(src->remote)) : src->loaded.path;
  if (path) {
    free(ctx->path);
    ctx->path = path;
  }
  ctx->wanted = wanted;
  ctx->predecessor = predecessor;
  if (kg_do(ctx, kg_job_create, k->step_timeout_ms, "create", err) == 0 &&
      kg_wait_ready(ctx, k->start_timeout_ms, err) == 0)
    return ctx;
  kg_take_down(ctx, "the plugin did not start", NULL);
  return NULL;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

/* An instance whose lane has not come to its end yet: its code may still run. */
struct kg_late {
  kg_late_t *next;
  kg_ctx_t *ctx;
  kg_job_t *job;
};

static void drop(kg_ctx_t *ctx) {
  kg_mapped_t *code = ctx->code;
  ctx->code = NULL;
  kg_ctx_unref(ctx);
  kg_mapped_drop(code);
}

void kg_bury(kg_kernel_t *k, bool all) {
  for (kg_late_t **at = &k->late; *at;) {
    kg_late_t *late = *at;
    pthread_mutex_lock(&k->life);
    bool done = late->job->done;
    pthread_mutex_unlock(&k->life);
    if (!done && !all) {
      at = &late->next;
      continue;
    }
    *at = late->next;
    kg_job_unref(late->job);
    drop(late->ctx);
    free(late);
  }
}

int kg_take_down(kg_ctx_t *ctx, const char *why, kg_error_t *err) {
  kg_kernel_t *k = ctx->k;
  kg_error_t local = {0};
  kg_job_t *job = kg_job_new(k);
  kg_late_t *late = calloc(1, sizeof *late);
  kg_bury(k, false);
  if (job && late) {
    job->text = why;
    *late = (kg_late_t){.next = k->late, .ctx = ctx, .job = job};
    atomic_fetch_add(&job->refs, 1);
    if (kg_run_job(ctx, kg_job_destroy, job, k->step_timeout_ms, "destroy", &local)) {
      kg_job_unref(job);
      kg_job_unref(job);
      free(late);
      drop(ctx);
      return 0;
    }
    k->late = late;
  } else {
    kg_error_set(&local, KG_EFULL, "out of memory");
    kg_job_unref(job);
    free(late);
  }
  kg_logf(k, KG_LOG_ERROR, "kernel", "%s", local.text);
  if (err) *err = local;
  return -1;
}
