/* Reads of the lane's thread. They see what is committed; the front waits with a read until that is everything it must
 * see. */
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include "lmdb_store.h"

int record_parse(MDB_val v, record_head_t *head, kg_str_t *key, kg_str_t *value) {
  if (v.mv_size < sizeof *head) return MDB_CORRUPTED;
  memcpy(head, v.mv_data, sizeof *head);
  if (head->nkey > v.mv_size - sizeof *head) return MDB_CORRUPTED;
  const char *at = (const char *)v.mv_data + sizeof *head;
  *key = (kg_str_t){at, head->nkey};
  *value = (kg_str_t){at + head->nkey, v.mv_size - sizeof *head - head->nkey};
  return 0;
}

int record_get(lmdb_store_t *s, MDB_txn *txn, int64_t rev, record_head_t *head, kg_str_t *key, kg_str_t *value) {
  size_t at = (size_t)rev;
  MDB_val k = {sizeof at, &at}, data;
  int rc = mdb_get(txn, s->db.revs, &k, &data);
  return rc ? rc : record_parse(data, head, key, value);
}

static int begin(lmdb_store_t *s, MDB_txn **txn, kg_error_t *err) {
  pthread_rwlock_rdlock(&s->grow);
  int rc = mdb_txn_begin(s->db.env, NULL, MDB_RDONLY, txn);
  if (!rc) return 0;
  pthread_rwlock_unlock(&s->grow);
  return lmdb_error(err, rc, "cannot read");
}

static void end(lmdb_store_t *s, MDB_txn *txn) {
  mdb_txn_abort(txn);
  pthread_rwlock_unlock(&s->grow);
}

static int gone(int64_t rev, int64_t compacted, kg_error_t *err) {
  return kg_error_set(err, KG_EGONE, "revision %lld is compacted; the oldest is %lld", (long long)rev,
                      (long long)compacted);
}

/* --- ranges ------------------------------------------------------------------------------------------------------ */

typedef struct scan {
  lmdb_store_t *store;
  MDB_txn *txn;
  const store_query_t *query;
  store_row_fn fn;
  void *arg;
} scan_t;

/* Gives the record at `rev` as a row. 1: the receiver has enough. */
static int give(scan_t *c, int64_t rev) {
  record_head_t head;
  store_row_t row = {.mod = rev};
  kg_str_t value;
  int rc = record_get(c->store, c->txn, rev, &head, &row.key, &value);
  if (rc) return rc;
  env_touched(c->store, value.n);
  row.create = head.create;
  row.version = head.version;
  if (!c->query->keys_only && !(row.value = kg_doc_copy(value.p, value.n))) return ENOMEM;
  return c->fn(c->arg, &row) ? 0 : 1;
}

/* An older state: what the first change after `rev` of a key says was there before. */
typedef struct old {
  kg_str_t key; /* borrowed from the map for the transaction */
  int64_t rev;  /* of the change */
  int64_t prev; /* 0: the key was not there */
} old_t;

static int by_key(const void *a, const void *b) {
  const old_t *x = a, *y = b;
  int c = kg_str_cmp(x->key, y->key);
  return c ? c : x->rev < y->rev ? -1 : 1;
}

static int collect_old(scan_t *c, old_t **list, size_t *n) {
  MDB_cursor *cursor;
  size_t room = 0, from = (size_t)c->query->rev + 1;
  int rc = mdb_cursor_open(c->txn, c->store->db.revs, &cursor);
  if (rc) return rc;
  MDB_val key = {sizeof from, &from}, data;
  for (rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE); !rc;
       rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
    record_head_t head;
    kg_str_t k, v;
    if ((rc = record_parse(data, &head, &k, &v))) break;
    if (!store_in_range(k, c->query->from, c->query->to)) continue;
    if (*n == room) {
      room = room ? room * 2 : 64;
      old_t *more = realloc(*list, room * sizeof *more);
      if (!more) {
        rc = ENOMEM;
        break;
      }
      *list = more;
    }
    (*list)[(*n)++] = (old_t){k, rev_of(key), head.prev};
  }
  mdb_cursor_close(cursor);
  if (rc != MDB_NOTFOUND) return rc;
  if (*n) qsort(*list, *n, sizeof **list, by_key);
  size_t kept = 0;
  for (size_t i = 0; i < *n; i++)
    if (!kept || !kg_str_eq((*list)[kept - 1].key, (*list)[i].key)) (*list)[kept++] = (*list)[i];
  *n = kept;
  return 0;
}

static int64_t entry_mod(MDB_val data) {
  key_entry_t entry = {0};
  memcpy(&entry, data.mv_data, data.mv_size < sizeof entry ? data.mv_size : sizeof entry);
  return entry.mod;
}

/* Keys of now and older states in one order; an older state stands for its key. */
static int merge(scan_t *c, const old_t *old, size_t nold) {
  MDB_cursor *cursor;
  int rc = mdb_cursor_open(c->txn, c->store->db.keys, &cursor);
  if (rc) return rc;
  MDB_val key = {c->query->from.n, (void *)c->query->from.p}, data;
  rc = mdb_cursor_get(cursor, &key, &data, key.mv_size ? MDB_SET_RANGE : MDB_FIRST);
  for (size_t i = 0;;) {
    kg_str_t k = {key.mv_data, key.mv_size};
    bool now = !rc && store_in_range(k, c->query->from, c->query->to);
    if (rc && rc != MDB_NOTFOUND) break;
    if (!now && i == nold) break;
    int order = !now ? -1 : i == nold ? 1 : kg_str_cmp(old[i].key, k);
    int given = 0;
    if (order <= 0) {
      if (old[i].prev) given = give(c, old[i].prev);
      i++;
    } else {
      given = give(c, entry_mod(data));
    }
    if (order >= 0) rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    if (given) {
      rc = given;
      break;
    }
  }
  mdb_cursor_close(cursor);
  return rc == MDB_NOTFOUND || rc == 1 ? 0 : rc;
}

