/* OpenAPI documents v2 and v3: paths of the resources, schemas of the types they reach. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "openapi.h"

#define TITLE "Kubernetes"
#define VERSION "v1.37.0"

/* --- paths
 * ------------------------------------------------------------------------------------------------------------------ */

static void parameter(const kube_openapi_t *o, const char *name, const char *in, const char *type) {
  kg_pack_t *p = o->p;
  kg_pack_map(p);
  kg_pack_kv_str(p, "name", name);
  kg_pack_kv_str(p, "in", in);
  if (strcmp(in, "path") == 0) kg_pack_kv_bool(p, "required", true);
  if (o->v3) {
    kg_pack_key(p, "schema");
    kg_pack_map(p);
  }
  kg_pack_kv_str(p, "type", type);
  kg_pack_kv_bool(p, "uniqueItems", true);
  if (o->v3) kg_pack_end(p);
  kg_pack_end(p);
}

typedef struct operation {
  const char *method, *action, *id; /* "get", "list", "list" */
  bool collection, body, list_answer;
  unsigned verb;
} operation_t;
static const operation_t operations[] = {
    {"get", "list", "list", true, false, true, KUBE_V_LIST},
    {"post", "post", "create", true, true, false, KUBE_V_CREATE},
    {"delete", "deletecollection", "deleteCollection", true, false, false, KUBE_V_DELETECOLLECTION},
    {"get", "get", "read", false, false, false, KUBE_V_GET},
    {"put", "put", "replace", false, true, false, KUBE_V_UPDATE},
    {"patch", "patch", "patch", false, true, false, KUBE_V_PATCH},
    {"delete", "delete", "delete", false, false, false, KUBE_V_DELETE},
};

static const char *const media_json = "application/json";

static void content(const kube_openapi_t *o, const char *media, const kube_resource_t *r, bool list) {
  kg_pack_key(o->p, "content");
  kg_pack_map(o->p);
  kg_pack_key(o->p, media);
  kg_pack_map(o->p);
  kg_pack_key(o->p, "schema");
  kube_openapi_ref_resource(o, r, list);
  kg_pack_end(o->p);
  kg_pack_end(o->p);
}

/* kubectl apply and diff send custom kinds a merge patch because the strategic one is not among theirs. */
static void patches(kg_pack_t *p, const kube_resource_t *r) {
  static const char *const media[] = {"application/apply-patch+yaml", "application/json-patch+json",
                                      "application/merge-patch+json", "application/strategic-merge-patch+json"};
  kg_pack_key(p, "content");
  kg_pack_map(p);
  for (int i = 0; i < (r->structural ? 3 : 4); i++) {
    kg_pack_key(p, media[i]);
    kg_pack_map(p);
    kg_pack_key(p, "schema");
    kg_pack_map(p);
    kg_pack_kv_str(p, "type", "object");
    kg_pack_end(p);
    kg_pack_end(p);
  }
  kg_pack_end(p);
}

static void responses(const kube_openapi_t *o, const kube_resource_t *r, bool list) {
  kg_pack_key(o->p, "responses");
  kg_pack_map(o->p);
  kg_pack_key(o->p, "200");
  kg_pack_map(o->p);
  kg_pack_kv_str(o->p, "description", "OK");
  if (o->v3) {
    content(o, media_json, r, list);
  } else {
    kg_pack_key(o->p, "schema");
    kube_openapi_ref_resource(o, r, list);
  }
  kg_pack_end(o->p);
  kg_pack_end(o->p);
}

static void parameters(const kube_openapi_t *o, const operation_t *op, const kube_resource_t *r) {
  kg_pack_t *p = o->p;
  kg_pack_key(p, "parameters");
  kg_pack_array(p);
  if (op->verb != KUBE_V_GET && op->verb != KUBE_V_LIST) parameter(o, "dryRun", "query", "string");
  if (op->body) {
    parameter(o, "fieldManager", "query", "string");
    parameter(o, "fieldValidation", "query", "string");
  }
  if (op->verb == KUBE_V_PATCH) parameter(o, "force", "query", "boolean");
  if (op->body && !o->v3) {
    kg_pack_map(p);
    kg_pack_kv_str(p, "name", "body");
    kg_pack_kv_str(p, "in", "body");
    kg_pack_kv_bool(p, "required", true);
    kg_pack_key(p, "schema");
    kube_openapi_ref_resource(o, r, false);
    kg_pack_end(p);
  }
  kg_pack_end(p);
}

