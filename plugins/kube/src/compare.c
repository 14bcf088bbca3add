/* What two states of an object differ in, and which fields a configuration has. */
#include <string.h>

#include "place.h"

typedef struct comparer {
  kube_arena_t *a;
} comparer_t;

/* Both results are built beside each other; NULL: nothing so far. */
static void compare(comparer_t *c, const kube_place_t *p, const kube_node_t *old, const kube_node_t *now,
                    kube_difference_t *out);

static bool empty(const kube_node_t *n) {
  return !n || n->type == KG_V_NIL || ((n->type == KG_V_MAP || n->type == KG_V_ARRAY) && !n->c.n);
}

static void put(comparer_t *c, kube_node_t **set, const char *key, kube_node_t *sub) {
  if (!sub) return;
  if (!*set) *set = kube_map(c->a);
  kube_set(c->a, *set, key, sub);
}

static void child(comparer_t *c, const kube_place_t *p, const char *key, const kube_node_t *old, const kube_node_t *now,
                  kube_difference_t *out) {
  kube_difference_t d = {0};
  compare(c, p, old, now, &d);
  put(c, &out->changed, key, d.changed);
  put(c, &out->removed, key, d.removed);
}

static void compare_maps(comparer_t *c, const kube_place_t *p, const kube_node_t *old, const kube_node_t *now,
                         kube_difference_t *out) {
  for (uint32_t i = 0; now && now->type == KG_V_MAP && i < now->c.n; i++) {
    kube_place_t f = kube_place_field(p, now->c.keys[i], NULL);
    child(c, &f, kube_arena_fmt(c->a, "f:" KG_STR_FMT, KG_STR_ARG(now->c.keys[i])), kube_getn(old, now->c.keys[i]),
          now->c.items[i], out);
  }
  for (uint32_t i = 0; old && old->type == KG_V_MAP && i < old->c.n; i++) {
    if (kube_getn(now, old->c.keys[i])) continue;
    kube_place_t f = kube_place_field(p, old->c.keys[i], NULL);
    child(c, &f, kube_arena_fmt(c->a, "f:" KG_STR_FMT, KG_STR_ARG(old->c.keys[i])), old->c.items[i], NULL, out);
  }
}

static const kube_node_t *find(comparer_t *c, const kube_place_t *p, const kube_node_t *list, const char *key) {
  for (uint32_t i = 0; list && list->type == KG_V_ARRAY && i < list->c.n; i++) {
    const char *own = kube_element_key(c->a, p, list->c.items[i]);
    if (own && !strcmp(own, key)) return list->c.items[i];
  }
  return NULL;
}

static void compare_lists(comparer_t *c, const kube_place_t *p, const kube_node_t *old, const kube_node_t *now,
                          kube_difference_t *out) {
  kube_place_t item = kube_place_item(p);
  for (uint32_t i = 0; now && now->type == KG_V_ARRAY && i < now->c.n; i++) {
    const char *key = kube_element_key(c->a, p, now->c.items[i]);
    if (key) child(c, &item, key, find(c, p, old, key), now->c.items[i], out);
  }
  for (uint32_t i = 0; old && old->type == KG_V_ARRAY && i < old->c.n; i++) {
    const char *key = kube_element_key(c->a, p, old->c.items[i]);
    if (key && !find(c, p, now, key)) child(c, &item, key, old->c.items[i], NULL, out);
  }
}

static kube_node_t *with_self(comparer_t *c, kube_node_t *set) {
  kube_node_t *out = kube_map(c->a);
  if (!set) return out;
  kube_set(c->a, out, ".", kube_map(c->a));
  for (uint32_t i = 0; i < set->c.n; i++) kube_setn(c->a, out, set->c.keys[i], set->c.items[i]);
  return out;
}

static void compare(comparer_t *c, const kube_place_t *p, const kube_node_t *old, const kube_node_t *now,
                    kube_difference_t *out) {
  kube_merge_t how = kube_place_merge(p, old, now);
  if (old && now && (old == now || kube_tree_equal(old, now))) return;
  if (how != KUBE_LEAF && empty(old) && empty(now)) how = KUBE_LEAF;
  if (how == KUBE_LEAF) {
    if (now)
      out->changed = kube_map(c->a);
    else
      out->removed = kube_map(c->a);
    return;
  }
  if (how == KUBE_FIELDS)
    compare_maps(c, p, old, now, out);
  else
    compare_lists(c, p, old, now, out);
  if (!old) out->changed = with_self(c, out->changed);
  if (!now) out->removed = with_self(c, out->removed);
}

kube_difference_t kube_compare(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *old,
                               const kube_node_t *now) {
  comparer_t c = {a};
  kube_difference_t d = {0};
  kube_place_t root = kube_place_root(r);
  compare_maps(&c, &root, old, now, &d);
  return d;
}

/* --- the fields of a configuration ------------------------------------------------------------------------------ */

static kube_node_t *fields(comparer_t *c, const kube_place_t *p, const kube_node_t *n);

static kube_node_t *fields_of_list(comparer_t *c, const kube_place_t *p, const kube_node_t *n) {
  kube_place_t item = kube_place_item(p);
  kube_node_t *out = kube_map(c->a);
  for (uint32_t i = 0; n->type == KG_V_ARRAY && i < n->c.n; i++) {
    const char *key = kube_element_key(c->a, p, n->c.items[i]);
    kube_node_t *sub = key ? fields(c, &item, n->c.items[i]) : NULL;
    if (!key) continue;
    kube_set(c->a, out, key, with_self(c, sub && sub->c.n ? sub : NULL));
  }
  return out->c.n ? out : NULL;
}

/* NULL: none. */
static kube_node_t *fields(comparer_t *c, const kube_place_t *p, const kube_node_t *n) {
  kube_merge_t how = kube_place_merge(p, n, NULL);
  if (how == KUBE_LEAF) return kube_map(c->a);
  if (how != KUBE_FIELDS) return fields_of_list(c, p, n);
  kube_node_t *out = kube_map(c->a);
  for (uint32_t i = 0; n->type == KG_V_MAP && i < n->c.n; i++) {
    bool known = false;
    const kube_node_t *v = n->c.items[i];
    kube_place_t f = kube_place_field(p, n->c.keys[i], &known);
    kube_node_t *sub = fields(c, &f, v);
    bool self = !known || v->type == KG_V_NIL || (v->type == KG_V_MAP && !v->c.n);
    if (self) sub = with_self(c, sub && sub->c.n ? sub : NULL);
    if (sub) kube_set(c->a, out, kube_arena_fmt(c->a, "f:" KG_STR_FMT, KG_STR_ARG(n->c.keys[i])), sub);
  }
  return out->c.n ? out : NULL;
}

kube_node_t *kube_fields_of(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *config) {
  comparer_t c = {a};
  kube_place_t root = kube_place_root(r);
  return fields(&c, &root, config);
}
