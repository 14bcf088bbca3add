/* Requests of the store role: read, handed to the backend, answered. */
#include <stdlib.h>
#include <string.h>

#include "store.h"

enum { KEEP_MS = 300000, KEEP_REVS = 10000, KEY_MAX = 4096 };

store_event_t *store_event_new(kg_str_t key, kg_doc_t *value) {
  store_event_t *e = calloc(1, sizeof *e + key.n + 1);
  if (!e) return NULL;
  atomic_init(&e->refs, 1);
  e->value = kg_doc_ref(value);
  e->nkey = key.n;
  memcpy(e->key, key.p, key.n);
  return e;
}

store_event_t *store_event_ref(store_event_t *e) {
  atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
  return e;
}

void store_event_unref(store_event_t *e) {
  if (!e || atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1) return;
  kg_doc_unref(e->value);
  kg_doc_unref(e->before);
  free(e);
}

bool store_in_range(kg_str_t key, kg_str_t from, kg_str_t to) {
  if (!to.p) return key.n >= from.n && !memcmp(key.p, from.p, from.n);
  return kg_str_cmp(key, from) >= 0 && kg_str_cmp(key, to) < 0;
}

/* --- writes ------------------------------------------------------------------------------------------------------ */

static void reply_map(kg_ctx_t *ctx, const kg_msg_t *m, kg_pack_t *p, kg_doc_t *doc) {
  kg_pack_end(p);
  kg_doc_t *args = kg_pack_doc(p);
  if (!args)
    kg_fail(ctx, m, KG_EINTERNAL, "store: out of memory while answering %s", kg_msg_topic(m));
  else
    kg_reply(ctx, m, args, &doc, doc ? 1 : 0);
  kg_doc_unref(args);
}

static void answer_write(store_front_t *f, store_op_t *op) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "rev", op->kind == STORE_COMPACT ? op->rev : op->event->rev);
  if (op->kind == STORE_PUT) {
    kg_pack_kv_int(&p, "create", op->event->create);
    kg_pack_kv_int(&p, "version", op->event->version);
  }
  reply_map(f->ctx, op->request, &p, op->kind == STORE_DELETE ? op->event->value : NULL);
}

void store_submit(store_front_t *f, store_op_t *op) {
  if (op->kind == STORE_PUT) f->puts++;
  if (op->kind == STORE_DELETE) f->deletes++;
  f->inflight++;
  f->ops->submit(f, op);
}

/* After five quiet minutes nothing is left to compact, so the timer is not set again: an idle store does not tick. */
static void on_compact_timer(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  store_front_t *f = self;
  f->compact_timer = 0;
  int64_t target = f->compact_to;
  if (target > f->rev - f->keep_revs) target = f->rev - f->keep_revs;
  store_op_t *op = target > f->compacted && f->open ? calloc(1, sizeof *op) : NULL;
  if (op) {
    op->kind = STORE_COMPACT;
    op->rev = target;
    store_submit(f, op);
  }
  bool more = f->compact_to < f->rev;
  f->compact_to = f->rev;
  if (more) f->compact_timer = kg_timer(f->ctx, f->keep_ms, 0, on_compact_timer, NULL);
}

void store_seen(store_front_t *f, store_event_t *e) {
  f->rev = e->rev;
  store_publish(f, e);
  if (!f->compact_timer && f->keep_ms > 0) f->compact_timer = kg_timer(f->ctx, f->keep_ms, 0, on_compact_timer, NULL);
}

void store_done(store_front_t *f, store_op_t *op) {
  f->inflight--;
  f->dirty = !op->settled;
  if (op->event && op->event->rev > f->rev) store_seen(f, op->event);
  if (op->kind == STORE_COMPACT && !op->error.code && op->rev > f->compacted) f->compacted = op->rev;
  f->conflicts += op->error.code == KG_ECONFLICT;
  if (op->error.code && op->request)
    kg_fail(f->ctx, op->request, op->error.code, "%s", op->error.text);
  else if (op->error.code)
    kg_log(f->ctx, KG_LOG_WARN, "automatic compaction failed: %s", op->error.text);
  else if (op->kind == STORE_BARRIER)
    op->then(f->ctx, f, op->request);
  else if (op->request)
    answer_write(f, op);
  store_event_unref(op->event);
  if (op->request) kg_msg_unref((kg_msg_t *)op->request);
  free(op);
}

bool store_closed(store_front_t *f, const kg_msg_t *m) {
  if (f->open) return false;
  kg_fail(f->ctx, m, KG_EUNAVAILABLE, "store %s has not opened its data", kg_name(f->ctx));
  return true;
}

store_op_t *store_op_new(store_front_t *f, const kg_msg_t *m, store_kind_t kind) {
  store_op_t *op = calloc(1, sizeof *op);
  if (!op) {
    kg_fail(f->ctx, m, KG_EINTERNAL, "store: out of memory");
    return NULL;
  }
  op->kind = kind;
  op->request = kg_msg_ref(m);
  return op;
}

