#ifndef DEPLOYMENT_H
#define DEPLOYMENT_H
/* Rolls ReplicaSets from one pod template to the next. The arithmetic is that of Kubernetes' deployment controller. */
#include "control.h"

#define NOTE_REVISION "deployment.kubernetes.io/revision"
#define NOTE_HISTORY "deployment.kubernetes.io/revision-history"
#define NOTE_DESIRED "deployment.kubernetes.io/desired-replicas"
#define NOTE_MAX "deployment.kubernetes.io/max-replicas"
#define HASH_LABEL "pod-template-hash"

extern const kube_gvr_t GVR_DEPLOYMENTS, GVR_SETS, GVR_PODS;

typedef struct dc {
  kube_informer_t *deployments, *sets, *pods;
  ctl_work_t work;
  kube_recorder_t *recorder;
  unsigned synced;
} dc_t;

/* One ReplicaSet of the deployment, in a pass. */
typedef struct set {
  kg_view_t object;
  int64_t created_us, revision;     /* revision 0: none */
  int64_t replicas;                 /* spec.replicas in the cache */
  int64_t want;                     /* what the pass makes of it */
  int64_t actual, ready, available; /* of its status */
  int64_t terminating;              /* the same, -1: it does not say */
  kube_node_t *notes;               /* annotations to be, NULL: unchanged */
  int64_t min_ready;                /* minReadySeconds to be, -1: unchanged */
  bool remove;
} set_t;

/* One pass over one deployment: decided on the cache, written at its end. */
typedef struct pass {
  kg_ctx_t *ctx;
  dc_t *c;
  ctl_sync_t *sync;
  kube_arena_t *arena;
  kg_doc_t *doc;
  kg_view_t object, spec, template;
  ctl_owner_t owner;
  int64_t replicas, surge, unavailable; /* the last two resolved */
  bool recreate, paused;
  set_t *sets; /* by age, oldest first */
  size_t n;
  set_t *newest;           /* of the present template; NULL: not there */
  kube_node_t *conditions; /* to be */
  int64_t collisions;
  int64_t revision_note; /* revision to be noted on the deployment; 0: unchanged */
} pass_t;

/* pass.c: the work function */
void deployment_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg);

/* sets.c */
void sets_read(pass_t *p);                                       /* claims, sorts, finds the newest */
int64_t sets_sum(const pass_t *p, size_t offset, bool old_only); /* of the int64_t field at offset */
#define SUM(p, field) sets_sum(p, offsetof(set_t, field), false)
#define SUM_OLD(p, field) sets_sum(p, offsetof(set_t, field), true)
void sets_write(pass_t *p); /* sends what the pass changed of them */
const char *set_name(const pass_t *p, const set_t *s);

/* revision.c: the ReplicaSet of the present template. */
/* Brings revision, annotations and minReadySeconds of the newest up to date; if there is none and `create`, makes one
 * and returns true. */
bool revision_sync(pass_t *p, bool create);
kube_node_t *set_notes(pass_t *p, set_t *s); /* its annotations, to be changed */
void set_note(pass_t *p, set_t *s, const char *key, int64_t value);

/* rolling.c */
int64_t new_set_size(const pass_t *p, int64_t present); /* how far the newest may grow now */
void roll(pass_t *p);
void recreate(pass_t *p);

/* scale.c */
bool scale_wanted(const pass_t *p); /* the deployment was scaled since its sets were written */
void scale_sets(pass_t *p);         /* proportionally */
void clean_history(pass_t *p);

/* status.c */
bool has_deadline(const pass_t *p);
void progress_set(pass_t *p, const char *status, const char *reason, const char *message);
bool deployment_complete(const pass_t *p, const kube_node_t *status);
kube_node_t *status_make(pass_t *p, bool rollout); /* rollout: progress conditions, too */
void status_write(pass_t *p, bool rollout);

#endif
