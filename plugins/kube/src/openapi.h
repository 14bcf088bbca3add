#ifndef KUBE_OPENAPI_H
#define KUBE_OPENAPI_H
/* Shared by openapi.c (documents, paths) and openapi_schema.c (schemas of types). */
#include "schema_tables.h"

/* Where schemas are referred to: "#/definitions/" (v2) or "#/components/schemas/" (v3). */
typedef struct kube_openapi {
  kg_pack_t *p;
  const char *prefix;
  bool v3;
} kube_openapi_t;

/* Marks t and all it refers to; marks has kube_type_count elements. */
void kube_openapi_mark(bool *marks, const kube_type_t *t);
/* Packs "name": schema pairs of the marked types and of the special ones into the open map. */
void kube_openapi_schemas(const kube_openapi_t *o, const bool *marks);
/* Packs {"$ref": ...} to what a resource, or a list of it, is. */
void kube_openapi_ref_resource(const kube_openapi_t *o, const kube_resource_t *r, bool list);
const kube_type_t *kube_openapi_list_type(const kube_resource_t *r); /* NULL: none */
/* Packs the pairs of the schemas of a custom kind and its list. */
void kube_openapi_custom(const kube_openapi_t *o, const kube_resource_t *r);
/* Packs {"$ref": ...} to a type. */
void kube_openapi_ref(const kube_openapi_t *o, const kube_type_t *t);
/* "io.k8s.api.core.v1.Pod" of "core.v1.Pod". */
void kube_openapi_name(char *out, size_t room, const char *type);

#endif
