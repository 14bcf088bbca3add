/* metadata.managedFields: who owns which fields. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/apply.h"
#include "kube/values.h"
#include "place.h"

enum { MOST_UPDATERS = 10 };

static kube_node_t *entries_of(const kube_node_t *object) {
  kube_node_t *list = kube_path(object, "metadata", "managedFields", NULL);
  return list && list->type == KG_V_ARRAY ? list : NULL;
}

/* One empty entry, or none in a list that is there: the client wants to start anew. */
static bool is_reset(const kube_node_t *list) {
  return list && (!list->c.n ||
                  (list->c.n == 1 && list->c.items[0]->type == KG_V_MAP &&
                   !kube_node_str(kube_get(list->c.items[0], "manager")).n && !kube_get(list->c.items[0], "fieldsV1")));
}

static bool is_apply(const kube_node_t *entry) {
  return kg_str_is(kube_node_str(kube_get(entry, "operation")), "Apply");
}

static bool is_ours(const kube_node_t *entry, const kube_manager_t *m) {
  return is_apply(entry) == m->apply && kg_str_eq(kube_node_str(kube_get(entry, "manager")), m->name) &&
         kg_str_eq(kube_node_str(kube_get(entry, "subresource")), m->subresource) &&
         (m->apply || kg_str_eq(kube_node_str(kube_get(entry, "apiVersion")), m->api_version));
}

static kube_node_t *new_entry(kube_arena_t *a, const kube_manager_t *m, const char *time, kube_node_t *fields) {
  kube_node_t *e = kube_map(a);
  kube_set(a, e, "manager", kube_strn(a, m->name));
  kube_set(a, e, "operation", kube_str(a, m->apply ? "Apply" : "Update"));
  kube_set(a, e, "apiVersion", kube_strn(a, m->api_version));
  if (time) kube_set(a, e, "time", kube_str(a, time));
  kube_set(a, e, "fieldsType", kube_str(a, "FieldsV1"));
  kube_set(a, e, "fieldsV1", fields);
  if (m->subresource.n) kube_set(a, e, "subresource", kube_strn(a, m->subresource));
  return e;
}

/* The fields nobody owns: what identifies the object, and what the server keeps. */
static kube_node_t *strip(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *set, const kube_manager_t *m) {
  static const char *const meta[] = {"name",        "namespace",  "creationTimestamp", "selfLink",       "uid",
                                     "clusterName", "generation", "managedFields",     "resourceVersion"};
  kube_node_t *gone = kube_map(a), *inner = kube_map(a);
  for (size_t i = 0; i < sizeof meta / sizeof *meta; i++)
    kube_set(a, inner, kube_arena_fmt(a, "f:%s", meta[i]), kube_map(a));
  kube_set(a, gone, "f:apiVersion", kube_map(a));
  kube_set(a, gone, "f:kind", kube_map(a));
  kube_set(a, gone, "f:metadata", inner);
  bool status = kg_str_is(m->subresource, "status");
  if (status) {
    kube_set(a, gone, "f:spec", kube_map(a));
    if (r->structural) kube_set(a, gone, "f:metadata", kube_map(a));
  } else if (r->has_status && kube_resource_has_sub(r, "status")) {
    kube_set(a, gone, "f:status", kube_map(a));
  }
  kube_node_t *left = kube_fields_minus(a, set, gone, true), *metadata = kube_get(left, "f:metadata");
  if (metadata) {
    kube_del(metadata, "."); /* nobody owns the metadata as such */
    if (!metadata->c.n) kube_del(left, "f:metadata");
  }
  return left && left->c.n ? left : NULL;
}

static kube_node_t *fields_in(const kube_node_t *entry) {
  kube_node_t *f = kube_get(entry, "fieldsV1");
  return f && f->type == KG_V_MAP && f->c.n ? f : NULL;
}

/* --- order ------------------------------------------------------------------------------------------------------ */

static int64_t seconds(const kube_node_t *entry) {
  int64_t us = 0;
  kube_time_parse(kube_node_str(kube_get(entry, "time")), &us);
  return us / 1000000;
}

static int by_order(const void *x, const void *y) {
  const kube_node_t *a = *(kube_node_t *const *)x, *b = *(kube_node_t *const *)y;
  static const char *const keys[] = {"manager", "apiVersion", "subresource"};
  if (is_apply(a) != is_apply(b)) return is_apply(a) ? -1 : 1;
  if (seconds(a) != seconds(b)) return seconds(a) < seconds(b) ? -1 : 1;
  for (int i = 0; i < 3; i++) {
    int order = kg_str_cmp(kube_node_str(kube_get(a, keys[i])), kube_node_str(kube_get(b, keys[i])));
    if (order) return order;
  }
  return 0;
}

