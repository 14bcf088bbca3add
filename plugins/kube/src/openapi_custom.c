/* OpenAPI of custom kinds: the schemas of their definitions. */
#include <stdio.h>
#include <string.h>

#include "openapi.h"
#include "structural.h"

/* "io.ex.v1.Widget" of ex.io/v1 Widget: the group's parts from the last to the first. */
static void custom_name(char *out, size_t room, const kube_resource_t *r, bool list) {
  size_t n = 0, end = strlen(r->group);
  while (end && n + 1 < room) {
    size_t start = end;
    while (start && r->group[start - 1] != '.') start--;
    n += (size_t)snprintf(out + n, room - n, "%.*s.", (int)(end - start), r->group + start);
    end = start ? start - 1 : 0;
  }
  if (n < room) snprintf(out + n, room - n, "%s.%s", r->version, list ? r->list_kind : r->kind);
}

static void ref(const kube_openapi_t *o, const char *name) {
  kg_pack_map(o->p);
  kg_pack_key(o->p, "$ref");
  kg_pack_fmt(o->p, "%s%s", o->prefix, name);
  kg_pack_end(o->p);
}

const kube_type_t *kube_openapi_list_type(const kube_resource_t *r) {
  char name[256];
  snprintf(name, sizeof name, "%sList", r->type->name);
  return r->structural ? NULL : kube_type_find(kg_str(name));
}

void kube_openapi_ref_resource(const kube_openapi_t *o, const kube_resource_t *r, bool list) {
  char name[512];
  if (r->structural) {
    custom_name(name, sizeof name, r, list);
    return ref(o, name);
  }
  const kube_type_t *t = list ? kube_openapi_list_type(r) : NULL;
  kube_openapi_ref(o, t ? t : r->type);
}

static void pack_gvk(kg_pack_t *p, const kube_resource_t *r, const char *kind) {
  kg_pack_key(p, "x-kubernetes-group-version-kind");
  kg_pack_array(p);
  kg_pack_map(p);
  kg_pack_kv_str(p, "group", r->group);
  kg_pack_kv_str(p, "kind", kind);
  kg_pack_kv_str(p, "version", r->version);
  kg_pack_end(p);
  kg_pack_end(p);
}

static void pack_string(kg_pack_t *p, const char *what, const char *name) {
  kg_pack_key(p, name);
  kg_pack_map(p);
  kube_explain_pack(p, kube_explain(kube_explain_of(what), name));
  kg_pack_kv_str(p, "type", "string");
  kg_pack_end(p);
}

/* What every object or list has; a reference with a description beside it needs allOf in v3. */
static void pack_head(const kube_openapi_t *o, const char *what, const char *meta) {
  char name[256];
  kube_openapi_name(name, sizeof name, meta);
  pack_string(o->p, what, "apiVersion");
  pack_string(o->p, what, "kind");
  kg_pack_key(o->p, "metadata");
  kg_pack_map(o->p);
  kube_explain_pack(o->p, kube_explain(kube_explain_of(what), "metadata"));
  kg_pack_key(o->p, o->v3 ? "allOf" : "$ref");
  if (o->v3) {
    kg_pack_array(o->p);
    ref(o, name);
    kg_pack_end(o->p);
  } else {
    kg_pack_fmt(o->p, "%s%s", o->prefix, name);
  }
  kg_pack_end(o->p);
}

static void pack_properties(const kube_openapi_t *o, kg_view_t properties) {
  kg_pack_key(o->p, "properties");
  kg_pack_map(o->p);
  pack_head(o, "object", "meta.v1.ObjectMeta");
  for (kg_iter_t it = kg_iter(properties); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key);
    if (kg_str_is(key, "apiVersion") || kg_str_is(key, "kind") || kg_str_is(key, "metadata")) continue;
    kg_pack_strn(o->p, key);
    kg_pack_view(o->p, it.value);
  }
  kg_pack_end(o->p);
}

static void pack_list(const kube_openapi_t *o, const kube_resource_t *r) {
  char name[512];
  custom_name(name, sizeof name, r, true);
  kg_pack_key(o->p, name);
  kg_pack_map(o->p);
  kg_pack_kv_str(o->p, "type", "object");
  kg_pack_key(o->p, "required");
  kg_pack_array(o->p);
  kg_pack_str(o->p, "items");
  kg_pack_end(o->p);
  kg_pack_key(o->p, "properties");
  kg_pack_map(o->p);
  pack_head(o, "list", "meta.v1.ListMeta");
  kg_pack_key(o->p, "items");
  kg_pack_map(o->p);
  kg_pack_kv_str(o->p, "type", "array");
  kg_pack_key(o->p, "items");
  kube_openapi_ref_resource(o, r, false);
  kg_pack_end(o->p);
  kg_pack_end(o->p);
  pack_gvk(o->p, r, r->list_kind);
  kg_pack_end(o->p);
}

static void pack_schema(const kube_openapi_t *o, kg_view_t schema) {
  for (kg_iter_t it = kg_iter(schema); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key);
    if (kg_str_is(key, "properties")) continue;
    kg_pack_strn(o->p, key);
    kg_pack_view(o->p, it.value);
  }
  pack_properties(o, kg_view_get(schema, "properties"));
}

void kube_openapi_custom(const kube_openapi_t *o, const kube_resource_t *r) {
  char name[512];
  kg_view_t schema = kg_view_of(r->structural->doc);
  custom_name(name, sizeof name, r, false);
  kg_pack_key(o->p, name);
  kg_pack_map(o->p);
  /* In v2 an object that may have any field has none listed: kubectl takes the fields it reads for all there are. */
  if (!o->v3 && kg_view_bool(kg_view_get(schema, "x-kubernetes-preserve-unknown-fields"), false))
    kg_pack_kv_str(o->p, "type", "object");
  else
    pack_schema(o, schema);
  pack_gvk(o->p, r, r->kind);
  kg_pack_end(o->p);
  pack_list(o, r);
}
