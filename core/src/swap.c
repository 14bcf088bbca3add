/* Swap: one instance in the place of another, or everything as before (DESIGN section 5). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager.h"
#include "registry.h"

void kg_go_on(kg_ctx_t *old, kg_ctx_t *new) {
  kg_error_t err = {0};
  kg_job_t *job = kg_job_new(old->k);
  atomic_store(&old->forced, false);
  if (job) job->arg = new;
  job = job ? kg_run_job(old, kg_job_resume, job, old->k->step_timeout_ms, "resume", &err) : NULL;
  if (!job || job->rc < 0)
    kg_logf(old->k, KG_LOG_ERROR, "kernel", "%s could not go on after the swap: %s", old->name,
            job ? job->err.text : err.text);
  kg_job_unref(job);
}

void kg_hold(kg_ctx_t *old) {
  pthread_mutex_lock(&old->k->life);
  old->drained = false;
  pthread_mutex_unlock(&old->k->life);
  kg_names_hold(&old->k->registry, old);
}

/* A step and those that follow it, whose reference it takes over. NULL: out of memory. */
static kg_job_t *step_before(kg_job_t *then, kg_ctx_t *then_to, kg_kernel_t *k, kg_job_fn fn, const char *what) {
  kg_job_t *job = kg_job_new(k);
  if (!job) {
    kg_job_unref(then);
    return NULL;
  }
  job->fn = fn;
  job->what = what;
  job->then = then;
  job->then_to = then_to;
  return job;
}

/* Begins a step if the lane has not yet, and waits for it. */
static int run_step(kg_ctx_t *ctx, kg_job_t *step, kg_error_t *err) {
  atomic_fetch_add(&step->refs, 1);
  kg_job_t *done = kg_run_job(ctx, step->fn, step, ctx->k->drain_timeout_ms, step->what, err);
  if (!done) return -1;
  if (done->rc < 0 && err) *err = done->err;
  int rc = done->rc;
  kg_job_unref(done);
  return rc;
}

/* Drain, then state out, then what follows for `to`. */
static kg_job_t *drain_before(kg_ctx_t *old, kg_job_t *then, kg_ctx_t *to) {
  kg_job_t *state = step_before(then, to, old->k, kg_job_hand_over, "get the state of");
  kg_job_t *drain = state ? step_before(state, old, old->k, kg_job_drain, "drain") : NULL;
  if (drain) drain->fence = true; /* what was sent before the hold is served by the old one */
  return drain;
}

/* What is given up by force takes longer than what is only finished. */
enum { FORCED_FACTOR = 4 };

static int run_drain(kg_ctx_t *old, kg_job_t *drain, kg_error_t *err) {
  int64_t timeout_ms = old->k->drain_timeout_ms * (kg_forced(old) ? FORCED_FACTOR : 1);
  if (run_step(old, drain, err) < 0 || kg_wait_drained(old, timeout_ms, err) < 0) return -1;
  return run_step(old, drain->then, err);
}

int kg_get_state(kg_ctx_t *old, kg_doc_t **state, kg_error_t *err) {
  kg_job_t *drain = drain_before(old, NULL, NULL);
  if (!drain) return kg_error_set(err, KG_EFULL, "out of memory");
  int rc = run_drain(old, drain, err);
  if (rc == 0) *state = kg_doc_ref(drain->then->doc);
  kg_job_unref(drain);
  return rc;
}

int kg_give_state(kg_ctx_t *new, kg_doc_t *state, kg_error_t *err) {
  kg_job_t *accept = step_before(NULL, NULL, new->k, kg_job_accept, "give the state to");
  if (!accept) return kg_error_set(err, KG_EFULL, "out of memory");
  accept->doc = kg_doc_ref(state);
  int rc = run_step(new, accept, err);
  kg_job_unref(accept);
  return rc;
}

/* Steps 3 to 6, while messages are held: drain, state out, state in, names over. The lane goes from one to the next by
 * itself where it can, the manager follows. */
static int hand_over(kg_ctx_t *old, kg_ctx_t *new, kg_error_t *err) {
  kg_job_t *take = step_before(NULL, NULL, old->k, kg_job_take, "activate");
  if (take) take->arg = old;
  kg_job_t *accept = take ? step_before(take, new, old->k, kg_job_accept, "give the state to") : NULL;
  kg_job_t *drain = accept ? drain_before(old, accept, new) : NULL;
  if (!drain) return kg_error_set(err, KG_EFULL, "out of memory");
  int rc = run_drain(old, drain, err);
  if (rc == 0 && !accept->begun) accept->doc = kg_doc_ref(drain->then->doc);
  if (rc == 0) rc = run_step(new, accept, err);
  if (rc == 0) rc = run_step(new, take, err);
  kg_job_unref(drain);
  return rc;
}

static char **copy_names(char *const *names) {
  size_t n = 0;
  if (!names) return NULL;
  while (names[n]) n++;
  char **copy = calloc(n + 1, sizeof *copy);
  for (size_t i = 0; copy && i < n; i++) copy[i] = strdup(names[i]);
  return copy;
}

static void replace_in_list(kg_ctx_t *old, kg_ctx_t *new) {
  kg_kernel_t *k = old->k;
  pthread_mutex_lock(&k->list);
  for (size_t i = 0; i < k->ninstances; i++)
    if (k->instances[i] == old) k->instances[i] = new;
  pthread_mutex_unlock(&k->list);
}

