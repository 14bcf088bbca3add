#ifndef KOGGE_STORE_H
#define KOGGE_STORE_H
/*
 * The front of a store plugin: it reads requests, keeps watchers and answers; a backend keeps entries and history.
 * plugins/contracts/store.md is the contract. Everything runs in the lane's thread unless a comment says otherwise.
 */
#include <stdatomic.h>

#include "kogge/plugin.h"

/* One change. Immutable once made, counted atomically: the writer thread, the ring and watchers share it. */
typedef struct store_event {
  atomic_uint refs;
  bool deleted;
  bool more;    /* another change of the same revision follows: etcd's transactions may change several keys */
  unsigned sub; /* how many of the same revision came before */
  int64_t rev, create, version;
  int64_t prev;     /* revision of the value before, 0: there was none */
  kg_doc_t *value;  /* for a deletion the value before; owned */
  kg_doc_t *before; /* put: the value before, if the backend has it at hand anyway; owned */
  size_t nkey;
  char key[];
} store_event_t;

/* Caller owns one reference; takes its own reference of `value`. NULL when out of memory. Any thread. */
store_event_t *store_event_new(kg_str_t key, kg_doc_t *value);
store_event_t *store_event_ref(store_event_t *e);
void store_event_unref(store_event_t *e); /* NULL is allowed */
static inline kg_str_t store_event_key(const store_event_t *e) {
  return (kg_str_t){e->key, e->nkey};
}

typedef enum { STORE_PUT, STORE_DELETE, STORE_BARRIER, STORE_COMPACT } store_kind_t;

/* One request on its way through the backend. Made and freed by the front; between submit and done it is the backend's.
 */
typedef struct store_op {
  struct store_op *next; /* for the backend's lists */
  store_kind_t kind;
  bool lazy, guarded;
  int64_t expect;          /* if guarded: required mod revision, 0: must be absent */
  int64_t rev;             /* compact: up to here */
  int64_t ttl_ms;          /* put: the key is deleted after this time; 0: never */
  kg_str_t key;            /* borrowed from the request */
  kg_doc_t *value;         /* borrowed from the request */
  const kg_msg_t *request; /* the front's reference */
  kg_handler_fn then;      /* barrier: the read that waited for it */
  /* results */
  kg_error_t error;
  store_event_t *event; /* a write that was done; the op owns the reference */
  bool settled;         /* a read sees this and everything before it */
} store_op_t;

typedef struct store_row {
  kg_str_t key; /* borrowed for the call */
  int64_t create, mod, version;
  kg_doc_t *value; /* the callee owns the reference; NULL if only keys were wanted */
} store_row_t;

typedef struct store_query {
  kg_str_t from, to; /* to absent: the prefix `from` */
  int64_t rev;       /* 0: now */
  int64_t limit;     /* 0: all */
  bool count_only, keys_only;
} store_query_t;

/* false: stop. */
typedef bool (*store_row_fn)(void *arg, const store_row_t *row);
typedef bool (*store_event_fn)(void *arg, store_event_t *e);

typedef struct store_front store_front_t;
typedef struct store_watcher store_watcher_t;

/* One read and the rows that came for it. Made by the front, freed by store_read_done(). */
typedef struct store_read {
  enum { STORE_RANGE, STORE_GET, STORE_STATUS } kind;
  const kg_msg_t *request; /* owned reference; NULL once it was answered by the backend */
  store_query_t q;         /* strings borrowed from the request */
  kg_pack_t pack;          /* the answer's arguments, open */
  kg_doc_t **docs;
  size_t ndocs, room;
  int64_t count;
  int64_t recent; /* status: for how many changes `recent` is asked; 0: not */
  bool found, more, failed;
} store_read_t;

typedef struct store_backend {
  const char *name;
  bool ttl; /* `ttl_ms` is understood */
  int (*start)(store_front_t *f,
               kg_error_t *err);  /* opens; fills f->rev, f->compacted. 1: later, the other instance owns the data */
  void (*stop)(store_front_t *f); /* everything submitted is done and durable when it returns */
  void (*submit)(store_front_t *f, store_op_t *op); /* ends in store_done(), in the order of submission */
  /* Calls fn for every entry in the range in order of keys; stops when fn says so. 0, or -1 with KG_EGONE if rev is
   * compacted. */
  int (*range)(store_front_t *f, const store_query_t *q, store_row_fn fn, void *arg, kg_error_t *err);
  /* Calls fn for the settled changes with revision > after, in order. 0, or -1 with KG_EGONE if they are compacted. */
  int (*history)(store_front_t *f, int64_t after, store_event_fn fn, void *arg, kg_error_t *err);
  /* The value written at a revision, caller owns the reference; NULL if there is none any more. May be absent. */
  kg_doc_t *(*value)(store_front_t *f, int64_t rev);
  /*
   * A backend that must wait for its data has these instead of `range` and `history`. read: begins r, which ends in
   * store_read_done(). follow: begins to hand the watcher the changes above `after` (store_follow_event), until it has
   * caught up with the ring (store_follow_batch), fails (store_follow_failed) or is not wanted any more (unfollow);
   * NULL: out of memory. follow_on: the watcher has credit again.
   */
  void (*read)(store_front_t *f, store_read_t *r);
  void *(*follow)(store_front_t *f, store_watcher_t *w, int64_t after);
  void (*follow_on)(store_front_t *f, void *source);
  void (*unfollow)(store_front_t *f, void *source);
  void (*stats)(store_front_t *f, kg_pack_t *p); /* adds keys, bytes to an open map */
  /* A revision after which there are about n changes, all of them known. */
  int64_t (*recent)(store_front_t *f, int64_t n);
  void (*destroy)(store_front_t *f);
} store_backend_t;

