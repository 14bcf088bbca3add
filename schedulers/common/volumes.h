#ifndef SCHEDULER_VOLUMES_H
#define SCHEDULER_VOLUMES_H
/* The claims of pods: where their volumes can be reached, which are bound for them. Private to scheduler-common. */
#include "kube/claims.h"
#include "scheduler.h"

typedef struct able {
  kg_view_t volume;
  kg_str_t host; /* the one it can be reached from; p NULL: its node affinity has to be asked */
} able_t;

/* A claim of the pod that is being placed; the views hold no longer than that. */
typedef struct claim {
  kg_view_t object, class; /* class: absent if there is none */
  kg_view_t volume;        /* of a bound one; absent if that has gone */
  bool bound;
  kg_str_t selected; /* a node it was promised to be made for; empty: none */
  able_t *able;      /* volumes that may become its own, the best first */
  size_t n_able;
  kg_view_t chosen; /* by the last choice: one of them, or absent: it is to be made */
} claim_t;

struct sched_volumes {
  kube_informer_t *claims, *volumes, *classes;
  claim_t *of; /* those of the pod at hand, the smallest first */
  size_t n, room;
  sched_pod_t **sharers; /* who uses a claim of it that only one pod may use */
  size_t n_sharers;
  char barred[700];
  struct sched_wait *waits;
  int64_t timeout_ms;
};

/* A pod that has its node, but waits for its claims to be bound. */
typedef struct wait_claim {
  char name[KUBE_CLAIM_NAME], volume[KUBE_CLAIM_NAME]; /* volume: "": it is to be made */
  uint64_t call;                                       /* a write under way */
  int64_t version;                                     /* what was written; older states are not looked at */
} wait_claim_t;

typedef struct sched_wait {
  struct sched_wait *prev, *next;
  kg_ctx_t *ctx;
  sched_t *s;
  sched_pod_t *pod;
  uint64_t timer;
  size_t n;
  wait_claim_t of[];
} wait_t;

/* volumes.c: chooses what each unbound claim gets on that node (`chosen`). false: something cannot be had there. */
bool volumes_choose(const sched_t *s, const sched_node_t *node);
/* volumes_wait.c: what a pod that waits for its node has promised a claim; NULL: nothing. */
const wait_claim_t *wait_of_claim(const sched_t *s, kg_str_t space, kg_str_t name, const wait_t **by);
bool wait_has_volume(const sched_t *s, kg_str_t volume, kg_str_t space, kg_str_t claim); /* for another claim */
/* Something changed about a claim, or about a volume; a name that is absent: about any. */
void waits_look(sched_t *s, kg_str_t space, kg_str_t claim, kg_str_t volume);

#endif
