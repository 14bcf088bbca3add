/* What the server sets in new objects of certain kinds, and kinds that are answered instead of kept. */
#include <stdlib.h>
#include <string.h>

#include "custom.h"

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

const char *pod_qos(const kube_node_t *pod) {
  static const char *const lists[] = {"initContainers", "containers"};
  bool guaranteed = true, best_effort = true;
  const kube_node_t *own = kube_path(pod, "spec", "resources", NULL);
  if (any_amount(kube_get(own, "requests")) || any_amount(kube_get(own, "limits"))) /* a pod's own say all */
    return same_amount(own, "cpu") && same_amount(own, "memory") ? "Guaranteed" : "Burstable";
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

void kind_set_qos(kube_arena_t *a, kube_node_t *pod) {
  kube_set(a, kube_sub(a, pod, "status"), "qosClass", kube_str(a, pod_qos(pod)));
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

/* --- daemon sets: each change of the template has a number ------------------------------------------------------- */

#define TEMPLATE_GENERATION "deprecated.daemonset.template.generation"

static void set_template_generation(write_t *w, kube_node_t *object, int64_t n) {
  kube_arena_t *a = w->arena;
  kube_set(a, kube_sub(a, kube_sub(a, object, "metadata"), "annotations"), TEMPLATE_GENERATION,
           kube_strf(a, "%lld", (long long)n));
}

/* --- jobs: pods are chosen by a label of the job's own ----------------------------------------------------------- */

static void job_created(write_t *w, kube_node_t *object) {
  static const char *const names[] = {"batch.kubernetes.io/controller-uid", "controller-uid",
                                      "batch.kubernetes.io/job-name", "job-name"};
  kube_arena_t *a = w->arena;
  kube_node_t *spec = kube_sub(a, object, "spec"), *meta = kube_sub(a, object, "metadata");
  if (kube_node_bool(kube_get(spec, "manualSelector"), false)) return;
  kube_node_t *selector = kube_map(a), *uid = kube_get(meta, "uid");
  kube_node_t *name = kube_strn(a, kube_node_str(kube_get(meta, "name")));
  kube_node_t *labels = kube_sub(a, kube_sub(a, kube_sub(a, spec, "template"), "metadata"), "labels");
  bool shared = kube_tree_equal(labels, kube_get(meta, "labels")) || !kube_get(meta, "labels");
  kube_set(a, selector, names[0], uid);
  kube_set(a, kube_sub(a, spec, "selector"), "matchLabels", selector);
  for (int i = 0; i < 4; i++) kube_set(a, labels, names[i], i < 2 ? uid : name);
  if (shared) kube_set(a, meta, "labels", labels); /* they were the template's by default, and follow it */
}

void kind_updated(write_t *w, kube_node_t *object, const kube_node_t *old) {
  if (is_resource(w->q.r, "apiextensions.k8s.io", "customresourcedefinitions"))
    return definition_updated(w, object, old);
  if (!is_resource(w->q.r, "apps", "daemonsets")) return;
  kube_node_t *had = kube_path(old, "metadata", "annotations", TEMPLATE_GENERATION, NULL);
  int64_t n = had ? strtoll(kube_node_str(had).n ? kube_node_str(had).p : "0", NULL, 10) : 0;
  bool same = kube_tree_equal(kube_path(object, "spec", "template", NULL), kube_path(old, "spec", "template", NULL));
  set_template_generation(w, object, same ? n : n + 1);
}

/* A pod with scheduling gates says from the start why no scheduler looks at it (KEP-3521). */
static void pod_created(kube_arena_t *a, kube_node_t *object, kube_node_t *status) {
  kube_set(a, status, "phase", kube_str(a, "Pending"));
  kind_set_qos(a, object);
  const kube_node_t *gates = kube_path(object, "spec", "schedulingGates", NULL);
  if (!gates || gates->type != KG_V_ARRAY || !gates->c.n) return;
  kube_node_t *c = kube_map(a), *list = kube_array(a);
  kube_set(a, c, "type", kube_str(a, "PodScheduled"));
  kube_set(a, c, "status", kube_str(a, "False"));
  kube_set(a, c, "reason", kube_str(a, "SchedulingGated"));
  kube_set(a, c, "message", kube_str(a, "Scheduling is blocked due to non-empty scheduling gates"));
  kube_set(a, c, "lastProbeTime", kube_nil(a));
  kube_set(a, c, "lastTransitionTime", kube_nil(a));
  kube_push(a, list, c);
  kube_set(a, status, "conditions", list);
}

void kind_created(write_t *w, kube_node_t *object) {
  const kube_resource_t *r = w->q.r;
  kube_arena_t *a = w->arena;
  if (r->structural) {
    if (r->has_status) kube_del(object, "status");
    return;
  }
  if (!r->has_status || !r->has_spec || is_resource(r, "", "nodes")) return; /* a node brings its status along */
  const kube_field_t *f = kube_field_find(r->type, KG_STR("status"));
  kube_node_t *status = f && f->type ? kube_empty(a, f->type) : kube_map(a);
  kube_set(a, object, "status", status);
  if (is_resource(r, "", "pods")) {
    pod_created(a, object, status);
  } else if (is_resource(r, "", "namespaces")) {
    namespace_created(w, object, status);
  } else if (is_csr(r)) {
    csr_created(w, object);
  } else if (is_resource(r, "apps", "daemonsets")) {
    set_template_generation(w, object, 1);
  } else if (is_resource(r, "batch", "jobs")) {
    job_created(w, object);
  } else if (is_resource(r, "apiextensions.k8s.io", "customresourcedefinitions")) {
    definition_created(w, object);
  } else if (is_resource(r, "", "persistentvolumes") || is_resource(r, "", "persistentvolumeclaims")) {
    kube_set(a, status, "phase", kube_str(a, "Pending"));
    protect_created(w, object);
    protect_phase(w, object, NULL);
  }
}
