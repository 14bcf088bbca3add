/*
 * The watch over the whole key space, resumed on every new connection behind the last revision it has shown; and
 * watches of their own for those who read history, closed when they have caught up.
 */
#include <stdlib.h>

#include "etcd.h"

enum { PROBE_MS = 3000 };

/* --- messages
 * ----------------------------------------------------------------------------------------------------------- */

typedef struct told { /* a WatchResponse */
  bool created, canceled;
  int64_t compacted;
  kg_str_t reason;
} told_t;

static told_t read_told(wire_span_t m) {
  told_t t = {0};
  wire_item_t f;
  while (wire_next(&m, &f) == 1) {
    if (f.number == 3) t.created = f.value;
    if (f.number == 4) t.canceled = f.value;
    if (f.number == 5) t.compacted = (int64_t)f.value;
    if (f.number == 6) t.reason = etcd_text(f.bytes);
  }
  return t;
}

typedef struct cursor { /* over the events of a WatchResponse */
  wire_span_t rest, pending;
  int64_t rev;
  unsigned sub;
} cursor_t;

static void advance(cursor_t *c) {
  wire_item_t f;
  c->pending = (wire_span_t){0};
  while (!c->pending.p && wire_next(&c->rest, &f) == 1)
    if (f.number == 11 && f.wire == WIRE_BYTES) c->pending = f.bytes;
}

static cursor_t cursor_of(wire_span_t m) {
  cursor_t c = {.rest = m};
  advance(&c);
  return c;
}

static int64_t event_rev(wire_span_t m) {
  etcd_kv_t kv = {0};
  if (m.p) etcd_kv_read(etcd_field(m, 2), &kv);
  return kv.mod;
}

/* Caller owns it; NULL: out of memory. */
static store_event_t *event_of(wire_span_t m) {
  etcd_kv_t now, before = {0};
  wire_item_t f;
  wire_span_t prev = etcd_field(m, 3);
  bool deleted = false;
  for (wire_span_t rest = m; wire_next(&rest, &f) == 1;)
    if (f.number == 1) deleted = f.value == 1;
  etcd_kv_read(etcd_field(m, 2), &now);
  if (prev.p) etcd_kv_read(prev, &before);
  /* A deletion whose value before is compacted shows none. */
  kg_doc_t *value = deleted && !prev.p ? NULL : etcd_doc(deleted ? before.value : now.value);
  store_event_t *e = value || deleted ? store_event_new(now.key, value) : NULL;
  kg_doc_unref(value);
  if (!e) return NULL;
  e->deleted = deleted;
  e->rev = now.mod;
  e->create = deleted ? before.create : now.create;
  e->version = deleted ? before.version + 1 : now.version;
  e->prev = before.mod;
  if (!deleted && prev.p) e->before = etcd_doc(before.value);
  return e;
}

/* The next event; *end is set when there is none. NULL without *end: out of memory. */
static store_event_t *next_event(cursor_t *c, bool *end) {
  *end = !c->pending.p;
  store_event_t *e = *end ? NULL : event_of(c->pending);
  if (!e) return NULL;
  advance(c);
  e->sub = e->rev == c->rev ? c->sub + 1 : 0;
  e->more = event_rev(c->pending) == e->rev;
  c->sub = e->sub;
  c->rev = e->rev;
  return e;
}

static etcd_call_t *watch_call(etcd_t *e, int64_t from, void *arg) {
  etcd_call_t *c = etcd_call_new(e, "/etcdserverpb.Watch/Watch", arg);
  if (!c) return NULL;
  size_t mark = etcd_message(c), create = wire_open(&c->out, 1);
  etcd_range_keys(&c->out, KG_STR(""), (kg_str_t){0});
  wire_number(&c->out, 3, from);
  wire_number(&c->out, 6, 1); /* with the values before */
  wire_close(&c->out, create);
  etcd_message_end(c, mark);
  c->stream = true;
  return c;
}

/* --- the watch that feeds the front
 * ---------------------------------------------------------------------------------------- */

static void watch_on(etcd_t *e);

static bool on_told(etcd_call_t *c, wire_span_t m) {
  etcd_t *e = c->etcd;
  told_t t = read_told(m);
  bool end = false;
  if (t.created && !e->ready) {
    e->ready = true;
    store_opened(e->front);
    kg_ready(e->ctx);
  }
  cursor_t at = cursor_of(m);
  for (store_event_t *ev; (ev = next_event(&at, &end));) {
    store_seen(e->front, ev);
    store_event_unref(ev);
  }
  if (!end) etcd_conn_lost(e, "out of memory");
  if (t.compacted > e->front->compacted) e->front->compacted = t.compacted;
  e->gap |= t.compacted > 0;
  if (t.canceled) etcd_conn_lost(e, "the watch was ended: " KG_STR_FMT, KG_STR_ARG(t.reason));
  etcd_shown(e);
  return true;
}

static void on_watch_end(etcd_call_t *c, const kg_error_t *err, wire_span_t m) {
  (void)m;
  c->etcd->watch = NULL;
  etcd_conn_lost(c->etcd, "%s", err->code ? err->text : "the watch was ended");
}