static void operation(const kube_openapi_t *o, const operation_t *op, const kube_resource_t *r) {
  kg_pack_t *p = o->p;
  kg_pack_key(p, op->method);
  kg_pack_map(p);
  kg_pack_key(p, "operationId");
  kg_pack_fmt(p, "%s%s%s", op->id, r->namespaced ? "Namespaced" : "", r->kind);
  parameters(o, op, r);
  if (op->body && o->v3) {
    kg_pack_key(p, "requestBody");
    kg_pack_map(p);
    if (op->verb == KUBE_V_PATCH)
      patches(p, r);
    else
      content(o, "*/*", r, false);
    kg_pack_kv_bool(p, "required", true);
    kg_pack_end(p);
  }
  responses(o, r, op->list_answer);
  kg_pack_kv_str(p, "x-kubernetes-action", op->action);
  kg_pack_key(p, "x-kubernetes-group-version-kind");
  kg_pack_map(p);
  kg_pack_kv_str(p, "group", r->group);
  kg_pack_kv_str(p, "kind", r->kind);
  kg_pack_kv_str(p, "version", r->version);
  kg_pack_end(p);
  kg_pack_end(p);
}

static void resource_paths(const kube_openapi_t *o, const kube_resource_t *r) {
  for (int collection = 1; collection >= 0; collection--) {
    if (!collection && !(r->verbs & ~(unsigned)(KUBE_V_CREATE | KUBE_V_LIST | KUBE_V_WATCH))) return;
    kg_pack_fmt(o->p, "/%s%s/%s/%s%s%s", *r->group ? "apis/" : "api", r->group, r->version,
                r->namespaced ? "namespaces/{namespace}/" : "", r->resource, collection ? "" : "/{name}");
    kg_pack_map(o->p);
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
      const operation_t *op = &operations[i];
      if (op->collection == (bool)collection && (r->verbs & op->verb)) operation(o, op, r);
    }
    kg_pack_key(o->p, "parameters");
    kg_pack_array(o->p);
    if (!collection) parameter(o, "name", "path", "string");
    if (r->namespaced) parameter(o, "namespace", "path", "string");
    kg_pack_end(o->p);
    kg_pack_end(o->p);
  }
}

/* --- documents
 * ----------------------------------------------------------------------------------------------------------------- */

/* group NULL: all. Marks the types of the resources written; false if there is none. */
static bool paths(const kube_catalog_t *c, const kube_openapi_t *o, const char *group, const char *version,
                  bool *marks) {
  bool any = false;
  kg_pack_key(o->p, "paths");
  kg_pack_map(o->p);
  for (size_t i = 0; i < c->n; i++) {
    const kube_resource_t *r = c->all[i];
    if (group && (strcmp(r->group, group) != 0 || strcmp(r->version, version) != 0)) continue;
    any = true;
    resource_paths(o, r);
    kube_openapi_mark(marks, r->type);
    if (kube_openapi_list_type(r)) kube_openapi_mark(marks, kube_openapi_list_type(r));
  }
  kg_pack_end(o->p);
  return any;
}

static void info(kg_pack_t *p) {
  kg_pack_key(p, "info");
  kg_pack_map(p);
  kg_pack_kv_str(p, "title", TITLE);
  kg_pack_kv_str(p, "version", VERSION);
  kg_pack_end(p);
}

