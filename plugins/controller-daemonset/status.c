#include "daemonset.h"

void status_write(pass_t *p) {
  kube_arena_t *a = p->arena;
  int64_t current = 0, misplaced = 0, ready = 0, available = 0, updated = 0;
  for (size_t i = 0; i < p->n; i++) {
    const place_t *at = &p->places[i];
    const daemon_t *best = at->n ? at->pods[0] : NULL;
    for (size_t k = 0; k < at->n; k++) /* the one that serves counts */
      if (at->pods[k]->ready && !best->ready) best = at->pods[k];
    bool fresh = false;
    for (size_t k = 0; k < at->n; k++) fresh |= at->pods[k]->current;
    misplaced += !at->should_run && at->n > 0;
    if (!at->should_run || !best) continue;
    current++;
    ready += best->ready;
    available += best->available;
    updated += fresh;
  }
  const struct {
    const char *key;
    int64_t n;
    bool always;
  } counts[] = {{"currentNumberScheduled", current, true},
                {"numberMisscheduled", misplaced, true},
                {"desiredNumberScheduled", p->desired, true},
                {"numberReady", ready, true},
                {"updatedNumberScheduled", updated, false},
                {"numberAvailable", available, false},
                {"numberUnavailable", p->desired - available, false},
                {"collisionCount", p->history.collisions, false},
                {"observedGeneration", kube_generation(p->object), true}};
  kg_view_t old = kg_view_get(p->object, "status");
  kube_node_t *status = kg_view_count(old) ? kube_tree_clone(a, kube_tree_parse(a, old)) : kube_map(a);
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
    if (counts[i].n || counts[i].always)
      kube_set(a, status, counts[i].key, kube_int(a, counts[i].n));
    else
      kube_del(status, counts[i].key);
  ctl_send_status(p->ctx, p->sync, GVR_SETS, p->object, status);
}
