#ifndef KUBE_DECODE_VALUES_H
#define KUBE_DECODE_VALUES_H
/* Values whose JSON has a form of its own. Each gives the normalised value, or NULL and in *sentence the API server's
 * words. */
#include "kube/tree.h"

kube_node_t *kube_decode_base64(kube_arena_t *a, kube_node_t *n, const char **sentence);
kube_node_t *kube_decode_time(kube_arena_t *a, kube_node_t *n, bool micro, const char **sentence);
kube_node_t *kube_decode_quantity(kube_arena_t *a, kube_node_t *n, const char **sentence);
kube_node_t *kube_decode_int_or_string(kube_arena_t *a, kube_node_t *n, const char **sentence);

#endif
