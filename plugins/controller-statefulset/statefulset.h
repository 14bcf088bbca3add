#ifndef STATEFULSET_H
#define STATEFULSET_H
/* Pods with names and claims of their own, made, updated and taken away in order. */
#include "control.h"

#define REVISION_LABEL "controller-revision-hash"
#define NAME_LABEL "statefulset.kubernetes.io/pod-name"
#define INDEX_LABEL "apps.kubernetes.io/pod-index"

enum { SETS, PODS, REVISIONS, CLAIMS };

typedef struct ssc {
  ctl_base_t base;
} ssc_t;

extern const kube_gvr_t GVR_SETS, GVR_PODS, GVR_CLAIMS;

typedef struct member {
  kg_view_t object; /* absent: it is to be made */
  int64_t ordinal;
  bool created, pending, ready, available, deleting, ended; /* ready: running and ready */
  kg_str_t revision;
} member_t;

typedef struct pass {
  kg_ctx_t *ctx;
  ssc_t *c;
  ctl_sync_t *sync;
  kube_arena_t *arena;
  kg_doc_t *doc;
  kg_view_t object, spec;
  ctl_owner_t owner;
  ctl_history_t history;
  const ctl_revision_t *current, *update; /* templates of pods before and after */
  int64_t replicas, start, min_ready;
  bool monotonic;      /* one after the other */
  member_t *pods;      /* those of the range, by ordinal; absent ones have no object */
  member_t *condemned; /* those beyond, highest first */
  size_t ncondemned;
  int64_t wait_ms; /* until some pod becomes available */
} pass_t;

/* pass.c: the work function */
void statefulset_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg);

/* pods.c */
void pods_read(pass_t *p);
void pod_create(pass_t *p, const member_t *m);
void pod_delete(pass_t *p, const member_t *m);
int64_t ordinal_of(kg_view_t set, kg_str_t pod); /* -1: not a name of this set */

/* claims.c */
void claims_create(pass_t *p, const member_t *m);
void claims_mount(pass_t *p, kube_node_t *pod, int64_t ordinal);
void claims_retain(pass_t *p, const member_t *m, bool condemned); /* owner references by the retention policy */

/* roll.c: what is to be done now */
void roll(pass_t *p);

/* status.c */
void status_write(pass_t *p);

#endif