static void on_write(store_front_t *f, const kg_msg_t *m, store_kind_t kind) {
  if (store_closed(f, m)) return;
  kg_view_t a = kg_msg_args(m), expect = kg_view_get(a, "expect");
  kg_str_t key = kg_view_str(kg_view_get(a, "key"));
  if (!key.n || key.n > KEY_MAX)
    return kg_fail(f->ctx, m, KG_EINVAL, "%s: `key` must have 1 to %d bytes", kg_msg_topic(m), KEY_MAX);
  if (kg_view_there(expect) && kg_view_type(expect) != KG_V_INT)
    return kg_fail(f->ctx, m, KG_EINVAL, "%s: `expect` must be a revision", kg_msg_topic(m));
  if (kind == STORE_PUT && !kg_msg_doc(m, 0))
    return kg_fail(f->ctx, m, KG_EINVAL, "store.put: the value (document 0) is missing");
  int64_t ttl_ms = kg_view_int(kg_view_get(a, "ttl_ms"), 0);
  if (ttl_ms < 0 || (ttl_ms && !f->ops->ttl))
    return kg_fail(f->ctx, m, KG_EINVAL, "store.put: `ttl_ms` must not be negative, or is not supported by %s",
                   f->ops->name);
  store_op_t *op = store_op_new(f, m, kind);
  if (!op) return;
  op->key = key;
  op->value = kind == STORE_PUT ? kg_msg_doc(m, 0) : NULL;
  op->lazy = kg_view_bool(kg_view_get(a, "lazy"), false);
  op->guarded = kg_view_there(expect);
  op->expect = kg_view_int(expect, 0);
  op->ttl_ms = ttl_ms;
  store_submit(f, op);
}

static void on_put(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  on_write(self, m, STORE_PUT);
}

static void on_delete(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  on_write(self, m, STORE_DELETE);
}

static void on_compact(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  store_front_t *f = self;
  if (store_closed(f, m)) return;
  int64_t rev = kg_view_int(kg_view_get(kg_msg_args(m), "rev"), -1);
  if (rev < 0 || rev > f->rev)
    return kg_fail(ctx, m, KG_EINVAL, "store.compact: `rev` must be a revision up to %lld", (long long)f->rev);
  if (rev <= f->compacted)
    return kg_fail(ctx, m, KG_EGONE, "store.compact: revision %lld is compacted already", (long long)rev);
  store_op_t *op = store_op_new(f, m, STORE_COMPACT);
  if (!op) return;
  op->rev = rev;
  store_submit(f, op);
}

const kg_handler_t store_handlers[] = {
    {"store.put", on_put},
    {"store.delete", on_delete},
    {"store.get", store_on_get},
    {"store.range", store_on_range},
    {"store.watch", store_on_watch},
    {"store.compact", on_compact},
    {"store.status", store_on_status},
    {0},
};

/* --- life -------------------------------------------------------------------------------------------------------- */

store_front_t *store_front_new(kg_ctx_t *ctx, const store_backend_t *ops, void *backend) {
  store_front_t *f = calloc(1, sizeof *f);
  if (!f) return NULL;
  f->ctx = ctx;
  f->ops = ops;
  f->backend = backend;
  kg_view_t compaction = kg_view_get(kg_config(ctx), "compaction");
  f->keep_ms = kg_view_int(kg_view_get(compaction, "keepMs"), KEEP_MS);
  f->keep_revs = kg_view_int(kg_view_get(compaction, "keepRevisions"), KEEP_REVS);
  return f;
}

void store_opened(store_front_t *f) {
  f->open = true;
  f->ring_after = f->compact_to = f->rev;
}

static int open_backend(store_front_t *f, kg_error_t *err) {
  int rc = f->ops->start(f, err);
  if (rc == 0) store_opened(f);
  return rc;
}

int store_front_start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  if (open_backend(self, err) < 0) return -1;
  kg_ready(ctx);
  return 0;
}

/* In a swap the old instance has let go of the data by now. */
int store_front_accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx, (void)state;
  store_front_t *f = self;
  if (f->open) return 0;
  int rc = open_backend(f, err);
  return rc == 1 ? kg_error_set(err, KG_EUNAVAILABLE, "the old instance still holds the data") : rc;
}

void store_front_activate(kg_ctx_t *ctx, void *self) {
  store_front_t *f = self;
  if (!f->open) kg_log(ctx, KG_LOG_ERROR, "another instance holds the data; all requests will be refused");
}

static void close_backend(store_front_t *f) {
  if (f->compact_timer) kg_timer_cancel(f->ctx, f->compact_timer);
  f->compact_timer = 0;
  if (f->open) f->ops->stop(f);
  f->open = false;
}

void store_front_drain(kg_ctx_t *ctx, void *self) {
  close_backend(self);
  kg_drained(ctx);
}

void store_front_resume(kg_ctx_t *ctx, void *self) {
  kg_error_t err = {0};
  if (open_backend(self, &err) != 0) kg_log(ctx, KG_LOG_ERROR, "cannot open the data again: %s", err.text);
}

void store_front_stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  store_front_t *f = self;
  kg_pack_kv_int(p, "rev", f->rev);
  kg_pack_kv_int(p, "compacted", f->compacted);
  kg_pack_kv_int(p, "puts", (int64_t)f->puts);
  kg_pack_kv_int(p, "deletes", (int64_t)f->deletes);
  kg_pack_kv_int(p, "ranges", (int64_t)f->ranges);
  kg_pack_kv_int(p, "conflicts", (int64_t)f->conflicts);
  kg_pack_kv_int(p, "watchers", (int64_t)f->watcher_count);
  kg_pack_kv_int(p, "watchItems", (int64_t)f->items);
  if (f->open) f->ops->stats(f, p);
}

void store_front_destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  store_front_t *f = self;
  if (f->open) f->ops->stop(f);
  store_watch_free(f);
  f->ops->destroy(f);
  free(f);
}
