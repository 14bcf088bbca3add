/*
 * What the server keeps in CustomResourceDefinitions: which names were accepted, whether the kind is served, and on
 * deletion the end of its objects before its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "custom.h"

#define CLEANUP "customresourcecleanup.apiextensions.k8s.io"
#define MANAGER "apiextensions-apiserver"

/* --- what a new or changed definition has ------------------------------------------------------------------------ */

static const kube_node_t *storage_version(const kube_node_t *object) {
  const kube_node_t *list = kube_path(object, "spec", "versions", NULL);
  for (uint32_t i = 0; list && list->type == KG_V_ARRAY && i < list->c.n; i++)
    if (kube_node_bool(kube_get(list->c.items[i], "storage"), false)) return list->c.items[i];
  return NULL;
}

static void add_stored(write_t *w, kube_node_t *object) {
  kube_node_t *status = kube_sub(w->arena, object, "status"), *list = kube_get(status, "storedVersions");
  const kube_node_t *stored = storage_version(object);
  if (!stored) return;
  kg_str_t version = kube_node_str(kube_get(stored, "name"));
  if (!list || list->type != KG_V_ARRAY) kube_set(w->arena, status, "storedVersions", list = kube_array(w->arena));
  for (uint32_t i = 0; i < list->c.n; i++)
    if (kg_str_eq(kube_node_str(list->c.items[i]), version)) return;
  kube_push(w->arena, list, kube_strn(w->arena, version));
}

void definition_created(write_t *w, kube_node_t *object) {
  add_stored(w, object);
}

void definition_updated(write_t *w, kube_node_t *object, const kube_node_t *old) {
  kube_node_t *status = kube_get(old, "status");
  if (status) kube_set(w->arena, object, "status", kube_tree_clone(w->arena, status));
  add_stored(w, object);
}

/* --- names ------------------------------------------------------------------------------------------------------- */

typedef struct names {
  kube_arena_t *a;
  kube_node_t *resources, *kinds; /* in use by others of the group */
} names_t;

static void note(names_t *n, kube_node_t *set, kg_view_t v) {
  if (kg_view_str(v).n) kube_setn(n->a, set, kg_view_str(v), kube_bool(n->a, true));
}

static names_t names_in_use(api_t *api, kube_arena_t *a, const object_t *definition) {
  names_t n = {a, kube_map(a), kube_map(a)};
  collection_t *c = cache_find(api, "apiextensions.k8s.io", "customresourcedefinitions");
  kg_str_t group = kg_view_str(kg_view_path(object_view(definition), "spec", "group", NULL));
  sorted_pos_t pos = {0, 0};
  for (object_t *o; (o = sorted_at(&c->objects, &pos));) {
    kg_view_t used = kg_view_path(object_view(o), "status", "acceptedNames", NULL);
    if (o == definition || !kg_str_eq(kg_view_str(kg_view_path(object_view(o), "spec", "group", NULL)), group))
      continue;
    note(&n, n.resources, kg_view_get(used, "plural"));
    note(&n, n.resources, kg_view_get(used, "singular"));
    for (kg_iter_t it = kg_iter(kg_view_get(used, "shortNames")); kg_iter_next(&it);) note(&n, n.resources, it.value);
    note(&n, n.kinds, kg_view_get(used, "kind"));
    note(&n, n.kinds, kg_view_get(used, "listKind"));
  }
  return n;
}

typedef struct verdict {
  kube_node_t *accepted;
  const char *reason, *message; /* reason NULL: no conflict */
} verdict_t;

static void judge(names_t *n, verdict_t *v, kg_view_t wanted, kg_view_t had, const char *key, bool kind,
                  const char *reason) {
  kg_str_t name = arg_str(wanted, key), old = arg_str(had, key);
  bool taken = name.n && !kg_str_eq(name, old) && kube_getn(kind ? n->kinds : n->resources, name);
  if (taken) {
    v->reason = reason;
    v->message = kube_arena_fmt(n->a, "\"" KG_STR_FMT "\" is already in use", KG_STR_ARG(name));
    name = old;
  }
  if (name.n || !strcmp(key, "plural") || !strcmp(key, "kind")) kube_set(n->a, v->accepted, key, kube_strn(n->a, name));
}

static void judge_short(names_t *n, verdict_t *v, kg_view_t wanted, kg_view_t had) {
  kg_view_t list = kg_view_get(wanted, "shortNames");
  const char *bad = NULL;
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);)
    if (kube_getn(n->resources, kg_view_str(it.value)))
      bad = kube_arena_fmt(n->a, "\"" KG_STR_FMT "\" is already in use", KG_STR_ARG(kg_view_str(it.value)));
  if (bad) v->reason = "ShortNamesConflict", v->message = bad, list = kg_view_get(had, "shortNames");
  if (kg_view_count(list)) kube_set(n->a, v->accepted, "shortNames", kube_tree_parse(n->a, list));
}

