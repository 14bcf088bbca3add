/*
 * A file that shrinks again. LMDB reuses the pages that compaction freed, but never gives them back. So when most of
 * the file is free, its records are copied into a new one, in order of revisions and in small pieces between the
 * batches of writes; when the copy has caught up with the last commit it takes the old file's place by rename. A crash
 * leaves one or the other, whole. Everything here is the writer thread's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lmdb_store.h"

enum { PIECE_RECORDS = 1000, PIECE_BYTES = 1 << 20 };

static int count_free(MDB_txn *txn, size_t *pages) {
  MDB_cursor *c;
  MDB_val key, data;
  int rc = mdb_cursor_open(txn, 0, &c); /* table 0: lists of free pages, each with its length before it */
  if (rc) return rc;
  *pages = 0;
  while (!(rc = mdb_cursor_get(c, &key, &data, MDB_NEXT))) {
    size_t n = 0;
    memcpy(&n, data.mv_data, data.mv_size < sizeof n ? data.mv_size : sizeof n);
    *pages += n;
  }
  mdb_cursor_close(c);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* More than half of a file that is large enough to care for. */
static bool is_worth_it(lmdb_store_t *s) {
  MDB_txn *txn;
  MDB_envinfo info;
  MDB_stat st;
  size_t nfree = 0;
  if (!s->shrink_bytes || mdb_env_info(s->db.env, &info) || mdb_env_stat(s->db.env, &st)) return false;
  if ((info.me_last_pgno + 1) * st.ms_psize < s->shrink_bytes) return false;
  if (mdb_txn_begin(s->db.env, NULL, MDB_RDONLY, &txn)) return false;
  int rc = count_free(txn, &nfree);
  mdb_txn_abort(txn);
  return !rc && nfree > (info.me_last_pgno + 1) / 2;
}

static void copy_path(const lmdb_store_t *s, char path[4096], const char *file) {
  snprintf(path, 4096, "%s/new%s%s", s->dir, *file ? "/" : "", file);
}

void shrink_clean(const lmdb_store_t *s) {
  static const char *const files[] = {"data.mdb", "lock.mdb"};
  char path[4096];
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    copy_path(s, path, files[i]);
    unlink(path);
  }
  copy_path(s, path, "");
  rmdir(path);
}

void shrink_stop(lmdb_store_t *s) {
  if (!s->copy.env) return;
  mdb_env_close(s->copy.env);
  s->copy = (env_t){0};
  shrink_clean(s);
}

static int begin(lmdb_store_t *s) {
  char path[4096];
  kg_error_t err = {0};
  copy_path(s, path, "");
  shrink_clean(s);
  s->copied = 0;
  return env_make(&s->copy, path, s->map_size, true, &err);
}

/* --- pieces ----------------------------------------------------------------------------------------------------------
 */

