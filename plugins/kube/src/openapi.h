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

/* openapi_explain.c: descriptions, which are "\nTYPE\tTEXT\n FIELD\tTEXT\n FIELD..." */
extern const char kube_explain_text[];
extern const size_t kube_explain_size;
/* Where the text has what it says of a type, of any object ("object") or of any list ("list"); NULL: nothing. */
const char *kube_explain_of(const char *type);
/* What is said there of a field, of the type itself with field NULL; {0}: nothing. Borrowed for ever. */
kg_str_t kube_explain(const char *block, const char *field);
void kube_explain_pack(kg_pack_t *p, kg_str_t text); /* "description": text, if there is one */

#endif
