/* How many pods of each PodDisruptionBudget may be evicted now. The api role takes evictions off that number. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disruption.h"

enum { EVICTION_US = 120 * 1000000 }; /* an evicted pod that is not being deleted by then was not evicted */
enum { STALE_US = 120 * 1000000 };    /* and what was said to be about to go, and stayed, is not any more */

static const kube_gvr_t GVR_BUDGETS = {"policy", "v1", "poddisruptionbudgets"};

static bool has_ended(kg_view_t pod) {
  kg_str_t phase = kg_view_str(kg_view_path(pod, "status", "phase", NULL));
  return kg_str_is(phase, "Succeeded") || kg_str_is(phase, "Failed");
}

/* --- who has work ------------------------------------------------------------------------------------------------- */

static void add_budgets(kg_ctx_t *ctx, pdc_t *c, kg_view_t pod) {
  size_t first, count;
  char key[CTL_KEY_MAX];
  kube_informer_ns(c->base.informers[BUDGETS], kube_namespace(pod), &first, &count);
  for (size_t i = first; i < first + count; i++) {
    kg_view_t budget = kg_view_of(kube_informer_at(c->base.informers[BUDGETS], i));
    kube_selector_t *s = ctl_selector_of(budget, NULL);
    if (s && kube_selector_matches(s, kube_labels(pod))) ctl_work_add(ctx, &c->base.work, ctl_key(budget, key));
    kube_selector_free(s);
  }
}

/* Key of the pass that takes back what was said of a pod; no budget has such a name space. */
static char *stale_key(kg_view_t pod, char buf[CTL_KEY_MAX]) {
  snprintf(buf, CTL_KEY_MAX, "~" KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(kube_namespace(pod)),
           KG_STR_ARG(kube_name(pod)));
  return buf;
}

/* Milliseconds until its DisruptionTarget condition is stale; -1: it has none that may become so. */
static int64_t stale_in(kg_ctx_t *ctx, kg_view_t pod) {
  int64_t since;
  if (kube_deleting(pod) || has_ended(pod)) return -1;
  kg_view_t target = kube_condition_of(pod, "DisruptionTarget");
  if (!kg_str_is(kg_view_str(kg_view_get(target, "status")), "True")) return -1;
  if (kg_str_is(kg_view_str(kg_view_get(target, "reason")), "TerminationByKubelet")) return -1;
  if (kube_time_parse(kg_view_str(kg_view_get(target, "lastTransitionTime")), &since)) return 0;
  int64_t left = (since + STALE_US - kg_wall_us(ctx)) / 1000;
  return left > 0 ? left : 0;
}

static void on_pod(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  char key[CTL_KEY_MAX];
  int64_t stale = change == KUBE_DELETED ? -1 : stale_in(ctx, now);
  if (stale >= 0) ctl_work_add_after(ctx, &((ctl_base_t *)self)->work, stale_key(now, key), stale + 1);
  bool same = change == KUBE_MODIFIED && kg_view_equal(kube_labels(old), kube_labels(now)) &&
              ctl_pod_ready(old, NULL) == ctl_pod_ready(now, NULL) && kube_deleting(old) == kube_deleting(now) &&
              kg_view_equal(kg_view_path(old, "status", "phase", NULL), kg_view_path(now, "status", "phase", NULL));
  if (same) return;
  add_budgets(ctx, self, now);
  if (change == KUBE_MODIFIED) add_budgets(ctx, self, old);
}

/* Somebody's scale has changed: all budgets of the namespace are counted again. */
static void on_scaled(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  pdc_t *c = self;
  size_t first, count;
  char key[CTL_KEY_MAX];
  if (change == KUBE_MODIFIED &&
      kg_view_equal(kg_view_path(old, "spec", "replicas", NULL), kg_view_path(now, "spec", "replicas", NULL)))
    return;
  kube_informer_ns(c->base.informers[BUDGETS], kube_namespace(now), &first, &count);
  for (size_t i = first; i < first + count; i++)
    ctl_work_add(ctx, &c->base.work, ctl_key(kg_view_of(kube_informer_at(c->base.informers[BUDGETS], i)), key));
}

/* --- what is expected --------------------------------------------------------------------------------------------- */

static void expect(pass_t *p) {
  kg_view_t least = kg_view_get(p->spec, "minAvailable"), most = kg_view_get(p->spec, "maxUnavailable");
  if (kg_view_there(most)) {
    p->expected = scale_of_all(p);
    p->desired = p->expected - ctl_resolve(most, p->expected, true, 0);
  } else if (kg_view_type(least) == KG_V_INT) {
    p->expected = (int64_t)p->n;
    p->desired = kg_view_int(least, 0);
  } else if (kg_view_there(least)) {
    p->expected = scale_of_all(p);
    p->desired = ctl_resolve(least, p->expected, true, 0);
  }
  if (p->desired < 0) p->desired = 0;
}

