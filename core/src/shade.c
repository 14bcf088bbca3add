#include "shade.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "make.h"
#include "remote_internal.h"

#define MOST_WAITING 65536 /* copies on their way to a shadow */
#define MOST_CALLS 4096
#define MOST_ANSWERS 65536
#define TICK_MS 100

struct kg_shade {
  kg_shadow_t *shadow;
  kg_ctx_t *ctx; /* borrowed; lane only */
  char *live, *dir, **reads;
  bool isolated;
  atomic_bool warm; /* activated: it may act, if it could */
  bool ticking;
  char died[300];
  atomic_uint waiting;
  atomic_ullong skipped;
};

/* --- making ------------------------------------------------------------------------------------------------------- */

static bool give(void *arg, const kg_msg_t *m, uint64_t id) {
  kg_shade_t *s = arg;
  return s->ctx && s->ctx->remote && kg_remote_send(s->ctx->remote, m, id, NULL) == 0;
}

static char **copy_words(const char *const *words) {
  size_t n = 0;
  while (words && words[n]) n++;
  char **copy = calloc(n + 1, sizeof *copy);
  for (size_t i = 0; copy && i < n; i++) copy[i] = strdup(words[i]);
  return copy;
}

static void free_words(char **words) {
  for (char **w = words; w && *w; w++) free(*w);
  free(words);
}

kg_shade_t *kg_shade_new(const char *live, bool replay, const char *run_dir, const kg_shadow_spec_t *spec,
                         kg_error_t *err) {
  kg_shade_t *s = calloc(1, sizeof *s);
  if (s) {
    s->live = strdup(live);
    s->reads = copy_words(spec->reads);
    s->isolated = spec->isolated;
    if (asprintf(&s->dir, "%s/%s.shadow-XXXXXX", run_dir, live) < 0) s->dir = NULL;
    s->shadow =
        kg_shadow_new(&(kg_shadow_options_t){.patience_us = (spec->patience_ms ? spec->patience_ms : 2000) * 1000,
                                             .most_calls = replay ? SIZE_MAX : MOST_CALLS,
                                             .most_answers = replay ? SIZE_MAX : MOST_ANSWERS,
                                             .ignore = copy_words(spec->ignore),
                                             .by = copy_words(spec->by),
                                             .give = give,
                                             .arg = s});
  }
  if (!s || !s->live || !s->reads || !s->dir || !s->shadow)
    kg_error_set(err, KG_EFULL, "out of memory");
  else if (!mkdtemp(s->dir)) /* messages on their way may keep an earlier shadow alive for a moment */
    kg_error_set(err, KG_EINTERNAL, "directory %s cannot be made", s->dir);
  else
    return s;
  kg_shade_free(s);
  return NULL;
}

void kg_shade_free(kg_shade_t *s) {
  if (!s) return;
  if (s->dir) kg_remove_tree(s->dir);
  kg_shadow_free(s->shadow);
  free_words(s->reads);
  free(s->live);
  free(s->dir);
  free(s);
}

const char *kg_shade_dir(const kg_shade_t *s) {
  return s->dir;
}
bool kg_shade_is_dead(const kg_shade_t *s) {
  return *s->died;
}
kg_shadow_t *kg_shade_comparison(kg_shade_t *s) {
  return s->shadow;
}

/* --- copies of what the live one gets and sends ------------------------------------------------------------------- */

/* In the shadow's lane. */
static void tapped(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane;
  kg_shade_t *s = ctx->shade;
  const kg_msg_t *m = job->arg;
  atomic_fetch_sub(&s->waiting, 1);
  if (*s->died || atomic_load(&ctx->state) == KG_STOPPED) return;
  kg_count(&ctx->n.requests, kg_msg_type(m) == KG_MSG_REQUEST && job->tap_us > 0);
  if (atomic_load_explicit(&s->skipped, memory_order_relaxed))
    kg_shadow_skipped(s->shadow, atomic_exchange(&s->skipped, 0));
  if (job->tap_us > 0)
    kg_shadow_got(s->shadow, m, job->tap_us);
  else
    kg_shadow_sent(s->shadow, m, -job->tap_us);
}

