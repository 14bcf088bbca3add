/* One pod after the other: which nodes fit, and what if none does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explain.h"
#include "preempt.h"

enum { AT_ONCE = 64 /* bindings in flight */, A_TURN = 16 /* pods, of those with claims a quarter */ };

typedef struct search {
  const char *barred; /* why it goes nowhere, whatever the nodes say; NULL: it may */
  reasons_t reasons;
  unsigned why;
  size_t nodes, fit, maybe; /* how many were looked at; fit (s->fit); might if other pods went (s->maybe) */
  bool nominee_lost;        /* the node promised to it cannot be its any more */
  victims_t victims;        /* who goes */
  const char *nominee;      /* a node promised to it; "": none any more; NULL: as it was */
} search_t;

/* In a large cluster a part of the nodes is choice enough: percentageOfNodesToScore of kube-scheduler. */
static size_t enough(size_t nodes) {
  size_t percent = nodes < 5625 ? 50 - nodes / 125 : 5, n = nodes * percent / 100;
  return n < 100 ? 100 : n;
}

bool sched_fits(kg_ctx_t *ctx, sched_t *s, const sched_pod_t *p, uint32_t node, sched_verdict_t *v) {
  if (!sched_filter(s, p, &s->nodes[node], v)) return false;
  const char *why = s->refine ? s->refine(ctx, s, p, node) : NULL;
  return !why || sched_refuse(v, SCHED_WHY_OTHER, true, why);
}

static void look_at(kg_ctx_t *ctx, sched_t *s, const sched_pod_t *p, uint32_t i, search_t *found) {
  sched_verdict_t v;
  found->nodes++;
  if (sched_fits(ctx, s, p, i, &v)) {
    s->fit[found->fit++] = i;
    return;
  }
  found->why |= v.why;
  if (!v.final) s->maybe[found->maybe++] = i;
  if (v.final && (int32_t)i == p->nominee) found->nominee_lost = true;
  for (size_t r = 0; r < v.n; r++) reasons_add(&found->reasons, v.reasons[r]);
}

/* Begins where the last search ended, so that all nodes have their turn. */
static void look(kg_ctx_t *ctx, sched_t *s, const sched_pod_t *p, search_t *found) {
  size_t most = enough(s->n_nodes), looked = 0;
  for (; looked < s->n_nodes && found->fit < most; looked++) {
    uint32_t i = (uint32_t)((s->turn + looked) % s->n_nodes);
    if (s->nodes[i].doc) look_at(ctx, s, p, i, found);
  }
  if (s->n_nodes) s->turn = (uint32_t)((s->turn + looked) % s->n_nodes);
}

/* A node that was promised to the pod is taken if it fits. */
static void look_all(kg_ctx_t *ctx, sched_t *s, const sched_pod_t *p, search_t *found) {
  if (p->nominee >= 0 && s->nodes[p->nominee].doc) look_at(ctx, s, p, (uint32_t)p->nominee, found);
  if (found->fit) return;
  *found = (search_t){.nodes = 0};
  look(ctx, s, p, found);
}

/* Nodes that fit with those to whom they are promised must fit without them, too: they may never come. */
static void look_again(kg_ctx_t *ctx, sched_t *s, const sched_pod_t *p, search_t *found) {
  size_t n = found->fit;
  found->fit = 0;
  if (!sched_relate(s, p)) return;
  for (size_t k = 0; k < n; k++) look_at(ctx, s, p, s->fit[k], found);
  found->nodes -= n;
}

static void give_up(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, unsigned why, const char *message, const char *nominee) {
  s->failed++;
  p->attempts++;
  sched_park(ctx, s, p, why ? why : SCHED_WHY_ANY);
  sched_explain(ctx, s, p, UNSCHEDULABLE, message, nominee);
}

/* Others may have to go. Adds to the message what stands against it. */
static void preempt(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, search_t *found, char *message, size_t size) {
  char why[1024];
  const char *forbidden = preempt_forbidden(s, p, found->nominee_lost);
  if (!forbidden && preempt_choose(ctx, s, p, s->maybe, found->maybe, found->nodes, &found->victims, why, sizeof why)) {
    found->nominee = s->nodes[found->victims.node].name;
    return;
  }
  size_t at = strlen(message);
  snprintf(message + at, size - at, " preemption: %s", forbidden ? forbidden : why);
  if (!forbidden) found->nominee = "";
}

static void place_nowhere(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, search_t *found) {
  char message[3072];
  if (!found->nodes) {
    give_up(ctx, s, p, SCHED_WHY_ANY, "no nodes available to schedule pods", NULL);
    return;
  }
  if (found->barred)
    snprintf(message, sizeof message, "0/%zu nodes are available: %s.", found->nodes, found->barred);
  else
    reasons_say(&found->reasons, found->nodes, message, sizeof message);
  preempt(ctx, s, p, found, message, sizeof message);
  nominees_release(s);
  if (found->victims.of)
    sched_evict(ctx, s, p, &found->victims);
  else if (found->nominee)
    sched_nominate(s, p, -1);
  give_up(ctx, s, p, found->why, message, found->nominee);
  free(found->victims.of);
}

/* What its claims say before any node is asked. true: it does not go on. */
static bool barred(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p) {
  if (!p->claims) return false;
  if (!sched_volumes_known(ctx, s)) {
    sched_park(ctx, s, p, SCHED_WHY_VOLUME);
    return true;
  }
  search_t found = {.barred = sched_volumes_look(s, p), .why = SCHED_WHY_VOLUME};
  if (!found.barred) return false;
  for (size_t i = 0; i < s->n_nodes; i++) found.nodes += s->nodes[i].doc != NULL;
  place_nowhere(ctx, s, p, &found);
  return true;
}

static void schedule(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p) {
  search_t found = {.nodes = 0};
  if (barred(ctx, s, p)) return;
  bool promised = nominees_assume(s, p);
  if (!sched_relate(s, p)) {
    nominees_release(s);
    give_up(ctx, s, p, SCHED_WHY_ANY, "the scheduler is out of memory", NULL);
    return;
  }
  look_all(ctx, s, p, &found);
  if (found.fit && promised) {
    nominees_release(s);
    look_again(ctx, s, p, &found);
  }
  if (!found.fit) {
    place_nowhere(ctx, s, p, &found);
    return;
  }
  size_t choice = s->pick(ctx, s, p, s->fit, found.fit);
  sched_settle(ctx, s, p, s->fit[choice < found.fit ? choice : 0]);
}

void sched_work(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  sched_t *s = self;
  s->work_timer = 0;
  /* A few at a time: the lane has other plugins, and answers free more places. */
  for (int i = 0; i < A_TURN && s->queue.first && s->binding < AT_ONCE && !s->draining;) {
    i += s->queue.first->claims ? 4 : 1;
    schedule(ctx, s, s->queue.first);
  }
  if (s->binding < AT_ONCE) sched_kick(ctx, s);
}
