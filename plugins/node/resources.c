/* Requests and limits: quality of service and what the kernel is told. */
#include "node.h"

enum { MIN_SHARES = 2, PERIOD_US = 100000, MIN_QUOTA_US = 1000 };

static int64_t milli(kg_view_t container, const char *kind, const char *resource, int64_t fallback) {
  int64_t v;
  kg_str_t s = VIEW_STR(container, "resources", kind, resource);
  return s.p && !kube_quantity_milli(s, &v) ? v : fallback;
}

/* Sums up what one container says: whether it asks for anything, and whether its requests equal its limits. */
static void class_of(kg_view_t container, bool *asks, bool *equal) {
  static const char *const names[] = {"cpu", "memory"};
  for (size_t i = 0; i < 2; i++) {
    int64_t limit = milli(container, "limits", names[i], 0), request = milli(container, "requests", names[i], limit);
    if (limit > 0 || request > 0) *asks = true;
    if (limit <= 0 || request != limit) *equal = false;
  }
}

const char *pod_qos(kg_view_t spec) {
  static const char *const lists[] = {"containers", "initContainers"};
  bool asks = false, equal = true, own = kg_view_count(kg_view_get(spec, "resources")) > 0;
  if (own) class_of(spec, &asks, &equal); /* a pod's own say all */
  for (size_t i = 0; i < 2 && !own; i++)
    for (kg_iter_t it = kg_iter(kg_view_get(spec, lists[i])); kg_iter_next(&it);) class_of(it.value, &asks, &equal);
  return !asks ? "BestEffort" : equal ? "Guaranteed" : "Burstable";
}

static void in_kernel_terms(limits_t *l, int64_t request, int64_t limit, int64_t memory) {
  *l = (limits_t){.cpu_period = PERIOD_US, .memory = memory / 1000};
  l->cpu_shares = request * 1024 / 1000;
  if (l->cpu_shares < MIN_SHARES) l->cpu_shares = MIN_SHARES;
  if (limit > 0) l->cpu_quota = limit * PERIOD_US / 1000;
  if (limit > 0 && l->cpu_quota < MIN_QUOTA_US) l->cpu_quota = MIN_QUOTA_US;
}

void box_limits(kg_view_t container, limits_t *l) {
  int64_t limit = milli(container, "limits", "cpu", 0), request = milli(container, "requests", "cpu", limit);
  in_kernel_terms(l, request, limit, milli(container, "limits", "memory", 0));
}

/* What the pod's containers need at the most at one time: those that run together, or an init container beside the
 * sidecars before it. -1 if `whole` and one of them says nothing. */
static int64_t sum_of(kg_view_t spec, const char *kind, const char *resource, bool whole) {
  int64_t sidecars = 0, peak = 0, own = milli(spec, kind, resource, -1); /* spec.resources: of the pod itself */
  if (own >= 0) return own;
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "initContainers")); kg_iter_next(&it);) {
    int64_t v = milli(it.value, kind, resource, !strcmp(kind, "requests") ? milli(it.value, "limits", resource, 0) : 0);
    if (whole && v <= 0) return -1;
    if (kg_str_is(VIEW_STR(it.value, "restartPolicy"), "Always"))
      sidecars += v;
    else if (sidecars + v > peak)
      peak = sidecars + v;
  }
  int64_t sum = sidecars;
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "containers")); kg_iter_next(&it);) {
    int64_t v = milli(it.value, kind, resource, !strcmp(kind, "requests") ? milli(it.value, "limits", resource, 0) : 0);
    if (whole && v <= 0) return -1;
    sum += v;
  }
  int64_t overhead = 0;
  kube_quantity_milli(VIEW_STR(spec, "overhead", resource), &overhead);
  return (sum > peak ? sum : peak) + overhead;
}

int64_t pod_request(kg_view_t spec, const char *resource) {
  return sum_of(spec, "requests", resource, false);
}

void pod_limits(kg_view_t spec, limits_t *l) {
  int64_t cpu = sum_of(spec, "limits", "cpu", true), memory = sum_of(spec, "limits", "memory", true);
  in_kernel_terms(l, sum_of(spec, "requests", "cpu", false), cpu, memory > 0 ? memory : 0);
}
