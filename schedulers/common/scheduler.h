#ifndef SCHEDULER_H
#define SCHEDULER_H
/*
 * What every scheduler of this house needs alike: which nodes and pods there are, which fit, the queue, the binding and
 * the hand-over. A scheduler adds a picker. Everything runs in the plugin's lane.
 */
#include "kube/client.h"
#include "kube/informer.h"

/* The labels that pods are spread by unless they say otherwise. */
#define SCHED_HOSTNAME "kubernetes.io/hostname"
#define SCHED_ZONE "topology.kubernetes.io/zone"

enum {
  SCHED_CPU,
  SCHED_MEMORY,
  SCHED_STORAGE,
  SCHED_RESOURCES = 16
}; /* 3..15: extended resources, named at run time */

/* Amounts of each resource: cpu in thousandths, others in whole units. */
typedef struct sched_amounts {
  int64_t of[SCHED_RESOURCES];
} sched_amounts_t;

typedef struct sched_node {
  char *name;
  uint32_t next;            /* of the same hash: its index and one; 0: none */
  kg_doc_t *doc;            /* the Node; NULL once it is gone (the slot is reused) */
  kg_view_t labels, taints; /* borrowed from doc, as are those two labels that all pods are spread by */
  kg_str_t hostname, zone;
  bool unschedulable;
  sched_amounts_t allocatable, used;
  int64_t scored_cpu, scored_memory; /* used, where pods without requests count a little */
  int64_t max_pods, pods;
  struct sched_pod *guests; /* the pods counted on it */
} sched_node_t;

typedef struct sched_pod {
  struct sched_pod *next;           /* in its bucket */
  struct sched_pod *before, *after; /* in the queue, or among the parked */
  kg_doc_t *doc;
  char *key;                      /* namespace/name */
  kg_view_t spec, labels;         /* borrowed from doc, as is space */
  kg_str_t space;                 /* its namespace */
  bool choosy, ports, deleting;   /* selects nodes; wants host ports; is being deleted */
  bool claims;                    /* has volumes by claims */
  bool asks_more;                 /* of a resource for which there is no place in `request` */
  struct sched_pod *left, *right; /* among the guests of its node */
  sched_amounts_t request;
  int64_t scored_cpu, scored_memory;
  int64_t priority;
  struct sched_terms *terms; /* its affinity to other pods; NULL: none */
  struct sched_owner *owner; /* its controller; NULL: none */
  struct sched_wait *wait;   /* it has its node, its claims are not bound yet; NULL: no */
  unsigned why;              /* parked: SCHED_WHY_... of the nodes that refused it */
  int32_t node;              /* index it is counted on, -1: none */
  int32_t nominee;           /* index of the node promised to it, -1: none */
  struct sched_pod *next_nominee;
  bool assumed;      /* counted on its nominee while another is being placed */
  bool moved;        /* something happened while others were told to make room */
  bool told;         /* it was told to make room itself */
  unsigned evicting; /* so many of those it told have not been answered for */
  enum { SCHED_IDLE, SCHED_QUEUED, SCHED_BINDING, SCHED_PARKED } state;
  unsigned attempts;
  int64_t tried_ms, parked_until_ms;
} sched_pod_t;

/* A controller of pods, by its uid. */
typedef struct sched_owner {
  struct sched_owner *next;
  size_t pods;    /* all that name it; with the last it goes */
  uint32_t *on;   /* of them that are on each node and stay there */
  uint32_t nodes; /* places in it */
  char uid[];
} sched_owner_t;

typedef struct sched_list {
  sched_pod_t *first, *last;
  size_t n;
} sched_list_t;

typedef struct sched sched_t;
/* Chooses one of the n > 0 nodes that fit: returns an index into `fit`. */
typedef size_t (*sched_pick_fn)(kg_ctx_t *ctx, const sched_t *s, const sched_pod_t *pod, const uint32_t *fit, size_t n);

/* A further filter for nodes that passed sched_filter(): NULL if the pod may run there, else why not: a sentence that
 * lives on while this pod is being placed. */
typedef const char *(*sched_refine_fn)(kg_ctx_t *ctx, const sched_t *s, const sched_pod_t *pod, uint32_t node);

