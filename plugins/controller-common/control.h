#ifndef CONTROL_H
#define CONTROL_H
/*
 * What workload controllers share. Everything runs in the plugin's lane. Nodes returned live as long as the arena they
 * were made in.
 */
#include "kube/client.h"
#include "kube/informer.h"
#include "kube/tree.h"
#include "kube/values.h"
#include "kube/workqueue.h"

/* --- sync.c: one pass over one key. The key is done when every write of the pass was answered
 * ------------------------- */

typedef struct ctl_sync ctl_sync_t;

/* The work of one controller: its queue, from activate() to drain(), and the passes under way. */
typedef struct ctl_work {
  kube_queue_t *queue; /* NULL: not active, nothing is to be added */
  ctl_sync_t *open;    /* passes under way */
  kube_work_fn fn;
  bool draining;
  uint64_t passes, failures;
} ctl_work_t;

void ctl_work_begin(kg_ctx_t *ctx, ctl_work_t *w, kube_work_fn fn, unsigned parallel); /* in activate() and resume() */
void ctl_work_drain(kg_ctx_t *ctx, ctl_work_t *w); /* says kg_drained() when the last pass has ended */
void ctl_work_free(kg_ctx_t *ctx, ctl_work_t *w);  /* in destroy(): passes under way are dropped */
void ctl_work_add(kg_ctx_t *ctx, ctl_work_t *w, const char *key);
void ctl_work_add_after(kg_ctx_t *ctx, ctl_work_t *w, const char *key, int64_t delay_ms);
void ctl_work_add_all(kg_ctx_t *ctx, ctl_work_t *w, const kube_informer_t *inf);
void ctl_work_stats(const ctl_work_t *w, kg_pack_t *p);

/* Sees the answer to one write, before the pass may end; may send more. */
typedef void (*ctl_answer_fn)(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg);

/* Begins a pass over `key`, which came from the queue of `w`. Freed by the pass's end. */
ctl_sync_t *ctl_sync_begin(ctl_work_t *w, const char *key);
/* The same over the object that `key` names; *doc: what the informer has of it, kept until the pass ends; NULL: it is
 * gone. */
ctl_sync_t *ctl_sync_object(ctl_work_t *w, const char *key, const kube_informer_t *inf, kg_doc_t **doc);
kube_arena_t *ctl_arena(ctl_sync_t *s); /* of the pass */
const char *ctl_sync_key(const ctl_sync_t *s);
kg_doc_t *ctl_keep(ctl_sync_t *s, kg_doc_t *doc);            /* takes a reference until the pass ends; returns doc */
void ctl_keep_msg(ctl_sync_t *s, const kg_msg_t *m);         /* the same for an answer */
void ctl_sync_failed(ctl_sync_t *s);                         /* the key comes back with backoff */
void ctl_sync_forgive(ctl_sync_t *s);                        /* in an answer function: this error is none */
void ctl_sync_end(kg_ctx_t *ctx, void *self, ctl_sync_t *s); /* the pass sends nothing more by itself */

typedef enum { CTL_CREATE, CTL_UPDATE, CTL_PATCH, CTL_DELETE, CTL_DELETE_ALL, CTL_GET, CTL_LIST } ctl_verb_t;
/* Sends one request of the pass. Errors make the pass fail but for "not found" of all but creations and updates; fn
 * (may be NULL) sees each answer. c->object is borrowed. */
void ctl_send(kg_ctx_t *ctx, ctl_sync_t *s, ctl_verb_t verb, const kube_call_t *c, ctl_answer_fn fn, void *arg);
/* The same for any request: r->fn and r->arg are the pass's own. */
void ctl_request(kg_ctx_t *ctx, ctl_sync_t *s, const kg_request_t *r, ctl_answer_fn fn, void *arg);
/* Runs when all requests of the pass were answered and none failed; it may send more and name a next step. */
typedef void (*ctl_step_fn)(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *arg);
void ctl_sync_then(ctl_sync_t *s, ctl_step_fn fn, void *arg);
/* Merge-patches `status` of the named object from its old to the new status (fields that went are set to null); sends
 * nothing and returns false if they are equal. */