static verdict_t judge_names(names_t *n, kg_view_t definition) {
  kg_view_t wanted = kg_view_path(definition, "spec", "names", NULL),
            had = kg_view_path(definition, "status", "acceptedNames", NULL);
  verdict_t v = {.accepted = kube_map(n->a)};
  judge(n, &v, wanted, had, "plural", false, "PluralConflict");
  judge(n, &v, wanted, had, "singular", false, "SingularConflict");
  judge_short(n, &v, wanted, had);
  judge(n, &v, wanted, had, "kind", true, "KindConflict");
  judge(n, &v, wanted, had, "listKind", true, "ListKindConflict");
  kg_view_t categories = kg_view_get(wanted, "categories");
  if (kg_view_count(categories)) kube_set(n->a, v.accepted, "categories", kube_tree_parse(n->a, categories));
  return v;
}

/* --- conditions -------------------------------------------------------------------------------------------------- */

static kube_node_t *condition_in(const kube_node_t *list, const char *type) {
  for (uint32_t i = 0; i < list->c.n; i++)
    if (node_is(kube_get(list->c.items[i], "type"), type)) return list->c.items[i];
  return NULL;
}

static void set_condition(kube_arena_t *a, kg_ctx_t *ctx, kube_node_t *list, const char *type, bool holds,
                          const char *reason, const char *message) {
  kube_node_t *c = condition_in(list, type);
  char now[32];
  if (c && node_is(kube_get(c, "status"), holds ? "True" : "False") && node_is(kube_get(c, "reason"), reason) &&
      node_is(kube_get(c, "message"), message))
    return;
  if (!c) kube_push(a, list, c = kube_map(a));
  kube_time_format(kg_wall_us(ctx), now);
  bool turned = !node_is(kube_get(c, "status"), holds ? "True" : "False");
  kube_set(a, c, "type", kube_str(a, type));
  kube_set(a, c, "status", kube_str(a, holds ? "True" : "False"));
  if (turned) kube_set(a, c, "lastTransitionTime", kube_str(a, now));
  kube_set(a, c, "reason", kube_str(a, reason));
  kube_set(a, c, "message", kube_str(a, message));
}

static kube_node_t *conditions_of(kube_arena_t *a, kg_view_t definition) {
  kg_view_t list = kg_view_path(definition, "status", "conditions", NULL);
  return kg_view_count(list) ? kube_tree_clone(a, kube_tree_parse(a, list)) : kube_array(a);
}

/* Null, {} and [] are the same to whom nothing is said. */
static bool same_status(kube_arena_t *a, kg_view_t definition, const kube_node_t *accepted,
                        const kube_node_t *conditions) {
  kg_view_t had = kg_view_path(definition, "status", "acceptedNames", NULL),
            list = kg_view_path(definition, "status", "conditions", NULL);
  return kg_view_there(had) && kube_tree_equal(kube_tree_parse(a, had), accepted) && kg_view_count(list) &&
         kube_tree_equal(kube_tree_parse(a, list), conditions);
}

static void on_written(write_t *w, void *arg) {
  (void)arg;
  if (w->fault.code && w->fault.code != 404)
    kg_log(w->q.ctx, KG_LOG_WARN, "a definition's status could not be written: %s", w->fault.message);
}

static void write_status(api_t *api, const object_t *o, kube_arena_t *a, kube_node_t *accepted,
                         kube_node_t *conditions) {
  kube_node_t *body = kube_map(a), *status = kube_sub(a, body, "status");
  collection_t *c = cache_find(api, "apiextensions.k8s.io", "customresourcedefinitions");
  kube_set(a, status, "acceptedNames", accepted);
  kube_set(a, status, "conditions", conditions);
  kg_doc_t *doc = kube_tree_doc(body);
  write_t *w = doc ? write_new(api, c->r, W_PATCH, (kg_str_t){0}, object_key(o), doc) : NULL;
  kg_doc_unref(doc);
  if (!w) return;
  w->q.sub = KG_STR("status");
  w->manager = MANAGER;
  w->then = on_written;
  write_run(w);
}