/* Who refuses a node, and so what change may help. */
enum {
  SCHED_WHY_NODE = 1, /* its labels, its taints, the pod's affinity to it */
  SCHED_WHY_ROOM = 2, /* resources and ports */
  SCHED_WHY_SPREAD = 4,
  SCHED_WHY_AFFINITY = 8, /* of pods to each other */
  SCHED_WHY_VOLUME = 16,
  SCHED_WHY_OTHER = 32,
  SCHED_WHY_ANY = 63
};

/* What the filters say of a pod on a node. */
typedef struct sched_verdict {
  unsigned why; /* 0: it may run there */
  bool final;   /* it could not even if other pods went */
  size_t n;
  const char *reasons[SCHED_RESOURCES + 1]; /* in Kubernetes' words; literals or of the sched_t */
} sched_verdict_t;

enum { SCHED_BUCKETS = 4096, SCHED_OWNERS = 512, SCHED_NAMES = 1024 };
struct sched {
  sched_pick_fn pick;
  sched_refine_fn refine; /* may be NULL */
  void *own;              /* of the scheduler built on this */
  kube_informer_t *node_informer, *pod_informer, *ns_informer, *budget_informer;
  kube_recorder_t *recorder;
  char *scheduler_name;
  sched_node_t *nodes;
  size_t n_nodes, room_nodes;
  uint32_t named[SCHED_NAMES];                             /* nodes by the hash of their name */
  uint32_t *fit, *maybe;                                   /* scratch, as long as nodes */
  char *resource[SCHED_RESOURCES], *lack[SCHED_RESOURCES]; /* their names; "Insufficient NAME" */
  bool nameless; /* a list just read named a resource for which there was no place */
  uint32_t turn; /* where the next search for nodes begins */
  sched_pod_t *pods[SCHED_BUCKETS];
  sched_owner_t *owners[SCHED_OWNERS];
  struct sched_relations *relations; /* of the pod at hand with others */
  struct sched_volumes *volumes;     /* NULL: no pod with a claim was seen yet */
  size_t with_terms;                 /* pods that have affinity terms */
  sched_list_t queue;                /* by priority and arrival */
  sched_list_t parked;               /* those that found no place */
  sched_pod_t *nominees;             /* pods to whom a node is promised */
  size_t binding, evicting;
  struct sched_flight *flights;     /* bindings without an answer */
  struct sched_eviction *evictions; /* and those of pods that make room */
  uint64_t bound, failed, conflicts, preempted;
  uint64_t work_timer, park_timer;
  int64_t park_at_ms;
  bool draining;
};

/* --- requests.c --- */
/* Index of a resource's name, made up if new; -1 when all places are taken. */
int sched_resource_index(sched_t *s, kg_str_t name);
void sched_read_request(sched_t *s, kg_view_t pod, sched_pod_t *out);
void sched_read_allocatable(sched_t *s, kg_view_t node, sched_node_t *out);

/* --- filter.c --- */
/* May the pod run there? `v` says why not. After sched_relate(). */
bool sched_filter(const sched_t *s, const sched_pod_t *pod, const sched_node_t *node, sched_verdict_t *v);
bool sched_refuse(sched_verdict_t *v, unsigned why, bool final, const char *reason); /* adds a reason; false */
bool sched_tolerates(const sched_pod_t *pod, const sched_node_t *node); /* its taints, but those that only prefer */
bool sched_selects(const sched_pod_t *pod, const sched_node_t *node);   /* by node selector and required affinity */

/* --- relations.c: what pods want of each other --- */
/* Before the filters of one pod. false: out of memory. */
bool sched_relate(sched_t *s, const sched_pod_t *pod);
bool sched_filter_relations(const sched_t *s, const sched_pod_t *pod, const sched_node_t *node, sched_verdict_t *v);
void sched_free_relations(sched_t *s);
/* How the preferred affinities, of the pod and of those on the nodes, speak for a node: higher is better, may be
 * negative. */
int64_t sched_affinity_score(const sched_t *s, uint32_t node);
/* How much the node's domains hold of the pod's kind: lower is better, -1: the node lacks a key. */
double sched_spread_cost(const sched_t *s, uint32_t node);