bool ctl_send_status(kg_ctx_t *ctx, ctl_sync_t *s, kube_gvr_t gvr, kg_view_t object, kube_node_t *status);
/* The same, refused if the object has changed since: for counts that go on from what they were. */
bool ctl_send_status_guarded(kg_ctx_t *ctx, ctl_sync_t *s, kube_gvr_t gvr, kg_view_t object, kube_node_t *status);

/* --- discover.c: the kinds there are
 * ---------------------------------------------------------------------------------- */

typedef struct ctl_kind {
  char group[128], version[32], resource[128], kind[128];
  bool namespaced, list, watch, delete, delete_all;
} ctl_kind_t;
/* Called for each resource of each group, in the group's first version that has it. */
typedef void (*ctl_kind_fn)(const ctl_kind_t *k, void *arg);
/* Reads one answer of api.discovery ("aggregated-api", "aggregated-apis"). */
void ctl_kinds(kg_view_t discovery, ctl_kind_fn fn, void *arg);

/* --- objects.c
 * --------------------------------------------------------------------------------------------------------- */

/* "namespace/name" of an object, into buf; returns buf. */
enum { CTL_KEY_MAX = 320 };
char *ctl_key(kg_view_t object, char buf[CTL_KEY_MAX]);
char *ctl_join(char buf[CTL_KEY_MAX], kg_str_t ns, kg_str_t name); /* the same of its parts */
/* Splits a key; the parts point into it. */
void ctl_split(const char *key, kg_str_t *ns, kg_str_t *name);
char *ctl_text(kube_arena_t *a, kg_str_t s); /* NUL-terminated copy */
/* spec.selector of a workload: a LabelSelector, of a ReplicationController a plain map. Caller frees. */
kube_selector_t *ctl_selector_of(kg_view_t owner, kg_error_t *err);
bool ctl_owned_by(kg_view_t object, kg_view_t owner); /* its controller is that very owner (by uid) */
/* {apiVersion, kind, name, uid, controller: true, blockOwnerDeletion: true} */
kube_node_t *ctl_owner_ref(kube_arena_t *a, kg_view_t owner, const char *api_version, const char *kind);

typedef enum { CTL_NOT_OURS, CTL_OURS, CTL_ADOPTED, CTL_RELEASED } ctl_claim_t;
typedef struct ctl_owner {
  kg_view_t object;
  const char *api_version, *kind;
  const kube_selector_t *selector;
} ctl_owner_t;
/* Whether `object` of `gvr` belongs to the owner. An orphan that the selector matches is adopted, an own one that it
 * does not match is released (both with a patch guarded by the uid); the change comes back through the informer.
 * (controller_ref_manager of Kubernetes) */
ctl_claim_t ctl_claim(kg_ctx_t *ctx, ctl_sync_t *s, kube_gvr_t gvr, const ctl_owner_t *owner, kg_view_t object);
/* Key of the owner if `object` is controlled by one of that kind, else NULL. */
char *ctl_owner_key(kg_view_t object, const char *kind, char buf[CTL_KEY_MAX]);

/* --- base.c: a controller that watches some collections and works on keys
 * --------------------------------------------- */

enum { CTL_INFORMERS = 8 };
typedef struct ctl_watch {
  kube_gvr_t gvr;
  kube_change_fn fn;
  bool keys; /* its objects are the keys: all of them are worked on at the beginning */
  const char *ns, *field_selector;
} ctl_watch_t;

/* First member of every controller's state. informers[i] belongs to watches[i]. */
typedef struct ctl_spec ctl_spec_t;
typedef struct ctl_base {
  const ctl_spec_t *spec;
  ctl_work_t work;
  kube_informer_t *informers[CTL_INFORMERS];
  unsigned synced;
  kube_recorder_t *recorder;
} ctl_base_t;

