#ifndef KUBE_TEST_ORACLE_H
#define KUBE_TEST_ORACLE_H
/* What the comparisons with recorded answers need. */
#include "kube/schema.h"

/* The resource a collection path ("/apis/apps/v1/namespaces/x/deployments") names; NULL if it is none of ours. */
const kube_resource_t *oracle_resource(kg_str_t path);
/* Decodes, defaults and validates as a creation does; the code a server would answer with. body is changed. */
int64_t oracle_create(kube_arena_t *a, const kube_resource_t *r, kube_node_t *body, kube_node_t *causes,
                      kg_error_t *err);
/* Removes what a server chooses itself. */
void oracle_clean(kube_arena_t *a, kube_node_t *n);
/* Whether got has all that want has. */
bool oracle_covers(const kube_node_t *want, const kube_node_t *got);
/* Whether both lists of causes name the same fields for the same reasons. */
bool oracle_same_fields(const kube_node_t *want, const kube_node_t *got);

#endif
