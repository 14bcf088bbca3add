#ifndef KUBE_CUSTOM_H
#define KUBE_CUSTOM_H
/*
 * The schema of a custom kind: compiled once from a definition's openAPIV3Schema, then used for pruning, defaults,
 * validation and field ownership as the tables are for built-in kinds. One thread at a time may compile; a compiled
 * schema is read-only.
 */
#include "kube/tree.h"

typedef struct kube_structural kube_structural_t;

/* `schema`: the openAPIV3Schema of one version (checked before: kube_structural_check). Copies what it needs. NULL with
 * a sentence (a pattern that cannot be compiled). Caller frees with kube_structural_free. */
KG_NODISCARD kube_structural_t *kube_structural_new(kg_view_t schema, kg_error_t *err);
void kube_structural_free(kube_structural_t *s); /* NULL is allowed */

/* Whether a definition's schema is structural and holds nothing that is not supported (validation rules in CEL):
 * appends causes, fields named below `path`. */
void kube_structural_check(kube_arena_t *a, const kube_node_t *schema, const char *path, kube_node_t *causes);

/* Drops fields that the schema does not know (paths are appended to `unknown`, if not NULL) and puts keys in order. */
/* metadata gets what is not known in the metadata of objects within it. -1: such metadata cannot be decoded. */
int kube_structural_prune(kube_arena_t *a, const kube_structural_t *s, kube_node_t *object, kube_node_t *unknown,
                          kube_node_t *metadata, kg_error_t *err);
/* Drops nulls that are not allowed, fills in defaults. */
void kube_structural_default(kube_arena_t *a, const kube_structural_t *s, kube_node_t *object);
/* Appends causes. */
void kube_structural_validate(kube_arena_t *a, const kube_structural_t *s, const kube_node_t *object,
                              kube_node_t *causes);

#endif
