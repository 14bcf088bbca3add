#include <string.h>

#include "deployment.h"

bool has_deadline(const pass_t *p) {
  kg_view_t v = kg_view_get(p->spec, "progressDeadlineSeconds");
  return kg_view_type(v) == KG_V_INT && kg_view_int(v, 0) != INT32_MAX;
}

void progress_set(pass_t *p, const char *status, const char *reason, const char *message) {
  ctl_condition_set(p->arena, p->conditions, "Progressing", status, reason, message, kg_wall_us(p->ctx), true);
}

static void set_count(pass_t *p, kube_node_t *status, const char *key, int64_t n) {
  if (n) kube_set(p->arena, status, key, kube_int(p->arena, n));
}

static int64_t count_of(const kube_node_t *status, const char *key) {
  return kube_node_int(kube_get(status, key), 0);
}

static int64_t was(const pass_t *p, const char *key) {
  return kg_view_int(kg_view_path(p->object, "status", key, NULL), 0);
}

bool deployment_complete(const pass_t *p, const kube_node_t *status) {
  return count_of(status, "updatedReplicas") == p->replicas && count_of(status, "replicas") == p->replicas &&
         count_of(status, "availableReplicas") == p->replicas;
}

static bool progressing(const pass_t *p, const kube_node_t *s) {
  return count_of(s, "updatedReplicas") > was(p, "updatedReplicas") ||
         count_of(s, "replicas") - count_of(s, "updatedReplicas") < was(p, "replicas") - was(p, "updatedReplicas") ||
         count_of(s, "readyReplicas") > was(p, "readyReplicas") ||
         count_of(s, "availableReplicas") > was(p, "availableReplicas");
}

static const char *newest_message(pass_t *p, const char *what) {
  if (p->newest) return kube_arena_fmt(p->arena, "ReplicaSet \"%s\" %s", set_name(p, p->newest), what);
  return kube_arena_fmt(p->arena, "Deployment \"" KG_STR_FMT "\" %s", KG_STR_ARG(kube_name(p->object)), what);
}

/* When the deadline is over without progress; INT64_MAX: never. */
static int64_t deadline_us(const pass_t *p, const kube_node_t *cond) {
  kg_str_t reason = kube_node_str(kube_get(cond, "reason"));
  int64_t since;
  if (!cond || kg_str_is(reason, "NewReplicaSetAvailable")) return INT64_MAX;
  if (kube_time_parse(kube_node_str(kube_get(cond, "lastUpdateTime")), &since)) return INT64_MAX;
  return since + kg_view_int(kg_view_get(p->spec, "progressDeadlineSeconds"), 600) * 1000000;
}

/* Progress renews lastUpdateTime even when status and reason stay. */
static void still_progressing(pass_t *p) {
  kube_node_t *old = ctl_condition(p->conditions, "Progressing");
  kube_node_t *since =
      old && kg_str_is(kube_node_str(kube_get(old, "status")), "True") ? kube_get(old, "lastTransitionTime") : NULL;
  ctl_condition_remove(p->conditions, "Progressing");
  progress_set(p, "True", "ReplicaSetUpdated", newest_message(p, "is progressing."));
  if (since) kube_set(p->arena, ctl_condition(p->conditions, "Progressing"), "lastTransitionTime", since);
}

static void judge_progress(pass_t *p, const kube_node_t *status) {
  kube_node_t *cond = ctl_condition(p->conditions, "Progressing");
  if (!has_deadline(p)) return ctl_condition_remove(p->conditions, "Progressing");
  kg_str_t reason = kube_node_str(kube_get(cond, "reason"));
  if (cond && kg_str_is(reason, "NewReplicaSetAvailable") &&
      count_of(status, "replicas") == count_of(status, "updatedReplicas"))
    return;
  int64_t due = deadline_us(p, cond), now = kg_wall_us(p->ctx);
  if (deployment_complete(p, status)) {
    progress_set(p, "True", "NewReplicaSetAvailable", newest_message(p, "has successfully progressed."));
  } else if (progressing(p, status)) {
    still_progressing(p);
  } else if (due <= now || kg_str_is(reason, "ProgressDeadlineExceeded")) {
    progress_set(p, "False", "ProgressDeadlineExceeded", newest_message(p, "has timed out progressing."));
  } else if (due != INT64_MAX) {
    kube_queue_add_after(p->ctx, p->c->work.queue, ctl_sync_key(p->sync), (due - now) / 1000 + 1000);
  }
}

static bool take_failure(pass_t *p, const set_t *s) {
  kg_view_t failure = kube_condition_of(s->object, "ReplicaFailure");
  if (!kg_view_there(failure)) return false;
  kube_node_t *c = kube_tree_parse(p->arena, failure);
  kube_set(p->arena, c, "lastUpdateTime", kube_strn(p->arena, kg_view_str(kg_view_get(failure, "lastTransitionTime"))));
  kube_push(p->arena, p->conditions, c);
  return true;
}

/* A set that cannot make its pods says so in its own condition; the newest one is heard first. */
static void copy_failure(pass_t *p) {
  ctl_condition_remove(p->conditions, "ReplicaFailure");
  bool found = p->newest && take_failure(p, p->newest);
  for (size_t i = 0; i < p->n && !found; i++) found = take_failure(p, &p->sets[i]);
}

static void judge_availability(pass_t *p, int64_t available) {
  if (available >= p->replicas - p->unavailable)
    ctl_condition_set(p->arena, p->conditions, "Available", "True", "MinimumReplicasAvailable",
                      "Deployment has minimum availability.", kg_wall_us(p->ctx), true);
  else
    ctl_condition_set(p->arena, p->conditions, "Available", "False", "MinimumReplicasUnavailable",
                      "Deployment does not have minimum availability.", kg_wall_us(p->ctx), true);
}

static bool all_tell_terminating(const pass_t *p) {
  for (size_t i = 0; i < p->n; i++)
    if (p->sets[i].terminating < 0) return false;
  return p->n > 0;
}

kube_node_t *status_make(pass_t *p, bool rollout) {
  kube_node_t *s = kube_map(p->arena);
  int64_t available = SUM(p, available), total = SUM(p, replicas);
  kube_set(p->arena, s, "observedGeneration", kube_int(p->arena, kube_generation(p->object)));
  set_count(p, s, "replicas", SUM(p, actual));
  set_count(p, s, "updatedReplicas", p->newest ? p->newest->actual : 0);
  set_count(p, s, "readyReplicas", SUM(p, ready));
  set_count(p, s, "availableReplicas", available);
  set_count(p, s, "unavailableReplicas", total > available ? total - available : 0);
  if (all_tell_terminating(p)) kube_set(p->arena, s, "terminatingReplicas", kube_int(p->arena, SUM(p, terminating)));
  if (p->collisions) kube_set(p->arena, s, "collisionCount", kube_int(p->arena, p->collisions));
  judge_availability(p, available);
  if (rollout) judge_progress(p, s);
  copy_failure(p);
  kube_set(p->arena, s, "conditions", p->conditions);
  return s;
}

void status_write(pass_t *p, bool rollout) {
  ctl_send_status(p->ctx, p->sync, GVR_DEPLOYMENTS, p->object, status_make(p, rollout));
}
