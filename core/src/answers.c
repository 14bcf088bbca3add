/* The server's side: requests that came, their answers and streams. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "deliver.h"
#include "make.h"
#include "shade.h"

#define DEFAULT_CREDIT 256
#define UP_GRANT 32 /* half of the 64 items that are free at the start */

static void free_served(kg_ctx_t *ctx, kg_served_t *s) {
  kg_table_remove(&ctx->served, kg_msg_id(s->m));
  kg_msg_unref(s->m);
  kg_ctx_unref(s->from);
  kg_ctx_unref(s->to);
  free(s);
}

int kg_served_add(kg_ctx_t *ctx, kg_parcel_t *p) {
  kg_served_t *s = malloc(sizeof *s);
  if (!s || kg_table_put(&ctx->served, kg_msg_id(p->m), s) < 0) {
    free(s);
    return -1;
  }
  uint32_t credit = kg_credit_of(p->m);
  *s = (kg_served_t){.m = kg_msg_ref(p->m), .from = p->from, .to = p->to, .credit = credit ? credit : DEFAULT_CREDIT};
  p->from = p->to = NULL;
  return 0;
}

/* Takes m over. */
static void post_back(kg_ctx_t *ctx, kg_served_t *s, kg_msg_t *m) {
  if (!m) {
    kg_logf(ctx->k, KG_LOG_ERROR, ctx->name, "out of memory: an answer to %s is lost", kg_msg_topic(s->m));
    return;
  }
  if (ctx->shadow) kg_tap(ctx, m, true);
  kg_lane_post(ctx->lane, (kg_parcel_t){.to = kg_ctx_ref(s->from), .from = kg_ctx_ref(ctx), .m = m});
}

/* The last answer: the request is done with. */
static void finish(kg_ctx_t *ctx, kg_served_t *s, kg_msg_t *m) {
  if (m) {
    if (ctx->shadow) kg_tap(ctx, m, true);
    kg_lane_post(ctx->lane, (kg_parcel_t){.to = s->from, .from = s->to, .m = m});
    s->from = s->to = NULL;
  } else {
    post_back(ctx, s, m);
  }
  free_served(ctx, s);
}

/* The request if it still waits for its answer. One that was cancelled only waits for the plugin to let go of it. */
static kg_served_t *waiting(kg_ctx_t *ctx, const kg_msg_t *m) {
  kg_served_t *s = kg_table_get(&ctx->served, kg_msg_id(m));
  if (!s) {
    kg_count(&ctx->n.dropped, 1);
    kg_logf(ctx->k, KG_LOG_WARN, ctx->name, "a second answer to %s of %s was ignored", kg_msg_topic(m),
            kg_msg_source(m));
    return NULL;
  }
  if (!s->cancelled) return s;
  free_served(ctx, s);
  return NULL;
}

void kg_reply(kg_ctx_t *ctx, const kg_msg_t *m, kg_doc_t *args, kg_doc_t *const *docs, size_t ndocs) {
  kg_served_t *s = waiting(ctx, m);
  if (!s) return;
  kg_count(&ctx->n.answered, 1);
  finish(ctx, s, kg_make_answer(ctx, m, KG_MSG_REPLY, 0, args, docs, ndocs));
}

void kg_fail_doc(kg_ctx_t *ctx, const kg_msg_t *m, int code, const char *text, kg_doc_t *doc) {
  kg_served_t *s = waiting(ctx, m);
  if (!s) return;
  kg_count(&ctx->n.failed, 1);
  finish(ctx, s, kg_make_error(ctx, kg_msg_topic(m), kg_msg_id(m), code, text, doc));
}

