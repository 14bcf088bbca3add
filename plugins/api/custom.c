/* The kinds that definitions add: compiled, found, retired. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "custom.h"

enum { RETIRE_MS = 120000 }; /* longer than any request lives */

/* --- compiling --------------------------------------------------------------------------------------------------- */

static const char *text(kube_arena_t *a, kg_view_t v) {
  return kube_arena_fmt(a, KG_STR_FMT, KG_STR_ARG(kg_view_str(v)));
}

static const char *const *texts(kube_arena_t *a, kg_view_t list) {
  const char **out = kube_arena_alloc(a, (kg_view_count(list) + 1) * sizeof *out);
  size_t n = 0;
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);) out[n++] = text(a, it.value);
  return out;
}

/* ".spec.mode" -> "spec.mode" */
static const char *path(kube_arena_t *a, kg_view_t v) {
  const char *t = text(a, v);
  return *t == '.' ? t + 1 : t;
}

static const char *const *selectable(kube_arena_t *a, kg_view_t list) {
  const char **out = kube_arena_alloc(a, (kg_view_count(list) + 1) * sizeof *out);
  size_t n = 0;
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);) out[n++] = path(a, kg_view_get(it.value, "jsonPath"));
  return n ? out : NULL;
}

#define NAME_WORDS                                                                                                     \
  "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a "  \
  "client to request the generation of an appropriate name automatically. Name is primarily intended for creation "    \
  "idempotence and configuration definition. Cannot be updated. More info: "                                           \
  "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
#define AGE_WORDS                                                                                                      \
  "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed "  \
  "to be set in happens-before order across separate operations. Clients may not set this value. It is represented "   \
  "in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: "                  \
  "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"

static const kube_column_t *columns(kube_arena_t *a, kg_view_t list) {
  size_t n = kg_view_count(list);
  kube_column_t *out = kube_arena_alloc(a, (n + 3) * sizeof *out), *c = out;
  *c++ = (kube_column_t){"Name", "string", "name", NAME_WORDS, "name", 0};
  if (!n) *c++ = (kube_column_t){"Age", "date", "", AGE_WORDS, "age", 0};
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it); c++) {
    const char *json = text(a, kg_view_get(it.value, "jsonPath")),
               *words = text(a, kg_view_get(it.value, "description"));
    c->name = text(a, kg_view_get(it.value, "name"));
    c->type = text(a, kg_view_get(it.value, "type"));
    c->format = text(a, kg_view_get(it.value, "format"));
    c->description =
        *words ? words : kube_arena_fmt(a, "Custom resource definition column (in JSONPath format): %s", json);
    c->json_path = kube_arena_fmt(a, "custom(%s)", json);
    c->priority = (int)kg_view_int(kg_view_get(it.value, "priority"), 0);
  }
  return out;
}

static const char *const *subresources(kube_arena_t *a, custom_version_t *v, kg_view_t subs) {
  const char **out = kube_arena_alloc(a, 3 * sizeof *out);
  kg_view_t scale = kg_view_get(subs, "scale"), selector = kg_view_get(scale, "labelSelectorPath");
  size_t n = 0;
  v->r.scale = NULL;
  if (kg_view_type(scale) == KG_V_MAP) {
    v->scale = (kube_scale_paths_t){path(a, kg_view_get(scale, "specReplicasPath")),
                                    path(a, kg_view_get(scale, "statusReplicasPath")),
                                    kg_view_str(selector).n ? path(a, selector) : NULL};
    v->r.scale = &v->scale;
    out[n++] = "scale";
  }
  v->r.has_status = kg_view_type(kg_view_get(subs, "status")) == KG_V_MAP;
  if (v->r.has_status) out[n++] = "status";
  return out;
}

enum { ALL_VERBS = 255 };

