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

/* --- reviews ----------------------------------------------------------------------------------------------------- */

/* Who am I: what the gateway found out about the caller. */
static void self_subject(write_t *w, kube_node_t *object) {
  kube_arena_t *a = w->arena;
  kg_view_t user = kg_view_get(w->q.args, "user");
  kube_node_t *info = kube_sub(a, kube_sub(a, object, "status"), "userInfo");
  kube_node_t *tree = kg_view_there(user) ? kube_tree_parse(a, user) : NULL;
  kube_node_t *name = kube_get(tree, "name");
  static const char *const kept[] = {"uid", "groups", "extra"};
  kube_set(a, info, "username", name ? name : kube_str(a, "system:admin"));
  for (int i = 0; i < 3; i++)
    if (kube_get(tree, kept[i])) kube_set(a, info, kept[i], kube_get(tree, kept[i]));
}

bool compute_review(write_t *w) {
  kube_node_t *object;
  char now[32];
  if (!is_resource(w->q.r, "authentication.k8s.io", "selfsubjectreviews")) return fault_method(&w->fault);
  if (!body_read(w, w->body, w->q.r, &object)) return false;
  kube_time_format(kg_wall_us(w->q.ctx), now);
  kube_set(w->arena, kube_sub(w->arena, object, "metadata"), "creationTimestamp", kube_str(w->arena, now));
  self_subject(w, object);
  w->reads = true;
  w->code = 201;
  w->answer = kube_tree_doc(object);
  return w->answer != NULL;
}
