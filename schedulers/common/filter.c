/* May this pod run on that node? In the order Kubernetes' default plugins ask. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/placement.h"
#include "kube/values.h"
#include "scheduler.h"

static kg_str_t field(kg_view_t v, const char *key) {
  return kg_view_str(kg_view_get(v, key));
}

static const char *filter_taints(kg_view_t pod_spec, kg_view_t node_spec, char *buf, size_t size) {
  kg_view_t tolerations = kg_view_get(pod_spec, "tolerations");
  kg_iter_t it = kg_iter(kg_view_get(node_spec, "taints"));
  while (kg_iter_next(&it)) {
    if (kg_str_is(field(it.value, "effect"), "PreferNoSchedule") || kube_tolerated(tolerations, it.value)) continue;
    kg_str_t key = field(it.value, "key"), value = field(it.value, "value");
    snprintf(buf, size, "node(s) had untolerated taint {" KG_STR_FMT ": " KG_STR_FMT "}", KG_STR_ARG(key),
             KG_STR_ARG(value));
    return buf;
  }
  return NULL;
}

static bool filter_unschedulable(kg_view_t pod_spec, kg_view_t node_spec) {
  if (!kg_view_bool(kg_view_get(node_spec, "unschedulable"), false)) return true;
  kg_iter_t it = kg_iter(kg_view_get(pod_spec, "tolerations"));
  while (kg_iter_next(&it)) {
    kg_str_t key = field(it.value, "key");
    if ((!key.n || kg_str_is(key, "node.kubernetes.io/unschedulable")) &&
        kg_str_is(field(it.value, "operator"), "Exists"))
      return true;
  }
  return false;
}

static bool filter_ports(const sched_t *s, kg_view_t spec, const sched_node_t *node) {
  if (!kube_wants_host_port(spec)) return true;
  int32_t index = (int32_t)(node - s->nodes);
  for (size_t b = 0; b < SCHED_BUCKETS; b++)
    for (const sched_pod_t *p = s->pods[b]; p; p = p->next)
      if (p->node == index && kube_host_ports_clash(spec, kg_view_get(kg_view_of(p->doc), "spec"))) return false;
  return true;
}

static const char *filter_resources(const sched_t *s, const sched_pod_t *pod, const sched_node_t *node, char *buf,
                                    size_t size) {
  if (node->pods + 1 > node->max_pods) return "Too many pods";
  for (int i = 0; i < SCHED_RESOURCES; i++) {
    if (!pod->request.of[i] || pod->request.of[i] <= node->allocatable.of[i] - node->used.of[i]) continue;
    snprintf(buf, size, "Insufficient %s", s->resource[i] ? s->resource[i] : "resource");
    return buf;
  }
  return NULL;
}

const char *sched_filter(const sched_t *s, const sched_pod_t *pod, const sched_node_t *node, char *buf, size_t size) {
  kg_view_t spec = kg_view_get(kg_view_of(pod->doc), "spec"), n = kg_view_of(node->doc), labels = kube_labels(n);
  const char *why;
  if (!filter_unschedulable(spec, kg_view_get(n, "spec"))) return "node(s) were unschedulable";
  if ((why = filter_taints(spec, kg_view_get(n, "spec"), buf, size))) return why;
  if (!kube_selects_node(spec, labels) || !kube_affine_to_node(spec, labels, kg_str(node->name)))
    return "node(s) didn't match Pod's node affinity/selector";
  if (!filter_ports(s, spec, node)) return "node(s) didn't have free ports for the requested pod ports";
  if ((why = filter_resources(s, pod, node, buf, size))) return why;
  return sched_filter_relations(s, pod, node);
}