/* --- cluster.c: nodes and pods as they come and go --- */
kg_str_t sched_label(const sched_node_t *n, kg_str_t key); /* p NULL: it has none */
sched_node_t *sched_node_named(sched_t *s, kg_str_t name);
sched_pod_t *sched_pod_of(sched_t *s, kg_str_t ns, kg_str_t name, bool make);
void sched_count(sched_t *s, sched_pod_t *pod, int32_t node); /* count the pod on node (-1: nowhere) */
void sched_node_changed(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg);
/* The labels of namespaces matter to affinity. */
void sched_ns_changed(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg);
void sched_pod_changed(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg);
void sched_free_cluster(sched_t *s);

/* --- owners.c --- */
sched_owner_t *sched_owner_join(sched_t *s, kg_str_t uid); /* one more pod of it; NULL: no uid (or no memory) */
void sched_owner_leave(sched_t *s, sched_owner_t *o);
void sched_owner_count(const sched_t *s, sched_owner_t *o, uint32_t node, int sign);

/* --- queue.c --- */
void sched_enqueue(kg_ctx_t *ctx, sched_t *s, sched_pod_t *pod);
void sched_dequeue(sched_t *s, sched_pod_t *pod); /* out of the queue or the parking place */
/* It found no place, for these reasons (SCHED_WHY_...): again after a change that may help, or a minute. */
void sched_park(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, unsigned why);
/* Something changed that may help pods refused for one of these reasons (SCHED_WHY_...). */
void sched_unpark(kg_ctx_t *ctx, sched_t *s, unsigned why);
void sched_unpark_pod(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, unsigned why); /* this one, which is parked */
void sched_kick(kg_ctx_t *ctx, sched_t *s);

/* --- volumes.c: the claims of pods --- */
bool sched_has_claims(kg_view_t pod);
/* Claims, volumes and classes are at hand; false: not yet, pods with claims that are parked come again then. */
bool sched_volumes_known(kg_ctx_t *ctx, sched_t *s);
/* Before the filters of one pod with claims: why it goes nowhere (of s, until the next one), or NULL. */
const char *sched_volumes_look(sched_t *s, const sched_pod_t *pod);
bool sched_filter_volumes(const sched_t *s, const sched_pod_t *pod, const sched_node_t *node, sched_verdict_t *v);
void sched_free_volumes(kg_ctx_t *ctx, sched_t *s);

/* --- volumes_wait.c --- */
/* The pod has its node: its claims are bound for that, if they are not, and then the pod is. */
void sched_settle(kg_ctx_t *ctx, sched_t *s, sched_pod_t *pod, uint32_t node);
void sched_volumes_leave(sched_t *s, sched_pod_t *pod); /* it waits no more, and is counted nowhere */
void sched_volumes_release(kg_ctx_t *ctx, sched_t *s);  /* all that wait are queued again */

/* --- bind.c --- */
void sched_bind(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, uint32_t node);
/* A call about the pod: ns and name get its own, which must live until the call is made. */
kube_call_t sched_pod_call(const kg_doc_t *pod, char ns[256], char name[256], const char *sub);
void sched_free_flights(sched_t *s); /* the instance goes: no answers come any more */

/* --- place.c --- */
/* All filters, also that of the scheduler itself. After sched_relate(). */
bool sched_fits(kg_ctx_t *ctx, sched_t *s, const sched_pod_t *p, uint32_t node, sched_verdict_t *v);
void sched_work(kg_ctx_t *ctx, void *self, void *arg);

/* --- life.c: the functions of the descriptor; self is the sched_t --- */
int sched_create(kg_ctx_t *ctx, void **self, sched_pick_fn pick, kg_error_t *err);
int sched_start(kg_ctx_t *ctx, void *self, kg_error_t *err);
void sched_activate(kg_ctx_t *ctx, void *self);
void sched_drain(kg_ctx_t *ctx, void *self);
int sched_hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err);
int sched_accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err);
void sched_resume(kg_ctx_t *ctx, void *self);
void sched_stats(kg_ctx_t *ctx, void *self, kg_pack_t *p);
void sched_destroy(kg_ctx_t *ctx, void *self);
void sched_status(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
/* A binding was answered while draining: says kg_drained() when it was the last. */
void sched_maybe_drained(kg_ctx_t *ctx, sched_t *s);

#endif
