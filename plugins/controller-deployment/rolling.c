/* The two strategies. All arithmetic is on the pass's plan; nothing is sent here. */
#include <stdlib.h>

#include "deployment.h"

static int64_t min64(int64_t a, int64_t b) {
  return a < b ? a : b;
}

int64_t new_set_size(const pass_t *p, int64_t present) {
  if (p->recreate) return p->replicas;
  int64_t total = SUM(p, want), most = p->replicas + p->surge;
  if (total >= most) return present;
  return present + min64(most - total, p->replicas - present);
}

static bool grow_newest(pass_t *p) {
  set_t *s = p->newest;
  if (s->replicas == p->replicas) return false;
  s->want = s->replicas > p->replicas ? p->replicas : new_set_size(p, s->replicas);
  return s->want != s->replicas;
}

/* Pods of old sets that are not available cost nothing to take. */
static int64_t take_unhealthy(pass_t *p, int64_t most) {
  int64_t taken = 0;
  for (size_t i = 0; i < p->n && taken < most; i++) {
    set_t *s = &p->sets[i];
    if (s == p->newest || s->want == 0 || s->want == s->available) continue;
    int64_t n = min64(most - taken, s->want - s->available);
    if (n <= 0) continue;
    s->want -= n;
    taken += n;
  }
  return taken;
}

static void take_available(pass_t *p) {
  int64_t spare = SUM(p, available) - (p->replicas - p->unavailable);
  for (size_t i = 0; i < p->n && spare > 0; i++) {
    set_t *s = &p->sets[i];
    if (s == p->newest || s->want == 0) continue;
    int64_t n = min64(s->want, spare);
    s->want -= n;
    spare -= n;
  }
}

static void shrink_old(pass_t *p) {
  if (SUM_OLD(p, replicas) == 0) return;
  int64_t unready = p->newest->want - p->newest->available;
  int64_t most = SUM(p, want) - (p->replicas - p->unavailable) - unready;
  if (most <= 0) return;
  take_unhealthy(p, most);
  take_available(p);
}

void roll(pass_t *p) {
  if (!p->newest) return; /* it was made in this pass */
  if (!grow_newest(p)) shrink_old(p);
}

/* Any pod of an old set that has not ended, those being deleted too. */
static bool old_pods_run(const pass_t *p) {
  size_t first, count;
  kube_informer_ns(p->c->pods, kube_namespace(p->object), &first, &count);
  for (size_t i = first; i < first + count; i++) {
    kg_view_t pod = kg_view_of(kube_informer_at(p->c->pods, i));
    kg_str_t phase = kg_view_str(kg_view_path(pod, "status", "phase", NULL));
    if (kg_str_is(phase, "Succeeded") || kg_str_is(phase, "Failed")) continue;
    for (size_t k = 0; k < p->n; k++)
      if (&p->sets[k] != p->newest && ctl_owned_by(pod, p->sets[k].object)) return true;
  }
  return false;
}

void recreate(pass_t *p) {
  bool shrunk = false;
  for (size_t i = 0; i < p->n; i++) {
    if (&p->sets[i] == p->newest || p->sets[i].want == 0) continue;
    p->sets[i].want = 0;
    shrunk = true;
  }
  if (shrunk || old_pods_run(p)) return;
  if (!p->newest)
    revision_sync(p, true);
  else
    grow_newest(p);
}
