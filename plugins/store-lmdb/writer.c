/*
 * The writer thread. All waiting ops go into one transaction and share its fsync (group commit). Lazy writes are
 * applied and answered at once, but stay in the open transaction until a durable write, a read or a second has passed:
 * LMDB's own commit then makes them durable together with everything after them, so order is kept by construction. If a
 * commit fails, lazy writes that were answered are applied again in the next transaction.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "lmdb_store.h"

enum { COMPACT_CHUNK = 500, GROW_TRIES = 24, DISK_FULL = 1 << 20 };

static MDB_val rev_key(const size_t *rev) {
  return (MDB_val){sizeof *rev, (void *)rev};
}

static int key_find(lmdb_store_t *s, kg_str_t key, key_entry_t *entry) {
  MDB_val k = {key.n, (void *)key.p}, data;
  int rc = mdb_get(s->txn, s->db.keys, &k, &data);
  if (rc) return rc;
  if (data.mv_size != sizeof *entry) return MDB_CORRUPTED;
  memcpy(entry, data.mv_data, sizeof *entry);
  return 0;
}

/* Writes what an event says into the open transaction. The value is copied once, into LMDB's page. */
static int write_event(lmdb_store_t *s, const store_event_t *e) {
  const kg_doc_t *value = e->deleted ? NULL : e->value;
  record_head_t head = {e->create, e->version, e->prev, (uint32_t)e->nkey, e->deleted};
  size_t rev = (size_t)e->rev, nvalue = value ? kg_doc_size(value) : 0;
  MDB_val k = rev_key(&rev), data = {sizeof head + e->nkey + nvalue, NULL};
  int rc = mdb_put(s->txn, s->db.revs, &k, &data, MDB_RESERVE | MDB_APPEND);
  if (rc) return rc;
  char *at = data.mv_data;
  memcpy(at, &head, sizeof head);
  memcpy(at + sizeof head, e->key, e->nkey);
  if (nvalue) memcpy(at + sizeof head + e->nkey, kg_doc_data(value), nvalue);
  env_touched(s, data.mv_size);
  MDB_val key = {e->nkey, (void *)e->key};
  if (e->deleted) return mdb_del(s->txn, s->db.keys, &key, NULL);
  key_entry_t entry = {e->rev, e->create, e->version};
  MDB_val put = {sizeof entry, &entry};
  return mdb_put(s->txn, s->db.keys, &key, &put, 0);
}

static void drop_txn(lmdb_store_t *s) {
  if (s->txn) mdb_txn_abort(s->txn);
  s->txn = NULL;
  s->txn_dirty = false;
  s->rev = s->committed;
  if (s->nlazy) s->rev = s->lazy[s->nlazy - 1]->rev;
}

/* An open transaction that holds the lazy writes answered since the last commit. */
static int ensure_txn(lmdb_store_t *s) {
  if (s->txn) return 0;
  int rc = mdb_txn_begin(s->db.env, NULL, 0, &s->txn);
  if (rc) {
    s->txn = NULL;
    return rc;
  }
  for (size_t i = 0; i < s->nlazy && !rc; i++) rc = write_event(s, s->lazy[i]);
  s->txn_dirty = s->nlazy > 0;
  return rc;
}

static void forget_lazy(lmdb_store_t *s) {
  for (size_t i = 0; i < s->nlazy; i++) store_event_unref(s->lazy[i]);
  s->nlazy = 0;
}

static int commit(lmdb_store_t *s) {
  int64_t limit = s->limit;
  int rc = 0;
  if (s->rev + REV_RESERVE / 2 > limit) {
    limit = s->rev + REV_RESERVE;
    rc = meta_put(s, s->txn, "limit", limit);
    if (!rc) rc = meta_put(s, s->txn, "clean", -1);
  }
  if (rc) return rc;
  rc = mdb_txn_commit(s->txn);
  s->txn = NULL; /* gone in either case */
  if (rc) return rc;
  s->txn_dirty = false;
  s->limit = limit;
  s->committed = s->rev;
  atomic_fetch_add(&s->commits, 1);
  forget_lazy(s);
  return 0;
}

/* --- ops --------------------------------------------------------------------------------------------------------- */

static int refuse(const store_op_t *op, const key_entry_t *old, kg_error_t *err) {
  if (op->kind == STORE_DELETE && !old->mod)
    return kg_error_set(err, KG_ENOTFOUND, "store.delete: there is no key " KG_STR_FMT, KG_STR_ARG(op->key));
  if (op->guarded && op->expect != old->mod)
    return kg_error_set(err, KG_ECONFLICT, "key " KG_STR_FMT " has revision %lld, expected was %lld",
                        KG_STR_ARG(op->key), (long long)old->mod, (long long)op->expect);
  return 0;
}