void kg_tap(kg_ctx_t *live, const kg_msg_t *m, bool sent) {
  kg_shade_t *s = live->shadow->shade;
  if (strncmp(kg_msg_topic(m), "plugin.", 7) == 0) return; /* answered by the kernel for any plugin */
  bool room = atomic_fetch_add(&s->waiting, 1) < MOST_WAITING;
  kg_job_t *job = room ? kg_job_new(live->k) : NULL;
  if (!job) {
    atomic_fetch_sub(&s->waiting, 1);
    atomic_fetch_add(&s->skipped, 1);
    return;
  }
  int64_t now = kg_time_us(live->k);
  job->fn = tapped;
  job->what = "a message to a shadow";
  job->later = true; /* nobody waits for it */
  job->tap_us = sent ? -now : now;
  job->arg = kg_msg_ref(m); /* which the parcel keeps */
  kg_lane_post(live->lane, (kg_parcel_t){.to = kg_ctx_ref(live->shadow), .m = job->arg, .job = job});
}

static void tap(kg_lane_t *lane, kg_ctx_t *live, kg_job_t *job) {
  (void)lane;
  live->shadow = kg_ctx_ref(job->arg);
}

static void untap(kg_lane_t *lane, kg_ctx_t *live, kg_job_t *job) {
  (void)lane;
  if (live->shadow != job->arg) return;
  kg_ctx_unref(live->shadow);
  live->shadow = NULL;
}

static int run(kg_ctx_t *ctx, kg_job_fn fn, void *arg, const char *what, kg_error_t *err) {
  kg_job_t *job = kg_job_new(ctx->k);
  if (!job) return kg_error_set(err, KG_EFULL, "out of memory");
  job->arg = arg;
  job = kg_run_job(ctx, fn, job, ctx->k->step_timeout_ms, what, err);
  int rc = job ? job->rc : -1;
  if (job && rc < 0 && err) *err = job->err;
  kg_job_unref(job);
  return rc;
}

void kg_shade_untap(kg_kernel_t *k, kg_ctx_t *shade) {
  kg_error_t err = {0};
  kg_ctx_t *live = kg_find(k, shade->shade->live);
  if (live && run(live, untap, shade, "take the shadow from", &err) < 0)
    kg_logf(k, KG_LOG_WARN, "kernel", "%s", err.text);
}

void kg_shade_begin(kg_ctx_t *ctx) {
  ctx->shade->ctx = ctx;
}

/* --- the shadow's lane -------------------------------------------------------------------------------------------- */

static void tick(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self, (void)arg;
  kg_shade_t *s = ctx->shade;
  s->ticking = kg_shadow_tick(s->shadow) && kg_timer(ctx, TICK_MS, 0, tick, NULL) != 0;
}

/* Up to activate() it must not act, only read (plugin.h): so the questions may be asked. */
static bool may_ask(const kg_ctx_t *ctx, const kg_msg_t *m) {
  const kg_shade_t *s = ctx->shade;
  if (strcmp(kg_msg_service(m), "kernel") == 0) return false;
  for (char **glob = s->reads; *glob; glob++)
    if (fnmatch(*glob, kg_msg_topic(m), 0) == 0) return true;
  return !s->isolated && !atomic_load(&s->warm) && kg_remote_accepts(ctx->remote);
}

bool kg_shade_takes(kg_ctx_t *ctx, const kg_msg_t *m) {
  kg_shade_t *s = ctx->shade;
  kg_msg_type_t type = kg_msg_type(m);
  kg_str_t prefix = kg_view_str(kg_view_get(kg_msg_args(m), "prefix"));
  if (type == KG_MSG_EVENT && strcmp(kg_msg_topic(m), "host.subscribe") == 0) {
    char *z = prefix.p && !memchr(prefix.p, 0, prefix.n) ? kg_str_dup(prefix) : NULL;
    if (z) kg_shadow_wants(s->shadow, z);
    free(z);
    return true;
  }
  if (type == KG_MSG_EVENT && strcmp(kg_msg_topic(m), "host.serve") == 0) return true; /* it owns nothing */
  if (type == KG_MSG_EVENT && strncmp(kg_msg_topic(m), "host.", 5) == 0) return false;
  if (type == KG_MSG_REQUEST && may_ask(ctx, m)) return false;
  if (type != KG_MSG_REQUEST && kg_from_requester(m) && kg_remote_relays(ctx->remote, kg_msg_id(m))) return false;
  if (type != KG_MSG_EVENT && !kg_from_requester(m) && kg_msg_id(m) < KG_FIRST_REQUEST_ID) return false; /* a step */
  kg_shadow_said(s->shadow, m);
  if (type == KG_MSG_REQUEST && !s->ticking) s->ticking = kg_timer(ctx, TICK_MS, 0, tick, NULL) != 0;
  return true;
}

