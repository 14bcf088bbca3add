/*
 * Writes: one transaction each, guarded by the key's revision. Writes to one key go one after the other, in the order
 * they came; others fly together. A write that etcd has committed is answered when the watch has shown it.
 */
#include <stdlib.h>
#include <string.h>

#include "etcd.h"

enum { MAX_FLYING = 256, EQUAL_MOD = 2 };

struct etcd_write {
  etcd_write_t *next;          /* in etcd's queue or unshown list, or behind another write to the same key */
  etcd_write_t *chain;         /* in etcd's table of keys */
  etcd_write_t *behind, *last; /* writes to the same key that came later */
  etcd_t *etcd;
  store_op_t *op;
  int64_t lease;
};

static void send_next(etcd_t *e);

/* --- the order of one key
 * --------------------------------------------------------------------------------------------- */

static etcd_write_t **slot_of(etcd_t *e, kg_str_t key) {
  uint64_t h = kg_hash_str(KG_HASH_START, key);
  etcd_write_t **at = &e->keys[(h >> 20) % (sizeof e->keys / sizeof *e->keys)];
  while (*at && !kg_str_eq((*at)->op->key, key)) at = &(*at)->chain;
  return at;
}

static void enqueue(etcd_t *e, etcd_write_t *w) {
  w->next = NULL;
  *e->queue_end = w;
  e->queue_end = &w->next;
}

static void first_of_key(etcd_t *e, etcd_write_t *w) {
  etcd_write_t **at = slot_of(e, w->op->key);
  if (!*at) {
    *at = w;
    return enqueue(e, w);
  }
  etcd_write_t *head = *at;
  *(head->behind ? &head->last->next : &head->behind) = w;
  head->last = w;
}

static void next_of_key(etcd_t *e, etcd_write_t *w) {
  etcd_write_t **at = slot_of(e, w->op->key), *heir = w->behind;
  if (!heir) {
    *at = w->chain;
    return;
  }
  heir->behind = heir->next;
  heir->last = w->last;
  heir->chain = w->chain;
  *at = heir;
  enqueue(e, heir);
}

/* --- answers
 * ------------------------------------------------------------------------------------------------------------ */

/* In order of revisions; they come nearly so. */
static void wait_until_shown(etcd_t *e, etcd_write_t *w) {
  etcd_write_t **at = &e->unshown;
  int64_t rev = w->op->event->rev;
  if (e->unshown && e->unshown_last->op->event->rev < rev) at = &e->unshown_last->next;
  while (*at && (*at)->op->event->rev < rev) at = &(*at)->next;
  w->next = *at;
  *at = w;
  if (!w->next) e->unshown_last = w;
}

static void write_done(etcd_t *e, etcd_write_t *w) {
  w->op->settled = true;
  store_done(e->front, w->op);
  free(w);
}

void etcd_shown(etcd_t *e) {
  while (e->unshown && e->unshown->op->event->rev <= e->front->rev) {
    etcd_write_t *w = e->unshown;
    e->unshown = w->next;
    write_done(e, w);
  }
}

static void landed(etcd_t *e, etcd_write_t *w) {
  e->flying--;
  next_of_key(e, w);
  if (w->op->event && w->op->event->rev > e->front->rev)
    wait_until_shown(e, w);
  else
    write_done(e, w);
}

/* Nobody waits for a lease that is not used. */
static void ignore_end(etcd_call_t *c, const kg_error_t *err, wire_span_t answer) {
  (void)c, (void)err, (void)answer;
}

static void revoke(etcd_t *e, int64_t lease) {
  etcd_call_t *c = etcd_call_new(e, "/etcdserverpb.Lease/LeaseRevoke", NULL);
  if (!c) return;
  size_t mark = etcd_message(c);
  wire_number(&c->out, 1, lease);
  etcd_message_end(c, mark);
  c->end = ignore_end;
  etcd_begin(c);
}

