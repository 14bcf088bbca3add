/* Runs a kernel under a virtual clock: arrivals and timers in one heap, the earliest next. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deliver.h"

#define WALL_2026_US 1767225600000000
#define START_US 1000000         /* zero means "no time" in places */
#define STANDSTILL_STEPS 2000000 /* so much at one moment is a livelock */

static uint64_t mix(uint64_t *state) { /* splitmix64 */
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

int kg_sim_begin(kg_kernel_t *k, const kg_sim_options_t *o, kg_error_t *err) {
  if (k->sim || k->ninstances || atomic_load(&k->nlanes))
    return kg_error_set(err, KG_EINVAL, "only a kernel that has not loaded anything can be simulated");
  kg_sim_t *s = calloc(1, sizeof *s);
  if (!s) return kg_error_set(err, KG_EFULL, "out of memory");
  s->k = k;
  s->o = *o;
  s->o.exempt = o->exempt ? strdup(o->exempt) : NULL;
  if (!s->o.latency_max_us) s->o.latency_min_us = 1, s->o.latency_max_us = 100;
  if (!s->o.wall_us) s->o.wall_us = WALL_2026_US;
  s->now_us = START_US;
  s->random = o->seed;
  s->last_fault = &s->faults;
  k->sim = s;
  return 0;
}

void kg_sim_lane(kg_sim_t *s, kg_lane_t *lane) {
  s->lane = lane;
  lane->now_us = s->now_us;
  uint64_t state = s->o.seed ^ 0x6b6f676765u; /* another sequence than the simulation's own */
  for (int i = 0; i < 2; i++) lane->random[i] = mix(&state);
}

void kg_sim_free(kg_sim_t *s) {
  if (!s) return;
  for (kg_flight_t *f = s->flights, *next; f; f = next) {
    next = f->next;
    kg_parcel_free(&f->p);
    free(f);
  }
  for (kg_faulty_t *f = s->faults, *next; f; f = next) {
    next = f->next;
    free((char *)f->f.from);
    free((char *)f->f.to);
    free((char *)f->f.topic);
    free(f);
  }
  kg_table_free(&s->arrivals);
  kg_ctx_unref(s->ghost);
  free((char *)s->o.exempt);
  free(s);
}

int64_t kg_time_us(const kg_kernel_t *k) {
  return k->sim ? k->sim->now_us : kg_clock_us();
}
int64_t kg_sim_now_us(const kg_kernel_t *k) {
  return k->sim->now_us;
}
int64_t kg_sim_wall_us(const kg_kernel_t *k) {
  return k->sim->o.wall_us + k->sim->now_us - START_US;
}
uint64_t kg_sim_messages(const kg_kernel_t *k) {
  return k->sim->messages;
}
uint64_t kg_sim_random(kg_kernel_t *k) {
  return mix(&k->sim->random);
}

bool kg_sim_chance(kg_sim_t *s, double probability) {
  return probability > 0 && (double)(mix(&s->random) >> 11) < probability * 9007199254740992.0;
}

int64_t kg_sim_between(kg_sim_t *s, int64_t min, int64_t max) {
  return max > min ? min + (int64_t)(mix(&s->random) % (uint64_t)(max - min + 1)) : min;
}

/* --- messages on their way --------------------------------------------------------------------------------------- */

static void land(kg_sim_t *s, kg_flight_t *f) {
  if (f->prev)
    f->prev->next = f->next;
  else
    s->flights = f->next;
  if (f->next) f->next->prev = f->prev;
}

static void arrive(kg_lane_t *lane, kg_due_t *due) {
  kg_flight_t *f = (kg_flight_t *)due;
  kg_sim_t *s = lane->k->sim;
  land(s, f);
  s->messages++;
  kg_sim_tell(s, NULL, &f->p);
  kg_deliver(lane, &f->p);
  kg_parcel_free(&f->p);
  free(f);
}

/* When a message sent now arrives: never before an earlier one of the same link (PROTOCOL rule 6). */
static int64_t arrival(kg_sim_t *s, const kg_parcel_t *p, int64_t delay_us) {
  uint64_t link = (uint64_t)(p->from ? p->from->number : 0) << 32 | p->to->number;
  int64_t at = s->now_us + kg_sim_between(s, s->o.latency_min_us, s->o.latency_max_us) + delay_us;
  int64_t last = (int64_t)(intptr_t)kg_table_get(&s->arrivals, link);
  if (at < last) at = last;
  kg_table_put(&s->arrivals, link, (void *)(intptr_t)at);
  return at;
}

void kg_sim_send(kg_sim_t *s, kg_parcel_t p, int64_t delay_us) {
  kg_flight_t *f = calloc(1, sizeof *f);
  if (!f || kg_heap_add(&s->lane->heap, &f->due, arrival(s, &p, delay_us)) < 0) {
    free(f);
    kg_parcel_free(&p);
    atomic_fetch_add(&s->k->refused, 1);
    return;
  }
  f->due.fire = arrive;
  f->p = p;
  f->next = s->flights;
  if (f->next) f->next->prev = f;
  s->flights = f;
}

void kg_sim_post(kg_sim_t *s, kg_parcel_t p) {
  int64_t delay_us = 0;
  kg_msg_type_t type = kg_msg_type(p.m);
  if (s->crashed && p.from == s->crashed && (type == KG_MSG_REQUEST || type == KG_MSG_EVENT)) {
    kg_parcel_free(&p);
    return;
  }
  if (!kg_sim_spoil(s, &p, &delay_us)) kg_sim_send(s, p, delay_us);
}

/* --- running ------------------------------------------------------------------------------------------------------ */

/* One arrival or timer; false if there is nothing to do until then, or if nothing moves any more. */
static bool step(kg_sim_t *s, int64_t until_us) {
  kg_lane_t *lane = s->lane;
  kg_parcel_t p;
  if (!lane || s->idle_steps > STANDSTILL_STEPS) return false;
  s->idle_steps++;
  if (kg_queue_pop(&lane->queue, &p)) { /* what a swap held back and has released */
    s->messages++;
    kg_sim_tell(s, NULL, &p);
    kg_deliver(lane, &p);
    kg_parcel_free(&p);
    return true;
  }
  kg_due_t *due = lane->heap.count ? lane->heap.due[1] : NULL;
  if (!due || due->at_us > until_us) return false;
  if (due->at_us > s->now_us) {
    s->now_us = lane->now_us = due->at_us;
    s->idle_steps = 0;
  }
  kg_heap_remove(&lane->heap, due);
  due->fire(lane, due);
  return true;
}

static void pass_time(kg_sim_t *s, int64_t until_us) {
  if (until_us <= s->now_us) return;
  s->now_us = until_us;
  s->idle_steps = 0;
  if (s->lane) s->lane->now_us = until_us;
}

int kg_sim_run(kg_kernel_t *k, int64_t until_us, kg_error_t *err) {
  kg_sim_t *s = k->sim;
  while (step(s, until_us)) continue;
  if (s->idle_steps > STANDSTILL_STEPS)
    return kg_error_set(err, KG_EDEADLINE,
                        "the clock stands still at %.6f s: plugins have kept each other busy for %d steps",
                        (double)s->now_us / 1e6, STANDSTILL_STEPS);
  pass_time(s, until_us);
  return 0;
}

void kg_sim_wait(kg_sim_t *s, const bool *flag, const int *code, int64_t timeout_ms) {
  int64_t until = s->now_us + timeout_ms * 1000;
  while (!*flag && !(code && *code) && step(s, until)) continue;
  if (!*flag && !(code && *code)) pass_time(s, until);
}

/* What is on its way to ctx and was sent up to now. */
static bool under_way(const kg_sim_t *s, const kg_ctx_t *ctx, uint64_t seq) {
  for (const kg_flight_t *f = s->flights; f; f = f->next)
    if (f->p.to == ctx && f->due.seq <= seq) return true;
  return false;
}

kg_job_t *kg_sim_job(kg_ctx_t *ctx, kg_job_t *job, int64_t timeout_ms, kg_error_t *err) {
  kg_sim_t *s = ctx->k->sim;
  uint64_t seq = s->lane->heap.seq;
  int64_t until = s->now_us + timeout_ms * 1000;
  while (job->fence && under_way(s, ctx, seq) && step(s, until)) continue;
  if (job->fence && under_way(s, ctx, seq)) {
    kg_error_set(err, KG_EDEADLINE, "messages to %s were still on their way after %lld ms", ctx->name,
                 (long long)timeout_ms);
    kg_job_unref(job);
    return NULL;
  }
  kg_deliver_job(s->lane, &(kg_parcel_t){.to = ctx, .job = job});
  return job;
}

int kg_sim_crash(kg_kernel_t *k, const char *name, kg_error_t *err) {
  kg_ctx_t *ctx = kg_find(k, name);
  if (!ctx) return kg_error_set(err, KG_ENOTFOUND, "there is no plugin %s", name);
  kg_sim_note(k, "crash %s", name);
  kg_unlist(k, ctx);
  k->sim->crashed = ctx;
  kg_take_down(ctx, "the plugin crashed", NULL);
  k->sim->crashed = NULL;
  return 0;
}
