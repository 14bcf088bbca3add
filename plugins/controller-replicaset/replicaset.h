#ifndef REPLICASET_H
#define REPLICASET_H
/* Keeps the number of pods each ReplicaSet asks for. */
#include "control.h"

typedef struct rsc {
  kube_informer_t *sets, *pods;
  ctl_work_t work;
  kube_recorder_t *recorder;
  ctl_ahead_t ahead;
  unsigned synced;
  uint64_t created, deleted;
} rsc_t;

extern const kube_gvr_t GVR_SETS, GVR_PODS;

/* manage.c: the work function */
void rs_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg);

/* rank.c: sorts pods so that those to be deleted first come first (ActivePodsWithRanks of Kubernetes). */
void rs_rank(kg_view_t *pods, size_t n);

#endif