void kg_shade_died(kg_ctx_t *ctx, const char *how) {
  snprintf(ctx->shade->died, sizeof ctx->shade->died, "%s", how);
  kg_logf(ctx->k, KG_LOG_WARN, ctx->name, "%s: a shadow is not started again", how);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void activate(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane;
  atomic_store(&ctx->shade->warm, true);
  kg_instance_activate(ctx);
  kg_remote_step(ctx, job, "host.activate");
}

kg_ctx_t *kg_shade_start(kg_kernel_t *k, const char *name, const char *file, const char *role, kg_doc_t *config,
                         kg_shade_t *s, kg_error_t *err) {
  char own[KG_NAME_MAX];
  kg_source_t src;
  snprintf(own, sizeof own, "%s.shadow", name);
  kg_lane_t *lane = kg_lane_named(k, "shadow", err);
  kg_remote_spec_t spec = {.name = name, .file = file, .dir = s->dir};
  if (!lane || kg_source_remote(k, &spec, &src, err) < 0) {
    kg_shade_free(s);
    return NULL;
  }
  if (role && strcmp(src.desc->role, role) != 0) {
    kg_error_set(err, KG_EINVAL, "%s keeps the contract of role %s, not of %s", src.desc->name, src.desc->role, role);
    kg_source_close(&src);
    kg_shade_free(s);
    return NULL;
  }
  src.shade = s;
  return kg_bring_up(k, own, lane, &src, config, NULL, NULL, err);
}

int kg_shade_activate(kg_ctx_t *ctx, kg_error_t *err) {
  return run(ctx, activate, NULL, "activate", err);
}

/* From now on it gets what the live one gets. */
static int attach(kg_ctx_t *live, kg_ctx_t *ctx, kg_error_t *err) {
  return kg_shade_activate(ctx, err) < 0 ? -1 : run(live, tap, ctx, "give a shadow to", err);
}

/* Same, with the state of the live one: a swap that is rolled back at its last step. */
static int attach_with_state(kg_ctx_t *live, kg_ctx_t *ctx, kg_error_t *err) {
  kg_doc_t *state = NULL;
  kg_hold(live);
  int rc = kg_get_state(live, &state, err);
  if (rc == 0) rc = kg_give_state(ctx, state, err);
  if (rc == 0) rc = attach(live, ctx, err);
  kg_go_on(live, NULL);
  kg_doc_unref(state);
  return rc;
}

/* An instance of that name, or the only one of that role. */
static kg_ctx_t *find_live(kg_kernel_t *k, const char *name, size_t *n) {
  kg_ctx_t *found = kg_find(k, name);
  *n = found != NULL;
  if (found) return found;
  for (size_t i = 0; i < k->ninstances; i++) {
    if (k->instances[i]->shade || strcmp(k->instances[i]->desc->role, name) != 0) continue;
    found = k->instances[i];
    ++*n;
  }
  return found;
}

static kg_ctx_t *live_one(kg_kernel_t *k, const char *name, kg_error_t *err) {
  size_t n;
  kg_ctx_t *found = find_live(k, name, &n);
  if (n > 1)
    kg_error_set(err, KG_EINVAL, "%zu plugins have the role %s: name one of them", n, name);
  else if (!found)
    kg_error_set(err, KG_ENOTFOUND, "there is no plugin %s", name);
  else if (found->shade)
    kg_error_set(err, KG_EINVAL, "%s is a shadow itself", name);
  else if (found->shadow)
    kg_error_set(err, KG_ECONFLICT, "plugin %s has a shadow already", found->name);
  else if (strcmp(found->desc->role, "kernel") == 0)
    kg_error_set(err, KG_EINVAL, "plugin %s is part of the kernel", found->name);
  else
    return found;
  return NULL;
}

static int start(kg_kernel_t *k, const kg_shadow_spec_t *spec, kg_error_t *err) {
  kg_ctx_t *live = live_one(k, spec->name, err);
  if (!live) return -1;
  if (k->sim) return kg_error_set(err, KG_EINVAL, "a simulation has no shadows");
  char *path = kg_loader_find(k->plugin_path, spec->file, live->desc->role, err);
  kg_shade_t *s = path ? kg_shade_new(live->name, false, k->run_dir, spec, err) : NULL;
  kg_ctx_t *ctx = s ? kg_shade_start(k, live->name, path, live->desc->role, live->config, s, err) : NULL;
  free(path);
  if (!ctx) return -1;
  int rc = spec->with_state ? attach_with_state(live, ctx, err) : attach(live, ctx, err);
  if (rc == 0 && kg_enlist(k, ctx) == 0) {
    kg_logf(k, KG_LOG_INFO, "kernel", "%s %s is the shadow of %s", ctx->desc->name, ctx->desc->version, live->name);
    return 0;
  }
  kg_shade_untap(k, ctx);
  kg_take_down(ctx, "the shadow did not start", NULL);
  return -1;
}

int kg_kernel_shadow(kg_kernel_t *k, const kg_shadow_spec_t *spec, kg_error_t *err) {
  kg_error_t local = {0};
  pthread_mutex_lock(&k->manage);
  int rc = start(k, spec, &local);
  if (rc < 0) kg_error_prefix(&local, "plugin %s got no shadow", spec->name);
  if (rc < 0) kg_logf(k, KG_LOG_WARN, "kernel", "%s", local.text);
  pthread_mutex_unlock(&k->manage);
  if (err) *err = local;
  return rc;
}

/* --- reports ------------------------------------------------------------------------------------------------------ */

static void pack_who(kg_pack_t *p, const char *key, const kg_ctx_t *ctx) {
  kg_pack_key(p, key);
  kg_pack_map(p);
  kg_pack_kv_str(p, "plugin", ctx->desc->name);
  kg_pack_kv_str(p, "version", ctx->desc->version);
  kg_pack_kv_str(p, "file", ctx->path);
  if (ctx->remote) kg_pack_kv_int(p, "process", kg_remote_pid(ctx->remote));
  kg_pack_end(p);
}

static void report(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane;
  kg_shade_t *s = ctx->shade;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", s->live);
  kg_pack_kv_str(&p, "state", *s->died ? "died" : "running");
  if (*s->died) kg_pack_kv_str(&p, "died", s->died);
  kg_pack_kv_int(&p, "uptime_ms", (kg_time_us(ctx->k) - ctx->started_us) / 1000);
  if (job->arg) pack_who(&p, "live", job->arg);
  pack_who(&p, "candidate", ctx);
  kg_shadow_skipped(s->shadow, atomic_exchange(&s->skipped, 0));
  kg_shadow_report(s->shadow, &p);
  kg_pack_end(&p);
  job->doc = kg_pack_doc(&p);
}

kg_doc_t *kg_shade_report(kg_ctx_t *shade, kg_error_t *err) {
  kg_job_t *job = kg_job_new(shade->k);
  if (!job) {
    kg_error_set(err, KG_EFULL, "out of memory");
    return NULL;
  }
  job->arg = kg_find(shade->k, shade->shade->live); /* stays: the manager waits here */
  job = kg_run_job(shade, report, job, shade->k->step_timeout_ms, "report of", err);
  kg_doc_t *doc = job ? kg_doc_ref(job->doc) : NULL;
  kg_job_unref(job);
  return doc;
}

kg_doc_t *kg_kernel_shadow_report(kg_kernel_t *k, const char *name, bool stop, kg_error_t *err) {
  char own[KG_NAME_MAX];
  kg_doc_t *doc = NULL;
  snprintf(own, sizeof own, "%s.shadow", name);
  pthread_mutex_lock(&k->manage);
  kg_ctx_t *ctx = kg_find(k, own);
  for (size_t i = 0; !ctx && i < k->ninstances; i++) /* by its role */
    if (k->instances[i]->shade && strcmp(k->instances[i]->desc->role, name) == 0) ctx = k->instances[i];
  if (!ctx || !ctx->shade)
    kg_error_set(err, KG_ENOTFOUND, "plugin %s has no shadow", name);
  else
    doc = kg_shade_report(ctx, err);
  if (doc && stop) kg_stop(k, ctx, "the shadow was stopped", NULL);
  pthread_mutex_unlock(&k->manage);
  return doc;
}
