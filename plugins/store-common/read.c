/* Reads of the store role: asked, collected row by row, answered. */
#include <stdlib.h>

#include "store.h"

static void read_free(store_read_t *r) {
  for (size_t i = 0; i < r->ndocs; i++) kg_doc_unref(r->docs[i]);
  free(r->docs);
  kg_pack_free(&r->pack);
  if (r->request) kg_msg_unref((kg_msg_t *)r->request);
  free(r);
}

static void pack_entry(kg_pack_t *p, const store_row_t *row) {
  kg_pack_kv_strn(p, "key", row->key);
  kg_pack_kv_int(p, "create", row->create);
  kg_pack_kv_int(p, "mod", row->mod);
  kg_pack_kv_int(p, "version", row->version);
}

static bool keep_doc(store_read_t *r, kg_doc_t *doc) {
  if (r->ndocs == r->room) {
    size_t room = r->room ? r->room * 2 : 64;
    kg_doc_t **docs = realloc(r->docs, room * sizeof *docs);
    if (!docs) {
      r->failed = true;
      kg_doc_unref(doc);
      return false;
    }
    r->docs = docs;
    r->room = room;
  }
  r->docs[r->ndocs++] = doc;
  return true;
}

/* The only row of a get; a range that begins with the key may have another one first. */
static bool take_one(store_read_t *r, const store_row_t *row) {
  r->found = kg_str_eq(row->key, r->q.from);
  if (r->found) pack_entry(&r->pack, row);
  if (r->found) return keep_doc(r, row->value) && false;
  kg_doc_unref(row->value);
  return false;
}

bool store_read_row(void *read, const store_row_t *row) {
  store_read_t *r = read;
  if (r->kind == STORE_GET) return take_one(r, row);
  if (r->q.limit && r->count == r->q.limit) {
    r->more = true;
    kg_doc_unref(row->value);
    return false;
  }
  r->count++;
  if (r->q.count_only) return true;
  kg_pack_map(&r->pack);
  pack_entry(&r->pack, row);
  kg_pack_end(&r->pack);
  return r->q.keys_only || keep_doc(r, row->value);
}

static void finish_answer(store_front_t *f, store_read_t *r, int64_t rev) {
  if (r->kind == STORE_RANGE) {
    if (!r->q.count_only) kg_pack_end(&r->pack);
    kg_pack_kv_bool(&r->pack, "more", r->more);
    if (!r->more) kg_pack_kv_int(&r->pack, "count", r->count);
  } else if (r->kind == STORE_STATUS) {
    kg_pack_kv_int(&r->pack, "compacted", f->compacted);
    kg_pack_kv_str(&r->pack, "backend", f->ops->name);
    if (r->recent > 0) kg_pack_kv_int(&r->pack, "recent", f->ops->recent(f, r->recent));
  }
  kg_pack_kv_int(&r->pack, "rev", rev);
  kg_pack_end(&r->pack);
}

void store_read_done(store_front_t *f, store_read_t *r, int64_t rev, const kg_error_t *err) {
  kg_doc_t *args = NULL;
  if (err && err->code) {
    kg_fail(f->ctx, r->request, err->code, "%s", err->text);
  } else if (r->kind == STORE_GET && !r->found && !r->failed) {
    kg_fail(f->ctx, r->request, KG_ENOTFOUND, "store.get: there is no key " KG_STR_FMT, KG_STR_ARG(r->q.from));
  } else {
    finish_answer(f, r, rev);
    args = r->failed ? NULL : kg_pack_doc(&r->pack);
    if (args)
      kg_reply(f->ctx, r->request, args, r->docs, r->ndocs);
    else
      kg_fail(f->ctx, r->request, KG_EINTERNAL, "%s: out of memory", kg_msg_topic(r->request));
  }
  kg_doc_unref(args);
  read_free(r);
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */

static store_read_t *read_new(store_front_t *f, const kg_msg_t *m) {
  store_read_t *r = calloc(1, sizeof *r);
  if (!r) {
    kg_fail(f->ctx, m, KG_EINTERNAL, "%s: out of memory", kg_msg_topic(m));
    return NULL;
  }
  r->request = kg_msg_ref(m);
  r->pack = kg_pack();
  kg_pack_map(&r->pack);
  return r;
}

static void run_read(store_front_t *f, store_read_t *r) {
  kg_error_t err = {0};
  if (f->ops->read) return f->ops->read(f, r);
  if (r->kind == STORE_STATUS)
    f->ops->stats(f, &r->pack);
  else
    f->ops->range(f, &r->q, store_read_row, r, &err);
  store_read_done(f, r, f->rev, &err);
}

static void do_range(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  store_front_t *f = self;
  kg_view_t a = kg_msg_args(m);
  store_query_t q = {.from = kg_view_str(kg_view_get(a, "from")),
                     .to = kg_view_str(kg_view_get(a, "to")),
                     .rev = kg_view_int(kg_view_get(a, "rev"), 0),
                     .limit = kg_view_int(kg_view_get(a, "limit"), 0),
                     .count_only = kg_view_bool(kg_view_get(a, "count_only"), false),
                     .keys_only = kg_view_bool(kg_view_get(a, "keys_only"), false)};
  if (q.rev < 0 || (q.rev > f->rev && !f->ops->read) || q.limit < 0)
    return kg_fail(ctx, m, KG_EINVAL, "store.range: `rev` must be at most %lld and `limit` not negative",
                   (long long)f->rev);
  store_read_t *r = read_new(f, m);
  if (!r) return;
  f->ranges++;
  if (q.count_only) q.limit = 0;
  q.keys_only |= q.count_only;
  r->kind = STORE_RANGE;
  r->q = q;
  if (!q.count_only) {
    kg_pack_key(&r->pack, "entries");
    kg_pack_array(&r->pack);
  }
  run_read(f, r);
}

static void do_get(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  store_front_t *f = self;
  kg_str_t key = kg_view_str(kg_view_get(kg_msg_args(m), "key"));
  if (!key.n) return kg_fail(ctx, m, KG_EINVAL, "store.get: `key` is missing");
  store_read_t *r = read_new(f, m);
  if (!r) return;
  r->kind = STORE_GET;
  r->q = (store_query_t){.from = key, .limit = 1};
  run_read(f, r);
}

static void do_status(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  store_read_t *r = read_new(self, m);
  if (!r) return;
  r->kind = STORE_STATUS;
  r->recent = kg_view_int(kg_view_get(kg_msg_args(m), "recent"), 0);
  run_read(self, r);
}

/* A read must see every write that was answered or sent before it: it waits for those that are not settled. */
static void read_settled(store_front_t *f, const kg_msg_t *m, kg_handler_fn read) {
  if (store_closed(f, m)) return;
  if (f->ops->read || (!f->inflight && !f->dirty)) return read(f->ctx, f, m);
  store_op_t *op = store_op_new(f, m, STORE_BARRIER);
  if (!op) return;
  op->then = read;
  store_submit(f, op);
}

void store_on_range(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  read_settled(self, m, do_range);
}

void store_on_get(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  read_settled(self, m, do_get);
}

void store_on_status(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  read_settled(self, m, do_status);
}
