#include "lane.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>
#include <zmq.h>

#include "deliver.h"
#include "mail.h"
#include "sim.h"

/* So many messages at most between two looks at descriptors, timers and the other lanes. */
#define BATCH 256

enum {
  TRIM_AFTER_US = 20 * 1000, /* of work in handlers: the garbage of less is not worth the look */
  TRIM_EVERY_US = 5 * 1000000,
  TRIM_KEEP = 256 << 10 /* bytes at the end of the heap that may stay for the next burst */
};

int kg_lane_post_from_manager(kg_kernel_t *k, kg_lane_t *lane, kg_parcel_t p) {
  return kg_outlet_send(k, &k->outlets[lane->index], lane, p);
}

void kg_lane_post(kg_lane_t *here, kg_parcel_t p) {
  if (here->k->sim) {
    kg_sim_post(here->k->sim, p);
    return;
  }
  kg_lane_t *there = p.to->lane;
  int rc =
      there == here ? kg_queue_push(&here->queue, p) : kg_outlet_send(here->k, &here->outlets[there->index], there, p);
  if (rc < 0) atomic_fetch_add(&here->k->refused, 1);
}

/* --- the loop ------------------------------------------------------------------------------------------------------
 */

void kg_lane_enter(kg_lane_t *lane, kg_ctx_t *ctx, const char *what) {
  if (lane->unsent) kg_lane_flush(lane); /* nobody knows how long this handler takes */
  atomic_store_explicit(&lane->current, ctx, memory_order_relaxed);
  kg_pulse_set(lane->pulse, what, lane->now_us);
}

void kg_lane_leave(kg_lane_t *lane, kg_ctx_t *ctx, const char *what) {
  int64_t now = kg_time_us(lane->k), took = now - lane->now_us;
  if (lane->k->sim) kg_sim_ran(lane, ctx, what);
  lane->now_us = now;
  atomic_store_explicit(&lane->current, NULL, memory_order_relaxed);
  kg_count(&ctx->n.busy_us, (uint64_t)took);
  kg_count(&lane->busy_us, (uint64_t)took);
  if (took > (int64_t)atomic_load_explicit(&ctx->n.slowest_us, memory_order_relaxed))
    atomic_store_explicit(&ctx->n.slowest_us, (uint64_t)took, memory_order_relaxed);
  if (took <= lane->k->budget_us) return;
  kg_count(&ctx->n.over_budget, 1);
  kg_logf(lane->k, KG_LOG_WARN, ctx->name, "handler of %s took %lld ms and held up lane %s", what,
          (long long)took / 1000, lane->name);
}

static void run_queue(kg_lane_t *lane) {
  kg_parcel_t p;
  for (int left = BATCH; left > 0 && kg_queue_pop(&lane->queue, &p); left--) {
    kg_count(&lane->messages, 1);
    if (p.job)
      kg_deliver_job(lane, &p);
    else
      kg_deliver(lane, &p);
    kg_parcel_free(&p);
  }
}

/* What other lanes sent. ZMQ_FD is edge-triggered: the loop may only sleep after a receive that found nothing. That one
 * comes after the messages received were worked off: who waits for an answer does not wait for it as well. */
static void run_inbox(kg_lane_t *lane) {
  for (size_t done = 0; lane->inbox_more && done < BATCH;) {
    lane->inbox_more = kg_inbox_take(lane->inbox, &lane->queue);
    done += lane->queue.count;
    run_queue(lane);
  }
}

static void run_timers(kg_lane_t *lane) {
  /* Timers made by these handlers wait for the next turn, even if they are due: nobody starves the others. */
  uint64_t last = lane->heap.seq;
  while (lane->heap.count) {
    kg_due_t *due = lane->heap.due[1];
    if (due->at_us > lane->now_us || due->seq > last) return;
    kg_heap_remove(&lane->heap, due);
    due->fire(lane, due);
  }
}

