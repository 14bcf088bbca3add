/* Deployments and their like, jobs, autoscalers; and what of a pod may change. */
#include <stdlib.h>
#include <string.h>

#include "kube/values.h"
#include "validate.h"

/* --- selectors and templates ------------------------------------------------------------------------------------ */

/* The selector of a controller: there, and choosing something. r->text: what has it. */
KUBE_CALL(selector_of) {
  (void)old;
  if (!v || v->type == KG_V_NIL) return kube_required(c, "selector", NULL);
  if (kube_count(kube_get(v, "matchLabels")) || kube_count(kube_get(v, "matchExpressions"))) return;
  kube_invalid(c, "selector", v, kube_arena_fmt(c->a, "empty selector is invalid for %s", r->text));
}

static bool bad_requirement(const kube_node_t *r) {
  kg_str_t op = kube_text(r, "operator");
  const kube_node_t *values = kube_get(r, "values");
  bool set = kg_str_is(op, "In") || kg_str_is(op, "NotIn"),
       plain = kg_str_is(op, "Exists") || kg_str_is(op, "DoesNotExist");
  unsigned bad = (!set && !plain) || (set && !kube_count(values)) || (plain && kube_count(values));
  kube_form_qualified_name(kube_text(r, "key"), kube_count_complaint, &bad);
  for (uint32_t i = 0; i < kube_count(values); i++)
    kube_form_label_value(kube_node_str(values->c.items[i]), kube_count_complaint, &bad);
  return bad;
}

/* Whether the selector cannot be one. */
static bool bad_selector(const kube_node_t *selector) {
  const kube_node_t *labels = kube_get(selector, "matchLabels"), *more = kube_get(selector, "matchExpressions");
  unsigned bad = 0;
  for (uint32_t i = 0; i < kube_count(labels); i++) {
    kube_form_qualified_name(labels->c.keys[i], kube_count_complaint, &bad);
    kube_form_label_value(kube_node_str(labels->c.items[i]), kube_count_complaint, &bad);
  }
  for (uint32_t i = 0; i < kube_count(more); i++) bad += bad_requirement(more->c.items[i]);
  return bad;
}

static bool selects(const kube_node_t *selector, const kube_node_t *labels, bool plain) {
  kg_doc_t *s = selector ? kube_tree_doc(selector) : NULL, *l = labels ? kube_tree_doc(labels) : NULL;
  kube_selector_t *sel = !s      ? NULL
                         : plain ? kube_selector_of_map(kg_view_of(s))
                                 : kube_selector_of(kg_view_of(s), NULL);
  bool good = sel && kube_selector_matches(sel, l ? kg_view_of(l) : (kg_view_t){0});
  kube_selector_free(sel);
  kg_doc_unref(s);
  kg_doc_unref(l);
  return good;
}

static bool there(const kube_node_t *n) {
  return n && n->type != KG_V_NIL;
}

static bool chooses(const kube_node_t *selector) {
  return kube_count(kube_get(selector, "matchLabels")) || kube_count(kube_get(selector, "matchExpressions"));
}

static void must_match(kube_check_t *c, const kube_node_t *v, bool plain) {
  const kube_node_t *labels = kube_node_look(v, "template.metadata.labels");
  if (!selects(kube_get(v, "selector"), labels, plain))
    kube_invalid(c, "template.metadata.labels", labels, "`selector` does not match template `labels`");
}

/* A selector that is missing chooses nothing, one that is empty everything. */
KUBE_CALL(template_matches) {
  (void)r, (void)old;
  const kube_node_t *selector = kube_get(v, "selector");
  if (there(selector) && bad_selector(selector)) return;
  if (!there(selector) || chooses(selector)) must_match(c, v, false);
}

KUBE_CALL(selector_good) {
  (void)r, (void)old;
  const kube_node_t *selector = kube_get(v, "selector");
  if (there(selector) && bad_selector(selector)) kube_invalid(c, "selector", selector, "invalid label selector");
}

KUBE_CALL(template_matches_map) {
  (void)r, (void)old;
  if (kube_count(kube_get(v, "selector")) && kube_count(kube_get(v, "template"))) must_match(c, v, true);
}

/* Of a DaemonSet: it says nothing of a selector that is missing or bad. */
KUBE_CALL(daemon_selector) {
  (void)r, (void)old;
  const kube_node_t *selector = kube_get(v, "selector");
  if (there(selector) && !chooses(selector))
    kube_invalid(c, "selector", selector, "empty selector is invalid for daemonset");
  if (!there(selector) || !bad_selector(selector)) must_match(c, v, false);
}

