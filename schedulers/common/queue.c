/* Who waits for a place: in the queue, or parked. */
#include "scheduler.h"

enum { PARK_FIRST_MS = 1000, PARK_LAST_MS = 10000, PARK_AT_MOST_MS = 60000, NOMINEE_MS = 100 };

void sched_kick(kg_ctx_t *ctx, sched_t *s) {
  if (s->work_timer || !s->queue.first || s->draining || !kg_active(ctx)) return;
  s->work_timer = kg_timer(ctx, 0, 0, sched_work, s);
}

static void link_after(sched_list_t *l, sched_pod_t *before, sched_pod_t *p) {
  p->before = before;
  p->after = before ? before->after : l->first;
  if (p->before)
    p->before->after = p;
  else
    l->first = p;
  if (p->after)
    p->after->before = p;
  else
    l->last = p;
  l->n++;
}

static void unlink_from(sched_list_t *l, sched_pod_t *p) {
  if (p->before)
    p->before->after = p->after;
  else
    l->first = p->after;
  if (p->after)
    p->after->before = p->before;
  else
    l->last = p->before;
  p->before = p->after = NULL;
  l->n--;
}

void sched_enqueue(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p) {
  sched_dequeue(s, p);
  sched_pod_t *before = s->queue.last;
  while (before && before->priority < p->priority) before = before->before;
  link_after(&s->queue, before, p);
  p->state = SCHED_QUEUED;
  sched_kick(ctx, s);
}

void sched_dequeue(sched_t *s, sched_pod_t *p) {
  sched_volumes_leave(s, p);
  if (p->state == SCHED_BINDING) return; /* its answer is under way and decides */
  if (p->state == SCHED_QUEUED) unlink_from(&s->queue, p);
  if (p->state == SCHED_PARKED) unlink_from(&s->parked, p);
  p->state = SCHED_IDLE;
}

/* --- those that found no place: parked until a change may help, but a minute at most ------------------------------ */

static void park_over(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  sched_t *s = self;
  int64_t now = kg_now_ms(ctx), next = INT64_MAX;
  s->park_timer = 0;
  for (sched_pod_t *p = s->parked.first, *after; p; p = after) {
    after = p->after;
    if (p->parked_until_ms <= now)
      sched_enqueue(ctx, s, p);
    else if (p->parked_until_ms < next)
      next = p->parked_until_ms;
  }
  s->park_at_ms = next;
  if (s->parked.n) s->park_timer = kg_timer(ctx, next - now, 0, park_over, NULL);
}

static void due_at(kg_ctx_t *ctx, sched_t *s, int64_t at_ms) {
  if (s->park_timer && s->park_at_ms <= at_ms) return;
  int64_t now = kg_now_ms(ctx);
  kg_timer_cancel(ctx, s->park_timer);
  s->park_at_ms = at_ms;
  s->park_timer = kg_timer(ctx, at_ms > now ? at_ms - now : 0, 0, park_over, NULL);
}

void sched_park(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, unsigned why) {
  sched_dequeue(s, p);
  p->state = SCHED_PARKED;
  p->why = why;
  p->tried_ms = kg_now_ms(ctx);
  p->parked_until_ms = p->tried_ms + PARK_AT_MOST_MS;
  link_after(&s->parked, s->parked.last, p);
  due_at(ctx, s, p->parked_until_ms);
}

/* 1 s after the first attempt, twice as long after each further one, 10 s at most. */
static int64_t backoff_ms(const sched_pod_t *p) {
  if (p->nominee >= 0) return NOMINEE_MS; /* others made room for it */
  int64_t wait = (int64_t)PARK_FIRST_MS << (p->attempts > 4 ? 4 : p->attempts ? p->attempts - 1 : 0);
  return wait < PARK_LAST_MS ? wait : PARK_LAST_MS;
}

void sched_unpark_pod(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, unsigned why) {
  int64_t due = p->tried_ms + backoff_ms(p);
  p->moved = true;
  if (p->evicting || !(p->why & why) || due >= p->parked_until_ms) return; /* evicting: when that is over */
  p->parked_until_ms = due;
  due_at(ctx, s, due);
}

void sched_unpark(kg_ctx_t *ctx, sched_t *s, unsigned why) {
  for (sched_pod_t *p = s->parked.first; p; p = p->after) sched_unpark_pod(ctx, s, p, why);
}
