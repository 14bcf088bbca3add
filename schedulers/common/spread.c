/* Spreading over topology domains, as the plugin PodTopologySpread of Kubernetes decides it. */
#include <math.h>
#include <string.h>

#include "relations.h"

static kg_str_t text(kg_view_t v, const char *key) {
  return kg_view_str(kg_view_get(v, key));
}

static void read_spread(spread_t *c, kg_view_t v, kg_view_t pod) {
  kg_view_t labels = kube_labels(pod);
  *c = (spread_t){.key = text(v, "topologyKey"),
                  .pods = kube_selector_of(kg_view_get(v, "labelSelector"), NULL),
                  .same_keys = kg_view_get(v, "matchLabelKeys"),
                  .max_skew = kg_view_int(kg_view_get(v, "maxSkew"), 1),
                  .min_domains = kg_view_int(kg_view_get(v, "minDomains"), 1),
                  .hard = !kg_str_is(text(v, "whenUnsatisfiable"), "ScheduleAnyway"),
                  .honor_affinity = !kg_str_is(text(v, "nodeAffinityPolicy"), "Ignore"),
                  .honor_taints = kg_str_is(text(v, "nodeTaintsPolicy"), "Honor")};
  c->self = c->pods && kube_selector_matches(c->pods, labels);
  c->by_node = !c->hard && kg_str_eq(c->key, KG_STR(SCHED_HOSTNAME));
}

/* Pods that ask for nothing are spread a little all the same, with those of their controller. */
static void read_house_spreads(struct sched_relations *r) {
  static const struct {
    const char *key;
    int64_t skew;
  } house[] = {{SCHED_HOSTNAME, 3}, {SCHED_ZONE, 5}};
  for (size_t i = 0; i < 2; i++)
    r->spreads[r->nspreads++] = (spread_t){.key = kg_str(house[i].key),
                                           .max_skew = house[i].skew,
                                           .self = true,
                                           .honor_affinity = true,
                                           .by_node = i == 0};
}

/* A node without one of the keys of the constraints of the same sort is left out of all of them. */
static bool has_keys(const struct sched_relations *r, const spread_t *c, const sched_node_t *node) {
  for (size_t i = 0; i < r->nspreads; i++)
    if (r->spreads[i].hard == c->hard && r->spreads[i].pods && !sched_label(node, r->spreads[i].key).p) return false;
  return true;
}

static uint16_t counts_for(const struct sched_relations *r, const sched_pod_t *pod, const sched_node_t *node) {
  bool wanted = sched_selects(pod, node), tolerated = sched_tolerates(pod, node);
  uint16_t bits = 0;
  for (size_t i = 0; i < r->nspreads; i++) {
    const spread_t *c = &r->spreads[i];
    if ((wanted || !c->honor_affinity) && (tolerated || !c->honor_taints) && has_keys(r, c, node))
      bits |= (uint16_t)(1u << i);
  }
  return bits;
}

static void know_domains(sched_t *s, const sched_pod_t *pod) {
  struct sched_relations *r = s->relations;
  memset(r->tally, 0, s->n_nodes * sizeof *r->tally);
  for (size_t n = 0; n < s->n_nodes; n++) {
    const sched_node_t *node = &s->nodes[n];
    r->counts[n] = node->doc ? counts_for(r, pod, node) : 0;
    for (size_t i = 0; i < r->nspreads; i++) {
      spread_t *c = &r->spreads[i];
      if (!(r->counts[n] & 1u << i)) continue;
      if (c->by_node)
        c->domains++;
      else
        domains_add(&r->spread_counts, (uint32_t)i, c->key, sched_label(node, c->key), 0);
    }
  }
}

void spread_read(sched_t *s, const sched_pod_t *pod) {
  struct sched_relations *r = s->relations;
  kg_view_t v = kg_view_of(pod->doc);
  kg_iter_t it = kg_iter(kg_view_path(v, "spec", "topologySpreadConstraints", NULL));
  while (kg_iter_next(&it) && r->nspreads < SPREADS) read_spread(&r->spreads[r->nspreads++], it.value, v);
  if (!r->nspreads && pod->owner) read_house_spreads(r);
  if (r->nspreads) know_domains(s, pod);
}

