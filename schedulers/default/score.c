/* The scoring plugins that kube-scheduler has by default, with their weights there (pkg/scheduler/apis/config/v1/
 * default_plugins.go): what each thinks of a node, normalized to 0..100. */
#include "score.h"

#include <math.h>

#include "kube/placement.h"
#include "kube/values.h"

enum { WEIGHT_TAINTS = 3, WEIGHT_NODE_AFFINITY = 2, WEIGHT_POD_AFFINITY = 2, WEIGHT_SPREAD = 2 };

static double fraction(int64_t used, int64_t allocatable) {
  if (allocatable <= 0 || used >= allocatable) return 1;
  return (double)used / (double)allocatable;
}

/* How evenly cpu and memory are taken, 0..100. */
static double balance(const sched_node_t *n, int64_t cpu, int64_t memory) {
  double c = fraction(cpu, n->allocatable.of[SCHED_CPU]), m = fraction(memory, n->allocatable.of[SCHED_MEMORY]);
  return 100 * (1 - fabs(c - m) / 2);
}

/* NodeResourcesFit (LeastAllocated) and NodeResourcesBalancedAllocation (what the pod changes), weight 1 each. */
static double room(const sched_node_t *n, const sched_pod_t *pod) {
  double cpu = fraction(n->scored_cpu + pod->scored_cpu, n->allocatable.of[SCHED_CPU]);
  double memory = fraction(n->scored_memory + pod->scored_memory, n->allocatable.of[SCHED_MEMORY]);
  const int64_t *used = n->used.of, *wanted = pod->request.of;
  double without = balance(n, used[SCHED_CPU], used[SCHED_MEMORY]);
  double with = balance(n, used[SCHED_CPU] + wanted[SCHED_CPU], used[SCHED_MEMORY] + wanted[SCHED_MEMORY]);
  return 100 * ((1 - cpu) + (1 - memory)) / 2 + 50 + (50 + with - without) / 2;
}

static double untolerated(const sched_t *s, const sched_pod_t *pod, uint32_t node) {
  double n = 0;
  if (!kg_view_there(s->nodes[node].taints)) return n;
  kg_view_t tolerations = kg_view_get(pod->spec, "tolerations");
  kg_iter_t it = kg_iter(s->nodes[node].taints);
  while (kg_iter_next(&it))
    n += kg_str_is(kg_view_str(kg_view_get(it.value, "effect")), "PreferNoSchedule") &&
         !kube_tolerated(tolerations, it.value);
  return n;
}

static double preferred(const sched_t *s, const sched_pod_t *pod, uint32_t node) {
  kg_view_t labels = s->nodes[node].labels;
  if (!pod->choosy) return 0;
  kg_iter_t it = kg_iter(
      kg_view_path(pod->spec, "affinity", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution", NULL));
  double sum = 0;
  while (kg_iter_next(&it))
    if (kube_node_term_matches(kg_view_get(it.value, "preference"), labels, kg_str(s->nodes[node].name)))
      sum += (double)kg_view_int(kg_view_get(it.value, "weight"), 0);
  return sum;
}

static void range_of(const double *v, size_t n, double *low, double *high) {
  *low = *high = v[0];
  for (size_t i = 1; i < n; i++) {
    if (v[i] < *low) *low = v[i];
    if (v[i] > *high) *high = v[i];
  }
}

typedef double (*raw_fn)(const sched_t *s, const sched_pod_t *pod, uint32_t node);

/* As a share of the highest; turned round, the highest is worst. */
static void add_share(const sched_t *s, const sched_pod_t *pod, const uint32_t *fit, size_t n, double *score,
                      double *raw, raw_fn fn, int weight, bool turned) {
  double low, high;
  for (size_t i = 0; i < n; i++) raw[i] = fn(s, pod, fit[i]);
  range_of(raw, n, &low, &high);
  for (size_t i = 0; i < n && high > 0; i++) score[i] += weight * 100 * (turned ? high - raw[i] : raw[i]) / high;
}

static void add_pod_affinity(const sched_t *s, const uint32_t *fit, size_t n, double *score, double *raw) {
  double low, high;
  for (size_t i = 0; i < n; i++) raw[i] = (double)sched_affinity_score(s, fit[i]);
  range_of(raw, n, &low, &high);
  for (size_t i = 0; i < n && high > low; i++) score[i] += WEIGHT_POD_AFFINITY * 100 * (raw[i] - low) / (high - low);
}

static void add_spread(const sched_t *s, const uint32_t *fit, size_t n, double *score, double *raw) {
  double low = INFINITY, high = 0;
  for (size_t i = 0; i < n; i++) {
    raw[i] = sched_spread_cost(s, fit[i]);
    if (raw[i] < 0) continue; /* lacks a key: gets nothing */
    if (raw[i] < low) low = raw[i];
    if (raw[i] > high) high = raw[i];
  }
  for (size_t i = 0; i < n; i++)
    if (raw[i] >= 0) score[i] += WEIGHT_SPREAD * 100 * (high > 0 ? (high + low - raw[i]) / high : 1);
}

void score_nodes(const sched_t *s, const sched_pod_t *pod, const uint32_t *fit, size_t n, double *score,
                 double *scratch) {
  for (size_t i = 0; i < n; i++) score[i] = room(&s->nodes[fit[i]], pod);
  add_share(s, pod, fit, n, score, scratch, untolerated, WEIGHT_TAINTS, true);
  add_share(s, pod, fit, n, score, scratch, preferred, WEIGHT_NODE_AFFINITY, false);
  add_pod_affinity(s, fit, n, score, scratch);
  add_spread(s, fit, n, score, scratch);
}
