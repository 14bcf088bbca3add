#ifndef SCHEDULER_EXPLAIN_H
#define SCHEDULER_EXPLAIN_H
/* Why a pod found no node. Private to scheduler-common. */
#include "scheduler.h"

enum { REASONS_MAX = 24 };

/* How many nodes each reason was told of; the texts are borrowed. */
typedef struct reasons {
  const char *text[REASONS_MAX];
  unsigned count[REASONS_MAX];
  size_t n;
} reasons_t;

void reasons_add(reasons_t *r, const char *why);
/* "0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods." */
void reasons_say(const reasons_t *r, size_t nodes, char *out, size_t size);

/* Reasons of the condition PodScheduled. */
#define UNSCHEDULABLE "Unschedulable"
#define SCHEDULER_ERROR "SchedulerError"

/* The event FailedScheduling and, if it says something else now, the pod's status: its condition (message NULL: that
 * stays, and there is no event) and the node promised to it (NULL: that stays, "": none). */
void sched_explain(kg_ctx_t *ctx, sched_t *s, const sched_pod_t *p, const char *reason, const char *message,
                   const char *nominee);

#endif
