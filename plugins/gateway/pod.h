#ifndef GATEWAY_POD_H
#define GATEWAY_POD_H
/* What logs, exec and attach have in common: they go to the node a pod runs on. */
#include "gateway.h"

/*
 * Checks that the pod `m` brought runs on a node and that `container` is one of its containers (NULL or "": the only
 * one, or the one its annotation names). On success *container is malloc'ed and *node too (caller frees both); else the
 * exchange was answered: -1.
 */
int gw_pod_place(gw_ex_t *ex, const kg_msg_t *m, char **container, char **node);
/* The same without a container: -1 and answered if the pod runs nowhere. */
int gw_pod_node(gw_ex_t *ex, const kg_msg_t *m, char **node);
/* Asks for the pod of the route; fn gets the reply with arg ex. */
void gw_pod_get(gw_ex_t *ex, kg_reply_fn fn);

#endif
