#ifndef KUBE_PLACE_H
#define KUBE_PLACE_H
/* A place in an object and what its schema says of it: a table's, a custom kind's, or none. */
#include "structural.h"

typedef struct kube_place {
  const kube_type_t *t;       /* a struct of the tables */
  const kube_field_t *f;      /* a field of the tables ... */
  kube_shape_t shape;         /* ... of which this much is left: an element of a list of structs is ONE */
  const kube_structural_t *s; /* of a custom kind */
} kube_place_t;

typedef enum { KUBE_LEAF, KUBE_FIELDS, KUBE_SET, KUBE_KEYED } kube_merge_t;

kube_place_t kube_place_root(const kube_resource_t *r);
/* How values at the place are merged; a and b: those there are (may be NULL). */
kube_merge_t kube_place_merge(const kube_place_t *p, const kube_node_t *a, const kube_node_t *b);
/* known (may be NULL): whether it is a field with a name of its own, not an entry of a map. */
kube_place_t kube_place_field(const kube_place_t *p, kg_str_t name, bool *known);
kube_place_t kube_place_item(const kube_place_t *p);
const char *const *kube_place_keys(const kube_place_t *p);

/* Elements of sets and keyed lists: `v:...`, `k:{...}`. NULL: the element has no key. */
const char *kube_element_key(kube_arena_t *a, const kube_place_t *p, const kube_node_t *element);

/* Sets of fields. */
bool kube_fields_member(const kube_node_t *set); /* the field itself is in it */
kube_node_t *kube_fields_union(kube_arena_t *a, const kube_node_t *x, const kube_node_t *y);
/* x without the members of y; NULL: nothing is left. deep: without what is below them as well. */
kube_node_t *kube_fields_minus(kube_arena_t *a, const kube_node_t *x, const kube_node_t *y, bool deep);
kube_node_t *kube_fields_common(kube_arena_t *a, const kube_node_t *x, const kube_node_t *y); /* NULL: nothing */
/* Calls fn with the path of every member, ".spec.parts[name="b"].n". */
void kube_fields_each(kube_arena_t *a, const kube_node_t *set, void (*fn)(const char *path, void *arg), void *arg);

typedef struct kube_difference {
  kube_node_t *changed, *removed; /* sets: added or with another value; no longer there */
} kube_difference_t;
kube_difference_t kube_compare(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *old,
                               const kube_node_t *now);
/* The fields an applied configuration has. */
kube_node_t *kube_fields_of(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *config);
kube_node_t *kube_merge_objects(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *old,
                                const kube_node_t *config);
/* Removes from the object the members of `last` that nothing in `kept` is or lies below. */
void kube_fields_remove(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object, const kube_node_t *last,
                        const kube_node_t *kept);

#endif
