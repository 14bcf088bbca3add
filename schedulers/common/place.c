/* One pod after the other: which nodes fit, and what if none does. */
#include <stdio.h>

#include "explain.h"

enum { AT_ONCE = 64 }; /* bindings in flight */

typedef struct search {
  reasons_t reasons;
  unsigned why;
  size_t nodes, fit; /* how many there are and how many of them fit: s->fit */
} search_t;

/* In a large cluster a part of the nodes is choice enough: percentageOfNodesToScore of kube-scheduler. */
static size_t enough(size_t nodes) {
  size_t percent = nodes < 5625 ? 50 - nodes / 125 : 5, n = nodes * percent / 100;
  return n < 100 ? 100 : n;
}

static bool fits(kg_ctx_t *ctx, sched_t *s, const sched_pod_t *p, uint32_t node, sched_verdict_t *v) {
  if (!sched_filter(s, p, &s->nodes[node], v)) return false;
  const char *why = s->refine ? s->refine(ctx, s, p, node) : NULL;
  return !why || sched_refuse(v, SCHED_WHY_OTHER, true, why);
}

/* Begins where the last search ended, so that all nodes have their turn. */
static void look(kg_ctx_t *ctx, sched_t *s, const sched_pod_t *p, search_t *found) {
  size_t most = enough(s->n_nodes), looked = 0;
  for (; looked < s->n_nodes && found->fit < most; looked++) {
    uint32_t i = (uint32_t)((s->turn + looked) % s->n_nodes);
    if (!s->nodes[i].doc) continue;
    sched_verdict_t v;
    found->nodes++;
    if (fits(ctx, s, p, i, &v)) {
      s->fit[found->fit++] = i;
      continue;
    }
    found->why |= v.why;
    for (size_t r = 0; r < v.n; r++) reasons_add(&found->reasons, v.reasons[r]);
  }
  if (s->n_nodes) s->turn = (uint32_t)((s->turn + looked) % s->n_nodes);
}

static void give_up(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, unsigned why, const char *message) {
  s->failed++;
  p->attempts++;
  sched_park(ctx, s, p, why ? why : SCHED_WHY_ANY);
  sched_explain(ctx, s, p, message);
}

static void schedule(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p) {
  search_t found = {.nodes = 0};
  char message[2048];
  if (!sched_relate(s, p)) {
    give_up(ctx, s, p, SCHED_WHY_ANY, "the scheduler is out of memory");
    return;
  }
  look(ctx, s, p, &found);
  if (found.fit) {
    size_t choice = s->pick(ctx, s, p, s->fit, found.fit);
    sched_bind(ctx, s, p, s->fit[choice < found.fit ? choice : 0]);
    return;
  }
  if (found.nodes)
    reasons_say(&found.reasons, found.nodes, message, sizeof message);
  else
    snprintf(message, sizeof message, "no nodes available to schedule pods");
  give_up(ctx, s, p, found.why, message);
}

void sched_work(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  sched_t *s = self;
  s->work_timer = 0;
  /* A few at a time: the lane has other plugins, and answers free more places. */
  for (int i = 0; i < 16 && s->first && s->binding < AT_ONCE && !s->draining; i++) schedule(ctx, s, s->first);
  if (s->binding < AT_ONCE) sched_kick(ctx, s);
}