/* What the new one refuses the old one gives up, drained once more. */
static int hand_over_by_force(kg_ctx_t *old, kg_ctx_t *new, kg_error_t *err) {
  kg_logf(old->k, KG_LOG_WARN, "kernel", "%s: %s; it is replaced by force", old->name, err->text);
  *err = (kg_error_t){0};
  atomic_store(&old->forced, true);
  kg_hold(old);
  return hand_over(old, new, err);
}

static int swap(kg_ctx_t *old, kg_source_t *src, bool force, int64_t *pause_us, kg_error_t *err) {
  kg_kernel_t *k = old->k;
  kg_ctx_t *new = kg_bring_up(k, old->name, old->lane, src, old->config, copy_names(old->wanted), old, err);
  if (!new) return -1;
  int64_t since = kg_time_us(k);
  kg_hold(old);
  int rc = hand_over(old, new, err);
  if (rc < 0 && force) rc = hand_over_by_force(old, new, err);
  if (rc < 0) {
    kg_go_on(old, new);
    kg_take_down(new, "the swap was rolled back", NULL);
    return -1;
  }
  if (pause_us) *pause_us = kg_time_us(k) - since;
  replace_in_list(old, new);
  kg_logf(k, KG_LOG_INFO, "kernel", "%s: %s %s replaced %s %s, requests were held for %lld us", new->name,
          new->desc->name, new->desc->version, old->desc->name, old->desc->version, (long long)(kg_time_us(k) - since));
  kg_take_down(old, "plugin was replaced", NULL);
  return 0;
}

static int refused(const kg_ctx_t *old, kg_error_t *err) {
  kg_error_t why = *err;
  kg_error_set(err, why.code ? why.code : KG_EINTERNAL, "%s: swap refused, %s (%s %s) goes on", why.text, old->name,
               old->desc->name, old->desc->version);
  kg_logf(old->k, KG_LOG_WARN, "kernel", "%s", err->text);
  return -1;
}

/* Of the same sort as the old one: in its lane, or in a process of its own. */
static int open_successor(kg_kernel_t *k, const kg_ctx_t *old, const char *path, kg_source_t *src, kg_error_t *err) {
  if (!old->remote) return kg_source_open(k, path, old->name, old->config, true, src, err);
  if (strncmp(old->path, "tcp://", 6) == 0)
    return kg_error_set(err, KG_EINVAL, "%s lives on another machine: it is replaced there", old->name);
  return kg_source_remote(k, &(kg_remote_spec_t){.name = old->name, .file = path}, src, err);
}

static int swap_locked(kg_kernel_t *k, const char *name, const char *file, const kg_plugin_t *desc, bool force,
                       int64_t *pause_us, kg_error_t *err) {
  kg_ctx_t *old = kg_find(k, name);
  if (!old) return kg_error_set(err, KG_ENOTFOUND, "there is no plugin %s", name);
  if (old->shade) return kg_error_set(err, KG_EINVAL, "%s is a shadow: stop it and start another one", name);
  kg_source_t src = {.desc = desc};
  if (desc) {
    if (kg_loader_check(desc, desc->name ? desc->name : "a built-in plugin", err) < 0) return refused(old, err);
  } else {
    char *path = kg_loader_find(k->plugin_path, file, old->desc->role, err);
    int rc = !path ? -1 : open_successor(k, old, path, &src, err);
    free(path);
    if (rc < 0) return refused(old, err);
  }
  if (strcmp(src.desc->role, old->desc->role) != 0) {
    kg_error_set(err, KG_EINVAL, "%s keeps the contract of role %s, not of %s", src.desc->name, src.desc->role,
                 old->desc->role);
    kg_source_close(&src);
    return refused(old, err);
  }
  return swap(old, &src, force, pause_us, err) < 0 ? refused(old, err) : 0;
}

static int swap_any(kg_kernel_t *k, const char *name, const char *file, const kg_plugin_t *desc, bool force,
                    int64_t *pause_us, kg_error_t *err) {
  kg_error_t local = {0};
  pthread_mutex_lock(&k->manage);
  int rc = swap_locked(k, name, file, desc, force, pause_us, &local);
  pthread_mutex_unlock(&k->manage);
  if (err) *err = local;
  return rc;
}

int kg_kernel_swap(kg_kernel_t *k, const char *name, const char *file, const kg_plugin_t *descriptor, int64_t *pause_us,
                   kg_error_t *err) {
  return swap_any(k, name, file, descriptor, false, pause_us, err);
}

int kg_kernel_swap_by_force(kg_kernel_t *k, const char *name, const char *file, const kg_plugin_t *descriptor,
                            int64_t *pause_us, kg_error_t *err) {
  return swap_any(k, name, file, descriptor, true, pause_us, err);
}

int kg_kernel_reload(kg_kernel_t *k, const char *name, int64_t *pause_us, kg_error_t *err) {
  kg_error_t local = {0};
  pthread_mutex_lock(&k->manage);
  kg_ctx_t *old = kg_find(k, name);
  int rc = -1;
  if (!old)
    kg_error_set(&local, KG_ENOTFOUND, "there is no plugin %s", name);
  else if (!old->code && !old->remote)
    kg_error_set(&local, KG_EINVAL, "plugin %s is part of the kernel and cannot be reloaded", name);
  else
    rc = swap_locked(k, name, old->path, NULL, false, pause_us, &local);
  pthread_mutex_unlock(&k->manage);
  if (err) *err = local;
  return rc;
}