struct ctl_spec {
  size_t size;           /* of the state */
  const char *component; /* whose events they are */
  kube_work_fn sync;
  unsigned parallel;                                        /* 0: 64 */
  ctl_watch_t watches[CTL_INFORMERS + 1];                   /* ends with {0} */
  int (*begin)(kg_ctx_t *ctx, void *self, kg_error_t *err); /* at the end of create() */
  int (*start)(kg_ctx_t *ctx, void *self,
               kg_error_t *err);             /* at the end of start(); with no watches, it says kg_ready() */
  void (*active)(kg_ctx_t *ctx, void *self); /* at the end of activate() and resume() */
  void (*stats)(void *self, kg_pack_t *p);
  void (*end)(kg_ctx_t *ctx, void *self); /* at the beginning of destroy() */
};

int ctl_base_create(kg_ctx_t *ctx, void **self, const ctl_spec_t *spec, kg_error_t *err);
int ctl_base_start(kg_ctx_t *ctx, void *self, kg_error_t *err);
void ctl_base_activate(kg_ctx_t *ctx, void *self);
void ctl_base_drain(kg_ctx_t *ctx, void *self);
void ctl_base_stats(kg_ctx_t *ctx, void *self, kg_pack_t *p);
void ctl_base_destroy(kg_ctx_t *ctx, void *self);

bool ctl_seen_pod(const ctl_base_t *c, kg_view_t pod); /* its informer of pods shows it */
/* on_change of a collection whose objects are the keys. */
void ctl_on_key(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg);
/* Adds all objects of the namespace of `object` in informer `of` whose spec.selector matches its labels: those that may
 * adopt it. */
void ctl_add_matching(kg_ctx_t *ctx, ctl_base_t *c, const kube_informer_t *of, kg_view_t object);

#define CTL_PLUGIN(spec_, ...)                                                                                         \
  static int ctl_create_(kg_ctx_t *ctx, void **self, kg_error_t *err) {                                                \
    return ctl_base_create(ctx, self, &(spec_), err);                                                                  \
  }                                                                                                                    \
  KG_PLUGIN(.role = "controller", .version = "0.1.0", .create = ctl_create_, .start = ctl_base_start,                  \
            .activate = ctl_base_activate, .drain = ctl_base_drain, .resume = ctl_base_activate,                       \
            .stats = ctl_base_stats, .destroy = ctl_base_destroy, __VA_ARGS__)

/* --- expect.c: what a controller did and its caches do not show yet
 * --------------------------------------------------- */

/* Objects that were made or deleted for a key. Without them a pass over a cache that is behind would make them again.
 * Zeroed: empty. */
enum { CTL_AHEAD_BUCKETS = 256 };
typedef struct ctl_ahead {
  struct ctl_ahead_key *buckets[CTL_AHEAD_BUCKETS];
} ctl_ahead_t;
void ctl_expect(kg_ctx_t *ctx, ctl_ahead_t *c, const char *key, kg_str_t name, bool deletion);
void ctl_expect_seen(ctl_ahead_t *c, const char *key, kg_str_t name, bool deletion);
bool ctl_expects_creation(kg_ctx_t *ctx, ctl_ahead_t *c, const char *key); /* also drops what is too old */
bool ctl_expects_deletion_of(const ctl_ahead_t *c, const char *key, kg_str_t name);
void ctl_expect_forget(ctl_ahead_t *c, const char *key);
void ctl_expect_free(ctl_ahead_t *c);

/* --- pods.c
 * ------------------------------------------------------------------------------------------------------------ */

bool ctl_pod_active(kg_view_t pod);                   /* neither ended nor being deleted */
bool ctl_pod_ready(kg_view_t pod, int64_t *since_us); /* since_us may be NULL */
/* Ready for min_ready_s seconds; else, if it is ready, *wait_ms (if not NULL) is lowered to when it will be. */
bool ctl_pod_available(kg_view_t pod, int64_t min_ready_s, int64_t now_us, int64_t *wait_ms);
/* A pod of the template: labels, annotations, finalizers, spec, generateName "<owner>-", owner reference. */
kube_node_t *ctl_pod_from_template(kube_arena_t *a, kg_view_t tmpl, const ctl_owner_t *owner);

