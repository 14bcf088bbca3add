#ifndef LIFECYCLE_H
#define LIFECYCLE_H
/*
 * Watches over nodes: one that is silent for too long becomes Unknown; conditions become taints; NoExecute taints evict
 * pods. Keys are "/node" and "namespace/pod". A healthy node costs one timer per grace period.
 */
#include "control.h"

#define TAINT(name) "node.kubernetes.io/" name

typedef struct watched { /* a node */
  struct watched *next;
  char *name;
  int64_t seen_ms; /* its last sign of life, by our clock */
  uint64_t timer;
  bool overdue, ready;
} watched_t;

typedef struct due { /* a pod that goes unless its node recovers */
  struct due *next;
  char *key;
  int64_t since_us;
} due_t;

typedef struct nlc {
  ctl_base_t base;
  kube_recorder_t *evictor; /* events of the evictions */
  watched_t *nodes;
  size_t nnodes, nready;
  due_t *due;
  int64_t grace_ms;
  uint64_t evicted;
} nlc_t;

enum { NODES, LEASES, PODS };
extern const kube_gvr_t GVR_NODES, GVR_PODS;

typedef struct pass {
  kg_ctx_t *ctx;
  nlc_t *c;
  ctl_sync_t *sync;
  kube_arena_t *arena;
  kg_doc_t *doc;
  kg_view_t object;
} pass_t;

/* nodes.c */
void on_node(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg);
void on_lease(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg);
watched_t *watched_find(const nlc_t *c, kg_str_t name); /* NULL: none */
void watched_free(nlc_t *c);
/* No node is ready: then the fault is more likely ours than theirs, and nothing is evicted. */
bool all_disrupted(const nlc_t *c);
kg_str_t condition_status(kg_view_t object, const char *type);

/* health.c */
void node_pass(pass_t *p);

/* evict.c */
void pod_pass(pass_t *p);
void on_pod(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg);
void add_pods_of(kg_ctx_t *ctx, nlc_t *c, kg_str_t node);
bool has_no_execute(kg_view_t node);
void due_forget(nlc_t *c, const char *key);
void due_free(nlc_t *c);

#endif
