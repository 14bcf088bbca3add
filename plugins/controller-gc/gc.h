#ifndef GC_H
#define GC_H
/*
 * Deletes what has lost its owners, and deletes or orphans dependents before their owner goes. It watches every kind
 * that can be listed; the documents are those of the api role, by reference. Of each ownerReference it remembers one
 * edge; existence of an owner is looked up in the caches by its kind and name.
 */
#include "control.h"

typedef struct gc_kind {
  ctl_kind_t kind;
  kube_informer_t *informer; /* NULL: the kind is no longer served */
  unsigned number;
  bool seen; /* while kinds are read anew */
} gc_kind_t;

/* "This object names that owner." The dependent is known by kind and the names in its document. */
typedef struct edge {
  struct edge *next; /* in the bucket of the owner's uid */
  uint64_t owner;    /* hash of its uid */
  kg_doc_t *doc;     /* the dependent, own reference: it is replaced with each change of the object */
  unsigned kind;
} edge_t;

typedef struct gcc {
  ctl_base_t base;
  gc_kind_t **kinds; /* by number; never shrinks */
  unsigned nkinds, unsynced;
  edge_t **buckets; /* a power of two */
  size_t nbuckets, nedges;
  kube_informer_t *definitions; /* CustomResourceDefinitions: kinds come and go with them */
  uint64_t timer;
  unsigned asking; /* answers of discovery that are still to come */
  bool failed, ready;
  uint64_t deleted;
} gcc_t;

/* kinds.c */
void kinds_discover(kg_ctx_t *ctx, gcc_t *c);                              /* reads the kinds and watches them */
gc_kind_t *kind_find(const gcc_t *c, kg_str_t api_version, kg_str_t kind); /* NULL: not known */
void kinds_free(kg_ctx_t *ctx, gcc_t *c);

/* graph.c */
uint64_t uid_hash(kg_str_t uid);
void graph_add(gcc_t *c, const gc_kind_t *k, kg_doc_t *doc);    /* its ownerReferences */
void graph_remove(gcc_t *c, const gc_kind_t *k, kg_view_t old); /* those of its last state */
void graph_free(gcc_t *c);
/* Dependents of the owner one after the other: at = NULL first, then the last edge. NULL: no more. */
edge_t *graph_next(const gcc_t *c, kg_str_t uid, edge_t *at);
kg_view_t ref_to(kg_view_t object, kg_str_t uid); /* its ownerReference to that uid; absent */

/* plugin.c */
void gc_enqueue(kg_ctx_t *ctx, gcc_t *c, const gc_kind_t *k, kg_view_t object);
void gc_changed(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg);
void gc_consider_all(kg_ctx_t *ctx, gcc_t *c); /* every object with owners */
bool has_finalizer(kg_view_t object, const char *name);
bool in_foreground(kg_view_t object); /* it is being deleted and waits for its dependents */

/* pass.c: the work function */
typedef struct pass {
  kg_ctx_t *ctx;
  gcc_t *c;
  ctl_sync_t *sync;
  kube_arena_t *arena;
  const gc_kind_t *kind;
  kg_doc_t *doc;
  kg_view_t object;
  size_t solid, dangling, waiting;
  struct owner {
    kg_view_t ref;
    enum { OWNER_SOLID, OWNER_DANGLING, OWNER_WAITING, OWNER_UNKNOWN } state;
  } * owners;
  size_t n;
} pass_t;
void gc_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg);
void gc_patch(pass_t *p, const gc_kind_t *k, kg_view_t object, const char *key, kube_node_t *value);

/* deps.c: an owner that is being deleted */
void orphan_dependents(pass_t *p);
void wait_for_dependents(pass_t *p);
/* Some dependent is itself waiting for its dependents: a circle. */
bool dependents_wait(const gcc_t *c, kg_view_t object);

#endif
