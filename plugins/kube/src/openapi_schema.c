/* OpenAPI schemas of the types. */
#include <stdio.h>
#include <string.h>

#include "schema_tables.h"
#include "openapi.h"

void kube_openapi_mark(bool *marks, const kube_type_t *t) {
  if (t < kube_types || t >= kube_types + kube_type_count || marks[t - kube_types]) return;
  marks[t - kube_types] = true;
  for (const kube_field_t *f = t->fields; f->name; f++) {
    if (f->type) kube_openapi_mark(marks, f->type);
  }
}

void kube_openapi_name(char *out, size_t room, const char *type) {
  const char *package = "io.k8s.api.";
  if (strncmp(type, "meta.", 5) == 0) package = "io.k8s.apimachinery.pkg.apis.";
  if (strncmp(type, "apiextensions.", 14) == 0) package = "io.k8s.apiextensions-apiserver.pkg.apis.";
  if (strncmp(type, "apiregistration.", 16) == 0) package = "io.k8s.kube-aggregator.pkg.apis.";
  snprintf(out, room, "%s%s", package, type);
}

/* Types with a JSON form of their own. */
static const struct {
  kube_kind_t kind;
  const char *name, *type, *format;
} specials[] = {
    {KUBE_T_TIME, "io.k8s.apimachinery.pkg.apis.meta.v1.Time", "string", "date-time"},
    {KUBE_T_MICROTIME, "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", "string", "date-time"},
    {KUBE_T_QUANTITY, "io.k8s.apimachinery.pkg.api.resource.Quantity", "string", NULL},
    {KUBE_T_INT_OR_STRING, "io.k8s.apimachinery.pkg.util.intstr.IntOrString", "string", "int-or-string"},
    {KUBE_T_RAW, "io.k8s.apimachinery.pkg.runtime.RawExtension", "object", NULL},
    {KUBE_T_FIELDS, "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", "object", NULL},
};

static void ref(const kube_openapi_t *o, const char *name) {
  kg_pack_map(o->p);
  kg_pack_key(o->p, "$ref");
  kg_pack_fmt(o->p, "%s%s", o->prefix, name);
  kg_pack_end(o->p);
}

void kube_openapi_ref(const kube_openapi_t *o, const kube_type_t *t) {
  char name[256];
  kube_openapi_name(name, sizeof name, t->name);
  ref(o, name);
}

static const char *special_name(const kube_field_t *f) {
  for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
    if (specials[i].kind == f->kind) return specials[i].name;
  }
  return NULL;
}

/* type and format of plain values. */
static void scalar(kg_pack_t *p, const kube_field_t *f) {
  const char *type = "string", *format = NULL;
  if (f->kind == KUBE_T_BOOL) type = "boolean";
  if (f->kind == KUBE_T_INT32 || f->kind == KUBE_T_INT64) type = "integer";
  if (f->kind == KUBE_T_INT32) format = "int32";
  if (f->kind == KUBE_T_INT64) format = "int64";
  if (f->kind == KUBE_T_FLOAT) type = "number", format = "double";
  if (f->kind == KUBE_T_BYTES) format = "byte";
  kg_pack_kv_str(p, "type", type);
  if (format) kg_pack_kv_str(p, "format", format);
  if (f->enums) {
    kg_pack_key(p, "enum");
    kg_pack_array(p);
    for (const char *const *e = f->enums; *e; e++) kg_pack_str(p, *e);
    kg_pack_end(p);
  }
}

/* Pairs that describe one value; a reference with other pairs beside it needs allOf in v3. */
static void value_pairs(const kube_openapi_t *o, const kube_field_t *f, bool alone) {
  const char *special = special_name(f);
  char name[256];
  if (f->kind == KUBE_T_STRUCT || (f->kind == KUBE_T_RAW && f->type)) {
    kube_openapi_name(name, sizeof name, f->type->name);
    special = name;
  }
  if (!special) {
    scalar(o->p, f);
  } else if (o->v3 && !alone) {
    kg_pack_key(o->p, "allOf");
    kg_pack_array(o->p);
    ref(o, special);
    kg_pack_end(o->p);
  } else {
    kg_pack_key(o->p, "$ref");
    kg_pack_fmt(o->p, "%s%s", o->prefix, special);
  }
}

static void value(const kube_openapi_t *o, const kube_field_t *f) {
  kg_pack_map(o->p);
  value_pairs(o, f, true);
  kg_pack_end(o->p);
}

static void pack_list_type(kg_pack_t *p, const kube_field_t *f) {
  if (f->shape == KUBE_LIST) {
    static const char *const names[] = {
        [KUBE_LIST_ATOMIC] = "atomic", [KUBE_LIST_SET] = "set", [KUBE_LIST_MAP] = "map"};
    kg_pack_kv_str(p, "x-kubernetes-list-type", names[f->list]);
    if (f->list_keys) {
      kg_pack_key(p, "x-kubernetes-list-map-keys");
      kg_pack_array(p);
      for (const char *const *k = f->list_keys; *k; k++) kg_pack_str(p, *k);
      kg_pack_end(p);
    }
  }
  if (f->map_atomic) kg_pack_kv_str(p, "x-kubernetes-map-type", "atomic");
  if (f->patch_key) kg_pack_kv_str(p, "x-kubernetes-patch-merge-key", f->patch_key);
  if (f->patch) {
    bool keys = f->patch & KUBE_PATCH_RETAIN_KEYS, merge = f->patch & KUBE_PATCH_MERGE;
    kg_pack_kv_str(p, "x-kubernetes-patch-strategy",
                   keys    ? (merge ? "merge,retainKeys" : "retainKeys")
                   : merge ? "merge"
                           : "replace");
  }
}

