/* What the server sets in new objects of certain kinds, and kinds that are answered instead of kept. */
#include <string.h>

#include "api.h"

/* --- quality of service ------------------------------------------------------------------------------------------ */

static bool any_amount(const kube_node_t *list) {
  static const char *const names[] = {"cpu", "memory"};
  int64_t milli;
  for (int i = 0; i < 2; i++)
    if (kube_quantity_milli(kube_node_str(kube_get(list, names[i])), &milli) == 0 && milli > 0) return true;
  return false;
}

static bool same_amount(const kube_node_t *resources, const char *name) {
  int64_t limit, request;
  if (kube_quantity_milli(kube_node_str(kube_path(resources, "limits", name, NULL)), &limit) != 0 || limit <= 0)
    return false;
  return kube_quantity_milli(kube_node_str(kube_path(resources, "requests", name, NULL)), &request) != 0 ||
         request == limit;
}

static const char *qos_class(const kube_node_t *pod) {
  static const char *const lists[] = {"initContainers", "containers"};
  bool guaranteed = true, best_effort = true;
  for (int l = 0; l < 2; l++) {
    const kube_node_t *list = kube_path(pod, "spec", lists[l], NULL);
    for (uint32_t i = 0; list && list->type == KG_V_ARRAY && i < list->c.n; i++) {
      const kube_node_t *r = kube_get(list->c.items[i], "resources");
      if (any_amount(kube_get(r, "requests")) || any_amount(kube_get(r, "limits"))) best_effort = false;
      if (!same_amount(r, "cpu") || !same_amount(r, "memory")) guaranteed = false;
    }
  }
  return best_effort ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

/* --- new objects ------------------------------------------------------------------------------------------------- */

static void namespace_created(write_t *w, kube_node_t *object, kube_node_t *status) {
  kube_arena_t *a = w->arena;
  kube_node_t *spec = kube_sub(a, object, "spec"), *list = kube_get(spec, "finalizers");
  if (!list || list->type != KG_V_ARRAY) kube_set(a, spec, "finalizers", list = kube_array(a));
  bool there = false;
  for (uint32_t i = 0; i < list->c.n; i++) there |= node_is(list->c.items[i], "kubernetes");
  if (!there) kube_push(a, list, kube_str(a, "kubernetes"));
  kube_set(a, kube_sub(a, kube_sub(a, object, "metadata"), "labels"), "kubernetes.io/metadata.name",
           kube_strn(a, w->q.name));
  kube_set(a, status, "phase", kube_str(a, "Active"));
}

void kind_created(write_t *w, kube_node_t *object) {
  const kube_resource_t *r = w->q.r;
  kube_arena_t *a = w->arena;
  if (!r->has_status || !r->has_spec || is_resource(r, "", "nodes")) return; /* a node brings its status along */
  kube_node_t *status = kube_map(a);
  kube_set(a, object, "status", status);
  if (is_resource(r, "", "pods")) {
    kube_set(a, status, "phase", kube_str(a, "Pending"));
    kube_set(a, status, "qosClass", kube_str(a, qos_class(object)));
  } else if (is_resource(r, "", "namespaces")) {
    namespace_created(w, object, status);
  } else if (is_resource(r, "", "services")) {
    kube_set(a, status, "loadBalancer", kube_map(a));
  } else if (is_resource(r, "", "persistentvolumes") || is_resource(r, "", "persistentvolumeclaims")) {
    kube_set(a, status, "phase", kube_str(a, "Pending"));
  }
}