/* Of many updaters the oldest become one. */
static void cap(kube_arena_t *a, kube_node_t *list) {
  uint32_t updaters = 0;
  for (uint32_t i = 0; i < list->c.n; i++) updaters += !is_apply(list->c.items[i]);
  for (uint32_t i = 0; updaters > MOST_UPDATERS && i + 1 < list->c.n;) {
    kube_node_t *one = list->c.items[i], *next = list->c.items[i + 1];
    if (is_apply(one)) {
      i++;
      continue;
    }
    kube_set(a, next, "manager", kube_str(a, "ancient-changes"));
    kube_set(a, next, "fieldsV1", kube_fields_union(a, fields_in(one), fields_in(next)));
    kube_remove_at(list, i);
    updaters--;
  }
}

static void write_back(kube_arena_t *a, kube_node_t *object, kube_node_t *list) {
  kube_node_t *meta = kube_sub(a, object, "metadata");
  if (list->c.n) qsort(list->c.items, list->c.n, sizeof *list->c.items, by_order);
  cap(a, list);
  /* "." comes first by that, then fields, keys and values. */
  for (uint32_t i = 0; i < list->c.n; i++) kube_sort_keys(a, kube_get(list->c.items[i], "fieldsV1"), true);
  if (list->c.n)
    kube_set(a, meta, "managedFields", list);
  else
    kube_del(meta, "managedFields");
}

/* --- updates ---------------------------------------------------------------------------------------------------- */

/* What others own without what was changed or removed. */
static kube_node_t *others(kube_arena_t *a, const kube_node_t *list, const kube_difference_t *d) {
  kube_node_t *out = kube_array(a);
  for (uint32_t i = 0; list && i < list->c.n; i++) {
    kube_node_t *left = fields_in(list->c.items[i]);
    if (left && d->changed && kube_fields_common(a, left, d->changed))
      left = kube_fields_minus(a, left, d->changed, false);
    if (left && d->removed) left = kube_fields_minus(a, left, d->removed, false);
    if (!left) continue;
    kube_node_t *entry = list->c.items[i];
    if (left != fields_in(entry)) {
      entry = kube_tree_clone(a, entry);
      kube_set(a, entry, "fieldsV1", left);
    }
    kube_push(a, out, entry);
  }
  return out;
}

void kube_track(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *old, kube_node_t *now,
                const kube_manager_t *m) {
  kube_node_t *list = entries_of(now), *own = NULL;
  bool exists = kube_node_str(kube_path(old, "metadata", "uid", NULL)).n > 0;
  bool reset = is_reset(list) && !m->subresource.n;
  if (reset) list = kube_array(a);
  if (!list || m->subresource.n) list = entries_of(old);
  if (exists && (reset || !list || !list->c.n)) return write_back(a, now, kube_array(a)); /* not kept for this object */
  kube_difference_t d = kube_compare(a, r, old, now);
  d.changed = strip(a, r, d.changed, m);
  kube_node_t *kept = others(a, list, &d);
  if (d.changed) {
    for (uint32_t i = 0; i < kept->c.n && !own; i++)
      if (is_ours(kept->c.items[i], m)) own = kept->c.items[i];
    kube_node_t *fields = own ? kube_fields_union(a, fields_in(own), d.changed) : d.changed;
    kube_node_t *entry = new_entry(a, m, kg_str_is(m->subresource, "scale") ? NULL : m->time, fields);
    for (uint32_t i = 0; own && i < kept->c.n; i++)
      if (kept->c.items[i] == own) kept->c.items[i] = entry;
    if (!own) kube_push(a, kept, entry);
  }
  write_back(a, now, kept);
}

/* --- apply ------------------------------------------------------------------------------------------------------ */

typedef struct collector {
  kube_arena_t *a;
  kube_node_t *conflicts;
  const char *manager;
} collector_t;

static void add_conflict(const char *path, void *arg) {
  collector_t *c = arg;
  kube_node_t *n = kube_map(c->a);
  kube_set(c->a, n, "manager", kube_str(c->a, c->manager));
  kube_set(c->a, n, "field", kube_str(c->a, path));
  kube_push(c->a, c->conflicts, n);
}

/* "kubectl" using v1 */
static const char *manager_text(kube_arena_t *a, const kube_node_t *e) {
  kg_str_t name = kube_node_str(kube_get(e, "manager")), sub = kube_node_str(kube_get(e, "subresource")),
           version = kube_node_str(kube_get(e, "apiVersion"));
  const char *text = kube_arena_fmt(a, "\"" KG_STR_FMT "\"", KG_STR_ARG(name));
  if (sub.n) text = kube_arena_fmt(a, "%s with subresource \"" KG_STR_FMT "\"", text, KG_STR_ARG(sub));
  return is_apply(e) ? text : kube_arena_fmt(a, "%s using " KG_STR_FMT, text, KG_STR_ARG(version));
}