static void judge_definition(api_t *api, const object_t *o) {
  kube_arena_t *a = kube_arena_new();
  names_t n = names_in_use(api, a, o);
  verdict_t v = judge_names(&n, object_view(o));
  kube_node_t *conditions = conditions_of(a, object_view(o)), *established = condition_in(conditions, "Established");
  set_condition(a, api->ctx, conditions, "NamesAccepted", !v.reason, v.reason ? v.reason : "NoConflicts",
                v.reason ? v.message : "no conflicts found");
  if (!v.reason && !node_is(kube_get(established, "status"), "True"))
    set_condition(a, api->ctx, conditions, "Established", true, "InitialNamesAccepted",
                  "the initial names have been accepted");
  if (v.reason && !node_is(kube_get(established, "status"), "True"))
    set_condition(a, api->ctx, conditions, "Established", false, "NotAccepted", "not all names are accepted");
  if (!same_status(a, object_view(o), v.accepted, conditions)) write_status(api, o, a, v.accepted, conditions);
  kube_arena_free(a);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

bool definition_delete(write_t *w, kube_node_t *object) {
  kube_arena_t *a = w->arena;
  kube_node_t *meta = kube_sub(a, object, "metadata"), *list = kube_get(meta, "finalizers");
  kube_node_t *status = kube_sub(a, object, "status"), *conditions = kube_get(status, "conditions");
  char now[32];
  if (meta_deleting(object)) return true;
  if (!list || list->type != KG_V_ARRAY) kube_set(a, meta, "finalizers", list = kube_array(a));
  kube_push(a, list, kube_str(a, CLEANUP));
  kube_time_format(kg_wall_us(w->q.ctx), now);
  kube_set(a, meta, "deletionTimestamp", kube_str(a, now));
  if (!conditions || conditions->type != KG_V_ARRAY) kube_set(a, status, "conditions", conditions = kube_array(a));
  set_condition(a, w->q.ctx, conditions, "Terminating", true, "InstanceDeletionPending",
                "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon");
  return true;
}

static void on_gone(write_t *w, void *arg) {
  (void)arg;
  if (w->fault.code && w->fault.code != 404)
    kg_log(w->q.ctx, KG_LOG_WARN, "an object of a kind that ends could not be deleted: %s", w->fault.message);
}

static void delete_all(api_t *api, collection_t *c) {
  object_t **all = malloc((c->objects.count + 1) * sizeof *all);
  size_t n = 0;
  sorted_pos_t pos = {0, 0};
  for (object_t *o; all && (o = sorted_at(&c->objects, &pos));)
    if (!kube_deleting(object_view(o))) all[n++] = object_ref(o);
  for (size_t i = 0; i < n; i++) {
    kg_view_t v = object_view(all[i]);
    write_t *w = write_new(api, c->r, W_DELETE, kube_namespace(v), kube_name(v), NULL);
    if (w) w->then = on_gone;
    write_run(w);
    object_unref(all[i]);
  }
  free(all);
}

static void let_definition_go(api_t *api, const object_t *o) {
  collection_t *c = cache_find(api, "apiextensions.k8s.io", "customresourcedefinitions");
  kube_arena_t *a = kube_arena_new();
  kube_node_t *body = kube_map(a), *list = kube_array(a);
  bool marked = false;
  for (kg_iter_t it = kg_iter(kg_view_path(object_view(o), "metadata", "finalizers", NULL)); kg_iter_next(&it);) {
    if (kg_str_is(kg_view_str(it.value), CLEANUP))
      marked = true;
    else
      kube_push(a, list, kube_strn(a, kg_view_str(it.value)));
  }
  kube_set(a, kube_sub(a, body, "metadata"), "finalizers", list);
  kg_doc_t *doc = marked ? kube_tree_doc(body) : NULL;
  write_t *w = doc ? write_new(api, c->r, W_PATCH, (kg_str_t){0}, object_key(o), doc) : NULL;
  kg_doc_unref(doc);
  kube_arena_free(a);
  if (!w) return;
  w->manager = MANAGER;
  w->then = on_written;
  write_run(w);
}

static void end_definition(api_t *api, const object_t *o) {
  const custom_t *k = api->customs;
  while (k && !kg_str_is(object_key(o), k->name)) k = k->next;
  if (k && k->c && k->c->objects.count) {
    api->ending++;
    return delete_all(api, k->c);
  }
  let_definition_go(api, o);
}

static void on_definitions(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  api_t *api = self;
  collection_t *c = cache_find(api, "apiextensions.k8s.io", "customresourcedefinitions");
  size_t n = 0;
  sorted_pos_t pos = {0, 0};
  api->definition_timer = 0;
  api->ending = 0;
  object_t **all = c ? malloc((c->objects.count + 1) * sizeof *all) : NULL;
  for (object_t *o; all && (o = sorted_at(&c->objects, &pos));) all[n++] = object_ref(o);
  for (size_t i = 0; i < n; i++) {
    if (kube_deleting(object_view(all[i])))
      end_definition(api, all[i]);
    else
      judge_definition(api, all[i]);
    object_unref(all[i]);
  }
  free(all);
}

void definition_seen(api_t *api) {
  if (!api->definition_timer) api->definition_timer = kg_timer(api->ctx, 0, 0, on_definitions, NULL);
}
