#include <stdlib.h>

#include "replicaset.h"

/* What decides, read once per pod: sorting compares numbers. Smaller goes first in every column. */
typedef struct ranked {
  kg_view_t pod;
  int64_t assigned, phase, ready, cost, alone, ready_since, restarts, created;
} ranked_t;

static int64_t phase_rank(kg_view_t pod) {
  kg_str_t phase = kg_view_str(kg_view_path(pod, "status", "phase", NULL));
  return kg_str_is(phase, "Running") ? 2 : kg_str_is(phase, "Unknown") ? 1 : 0;
}

static int64_t restarts(kg_view_t pod) {
  int64_t most = 0;
  for (kg_iter_t it = kg_iter(kg_view_path(pod, "status", "containerStatuses", NULL)); kg_iter_next(&it);) {
    int64_t n = kg_view_int(kg_view_get(it.value, "restartCount"), 0);
    if (n > most) most = n;
  }
  return most;
}

static int64_t deletion_cost(kg_view_t pod) {
  char *text = kg_str_dup(kg_view_str(kube_annotation(pod, "controller.kubernetes.io/pod-deletion-cost")));
  int64_t cost = text ? strtoll(text, NULL, 10) : 0;
  free(text);
  return cost;
}

/* How many of the pods share its node: crowded ones go first. */
static int64_t crowd(const kg_view_t *pods, size_t n, kg_view_t pod) {
  kg_str_t node = kg_view_str(kg_view_path(pod, "spec", "nodeName", NULL));
  int64_t same = 0;
  for (size_t i = 0; node.n && i < n; i++)
    same += kg_str_eq(kg_view_str(kg_view_path(pods[i], "spec", "nodeName", NULL)), node);
  return same;
}

static ranked_t read_pod(const kg_view_t *pods, size_t n, kg_view_t pod) {
  ranked_t r = {.pod = pod};
  int64_t since = 0;
  r.assigned = kg_view_str(kg_view_path(pod, "spec", "nodeName", NULL)).n > 0;
  r.phase = phase_rank(pod);
  r.ready = ctl_pod_ready(pod, &since);
  r.cost = deletion_cost(pod);
  r.alone = -crowd(pods, n, pod);
  r.ready_since = r.ready ? -since : 0; /* ready for less time first */
  r.restarts = -restarts(pod);
  kube_time_parse(kg_view_str(kg_view_path(pod, "metadata", "creationTimestamp", NULL)), &r.created);
  r.created = -r.created; /* newer first */
  return r;
}

static int compare(const void *x, const void *y) {
  const ranked_t *a = x, *b = y;
  const int64_t pairs[][2] = {{a->assigned, b->assigned}, {a->phase, b->phase},    {a->ready, b->ready},
                              {a->cost, b->cost},         {a->alone, b->alone},    {a->ready_since, b->ready_since},
                              {a->restarts, b->restarts}, {a->created, b->created}};
  for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
    if (pairs[i][0] != pairs[i][1]) return pairs[i][0] < pairs[i][1] ? -1 : 1;
  return kg_str_cmp(kube_name(a->pod), kube_name(b->pod));
}

void rs_rank(kg_view_t *pods, size_t n) {
  ranked_t *ranked = malloc((n ? n : 1) * sizeof *ranked);
  if (!ranked) return;
  for (size_t i = 0; i < n; i++) ranked[i] = read_pod(pods, n, pods[i]);
  qsort(ranked, n, sizeof *ranked, compare);
  for (size_t i = 0; i < n; i++) pods[i] = ranked[i].pod;
  free(ranked);
}
