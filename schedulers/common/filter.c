/* May this pod run on that node? In the order Kubernetes' default plugins ask. */
#include "kube/placement.h"
#include "kube/values.h"
#include "scheduler.h"

static kg_str_t field(kg_view_t v, const char *key) {
  return kg_view_str(kg_view_get(v, key));
}

bool sched_refuse(sched_verdict_t *v, unsigned why, bool final, const char *reason) {
  v->why |= why;
  v->final |= final;
  v->reasons[v->n++] = reason;
  return false;
}

/* --- the node itself ---------------------------------------------------------------------------------------------- */

/* Do the matchFields of a term name the node? *any: they name nodes at all. */
static bool term_names(kg_view_t term, kg_str_t node, bool *any) {
  bool all = true;
  *any = false;
  for (kg_iter_t it = kg_iter(kg_view_get(term, "matchFields")); kg_iter_next(&it);) {
    if (!kg_str_is(field(it.value, "key"), "metadata.name") || !kg_str_is(field(it.value, "operator"), "In")) continue;
    bool in = false;
    for (kg_iter_t v = kg_iter(kg_view_get(it.value, "values")); kg_iter_next(&v);)
      in |= kg_str_eq(kg_view_str(v.value), node);
    *any = true;
    all &= in;
  }
  return all;
}

/* A pod whose every term names nodes is not asked about others. */
static bool named(kg_view_t spec, kg_str_t node) {
  kg_view_t terms = kg_view_path(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution",
                                 "nodeSelectorTerms", NULL);
  for (kg_iter_t it = kg_iter(terms); kg_iter_next(&it);) {
    bool any, in = term_names(it.value, node, &any);
    if (!any || in) return true;
  }
  return !kg_view_count(terms);
}

/* Does the pod tolerate the taint node.kubernetes.io/unschedulable:NoSchedule? */
static bool goes_anywhere(kg_view_t spec) {
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "tolerations")); kg_iter_next(&it);) {
    kg_str_t key = field(it.value, "key"), effect = field(it.value, "effect");
    if (effect.n && !kg_str_is(effect, "NoSchedule")) continue;
    if (key.n && !kg_str_is(key, "node.kubernetes.io/unschedulable")) continue;
    if (kg_str_is(field(it.value, "operator"), "Exists") || (key.n && !field(it.value, "value").n)) return true;
  }
  return false;
}

bool sched_tolerates(const sched_pod_t *pod, const sched_node_t *node) {
  for (kg_iter_t it = kg_iter(node->taints); kg_iter_next(&it);)
    if (!kg_str_is(field(it.value, "effect"), "PreferNoSchedule") &&
        !kube_tolerated(kg_view_get(pod->spec, "tolerations"), it.value))
      return false;
  return true;
}

bool sched_selects(const sched_pod_t *pod, const sched_node_t *node) {
  return !pod->choosy || (kube_selects_node(pod->spec, node->labels) &&
                          kube_affine_to_node(pod->spec, node->labels, kg_str(node->name)));
}

static bool filter_node(const sched_pod_t *pod, const sched_node_t *node, sched_verdict_t *v) {
  if (pod->choosy && !named(pod->spec, kg_str(node->name)))
    return sched_refuse(v, SCHED_WHY_NODE, true, "node(s) didn't satisfy plugin(s) [NodeAffinity]");
  if (node->unschedulable && !goes_anywhere(pod->spec))
    return sched_refuse(v, SCHED_WHY_NODE, true, "node(s) were unschedulable");
  if (!sched_tolerates(pod, node)) return sched_refuse(v, SCHED_WHY_NODE, true, "node(s) had untolerated taint(s)");
  if (!sched_selects(pod, node))
    return sched_refuse(v, SCHED_WHY_NODE, true, "node(s) didn't match Pod's node affinity/selector");
  return true;
}

/* --- room on it --------------------------------------------------------------------------------------------------- */

static bool filter_ports(const sched_pod_t *pod, const sched_node_t *node, sched_verdict_t *v) {
  for (const sched_pod_t *p = pod->ports ? node->guests : NULL; p; p = p->right)
    if (p->ports && kube_host_ports_clash(pod->spec, p->spec))
      return sched_refuse(v, SCHED_WHY_ROOM, false, "node(s) didn't have free ports for the requested pod ports");
  return true;
}

/* All that is lacking is told. Of what the whole node has not enough, no other pod's going would help. */
static bool filter_resources(const sched_t *s, const sched_pod_t *pod, const sched_node_t *node, sched_verdict_t *v) {
  bool fits = true;
  if (node->pods + 1 > node->max_pods) fits = sched_refuse(v, SCHED_WHY_ROOM, false, "Too many pods");
  for (int i = 0; i < SCHED_RESOURCES; i++) {
    int64_t want = pod->request.of[i], have = node->allocatable.of[i];
    if (want && want > have - node->used.of[i]) fits = sched_refuse(v, SCHED_WHY_ROOM, want > have, s->lack[i]);
  }
  if (pod->asks_more && v->n < SCHED_RESOURCES)
    fits = sched_refuse(v, SCHED_WHY_ROOM, true, "Insufficient resources of too many names");
  return fits;
}

bool sched_filter(const sched_t *s, const sched_pod_t *pod, const sched_node_t *node, sched_verdict_t *v) {
  v->why = 0, v->final = false, v->n = 0;
  return filter_node(pod, node, v) && filter_ports(pod, node, v) && filter_resources(s, pod, node, v) &&
         sched_filter_volumes(s, pod, node, v) && sched_filter_relations(s, pod, node, v);
}
