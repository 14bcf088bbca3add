#include "scheduler.h"

enum { PARK_FIRST_MS = 1000, PARK_LAST_MS = 10000, PARK_AT_MOST_MS = 60000 };

void sched_kick(kg_ctx_t *ctx, sched_t *s) {
  if (s->work_timer || !s->first || s->draining || !kg_active(ctx)) return;
  s->work_timer = kg_timer(ctx, 0, 0, sched_work, s);
}

static void link_in(sched_t *s, sched_pod_t *p) {
  sched_pod_t *before = s->last;
  while (before && before->priority < p->priority) before = before->before;
  p->before = before;
  p->after = before ? before->after : s->first;
  if (p->before)
    p->before->after = p;
  else
    s->first = p;
  if (p->after)
    p->after->before = p;
  else
    s->last = p;
}

void sched_enqueue(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p) {
  sched_dequeue(s, p);
  link_in(s, p);
  p->state = SCHED_QUEUED;
  s->queued++;
  sched_kick(ctx, s);
}

void sched_dequeue(sched_t *s, sched_pod_t *p) {
  if (p->state == SCHED_QUEUED) {
    if (p->before)
      p->before->after = p->after;
    else
      s->first = p->after;
    if (p->after)
      p->after->before = p->before;
    else
      s->last = p->before;
    p->before = p->after = NULL;
    s->queued--;
  } else if (p->state == SCHED_PARKED) {
    s->parked--;
    s->parked_related -= p->related_parked;
  } else if (p->state == SCHED_BINDING) {
    return; /* its answer is under way and decides */
  }
  p->state = SCHED_IDLE;
}

/* Parked pods are few: walk them all when one is due. */
static void unpark_due(kg_ctx_t *ctx, sched_t *s, int64_t due_ms) {
  for (size_t b = 0; b < SCHED_BUCKETS && s->parked; b++)
    for (sched_pod_t *p = s->pods[b]; p; p = p->next)
      if (p->state == SCHED_PARKED && p->parked_until_ms <= due_ms) sched_enqueue(ctx, s, p);
}

static void park_over(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  sched_t *s = self;
  s->park_timer = 0;
  unpark_due(ctx, s, kg_now_ms(ctx) + PARK_FIRST_MS);
  if (s->parked) s->park_timer = kg_timer(ctx, PARK_AT_MOST_MS, 0, park_over, NULL);
}

void sched_park(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p) {
  sched_dequeue(s, p);
  p->state = SCHED_PARKED;
  s->parked++;
  p->related_parked = p->related;
  s->parked_related += p->related_parked;
  p->parked_until_ms = kg_now_ms(ctx) + PARK_AT_MOST_MS;
  if (!s->park_timer) s->park_timer = kg_timer(ctx, PARK_AT_MOST_MS, 0, park_over, NULL);
}

static void backed_off(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  sched_t *s = self;
  s->park_timer = 0;
  unpark_due(ctx, s, INT64_MAX);
}

void sched_unpark_related(kg_ctx_t *ctx, sched_t *s) {
  if (s->parked_related) sched_unpark_all(ctx, s);
}

/* A change may help the parked ones, but they were tried lately: let the changes of a moment gather first. */
void sched_unpark_all(kg_ctx_t *ctx, sched_t *s) {
  if (!s->parked) return;
  int64_t now = kg_now_ms(ctx), soonest = INT64_MAX;
  for (size_t b = 0; b < SCHED_BUCKETS; b++) {
    for (sched_pod_t *p = s->pods[b]; p; p = p->next) {
      if (p->state != SCHED_PARKED) continue;
      int64_t wait = (int64_t)PARK_FIRST_MS << (p->attempts > 4 ? 4 : p->attempts ? p->attempts - 1 : 0);
      if (wait > PARK_LAST_MS) wait = PARK_LAST_MS;
      int64_t tried = p->parked_until_ms - PARK_AT_MOST_MS, due = tried + wait > now ? tried + wait - now : 0;
      if (due < soonest) soonest = due;
    }
  }
  kg_timer_cancel(ctx, s->park_timer);
  s->park_timer = kg_timer(ctx, soonest, 0, backed_off, NULL);
}
