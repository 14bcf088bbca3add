#ifndef KUBE_SCHEMA_H
#define KUBE_SCHEMA_H
/*
 * The built-in kinds as data. Tables are generated at build time from plugins/kube/schema/ and are read-only; a CRD
 * gives the same structures at run time. Any thread.
 */
#include "kube/tree.h"

typedef enum {
  KUBE_T_STRUCT,
  KUBE_T_STRING,
  KUBE_T_BOOL,
  KUBE_T_INT32,
  KUBE_T_INT64,
  KUBE_T_FLOAT,
  KUBE_T_BYTES, /* base64 in JSON */
  KUBE_T_TIME,
  KUBE_T_MICROTIME,
  KUBE_T_QUANTITY,
  KUBE_T_INT_OR_STRING,
  KUBE_T_DURATION,
  KUBE_T_RAW,    /* any JSON */
  KUBE_T_FIELDS, /* managedFields' FieldsV1 */
} kube_kind_t;
typedef enum { KUBE_ONE, KUBE_LIST, KUBE_MAP, KUBE_MAP_LIST } kube_shape_t;  /* T, []T, map[string]T, map[string][]T */
typedef enum { KUBE_LIST_ATOMIC, KUBE_LIST_SET, KUBE_LIST_MAP } kube_list_t; /* server-side apply */
enum { KUBE_PATCH_MERGE = 1, KUBE_PATCH_REPLACE = 2, KUBE_PATCH_RETAIN_KEYS = 4 };

typedef struct kube_type kube_type_t;
typedef struct kube_field {
  const char *name;
  kube_kind_t kind;
  kube_shape_t shape;
  const kube_type_t *type; /* KUBE_T_STRUCT; KUBE_T_RAW whose protobuf form is a struct; else NULL */
  uint16_t proto;          /* protobuf field number, 0: none */
  uint8_t patch;           /* KUBE_PATCH_* */
  kube_list_t list;
  bool map_atomic, required, always, ptr, inlined;
  bool opaque;                  /* what is in it is not validated */
  const char *patch_key;        /* strategic merge key or NULL */
  const char *const *list_keys; /* NULL-terminated or NULL */
  const char *const *enums;     /* NULL-terminated allowed values of a closed enum, or NULL */
  const char *dflt;             /* default as JSON text or NULL */
  const char *named;            /* name of the string type ("core.v1.PullPolicy") or NULL */
  const char *rules;            /* declarative validation markers, one a line, or NULL */
} kube_field_t;
struct kube_type {
  const char *name;           /* "core.v1.PodSpec" */
  const kube_field_t *fields; /* ends with name NULL; inlined structs are already spread for JSON */
  const kube_field_t *own; /* as declared, for protobuf: an embedded struct is one field with `inlined` and name "" */
  bool map_atomic;
  bool checked, defaulted;                  /* there is something to validate or to fill in here or below */
  const struct kube_check_rule *checks;     /* of schema/validate.txt, NULL: none; built-in kinds only */
  const struct kube_default_rule *defaults; /* of schema/defaults.txt */
};

typedef struct kube_column {
  const char *name, *type, *format, *description;
  const char *json_path; /* built-in kinds: .path, or a cell function (plugins/kube/schema/README.md) */
  int priority;
} kube_column_t;

enum {
  KUBE_V_GET = 1,
  KUBE_V_LIST = 2,
  KUBE_V_WATCH = 4,
  KUBE_V_CREATE = 8,
  KUBE_V_UPDATE = 16,
  KUBE_V_PATCH = 32,
  KUBE_V_DELETE = 64,
  KUBE_V_DELETECOLLECTION = 128
};
typedef struct kube_resource {
  const char *group, *version, *resource, *singular, *kind, *list_kind;
  bool namespaced;
  unsigned verbs;                                                           /* KUBE_V_* */
  const char *const *short_names, *const *categories, *const *subresources; /* NULL-terminated, never NULL */
  const kube_type_t *type;
  const char *storage_group,
      *storage_version;         /* version it is stored in; equal to group/version but for e.g. autoscaling/v1 */
  bool has_status, has_spec;    /* spec: generation counts */
  bool virtual_;                /* answered, never stored (reviews) */
  const kube_column_t *columns; /* ends with name NULL; NULL: Name and Age */
  const char *const
      *selectable; /* selectable fields besides metadata.name and metadata.namespace; NULL-terminated or NULL */
  const char *const
      *renamed; /* name shown, name stored, ..., NULL: fields that the stored version calls otherwise; or NULL */
  const struct kube_conversion *conversion; /* more than names differs in the stored version; NULL: nothing more */
  const struct kube_structural *structural; /* of a custom kind: its schema; NULL: built in */
  const struct kube_scale_paths *scale;     /* of a custom kind that has the subresource */
} kube_resource_t;
/* Where a custom kind keeps what its scale shows: "spec.replicas"; selector NULL: nowhere. */
typedef struct kube_scale_paths {
  const char *spec, *status, *selector;
} kube_scale_paths_t;
bool kube_resource_has_sub(const kube_resource_t *r, const char *subresource);