/* --- updates in steps ------------------------------------------------------------------------------------------- */

/* A number, or that of a percentage; what is neither counts as 0. */
static int64_t count_of(const kube_node_t *v) {
  unsigned bad = 0;
  if (!v || v->type != KG_V_STR) return kube_node_int(v, 0);
  kube_form_percent(v->s, kube_count_complaint, &bad);
  return bad ? 0 : strtoll(v->s.p, NULL, 10);
}

static void at_most_all(kube_check_t *c, const char *key, const kube_node_t *v) {
  if (v && v->type == KG_V_STR && v->s.n && v->s.p[v->s.n - 1] == '%' && count_of(v) > 100)
    kube_invalid(c, key, v, "must not be greater than 100%");
}

KUBE_CALL(rolling_update) {
  (void)r, (void)old;
  const kube_node_t *down = kube_get(v, "maxUnavailable"), *up = kube_get(v, "maxSurge");
  if (!count_of(down) && !count_of(up))
    kube_invalid(c, "maxUnavailable", down ? down : kube_int(c->a, 0), "may not be 0 when `maxSurge` is 0");
  at_most_all(c, "maxUnavailable", down);
}

KUBE_CALL(rolling_daemons) {
  (void)r, (void)old;
  const kube_node_t *down = kube_get(v, "maxUnavailable"), *up = kube_get(v, "maxSurge");
  if (!count_of(down) && !count_of(up))
    kube_required(c, "maxUnavailable", "cannot be 0 when maxSurge is 0");
  else if (count_of(down) && count_of(up))
    kube_invalid(c, "maxSurge", up, "may not be set when maxUnavailable is non-zero");
  at_most_all(c, "maxUnavailable", down);
  at_most_all(c, "maxSurge", up);
}

KUBE_CALL(deadline_after_ready) {
  (void)r, (void)old;
  const kube_node_t *deadline = kube_get(v, "progressDeadlineSeconds");
  if (deadline && deadline->type == KG_V_INT && deadline->i <= kube_node_int(kube_get(v, "minReadySeconds"), 0))
    kube_invalid(c, "progressDeadlineSeconds", deadline, "must be greater than minReadySeconds");
}

static bool among(const char *values, kg_str_t s) {
  for (const char *p = values; *p;) {
    size_t n = strcspn(p, " ");
    if (n == s.n && !memcmp(p, s.p, n)) return true;
    p += n + (p[n] == ' ');
  }
  return false;
}

/* Whether two structs differ in a field that `free` does not name. */
static bool differ(const kube_node_t *a, const kube_node_t *b, const char *free) {
  for (uint32_t i = 0; i < kube_count(a); i++)
    if (!among(free, a->c.keys[i]) && !kube_tree_equal(a->c.items[i], kube_getn(b, a->c.keys[i]))) return true;
  for (uint32_t i = 0; i < kube_count(b); i++)
    if (!among(free, b->c.keys[i]) && !kube_getn(a, b->c.keys[i]) && b->c.items[i]->type != KG_V_NIL) return true;
  return false;
}

/* r->text: the fields that may change, then a bar and the words for the others. */
KUBE_CALL(only) {
  if (!c->old_root || !old) return;
  size_t n = strcspn(r->text, "|");
  char *free = kube_arena_fmt(c->a, "%.*s", (int)n, r->text);
  while (n && free[n - 1] == ' ') free[--n] = '\0';
  const char *words = r->text + strcspn(r->text, "|");
  if (differ(v, old, free))
    kube_forbidden(c, r->as ? r->as : r->field[0] == '-' ? NULL : r->field, *words ? words + 2 : "");
}

KUBE_CALL(management_policy) {
  (void)r, (void)old;
  kg_str_t s = kube_node_str(v);
  if (!kg_str_is(s, "OrderedReady") && !kg_str_is(s, "Parallel"))
    kube_invalid_str(c, "podManagementPolicy", s, "must be 'OrderedReady' or 'Parallel'");
}

KUBE_CALL(update_strategy) {
  (void)r, (void)old;
  kg_str_t s = kube_node_str(v);
  if (!kg_str_is(s, "RollingUpdate") && !kg_str_is(s, "OnDelete"))
    kube_invalid_str(c, NULL, s, "must be 'RollingUpdate' or 'OnDelete'");
}

