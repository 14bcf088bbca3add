/* Reads: a range each, agreed with the cluster. One that fails with its member goes to another until its time is over.
 */
#include <stdlib.h>

#include "etcd.h"

enum { AGAIN_MS = 100 };

typedef struct reading {
  etcd_t *etcd;
  store_read_t *read;
  int64_t due_ms;
} reading_t;

static void begin_range(reading_t *g);
static void begin_status(reading_t *g);

static void done(reading_t *g, int64_t rev, const kg_error_t *err) {
  store_read_done(g->etcd->front, g->read, rev, err);
  free(g);
}

static void no_memory(reading_t *g) {
  kg_error_t err = {0};
  kg_error_set(&err, KG_EINTERNAL, "store-etcd: out of memory");
  done(g, 0, &err);
}

static void on_again(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  reading_t *g = arg;
  if (g->read->kind == STORE_STATUS)
    begin_status(g);
  else
    begin_range(g);
}

/* An election, or a member that stops: another try is in order. */
static bool again(reading_t *g, const kg_error_t *err) {
  if (err->code != KG_EUNAVAILABLE || g->etcd->closing || kg_now_ms(g->etcd->ctx) + AGAIN_MS >= g->due_ms) return false;
  return kg_timer(g->etcd->ctx, AGAIN_MS, 0, on_again, g) != 0;
}

static bool give_row(reading_t *g, wire_span_t m) {
  etcd_kv_t kv;
  etcd_kv_read(m, &kv);
  store_row_t row = {.key = kv.key, .create = kv.create, .mod = kv.mod, .version = kv.version};
  if (!g->read->q.keys_only && !(row.value = etcd_doc(kv.value))) {
    g->read->failed = true;
    return false;
  }
  return store_read_row(g->read, &row);
}

static void on_range(etcd_call_t *c, const kg_error_t *err, wire_span_t m) {
  reading_t *g = c->arg;
  store_read_t *r = g->read;
  int64_t rev = 0, count = 0;
  wire_item_t f;
  if (again(g, err)) return;
  while (!err->code && wire_next(&m, &f) == 1) {
    if (f.number == 1) rev = etcd_header_rev(f.bytes);
    if (f.number == 2 && !give_row(g, f.bytes)) break;
    if (f.number == 3) r->more = f.value;
    if (f.number == 4) count = (int64_t)f.value;
  }
  if (r->q.count_only) r->count = count;
  if (r->kind == STORE_STATUS) kg_pack_kv_int(&r->pack, "keys", count);
  done(g, rev, err);
}

static void begin_range(reading_t *g) {
  const store_query_t *q = &g->read->q;
  etcd_call_t *c = etcd_call_new(g->etcd, "/etcdserverpb.KV/Range", g);
  if (!c) return no_memory(g);
  size_t mark = etcd_message(c);
  if (g->read->kind == STORE_GET)
    wire_bytes(&c->out, 1, q->from.p, q->from.n);
  else
    etcd_range_keys(&c->out, q->from, q->to);
  if (q->limit) wire_number(&c->out, 3, q->limit);
  if (q->rev) wire_number(&c->out, 4, q->rev);
  if (q->keys_only) wire_number(&c->out, 8, 1);
  if (q->count_only) wire_number(&c->out, 9, 1);
  etcd_message_end(c, mark);
  c->end = on_range;
  c->again = true;
  c->due_ms = g->due_ms;
  if (etcd_begin(c) < 0) no_memory(g);
}

/* --- status: the size of the database, then the number of keys
 * ---------------------------------------------------------- */

static void on_status(etcd_call_t *c, const kg_error_t *err, wire_span_t m) {
  reading_t *g = c->arg;
  kg_pack_t *p = &g->read->pack;
  wire_item_t f;
  if (again(g, err)) return;
  if (err->code) return done(g, 0, err);
  while (wire_next(&m, &f) == 1) {
    if (f.number == 2) kg_pack_kv_strn(p, "version", etcd_text(f.bytes));
    if (f.number == 3) kg_pack_kv_int(p, "bytes", (int64_t)f.value);
    if (f.number == 9) kg_pack_kv_int(p, "bytesInUse", (int64_t)f.value);
  }
  g->read->q = (store_query_t){.from = KG_STR(""), .count_only = true, .keys_only = true};
  begin_range(g);
}

static void begin_status(reading_t *g) {
  if (g->read->q.count_only) return begin_range(g); /* only the second half again */
  etcd_call_t *c = etcd_call_new(g->etcd, "/etcdserverpb.Maintenance/Status", g);
  if (!c) return no_memory(g);
  etcd_message_end(c, etcd_message(c));
  c->end = on_status;
  c->again = true;
  c->due_ms = g->due_ms;
  if (etcd_begin(c) < 0) no_memory(g);
}

void etcd_read(store_front_t *f, store_read_t *r) {
  etcd_t *e = etcd_of(f);
  kg_error_t err = {0};
  reading_t *g = calloc(1, sizeof *g);
  if (!g) {
    kg_error_set(&err, KG_EINTERNAL, "store-etcd: out of memory");
    return store_read_done(f, r, 0, &err);
  }
  *g = (reading_t){.etcd = e, .read = r, .due_ms = kg_now_ms(e->ctx) + e->timeout_ms};
  on_again(e->ctx, f, g);
}
