#ifndef KUBE_APPLY_H
#define KUBE_APPLY_H
/*
 * Field ownership (metadata.managedFields) and server-side apply. A set of fields is a tree in the form FieldsV1 has:
 * maps with keys `f:name`, `k:{"key":"value"}`, `v:value`; `.` or nothing inside: the field itself is in the set.
 */
#include "kube/schema.h"

typedef struct kube_manager {
  kg_str_t name, api_version, subresource;
  bool apply;       /* operation Apply, else Update */
  const char *time; /* now, as managedFields tell it */
} kube_manager_t;

/* An update: `now` replaced `old` (never NULL: for a creation what kube_empty() gives) on behalf of m. Writes
 * metadata.managedFields of now: m owns what it changed, others lose it. status: only the status counts, else all but
 * the status where the kind has that subresource. */
void kube_track(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *old, kube_node_t *now,
                const kube_manager_t *m);

typedef struct kube_applied {
  kube_node_t *object;    /* NULL: conflicts */
  kube_node_t *conflicts; /* array of {manager: text as errors tell it, field: ".spec.x"} */
  bool same;              /* nothing but ownership may have changed */
} kube_applied_t;
/* Applies `config` to `old` (for a creation what kube_empty() gives). */
kube_applied_t kube_apply(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *old, const kube_node_t *config,
                          const kube_manager_t *m, bool force);
/* Whether two objects are the same but for the times of their managedFields. */
bool kube_same_but_times(const kube_node_t *a, const kube_node_t *b);

#endif
