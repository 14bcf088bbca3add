/* The requester's side: requests sent, their answers, deadlines and credit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deliver.h"
#include "make.h"
#include "registry.h"
#include "shade.h"

#define DEFAULT_TIMEOUT_MS 30000
#define DEFAULT_CREDIT 256
#define UP_CREDIT 64

static void free_call(kg_call_t *c) {
  kg_heap_remove(&c->ctx->lane->heap, &c->due);
  kg_table_remove(&c->ctx->calls, c->id);
  kg_ctx_unref(c->server);
  free(c);
}

/* To the instance that serves the call, or to whoever will when the name is not held any more. Takes m over. */
static void send_up(kg_call_t *c, kg_msg_t *m) {
  if (!m) return;
  if (c->server)
    kg_lane_post(c->ctx->lane, (kg_parcel_t){.to = kg_ctx_ref(c->server), .from = kg_ctx_ref(c->ctx), .m = m});
  else if (c->name)
    kg_route(c->ctx, NULL, &c->name, m, NULL);
  else
    kg_msg_unref(m);
}

/* Failures of this side come to the callback through the queue, never from inside kg_send(). */
static void fail_later(kg_call_t *c, int code, const char *text) {
  kg_msg_t *m = kg_make_error(NULL, c->topic, c->id, code, text, NULL);
  if (m) kg_lane_post(c->ctx->lane, (kg_parcel_t){.to = kg_ctx_ref(c->ctx), .m = m});
}

static void missed(kg_lane_t *lane, kg_due_t *due) {
  kg_call_t *c = (kg_call_t *)due;
  kg_ctx_t *ctx = kg_ctx_ref(c->ctx);
  char text[320];
  snprintf(text, sizeof text, "%s was not answered by %s before its deadline", c->topic,
           c->name ? c->name->name : "anyone");
  kg_msg_t *m = kg_make_error(NULL, c->topic, c->id, KG_EDEADLINE, text, NULL);
  kg_reply_fn fn = c->fn;
  void *arg = c->arg;
  send_up(c, kg_make_up(c, KG_MSG_CANCEL, 0, NULL, NULL, 0));
  free_call(c);
  kg_count(&ctx->n.late, 1);
  if (fn && m) {
    kg_lane_enter(lane, ctx, "a missed deadline");
    fn(ctx, ctx->self, m, arg);
    kg_lane_leave(lane, ctx, "a missed deadline");
  }
  kg_msg_unref(m);
  kg_ctx_unref(ctx);
}

static kg_call_t *new_call(kg_ctx_t *ctx, const kg_request_t *r) {
  const char *topic = r->topic ? r->topic : "";
  size_t n = strlen(topic) + 1;
  kg_call_t *c = malloc(sizeof *c + n);
  if (!c) return NULL;
  *c = (kg_call_t){.due.fire = missed,
                   .ctx = ctx,
                   .id = (uint64_t)ctx->number << 40 | ++ctx->next_call,
                   .fn = r->fn,
                   .arg = r->arg,
                   .stream = r->stream,
                   .manual = r->manual_credit,
                   .window = r->credit ? r->credit : DEFAULT_CREDIT,
                   .up_credit = UP_CREDIT};
  memcpy(c->topic, topic, n);
  if (kg_table_put(&ctx->calls, c->id, c) == 0) return c;
  free(c);
  return NULL;
}

static int64_t timeout_of(const kg_request_t *r) {
  if (r->timeout_ms > 0) return r->timeout_ms;
  return r->timeout_ms < 0 || r->stream ? 0 : DEFAULT_TIMEOUT_MS;
}

/* Beyond all limits: nothing is left of it but a line in the log, and not of every one. */
static uint64_t lost(kg_ctx_t *ctx, const kg_request_t *r, const char *why) {
  uint64_t n = ++ctx->calls_lost;
  if ((n & (n - 1)) == 0)
    kg_logf(ctx->k, KG_LOG_ERROR, ctx->name, "%s: request %s is lost, %llu so far", why, r->topic,
            (unsigned long long)n);
  return (uint64_t)ctx->number << 40 | ++ctx->next_call;
}