int read_range(store_front_t *f, const store_query_t *q, store_row_fn fn, void *arg, kg_error_t *err) {
  lmdb_store_t *s = f->backend;
  scan_t c = {.store = s, .query = q, .fn = fn, .arg = arg};
  if (begin(s, &c.txn, err) < 0) return -1;
  old_t *old = NULL;
  size_t nold = 0;
  int rc = 0, code = 0;
  int64_t compacted = meta_get(s, c.txn, "compacted", 0);
  if (q->rev && q->rev < compacted)
    code = gone(q->rev, compacted, err);
  else if (q->rev && q->rev < f->rev)
    rc = collect_old(&c, &old, &nold);
  if (!rc && !code) rc = merge(&c, old, nold);
  free(old);
  end(s, c.txn);
  return rc ? lmdb_error(err, rc, "cannot read a range") : code;
}

/* --- history ----------------------------------------------------------------------------------------------------- */

/* The change a record tells of, as the caller's reference. */
static store_event_t *event_of(lmdb_store_t *s, MDB_txn *txn, int64_t rev, MDB_val data) {
  record_head_t head, before;
  kg_str_t key, value, ignored;
  if (record_parse(data, &head, &key, &value) != 0) return NULL;
  env_touched(s, data.mv_size);
  if (head.deleted && record_get(s, txn, head.prev, &before, &ignored, &value) != 0) return NULL;
  kg_doc_t *doc = kg_doc_copy(value.p, value.n);
  store_event_t *e = doc ? store_event_new(key, doc) : NULL;
  kg_doc_unref(doc);
  if (!e) return NULL;
  e->deleted = head.deleted;
  e->rev = rev;
  e->create = head.create;
  e->version = head.version;
  e->prev = head.prev;
  return e;
}

int read_history(store_front_t *f, int64_t after, store_event_fn fn, void *arg, kg_error_t *err) {
  lmdb_store_t *s = f->backend;
  MDB_txn *txn;
  if (begin(s, &txn, err) < 0) return -1;
  int64_t compacted = meta_get(s, txn, "compacted", 0);
  if (after < compacted) {
    end(s, txn);
    return gone(after, compacted, err);
  }
  MDB_cursor *c;
  size_t from = (size_t)after + 1;
  MDB_val key = {sizeof from, &from}, data;
  int rc = mdb_cursor_open(txn, s->db.revs, &c);
  bool more = !rc;
  for (unsigned op = MDB_SET_RANGE; more && !(rc = mdb_cursor_get(c, &key, &data, op)); op = MDB_NEXT) {
    int64_t rev = rev_of(key);
    if (rev > f->rev) break; /* written, but not answered yet: it comes through the ring */
    store_event_t *e = event_of(s, txn, rev, data);
    if (!e) {
      rc = MDB_CORRUPTED;
      break;
    }
    more = fn(arg, e);
    store_event_unref(e);
  }
  if (rc == 0 || rc == MDB_NOTFOUND) {
    mdb_cursor_close(c);
    rc = 0;
  }
  end(s, txn);
  return rc ? lmdb_error(err, rc, "cannot read the history") : 0;
}

kg_doc_t *read_value(store_front_t *f, int64_t rev) {
  lmdb_store_t *s = f->backend;
  MDB_txn *txn;
  record_head_t head;
  kg_str_t key, value;
  if (begin(s, &txn, NULL) < 0) return NULL;
  kg_doc_t *doc =
      record_get(s, txn, rev, &head, &key, &value) == 0 && !head.deleted ? kg_doc_copy(value.p, value.n) : NULL;
  end(s, txn);
  return doc;
}

int64_t read_recent(store_front_t *f, int64_t n) {
  lmdb_store_t *s = f->backend;
  MDB_txn *txn;
  MDB_cursor *c;
  MDB_val key, data;
  int64_t rev = 0;
  if (begin(s, &txn, NULL) < 0) return f->rev;
  int64_t compacted = meta_get(s, txn, "compacted", 0);
  if (mdb_cursor_open(txn, s->db.revs, &c) == 0) {
    int rc = mdb_cursor_get(c, &key, &data, MDB_LAST);
    for (; !rc && n > 0; n--) {
      rev = rev_of(key) - 1;
      rc = mdb_cursor_get(c, &key, &data, MDB_PREV);
    }
    mdb_cursor_close(c);
  }
  end(s, txn);
  return rev > compacted ? rev : compacted;
}

void read_stats(store_front_t *f, kg_pack_t *p) {
  lmdb_store_t *s = f->backend;
  MDB_txn *txn;
  MDB_stat st;
  MDB_envinfo info;
  if (begin(s, &txn, NULL) < 0) return;
  if (mdb_stat(txn, s->db.keys, &st) == 0) kg_pack_kv_int(p, "keys", (int64_t)st.ms_entries);
  if (mdb_env_info(s->db.env, &info) == 0 && mdb_stat(txn, s->db.revs, &st) == 0)
    kg_pack_kv_int(p, "bytes", (int64_t)((info.me_last_pgno + 1) * st.ms_psize));
  end(s, txn);
  kg_pack_kv_int(p, "commits", (int64_t)atomic_load(&s->commits));
  kg_pack_kv_int(p, "shrinks", (int64_t)atomic_load(&s->shrinks));
}