static void run_watch(kg_lane_t *lane, const struct epoll_event *e) {
  int fd = (int)(uint32_t)e->data.u64;
  if (fd == lane->inbox_fd) {
    lane->inbox_more = true;
    return;
  }
  kg_watch_t *w = kg_table_get(&lane->watches, (uint64_t)fd + 1);
  if (!w || w->turn != (uint32_t)(e->data.u64 >> 32)) return; /* forgotten by an earlier handler of this turn */
  kg_ctx_t *ctx = kg_ctx_ref(w->ctx);
  kg_lane_enter(lane, ctx, "a descriptor");
  w->fn(ctx, ctx->self, fd, e->events, w->arg);
  kg_lane_leave(lane, ctx, "a descriptor");
  kg_ctx_unref(ctx);
}

/* Milliseconds epoll may wait: rounded up, so that a timer is due when it returns. */
static int patience(const kg_lane_t *lane) {
  if (lane->queue.count || lane->inbox_more) return 0;
  for (const kg_port_t *p = lane->ports; p; p = p->next)
    if (p->more) return 0;
  if (!lane->heap.count) return -1;
  int64_t us = lane->heap.due[1]->at_us - kg_clock_us();
  if (us <= 0) return 0;
  int64_t ms = (us + 999) / 1000;
  return ms > 3600000 ? 3600000 : (int)ms;
}

/*
 * What was freed here and there in a burst of work stays with malloc until it is asked to give whole pages back. A lane
 * asks when it is about to sleep and has worked for a while since, and no more often than a thousandth of the time.
 */
static void give_back(kg_lane_t *lane) {
  uint64_t busy = atomic_load_explicit(&lane->busy_us, memory_order_relaxed);
  if (busy - lane->trimmed_busy_us < TRIM_AFTER_US || lane->now_us < lane->trim_next_us) return;
  int64_t began = kg_clock_us();
  malloc_trim(TRIM_KEEP);
  lane->now_us = kg_clock_us();
  lane->trimmed_busy_us = busy;
  lane->trim_next_us = lane->now_us + 1000 * (lane->now_us - began) + TRIM_EVERY_US;
}

static void wait_for_events(kg_lane_t *lane) {
  struct epoll_event events[64];
  int timeout = patience(lane);
  if (timeout) {
    give_back(lane);
    kg_count(&lane->sleeps, 1);
    atomic_store_explicit(&lane->pulse->busy_since_us, 0, memory_order_relaxed);
  }
  int n = epoll_wait(lane->epoll, events, 64, timeout);
  lane->now_us = kg_clock_us();
  if (timeout && atomic_load_explicit(&lane->k->watch_parked, memory_order_relaxed)) kg_watchdog_wake(lane->k);
  for (int i = 0; i < n; i++) {
    run_watch(lane, &events[i]);
    run_queue(lane);
  }
}

/* --- sockets to other processes
 * ----------------------------------------------------------------------------------------------- */

static void port_event(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)self, (void)fd, (void)events;
  ((kg_port_t *)arg)->more = true;
}

static int port_fd(const kg_port_t *port) {
  int fd = -1;
  size_t size = sizeof fd;
  return zmq_getsockopt(port->socket, ZMQ_FD, &fd, &size) < 0 ? -1 : fd;
}

int kg_port_open(kg_ctx_t *ctx, kg_port_t *port, kg_error_t *err) {
  if (kg_fd_watch(ctx, port_fd(port), EPOLLIN, port_event, port, err) < 0) return -1;
  port->more = true;
  port->next = ctx->lane->ports;
  ctx->lane->ports = port;
  return 0;
}

void kg_port_close(kg_ctx_t *ctx, kg_port_t *port) {
  kg_port_t **at = &ctx->lane->ports;
  while (*at && *at != port) at = &(*at)->next;
  if (!*at) return;
  *at = port->next;
  port->more = port->unsent = false;
  kg_fd_forget(ctx, port_fd(port));
}

void kg_port_unsent(kg_lane_t *lane, kg_port_t *port) {
  port->unsent = lane->unsent = true;
}