/* A record as it is; the newest of its key is what the key's entry shows. */
static int copy_record(env_t *to, MDB_txn *txn, MDB_val rev, MDB_val data) {
  record_head_t head;
  kg_str_t k, value;
  int rc = record_parse(data, &head, &k, &value);
  if (!rc) rc = mdb_put(txn, to->revs, &rev, &data, MDB_APPEND);
  if (rc) return rc;
  MDB_val key = {k.n, (void *)k.p};
  if (head.deleted) {
    rc = mdb_del(txn, to->keys, &key, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
  }
  key_entry_t entry = {rev_of(rev), head.create, head.version};
  MDB_val put = {sizeof entry, &entry};
  return mdb_put(txn, to->keys, &key, &put, 0);
}

static int copy_meta(lmdb_store_t *s, MDB_txn *from, MDB_txn *to) {
  MDB_cursor *c;
  MDB_val key, data;
  int rc = mdb_cursor_open(from, s->db.meta, &c);
  if (rc) return rc;
  while (!(rc = mdb_cursor_get(c, &key, &data, MDB_NEXT)))
    if ((rc = mdb_put(to, s->copy.meta, &key, &data, 0))) break;
  mdb_cursor_close(c);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Copies what was committed after s->copied; *end: that was all of it. */
static int copy_records(lmdb_store_t *s, MDB_txn *from, MDB_txn *to, bool *end) {
  MDB_cursor *c;
  size_t first = (size_t)s->copied + 1, n = 0, bytes = 0;
  MDB_val key = {sizeof first, &first}, data;
  int rc = mdb_cursor_open(from, s->db.revs, &c);
  if (rc) return rc;
  for (rc = mdb_cursor_get(c, &key, &data, MDB_SET_RANGE); !rc && n < PIECE_RECORDS && bytes < PIECE_BYTES;
       rc = mdb_cursor_get(c, &key, &data, MDB_NEXT)) {
    int64_t rev = rev_of(key);
    if ((rc = copy_record(&s->copy, to, key, data))) break;
    s->copied = rev;
    n++;
    bytes += data.mv_size;
  }
  mdb_cursor_close(c);
  *end = rc == MDB_NOTFOUND;
  return *end ? 0 : rc;
}

static int copy_piece(lmdb_store_t *s, bool *end) {
  MDB_txn *from = NULL, *to = NULL;
  int64_t before = s->copied;
  int rc = mdb_txn_begin(s->db.env, NULL, MDB_RDONLY, &from);
  if (!rc) rc = mdb_txn_begin(s->copy.env, NULL, 0, &to);
  if (!rc) rc = copy_records(s, from, to, end);
  if (!rc && *end) rc = copy_meta(s, from, to);
  if (from) mdb_txn_abort(from);
  if (to && rc) mdb_txn_abort(to);
  if (to && !rc) rc = mdb_txn_commit(to);
  if (rc) s->copied = before;
  if (rc != MDB_MAP_FULL) return rc;
  *end = false; /* the old one was enlarged meanwhile */
  return mdb_env_set_mapsize(s->copy.env, s->map_size * 2);
}

/* --- the exchange
 * ------------------------------------------------------------------------------------------------------ */

static void sync_dir(const char *dir) {
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

static int move_in(const lmdb_store_t *s, const char *file) {
  char from[4096], to[4096];
  copy_path(s, from, file);
  snprintf(to, sizeof to, "%s/%s", s->dir, file);
  return rename(from, to) ? errno : 0;
}

/* The copy is whole. Nothing is open in the old file: no transaction of the writer, and no reader has one while the
 * lock is held. The copy's file stays open under its new name, so nothing can fail half way. */
static int exchange(lmdb_store_t *s) {
  MDB_envinfo info;
  int rc = mdb_env_sync(s->copy.env, 1);
  if (!rc && s->sync) rc = mdb_env_set_flags(s->copy.env, MDB_NOSYNC, 0);
  if (!rc) rc = mdb_env_info(s->copy.env, &info);
  if (!rc) rc = move_in(s, "data.mdb");
  if (rc) return rc;
  sync_dir(s->dir);
  pthread_rwlock_wrlock(&s->grow);
  mdb_env_close(s->db.env);
  s->db = s->copy;
  s->map_size = info.me_mapsize;
  pthread_rwlock_unlock(&s->grow);
  s->copy = (env_t){0};
  move_in(s, "lock.mdb");
  shrink_clean(s);
  return 0;
}

void shrink_consider(lmdb_store_t *s) {
  if (!s->copy.env && is_worth_it(s) && begin(s) != 0) shrink_stop(s);
}

bool shrink_running(const lmdb_store_t *s) {
  return s->copy.env;
}

bool shrink_step(lmdb_store_t *s) {
  bool end = false;
  int rc = copy_piece(s, &end);
  if (!rc && end && s->txn) return true;
  if (!rc && end) rc = exchange(s);
  if (!rc && end) atomic_fetch_add(&s->shrinks, 1);
  if (rc) shrink_stop(s);
  return false;
}
