#ifndef SCHEDULER_RELATIONS_H
#define SCHEDULER_RELATIONS_H
/*
 * What pods want of each other: affinity and anti-affinity (KEP-3633 for its label keys), and spreading over topology
 * domains (KEP-895, KEP-3022, KEP-3094, KEP-3243). Private to scheduler-common; a scheduler uses scheduler.h.
 */
#include "domains.h"
#include "kube/values.h"
#include "scheduler.h"

typedef enum { TERM_AFFINE, TERM_ANTI, TERM_PREFERS, TERM_AVOIDS, TERM_KINDS } term_kind_t;

typedef struct term {
  term_kind_t kind;
  int64_t weight;                  /* of a preferred one, 1..100 */
  kg_str_t key;                    /* topologyKey; the views and strings are borrowed from the pod's document */
  kube_selector_t *pods, *spaces;  /* spaces NULL: no namespaceSelector */
  kg_view_t names;                 /* namespaces */
  kg_view_t same_keys, other_keys; /* matchLabelKeys, mismatchLabelKeys */
  bool own_space;                  /* neither names nor selector: the pod's own namespace */
} term_t;

struct sched_terms {
  size_t n, of_kind[TERM_KINDS];
  term_t term[];
};

enum { SPREADS = 16 };

typedef struct spread {
  kg_str_t key;
  kube_selector_t *pods; /* NULL: pods of the same controller */
  kg_view_t same_keys;
  int64_t max_skew, min_domains;
  bool hard;    /* DoNotSchedule */
  bool by_node; /* each node is a domain: what is counted stays in the tally */
  bool honor_affinity, honor_taints;
  bool self; /* the pod itself is one of those counted */
  int64_t least;
  size_t domains;
} spread_t;

/* Of the pod at hand, for one attempt. */
struct sched_relations {
  domains_t affine, anti, theirs, likes, spread_counts;
  size_t affine_pods; /* pods that match all its affinity terms */
  bool affine_self;
  size_t nspreads;
  spread_t spreads[SPREADS];
  uint16_t *counts;          /* per node: bit i: its pods count for spread i */
  int32_t (*tally)[SPREADS]; /* per node and spread: pods counted and not yet in spread_counts */
  size_t room;
};

/* relations.c: after sched_relate(): `other` comes to its node (1), or leaves it (-1). */
void relations_move(sched_t *s, const sched_pod_t *pod, const sched_pod_t *other, int sign);

/* terms.c */
struct sched_terms *terms_read(kg_view_t pod); /* NULL: it has none (or out of memory) */
void terms_free(struct sched_terms *t);
/* Does this term of `owner` (a Pod) speak of `other`? */
bool term_matches(const sched_t *s, const term_t *t, kg_view_t owner, kg_view_t other);
/* Is each label of `keys` on both, and alike? */
bool labels_alike(kg_view_t keys, kg_view_t a, kg_view_t b);

/* affinity.c */
/* One more (or, with -1, one less) is on its node. */
void affinity_count(sched_t *s, const sched_pod_t *pod, const sched_pod_t *other, int sign);
void affinity_finish(sched_t *s, const sched_pod_t *pod);
bool affinity_filter(const sched_t *s, const sched_pod_t *pod, const sched_node_t *node, sched_verdict_t *v);

/* spread.c */
void spread_read(sched_t *s, const sched_pod_t *pod);
void spread_count(sched_t *s, const sched_pod_t *pod, const sched_pod_t *other, int sign);
void spread_count_owned(sched_t *s, const sched_owner_t *owner); /* all pods of the controller */
void spread_finish(sched_t *s);
bool spread_filter(const sched_t *s, const sched_node_t *node, sched_verdict_t *v);
void spread_clear(struct sched_relations *r);

#endif
