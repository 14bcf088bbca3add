/* Opening, closing and enlarging the LMDB environment. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lmdb_store.h"

enum { MAPPED_MAX = 2 << 20 }; /* bytes touched until the mapping is let go: its pages stay in the page cache */

int lmdb_error(kg_error_t *err, int rc, const char *what) {
  int code = rc == ENOSPC || rc == EDQUOT || rc == MDB_MAP_FULL ? KG_EFULL : KG_EINTERNAL;
  return kg_error_set(err, code, "store-lmdb: %s: %s", what, mdb_strerror(rc));
}

int meta_put(lmdb_store_t *s, MDB_txn *txn, const char *name, int64_t v) {
  MDB_val key = {strlen(name), (void *)name}, data = {sizeof v, &v};
  return mdb_put(txn, s->db.meta, &key, &data, 0);
}

int64_t meta_get(lmdb_store_t *s, MDB_txn *txn, const char *name, int64_t fallback) {
  MDB_val key = {strlen(name), (void *)name}, data;
  int64_t v;
  if (mdb_get(txn, s->db.meta, &key, &data) != 0 || data.mv_size != sizeof v) return fallback;
  memcpy(&v, data.mv_data, sizeof v);
  return v;
}

/* Locks belong to the open file: a second instance in this very process is kept out too. The holder's process id is in
 * it. */
static int take_lock(lmdb_store_t *s, kg_error_t *err) {
  char path[4096], text[32] = "";
  snprintf(path, sizeof path, "%s/lock", s->dir);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return kg_error_set(err, KG_EINTERNAL, "store-lmdb: cannot open %s: %s", path, strerror(errno));
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
    int n = snprintf(text, sizeof text, "%-15ld\n", (long)getpid()); /* always as long: no new block on a full disk */
    if (pwrite(fd, text, (size_t)n, 0) != n) {
      close(fd);
      return kg_error_set(err, KG_EFULL, "store-lmdb: cannot write %s: %s", path, strerror(errno));
    }
    s->lock_fd = fd;
    return 0;
  }
  ssize_t n = pread(fd, text, sizeof text - 1, 0);
  close(fd);
  long holder = n > 0 ? atol(text) : 0;
  if (holder == (long)getpid()) return 1;
  return kg_error_set(err, KG_EUNAVAILABLE, "store-lmdb: %s is in use by process %ld", s->dir, holder);
}

static int make_dirs(const char *path, kg_error_t *err) {
  char part[4096];
  snprintf(part, sizeof part, "%s", path);
  for (char *at = part + 1;; at++) {
    if (*at && *at != '/') continue;
    char kept = *at;
    *at = '\0';
    if (mkdir(part, 0700) != 0 && errno != EEXIST)
      return kg_error_set(err, KG_EINTERNAL, "store-lmdb: cannot make %s: %s", part, strerror(errno));
    if (!kept) return 0;
    *at = kept;
  }
}

/* The last revision given away: known exactly after an orderly end; after a crash lazy writes may have used revisions
 * that left no trace, so counting goes on behind the promised limit. */
static int read_state(lmdb_store_t *s, MDB_txn *txn) {
  MDB_cursor *c;
  int rc = mdb_cursor_open(txn, s->db.revs, &c);
  if (rc) return rc;
  MDB_val key, data;
  s->compacted = meta_get(s, txn, "compacted", 0);
  s->rev = s->compacted;
  if (mdb_cursor_get(c, &key, &data, MDB_LAST) == 0 && rev_of(key) > s->rev) s->rev = rev_of(key);
  mdb_cursor_close(c);
  int64_t clean = meta_get(s, txn, "clean", -1);
  int64_t limit = meta_get(s, txn, "limit", 0);
  if (clean >= s->rev)
    s->rev = clean;
  else if (limit > s->rev)
    s->rev = limit;
  s->committed = s->limit =
      s->rev; /* the first commit promises more; until then nothing is written, the disk may be full */
  return 0;
}

static int open_tables(env_t *env) {
  MDB_txn *txn = NULL;
  int rc = mdb_txn_begin(env->env, NULL, 0, &txn);
  if (rc) return rc;
  rc = mdb_dbi_open(txn, "rev", MDB_CREATE | MDB_INTEGERKEY, &env->revs);
  if (!rc) rc = mdb_dbi_open(txn, "key", MDB_CREATE, &env->keys);
  if (!rc) rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &env->meta);
  if (!rc) return mdb_txn_commit(txn);
  mdb_txn_abort(txn);
  return rc;
}

