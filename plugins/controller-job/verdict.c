/* How it ends: first the condition that decides it, and when the last pod has gone the one that says so. */
#include "job.h"

static void decide_failure(pass_t *p, const char *reason, const char *message) {
  if (p->fail_reason) return;
  p->fail_reason = reason;
  p->fail_message = message;
}

static int64_t restarts(const pass_t *p) {
  int64_t sum = 0;
  static const char *const lists[] = {"containerStatuses", "initContainerStatuses"};
  for (size_t i = 0; i < p->n; i++)
    for (size_t l = 0; p->pods[i].active && l < 2; l++)
      for (kg_iter_t it = kg_iter(kg_view_path(p->pods[i].object, "status", lists[l], NULL)); kg_iter_next(&it);)
        sum += kg_view_int(kg_view_get(it.value, "restartCount"), 0);
  return sum;
}

static bool past_backoff(const pass_t *p) {
  int64_t limit = kg_view_int(kg_view_get(p->spec, "backoffLimit"), 6);
  if (p->failed > limit) return true;
  kg_str_t policy = kg_view_str(kg_view_path(p->spec, "template", "spec", "restartPolicy", NULL));
  if (!kg_str_is(policy, "OnFailure")) return false;
  int64_t n = restarts(p);
  return limit == 0 ? n > 0 : n >= limit;
}

static bool past_deadline(pass_t *p) {
  int64_t started, limit = kg_view_int(kg_view_get(p->spec, "activeDeadlineSeconds"), -1);
  if (limit < 0 || p->suspended) return false;
  if (kube_time_parse(kube_node_str(kube_get(p->status, "startTime")), &started)) return false;
  int64_t left = (started + limit * 1000000 - kg_wall_us(p->ctx)) / 1000;
  if (left <= 0) return true;
  kube_queue_add_after(p->ctx, p->c->base.work.queue, ctl_sync_key(p->sync), left + 1);
  return false;
}

static void look_for_failure(pass_t *p) {
  if (past_backoff(p)) decide_failure(p, "BackoffLimitExceeded", "Job has reached the specified backoff limit");
  if (past_deadline(p)) decide_failure(p, "DeadlineExceeded", "Job was active longer than specified deadline");
  if (!p->per_index) return;
  int64_t most = kg_view_int(kg_view_get(p->spec, "maxFailedIndexes"), -1);
  if (most >= 0 && p->nlost > most)
    decide_failure(p, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
  if (p->nlost && p->nlost + p->ndone >= p->completions) decide_failure(p, "FailedIndexes", "Job has failed indexes");
}

static bool complete(const pass_t *p) {
  if (p->indexed) return p->ndone >= p->completions;
  if (p->completions >= 0) return p->succeeded >= p->completions;
  return p->succeeded > 0 && p->active == 0;
}

static void look_for_success(pass_t *p) {
  const char *matched = success_policy(p);
  if (matched)
    set_condition(p, "SuccessCriteriaMet", "True", "SuccessPolicy", matched);
  else if (complete(p))
    set_condition(p, "SuccessCriteriaMet", "True", "CompletionsReached", "Reached expected number of succeeded pods");
}

static void copy(pass_t *p, const char *from, const char *to) {
  const kube_node_t *c = ctl_condition(p->conditions, from);
  set_condition(p, to, "True", ctl_text(p->arena, kube_node_str(kube_get(c, "reason"))),
                ctl_text(p->arena, kube_node_str(kube_get(c, "message"))));
}

static void finish_failed(pass_t *p) {
  const kube_node_t *c = ctl_condition(p->conditions, "FailureTarget");
  copy(p, "FailureTarget", "Failed");
  kube_event(p->ctx, p->c->base.recorder, p->object, "Warning",
             ctl_text(p->arena, kube_node_str(kube_get(c, "reason"))), KG_STR_FMT,
             KG_STR_ARG(kube_node_str(kube_get(c, "message"))));
}

static void finish_complete(pass_t *p) {
  char now[32];
  kube_time_format(kg_wall_us(p->ctx), now);
  copy(p, "SuccessCriteriaMet", "Complete");
  kube_set(p->arena, p->status, "completionTime", kube_str(p->arena, now));
  kube_event(p->ctx, p->c->base.recorder, p->object, "Normal", "Completed", "Job completed");
}

bool is_ending(const pass_t *p) {
  return kg_str_is(condition_is(p, "FailureTarget"), "True") ||
         kg_str_is(condition_is(p, "SuccessCriteriaMet"), "True");
}

void verdict(pass_t *p) {
  bool failing = kg_str_is(condition_is(p, "FailureTarget"), "True"),
       succeeding = kg_str_is(condition_is(p, "SuccessCriteriaMet"), "True");
  if (!failing && !succeeding) {
    look_for_failure(p);
    if (p->fail_reason)
      set_condition(p, "FailureTarget", "True", p->fail_reason, p->fail_message);
    else
      look_for_success(p);
    failing = p->fail_reason != NULL;
    succeeding = kg_str_is(condition_is(p, "SuccessCriteriaMet"), "True");
  }
  if (p->active || p->terminating || p->uncounted) return;
  if (failing) finish_failed(p);
  if (succeeding && !failing) finish_complete(p);
}
