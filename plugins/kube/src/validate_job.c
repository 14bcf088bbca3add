/* When a Job fails and when it is done: podFailurePolicy, successPolicy and the limits by index. */
#include <stdlib.h>
#include <string.h>

#include "validate.h"

enum { RULES = 20, VALUES = 255, CONDITIONS = 20, INDEXES_TEXT = 64 * 1024, INDEXED_MOST = 100000 };

static bool is_indexed(const kube_node_t *spec) {
  return kube_is(spec, "completionMode", "Indexed");
}

/* --- podFailurePolicy ------------------------------------------------------------------------------------------- */

static bool has_container(kube_check_t *c, kg_str_t name) {
  static const char *const lists[] = {"template.spec.containers", "template.spec.initContainers"};
  for (size_t l = 0; l < 2; l++) {
    const kube_node_t *list = kube_node_look(c->self, lists[l]);
    for (uint32_t i = 0; i < kube_count(list); i++)
      if (kg_str_eq(kube_text(kube_at(list, i), "name"), name)) return true;
  }
  return false;
}

static void check_values(kube_check_t *c, const kube_node_t *codes) {
  const kube_node_t *values = kube_get(codes, "values");
  uint32_t n = kube_count(values);
  bool in = kube_is(codes, "operator", "In"), ordered = true;
  if (!n) return kube_invalid(c, "values", values ? values : kube_array(c->a), "at least one value is required");
  if (n > VALUES) return kube_too_many(c, "values", n, VALUES);
  size_t path = kube_path_push(c, "values");
  kube_node_t *seen = kube_map(c->a);
  for (uint32_t i = 0; i < n; i++) {
    const kube_node_t *v = kube_at(values, i);
    int64_t code = kube_node_int(v, -1);
    size_t inner = kube_path_index(c, i);
    if (in && code == 0) kube_invalid(c, NULL, v, "must not be 0 for the In operator");
    if (kube_noted(c, seen, kube_arena_fmt(c->a, "%lld", (long long)code))) kube_duplicate(c, NULL, v);
    kube_path_pop(c, inner);
    ordered &= i == 0 || kube_node_int(kube_at(values, i - 1), -1) <= code;
  }
  kube_path_pop(c, path);
  if (!ordered) kube_invalid(c, "values", values, "must be ordered");
}

static void check_codes(kube_check_t *c, const kube_node_t *codes) {
  size_t path = kube_path_push(c, "onExitCodes");
  const kube_node_t *op = kube_get(codes, "operator"), *name = kube_get(codes, "containerName");
  kg_str_t s = kube_node_str(op);
  if (!s.n)
    kube_required(c, "operator", "valid values: [\"In\" \"NotIn\"]");
  else if (!kg_str_is(s, "In") && !kg_str_is(s, "NotIn"))
    kube_unsupported(c, "operator", op, "In NotIn");
  if (name && !has_container(c, kube_node_str(name)))
    kube_invalid(c, "containerName", name, "must be one of the container or initContainer names in the pod template");
  check_values(c, codes);
  kube_path_pop(c, path);
}

static void check_conditions(kube_check_t *c, const kube_node_t *list) {
  if (kube_count(list) > CONDITIONS) return kube_too_many(c, "onPodConditions", kube_count(list), CONDITIONS);
  size_t path = kube_path_push(c, "onPodConditions");
  for (uint32_t i = 0; i < kube_count(list); i++) {
    const kube_node_t *status = kube_get(kube_at(list, i), "status");
    kg_str_t s = kube_node_str(status);
    size_t inner = kube_path_index(c, i);
    kube_check_form(c, "type", kube_text(kube_at(list, i), "type"), kube_form_qualified_name);
    if (!s.n)
      kube_required(c, "status", "valid values: [\"False\" \"True\" \"Unknown\"]");
    else if (!kg_str_is(s, "False") && !kg_str_is(s, "True") && !kg_str_is(s, "Unknown"))
      kube_unsupported(c, "status", status, "False True Unknown");
    kube_path_pop(c, inner);
  }
  kube_path_pop(c, path);
}