void kg_fail(kg_ctx_t *ctx, const kg_msg_t *m, int code, const char *fmt, ...) {
  char text[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  kg_fail_doc(ctx, m, code, text, NULL);
}

/* --- streams
 * ----------------------------------------------------------------------------------------------------------- */

int kg_stream_item(kg_ctx_t *ctx, const kg_msg_t *m, kg_doc_t *args, kg_doc_t *const *docs, size_t ndocs) {
  kg_served_t *s = kg_table_get(&ctx->served, kg_msg_id(m));
  if (!s || s->cancelled || !kg_msg_stream(m)) return -1;
  if (!s->credit) {
    s->starved = true;
    return -1;
  }
  kg_msg_t *item = kg_make_answer(ctx, m, KG_MSG_ITEM, 0, args, docs, ndocs);
  if (!item) return -1;
  post_back(ctx, s, item);
  if (--s->credit == 0) s->starved = true;
  return s->credit > INT32_MAX ? INT32_MAX : (int)s->credit;
}

void kg_stream_end(kg_ctx_t *ctx, const kg_msg_t *m) {
  kg_served_t *s = waiting(ctx, m);
  if (!s) return;
  kg_count(&ctx->n.answered, 1);
  finish(ctx, s, kg_make_answer(ctx, m, KG_MSG_END, 0, NULL, NULL, 0));
}

void kg_stream_open(kg_ctx_t *ctx, const kg_msg_t *m, const kg_stream_events_t *ev, void *arg) {
  kg_served_t *s = kg_table_get(&ctx->served, kg_msg_id(m));
  if (!s) return;
  s->ev = ev;
  s->arg = arg;
  if (!s->cancelled) return;
  /* It was cancelled before: say so, but not from inside this call. */
  kg_msg_t *cancel = kg_make_cancel(m);
  s->cancelled = false;
  if (cancel) kg_lane_post(ctx->lane, (kg_parcel_t){.to = kg_ctx_ref(ctx), .from = kg_ctx_ref(s->from), .m = cancel});
}

static void cancelled(kg_ctx_t *ctx, kg_served_t *s) {
  if (!s->ev) { /* the plugin knows only how to answer: the entry goes with the answer nobody wants */
    s->cancelled = true;
    return;
  }
  kg_msg_t *m = kg_msg_ref(s->m);
  const kg_stream_events_t *ev = s->ev;
  void *arg = s->arg;
  free_served(ctx, s);
  if (ev->on_cancel) {
    kg_lane_enter(ctx->lane, ctx, kg_msg_topic(m));
    ev->on_cancel(ctx, ctx->self, m, arg);
    kg_lane_leave(ctx->lane, ctx, kg_msg_topic(m));
  }
  kg_msg_unref(m);
}

static void credited(kg_ctx_t *ctx, kg_served_t *s, uint32_t items) {
  s->credit += items;
  if (!s->starved || !s->ev || !s->ev->on_credit) return;
  s->starved = false;
  kg_msg_t *m = kg_msg_ref(s->m);
  kg_lane_enter(ctx->lane, ctx, kg_msg_topic(m));
  s->ev->on_credit(ctx, ctx->self, m, s->arg);
  kg_lane_leave(ctx->lane, ctx, kg_msg_topic(m));
  kg_msg_unref(m);
}

/* Told in halves of the window. */
static void grant(kg_ctx_t *ctx, kg_served_t *s, uint32_t items) {
  s->taken += items;
  if (s->taken < UP_GRANT) return;
  post_back(ctx, s, kg_make_answer(ctx, s->m, KG_MSG_CREDIT, s->taken, NULL, NULL, 0));
  s->taken = 0;
}

static void item_came(kg_ctx_t *ctx, kg_served_t *s, const kg_msg_t *item) {
  uint64_t id = kg_msg_id(item);
  if (s->ev && s->ev->on_item) {
    kg_msg_t *m = kg_msg_ref(s->m);
    kg_lane_enter(ctx->lane, ctx, kg_msg_topic(m));
    s->ev->on_item(ctx, ctx->self, m, item, s->arg);
    kg_lane_leave(ctx->lane, ctx, kg_msg_topic(m));
    kg_msg_unref(m);
  }
  s = kg_table_get(&ctx->served, id); /* the handler may have ended it */
  if (s && kg_msg_type(item) == KG_MSG_ITEM && !(s->ev && s->ev->manual_credit)) grant(ctx, s, 1);
}

void kg_stream_grant(kg_ctx_t *ctx, const kg_msg_t *m, uint32_t items) {
  kg_served_t *s = kg_table_get(&ctx->served, kg_msg_id(m));
  if (s && items) grant(ctx, s, items);
}

void kg_served_event(kg_ctx_t *ctx, const kg_parcel_t *p) {
  kg_served_t *s = kg_table_get(&ctx->served, kg_msg_id(p->m));
  if (!s) return;
  switch (kg_msg_type(p->m)) {
  case KG_MSG_CANCEL:
    cancelled(ctx, s);
    break;
  case KG_MSG_CREDIT:
    credited(ctx, s, kg_credit_of(p->m));
    break;
  default:
    item_came(ctx, s, p->m);
  }
}

/* --- proxies
 * ----------------------------------------------------------------------------------------------------------------- */

bool kg_served_up(kg_ctx_t *ctx, const kg_msg_t *m) {
  kg_served_t *s = kg_table_get(&ctx->served, kg_msg_id(m));
  if (!s) return false;
  if (kg_msg_type(m) == KG_MSG_CREDIT) s->credit += kg_credit_of(m);
  if (kg_msg_type(m) == KG_MSG_CANCEL) free_served(ctx, s);
  return true;
}

void kg_served_relay(kg_ctx_t *ctx, kg_msg_t *m) {
  kg_served_t *s = kg_table_get(&ctx->served, kg_msg_id(m));
  kg_msg_type_t type = kg_msg_type(m);
  bool stream = s && kg_msg_stream(s->m), item = type == KG_MSG_ITEM || type == KG_MSG_CREDIT;
  if (!s || (item && !stream) || (type == KG_MSG_ITEM && !s->credit) || type == KG_MSG_CANCEL || type == KG_MSG_EVENT ||
      type == KG_MSG_REQUEST) {
    kg_count(&ctx->n.dropped, 1);
    return;
  }
  if (type == KG_MSG_ITEM) s->credit--;
  if (item) {
    post_back(ctx, s, kg_msg_ref(m));
    return;
  }
  kg_count(type == KG_MSG_ERROR ? &ctx->n.failed : &ctx->n.answered, 1);
  finish(ctx, s, kg_msg_ref(m));
}

void kg_served_drop(kg_ctx_t *ctx, const char *why) {
  uint64_t id;
  for (kg_served_t *s; (s = kg_table_any(&ctx->served, &id)) != NULL;) {
    if (!s->cancelled) post_back(ctx, s, kg_make_error(ctx, kg_msg_topic(s->m), id, KG_EUNAVAILABLE, why, NULL));
    free_served(ctx, s);
  }
}