/* The event of a write that is allowed; the value before is read only where someone gets it: at a deletion. */
static store_event_t *make_event(lmdb_store_t *s, const store_op_t *op, const key_entry_t *old) {
  kg_doc_t *before = NULL;
  if (op->kind == STORE_DELETE) {
    record_head_t head;
    kg_str_t key, value;
    if (record_get(s, s->txn, old->mod, &head, &key, &value) == 0) before = kg_doc_copy(value.p, value.n);
    if (!before) return NULL;
  }
  store_event_t *e = store_event_new(op->key, before ? before : op->value);
  kg_doc_unref(before);
  if (!e) return NULL;
  e->deleted = op->kind == STORE_DELETE;
  e->rev = s->rev + 1;
  e->prev = old->mod;
  e->create = old->mod ? old->create : e->rev;
  e->version = old->mod ? old->version + 1 : 1;
  return e;
}

static int apply_write(lmdb_store_t *s, store_op_t *op) {
  key_entry_t old = {0};
  if (op->key.n > (size_t)mdb_env_get_maxkeysize(s->db.env)) {
    kg_error_set(&op->error, KG_EINVAL, "store-lmdb: a key may have %d bytes, this one has %zu",
                 mdb_env_get_maxkeysize(s->db.env), op->key.n);
    return 0;
  }
  int rc = key_find(s, op->key, &old);
  if (rc && rc != MDB_NOTFOUND) return rc;
  if (refuse(op, &old, &op->error) < 0) return 0;
  op->event = make_event(s, op, &old);
  if (!op->event) return ENOMEM;
  rc = write_event(s, op->event);
  if (rc) return rc;
  s->rev = op->event->rev;
  s->txn_dirty = true;
  return 0;
}

static void reset_results(store_op_t *list) {
  for (store_op_t *op = list; op; op = op->next) {
    store_event_unref(op->event);
    op->event = NULL;
    op->error = (kg_error_t){0};
  }
}

/* Applies all; *durable: somebody waits for a commit. */
static int apply_all(lmdb_store_t *s, store_op_t *list, bool *durable) {
  int rc = ensure_txn(s);
  size_t lazy = s->nlazy;
  *durable = s->failing;
  for (store_op_t *op = list; op && !rc; op = op->next) {
    if (op->kind == STORE_BARRIER) {
      *durable |= s->txn_dirty;
      continue;
    }
    rc = apply_write(s, op);
    *durable |= op->event && !op->lazy;
    lazy += op->event && op->lazy;
  }
  *durable |= lazy > LAZY_MAX || s->rev >= s->limit;
  return rc;
}

/* Lazy events of a batch that was not committed: kept, so that they outlive a failing commit. */
static void keep_lazy(lmdb_store_t *s, store_op_t *list) {
  for (store_op_t *op = list; op; op = op->next)
    if (op->event) s->lazy[s->nlazy++] = store_event_ref(op->event);
}

static int try_batch(lmdb_store_t *s, store_op_t *list) {
  bool durable = false;
  int rc = apply_all(s, list, &durable);
  if (!rc && durable && s->txn_dirty) rc = commit(s);
  if (!rc && !s->txn_dirty) s->failing = false;
  if (!rc && s->txn_dirty) keep_lazy(s, list);
  if (rc) drop_txn(s);
  return rc;
}

/* A write that the disk took half of is an I/O error to LMDB. */
static int true_reason(const lmdb_store_t *s, int rc) {
  struct statvfs disk;
  if (rc != EIO || statvfs(s->dir, &disk)) return rc;
  return disk.f_bavail * disk.f_frsize < DISK_FULL ? ENOSPC : rc;
}

static void fail_batch(lmdb_store_t *s, store_op_t *list, int rc) {
  s->failing = true;
  rc = true_reason(s, rc);
  reset_results(list);
  for (store_op_t *op = list; op; op = op->next)
    lmdb_error(&op->error, rc, op->kind == STORE_BARRIER ? "cannot commit what the read waits for" : "cannot write");
}

static void run_batch(lmdb_store_t *s, store_op_t *list) {
  int rc = try_batch(s, list);
  for (int i = 0; i < GROW_TRIES && rc == MDB_MAP_FULL; i++) {
    reset_results(list);
    rc = env_grow(s);
    if (!rc) rc = try_batch(s, list);
  }
  if (rc) fail_batch(s, list, rc);
  for (store_op_t *op = list; op; op = op->next) op->settled = !s->nlazy;
}

/* Commits what waits in the open transaction, and leaves none open. */
static void flush(lmdb_store_t *s) {
  store_op_t barrier = {.kind = STORE_BARRIER};
  run_batch(s, &barrier);
  if (!s->txn_dirty) drop_txn(s);
}

/* --- compaction -------------------------------------------------------------------------------------------------- */

