#include <string.h>

#include "job.h"

kg_str_t condition_is(const pass_t *p, const char *type) {
  return kube_node_str(kube_get(ctl_condition(p->conditions, type), "status"));
}

void set_condition(pass_t *p, const char *type, const char *status, const char *reason, const char *message) {
  char now[32];
  kube_node_t *c = ctl_condition(p->conditions, type);
  ctl_condition_set(p->arena, p->conditions, type, status, reason, message, kg_wall_us(p->ctx), false);
  if (c == ctl_condition(p->conditions, type)) return;
  kube_time_format(kg_wall_us(p->ctx), now);
  kube_set(p->arena, ctl_condition(p->conditions, type), "lastProbeTime", kube_str(p->arena, now));
}

/* --- suspension and the start ------------------------------------------------------------------------------------- */

static void start_now(pass_t *p) {
  char now[32];
  kube_time_format(kg_wall_us(p->ctx), now);
  kube_set(p->arena, p->status, "startTime", kube_str(p->arena, now));
}

static void judge_suspension(pass_t *p) {
  bool noted = kg_str_is(condition_is(p, "Suspended"), "True");
  if (p->suspended && !noted) {
    set_condition(p, "Suspended", "True", "JobSuspended", "Job suspended");
    kube_event(p->ctx, p->c->base.recorder, p->object, "Normal", "Suspended", "Job suspended");
    kube_del(p->status, "startTime");
  } else if (!p->suspended && noted) {
    set_condition(p, "Suspended", "False", "JobResumed", "Job resumed");
    kube_event(p->ctx, p->c->base.recorder, p->object, "Normal", "Resumed", "Job resumed");
    start_now(p);
  }
  if (!p->suspended && !kube_get(p->status, "startTime")) start_now(p);
}

/* --- after the end ------------------------------------------------------------------------------------------------ */

static const kube_node_t *finished(const pass_t *p) {
  if (kg_str_is(condition_is(p, "Complete"), "True")) return ctl_condition(p->conditions, "Complete");
  if (kg_str_is(condition_is(p, "Failed"), "True")) return ctl_condition(p->conditions, "Failed");
  return NULL;
}

static void expire(pass_t *p, const kube_node_t *end) {
  int64_t since, ttl = kg_view_int(kg_view_get(p->spec, "ttlSecondsAfterFinished"), -1);
  if (ttl < 0 || kube_deleting(p->object)) return;
  if (kube_time_parse(kube_node_str(kube_get(end, "lastTransitionTime")), &since)) return;
  int64_t left = (since + ttl * 1000000 - kg_wall_us(p->ctx)) / 1000;
  if (left > 0) return kube_queue_add_after(p->ctx, p->c->base.work.queue, ctl_sync_key(p->sync), left + 1);
  ctl_send(p->ctx, p->sync, CTL_DELETE,
           &(kube_call_t){.gvr = GVR_JOBS,
                          .ns = ctl_text(p->arena, kube_namespace(p->object)),
                          .name = ctl_text(p->arena, kube_name(p->object)),
                          .precondition_uid = ctl_text(p->arena, kube_uid(p->object)),
                          .propagation = "Foreground",
                          .grace_seconds = -1},
           NULL, NULL);
}

static void release_all(pass_t *p) {
  pods_read(p);
  for (size_t i = 0; i < p->n; i++)
    if (p->pods[i].tracked) remove_finalizer(p->ctx, p->sync, p->pods[i].object, NULL, NULL);
}

/* Pods of a job that is no more need not wait to be counted. */
static void release_orphans(kg_ctx_t *ctx, jobc_t *c, ctl_sync_t *s) {
  size_t first, count;
  kg_str_t ns, name;
  char key[CTL_KEY_MAX];
  ctl_split(ctl_sync_key(s), &ns, &name);
  kube_informer_ns(c->base.informers[PODS], ns, &first, &count);
  for (size_t i = first; i < first + count; i++) {
    kg_doc_t *doc = kube_informer_at(c->base.informers[PODS], i);
    if (!has_finalizer(kg_view_of(doc)) || !ctl_owner_key(kg_view_of(doc), "Job", key)) continue;
    if (!strcmp(key, ctl_sync_key(s))) remove_finalizer(ctx, s, kg_view_of(doc), NULL, NULL);
  }
}

/* --- the pass ----------------------------------------------------------------------------------------------------- */

static void read_job(pass_t *p) {
  kg_view_t old = kg_view_get(p->object, "status"), per_index;
  p->spec = kg_view_get(p->object, "spec");
  p->status = kg_view_count(old) ? kube_tree_clone(p->arena, kube_tree_parse(p->arena, old)) : kube_map(p->arena);
  p->conditions = kube_get(p->status, "conditions");
  if (!p->conditions || p->conditions->type != KG_V_ARRAY) p->conditions = kube_array(p->arena);
  p->parallelism = kg_view_int(kg_view_get(p->spec, "parallelism"), 1);
  p->completions = kg_view_int(kg_view_get(p->spec, "completions"), -1);
  p->suspended = kg_view_bool(kg_view_get(p->spec, "suspend"), false);
  p->indexed = kg_str_is(kg_view_str(kg_view_get(p->spec, "completionMode")), "Indexed") && p->completions >= 0;
  per_index = kg_view_get(p->spec, "backoffLimitPerIndex");
  p->per_index = p->indexed && kg_view_type(per_index) == KG_V_INT;
  p->max_failures = kg_view_int(per_index, 0);
  p->only_failed = kg_str_is(kg_view_str(kg_view_get(p->spec, "podReplacementPolicy")), "Failed") ||
                   kg_view_there(kg_view_get(p->spec, "podFailurePolicy"));
}

static void run(pass_t *p) {
  kg_str_t by = kg_view_str(kg_view_get(p->spec, "managedBy"));
  const kube_node_t *end = finished(p);
  if (by.n && !kg_str_is(by, CONTROLLER)) return;
  if (end) {
    release_all(p);
    return expire(p, end);
  }
  pods_read(p);
  judge_suspension(p);
  track_read(p);
  verdict(p);
  if (!kube_deleting(p->object)) manage(p);
  ctl_sync_then(p->sync, track_write, p); /* when it is known which pods were made */
}

void job_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  jobc_t *c = self;
  kg_doc_t *doc;
  ctl_sync_t *s = ctl_sync_object(&c->base.work, key, c->base.informers[JOBS], &doc);
  if (doc) {
    pass_t *p = kube_arena_alloc(ctl_arena(s), sizeof *p);
    *p = (pass_t){.ctx = ctx, .c = c, .sync = s, .arena = ctl_arena(s), .doc = doc};
    p->object = kg_view_of(doc);
    read_job(p);
    run(p);
  } else {
    ctl_expect_forget(&c->ahead, key);
    release_orphans(ctx, c, s);
  }
  ctl_sync_end(ctx, self, s);
}