static void field(const kube_openapi_t *o, const kube_field_t *f, kg_str_t says) {
  kg_pack_t *p = o->p;
  kg_pack_key(p, f->name);
  kg_pack_map(p);
  kube_explain_pack(p, says);
  if (f->shape == KUBE_LIST) {
    kg_pack_kv_str(p, "type", "array");
    kg_pack_key(p, "items");
    value(o, f);
  } else if (f->shape == KUBE_MAP) {
    kg_pack_kv_str(p, "type", "object");
    kg_pack_key(p, "additionalProperties");
    value(o, f);
  } else if (f->shape == KUBE_MAP_LIST) {
    kg_pack_kv_str(p, "type", "object");
    kg_pack_key(p, "additionalProperties");
    kg_pack_map(p);
    kg_pack_kv_str(p, "type", "array");
    kg_pack_key(p, "items");
    value(o, f);
    kg_pack_end(p);
  } else {
    value_pairs(o, f, !f->patch && !f->map_atomic && !f->dflt && !says.n);
  }
  pack_list_type(p, f);
  if (f->dflt) {
    kube_arena_t *a = kube_arena_new();
    kg_pack_key(p, "default");
    kube_tree_pack(kube_literal(a, f->dflt), p);
    kube_arena_free(a);
  }
  kg_pack_end(p);
}

static void pack_kinds(kg_pack_t *p, const kube_type_t *t) {
  bool open = false;
  for (size_t i = 0; i < kube_resource_count; i++) {
    const kube_resource_t *r = &kube_resources[i];
    size_t n = strlen(r->type->name);
    bool list = strncmp(t->name, r->type->name, n) == 0 && strcmp(t->name + n, "List") == 0;
    if (r->type != t && !list) continue;
    if (!open) kg_pack_key(p, "x-kubernetes-group-version-kind"), kg_pack_array(p);
    open = true;
    kg_pack_map(p);
    kg_pack_kv_str(p, "group", r->group);
    kg_pack_kv_str(p, "kind", list ? r->list_kind : r->kind);
    kg_pack_kv_str(p, "version", r->version);
    kg_pack_end(p);
  }
  if (open) kg_pack_end(p);
}

/* A struct in the tables that JSON writes as a value of several shapes. */
static bool is_union(const kube_type_t *t) {
  return strncmp(t->name, "apiextensions.v1.JSONSchemaPropsOr", 34) == 0;
}

/* What is said of objects and lists in general: NULL: it is neither. */
static const char *said_of_all(const kube_type_t *t) {
  if (!kube_field_find(t, KG_STR("metadata"))) return NULL;
  return kube_explain_of(kube_field_find(t, KG_STR("items")) ? "list" : "object");
}

static void type_schema(const kube_openapi_t *o, const kube_type_t *t) {
  kg_pack_t *p = o->p;
  const char *own = kube_explain_of(t->name), *all = said_of_all(t);
  kg_pack_map(p);
  kube_explain_pack(p, kube_explain(own, NULL));
  if (!is_union(t)) {
    bool required = false;
    kg_pack_kv_str(p, "type", "object");
    if (t->fields->name) {
      kg_pack_key(p, "properties");
      kg_pack_map(p);
      for (const kube_field_t *f = t->fields; f->name; f++) {
        kg_str_t says = kube_explain(own, f->name);
        field(o, f, says.n ? says : kube_explain(all, f->name));
        required |= f->required;
      }
      kg_pack_end(p);
    }
    if (required) {
      kg_pack_key(p, "required");
      kg_pack_array(p);
      for (const kube_field_t *f = t->fields; f->name; f++) {
        if (f->required) kg_pack_str(p, f->name);
      }
      kg_pack_end(p);
    }
  }
  if (t->map_atomic) kg_pack_kv_str(p, "x-kubernetes-map-type", "atomic");
  pack_kinds(p, t);
  kg_pack_end(p);
}

void kube_openapi_schemas(const kube_openapi_t *o, const bool *marks) {
  for (size_t i = 0; i < kube_type_count; i++) {
    if (!marks[i]) continue;
    char name[256];
    kube_openapi_name(name, sizeof name, kube_types[i].name);
    kg_pack_key(o->p, name);
    type_schema(o, &kube_types[i]);
  }
  for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
    kg_pack_key(o->p, specials[i].name);
    kg_pack_map(o->p);
    if (o->v3 && (specials[i].kind == KUBE_T_QUANTITY || specials[i].kind == KUBE_T_INT_OR_STRING)) {
      kg_pack_key(o->p, "oneOf");
      kg_pack_array(o->p);
      kg_pack_map(o->p);
      kg_pack_kv_str(o->p, "type", "string");
      kg_pack_end(o->p);
      kg_pack_map(o->p);
      kg_pack_kv_str(o->p, "type", specials[i].kind == KUBE_T_QUANTITY ? "number" : "integer");
      kg_pack_end(o->p);
      kg_pack_end(o->p);
    } else {
      kg_pack_kv_str(o->p, "type", specials[i].type);
    }
    if (specials[i].format) kg_pack_kv_str(o->p, "format", specials[i].format);
    kg_pack_end(o->p);
  }
}