KUBE_CALL(no_rolling) {
  (void)r, (void)old;
  if (v) kube_invalid(c, "rollingUpdate", v, "only allowed for updateStrategy 'RollingUpdate'");
}

/* --- jobs, autoscalers ------------------------------------------------------------------------------------------ */

KUBE_CALL(hpa_range) {
  (void)r, (void)old;
  const kube_node_t *low = kube_get(c->self, "minReplicas");
  int64_t most = kube_node_int(v, 0);
  if (most < 1) kube_invalid(c, "maxReplicas", v ? v : kube_int(c->a, 0), "must be greater than 0");
  if (most < kube_node_int(low, 1)) kube_invalid(c, "maxReplicas", v, "must be greater than or equal to `minReplicas`");
}

/* A Job chooses its pods by labels it makes itself, unless it is told by which. */
KUBE_CALL(job_selector) {
  (void)r, (void)old;
  const kube_node_t *selector = kube_get(v, "selector"), *labels = kube_node_look(v, "template.metadata.labels");
  if (!there(selector)) return kube_required(c, "spec.selector", NULL);
  if (!bad_selector(selector) && !selects(selector, labels, false))
    kube_invalid(c, "spec.template.metadata.labels", labels, "`selector` does not match template `labels`");
}

/* The labels a Job's pods are chosen by, if it makes them itself. */
KUBE_CALL(job_labels) {
  (void)r, (void)old;
  static const char *const keys[] = {"batch.kubernetes.io/controller-uid", "controller-uid",
                                     "batch.kubernetes.io/job-name", "job-name"};
  const kube_node_t *labels = kube_node_look(v, "spec.template.metadata.labels");
  if (kube_node_bool(kube_path(v, "spec", "manualSelector", NULL), false)) return;
  for (int i = 0; i < 4; i++) {
    kg_str_t wanted = kube_node_str(kube_path(v, "metadata", i < 2 ? "uid" : "name", NULL));
    const kube_node_t *label = kube_get(labels, keys[i]);
    char *field = kube_arena_fmt(c->a, "spec.template.metadata.labels[%s]", keys[i]);
    char *words = kube_arena_fmt(c->a, "must be '" KG_STR_FMT "'", KG_STR_ARG(wanted));
    if (!label)
      kube_required(c, field, words);
    else if (!kg_str_eq(kube_node_str(label), wanted))
      kube_invalid(c, field, label, words);
  }
}

/* An indexed Job grows and shrinks by both numbers at once. */
KUBE_CALL(job_completions) {
  if (!c->old_root || kube_tree_equal(v, old)) return;
  const kube_node_t *spec = kube_get(c->root, "spec");
  bool indexed = kube_is(spec, "completionMode", "Indexed");
  if (indexed && v && kube_tree_equal(v, kube_get(spec, "parallelism"))) return;
  kube_invalid(c, r->field, v ? v : kube_nil(c->a),
               indexed ? "can only be modified in tandem with spec.parallelism" : "field is immutable");
}

static void take_over(kube_check_t *c, kube_node_t *to, const kube_node_t *from, const char *key) {
  kube_node_t *value = kube_get(from, key);
  if (there(value))
    kube_set(c->a, to, key, value);
  else
    kube_del(to, key);
}

static void take_resources(kube_check_t *c, kube_node_t *to, const kube_node_t *from, const char *list) {
  kube_node_t *was = kube_get(to, list);
  const kube_node_t *now = kube_get(from, list);
  for (uint32_t i = 0; kube_count(was) == kube_count(now) && i < kube_count(now); i++)
    if (kg_str_eq(kube_text(was->c.items[i], "name"), kube_text(now->c.items[i], "name")))
      take_over(c, was->c.items[i], now->c.items[i], "resources");
}

/* What may change in the template of a Job that is suspended and has not started: where its pods may run, what they are
 * given, how they are called. */
static void take_directives(kube_check_t *c, kube_node_t *was, const kube_node_t *now) {
  static const char *const fields[] = {"nodeSelector", "tolerations", "schedulingGates"};
  kube_node_t *spec = kube_sub(c->a, was, "spec");
  const kube_node_t *wanted = kube_get(now, "spec"), *affinity = kube_get(wanted, "affinity");
  for (size_t i = 0; i < 3; i++) take_over(c, spec, wanted, fields[i]);
  take_resources(c, spec, wanted, "containers");
  take_resources(c, spec, wanted, "initContainers");
  take_over(c, was, now, "metadata");
  if (there(affinity) || kube_get(spec, "affinity"))
    take_over(c, kube_sub(c->a, spec, "affinity"), affinity, "nodeAffinity");
  if (!there(affinity) && !kube_count(kube_get(spec, "affinity"))) kube_del(spec, "affinity");
}