static void fill_version(custom_t *k, custom_version_t *v, kg_view_t spec, kg_view_t version, const char *storage) {
  kube_arena_t *a = k->arena;
  kg_view_t names = kg_view_get(spec, "names");
  v->served = kg_view_bool(kg_view_get(version, "served"), false);
  v->storage = kg_view_bool(kg_view_get(version, "storage"), false);
  v->deprecated = kg_view_bool(kg_view_get(version, "deprecated"), false);
  kube_resource_t *r = &v->r;
  r->group = text(a, kg_view_get(spec, "group"));
  r->version = text(a, kg_view_get(version, "name"));
  r->resource = text(a, kg_view_get(names, "plural"));
  r->singular = text(a, kg_view_get(names, "singular"));
  r->kind = text(a, kg_view_get(names, "kind"));
  r->list_kind = text(a, kg_view_get(names, "listKind"));
  r->namespaced = kg_str_is(arg_str(spec, "scope"), "Namespaced");
  r->verbs = ALL_VERBS;
  r->short_names = texts(a, kg_view_get(names, "shortNames"));
  r->categories = texts(a, kg_view_get(names, "categories"));
  r->subresources = subresources(a, v, kg_view_get(version, "subresources"));
  r->type = kube_type_find(KG_STR("meta.v1.PartialObjectMetadata"));
  r->storage_group = r->group;
  r->storage_version = storage;
  r->has_spec = true;
  r->columns = columns(a, kg_view_get(version, "additionalPrinterColumns"));
  r->selectable = selectable(a, kg_view_get(version, "selectableFields"));
  r->structural = v->schema;
  const char *own = text(a, kg_view_get(version, "deprecationWarning"));
  v->warning = *own ? own : kube_arena_fmt(a, "%s/%s %s is deprecated", r->group, r->version, r->kind);
}

/* --- retiring: requests may still hold what was replaced -----------------------------------------------------------
 */

typedef struct retired {
  struct retired *next;
  kube_arena_t *arena;
  kg_doc_t *doc;
  kube_structural_t **schemas;
  size_t n;
  custom_t *whole; /* and its collection */
} retired_t;

static void retired_free(api_t *api, retired_t *r) {
  for (size_t i = 0; i < r->n; i++) kube_structural_free(r->schemas[i]);
  free(r->schemas);
  kube_arena_free(r->arena);
  kg_doc_unref(r->doc);
  if (r->whole) {
    for (size_t i = 0; i < r->whole->nversions; i++) free(r->whole->versions[i]);
    cache_drop(api, r->whole->c);
    free(r->whole->versions);
    free(r->whole->name);
    free(r->whole);
  }
  free(r);
}

static void on_retired(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx;
  api_t *api = self;
  for (retired_t **at = (retired_t **)&api->retired; *at; at = &(*at)->next)
    if (*at == arg) {
      *at = (*at)->next;
      break;
    }
  retired_free(api, arg);
}

static void retire(api_t *api, custom_t *k, bool whole) {
  retired_t *r = calloc(1, sizeof *r);
  if (!r) return; /* kept for ever then */
  *r = (retired_t){.next = api->retired, .arena = k->arena, .doc = k->doc, .whole = whole ? k : NULL};
  r->schemas = calloc(k->nversions + 1, sizeof *r->schemas);
  for (size_t i = 0; r->schemas && i < k->nversions; i++) r->schemas[r->n++] = k->versions[i]->schema;
  api->retired = r;
  k->arena = NULL;
  k->doc = NULL;
  kg_timer(api->ctx, RETIRE_MS, 0, on_retired, r);
}

/* --- definitions ---------------------------------------------------------------------------------------------------
 */

static custom_t *find_custom(const api_t *api, kg_str_t name) {
  for (custom_t *k = api->customs; k; k = k->next)
    if (kg_str_is(name, k->name)) return k;
  return NULL;
}

static custom_version_t *version_of(custom_t *k, kg_str_t name) {
  for (size_t i = 0; i < k->nversions; i++)
    if (kg_str_is(name, k->versions[i]->r.version)) return k->versions[i];
  custom_version_t **more = realloc(k->versions, (k->nversions + 1) * sizeof *more);
  custom_version_t *v = more ? calloc(1, sizeof *v) : NULL;
  if (more) k->versions = more;
  if (v) k->versions[k->nversions++] = v;
  return v;
}

static const char *storage_of(kube_arena_t *a, kg_view_t versions) {
  for (kg_iter_t it = kg_iter(versions); kg_iter_next(&it);)
    if (kg_view_bool(kg_view_get(it.value, "storage"), false)) return text(a, kg_view_get(it.value, "name"));
  return "";
}

