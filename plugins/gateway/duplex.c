/* A duplex call on the bus on behalf of an exchange. */
#include "duplex.h"

enum { MAX_HELD = 64 << 10, CREDIT = 64 };

struct gw_held { /* input that waits for credit */
  struct gw_held *next;
  kg_doc_t *doc;
  size_t n;
};

/* The connection is read no further while too much waits. */
static void hold_reading(gw_duplex_t *d) {
  gw_conn_t *c = d->ex->conn;
  bool full = d->held > MAX_HELD;
  if (c->no_read == full) return;
  c->no_read = full;
  if (!full) gw_conn_read_again(c);
  gw_conn_interest(c);
}

/* What there is no credit for waits: on_reply hears of new credit. */
static void push_held(gw_duplex_t *d) {
  kg_ctx_t *ctx = d->ex->conn->gw->ctx;
  while (d->head && d->call && kg_call_item(ctx, d->call, d->head->doc, NULL, 0) >= 0) {
    struct gw_held *h = d->head;
    d->head = h->next;
    if (!d->head) d->tail = NULL;
    d->held -= h->n;
    kg_doc_unref(h->doc);
    free(h);
  }
  if (!d->head && d->input_over && d->call) kg_call_end(ctx, d->call);
  hold_reading(d);
}

static void on_reply(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_duplex_t *d = arg;
  if (kg_msg_type(m) == KG_MSG_ITEM) {
    d->owed++;
    d->events->item(d, kg_msg_args(m));
    return;
  }
  if (kg_msg_type(m) == KG_MSG_CREDIT) {
    push_held(d);
    return;
  }
  d->call = 0;
  bool error = kg_msg_type(m) == KG_MSG_ERROR;
  d->events->end(d, error ? kg_msg_text(m) : NULL, error ? kg_msg_code(m) : 0);
}

gw_duplex_t *gw_duplex_open(gw_ex_t *ex, const char *service, const char *topic, kg_doc_t *args,
                            const gw_duplex_events_t *events, void *arg) {
  gw_duplex_t *d = calloc(1, sizeof *d);
  if (!d) return NULL;
  *d = (gw_duplex_t){.ex = ex, .events = events, .arg = arg};
  kg_request_t r = {.service = service,
                    .topic = topic,
                    .args = args,
                    .stream = true,
                    .credit = CREDIT,
                    .manual_credit = true,
                    .timeout_ms = -1,
                    .fn = on_reply,
                    .arg = d};
  d->call = kg_send(ex->conn->gw->ctx, &r);
  return d;
}

void gw_duplex_free(gw_duplex_t *d) {
  if (!d) return;
  kg_ctx_t *ctx = d->ex->conn->gw->ctx;
  if (d->call) kg_cancel(ctx, d->call);
  while (d->head) {
    struct gw_held *h = d->head;
    d->head = h->next;
    kg_doc_unref(h->doc);
    free(h);
  }
  free(d);
}

void gw_duplex_drain(gw_duplex_t *d) {
  if (!d->owed || !d->call || gw_backlog(d->ex) >= GW_BACKLOG_LOW) return;
  kg_credit(d->ex->conn->gw->ctx, d->call, d->owed);
  d->owed = 0;
}

void gw_duplex_send(gw_duplex_t *d, kg_pack_t *item, size_t n) {
  kg_doc_t *doc = kg_pack_doc(item);
  struct gw_held *h = calloc(1, sizeof *h);
  if (!doc || !h || d->input_over) {
    kg_doc_unref(doc);
    free(h);
    return;
  }
  *h = (struct gw_held){.doc = doc, .n = n + 64};
  if (d->tail)
    d->tail->next = h;
  else
    d->head = h;
  d->tail = h;
  d->held += h->n;
  push_held(d);
}

void gw_duplex_end(gw_duplex_t *d) {
  if (d->input_over) return;
  d->input_over = true;
  push_held(d);
}

/* --- a line to the client ---------------------------------------------------------------------------------------- */

bool gw_line_refuse(gw_ex_t *ex) {
  if (gw_ws_asked(ex)) return false;
  gw_status(ex, 400, "BadRequest", NULL, "Upgrade request required");
  return true;
}

bool gw_line_open(gw_line_t *l, gw_ex_t *ex, gw_ws_fn on_message, const gw_spdy_events_t *events, void *arg) {
  *l = (gw_line_t){.ws = on_message ? gw_ws_new(ex, on_message, arg) : NULL,
                   .spdy = events ? gw_spdy_new(events, arg) : NULL};
  if ((!on_message || l->ws) && (!events || l->spdy)) return true;
  gw_line_free(l);
  return false;
}

void gw_line_accept(const gw_line_t *l, gw_ex_t *ex, const char *protocol) {
  if (l->ws)
    gw_ws_accept(ex, protocol);
  else
    gw_spdy_accept(ex, protocol);
}

bool gw_line_feed(const gw_line_t *l, const char *p, size_t n) {
  return l->ws ? gw_ws_feed(l->ws, p, n) : gw_spdy_feed(l->spdy, (const uint8_t *)p, n);
}

void gw_line_free(gw_line_t *l) {
  gw_ws_free(l->ws);
  gw_spdy_free(l->spdy);
  *l = (gw_line_t){0};
}