/* LMDB's own open of the data lacks it: every program started would have the database. */
static void close_on_exec(MDB_env *env) {
  int fd;
  if (mdb_env_get_fd(env, &fd) == 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

int env_make(env_t *env, const char *dir, size_t map_size, bool no_sync, kg_error_t *err) {
  if (make_dirs(dir, err) < 0) return -1;
  int rc = mdb_env_create(&env->env);
  if (rc) env->env = NULL;
  if (!rc) rc = mdb_env_set_maxdbs(env->env, 4);
  if (!rc) rc = mdb_env_set_mapsize(env->env, map_size);
  if (!rc) rc = mdb_env_open(env->env, dir, MDB_NOTLS | MDB_NORDAHEAD | (no_sync ? MDB_NOSYNC : 0), 0600);
  if (!rc) close_on_exec(env->env);
  if (!rc) rc = open_tables(env);
  if (!rc) return 0;
  if (env->env) mdb_env_close(env->env);
  *env = (env_t){0};
  return lmdb_error(err, rc, dir);
}

static void release(lmdb_store_t *s) {
  if (s->db.env) mdb_env_close(s->db.env);
  s->db = (env_t){0};
  if (s->lock_fd >= 0) close(s->lock_fd);
  s->lock_fd = -1;
}

static int open_state(lmdb_store_t *s, kg_error_t *err) {
  MDB_txn *txn = NULL;
  int rc = mdb_txn_begin(s->db.env, NULL, MDB_RDONLY, &txn);
  if (!rc) rc = read_state(s, txn);
  if (txn) mdb_txn_abort(txn);
  return rc ? lmdb_error(err, rc, "cannot read the state") : 0;
}

int env_open(lmdb_store_t *s, kg_error_t *err) {
  if (make_dirs(s->dir, err) < 0) return -1;
  int rc = take_lock(s, err);
  if (rc != 0) return rc;
  shrink_clean(s);
  if (env_make(&s->db, s->dir, s->map_size, !s->sync, err) == 0 && open_state(s, err) == 0) return 0;
  release(s);
  return -1;
}

void env_close(lmdb_store_t *s) {
  MDB_txn *txn;
  if (mdb_txn_begin(s->db.env, NULL, 0, &txn) == 0) {
    if (meta_put(s, txn, "clean", s->rev) == 0)
      mdb_txn_commit(txn);
    else
      mdb_txn_abort(txn);
  }
  release(s);
}

/* LMDB does not tell where its map is: the kernel knows by the file. False: it is not known. */
static bool find_map(MDB_env *env, void **at, size_t *size) {
  int fd = -1;
  struct stat st;
  char line[4400];
  if (mdb_env_get_fd(env, &fd) != 0 || fstat(fd, &st) != 0) return false;
  FILE *maps = fopen("/proc/self/maps", "re");
  bool found = false;
  while (maps && !found && fgets(line, sizeof line, maps)) {
    uintptr_t from, to;
    unsigned major, minor;
    unsigned long inode;
    if (sscanf(line, "%lx-%lx %*s %*x %x:%x %lu", &from, &to, &major, &minor, &inode) != 5) continue;
    found = inode == st.st_ino && makedev(major, minor) == st.st_dev;
    *at = (void *)from;
    *size = to - from;
  }
  if (maps) fclose(maps);
  return found;
}

void env_touched(lmdb_store_t *s, size_t bytes) {
  void *at;
  size_t size;
  if (atomic_fetch_add(&s->touched, bytes) + bytes < MAPPED_MAX) return;
  atomic_store(&s->touched, 0);
  if (find_map(s->db.env, &at, &size)) madvise(at, size, MADV_DONTNEED);
}

int env_grow(lmdb_store_t *s) {
  pthread_rwlock_wrlock(&s->grow);
  size_t more = s->map_size * 2;
  int rc = mdb_env_set_mapsize(s->db.env, more);
  if (!rc) s->map_size = more;
  pthread_rwlock_unlock(&s->grow);
  return rc;
}
