/*
 * A stream of the runtime passed on to whoever asked the agent for it, and back. Credit goes end to end: the runtime
 * gets one for each item that the reader took.
 */
#include "node.h"

enum { CREDIT = 32 };

typedef struct held {
  struct held *next;
  kg_doc_t *doc;
} held_t;

typedef struct queue {
  held_t *head, *tail;
} queue_t;

typedef struct relay {
  agent_t *agent;
  kg_msg_t *request;
  uint64_t call;
  queue_t out, in; /* what the reader, what the runtime has no credit for */
  bool runtime_ended, input_ended;
} relay_t;

static bool push(queue_t *q, kg_doc_t *doc) {
  held_t *h = calloc(1, sizeof *h);
  if (!h) return false;
  h->doc = kg_doc_ref(doc);
  if (q->tail)
    q->tail->next = h;
  else
    q->head = h;
  q->tail = h;
  return true;
}

static void pop(queue_t *q) {
  held_t *h = q->head;
  q->head = h->next;
  if (!q->head) q->tail = NULL;
  kg_doc_unref(h->doc);
  free(h);
}

static void relay_free(relay_t *r) {
  kg_ctx_t *ctx = r->agent->ctx;
  if (r->call) kg_cancel(ctx, r->call);
  while (r->out.head) pop(&r->out);
  while (r->in.head) pop(&r->in);
  kg_msg_unref(r->request);
  free(r);
}

/* --- from the runtime
 * -------------------------------------------------------------------------------------------------- */

/* Passes on what there is credit for. May free r. */
static void pump_out(relay_t *r) {
  kg_ctx_t *ctx = r->agent->ctx;
  while (r->out.head) {
    if (kg_stream_item(ctx, r->request, r->out.head->doc, NULL, 0) < 0) return;
    pop(&r->out);
    if (r->call) kg_credit(ctx, r->call, 1);
  }
  if (!r->runtime_ended) return;
  kg_stream_end(ctx, r->request);
  relay_free(r);
}

/* What there is no credit for waits until the runtime grants some: on_output hears of it. */
static void pump_in(relay_t *r) {
  kg_ctx_t *ctx = r->agent->ctx;
  while (r->call && r->in.head && kg_call_item(ctx, r->call, r->in.head->doc, NULL, 0) >= 0) {
    pop(&r->in);
    kg_stream_grant(ctx, r->request, 1);
  }
  if (!r->call) return;
  if (!r->in.head && r->input_ended) {
    r->input_ended = false;
    kg_call_end(ctx, r->call);
  }
}

static void on_output(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  relay_t *r = arg;
  if (kg_msg_type(m) == KG_MSG_ITEM) {
    if (push(&r->out, kg_msg_args_doc(m))) return pump_out(r);
    kg_fail(ctx, r->request, KG_EINTERNAL, "out of memory");
    return relay_free(r);
  }
  if (kg_msg_type(m) == KG_MSG_CREDIT) return pump_in(r);
  r->call = 0;
  if (kg_msg_type(m) == KG_MSG_ERROR) {
    kg_fail(ctx, r->request, kg_msg_code(m), "%s", kg_msg_text(m));
    return relay_free(r);
  }
  r->runtime_ended = true;
  pump_out(r);
}

/* --- from the reader
 * --------------------------------------------------------------------------------------------------- */

static void on_input(kg_ctx_t *ctx, void *self, const kg_msg_t *request, const kg_msg_t *item, void *arg) {
  (void)ctx, (void)self, (void)request;
  relay_t *r = arg;
  if (kg_msg_type(item) == KG_MSG_END)
    r->input_ended = true;
  else
    push(&r->in, kg_msg_args_doc(item));
  pump_in(r);
}

static void on_credit(kg_ctx_t *ctx, void *self, const kg_msg_t *request, void *arg) {
  (void)ctx, (void)self, (void)request;
  pump_out(arg);
}

static void on_cancel(kg_ctx_t *ctx, void *self, const kg_msg_t *request, void *arg) {
  (void)ctx, (void)self, (void)request;
  relay_free(arg);
}

void relay_open(agent_t *a, const kg_msg_t *m, const char *topic, kg_doc_t *args) {
  static const kg_stream_events_t events = {
      .on_credit = on_credit, .on_cancel = on_cancel, .on_item = on_input, .manual_credit = true};
  relay_t *r = calloc(1, sizeof *r);
  if (!r) {
    kg_doc_unref(args);
    return kg_fail(a->ctx, m, KG_EINTERNAL, "out of memory");
  }
  r->agent = a;
  r->request = kg_msg_ref(m);
  kg_stream_open(a->ctx, m, &events, r);
  r->call = kg_send(a->ctx, &(kg_request_t){.service = a->runtime,
                                            .topic = topic,
                                            .args = args,
                                            .stream = true,
                                            .credit = CREDIT,
                                            .manual_credit = true,
                                            .timeout_ms = -1,
                                            .fn = on_output,
                                            .arg = r});
  kg_doc_unref(args);
}
