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
  bool asks = false, equal = true;
  for (size_t i = 0; i < 2; i++)
    for (kg_iter_t it = kg_iter(kg_view_get(spec, lists[i])); kg_iter_next(&it);) class_of(it.value, &asks, &equal);
  return !asks ? "BestEffort" : equal ? "Guaranteed" : "Burstable";
}

void box_limits(kg_view_t container, limits_t *l) {
  *l = (limits_t){.cpu_period = PERIOD_US};
  int64_t limit = milli(container, "limits", "cpu", 0), request = milli(container, "requests", "cpu", limit);
  l->cpu_shares = request * 1024 / 1000;
  if (l->cpu_shares < MIN_SHARES) l->cpu_shares = MIN_SHARES;
  if (limit > 0) l->cpu_quota = limit * PERIOD_US / 1000;
  if (limit > 0 && l->cpu_quota < MIN_QUOTA_US) l->cpu_quota = MIN_QUOTA_US;
  l->memory = milli(container, "limits", "memory", 0) / 1000;
}