static void compile(api_t *api, custom_t *k) {
  kg_view_t spec = kg_view_get(kg_view_of(k->doc), "spec"), versions = kg_view_get(spec, "versions");
  const char *storage = storage_of(k->arena, versions);
  for (size_t i = 0; i < k->nversions; i++) k->versions[i]->gone = true, k->versions[i]->schema = NULL;
  for (kg_iter_t it = kg_iter(versions); kg_iter_next(&it);) {
    custom_version_t *v = version_of(k, arg_str(it.value, "name"));
    kg_view_t schema = kg_view_path(it.value, "schema", "openAPIV3Schema", NULL);
    kg_error_t err = {0};
    if (!v) continue;
    v->schema = kube_structural_new(schema, &err);
    v->gone = !v->schema;
    if (v->gone) kg_log(api->ctx, KG_LOG_WARN, "definition %s: %s", k->name, err.text);
    if (!v->gone) fill_version(k, v, spec, it.value, storage);
  }
  for (size_t i = 0; i < k->nversions; i++)
    if (k->versions[i]->storage && !k->versions[i]->gone && k->c) k->c->r = &k->versions[i]->r;
}

static void ensure_collection(api_t *api, custom_t *k) {
  for (size_t i = 0; i < k->nversions && !k->c; i++)
    if (k->versions[i]->storage && !k->versions[i]->gone) k->c = cache_add(api, &k->versions[i]->r);
}

static custom_t *new_custom(api_t *api, kg_str_t name) {
  custom_t *k = calloc(1, sizeof *k);
  if (!k || !(k->name = kg_str_dup(name))) {
    free(k);
    return NULL;
  }
  custom_t **at = &api->customs; /* in order of their names */
  while (*at && kg_str_cmp(kg_str((*at)->name), name) < 0) at = &(*at)->next;
  k->next = *at;
  return *at = k;
}

static void drop(api_t *api, kg_str_t name) {
  for (custom_t **at = &api->customs; *at; at = &(*at)->next) {
    custom_t *k = *at;
    if (!kg_str_is(name, k->name)) continue;
    *at = k->next;
    if (k->c) cache_close(api, k->c);
    return retire(api, k, true);
  }
}

kg_doc_t *custom_defaulted(const kube_resource_t *r, kg_doc_t *doc) {
  kube_arena_t *a = kube_arena_new();
  kube_node_t *object = a ? kube_tree_parse(a, kg_view_of(doc)) : NULL;
  if (object) kube_default(a, r, object);
  kg_doc_t *now = object ? kube_tree_doc(object) : NULL;
  kube_arena_free(a);
  if (now && !kg_view_equal(kg_view_of(now), kg_view_of(doc))) return now;
  kg_doc_unref(now);
  return kg_doc_ref(doc);
}

/* Objects that were stored before their schema had a default are read with it. */
static void default_stored(collection_t *c) {
  sorted_pos_t pos = {0, 0};
  for (object_t *o; (o = sorted_at(&c->objects, &pos));) {
    kg_doc_t *was = o->doc;
    o->doc = custom_defaulted(c->r, was);
    kg_doc_unref(was);
  }
}

static void take(api_t *api, const object_t *o) {
  custom_t *k = find_custom(api, object_key(o));
  if (k) retire(api, k, false);
  if (!k) k = new_custom(api, object_key(o));
  if (!k) return;
  k->arena = kube_arena_new();
  k->doc = kg_doc_ref(o->doc);
  k->established = kube_condition_holds(object_view(o), "Established");
  k->deleting = kube_deleting(object_view(o));
  compile(api, k);
  ensure_collection(api, k);
  if (k->c && k->c->r->structural) default_stored(k->c);
}

void custom_seen(api_t *api, const object_t *now, kg_str_t name) {
  api->custom_stamp++;
  if (now)
    take(api, now);
  else
    drop(api, name);
  if (api->loaded) definition_seen(api);
}

void custom_free(api_t *api) {
  while (api->customs) {
    custom_t *k = api->customs;
    api->customs = k->next;
    for (size_t i = 0; i < k->nversions; i++) {
      kube_structural_free(k->versions[i]->schema);
      free(k->versions[i]);
    }
    kube_arena_free(k->arena);
    kg_doc_unref(k->doc);
    free(k->versions);
    free(k->name);
    free(k);
  }
  while (api->retired) {
    retired_t *r = api->retired;
    api->retired = r->next;
    retired_free(api, r);
  }
  kg_doc_unref(api->openapi.doc);
  free(api->catalog_all);
}

