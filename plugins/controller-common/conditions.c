#include <string.h>

#include "control.h"

static uint32_t index_of(const kube_node_t *conditions, const char *type) {
  uint32_t n = conditions && conditions->type == KG_V_ARRAY ? conditions->c.n : 0;
  for (uint32_t i = 0; i < n; i++)
    if (kg_str_is(kube_node_str(kube_get(conditions->c.items[i], "type")), type)) return i;
  return UINT32_MAX;
}

kube_node_t *ctl_condition(const kube_node_t *conditions, const char *type) {
  uint32_t i = index_of(conditions, type);
  return i == UINT32_MAX ? NULL : conditions->c.items[i];
}

void ctl_condition_remove(kube_node_t *conditions, const char *type) {
  uint32_t i = index_of(conditions, type);
  if (i != UINT32_MAX) kube_remove_at(conditions, i);
}

void ctl_condition_set(kube_arena_t *a, kube_node_t *conditions, const char *type, const char *status,
                       const char *reason, const char *message, int64_t now_us, bool updates) {
  kube_node_t *old = ctl_condition(conditions, type), *c = kube_map(a);
  bool same = old && kg_str_is(kube_node_str(kube_get(old, "status")), status);
  if (same && kg_str_is(kube_node_str(kube_get(old, "reason")), reason)) return;
  char now[32];
  kube_time_format(now_us, now);
  kube_node_t *since = same ? kube_get(old, "lastTransitionTime") : NULL;
  kube_set(a, c, "type", kube_str(a, type));
  kube_set(a, c, "status", kube_str(a, status));
  if (updates) kube_set(a, c, "lastUpdateTime", kube_str(a, now));
  kube_set(a, c, "lastTransitionTime", since ? since : kube_str(a, now));
  kube_set(a, c, "reason", kube_str(a, reason));
  kube_set(a, c, "message", kube_str(a, message));
  ctl_condition_remove(conditions, type);
  kube_push(a, conditions, c);
}
