#ifndef JOB_H
#define JOB_H
/*
 * Runs pods to their end. Each pod carries a finalizer until it was counted: first its uid goes into
 * status.uncountedTerminatedPods, then the finalizer goes, then the uid becomes part of the counts. So a pod is counted
 * once whatever happens in between.
 */
#include "control.h"

#define FINALIZER "batch.kubernetes.io/job-tracking"
#define INDEX_NOTE "batch.kubernetes.io/job-completion-index"
#define FAILURES_NOTE "batch.kubernetes.io/job-index-failure-count"
#define IGNORED_NOTE "batch.kubernetes.io/job-index-ignored-failure-count"
#define CONTROLLER "kubernetes.io/job-controller"

enum { BURST = 500 };
enum { JOBS, PODS };

typedef struct jobc {
  ctl_base_t base;
  ctl_ahead_t ahead;
} jobc_t;

extern const kube_gvr_t GVR_JOBS, GVR_PODS;

typedef enum { POLICY_COUNT, POLICY_IGNORE, POLICY_FAIL_INDEX, POLICY_FAIL_JOB } action_t;

typedef struct jobpod {
  kg_view_t object;
  kg_str_t uid;
  bool active, ready, terminating, succeeded, failed; /* terminating: on its way out, not yet ended */
  bool tracked;                                       /* has our finalizer */
  bool uncounted;                                     /* its uid is in uncountedTerminatedPods */
  bool delayed;                                       /* its failure counts when the next pod of its index is there */
  int64_t index;                                      /* -1: none */
  int64_t ended_us;
  action_t action; /* of a failed pod, by podFailurePolicy */
} jobpod_t;

typedef struct pass {
  kg_ctx_t *ctx;
  jobc_t *c;
  ctl_sync_t *sync;
  kube_arena_t *arena;
  kg_doc_t *doc;
  kg_view_t object, spec;
  kube_node_t *status, *conditions; /* to be */
  jobpod_t *pods;
  size_t n;
  bool indexed, suspended, only_failed; /* only_failed: a pod is replaced when it has failed, not while it goes */
  bool per_index;                       /* has backoffLimitPerIndex */
  int64_t parallelism, completions;     /* completions -1: none */
  int64_t active, ready, terminating;
  int64_t succeeded, failed; /* including uncounted ones */
  size_t uncounted;
  uint8_t *done, *lost;                   /* indexed: by index */
  int64_t ndone, nlost, max_failures;     /* max_failures: backoffLimitPerIndex */
  int64_t *fresh;                         /* indexes to be made in this pass; NULL: not indexed */
  bool refused;                           /* a pod could not be made */
  const char *fail_reason, *fail_message; /* the job is to fail */
} pass_t;

/* pass.c: the work function */
void job_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg);
kg_str_t condition_is(const pass_t *p, const char *type); /* its status; empty if absent */
void set_condition(pass_t *p, const char *type, const char *status, const char *reason, const char *message);

/* pods.c */
void pods_read(pass_t *p);
bool has_finalizer(kg_view_t pod);
void remove_finalizer(kg_ctx_t *ctx, ctl_sync_t *s, kg_view_t pod, ctl_answer_fn fn, void *arg); /* fn may be NULL */
int64_t note_int(kg_view_t pod, const char *key, int64_t fallback);

/* index.c: "1,3-5" and flags by index */
void index_parse(kg_str_t text, uint8_t *flags, int64_t n);
kube_node_t *index_text(kube_arena_t *a, const uint8_t *flags, int64_t n); /* NULL if none is set */
int64_t index_count(const uint8_t *flags, int64_t n);

/* policy.c */
void failure_policy(pass_t *p);        /* sets `action` of each failed pod that is tracked, and the job's failure */
const char *success_policy(pass_t *p); /* the message if some rule holds, else NULL */

/* verdict.c */
bool is_ending(const pass_t *p); /* how it ends is decided */
void verdict(pass_t *p);         /* conditions that say how it ends */

/* manage.c */
void manage(pass_t *p);

/* track.c */
void track_read(pass_t *p);                                             /* counts so far, and what has ended since */
void track_write(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *pass); /* a step: status, then finalizers */

#endif
