#ifndef KUBE_CONVERT_H
#define KUBE_CONVERT_H
/* What the line `converted NAME` of a resource names: kube_convert_NAME. */
#include "schema_tables.h"

/* Each gets a copy of the whole object and adds what the other version calls differently, in that version's form; what
 * the other version does not have is dropped after it. */
typedef struct kube_conversion {
  void (*show)(kube_arena_t *a, kube_node_t *object);
  void (*store)(kube_arena_t *a, kube_node_t *object);
} kube_conversion_t;

#endif