/* Sets a condition of a pod. reason, message NULL: none. */
void ctl_mark_pod(kg_ctx_t *ctx, ctl_sync_t *s, kg_view_t pod, const char *type, const char *status, const char *reason,
                  const char *message);

/* "25%" of n, or a plain number; absent: fallback_percent of n. */
int64_t ctl_resolve(kg_view_t v, int64_t n, bool round_up, int64_t fallback_percent);
/* Sends the creation or deletion of a pod for `object`, and records it: SuccessfulCreate and its like. With `ahead` the
 * pass's key expects what the cache does not show yet. pod (of the deletion) must be kept by the pass. `also` (may be
 * NULL) sees the answer, too. */
void ctl_pod_create(kg_ctx_t *ctx, ctl_sync_t *s, ctl_base_t *c, ctl_ahead_t *ahead, kg_doc_t *object, kube_node_t *pod,
                    ctl_answer_fn also, void *arg);
/* The same for n pods by `pod` (called for i = 0 ... n - 1, in any batch): one, then two, four, ... as long as none is
 * refused. What is refused, by a quota say, is so once and not n times; the rest is for the key's next pass. */
typedef kube_node_t *(*ctl_pod_fn)(void *arg, size_t i);
void ctl_pods_create(kg_ctx_t *ctx, ctl_sync_t *s, ctl_base_t *c, ctl_ahead_t *ahead, kg_doc_t *object, size_t n,
                     ctl_pod_fn pod, ctl_answer_fn also, void *arg);
void ctl_pod_delete(kg_ctx_t *ctx, ctl_sync_t *s, ctl_base_t *c, ctl_ahead_t *ahead, kg_doc_t *object, kg_view_t pod);

/* --- hash.c, history.c: the templates a workload had
 * ------------------------------------------------------------------ */

/* Letters that name a template. */
void ctl_template_hash(kube_arena_t *a, kg_view_t tmpl, int64_t collisions, char out[16]);

/* A ControllerRevision. */
typedef struct ctl_revision {
  kg_view_t object, tmpl;
  kg_str_t name, hash; /* hash: value of the label */
  int64_t number;
} ctl_revision_t;
typedef struct ctl_history {
  const ctl_owner_t *owner;
  kg_view_t tmpl;
  const char *hash_label;
  const kube_informer_t *informer;
  int64_t collisions;   /* read and raised */
  ctl_revision_t *list; /* by number */
  size_t n;
  const ctl_revision_t *update; /* of the present template; NULL: it was sent just now and is not seen yet */
} ctl_history_t;
/* Reads the owner's revisions and sees to it that the present template has the highest number; of an owner that is
 * being deleted no new one is made. */
void ctl_history_sync(kg_ctx_t *ctx, ctl_sync_t *s, ctl_history_t *h);
const ctl_revision_t *ctl_revision_find(const ctl_history_t *h, kg_str_t name); /* NULL: none */
/* Deletes the oldest that are not live, so that no more than limit of them are left. */
void ctl_history_trim(kg_ctx_t *ctx, ctl_sync_t *s, const ctl_history_t *h, int64_t limit,
                      bool (*live)(const ctl_revision_t *r, void *arg), void *arg);

/* --- conditions.c
 * ------------------------------------------------------------------------------------------------------ */

/* In an array of conditions; NULL if absent. */
kube_node_t *ctl_condition(const kube_node_t *conditions, const char *type);
/* Sets a condition. What has the same status and reason already stays as it is; lastTransitionTime is kept when the
 * status is. With `updates` a lastUpdateTime is written too. */
void ctl_condition_set(kube_arena_t *a, kube_node_t *conditions, const char *type, const char *status,
                       const char *reason, const char *message, int64_t now_us, bool updates);
void ctl_condition_remove(kube_node_t *conditions, const char *type);

#endif