/* --- what there is ------------------------------------------------------------------------------------------------ */

static void read_pods(pass_t *p) {
  size_t first, count;
  const kube_informer_t *pods = p->c->base.informers[PODS];
  kube_selector_t *s = ctl_selector_of(p->object, NULL);
  kube_informer_ns(pods, kube_namespace(p->object), &first, &count);
  p->pods = kube_arena_alloc(p->arena, (count + 1) * sizeof *p->pods);
  for (size_t i = first; s && i < first + count; i++) {
    kg_doc_t *doc = kube_informer_at(pods, i);
    if (has_ended(kg_view_of(doc)) || !kube_selector_matches(s, kube_labels(kg_view_of(doc)))) continue;
    p->pods[p->n++] = kg_view_of(ctl_keep(p->sync, doc));
  }
  kube_selector_free(s);
}

/* Pods whose eviction was granted and has not shown yet; *wait_ms: until one of them is believed in again. */
static bool is_disrupted(pass_t *p, kg_view_t pod, int64_t *wait_ms) {
  kg_view_t at = kg_view_get_str(kg_view_path(p->object, "status", "disruptedPods", NULL), kube_name(pod));
  int64_t since, left;
  if (kube_deleting(pod) || kube_time_parse(kg_view_str(at), &since)) return false;
  left = (since + EVICTION_US - kg_wall_us(p->ctx)) / 1000;
  if (left <= 0) return false;
  kube_setn(p->arena, p->disrupted, kube_name(pod), kube_strn(p->arena, kg_view_str(at)));
  if (left < *wait_ms) *wait_ms = left;
  return true;
}

static void count_healthy(pass_t *p) {
  int64_t wait_ms = INT64_MAX;
  p->disrupted = kube_map(p->arena);
  for (size_t i = 0; i < p->n; i++) {
    bool gone = is_disrupted(p, p->pods[i], &wait_ms) || kube_deleting(p->pods[i]);
    p->healthy += !gone && ctl_pod_ready(p->pods[i], NULL);
  }
  if (wait_ms != INT64_MAX) kube_queue_add_after(p->ctx, p->c->base.work.queue, ctl_sync_key(p->sync), wait_ms + 1);
}

/* --- the pass ----------------------------------------------------------------------------------------------------- */

static void set_allowed(pass_t *p, kube_node_t *status, int64_t allowed, int64_t generation) {
  kube_arena_t *a = p->arena;
  kube_node_t *list = kube_get(status, "conditions");
  const char *reason = p->error ? "SyncFailed" : allowed ? "SufficientPods" : "InsufficientPods";
  if (!list || list->type != KG_V_ARRAY) list = kube_array(a);
  const kube_node_t *was = ctl_condition(list, "DisruptionAllowed");
  if (p->error && !kg_str_is(kube_node_str(kube_get(was, "message")), p->error))
    ctl_condition_remove(list, "DisruptionAllowed");
  ctl_condition_set(a, list, "DisruptionAllowed", allowed ? "True" : "False", reason, p->error ? p->error : "",
                    kg_wall_us(p->ctx), false);
  kube_set(a, ctl_condition(list, "DisruptionAllowed"), "observedGeneration", kube_int(a, generation));
  kube_set(a, status, "conditions", list);
  kube_set(a, status, "disruptionsAllowed", kube_int(a, allowed));
}

static void write_status(pass_t *p) {
  kube_arena_t *a = p->arena;
  kg_view_t old = kg_view_get(p->object, "status");
  kube_node_t *status = kg_view_count(old) ? kube_tree_clone(a, kube_tree_parse(a, old)) : kube_map(a);
  if (p->error) { /* nothing may be evicted; the rest stays as it was */
    set_allowed(p, status, 0, kg_view_int(kg_view_get(old, "observedGeneration"), 0));
  } else {
    bool some = p->expected > 0 && p->healthy > p->desired;
    set_allowed(p, status, some ? p->healthy - p->desired : 0, kube_generation(p->object));
    kube_set(a, status, "currentHealthy", kube_int(a, p->healthy));
    kube_set(a, status, "desiredHealthy", kube_int(a, p->desired));
    kube_set(a, status, "expectedPods", kube_int(a, p->expected));
    kube_set(a, status, "observedGeneration", kube_int(a, kube_generation(p->object)));
    if (p->disrupted->c.n)
      kube_set(a, status, "disruptedPods", p->disrupted);
    else
      kube_del(status, "disruptedPods");
  }
  ctl_send_status_guarded(p->ctx, p->sync, GVR_BUDGETS, p->object, status);
}

