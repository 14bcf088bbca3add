#ifndef KUBE_DEFAULT_CALLS_H
#define KUBE_DEFAULT_CALLS_H
#include "kube/tree.h"

/* Runs the rule `call:NAME` of defaults.txt on a struct; unknown names do nothing (the unit test asks that all are
 * known). */
void kube_default_call(kube_arena_t *a, const char *name, kube_node_t *n);
bool kube_default_call_known(const char *name);
/* A JSON value as the tables write it (no escapes). */
kube_node_t *kube_literal(kube_arena_t *a, const char *json);
/* "FIELD = VALUE and FIELD absent": whether it holds for the struct n. */
bool kube_condition(kube_arena_t *a, const kube_node_t *n, const char *text);

#endif