static kube_node_t *conflicts_with(kube_arena_t *a, const kube_node_t *list, const kube_difference_t *d,
                                   const kube_manager_t *m) {
  collector_t c = {a, kube_array(a), NULL};
  for (uint32_t i = 0; list && i < list->c.n; i++) {
    if (is_ours(list->c.items[i], m)) continue;
    c.manager = manager_text(a, list->c.items[i]);
    kube_fields_each(a, kube_fields_common(a, fields_in(list->c.items[i]), d->changed), add_conflict, &c);
  }
  return c.conflicts;
}

static kube_node_t *owned_by_all(kube_arena_t *a, const kube_node_t *list, const kube_manager_t *m, kube_node_t *own) {
  kube_node_t *all = own;
  for (uint32_t i = 0; list && i < list->c.n; i++)
    if (!is_ours(list->c.items[i], m)) all = kube_fields_union(a, all, fields_in(list->c.items[i]));
  return all;
}

/* An object that was there before anything was applied to it: all of it is somebody's. */
static kube_node_t *before_first(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *old,
                                 const kube_manager_t *m) {
  kube_manager_t before = {.name = KG_STR("before-first-apply"), .api_version = m->api_version};
  kube_difference_t d = kube_compare(a, r, r->structural ? kube_map(a) : kube_empty(a, r->type), old);
  kube_node_t *list = kube_array(a), *set = strip(a, r, d.changed, &before);
  if (set) kube_push(a, list, new_entry(a, &before, m->time, set));
  return list;
}

static kube_node_t *ours_in(const kube_node_t *list, const kube_manager_t *m) {
  for (uint32_t i = 0; list && i < list->c.n; i++)
    if (is_ours(list->c.items[i], m)) return list->c.items[i];
  return NULL;
}

kube_applied_t kube_apply(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *old, const kube_node_t *config,
                          const kube_manager_t *m, bool force) {
  kube_applied_t out = {0};
  kube_node_t *list = entries_of(old), *last, *own;
  bool exists = kube_node_str(kube_path(old, "metadata", "uid", NULL)).n > 0;
  if (exists && (!list || !list->c.n)) list = before_first(a, r, old, m);
  last = ours_in(list, m);
  own = strip(a, r, kube_fields_of(a, r, config), m);
  kube_node_t *object = kube_merge_objects(a, r, old, config);
  kube_node_t *kept = owned_by_all(a, list, m, own);
  kube_fields_remove(a, r, object, last ? fields_in(last) : NULL, kept ? kept : kube_map(a));
  kube_difference_t d = kube_compare(a, r, old, object);
  d.changed = strip(a, r, d.changed, m);
  d.removed = strip(a, r, d.removed, m);
  out.conflicts = conflicts_with(a, list, &d, m);
  if (out.conflicts->c.n && !force) return out;
  out.same = !d.changed && !d.removed;
  kube_node_t *result = kube_array(a);
  for (uint32_t i = 0; list && i < list->c.n; i++)
    if (list->c.items[i] != last) kube_push(a, result, list->c.items[i]);
  result = others(a, result, &d);
  kg_str_t then = kube_node_str(kube_get(last, "time"));
  const char *time = !out.same ? m->time : then.n ? kube_arena_fmt(a, KG_STR_FMT, KG_STR_ARG(then)) : NULL;
  if (own) kube_push(a, result, new_entry(a, m, time, own));
  out.object = object;
  write_back(a, object, result);
  return out;
}

/* --- comparison ------------------------------------------------------------------------------------------------- */

static bool same_entries(const kube_node_t *x, const kube_node_t *y) {
  static const char *const keys[] = {"manager", "operation", "apiVersion", "subresource", "fieldsV1"};
  if ((x ? x->c.n : 0) != (y ? y->c.n : 0)) return false;
  for (uint32_t i = 0; x && i < x->c.n; i++)
    for (int k = 0; k < 5; k++)
      if (!kube_tree_equal(kube_get(x->c.items[i], keys[k]), kube_get(y->c.items[i], keys[k]))) return false;
  return true;
}

bool kube_same_but_times(const kube_node_t *x, const kube_node_t *y) {
  const kube_node_t *m = kube_get(x, "metadata"), *n = kube_get(y, "metadata");
  for (uint32_t i = 0; i < x->c.n; i++)
    if (!kg_str_is(x->c.keys[i], "metadata") && !kube_tree_equal(x->c.items[i], kube_getn(y, x->c.keys[i])))
      return false;
  if (x->c.n != y->c.n || !m || !n || m->c.n != n->c.n) return false;
  for (uint32_t i = 0; i < m->c.n; i++) {
    if (kg_str_is(m->c.keys[i], "managedFields")) continue;
    if (!kube_tree_equal(m->c.items[i], kube_getn(n, m->c.keys[i]))) return false;
  }
  return same_entries(entries_of(x), entries_of(y));
}