static bool counted(const spread_t *c, const sched_pod_t *pod, const sched_pod_t *other) {
  return !c->pods ||
         (kube_selector_matches(c->pods, other->labels) && labels_alike(c->same_keys, pod->labels, other->labels));
}

void spread_count(sched_t *s, const sched_pod_t *pod, const sched_pod_t *other, int sign) {
  struct sched_relations *r = s->relations;
  uint16_t bits = r->counts[other->node];
  if (!bits || other->deleting || !kg_str_eq(pod->space, other->space)) return;
  for (size_t i = 0; i < r->nspreads; i++)
    if (bits & 1u << i && counted(&r->spreads[i], pod, other)) r->tally[other->node][i] += sign;
}

void spread_count_owned(sched_t *s, const sched_owner_t *owner) {
  struct sched_relations *r = s->relations;
  for (size_t n = 0; n < s->n_nodes && n < owner->nodes; n++)
    for (size_t i = 0; i < r->nspreads; i++)
      if (r->counts[n] & 1u << i) r->tally[n][i] += (int32_t)owner->on[n];
}

static void add_tallies(sched_t *s) {
  struct sched_relations *r = s->relations;
  for (size_t n = 0; n < s->n_nodes && r->nspreads; n++)
    for (size_t i = 0; i < r->nspreads; i++) {
      if (!r->tally[n][i] || r->spreads[i].by_node) continue;
      kg_str_t key = r->spreads[i].key;
      domains_add(&r->spread_counts, (uint32_t)i, key, sched_label(&s->nodes[n], key), r->tally[n][i]);
      r->tally[n][i] = 0;
    }
}

void spread_finish(sched_t *s) {
  struct sched_relations *r = s->relations;
  add_tallies(s);
  for (size_t i = 0; i < r->nspreads; i++) {
    spread_t *c = &r->spreads[i];
    if (c->by_node) continue;
    c->least = domains_least(&r->spread_counts, (uint32_t)i, &c->domains);
    if ((int64_t)c->domains < c->min_domains) c->least = 0;
  }
}

bool spread_filter(const sched_t *s, const sched_node_t *node, sched_verdict_t *v) {
  const struct sched_relations *r = s->relations;
  for (size_t i = 0; i < r->nspreads; i++) {
    const spread_t *c = &r->spreads[i];
    if (!c->hard) continue;
    kg_str_t value = sched_label(node, c->key);
    if (!value.p)
      return sched_refuse(v, SCHED_WHY_SPREAD, true,
                          "node(s) didn't match pod topology spread constraints (missing required label)");
    if (domains_get(&r->spread_counts, (uint32_t)i, c->key, value) + c->self - c->least > c->max_skew)
      return sched_refuse(v, SCHED_WHY_SPREAD, false, "node(s) didn't match pod topology spread constraints");
  }
  return true;
}

/* The more pods of its kind there are in the node's domains, the higher; domains weigh more where there are many. */
double sched_spread_cost(const sched_t *s, uint32_t node) {
  const struct sched_relations *r = s->relations;
  double cost = 0;
  for (size_t i = 0; i < r->nspreads; i++) {
    const spread_t *c = &r->spreads[i];
    if (c->hard) continue;
    kg_str_t value = sched_label(&s->nodes[node], c->key);
    if (!value.p && c->pods) return -1;
    if (!value.p) continue;
    int64_t n = c->by_node ? r->tally[node][i] : domains_get(&r->spread_counts, (uint32_t)i, c->key, value);
    cost += (double)n * log((double)c->domains + 2) + (double)(c->max_skew - 1);
  }
  return cost;
}

void spread_clear(struct sched_relations *r) {
  for (size_t i = 0; i < r->nspreads; i++) kube_selector_free(r->spreads[i].pods);
  r->nspreads = 0;
}
