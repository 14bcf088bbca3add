#ifndef TEST_PLACE_H
#define TEST_PLACE_H
/* Nodes and pods that are only objects, and where the pods went. */
#include "harness.h"
#include "kube/values.h"

#define PODS "v1/pods"
#define CONTAINER "'containers':[{'name':'c','image':'i'}]"

void node(cluster_t *c, const char *name, const char *zone, int cpu);
cluster_t *three_nodes(void); /* of 4 CPUs: a and b in zone 1, c in zone 2; with the scheduler and budgets */
/* A pod labelled app=APP; more: of its spec, beginning with a comma. */
void pod(cluster_t *c, const char *name, const char *app, const char *more);
/* One whose container requests these. */
void wants(cluster_t *c, const char *name, const char *requests, const char *more);
void node_of(cluster_t *c, const char *name, char out[64]); /* once it is bound */
bool runs_on(cluster_t *c, const char *name, const char *want);
void expect_waits(cluster_t *c, const char *name, const char *why); /* for this reason */

#endif