/* Collects what the changes (compacted, upto] made invisible; returns how far it came. */
static int collect(lmdb_store_t *s, int64_t upto, size_t *drop, size_t *ndrop, int64_t *reached) {
  MDB_cursor *c;
  int rc = mdb_cursor_open(s->txn, s->db.revs, &c);
  if (rc) return rc;
  size_t from = (size_t)s->compacted + 1;
  MDB_val key = rev_key(&from), data;
  *ndrop = 0;
  *reached = upto;
  rc = mdb_cursor_get(c, &key, &data, MDB_SET_RANGE);
  for (size_t seen = 0; !rc; rc = mdb_cursor_get(c, &key, &data, MDB_NEXT)) {
    size_t rev = (size_t)rev_of(key);
    record_head_t head;
    kg_str_t k, v;
    if ((int64_t)rev > upto) break;
    if (seen++ == COMPACT_CHUNK) {
      *reached = (int64_t)rev - 1;
      break;
    }
    if ((rc = record_parse(data, &head, &k, &v))) break;
    env_touched(s, data.mv_size);
    if (head.prev) drop[(*ndrop)++] = (size_t)head.prev;
    if (head.deleted) drop[(*ndrop)++] = rev;
  }
  mdb_cursor_close(c);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

static int compact_chunk(lmdb_store_t *s, int64_t upto, int64_t *reached) {
  size_t drop[2 * COMPACT_CHUNK + 2], n = 0;
  int rc = ensure_txn(s);
  if (!rc) rc = collect(s, upto, drop, &n, reached);
  for (size_t i = 0; i < n && !rc; i++) {
    MDB_val key = rev_key(&drop[i]);
    rc = mdb_del(s->txn, s->db.revs, &key, NULL);
    if (rc == MDB_NOTFOUND) rc = 0;
  }
  if (!rc) rc = meta_put(s, s->txn, "compacted", *reached);
  if (!rc) rc = commit(s);
  if (rc) drop_txn(s);
  return rc;
}

/* One chunk, so that writes come through in between. True: the op is done. */
static bool run_compaction(lmdb_store_t *s, store_op_t *op) {
  int64_t reached = s->compacted;
  int rc = op->rev > s->compacted ? compact_chunk(s, op->rev, &reached) : 0;
  if (rc == MDB_MAP_FULL && (rc = env_grow(s)) == 0) return false;
  if (rc) lmdb_error(&op->error, true_reason(s, rc), "cannot compact");
  if (!rc) s->compacted = reached;
  op->settled = !s->nlazy;
  return rc || s->compacted >= op->rev;
}

/* --- the thread -------------------------------------------------------------------------------------------------- */

static void give_back(lmdb_store_t *s, store_op_t *list) {
  if (!list) return;
  pthread_mutex_lock(&s->mutex);
  *s->done_end = list;
  while (*s->done_end) s->done_end = &(*s->done_end)->next;
  pthread_mutex_unlock(&s->mutex);
  uint64_t one = 1;
  while (write(s->event_fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

static void wait_for_work(lmdb_store_t *s) {
  struct timespec until;
  if (!s->nlazy) {
    pthread_cond_wait(&s->wake, &s->mutex);
    return;
  }
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += LAZY_MS / 1000;
  pthread_cond_timedwait(&s->wake, &s->mutex, &until);
}

/* Everything that waits. *quit: nothing will come any more. */
static store_op_t *take_work(lmdb_store_t *s, bool wait, bool *quit) {
  pthread_mutex_lock(&s->mutex);
  if (wait && !s->todo && !s->quit) wait_for_work(s);
  store_op_t *list = s->todo;
  s->todo = NULL;
  s->todo_end = &s->todo;
  *quit = s->quit;
  pthread_mutex_unlock(&s->mutex);
  return list;
}

/* Moves compactions from *list to *compactions; what is left are reads and writes. */
static void sort_out(store_op_t **list, store_op_t **compactions) {
  while (*list) {
    store_op_t *op = *list;
    if (op->kind != STORE_COMPACT) {
      list = &op->next;
      continue;
    }
    *list = op->next;
    op->next = NULL;
    while (*compactions) compactions = &(*compactions)->next;
    *compactions = op;
  }
}

/* A piece of what goes on between batches: a copy that shrinks the file, or a compaction, never both. */
static void run_piece(lmdb_store_t *s, store_op_t **compactions) {
  store_op_t *op = *compactions;
  if (shrink_running(s)) {
    if (shrink_step(s)) flush(s);
  } else if (op && run_compaction(s, op)) {
    *compactions = op->next;
    op->next = NULL;
    if (!op->error.code) shrink_consider(s);
    give_back(s, op);
  }
}

void *writer_main(void *store) {
  lmdb_store_t *s = store;
  store_op_t *compactions = NULL;
  bool quit = false;
  for (;;) {
    store_op_t *list = take_work(s, !compactions && !shrink_running(s), &quit);
    if (quit) shrink_stop(s);
    sort_out(&list, &compactions);
    if (list)
      run_batch(s, list);
    else if (s->nlazy && !compactions && !shrink_running(s)) {
      flush(s);
      if (quit && s->nlazy) break; /* the disk is full to the end: lazy writes may be lost */
    }
    give_back(s, list);
    run_piece(s, &compactions);
    if (quit && !list && !compactions && !s->nlazy) break;
  }
  shrink_stop(s);
  drop_txn(s);
  forget_lazy(s);
  return NULL;
}