static void refused(etcd_write_t *w, int64_t mod) {
  store_op_t *op = w->op;
  if (op->kind == STORE_DELETE && !mod)
    kg_error_set(&op->error, KG_ENOTFOUND, "store.delete: there is no key " KG_STR_FMT, KG_STR_ARG(op->key));
  else
    kg_error_set(&op->error, KG_ECONFLICT, "key " KG_STR_FMT " has revision %lld, expected was %lld",
                 KG_STR_ARG(op->key), (long long)mod, (long long)op->expect);
}

/* What etcd's answers to the operations of a transaction say about the key: as it is now, or was before a deletion. */
static bool key_of(wire_span_t m, etcd_kv_t *kv) {
  wire_item_t f;
  wire_span_t found = {0};
  while (wire_next(&m, &f) == 1) {
    if (f.number != 3 || f.wire != WIRE_BYTES) continue;
    wire_span_t range = etcd_field(f.bytes, 1), removal = etcd_field(f.bytes, 3);
    if (range.p) found = etcd_field(range, 2);
    if (removal.p) found = etcd_field(removal, 3);
  }
  if (found.p) etcd_kv_read(found, kv);
  return found.p;
}

static bool succeeded(wire_span_t m) {
  wire_item_t f;
  bool yes = false;
  while (wire_next(&m, &f) == 1)
    if (f.number == 2) yes = f.value != 0;
  return yes;
}

static void note_result(etcd_write_t *w, wire_span_t m) {
  store_op_t *op = w->op;
  etcd_kv_t kv = {0};
  bool there = key_of(m, &kv), removal = op->kind == STORE_DELETE;
  if (!succeeded(m) || (removal && !there)) return refused(w, there ? kv.mod : 0);
  kg_doc_t *before = removal ? etcd_doc(kv.value) : NULL;
  op->event = !removal || before ? store_event_new(op->key, removal ? before : op->value) : NULL;
  kg_doc_unref(before);
  if (!op->event) {
    kg_error_set(&op->error, KG_EINTERNAL, "store-etcd: out of memory; the write was done");
    return;
  }
  op->event->deleted = removal;
  op->event->rev = removal ? etcd_header_rev(etcd_field(m, 1)) : kv.mod;
  op->event->create = kv.create;
  op->event->version = kv.version + removal;
}

static void on_txn(etcd_call_t *c, const kg_error_t *err, wire_span_t m) {
  etcd_write_t *w = c->arg;
  if (err->code)
    w->op->error = *err;
  else
    note_result(w, m);
  if (w->lease && !w->op->event) revoke(w->etcd, w->lease);
  landed(c->etcd, w);
  send_next(c->etcd);
}

/* --- requests
 * ------------------------------------------------------------------------------------------------------------ */

static void add_compare(kube_buf_t *b, const store_op_t *op) {
  if (!op->guarded) return;
  size_t at = wire_open(b, 1);
  wire_number(b, 2, EQUAL_MOD);
  wire_bytes(b, 3, op->key.p, op->key.n);
  wire_number(b, 6, op->expect);
  wire_close(b, at);
}

/* A range over the key alone, without its value, as operation of a branch: 2 success, 3 failure. */
static void add_look(kube_buf_t *b, uint32_t branch, kg_str_t key) {
  size_t at = wire_open(b, branch), range = wire_open(b, 1);
  wire_bytes(b, 1, key.p, key.n);
  wire_number(b, 8, 1);
  wire_close(b, range);
  wire_close(b, at);
}

static void add_put(kube_buf_t *b, const etcd_write_t *w) {
  size_t at = wire_open(b, 2), put = wire_open(b, 2);
  wire_bytes(b, 1, w->op->key.p, w->op->key.n);
  wire_bytes(b, 2, kg_doc_data(w->op->value), kg_doc_size(w->op->value));
  if (w->lease) wire_number(b, 3, w->lease);
  wire_close(b, put);
  wire_close(b, at);
}

static void add_removal(kube_buf_t *b, const store_op_t *op) {
  size_t at = wire_open(b, 2), removal = wire_open(b, 3);
  wire_bytes(b, 1, op->key.p, op->key.n);
  wire_number(b, 3, 1); /* with the value before */
  wire_close(b, removal);
  wire_close(b, at);
}

