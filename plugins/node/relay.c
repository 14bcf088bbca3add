/*
 * A stream of the runtime passed on to whoever asked the agent for it, and back. Credit goes end to end: the runtime
 * gets one for each item that the reader took.
 */
#include "node.h"

enum { CREDIT = 32, AGAIN_MS = 20, MOST_TRIES = 250 };

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
  /* A log that is followed is asked for again when the runtime was replaced: */
  kg_doc_t *args;    /* with these, NULL: it is none */
  kg_doc_t *reached; /* from behind this item */
  int64_t bytes;     /* it had brought so many */
  unsigned tries;
  uint64_t timer;
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
  kg_timer_cancel(ctx, r->timer);
  kg_doc_unref(r->args);
  kg_doc_unref(r->reached);
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

/* --- a log goes on with the runtime's successor
 * --------------------------------------------------------------------------------------------------------- */

static void open_call(relay_t *r, const char *topic, kg_doc_t *args);

static kg_doc_t *rest_args(const relay_t *r) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  for (kg_iter_t it = kg_iter(kg_view_of(r->args)); kg_iter_next(&it);) {
    kg_pack_view(&p, it.key);
    if (kg_str_is(kg_view_str(it.key), "limitBytes"))
      kg_pack_int(&p, kg_view_int(it.value, 0) - r->bytes);
    else
      kg_pack_view(&p, it.value);
  }
  kg_view_t reached = kg_view_of(r->reached);
  kg_pack_key(&p, "from");
  kg_pack_map(&p);
  kg_pack_kv_view(&p, "file", kg_view_get(reached, "file"));
  kg_pack_kv_view(&p, "at", kg_view_get(reached, "at"));
  kg_pack_kv_view(&p, "open", kg_view_get(reached, "open"));
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void on_again(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  relay_t *r = arg;
  r->timer = 0;
  open_call(r, "runtime.logs", r->reached ? rest_args(r) : kg_doc_ref(r->args));
}

/* True: it is asked for again soon. */
static bool goes_on(relay_t *r, const kg_msg_t *m) {
  bool known = !r->reached || kg_view_there(kg_view_get(kg_view_of(r->reached), "at"));
  if (!r->args || !known || kg_msg_code(m) != KG_EUNAVAILABLE || ++r->tries > MOST_TRIES) return false;
  r->timer = kg_timer(r->agent->ctx, AGAIN_MS, 0, on_again, r);
  return true;
}

static void reached(relay_t *r, const kg_msg_t *m) {
  if (!r->args) return;
  kg_doc_unref(r->reached);
  r->reached = kg_doc_ref(kg_msg_args_doc(m));
  r->bytes += (int64_t)kg_view_bin(kg_view_get(kg_msg_args(m), "data")).n;
  r->tries = 0;
}

static void on_output(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  relay_t *r = arg;
  if (kg_msg_type(m) == KG_MSG_ITEM) {
    reached(r, m);
    if (push(&r->out, kg_msg_args_doc(m))) return pump_out(r);
    kg_fail(ctx, r->request, KG_EINTERNAL, "out of memory");
    return relay_free(r);
  }
  if (kg_msg_type(m) == KG_MSG_CREDIT) return pump_in(r);
  r->call = 0;
  if (kg_msg_type(m) == KG_MSG_ERROR && goes_on(r, m)) return;
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

/* Takes args. */
static void open_call(relay_t *r, const char *topic, kg_doc_t *args) {
  agent_t *a = r->agent;
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
  if (!strcmp(topic, "runtime.logs") && kg_view_bool(kg_view_get(kg_view_of(args), "follow"), false))
    r->args = kg_doc_ref(args);
  open_call(r, topic, args);
}