static void check_action(kube_check_t *c, const kube_node_t *action) {
  kg_str_t s = kube_node_str(action);
  if (!s.n) return kube_required(c, "action", "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
  if (kg_str_is(s, "FailIndex")) {
    if (!kube_get(c->self, "backoffLimitPerIndex"))
      kube_invalid(c, "action", action, "requires the backoffLimitPerIndex to be set");
  } else if (!kg_str_is(s, "Count") && !kg_str_is(s, "FailJob") && !kg_str_is(s, "Ignore")) {
    kube_unsupported(c, "action", action, "Count FailIndex FailJob Ignore");
  }
}

static void check_failure_rule(kube_check_t *c, const kube_node_t *rule) {
  const kube_node_t *codes = kube_get(rule, "onExitCodes"), *conditions = kube_get(rule, "onPodConditions");
  check_action(c, kube_get(rule, "action"));
  if (codes) check_codes(c, codes);
  if (kube_count(conditions)) check_conditions(c, conditions);
  if (codes && kube_count(conditions))
    kube_invalid(c, NULL, rule, "specifying both OnExitCodes and OnPodConditions is not supported");
  if (!codes && !kube_count(conditions))
    kube_invalid(c, NULL, rule, "specifying one of OnExitCodes and OnPodConditions is required");
}

/* Each element of the list of rules with the path at it. */
static void each_rule(kube_check_t *c, const char *policy, const kube_node_t *rules,
                      void (*check)(kube_check_t *c, const kube_node_t *rule)) {
  size_t path = kube_path_push(c, policy), inner = kube_path_push(c, "rules");
  for (uint32_t i = 0; i < kube_count(rules); i++) {
    size_t at = kube_path_index(c, i);
    check(c, kube_at(rules, i));
    kube_path_pop(c, at);
  }
  kube_path_pop(c, inner);
  kube_path_pop(c, path);
}

KUBE_CALL(job_failure_policy) {
  (void)r, (void)old;
  const kube_node_t *rules = kube_get(v, "rules"), *restart = kube_node_look(c->self, "template.spec.restartPolicy"),
                    *replace = kube_get(c->self, "podReplacementPolicy");
  if (!v) return;
  if (kube_count(rules) > RULES) kube_too_many(c, "podFailurePolicy.rules", kube_count(rules), RULES);
  each_rule(c, "podFailurePolicy", rules, check_failure_rule);
  if (!kg_str_is(kube_node_str(restart), "Never"))
    kube_invalid(c, "template.spec.restartPolicy", restart ? restart : kube_str(c->a, ""),
                 "only \"Never\" is supported when podFailurePolicy is specified");
  if (replace && !kg_str_is(kube_node_str(replace), "Failed"))
    kube_unsupported(c, "podReplacementPolicy", replace, "Failed");
}

/* --- successPolicy ---------------------------------------------------------------------------------------------- */

static const char *bad_order(kube_check_t *c, int64_t before, int64_t now) {
  return kube_arena_fmt(c->a, "non-increasing order, previous: %lld, current: %lld", (long long)before, (long long)now);
}

/* One part of "1,3-5": "3-5". NULL, or what is wrong with it. */
static const char *read_part(kube_check_t *c, const char *part, int64_t last, int64_t n, int64_t *from, int64_t *to) {
  const char *dash = strchr(part, '-');
  char *rest;
  *from = *to = strtoll(part, &rest, 10);
  bool bad = rest == part || rest != (dash ? dash : part + strlen(part));
  if (!bad && dash) {
    *to = strtoll(dash + 1, &rest, 10);
    bad = rest == dash + 1 || *rest;
  }
  if (bad) return kube_arena_fmt(c->a, "cannot convert string to integer for index: \"%s\"", part);
  if (*from <= last) return bad_order(c, last, *from);
  if (*to < *from) return bad_order(c, *from, *to);
  return *to >= n ? kube_arena_fmt(c->a, "too large index: \"%s\"", part) : NULL;
}

/* How many indexes "1,3-5" names, in order and below n; -1 with the words that say what is wrong. */
static int64_t count_indexes(kube_check_t *c, kg_str_t text, int64_t n, const char **words) {
  int64_t total = 0, last = -1, from, to;
  for (size_t i = 0, end; i <= text.n; i = end + 1) {
    for (end = i; end < text.n && text.p[end] != ',';) end++;
    *words = read_part(c, kube_arena_fmt(c->a, "%.*s", (int)(end - i), text.p + i), last, n, &from, &to);
    if (*words) return -1;
    total += to - from + 1;
    last = to;
  }
  return total;
}

static void check_success_rule(kube_check_t *c, const kube_node_t *rule) {
  const kube_node_t *indexes = kube_get(rule, "succeededIndexes"), *count = kube_get(rule, "succeededCount");
  int64_t completions = kube_node_int(kube_get(c->self, "completions"), 0), total = 0;
  const char *words = NULL;
  if (!indexes && !count)
    kube_required(c, NULL, "at least one of succeededCount or succeededIndexes must be specified");
  if (indexes && kube_node_str(indexes).n > INDEXES_TEXT) kube_too_long(c, "succeededIndexes", INDEXES_TEXT);
  if (indexes && (total = count_indexes(c, kube_node_str(indexes), completions, &words)) < 0)
    kube_invalid(c, "succeededIndexes", indexes, kube_arena_fmt(c->a, "error parsing succeededIndexes: %s", words));
  if (!count) return;
  int64_t wanted = kube_node_int(count, 0);
  if (wanted < 0) kube_invalid(c, "succeededCount", count, "must be greater than or equal to 0");
  if (wanted > completions)
    kube_invalid(c, "succeededCount", count,
                 kube_arena_fmt(c->a, "must be less than or equal to %lld (the number of specified completions)",
                                (long long)completions));
  if (indexes && wanted > (total > 0 ? total : 0))
    kube_invalid(c, "succeededCount", count,
                 kube_arena_fmt(c->a,
                                "must be less than or equal to %lld (the number of indexes in the specified "
                                "succeededIndexes field)",
                                (long long)(total > 0 ? total : 0)));
}

KUBE_CALL(job_success_policy) {
  (void)r, (void)old;
  const kube_node_t *rules = kube_get(v, "rules");
  if (!v) return;
  if (!is_indexed(c->self)) return kube_invalid(c, "successPolicy", v, "requires indexed completion mode");
  if (!kube_count(rules))
    kube_required(c, "successPolicy.rules", "at least one rules must be specified when the successPolicy is specified");
  if (kube_count(rules) > RULES) kube_too_many(c, "successPolicy.rules", kube_count(rules), RULES);
  each_rule(c, "successPolicy", rules, check_success_rule);
}

/* --- limits by index -------------------------------------------------------------------------------------------- */

KUBE_CALL(job_index_limits) {
  (void)r, (void)old;
  const kube_node_t *per_index = kube_get(v, "backoffLimitPerIndex"), *most = kube_get(v, "maxFailedIndexes"),
                    *parallel = kube_get(v, "parallelism"), *completions = kube_get(v, "completions");
  int64_t n = kube_node_int(completions, 0);
  if (most && !per_index) kube_required(c, "backoffLimitPerIndex", "when maxFailedIndexes is specified");
  if (per_index && !is_indexed(v))
    kube_invalid(c, "backoffLimitPerIndex", per_index, "requires indexed completion mode");
  if (!is_indexed(v)) return;
  if (kube_node_int(parallel, 0) > INDEXED_MOST)
    kube_invalid(c, "parallelism", parallel, "must be less than or equal to 100000 when completion mode is Indexed");
  if (completions && kube_node_int(most, 0) > n)
    kube_invalid(c, "maxFailedIndexes", most, "must be less than or equal to completions");
  if (kube_node_int(most, 0) > INDEXED_MOST)
    kube_invalid(c, "maxFailedIndexes", most, "must be less than or equal to 100000");
  if (n > INDEXED_MOST && per_index && !most)
    kube_required(c, "maxFailedIndexes", "must be specified when completions is above 100000");
}
