/* podFailurePolicy and successPolicy. */
#include <string.h>

#include "job.h"

/* --- failures ----------------------------------------------------------------------------------------------------- */

static bool has_code(kg_view_t values, int64_t code) {
  for (kg_iter_t it = kg_iter(values); kg_iter_next(&it);)
    if (kg_view_int(it.value, -1) == code) return true;
  return false;
}

/* The container whose exit code matches; absent: none. */
static kg_view_t match_codes(kg_view_t rule, kg_view_t pod) {
  static const char *const lists[] = {"containerStatuses", "initContainerStatuses"};
  kg_str_t only = kg_view_str(kg_view_get(rule, "containerName"));
  bool in = kg_str_is(kg_view_str(kg_view_get(rule, "operator")), "In");
  for (size_t l = 0; l < 2; l++)
    for (kg_iter_t it = kg_iter(kg_view_path(pod, "status", lists[l], NULL)); kg_iter_next(&it);) {
      kg_view_t ended = kg_view_path(it.value, "state", "terminated", NULL);
      int64_t code = kg_view_int(kg_view_get(ended, "exitCode"), 0);
      if (code == 0 || (only.n && !kg_str_eq(only, kg_view_str(kg_view_get(it.value, "name"))))) continue;
      if (has_code(kg_view_get(rule, "values"), code) == in) return it.value;
    }
  return (kg_view_t){0};
}

static kg_view_t match_conditions(kg_view_t patterns, kg_view_t pod) {
  for (kg_iter_t it = kg_iter(patterns); kg_iter_next(&it);) {
    kg_str_t wanted = kg_view_str(kg_view_get(it.value, "status"));
    for (kg_iter_t c = kg_iter(kg_view_path(pod, "status", "conditions", NULL)); kg_iter_next(&c);)
      if (kg_view_equal(kg_view_get(c.value, "type"), kg_view_get(it.value, "type")) &&
          kg_str_eq(kg_view_str(kg_view_get(c.value, "status")), wanted.n ? wanted : KG_STR("True")))
        return c.value;
  }
  return (kg_view_t){0};
}

static action_t action_of(kg_view_t rule) {
  kg_str_t s = kg_view_str(kg_view_get(rule, "action"));
  return kg_str_is(s, "FailJob")     ? POLICY_FAIL_JOB
         : kg_str_is(s, "FailIndex") ? POLICY_FAIL_INDEX
         : kg_str_is(s, "Ignore")    ? POLICY_IGNORE
                                     : POLICY_COUNT;
}

static void fail_job(pass_t *p, kg_view_t pod, kg_view_t container, kg_view_t condition, size_t rule) {
  kg_str_t ns = kube_namespace(pod), name = kube_name(pod);
  if (p->fail_reason) return;
  p->fail_reason = "PodFailurePolicy";
  if (kg_view_there(container))
    p->fail_message = kube_arena_fmt(
        p->arena,
        "Container " KG_STR_FMT " for pod " KG_STR_FMT "/" KG_STR_FMT
        " failed with exit code %lld matching FailJob rule at index %zu",
        KG_STR_ARG(kg_view_str(kg_view_get(container, "name"))), KG_STR_ARG(ns), KG_STR_ARG(name),
        (long long)kg_view_int(kg_view_path(container, "state", "terminated", "exitCode", NULL), 0), rule);
  else
    p->fail_message = kube_arena_fmt(
        p->arena, "Pod " KG_STR_FMT "/" KG_STR_FMT " has condition " KG_STR_FMT " matching FailJob rule at index %zu",
        KG_STR_ARG(ns), KG_STR_ARG(name), KG_STR_ARG(kg_view_str(kg_view_get(condition, "type"))), rule);
}

static void judge(pass_t *p, jobpod_t *pod, kg_view_t rules) {
  size_t n = 0;
  for (kg_iter_t it = kg_iter(rules); kg_iter_next(&it); n++) {
    kg_view_t container = match_codes(kg_view_get(it.value, "onExitCodes"), pod->object);
    kg_view_t condition = match_conditions(kg_view_get(it.value, "onPodConditions"), pod->object);
    if (!kg_view_there(container) && !kg_view_there(condition)) continue;
    pod->action = action_of(it.value);
    if (pod->action == POLICY_FAIL_INDEX && !p->per_index) pod->action = POLICY_COUNT;
    if (pod->action == POLICY_FAIL_JOB) fail_job(p, pod->object, container, condition, n);
    return;
  }
}

void failure_policy(pass_t *p) {
  kg_view_t rules = kg_view_path(p->spec, "podFailurePolicy", "rules", NULL);
  for (size_t i = 0; i < p->n; i++) {
    bool ended = kg_str_is(kg_view_str(kg_view_path(p->pods[i].object, "status", "phase", NULL)), "Failed");
    if (ended && kg_view_count(rules)) judge(p, &p->pods[i], rules);
  }
}

/* --- success ------------------------------------------------------------------------------------------------------ */

static bool rule_holds(pass_t *p, kg_view_t rule) {
  kg_str_t indexes = kg_view_str(kg_view_get(rule, "succeededIndexes"));
  kg_view_t wanted = kg_view_get(rule, "succeededCount");
  uint8_t *named = kube_arena_alloc(p->arena, (size_t)p->completions + 1);
  if (indexes.n)
    index_parse(indexes, named, p->completions);
  else
    memset(named, 1, (size_t)p->completions);
  int64_t all = index_count(named, p->completions), good = 0;
  for (int64_t i = 0; i < p->completions; i++) good += named[i] && p->done[i];
  return good >= kg_view_int(wanted, all) && good > 0;
}

const char *success_policy(pass_t *p) {
  size_t n = 0;
  if (!p->indexed) return NULL;
  for (kg_iter_t it = kg_iter(kg_view_path(p->spec, "successPolicy", "rules", NULL)); kg_iter_next(&it); n++)
    if (rule_holds(p, it.value)) return kube_arena_fmt(p->arena, "Matched rules at index %zu", n);
  return NULL;
}
