/* Affinity and anti-affinity between pods, as the plugin InterPodAffinity of Kubernetes decides them. */
#include "relations.h"

/* What a required affinity of a pod that runs already weighs when another wants to come (hardPodAffinityWeight). */
enum { HARD_AFFINITY_WEIGHT = 1 };

static void add(domains_t *d, size_t term, const sched_node_t *node, kg_str_t key, int64_t n) {
  domains_add(d, (uint32_t)term, key, sched_label(node, key), n);
}

static bool matches_all(const sched_t *s, const struct sched_terms *terms, kg_view_t owner, kg_view_t other) {
  for (size_t i = 0; i < terms->n; i++)
    if (terms->term[i].kind == TERM_AFFINE && !term_matches(s, &terms->term[i], owner, other)) return false;
  return true;
}

/* What the pod at hand wants of one that is there. */
static void count_ours(sched_t *s, const sched_pod_t *pod, kg_view_t other, const sched_node_t *node, int sign) {
  struct sched_relations *r = s->relations;
  const struct sched_terms *terms = pod->terms;
  kg_view_t own = kg_view_of(pod->doc);
  bool all = terms->of_kind[TERM_AFFINE] && matches_all(s, terms, own, other);
  if (all) r->affine_pods += (size_t)(int64_t)sign;
  for (size_t i = 0; i < terms->n; i++) {
    const term_t *t = &terms->term[i];
    if (t->kind == TERM_AFFINE) {
      if (all) add(&r->affine, i, node, t->key, sign);
    } else if (term_matches(s, t, own, other)) {
      if (t->kind == TERM_ANTI)
        add(&r->anti, i, node, t->key, sign);
      else
        add(&r->likes, 0, node, t->key, sign * (t->kind == TERM_PREFERS ? t->weight : -t->weight));
    }
  }
}

/* What one that is there wants of the pod at hand. */
static void count_theirs(sched_t *s, const sched_pod_t *pod, const sched_pod_t *other, const sched_node_t *node,
                         int sign) {
  static const int64_t likes[TERM_KINDS] = {[TERM_PREFERS] = 1, [TERM_AVOIDS] = -1};
  struct sched_relations *r = s->relations;
  for (size_t i = 0; i < other->terms->n; i++) {
    const term_t *t = &other->terms->term[i];
    if (!term_matches(s, t, kg_view_of(other->doc), kg_view_of(pod->doc))) continue;
    if (t->kind == TERM_ANTI)
      add(&r->theirs, 0, node, t->key, sign);
    else
      add(&r->likes, 0, node, t->key,
          sign * (t->kind == TERM_AFFINE ? HARD_AFFINITY_WEIGHT : likes[t->kind] * t->weight));
  }
}

void affinity_count(sched_t *s, const sched_pod_t *pod, const sched_pod_t *other, int sign) {
  const sched_node_t *node = &s->nodes[other->node];
  if (pod->terms) count_ours(s, pod, kg_view_of(other->doc), node, sign);
  if (other->terms) count_theirs(s, pod, other, node, sign);
}

/* The first of a group that wants to be together has nobody to be with: it may go anywhere. */
void affinity_finish(sched_t *s, const sched_pod_t *pod) {
  struct sched_relations *r = s->relations;
  kg_view_t own = kg_view_of(pod->doc);
  r->affine_self = pod->terms && !r->affine_pods && matches_all(s, pod->terms, own, own);
}

static bool filter_affine(const struct sched_relations *r, const struct sched_terms *terms, const sched_node_t *node) {
  bool missing = false;
  for (size_t i = 0; i < terms->n; i++) {
    const term_t *t = &terms->term[i];
    if (t->kind != TERM_AFFINE) continue;
    kg_str_t value = sched_label(node, t->key);
    if (!value.p) return false;
    missing |= domains_get(&r->affine, (uint32_t)i, t->key, value) <= 0;
  }
  return !missing || r->affine_self;
}

static bool filter_anti(const struct sched_relations *r, const struct sched_terms *terms, const sched_node_t *node) {
  for (size_t i = 0; i < terms->n; i++) {
    const term_t *t = &terms->term[i];
    if (t->kind == TERM_ANTI && domains_get(&r->anti, (uint32_t)i, t->key, sched_label(node, t->key)) > 0) return false;
  }
  return true;
}

/* Whom it misses does not come by others going. */
bool affinity_filter(const sched_t *s, const sched_pod_t *pod, const sched_node_t *node, sched_verdict_t *v) {
  const struct sched_relations *r = s->relations;
  if (pod->terms && !filter_affine(r, pod->terms, node))
    return sched_refuse(v, SCHED_WHY_AFFINITY, true, "node(s) didn't match pod affinity rules");
  if (pod->terms && !filter_anti(r, pod->terms, node))
    return sched_refuse(v, SCHED_WHY_AFFINITY, false, "node(s) didn't match pod anti-affinity rules");
  if (r->theirs.used && domains_sum(&r->theirs, 0, node->labels) > 0)
    return sched_refuse(v, SCHED_WHY_AFFINITY, false, "node(s) didn't satisfy existing pods anti-affinity rules");
  return true;
}

int64_t sched_affinity_score(const sched_t *s, uint32_t node) {
  const domains_t *likes = &s->relations->likes;
  return likes->used ? domains_sum(likes, 0, s->nodes[node].labels) : 0;
}