const kube_resource_t *kube_resource_find(kg_str_t group, kg_str_t version, kg_str_t resource); /* NULL: none */
const kube_resource_t *kube_resource_by_kind(kg_str_t group, kg_str_t version, kg_str_t kind);
const kube_resource_t *kube_resource_at(size_t i); /* NULL past the end; in order of group and version priority */
const kube_type_t *kube_type_find(kg_str_t name);
const kube_field_t *kube_field_find(const kube_type_t *t, kg_str_t name);

/* --- what the tables drive: each works on a tree of a whole object of resource r
 * --------------------------------------- */

enum { KUBE_MOST_UNKNOWN = 100 }; /* as many as Kubernetes tells */
/* Checks types and drops (or collects) unknown fields, normalises values (quantities canonical, nulls removed, empty
 * fields that Go would omit removed). `unknown` (may be NULL) gets an array node of path strings ("spec.foo"). 0, or -1
 * with the API server's words for a body that cannot be decoded: `json: cannot unmarshal string into Go struct field
 * PodSpec.spec.replicas of type int32`. */
int kube_decode(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object, kube_node_t *unknown, kg_error_t *err);

/* The same without the fields that are always there: only what was given. */
int kube_decode_given(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object, kube_node_t *unknown,
                      kg_error_t *err);
/* A struct as it is written when nothing of it is given: fields that are always there, with their zeros. */
kube_node_t *kube_empty(kube_arena_t *a, const kube_type_t *t);

/* Fills in defaults: those of the type tables and the kind's own (plugins/kube/schema/defaults). */
void kube_default(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object);

/* A field error list: nodes {reason: "FieldValueInvalid"|"FieldValueRequired"|..., message, field}, as StatusCause. */
/* Validates create (old NULL) or update; appends causes to the array `causes`. status: it is the status that is
 * written, so it is checked, else all but the status. */
void kube_validate(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *object, const kube_node_t *old,
                   bool status, kube_node_t *causes);

/* Whether an update must say which revision of the object it changes. */
bool kube_guarded(const kube_resource_t *r);

/* Patches. The result is a new tree; NULL with a sentence (KG_EINVAL: it is no patch; 422: it cannot be applied, or a
 * test of it failed). */
kube_node_t *kube_patch_json(kube_arena_t *a, const kube_node_t *object, const kube_node_t *patch, kg_error_t *err);
kube_node_t *kube_patch_merge(kube_arena_t *a, const kube_node_t *object, const kube_node_t *patch);
kube_node_t *kube_patch_strategic(kube_arena_t *a, const kube_type_t *t, const kube_node_t *object,
                                  const kube_node_t *patch, kg_error_t *err);

/* A top-level field's name in the stored version and in the one shown (events.k8s.io "note" is core "message"); the
 * same where it has no other. Borrowed from the tables or from the argument. */
kg_str_t kube_stored_name(const kube_resource_t *r, kg_str_t shown);
kg_str_t kube_shown_name(const kube_resource_t *r, kg_str_t stored);
/* A whole object as the stored version has it in the form that r shows, and back; kind and apiVersion stay as they are.
 * The result shares what did not change with `object`, which is left as it is; `object` itself where nothing differs.
 */
kube_node_t *kube_as_shown(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object);
kube_node_t *kube_as_stored(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object);
/* Field selectors, on a stored object: value of a selectable field ("spec.nodeName", "status.phase",
 * "involvedObject.name"...). false: the kind does not support this label. Missing values give an empty string. */
bool kube_selectable(const kube_resource_t *r, kg_view_t object, kg_str_t field, kg_str_t *value);

/* The meta.k8s.io/v1 Table: column definitions of r, then the cells of one object; now_us for ages. */
void kube_table_columns(kg_pack_t *p, const kube_resource_t *r); /* packs the columnDefinitions array */
void kube_table_cells(kg_pack_t *p, const kube_resource_t *r, kg_view_t object,
                      int64_t now_us); /* packs the cells array */

/* All resources that are served, those of one group and version together, groups in order, the preferred version of a
 * group first. */
typedef struct kube_catalog {
  const kube_resource_t *const *all;
  size_t n;
  uint64_t stamp; /* changes when custom kinds do */
} kube_catalog_t;
/* Discovery and OpenAPI as the URLs of the same names show them; each a new document (caller owns) or NULL if there is
 * none. */
kg_doc_t *kube_discovery_doc(const kube_catalog_t *c, const char *what); /* "/api", "/apis", "/api/v1", "/apis/G",
                                                                            "/apis/G/V", "aggregated-api(s)" */
/* What names the content of such a document of v3; false: there is none. */
bool kube_openapi_hash(const kube_catalog_t *c, const char *what, char hash[20]);
kg_doc_t *kube_openapi_doc(const kube_catalog_t *c, const char *what); /* "v2", "v3", "v3/api/v1", "v3/apis/G/V" */

#endif