static kg_doc_t *document(const kube_catalog_t *c, bool v3, const char *group, const char *version) {
  bool *marks = calloc(kube_type_count, sizeof *marks);
  if (!marks) return NULL;
  kg_pack_t p = kg_pack();
  kube_openapi_t o = {.p = &p, .prefix = v3 ? "#/components/schemas/" : "#/definitions/", .v3 = v3};
  kg_pack_map(&p);
  kg_pack_kv_str(&p, v3 ? "openapi" : "swagger", v3 ? "3.0.0" : "2.0");
  info(&p);
  bool any = paths(c, &o, group, version, marks);
  kg_pack_key(&p, v3 ? "components" : "definitions");
  kg_pack_map(&p);
  if (v3) {
    kg_pack_key(&p, "schemas");
    kg_pack_map(&p);
  }
  kube_openapi_schemas(&o, marks);
  for (size_t i = 0; i < c->n; i++)
    if (c->all[i]->structural && (!group || (!strcmp(c->all[i]->group, group) && !strcmp(c->all[i]->version, version))))
      kube_openapi_custom(&o, c->all[i]);
  if (v3) kg_pack_end(&p);
  kg_pack_end(&p);
  kg_pack_end(&p);
  free(marks);
  if (any) return kg_pack_doc(&p);
  kg_pack_free(&p);
  return NULL;
}

/* Changes when the tables do: clients keep a document as long as its hash stays the same. */
static uint64_t tables_hash(void) {
  static const unsigned form_of_paths = 2; /* what is written around the tables, by hand */
  uint64_t h = kg_hash(KG_HASH_START, kube_explain_text, kube_explain_size);
  h = kg_hash(h, &form_of_paths, sizeof form_of_paths);
  for (size_t i = 0; i < kube_type_count; i++) {
    for (const kube_field_t *f = kube_types[i].fields; f->name; f++) {
      const unsigned form = f->kind * 64u + f->shape * 16u + f->list * 4u + f->patch;
      h = kg_hash(kg_hash_str(h, kg_str(f->name)), &form, sizeof form);
    }
  }
  return h;
}

/* Of the document of one group's version: what custom kinds look like changes with the catalog. */
static unsigned long long hash_of(const kube_catalog_t *c, const kube_resource_t *r) {
  unsigned long long tables = tables_hash();
  return r->structural ? kg_hash(tables, &c->stamp, sizeof c->stamp) : tables;
}

static void path_of(const kube_resource_t *r, char path[192]) {
  snprintf(path, 192, "%s%s/%s", *r->group ? "apis/" : "api", r->group, r->version);
}

bool kube_openapi_hash(const kube_catalog_t *c, const char *what, char hash[20]) {
  char path[192];
  for (size_t i = 0; i < c->n && strncmp(what, "v3/", 3) == 0; i++) {
    path_of(c->all[i], path);
    if (strcmp(path, what + 3) != 0) continue;
    snprintf(hash, 20, "%016llX", hash_of(c, c->all[i]));
    return true;
  }
  return false;
}

static kg_doc_t *index_v3(const kube_catalog_t *c) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "paths");
  kg_pack_map(&p);
  for (size_t i = 0; i < c->n; i++) {
    const kube_resource_t *r = c->all[i];
    if (i && strcmp(r->group, c->all[i - 1]->group) == 0 && strcmp(r->version, c->all[i - 1]->version) == 0) continue;
    char path[192];
    path_of(r, path);
    kg_pack_key(&p, path);
    kg_pack_map(&p);
    kg_pack_key(&p, "serverRelativeURL");
    kg_pack_fmt(&p, "/openapi/v3/%s?hash=%016llX", path, hash_of(c, r));
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

kg_doc_t *kube_openapi_doc(const kube_catalog_t *c, const char *what) {
  if (strcmp(what, "v2") == 0) return document(c, false, NULL, NULL);
  if (strcmp(what, "v3") == 0) return index_v3(c);
  if (strncmp(what, "v3/api/", 7) == 0) return document(c, true, "", what + 7);
  if (strncmp(what, "v3/apis/", 8) != 0) return NULL;
  const char *group = what + 8, *slash = strchr(group, '/');
  if (!slash || slash == group) return NULL;
  char name[128];
  snprintf(name, sizeof name, "%.*s", (int)(slash - group), group);
  return document(c, true, name, slash + 1);
}
