#ifndef SCHEDULER_SCORE_H
#define SCHEDULER_SCORE_H
#include "scheduler.h"

/* Scores the n nodes of `fit` for the pod after sched_relate(): the sum of Kubernetes' default scoring plugins, each
 * 0..100 times its weight. score and scratch have n places; score starts as zeros. */
void score_nodes(const sched_t *s, const sched_pod_t *pod, const uint32_t *fit, size_t n, double *score,
                 double *scratch);

#endif
