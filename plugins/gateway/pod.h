#ifndef GATEWAY_POD_H
#define GATEWAY_POD_H
/* What logs, exec and attach have in common: they go to the node a pod runs on. */
#include "gateway.h"

typedef void (*gw_pod_fn)(gw_ex_t *ex, kg_view_t pod);
/* Asks for the pod of the route; fn gets it unless the exchange was answered (there is none). Once per exchange, whose
 * `found` it sets. */
void gw_pod_get(gw_ex_t *ex, gw_pod_fn fn);
/* Name of the container that the query asks for, malloc'ed: one of the pod's, or its only one if the query names none.
 * NULL: the exchange was answered. */
char *gw_pod_container(gw_ex_t *ex, kg_view_t pod);
/* Service name of the pod's node, malloc'ed. NULL: it runs nowhere, and the exchange was answered. */
char *gw_pod_node(gw_ex_t *ex, kg_view_t pod);
/* Packs the options of pods/log that the query has. -1: one is wrong, and the exchange was answered. (log_options.c) */
int gw_log_options(gw_ex_t *ex, kg_pack_t *p);

#endif