void kg_lane_flush(kg_lane_t *lane) {
  lane->unsent = false;
  for (kg_port_t *p = lane->ports; p; p = p->next) {
    if (!p->unsent) continue;
    p->unsent = false;
    p->flush(lane, p);
  }
}

static void run_ports(kg_lane_t *lane) {
  for (kg_port_t *p = lane->ports, *next; p; p = next) {
    next = p->next;
    if (p->more) p->ready(lane, p);
  }
}

static void *lane_main(void *arg) {
  kg_lane_t *lane = arg;
  pthread_setname_np(pthread_self(), lane->name);
  void *stack = kg_crash_lane(lane);
  lane->now_us = kg_clock_us();
  while (!lane->stop) {
    run_inbox(lane);
    run_ports(lane);
    run_queue(lane);
    run_timers(lane);
    if (lane->unsent) kg_lane_flush(lane);
    if (!lane->stop) wait_for_events(lane);
  }
  kg_crash_lane_ends(stack);
  return NULL;
}

/* --- making and ending ---------------------------------------------------------------------------------------------
 */

static int open_inbox(kg_lane_t *lane) {
  lane->epoll = epoll_create1(EPOLL_CLOEXEC);
  lane->inbox = kg_inbox_open(lane->k, lane->index);
  size_t size = sizeof lane->inbox_fd;
  if (!lane->inbox || lane->epoll < 0) return -1;
  if (zmq_getsockopt(lane->inbox, ZMQ_FD, &lane->inbox_fd, &size) < 0) return -1;
  struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint32_t)lane->inbox_fd};
  return epoll_ctl(lane->epoll, EPOLL_CTL_ADD, lane->inbox_fd, &e);
}

static void free_lane(kg_lane_t *lane) {
  while (lane->inbox && kg_inbox_take(lane->inbox, &lane->queue)) continue;
  for (size_t i = 0; i < KG_MAX_LANES; i++) kg_outlet_close(&lane->outlets[i]);
  if (lane->inbox) zmq_close(lane->inbox);
  if (lane->epoll >= 0) close(lane->epoll);
  kg_queue_free(&lane->queue);
  kg_heap_free(&lane->heap);
  kg_table_free(&lane->watches);
  kg_table_free(&lane->timers);
  free(lane);
}

static int start_thread(kg_lane_t *lane) {
  if (getrandom(lane->random, sizeof lane->random, 0) < 0) lane->random[0] = (uint64_t)kg_clock_us();
  return open_inbox(lane) < 0 || pthread_create(&lane->thread, NULL, lane_main, lane) != 0 ? -1 : 0;
}

kg_lane_t *kg_lane_start(kg_kernel_t *k, const char *name, kg_error_t *err) {
  unsigned index = atomic_load(&k->nlanes);
  if (index == KG_MAX_LANES) {
    kg_error_set(err, KG_EFULL, "lane %s cannot be made: there are %d already", name, KG_MAX_LANES);
    return NULL;
  }
  kg_lane_t *lane = calloc(1, sizeof *lane);
  if (!lane) {
    kg_error_set(err, KG_EFULL, "lane %s cannot be made: out of memory", name);
    return NULL;
  }
  lane->k = k;
  lane->index = index;
  lane->epoll = -1;
  lane->pulse = &lane->own_pulse;
  lane->inbox_more = true;
  snprintf(lane->name, sizeof lane->name, "%s", name);
  if (k->sim) {
    kg_sim_lane(k->sim, lane);
  } else if (start_thread(lane) < 0) {
    kg_error_set(err, KG_EINTERNAL, "lane %s cannot be made: %s", name, strerror(errno));
    free_lane(lane);
    return NULL;
  }
  k->lanes[index] = lane;
  atomic_store(&k->nlanes, index + 1);
  return lane;
}

void kg_lane_stop(kg_lane_t *lane) {
  if (!lane->k->sim) pthread_join(lane->thread, NULL);
  free_lane(lane);
}
