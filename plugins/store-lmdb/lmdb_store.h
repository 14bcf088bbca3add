#ifndef KOGGE_LMDB_STORE_H
#define KOGGE_LMDB_STORE_H
/*
 * The store role on LMDB. Three tables: `rev` (revision -> record: what was written), `key` (key -> where its newest
 * record is) and `meta`. Values are written once, in order of revision, so pages fill from left to right.
 *
 * The lane's thread reads; one writer thread writes. They share the list of ops, the list of done ops and `grow`.
 */
#include <lmdb.h>
#include <pthread.h>
#include <string.h>

#include "store.h"

enum {
  LAZY_MAX = 1000,     /* lazy writes that may wait for a commit */
  LAZY_MS = 1000,      /* and for how long */
  REV_RESERVE = 10000, /* revisions promised never to be given twice, ahead of the last commit */
};

/* What stands before key and value in the `rev` table. */
typedef struct record_head {
  int64_t create, version, prev;
  uint32_t nkey;
  uint32_t deleted;
} record_head_t;

/* What the `key` table holds. */
typedef struct key_entry {
  int64_t mod, create, version;
} key_entry_t;

typedef struct env {
  MDB_env *env;
  MDB_dbi revs, keys, meta;
} env_t;

typedef struct lmdb_store {
  char *dir;
  bool sync;
  size_t map_size;
  size_t shrink_bytes; /* a file of at least this size, half of it free, is made anew; 0: never */
  int lock_fd, event_fd;
  env_t db;
  pthread_t thread;
  bool thread_runs;
  /* Readers hold it for the length of a transaction; the writer takes it to enlarge the map or to exchange the file,
   * which no transaction may see. */
  pthread_rwlock_t grow;

  pthread_mutex_t mutex; /* guards the following */
  pthread_cond_t wake;
  store_op_t *todo, **todo_end;
  store_op_t *done, **done_end;
  bool quit;

  /* The writer's own. */
  MDB_txn *txn;
  int64_t rev, committed, limit, compacted; /* committed: last revision on disk */
  store_event_t *lazy[LAZY_MAX + 1];        /* applied in txn and answered, not committed */
  size_t nlazy;
  bool txn_dirty;
  bool failing;   /* the last commit failed: nothing lazy is taken until one succeeds */
  env_t copy;     /* while the file is made anew */
  int64_t copied; /* up to this revision */
  atomic_ulong commits, shrinks;
  atomic_size_t touched; /* bytes read and written since the mapped pages were let go */
} lmdb_store_t;

/* The revision in a key of the `rev` table; LMDB does not align it. */
static inline int64_t rev_of(MDB_val key) {
  size_t rev = 0;
  memcpy(&rev, key.mv_data, sizeof rev);
  return (int64_t)rev;
}

/* --- env.c: opening, closing, enlarging ------------------------------------------------------------------------- */
/* 0; 1 if another instance of this process holds the directory; -1 with a sentence. Fills s->rev, limit, compacted.
 * Lane. */
int env_open(lmdb_store_t *s, kg_error_t *err);
/* Opens or makes the tables in a directory that is made if it is missing. 0; -1 and a sentence, then nothing is open.
 */
int env_make(env_t *env, const char *dir, size_t map_size, bool no_sync, kg_error_t *err);
/* Notes that nothing is lost, closes, lets the directory go. Lane, after the writer has ended. */
void env_close(lmdb_store_t *s);
/* Doubles the map. No transaction of the writer may be open. Writer. */
int env_grow(lmdb_store_t *s);
/* Counts bytes read or written; every now and then lets go of the pages that this has mapped, which the kernel keeps as
 * its page cache as long as it likes: a store would else count as resident what was ever touched. Only within a
 * transaction: the map may not move. Lane and writer. */
void env_touched(lmdb_store_t *s, size_t bytes);
int meta_put(lmdb_store_t *s, MDB_txn *txn, const char *name, int64_t v); /* an LMDB code */
int64_t meta_get(lmdb_store_t *s, MDB_txn *txn, const char *name, int64_t fallback);
/* Sets err for an LMDB code: 507 for a full disk, else 500. Returns -1. */
int lmdb_error(kg_error_t *err, int rc, const char *what);

/* --- writer.c ----------------------------------------------------------------------------------------------------- */
void *writer_main(void *store);

/* --- shrink.c: the writer's ----------------------------------------------------------------------------------------
 */
/* After a compaction: begins a copy if most of the file is free. No compaction may run until it has ended. */
void shrink_consider(lmdb_store_t *s);
bool shrink_running(const lmdb_store_t *s);
/* One piece. true: it has caught up with what is committed and waits for the open transaction. */
bool shrink_step(lmdb_store_t *s);
void shrink_stop(lmdb_store_t *s);
void shrink_clean(const lmdb_store_t *s); /* removes what a crash may have left */

/* --- read.c: the lane's side -------------------------------------------------------------------------------------- */
int read_range(store_front_t *f, const store_query_t *q, store_row_fn fn, void *arg, kg_error_t *err);
int read_history(store_front_t *f, int64_t after, store_event_fn fn, void *arg, kg_error_t *err);
kg_doc_t *read_value(store_front_t *f, int64_t rev);
void read_stats(store_front_t *f, kg_pack_t *p);
int64_t read_recent(store_front_t *f, int64_t n);
/* Any thread with a transaction. 0 or an LMDB code; *head is a copy, key and value are borrowed from the map. */
int record_get(lmdb_store_t *s, MDB_txn *txn, int64_t rev, record_head_t *head, kg_str_t *key, kg_str_t *value);
int record_parse(MDB_val v, record_head_t *head, kg_str_t *key, kg_str_t *value);

#endif