static bool send_txn(etcd_write_t *w) {
  etcd_call_t *c = etcd_call_new(w->etcd, "/etcdserverpb.KV/Txn", w);
  if (!c) return false;
  size_t mark = etcd_message(c);
  add_compare(&c->out, w->op);
  if (w->op->kind == STORE_DELETE) {
    add_removal(&c->out, w->op);
  } else {
    add_put(&c->out, w);
    add_look(&c->out, 2, w->op->key);
  }
  add_look(&c->out, 3, w->op->key);
  etcd_message_end(c, mark);
  c->end = on_txn;
  return etcd_begin(c) == 0;
}

static void on_lease(etcd_call_t *c, const kg_error_t *err, wire_span_t m) {
  etcd_write_t *w = c->arg;
  wire_item_t f;
  while (!err->code && wire_next(&m, &f) == 1)
    if (f.number == 2) w->lease = (int64_t)f.value;
  if (w->lease && send_txn(w)) return;
  w->op->error = *err;
  if (!err->code) kg_error_set(&w->op->error, KG_EINTERNAL, "store-etcd: etcd granted no lease");
  landed(c->etcd, w);
  send_next(c->etcd);
}

static bool send_lease(etcd_write_t *w) {
  etcd_call_t *c = etcd_call_new(w->etcd, "/etcdserverpb.Lease/LeaseGrant", w);
  if (!c) return false;
  size_t mark = etcd_message(c);
  wire_number(&c->out, 1, (w->op->ttl_ms + 999) / 1000);
  etcd_message_end(c, mark);
  c->end = on_lease;
  return etcd_begin(c) == 0;
}

static void send_next(etcd_t *e) {
  while (e->queue && e->flying < MAX_FLYING) {
    etcd_write_t *w = e->queue;
    e->queue = w->next;
    if (!e->queue) e->queue_end = &e->queue;
    e->flying++;
    if (w->op->ttl_ms ? send_lease(w) : send_txn(w)) continue;
    kg_error_set(&w->op->error, KG_EINTERNAL, "store-etcd: %s", e->closing ? "the store ends" : "out of memory");
    landed(e, w);
  }
}

/* --- compaction
 * ----------------------------------------------------------------------------------------------------------- */

static void on_compacted(etcd_call_t *c, const kg_error_t *err, wire_span_t m) {
  (void)m;
  store_op_t *op = c->arg;
  /* Another server was faster with its automatic compaction. */
  if (err->code && !(err->code == KG_EGONE && !op->request)) op->error = *err;
  op->settled = true;
  store_done(c->etcd->front, op);
}

static void compact(etcd_t *e, store_op_t *op) {
  etcd_call_t *c = etcd_call_new(e, "/etcdserverpb.KV/Compact", op);
  if (c) {
    size_t mark = etcd_message(c);
    wire_number(&c->out, 1, op->rev);
    etcd_message_end(c, mark);
    c->end = on_compacted;
    if (etcd_begin(c) == 0) return;
  }
  kg_error_set(&op->error, KG_EINTERNAL, "store-etcd: out of memory");
  store_done(e->front, op);
}

/* --- in and out
 * ------------------------------------------------------------------------------------------------------------ */

void etcd_submit(store_front_t *f, store_op_t *op) {
  etcd_t *e = etcd_of(f);
  if (op->kind == STORE_COMPACT) return compact(e, op);
  etcd_write_t *w = calloc(1, sizeof *w);
  if (!w) {
    kg_error_set(&op->error, KG_EINTERNAL, "store-etcd: out of memory");
    return store_done(f, op);
  }
  w->etcd = e;
  w->op = op;
  first_of_key(e, w);
  send_next(e);
}

void etcd_writes_end(etcd_t *e) {
  send_next(e);
  while (e->unshown) {
    etcd_write_t *w = e->unshown;
    e->unshown = w->next;
    write_done(e, w);
  }
}
