#ifndef SCHEDULER_PREEMPT_H
#define SCHEDULER_PREEMPT_H
/* A pod that fits nowhere takes the place of less important ones. Private to scheduler-common. */
#include "scheduler.h"
#include "victims.h"

/* Looks for a node among the `n` of `maybe`, where others' going may help, and picks the victims: true, and `out` (its
 * array is the caller's to free). false: `why` says in Kubernetes' words what stands against it, "" if nothing needs
 * to be said. After the filters of the pod; nodes: how many there are. */
bool preempt_choose(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, const uint32_t *maybe, size_t n, size_t nodes,
                    victims_t *out, char *why, size_t size);
/* Why the pod may not make others go; NULL: it may. refused_for_good: the node promised to it cannot be its any more.
 */
const char *preempt_forbidden(const sched_t *s, const sched_pod_t *p, bool refused_for_good);

/* The node is the pod's as far as less important pods are concerned; -1: none is. */
void sched_nominate(sched_t *s, sched_pod_t *p, int32_t node);
/* What the pod's document, that was `old`, says of it. */
void sched_read_nominee(sched_t *s, sched_pod_t *p, kg_view_t old);

/* Nominated pods, of the same priority or more, count on their nodes while `p` is being placed. true: there are some.
 */
bool nominees_assume(sched_t *s, const sched_pod_t *p);
void nominees_release(sched_t *s);

/* evict.c: the victims get their condition, are deleted, and an event tells by whom. */
void sched_evict(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, const victims_t *victims);
void sched_free_evictions(sched_t *s);

#endif
