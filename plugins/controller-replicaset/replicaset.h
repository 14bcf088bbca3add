#ifndef REPLICASET_H
#define REPLICASET_H
/* Keeps the number of pods each ReplicaSet asks for. */
#include "control.h"

/* Pods of one ReplicaSet that were made or deleted, and that the cache does not show so yet. Without them a pass over a
 * cache that is behind would make them again. */
typedef struct expected {
  struct expected *next;
  char *name; /* of the pod */
  bool deletion;
  int64_t until_ms; /* then it is not believed any more */
} expected_t;

typedef struct ahead { /* what is ahead of the cache, by ReplicaSet */
  struct ahead *next;
  char *key;
  expected_t *list;
} ahead_t;

enum { AHEAD_BUCKETS = 256 };
typedef struct rsc {
  kube_informer_t *sets, *pods;
  ctl_work_t work;
  kube_recorder_t *recorder;
  ahead_t *ahead[AHEAD_BUCKETS];
  unsigned synced;
  uint64_t created, deleted;
} rsc_t;

extern const kube_gvr_t GVR_SETS, GVR_PODS;

/* manage.c: the work function */
void rs_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg);

/* rank.c: sorts pods so that those to be deleted first come first (ActivePodsWithRanks of Kubernetes). */
void rs_rank(kg_view_t *pods, size_t n);

/* expect.c */
void expect(kg_ctx_t *ctx, rsc_t *c, const char *key, kg_str_t pod, bool deletion);
void expect_seen(rsc_t *c, const char *key, kg_str_t pod, bool deletion);
bool expects_creation(kg_ctx_t *ctx, rsc_t *c, const char *key); /* also drops what is too old */
bool expects_deletion_of(const rsc_t *c, const char *key, kg_str_t pod);
void expect_forget(rsc_t *c, const char *key);
void expect_free(rsc_t *c);

#endif
