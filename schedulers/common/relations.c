/* Before a pod is placed: what the pods that are there mean for it. */
#include "relations.h"

#include <stdlib.h>

static void clear(struct sched_relations *r) {
  spread_clear(r);
  domains_clear(&r->affine);
  domains_clear(&r->anti);
  domains_clear(&r->theirs);
  domains_clear(&r->likes);
  domains_clear(&r->spread_counts);
  r->affine_pods = 0;
  r->affine_self = false;
}

static bool make_room(sched_t *s) {
  struct sched_relations *r = s->relations;
  if (!r) r = s->relations = calloc(1, sizeof *r);
  if (!r || r->room >= s->n_nodes) return r;
  uint16_t *counts = realloc(r->counts, s->room_nodes * sizeof *counts);
  if (counts) r->counts = counts;
  int32_t(*tally)[SPREADS] = realloc(r->tally, s->room_nodes * sizeof *tally);
  if (tally) r->tally = tally;
  if (!counts || !tally) return false;
  r->room = s->room_nodes;
  return true;
}

static bool placed(const sched_t *s, const sched_pod_t *p) {
  return p->node >= 0 && s->nodes[p->node].doc;
}

static bool asks_to_spread(const sched_pod_t *pod) {
  return kg_view_count(kg_view_get(pod->spec, "topologySpreadConstraints")) > 0;
}

static void look_at_all(sched_t *s, const sched_pod_t *pod, bool spread) {
  for (size_t b = 0; b < SCHED_BUCKETS; b++)
    for (const sched_pod_t *p = s->pods[b]; p; p = p->next) {
      if (p == pod || !placed(s, p)) continue;
      if (pod->terms || p->terms) affinity_count(s, pod, p, 1);
      if (spread) spread_count(s, pod, p, 1);
    }
}

bool sched_relate(sched_t *s, const sched_pod_t *pod) {
  bool spread = asks_to_spread(pod);
  if (!make_room(s)) return false;
  clear(s->relations);
  spread_read(s, pod);
  if (spread || pod->terms || s->with_terms) look_at_all(s, pod, spread);
  if (!spread && s->relations->nspreads) spread_count_owned(s, pod->owner);
  affinity_finish(s, pod);
  spread_finish(s);
  return true;
}

void relations_move(sched_t *s, const sched_pod_t *pod, const sched_pod_t *other, int sign) {
  bool spread = asks_to_spread(pod);
  if (pod->terms || other->terms) affinity_count(s, pod, other, sign);
  if (spread) spread_count(s, pod, other, sign);
  if (pod->terms) affinity_finish(s, pod);
  if (spread) spread_finish(s);
}

bool sched_filter_relations(const sched_t *s, const sched_pod_t *pod, const sched_node_t *node, sched_verdict_t *v) {
  return spread_filter(s, node, v) && affinity_filter(s, pod, node, v);
}

void sched_free_relations(sched_t *s) {
  struct sched_relations *r = s->relations;
  if (!r) return;
  spread_clear(r);
  domains_free(&r->affine);
  domains_free(&r->anti);
  domains_free(&r->theirs);
  domains_free(&r->likes);
  domains_free(&r->spread_counts);
  free(r->counts);
  free(r->tally);
  free(r);
  s->relations = NULL;
}
