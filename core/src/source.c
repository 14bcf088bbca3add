/* Timers and descriptors of instances. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "lane.h"

/* --- timers
 * -------------------------------------------------------------------------------------------------------------- */

static void unlink_timer(kg_timer_entry_t *t) {
  if (t->prev)
    t->prev->next = t->next;
  else
    t->ctx->timers = t->next;
  if (t->next) t->next->prev = t->prev;
}

static void free_timer(kg_timer_entry_t *t) {
  kg_lane_t *lane = t->ctx->lane;
  kg_heap_remove(&lane->heap, &t->due);
  kg_table_remove(&lane->timers, t->id);
  unlink_timer(t);
  free(t);
}

static void fire(kg_lane_t *lane, kg_due_t *due) {
  kg_timer_entry_t *t = (kg_timer_entry_t *)due;
  kg_ctx_t *ctx = kg_ctx_ref(t->ctx);
  kg_timer_fn fn = t->fn;
  void *arg = t->arg;
  if (t->period_us) { /* late turns are skipped, not made up for */
    int64_t next = due->at_us + t->period_us;
    kg_heap_add(&lane->heap, due, next > lane->now_us ? next : lane->now_us + t->period_us);
  } else {
    free_timer(t);
  }
  kg_count(&ctx->n.timers, 1);
  kg_lane_enter(lane, ctx, "a timer");
  fn(ctx, ctx->self, arg);
  kg_lane_leave(lane, ctx, "a timer");
  kg_ctx_unref(ctx);
}

uint64_t kg_timer(kg_ctx_t *ctx, int64_t delay_ms, int64_t period_ms, kg_timer_fn fn, void *arg) {
  kg_lane_t *lane = ctx->lane;
  kg_timer_entry_t *t = calloc(1, sizeof *t);
  if (!t) return 0;
  *t = (kg_timer_entry_t){.due.fire = fire, .ctx = ctx, .fn = fn, .arg = arg, .id = ++lane->last_timer};
  t->period_us = period_ms > 0 ? period_ms * 1000 : 0;
  int64_t at = delay_ms > 0 ? kg_time_us(lane->k) + delay_ms * 1000 : lane->now_us;
  if (kg_table_put(&lane->timers, t->id, t) < 0 || kg_heap_add(&lane->heap, &t->due, at) < 0) {
    kg_table_remove(&lane->timers, t->id);
    free(t);
    return 0;
  }
  t->next = ctx->timers;
  if (t->next) t->next->prev = t;
  ctx->timers = t;
  return t->id;
}

void kg_timer_cancel(kg_ctx_t *ctx, uint64_t id) {
  kg_timer_entry_t *t = kg_table_get(&ctx->lane->timers, id);
  if (t && t->ctx == ctx) free_timer(t);
}

static void free_watch(kg_watch_t *w) {
  kg_lane_t *lane = w->ctx->lane;
  epoll_ctl(lane->epoll, EPOLL_CTL_DEL, w->fd, NULL);
  kg_table_remove(&lane->watches, (uint64_t)w->fd + 1);
  if (w->prev)
    w->prev->next = w->next;
  else
    w->ctx->watches = w->next;
  if (w->next) w->next->prev = w->prev;
  free(w);
}

/* --- descriptors
 * --------------------------------------------------------------------------------------------------------- */

static kg_watch_t *watch_of(kg_ctx_t *ctx, int fd) {
  kg_watch_t *w = fd < 0 ? NULL : kg_table_get(&ctx->lane->watches, (uint64_t)fd + 1);
  return w && w->ctx == ctx ? w : NULL;
}

static struct epoll_event event_of(const kg_watch_t *w, uint32_t events) {
  return (struct epoll_event){.events = events, .data.u64 = (uint64_t)w->turn << 32 | (uint32_t)w->fd};
}

int kg_fd_watch(kg_ctx_t *ctx, int fd, uint32_t events, kg_fd_fn fn, void *arg, kg_error_t *err) {
  kg_lane_t *lane = ctx->lane;
  if (lane->k->sim) return kg_error_set(err, KG_EINVAL, "a simulation has no descriptors");
  /* Left over from a descriptor that was closed without kg_fd_forget(). */
  kg_watch_t *stale = fd < 0 ? NULL : kg_table_get(&lane->watches, (uint64_t)fd + 1);
  if (stale) free_watch(stale);
  kg_watch_t *w = fd < 0 ? NULL : calloc(1, sizeof *w);
  if (!w) return kg_error_set(err, KG_EINVAL, "descriptor %d cannot be watched", fd);
  *w = (kg_watch_t){.ctx = ctx, .fd = fd, .turn = ++lane->last_turn, .fn = fn, .arg = arg};
  struct epoll_event e = event_of(w, events);
  if (epoll_ctl(lane->epoll, EPOLL_CTL_ADD, fd, &e) < 0 || kg_table_put(&lane->watches, (uint64_t)fd + 1, w) < 0) {
    free(w);
    return kg_error_set(err, KG_EINTERNAL, "descriptor %d cannot be watched: %s", fd, strerror(errno));
  }
  w->next = ctx->watches;
  if (w->next) w->next->prev = w;
  ctx->watches = w;
  return 0;
}

int kg_fd_change(kg_ctx_t *ctx, int fd, uint32_t events) {
  kg_watch_t *w = watch_of(ctx, fd);
  if (!w) return -1;
  struct epoll_event e = event_of(w, events);
  return epoll_ctl(ctx->lane->epoll, EPOLL_CTL_MOD, fd, &e);
}

void kg_fd_forget(kg_ctx_t *ctx, int fd) {
  kg_watch_t *w = watch_of(ctx, fd);
  if (w) free_watch(w);
}

void kg_lane_forget(kg_ctx_t *ctx) {
  while (ctx->timers) free_timer(ctx->timers);
  while (ctx->watches) free_watch(ctx->watches);
}