/* As Go prints a LabelSelector. */
static const char *selector_text(pass_t *p) {
  kube_arena_t *a = p->arena;
  kg_view_t selector = kg_view_get(p->spec, "selector");
  char *labels = kube_arena_fmt(a, "%s", ""), *rules = kube_arena_fmt(a, "%s", "");
  for (kg_iter_t it = kg_iter(kg_view_get(selector, "matchLabels")); kg_iter_next(&it);)
    labels = kube_arena_fmt(a, "%s" KG_STR_FMT ": " KG_STR_FMT ",", labels, KG_STR_ARG(kg_view_str(it.key)),
                            KG_STR_ARG(kg_view_str(it.value)));
  for (kg_iter_t it = kg_iter(kg_view_get(selector, "matchExpressions")); kg_iter_next(&it);) {
    char *values = kube_arena_fmt(a, "%s", "");
    for (kg_iter_t v = kg_iter(kg_view_get(it.value, "values")); kg_iter_next(&v);)
      values = kube_arena_fmt(a, "%s%s" KG_STR_FMT, values, *values ? " " : "", KG_STR_ARG(kg_view_str(v.value)));
    rules = kube_arena_fmt(a, "%sLabelSelectorRequirement{Key:" KG_STR_FMT ",Operator:" KG_STR_FMT ",Values:[%s],},",
                           rules, KG_STR_ARG(kg_view_str(kg_view_get(it.value, "key"))),
                           KG_STR_ARG(kg_view_str(kg_view_get(it.value, "operator"))), values);
  }
  return kube_arena_fmt(a,
                        "&LabelSelector{MatchLabels:map[string]string{%s},MatchExpressions:[]"
                        "LabelSelectorRequirement{%s},}",
                        labels, rules);
}

static void tell(pass_t *p) {
  kube_recorder_t *r = p->c->base.recorder;
  if (!p->n) kube_event(p->ctx, r, p->object, "Normal", "NoPods", "No matching pods found");
  if (p->error)
    kube_event(p->ctx, r, p->object, "Warning", "CalculateExpectedPodCountFailed",
               "Failed to calculate the number of expected pods: %s", p->error);
  else if (p->unmanaged)
    kube_event(p->ctx, r, p->object, "Warning", "UnmanagedPods",
               "Pods selected by this PodDisruptionBudget (selector: %s) were found to be unmanaged. As a result, the "
               "status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account "
               "for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.",
               selector_text(p));
}

/* --- pods that were to go and did not ----------------------------------------------------------------------------- */

static void take_back(kg_ctx_t *ctx, pdc_t *c, const char *key) {
  kg_doc_t *doc;
  ctl_sync_t *s = ctl_sync_begin(&c->base.work, key);
  kg_str_t ns, name;
  ctl_split(key + 1, &ns, &name);
  doc = kube_informer_get(c->base.informers[PODS], ns, name);
  int64_t left = doc ? stale_in(ctx, kg_view_of(doc)) : -1;
  if (left > 0) ctl_work_add_after(ctx, &c->base.work, key, left + 1);
  if (left == 0) ctl_mark_pod(ctx, s, kg_view_of(ctl_keep(s, doc)), "DisruptionTarget", "False", NULL, NULL);
  ctl_sync_end(ctx, c, s);
}

static void judge(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *arg) {
  (void)ctx, (void)self, (void)s;
  pass_t *p = arg;
  expect(p);
  tell(p);
  count_healthy(p);
  write_status(p);
}

static void sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  pdc_t *c = self;
  kg_doc_t *doc;
  if (*key == '~') return take_back(ctx, c, key);
  ctl_sync_t *s = ctl_sync_object(&c->base.work, key, c->base.informers[BUDGETS], &doc);
  if (doc) {
    pass_t *p = kube_arena_alloc(ctl_arena(s), sizeof *p);
    *p = (pass_t){.ctx = ctx, .c = c, .sync = s, .arena = ctl_arena(s), .object = kg_view_of(doc)};
    p->spec = kg_view_get(p->object, "spec");
    read_pods(p);
    scales_ask(p);
    ctl_sync_then(s, judge, p);
  }
  ctl_sync_end(ctx, self, s);
}

static const ctl_spec_t spec = {
    .size = sizeof(pdc_t),
    .component = "controllermanager",
    .sync = sync,
    .watches = {[BUDGETS] = {.gvr = {"policy", "v1", "poddisruptionbudgets"}, .fn = ctl_on_key, .keys = true},
                [PODS] = {.gvr = {"", "v1", "pods"}, .fn = on_pod},
                [DEPLOYMENTS] = {.gvr = {"apps", "v1", "deployments"}, .fn = on_scaled},
                [REPLICASETS] = {.gvr = {"apps", "v1", "replicasets"}, .fn = on_scaled},
                [STATEFULSETS] = {.gvr = {"apps", "v1", "statefulsets"}, .fn = on_scaled},
                [CONTROLLERS] = {.gvr = {"", "v1", "replicationcontrollers"}, .fn = on_scaled}}};

CTL_PLUGIN(spec, .name = "controller-disruption", .summary = "Counts how many pods may be evicted");