KUBE_CALL(job_template) {
  if (!c->old_root || kube_tree_equal(v, old)) return;
  bool suspended = kube_node_bool(kube_path(c->old_root, "spec", "suspend", NULL), false);
  kube_node_t *was = kube_tree_clone(c->a, old);
  if (suspended && was && v && !there(kube_path(c->old_root, "status", "startTime", NULL))) take_directives(c, was, v);
  if (!kube_tree_equal(v, was)) kube_invalid(c, r->field, v, "field is immutable");
}

KUBE_CALL(no_manual) {
  (void)r, (void)old;
  kube_unsupported(c, "jobTemplate.spec.manualSelector", v, "nil false");
}

/* --- pods ------------------------------------------------------------------------------------------------------- */

static kube_node_t *without(kube_arena_t *a, const kube_node_t *spec, const char *free, bool images) {
  static const char *const lists[] = {"containers", "initContainers"};
  kube_node_t *out = kube_tree_clone(a, spec);
  for (uint32_t i = out->c.n; i-- > 0;)
    if (among(free, out->c.keys[i])) kube_deln(out, out->c.keys[i]);
  for (int l = 0; images && l < 2; l++) {
    kube_node_t *list = kube_get(out, lists[l]);
    for (uint32_t i = 0; i < kube_count(list); i++) kube_del(list->c.items[i], "image");
  }
  return out;
}

static bool same_count(kube_check_t *c, const kube_node_t *v, const kube_node_t *old, const char *key,
                       const char *words) {
  if (kube_count(kube_get(v, key)) == kube_count(kube_get(old, key))) return true;
  kube_forbidden(c, key, words);
  return false;
}

static bool tolerates_still(const kube_node_t *list, const kube_node_t *old) {
  for (uint32_t i = 0; i < kube_count(list); i++)
    if (!differ(list->c.items[i], old, "tolerationSeconds")) return true;
  return false;
}

static void check_deadline(kube_check_t *c, const kube_node_t *now, const kube_node_t *old) {
  if (!old) return;
  if (!now)
    kube_invalid(c, "activeDeadlineSeconds", kube_nil(c->a), "must not update from a positive integer to nil value");
  else if (kube_node_int(now, 0) > kube_node_int(old, 0))
    kube_invalid(c, "activeDeadlineSeconds", now, "must be less than or equal to previous value");
}

static bool gated(const kube_node_t *spec) {
  return kube_count(kube_get(spec, "schedulingGates")) > 0;
}

/* Gates may only be taken away; while one is left, what chooses the node may become narrower. */
static void check_gates(kube_check_t *c, const kube_node_t *v, const kube_node_t *old) {
  const kube_node_t *now = kube_get(v, "schedulingGates"), *before = kube_get(old, "schedulingGates");
  kube_node_t *known = kube_map(c->a);
  for (uint32_t i = 0; i < kube_count(before); i++) kube_noted(c, known, kube_value_text(c, before->c.items[i]));
  for (uint32_t i = 0; i < kube_count(now); i++) {
    if (!kube_get(known, kube_value_text(c, now->c.items[i])))
      kube_forbidden(c, "schedulingGates", "only deletion is allowed, but found new scheduling gate");
  }
}

#define POD_MAY_CHANGE                                                                                                 \
  "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"            \
  "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"                          \
  "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

static void need_images(kube_check_t *c, const kube_node_t *v, const char *key) {
  const kube_node_t *list = kube_get(v, key);
  for (uint32_t i = 0; i < kube_count(list); i++)
    if (!kube_text(list->c.items[i], "image").n) kube_required(c, kube_arena_fmt(c->a, "%s[%u].image", key, i), NULL);
}