/* --- finding -------------------------------------------------------------------------------------------------------
 */

static bool served(const custom_t *k, const custom_version_t *v) {
  return k->established && v->served && !v->gone && k->c;
}

const kube_resource_t *custom_find(const api_t *api, kg_str_t group, kg_str_t version, kg_str_t resource) {
  for (const custom_t *k = api->customs; k; k = k->next)
    for (size_t i = 0; i < k->nversions; i++) {
      const custom_version_t *v = k->versions[i];
      if (served(k, v) && kg_str_is(resource, v->r.resource) && kg_str_is(group, v->r.group) &&
          kg_str_is(version, v->r.version))
        return &v->r;
    }
  return NULL;
}

static const custom_version_t *of_resource(const api_t *api, const kube_resource_t *r, const custom_t **custom) {
  for (const custom_t *k = api->customs; k; k = k->next)
    for (size_t i = 0; i < k->nversions; i++)
      if (&k->versions[i]->r == r) {
        *custom = k;
        return k->versions[i];
      }
  return NULL;
}

collection_t *custom_collection(const api_t *api, const kube_resource_t *r) {
  const custom_t *k = NULL;
  return of_resource(api, r, &k) ? k->c : NULL;
}

static const char *custom_warning(const api_t *api, const kube_resource_t *r) {
  const custom_t *k = NULL;
  const custom_version_t *v = of_resource(api, r, &k);
  return v && v->deprecated ? v->warning : NULL;
}

const char *resource_warning(const api_t *api, const kube_resource_t *r) {
  if (r->structural) return custom_warning(api, r);
  if (is_resource(r, "", "componentstatuses")) return "v1 ComponentStatus is deprecated in v1.19+";
  return is_resource(r, "", "endpoints") ? "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
                                         : NULL;
}

bool custom_ending(const api_t *api, const kube_resource_t *r) {
  const custom_t *k = NULL;
  return of_resource(api, r, &k) && k->deleting;
}

/* --- the catalog: groups in order of their names, their versions by age: v1 before v1beta1 before v1alpha1 -----------
 */

/* How far a version is from being stable. */
static long rank(const char *v) {
  char *rest;
  long major = *v == 'v' ? strtol(v + 1, &rest, 10) : 0;
  if (*v != 'v' || rest == v + 1) return 0;
  if (!*rest) return 3000000 + major * 1000;
  if (!strncmp(rest, "beta", 4)) return 2000000 + major * 1000 + strtol(rest + 4, NULL, 10);
  if (!strncmp(rest, "alpha", 5)) return 1000000 + major * 1000 + strtol(rest + 5, NULL, 10);
  return 0;
}

static int by_catalog(const void *x, const void *y) {
  const kube_resource_t *a = *(const kube_resource_t *const *)x, *b = *(const kube_resource_t *const *)y;
  int order = strcmp(a->group, b->group);
  if (order) return order;
  if (rank(a->version) != rank(b->version)) return rank(a->version) > rank(b->version) ? -1 : 1;
  order = strcmp(a->version, b->version);
  return order ? order : strcmp(a->resource, b->resource);
}

const kube_catalog_t *custom_catalog(api_t *api) {
  if (api->catalog.all && api->catalog.stamp == api->custom_stamp) return &api->catalog;
  size_t n = 0, first;
  while (kube_resource_at(n)) n++;
  first = n;
  for (const custom_t *k = api->customs; k; k = k->next) n += k->nversions;
  const kube_resource_t **all = calloc(n + 1, sizeof *all);
  if (!all) return &api->catalog;
  for (size_t i = 0; i < first; i++) all[i] = kube_resource_at(i);
  n = first;
  for (const custom_t *k = api->customs; k; k = k->next)
    for (size_t i = 0; i < k->nversions; i++)
      if (served(k, k->versions[i])) all[n++] = &k->versions[i]->r;
  if (n > first) qsort(all + first, n - first, sizeof *all, by_catalog);
  free(api->catalog_all);
  api->catalog_all = all;
  api->catalog = (kube_catalog_t){all, n, api->custom_stamp};
  return &api->catalog;
}
