#ifndef REPLICASET_H
#define REPLICASET_H
/* Keeps as many pods as a ReplicaSet or ReplicationController asks for: two plugins of one code. */
#include "control.h"

enum { SETS, PODS };

/* What differs. */
typedef struct flavour {
  kube_gvr_t gvr;
  const char *api_version, *kind;
  bool tells_terminating; /* its status has the number of pods on their way out */
} flavour_t;

typedef struct rsc {
  ctl_base_t base;
  const flavour_t *flavour;
  ctl_ahead_t ahead;
} rsc_t;

extern const kube_gvr_t GVR_PODS;

/* manage.c: the work function */
void rs_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg);

/* rank.c: sorts pods so that those to be deleted first come first (ActivePodsWithRanks of Kubernetes). */
/* Of two alike the one goes first with more of `others` on its node. */
void rs_rank(kg_view_t *pods, size_t n, const kg_view_t *others, size_t nothers);

/* events.c */
void rs_on_pod(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg);
void rs_end(kg_ctx_t *ctx, void *self);

#endif