static void pod_spec_update(kube_check_t *c, const kube_node_t *v, const kube_node_t *old) {
  const kube_node_t *list = kube_get(v, "tolerations"), *before = kube_get(old, "tolerations");
  check_deadline(c, kube_get(v, "activeDeadlineSeconds"), kube_get(old, "activeDeadlineSeconds"));
  bool kept = true;
  for (uint32_t i = 0; i < kube_count(before) && kept; i++) kept = tolerates_still(list, before->c.items[i]);
  if (!kept) kube_forbidden(c, "tolerations", "existing toleration can not be modified except its tolerationSeconds");
  check_gates(c, v, old);
  char *free = kube_arena_fmt(c->a, "activeDeadlineSeconds tolerations schedulingGates%s%s",
                              gated(old) ? " nodeSelector affinity" : "",
                              kube_node_int(kube_get(old, "terminationGracePeriodSeconds"), 0) < 0 &&
                                      kube_node_int(kube_get(v, "terminationGracePeriodSeconds"), 0) == 1
                                  ? " terminationGracePeriodSeconds"
                                  : "");
  if (!kube_tree_equal(without(c->a, v, free, true), without(c->a, old, free, true)))
    kube_forbidden(c, NULL, POD_MAY_CHANGE);
}

/* What an update of the pod itself may change. */
KUBE_CALL(pod_update) {
  (void)r;
  if (!c->old_root || !old || !v) return;
  size_t n = kube_path_push(c, "spec");
  if (same_count(c, v, old, "containers", "pod updates may not add or remove containers") &&
      same_count(c, v, old, "initContainers", "pod updates may not add or remove containers")) {
    need_images(c, v, "containers");
    need_images(c, v, "initContainers");
    pod_spec_update(c, v, old);
  }
  kube_path_pop(c, n);
}

/* Its jobs' names add to it. */
KUBE_CALL(cron_name) {
  (void)r, (void)old;
  kg_str_t name = kube_node_str(v);
  if (name.n > 52) kube_invalid_str(c, "metadata.name", name, "must be no more than 52 characters");
}

/* --- cron ------------------------------------------------------------------------------------------------------- */

static bool cron_number(const char **p, int low, int high, const char *names, int *out) {
  if (**p >= '0' && **p <= '9') {
    *out = (int)strtol(*p, (char **)p, 10);
  } else {
    const char *at = names;
    int i = low;
    for (; at && *at; at += 3, i++)
      if (!strncasecmp(at, *p, 3)) break;
    if (!at || !*at) return false;
    *out = i;
    *p += 3;
  }
  return *out >= low && *out <= high;
}

/* One part of a field: star, n, a-b, each with /step. */
static bool cron_part(const char **p, int low, int high, const char *names) {
  int a = low, b = high, step;
  if (**p == '*' || **p == '?') {
    ++*p;
  } else {
    if (!cron_number(p, low, high, names, &a)) return false;
    b = a;
    if (**p == '-') {
      ++*p;
      if (!cron_number(p, low, high, names, &b) || b < a) return false;
    }
  }
  if (**p != '/') return true;
  ++*p;
  if (**p < '0' || **p > '9') return false;
  step = (int)strtol(*p, (char **)p, 10);
  return step > 0;
}

static const char *cron_problem(char *text) {
  static const struct {
    int low, high;
    const char *names;
  } fields[] = {{0, 59, NULL},
                {0, 23, NULL},
                {1, 31, NULL},
                {1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
                {0, 6, "sunmontuewedthufrisat"}};
  static const char *const words[] = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"};
  if (text[0] == '@') {
    for (int i = 0; i < 7; i++)
      if (!strcmp(text, words[i])) return NULL;
    return !strncmp(text, "@every ", 7) && text[7] ? NULL : "unrecognized descriptor";
  }
  int n = 0;
  char *save = NULL;
  for (char *word = strtok_r(text, " \t", &save); word; word = strtok_r(NULL, " \t", &save), n++) {
    const char *p = word;
    if (n == 5) return "expected exactly 5 fields";
    do {
      if (!cron_part(&p, fields[n].low, fields[n].high, fields[n].names)) return "failed to parse a field";
    } while (*p == ',' && p++);
    if (*p) return "failed to parse a field";
  }
  return n == 5 ? NULL : "expected exactly 5 fields";
}

KUBE_CALL(cron) {
  (void)r, (void)old;
  kg_str_t s = kube_node_str(v);
  bool zone = s.n > 2 && (!strncmp(s.p, "TZ=", 3) || (s.n > 7 && !strncmp(s.p, "CRON_TZ=", 8)));
  if (zone)
    return kube_invalid_str(c, "schedule", s, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
  const char *problem = cron_problem(kube_arena_fmt(c->a, KG_STR_FMT, KG_STR_ARG(s)));
  if (problem) kube_invalid_str(c, "schedule", s, problem);
}