uint64_t kg_send(kg_ctx_t *ctx, const kg_request_t *r) {
  if (ctx->calls.count > (r->fn ? KG_MAX_FAILING : KG_MAX_CALLS)) return lost(ctx, r, "too many open requests");
  kg_call_t *c = new_call(ctx, r);
  if (!c) return lost(ctx, r, "out of memory");
  kg_count(&ctx->n.sent, 1);
  if (ctx->calls.count > KG_MAX_CALLS) {
    fail_later(c, KG_EFULL, "too many open requests");
    return c->id;
  }
  int64_t timeout = timeout_of(r), now = ctx->lane->now_us;
  kg_msg_t *m = kg_make_request(c, r, timeout ? now / 1000 + timeout : 0);
  if (!m) {
    fail_later(c, KG_EINVAL, "the request cannot be sent: its topic or service is no valid name");
    return c->id;
  }
  if (ctx->shadow) kg_tap(ctx, m, true);
  if (timeout) kg_heap_add(&ctx->lane->heap, &c->due, now + timeout * 1000);
  kg_routed_t routed = kg_route(ctx, r->service, &c->name, m, &c->server);
  if (routed == KG_NOBODY || routed == KG_FULL) {
    char text[320];
    snprintf(text, sizeof text,
             routed == KG_FULL ? "too many requests wait for the end of a swap of %s" : "nobody serves %s", r->service);
    fail_later(c, routed == KG_FULL ? KG_EFULL : KG_EUNAVAILABLE, text);
  }
  return c->id;
}

void kg_cancel(kg_ctx_t *ctx, uint64_t id) {
  kg_call_t *c = kg_table_get(&ctx->calls, id);
  if (!c) return;
  send_up(c, kg_make_up(c, KG_MSG_CANCEL, 0, NULL, NULL, 0));
  free_call(c);
}

void kg_credit(kg_ctx_t *ctx, uint64_t id, uint32_t items) {
  kg_call_t *c = kg_table_get(&ctx->calls, id);
  if (c && c->stream && items) send_up(c, kg_make_up(c, KG_MSG_CREDIT, items, NULL, NULL, 0));
}

int kg_call_item(kg_ctx_t *ctx, uint64_t id, kg_doc_t *args, kg_doc_t *const *docs, size_t ndocs) {
  kg_call_t *c = kg_table_get(&ctx->calls, id);
  if (!c || !c->stream || c->closed) return -1;
  if (!c->up_credit) {
    c->starved = true;
    return -1;
  }
  kg_msg_t *m = kg_make_up(c, KG_MSG_ITEM, 0, args, docs, ndocs);
  if (!m) return -1;
  send_up(c, m);
  return (int)--c->up_credit;
}

void kg_call_end(kg_ctx_t *ctx, uint64_t id) {
  kg_call_t *c = kg_table_get(&ctx->calls, id);
  if (!c || !c->stream || c->closed) return;
  c->closed = true;
  send_up(c, kg_make_up(c, KG_MSG_END, 0, NULL, NULL, 0));
}

static void call_back(kg_ctx_t *ctx, kg_reply_fn fn, const kg_msg_t *m, void *arg) {
  if (!fn) return;
  kg_lane_enter(ctx->lane, ctx, kg_msg_topic(m));
  fn(ctx, ctx->self, m, arg);
  kg_lane_leave(ctx->lane, ctx, kg_msg_topic(m));
}

/* One item handled grants one more, sent in halves of the window. */
static void grant(kg_ctx_t *ctx, uint64_t id) {
  kg_call_t *c = kg_table_get(&ctx->calls, id); /* the callback may have cancelled it */
  if (!c || c->manual || ++c->handled * 2 < c->window) return;
  kg_credit(ctx, id, c->handled);
  c->handled = 0;
}

static void item_came(kg_ctx_t *ctx, kg_call_t *c, const kg_msg_t *m) {
  uint64_t id = c->id;
  if (!c->stream) return;
  kg_count(&ctx->n.items, 1);
  call_back(ctx, c->fn, m, c->arg);
  grant(ctx, id);
}

static void credit_came(kg_ctx_t *ctx, kg_call_t *c, const kg_msg_t *m) {
  uint64_t sum = (uint64_t)c->up_credit + kg_credit_of(m);
  c->up_credit = sum > INT32_MAX ? INT32_MAX : (uint32_t)sum;
  if (!c->starved && !c->relay) return;
  c->starved = false;
  call_back(ctx, c->fn, m, c->arg);
}

void kg_call_answered(kg_ctx_t *ctx, const kg_parcel_t *p) {
  kg_call_t *c = kg_table_get(&ctx->calls, kg_msg_id(p->m));
  if (!c) {
    kg_count(&ctx->n.dropped, 1);
    return;
  }
  kg_msg_type_t type = kg_msg_type(p->m);
  bool last = type != KG_MSG_ITEM && type != KG_MSG_CREDIT;
  if (!last && !c->server) c->server = kg_ctx_ref(p->from);
  if (type == KG_MSG_ITEM) {
    item_came(ctx, c, p->m);
  } else if (type == KG_MSG_CREDIT) {
    credit_came(ctx, c, p->m);
  } else {
    kg_reply_fn fn = c->fn;
    void *arg = c->arg;
    kg_count(&ctx->n.replies, 1);
    free_call(c);
    call_back(ctx, fn, p->m, arg);
  }
}

void kg_calls_drop(kg_ctx_t *ctx) {
  uint64_t id;
  while (kg_table_any(&ctx->calls, &id)) kg_cancel(ctx, id);
}