struct store_front {
  kg_ctx_t *ctx;
  const store_backend_t *ops;
  void *backend;
  bool open;         /* the backend was started */
  int64_t rev;       /* last revision that was answered or sent to watchers */
  int64_t compacted; /* changes up to here are gone */
  uint64_t inflight; /* ops submitted and not done */
  bool dirty;        /* the last op done cannot be read from the backend yet */
  store_watcher_t *watchers;
  /* The last changes, by reference: what a watcher that fell behind needs first. All with rev > ring_after are in it.
   */
  store_event_t **ring;
  size_t ring_first, ring_count, ring_room, ring_bytes;
  int64_t ring_after;
  uint64_t puts, deletes, ranges, conflicts, items, watcher_count;
  /* automatic compaction */
  int64_t keep_ms, keep_revs, compact_to;
  uint64_t compact_timer;
};

/* The pieces of a kg_plugin_t; `self` of every store plugin is its store_front_t. */
extern const kg_handler_t store_handlers[];
store_front_t *store_front_new(kg_ctx_t *ctx, const store_backend_t *ops, void *backend); /* NULL: out of memory */
int store_front_start(kg_ctx_t *ctx, void *self, kg_error_t *err);
void store_front_activate(kg_ctx_t *ctx, void *self);
void store_front_drain(kg_ctx_t *ctx, void *self);
void store_front_resume(kg_ctx_t *ctx, void *self);
int store_front_accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err);
void store_front_stats(kg_ctx_t *ctx, void *self, kg_pack_t *p);
void store_front_destroy(kg_ctx_t *ctx, void *self);

/* The backend is through with an op, in the order of submission: watchers hear of it, then it is answered and freed. An
 * event that was shown before by store_seen() is not shown again. */
void store_done(store_front_t *f, store_op_t *op);
/* A change that was not made by an op of this front, or is known before the op is done. In order of revisions. */
void store_seen(store_front_t *f, store_event_t *e);
/* The data is open at f->rev; for backends that open later than start(). */
void store_opened(store_front_t *f);

/* --- read.c ---------------------------------------------------------------------------------------------------- */
void store_on_range(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void store_on_get(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void store_on_status(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
/* A store_row_fn for `range`, with the store_read_t as its arg: takes the row's value. */
bool store_read_row(void *read, const store_row_t *row);
/* Answers and frees; err: NULL or what went wrong; rev: the revision that was read. */
void store_read_done(store_front_t *f, store_read_t *r, int64_t rev, const kg_error_t *err);
/* True if the data is not open; then `m` was refused. */
bool store_closed(store_front_t *f, const kg_msg_t *m);
/* An op for `m`; NULL when out of memory, then `m` was refused. */
store_op_t *store_op_new(store_front_t *f, const kg_msg_t *m, store_kind_t kind);
void store_submit(store_front_t *f, store_op_t *op);

/* --- watch.c --------------------------------------------------------------------------------------------------- */
void store_on_watch(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void store_publish(store_front_t *f, store_event_t *e); /* remembers a change and sends it to those who watch */
void store_watch_free(store_front_t *f);                /* without answers: the kernel has ended the streams */
/* The changes up to f->rev cannot be told any more: every watcher ends with 410. */
void store_watch_gap(store_front_t *f, const char *text);
/* For `follow`. false: the watcher has no credit, the same change must be offered again after follow_on(). */
bool store_follow_event(store_front_t *f, store_watcher_t *w, store_event_t *e);
/* Everything that came was offered. true: the watcher goes on without the source, which ends itself. */
bool store_follow_batch(store_front_t *f, store_watcher_t *w);
void store_follow_failed(store_front_t *f, store_watcher_t *w, const kg_error_t *err); /* the source ends itself */
int64_t store_follow_after(const store_watcher_t *w); /* everything up to this revision was sent */
/* True if key lies in [from, to), or begins with `from` when `to` is absent. */
bool store_in_range(kg_str_t key, kg_str_t from, kg_str_t to);

#endif