static void watch_on(etcd_t *e) {
  e->watch = watch_call(e, e->front->rev + 1, NULL);
  if (e->watch) {
    e->watch->message = on_told;
    e->watch->end = on_watch_end;
    if (etcd_begin(e->watch) < 0) e->watch = NULL;
  }
  if (!e->watch) etcd_conn_lost(e, "out of memory");
}

/* A place in the history that cannot be reached any more: those who watch must read everything again. */
static void gap(etcd_t *e, int64_t rev) {
  kg_log(e->ctx, KG_LOG_WARN, "etcd's history from revision %lld on is gone, it is at %lld: watchers begin again",
         (long long)e->front->rev, (long long)rev);
  e->gap = false;
  e->gaps++;
  e->front->rev = rev;
  store_watch_gap(e->front, "store-etcd: changes were compacted before they could be told");
  etcd_shown(e);
}

/* A member that answers a read the cluster agrees on has a quorum behind it. */
static void on_probe(etcd_call_t *c, const kg_error_t *err, wire_span_t m) {
  etcd_t *e = c->etcd;
  int64_t rev = etcd_header_rev(etcd_field(m, 1));
  if (err->code) return etcd_conn_lost(e, "%s", err->text);
  kg_log(e->ctx, e->ready ? KG_LOG_WARN : KG_LOG_INFO, "etcd at %s:%d serves, revision %lld", e->endpoints[e->at].host,
         e->endpoints[e->at].port, (long long)rev);
  e->good = true;
  e->failures = 0;
  e->reconnects += e->ready;
  if (!e->ready) e->front->rev = rev;
  if (e->gap || rev < e->front->rev) gap(e, rev);
  watch_on(e);
  etcd_calls_go(e);
}

void etcd_watch_start(etcd_t *e) {
  etcd_call_t *c = etcd_call_new(e, "/etcdserverpb.KV/Range", NULL);
  if (!c) return etcd_conn_lost(e, "out of memory");
  size_t mark = etcd_message(c);
  wire_bytes(&c->out, 1, "/", 1);
  wire_number(&c->out, 8, 1);
  etcd_message_end(c, mark);
  c->end = on_probe;
  c->early = true;
  c->due_ms = kg_now_ms(e->ctx) + PROBE_MS;
  if (etcd_begin(c) < 0) etcd_conn_lost(e, "out of memory");
}

/* --- history
 * --------------------------------------------------------------------------------------------------------------- */

typedef struct source {
  etcd_t *etcd;
  store_watcher_t *watcher;
  etcd_call_t *call;
} source_t;

static bool source_begin(source_t *s, int64_t after);

static void source_failed(source_t *s, int code, const char *text) {
  kg_error_t err = {0};
  kg_error_set(&err, code, "store-etcd: %s", text);
  store_follow_failed(s->etcd->front, s->watcher, &err);
  free(s);
}

static bool on_history(etcd_call_t *c, wire_span_t m) {
  source_t *s = c->arg;
  store_front_t *f = s->etcd->front;
  told_t t = read_told(m);
  bool end = false, sent = true;
  cursor_t at = cursor_of(m);
  for (store_event_t *e; sent && (e = next_event(&at, &end));) {
    sent = store_follow_event(f, s->watcher, e);
    store_event_unref(e);
  }
  if (!sent) return false;
  if (t.compacted || t.canceled || !end) {
    source_failed(s, t.compacted ? KG_EGONE : KG_EUNAVAILABLE,
                  t.compacted ? "the revision is compacted"
                  : end       ? "the watch was ended"
                              : "out of memory");
  } else if (store_follow_batch(f, s->watcher)) {
    free(s);
  } else {
    return true;
  }
  etcd_call_drop(c);
  return true;
}

/* With the connection goes the stream; it begins again where it was. */
static void on_history_end(etcd_call_t *c, const kg_error_t *err, wire_span_t m) {
  (void)m;
  source_t *s = c->arg;
  etcd_conn_lost(c->etcd, "%s", err->code ? err->text : "a watch was ended");
  if (!source_begin(s, store_follow_after(s->watcher))) source_failed(s, KG_EINTERNAL, "out of memory");
}

static bool source_begin(source_t *s, int64_t after) {
  s->call = watch_call(s->etcd, after + 1, s);
  if (!s->call) return false;
  s->call->message = on_history;
  s->call->end = on_history_end;
  return etcd_begin(s->call) == 0;
}

void *etcd_follow(store_front_t *f, store_watcher_t *w, int64_t after) {
  source_t *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  *s = (source_t){.etcd = etcd_of(f), .watcher = w};
  if (source_begin(s, after)) return s;
  free(s);
  return NULL;
}

void etcd_follow_on(store_front_t *f, void *source) {
  (void)f;
  etcd_call_resume(((source_t *)source)->call);
}

void etcd_unfollow(store_front_t *f, void *source) {
  (void)f;
  source_t *s = source;
  etcd_call_drop(s->call);
  free(s);
}
