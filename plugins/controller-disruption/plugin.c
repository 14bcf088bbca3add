/* How many pods of each PodDisruptionBudget may be evicted now. The api role takes evictions off that number. */
#include <stdlib.h>
#include <string.h>

#include "control.h"

enum { BUDGETS, PODS, DEPLOYMENTS, REPLICASETS, STATEFULSETS, CONTROLLERS };
enum { EVICTION_US = 120 * 1000000 }; /* an evicted pod that is not being deleted by then was not evicted */

typedef struct pdc {
  ctl_base_t base;
} pdc_t;

typedef struct pass {
  kg_ctx_t *ctx;
  pdc_t *c;
  ctl_sync_t *sync;
  kube_arena_t *arena;
  kg_view_t object, spec;
  kg_view_t *pods;
  size_t n;
  int64_t expected, desired, healthy;
  kube_node_t *disrupted; /* pod name: time of its eviction */
  const char *error;
} pass_t;

static const kube_gvr_t GVR_BUDGETS = {"policy", "v1", "poddisruptionbudgets"};

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

static void on_pod(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
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

static kg_view_t owner_in(const pass_t *p, unsigned informer, kg_view_t ref) {
  kg_doc_t *doc = kube_informer_get(p->c->base.informers[informer], kube_namespace(p->object),
                                    kg_view_str(kg_view_get(ref, "name")));
  kg_view_t v = kg_view_of(doc);
  return doc && kg_str_eq(kube_uid(v), kg_view_str(kg_view_get(ref, "uid"))) ? v : (kg_view_t){0};
}

/* The workload that says how many pods there should be; absent: nobody does. */
static kg_view_t scaler(const pass_t *p, kg_view_t pod) {
  static const struct {
    const char *kind;
    unsigned informer;
  } kinds[] = {{"ReplicaSet", REPLICASETS}, {"StatefulSet", STATEFULSETS}, {"ReplicationController", CONTROLLERS}};
  kg_view_t ref = kube_controller_ref(pod), owner = {0};
  for (size_t i = 0; i < 3; i++)
    if (kg_str_is(kg_view_str(kg_view_get(ref, "kind")), kinds[i].kind)) owner = owner_in(p, kinds[i].informer, ref);
  ref = kube_controller_ref(owner);
  if (!kg_str_is(kg_view_str(kg_view_get(ref, "kind")), "Deployment")) return owner;
  kg_view_t deployment = owner_in(p, DEPLOYMENTS, ref);
  return kg_view_there(deployment) ? deployment : owner;
}

static int64_t scale_of_all(pass_t *p) {
  kg_str_t *seen = kube_arena_alloc(p->arena, (p->n + 1) * sizeof *seen);
  size_t n = 0;
  int64_t sum = 0;
  for (size_t i = 0; i < p->n; i++) {
    kg_view_t owner = scaler(p, p->pods[i]);
    size_t k = 0;
    if (!kg_view_there(owner)) {
      if (kg_view_there(kube_controller_ref(p->pods[i])))
        p->error =
            kube_arena_fmt(p->arena, "%s/v1 does not implement the scale subresource",
                           ctl_text(p->arena, kg_view_str(kg_view_get(kube_controller_ref(p->pods[i]), "kind"))));
      continue;
    }
    while (k < n && !kg_str_eq(seen[k], kube_uid(owner))) k++;
    if (k < n) continue;
    seen[n++] = kube_uid(owner);
    sum += kg_view_int(kg_view_path(owner, "spec", "replicas", NULL), 1);
  }
  return sum;
}

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

static bool has_ended(kg_view_t pod) {
  kg_str_t phase = kg_view_str(kg_view_path(pod, "status", "phase", NULL));
  return kg_str_is(phase, "Succeeded") || kg_str_is(phase, "Failed");
}

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

static void write_status(pass_t *p) {
  kube_arena_t *a = p->arena;
  kg_view_t old = kg_view_get(p->object, "status");
  kube_node_t *status = kg_view_count(old) ? kube_tree_clone(a, kube_tree_parse(a, old)) : kube_map(a);
  kube_node_t *list = kube_get(status, "conditions");
  int64_t allowed = p->expected > 0 && p->healthy > p->desired && !p->error ? p->healthy - p->desired : 0;
  if (!list || list->type != KG_V_ARRAY) list = kube_array(a);
  ctl_condition_set(a, list, "DisruptionAllowed", allowed ? "True" : "False",
                    p->error  ? "SyncFailed"
                    : allowed ? "SufficientPods"
                              : "InsufficientPods",
                    p->error ? p->error : "", kg_wall_us(p->ctx), false);
  kube_set(a, ctl_condition(list, "DisruptionAllowed"), "observedGeneration", kube_int(a, kube_generation(p->object)));
  kube_set(a, status, "conditions", list);
  kube_set(a, status, "currentHealthy", kube_int(a, p->healthy));
  kube_set(a, status, "desiredHealthy", kube_int(a, p->desired));
  kube_set(a, status, "expectedPods", kube_int(a, p->expected));
  kube_set(a, status, "disruptionsAllowed", kube_int(a, allowed));
  kube_set(a, status, "observedGeneration", kube_int(a, kube_generation(p->object)));
  if (p->disrupted->c.n)
    kube_set(a, status, "disruptedPods", p->disrupted);
  else
    kube_del(status, "disruptedPods");
  ctl_send_status_guarded(p->ctx, p->sync, GVR_BUDGETS, p->object, status);
}

static void sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  pdc_t *c = self;
  kg_doc_t *doc;
  ctl_sync_t *s = ctl_sync_object(&c->base.work, key, c->base.informers[BUDGETS], &doc);
  if (doc) {
    pass_t p = {.ctx = ctx, .c = c, .sync = s, .arena = ctl_arena(s), .object = kg_view_of(doc)};
    p.spec = kg_view_get(p.object, "spec");
    read_pods(&p);
    if (!p.n) kube_event(ctx, c->base.recorder, p.object, "Normal", "NoPods", "No matching pods found");
    expect(&p);
    count_healthy(&p);
    write_status(&p);
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
