#ifndef DISRUPTION_H
#define DISRUPTION_H
/* How many pods of each PodDisruptionBudget may be evicted now. The api role takes evictions off that number. */
#include "control.h"

enum { BUDGETS, PODS, DEPLOYMENTS, REPLICASETS, STATEFULSETS, CONTROLLERS };

typedef struct pdc {
  ctl_base_t base;
} pdc_t;

typedef struct custom { /* an owner of a custom kind */
  struct custom *next;
  kg_view_t ref; /* the pod's reference to it */
  const char *group, *version, *resource;
  bool has_scale, known; /* its kind has the subresource; it was read */
  int64_t replicas;
} custom_t;

typedef struct pass {
  kg_ctx_t *ctx;
  pdc_t *c;
  ctl_sync_t *sync;
  kube_arena_t *arena;
  kg_view_t object, spec;
  kg_view_t *pods;
  size_t n;
  custom_t *customs;
  int64_t expected, desired, healthy;
  kube_node_t *disrupted; /* pod name: time of its eviction */
  const char *error;      /* the budget cannot be counted */
  bool unmanaged;         /* some pod has nobody who says how many there should be */
} pass_t;

/* scales.c: how many pods there should be, as those say who own them */
void scales_ask(pass_t *p);      /* sends for the scales of custom kinds, if the budget depends on them */
int64_t scale_of_all(pass_t *p); /* when they are there; sets error, unmanaged */

#endif
