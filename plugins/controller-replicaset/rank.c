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

/* Nodes of pods, sorted: a node is there as often as it has pods. */
typedef struct crowds {
  kg_str_t *nodes;
  size_t n;
} crowds_t;

static kg_str_t node_of(kg_view_t pod) {
  return kg_view_str(kg_view_path(pod, "spec", "nodeName", NULL));
}

static int by_name(const void *x, const void *y) {
  return kg_str_cmp(*(const kg_str_t *)x, *(const kg_str_t *)y);
}

static crowds_t count_crowds(const kg_view_t *pods, size_t n) {
  crowds_t c = {malloc((n ? n : 1) * sizeof *c.nodes), 0};
  for (size_t i = 0; c.nodes && i < n; i++) {
    c.nodes[c.n] = node_of(pods[i]);
    c.n += c.nodes[c.n].n > 0;
  }
  if (c.n > 1) qsort(c.nodes, c.n, sizeof *c.nodes, by_name);
  return c;
}

/* The first place whose node is not before `node`, or with `past` the first that is after it. */
static size_t place(const crowds_t *c, kg_str_t node, bool past) {
  size_t low = 0, high = c->n;
  while (low < high) {
    size_t middle = (low + high) / 2;
    int o = kg_str_cmp(c->nodes[middle], node);
    if (o < 0 || (past && o == 0))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static ranked_t read_pod(const crowds_t *c, kg_view_t pod) {
  ranked_t r = {.pod = pod};
  int64_t since = 0;
  r.assigned = node_of(pod).n > 0;
  r.phase = phase_rank(pod);
  r.ready = ctl_pod_ready(pod, &since);
  r.cost = deletion_cost(pod);
  r.alone = (int64_t)place(c, node_of(pod), false) - (int64_t)place(c, node_of(pod), true);
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

void rs_rank(kg_view_t *pods, size_t n, const kg_view_t *others, size_t nothers) {
  ranked_t *ranked = malloc((n ? n : 1) * sizeof *ranked);
  if (!ranked) return;
  crowds_t c = count_crowds(others, nothers);
  for (size_t i = 0; i < n; i++) ranked[i] = read_pod(&c, pods[i]);
  free(c.nodes);
  qsort(ranked, n, sizeof *ranked, compare);
  for (size_t i = 0; i < n; i++) pods[i] = ranked[i].pod;
  free(ranked);
}
