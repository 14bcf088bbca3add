/* What comes to an instance, and who in it gets it. */
#include "deliver.h"

#include <string.h>

#include "instance.h"
#include "make.h"
#include "shade.h"

static bool topic_matches(const char *pattern, const char *topic) {
  size_t n = strlen(pattern);
  return n && pattern[n - 1] == '*' ? strncmp(topic, pattern, n - 1) == 0 : strcmp(topic, pattern) == 0;
}

static kg_handler_fn handler_of(const kg_plugin_t *desc, const char *topic) {
  for (const kg_handler_t *h = desc->handlers; h && h->topic; h++)
    if (topic_matches(h->topic, topic)) return h->fn;
  return NULL;
}

void kg_refuse(kg_lane_t *lane, const kg_parcel_t *p, int code, const char *text) {
  kg_msg_t *m = kg_make_error(p->to, kg_msg_topic(p->m), kg_msg_id(p->m), code, text, NULL);
  if (m && p->from)
    kg_lane_post(lane, (kg_parcel_t){.to = kg_ctx_ref(p->from), .from = kg_ctx_ref(p->to), .m = m});
  else
    kg_msg_unref(m);
}

static void run(kg_lane_t *lane, kg_ctx_t *ctx, kg_handler_fn fn, const kg_msg_t *m) {
  kg_lane_enter(lane, ctx, kg_msg_topic(m));
  fn(ctx, ctx->self, m);
  kg_lane_leave(lane, ctx, kg_msg_topic(m));
}

static void deliver_request(kg_lane_t *lane, kg_parcel_t *p) {
  kg_ctx_t *ctx = p->to;
  const char *topic = kg_msg_topic(p->m);
  kg_count(&ctx->n.requests, 1);
  if (atomic_load(&ctx->state) == KG_STOPPED || !ctx->created) {
    kg_refuse(lane, p, KG_EUNAVAILABLE, "the plugin has just been stopped");
    return;
  }
  if (kg_served_add(ctx, p) < 0) {
    kg_refuse(lane, p, KG_EFULL, "out of memory");
    return;
  }
  if (strncmp(topic, "plugin.", 7) == 0) {
    kg_inherited(ctx, p->m);
    return;
  }
  kg_handler_fn fn = handler_of(ctx->desc, topic);
  if (fn)
    run(lane, ctx, fn, p->m);
  else
    kg_fail(ctx, p->m, KG_ENOTFOUND, "%s has no topic %s", ctx->desc->name, topic);
}

static void deliver_event(kg_lane_t *lane, const kg_parcel_t *p) {
  kg_handler_fn fn = handler_of(p->to->desc, kg_msg_topic(p->m));
  kg_count(&p->to->n.events, 1);
  if (fn) run(lane, p->to, fn, p->m);
}

/* One that kg_route_event() has counted: the kernel's own have no sender. */
static void event_arrived(const kg_lane_t *lane, const kg_parcel_t *p) {
  if (p->from && !lane->k->link && !lane->k->sim)
    atomic_fetch_sub_explicit(&p->to->events_waiting, 1, memory_order_relaxed);
}

void kg_deliver(kg_lane_t *lane, kg_parcel_t *p) {
  if (kg_msg_type(p->m) == KG_MSG_EVENT) event_arrived(lane, p);
  if (atomic_load_explicit(&lane->k->tracing, memory_order_relaxed)) kg_trace_parcel(lane, p);
  if (p->to->shadow) kg_tap(p->to, p->m, false);
  if (p->to->raw) {
    p->to->raw(lane, p->to, p);
    return;
  }
  kg_msg_type_t type = kg_msg_type(p->m);
  if (type == KG_MSG_REQUEST)
    deliver_request(lane, p);
  else if (atomic_load(&p->to->state) == KG_STOPPED || !p->to->created)
    kg_count(&p->to->n.dropped, 1);
  else if (type == KG_MSG_EVENT)
    deliver_event(lane, p);
  else if (kg_from_requester(p->m))
    kg_served_event(p->to, p);
  else
    kg_call_answered(p->to, p);
}

/* What comes after the job, or NULL. Who waits for the job sees that it is done, but is not woken for that. */
static kg_job_t *follower(kg_job_t *job, kg_ctx_t *to) {
  kg_job_t *then = job->then;
  if (!then || job->later || job->rc < 0) return NULL;
  pthread_mutex_lock(&job->k->life);
  then->begun = job->fn != kg_job_drain || to->drained;
  job->done |= then->begun;
  pthread_mutex_unlock(&job->k->life);
  if (!then->begun) return NULL;
  then->doc = kg_doc_ref(job->doc);
  return then;
}

static kg_job_t *run_job(kg_lane_t *lane, kg_ctx_t *to, kg_job_t *job) {
  int untaken = 0;
  if (!atomic_compare_exchange_strong(&job->taken, &untaken, 1)) return NULL;
  lane->now_us = kg_time_us(lane->k);
  atomic_store_explicit(&lane->current, to, memory_order_relaxed);
  kg_pulse_set(lane->pulse, job->what ? job->what : "a step of its life", lane->now_us);
  job->fn(lane, to, job);
  lane->now_us = kg_time_us(lane->k);
  atomic_store_explicit(&lane->current, NULL, memory_order_relaxed);
  kg_job_t *then = follower(job, to);
  if (!job->later && !then) kg_job_finish(job);
  return then;
}

void kg_deliver_job(kg_lane_t *lane, const kg_parcel_t *p) {
  kg_ctx_t *to = p->to;
  if (lane->unsent) kg_lane_flush(lane);
  for (kg_job_t *job = p->job, *then; job; job = then) {
    kg_ctx_t *next = job->then_to;
    then = run_job(lane, to, job);
    to = next;
  }
}

void kg_job_finish(kg_job_t *job) {
  pthread_mutex_lock(&job->k->life);
  job->done = true;
  pthread_cond_broadcast(&job->k->changed);
  pthread_mutex_unlock(&job->k->life);
}
