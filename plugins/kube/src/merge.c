/* An applied configuration merged into the object, and what is no longer applied taken out. */
#include <string.h>

#include "place.h"

static kube_node_t *merge(kube_arena_t *a, const kube_place_t *p, const kube_node_t *old, const kube_node_t *config);

static kube_node_t *merge_maps(kube_arena_t *a, const kube_place_t *p, const kube_node_t *old,
                               const kube_node_t *config) {
  kube_node_t *out = kube_map(a);
  for (uint32_t i = 0; old->type == KG_V_MAP && i < old->c.n; i++) {
    const kube_node_t *c = kube_getn(config, old->c.keys[i]);
    kube_place_t f = kube_place_field(p, old->c.keys[i], NULL);
    kube_setn(a, out, old->c.keys[i], c ? merge(a, &f, old->c.items[i], c) : kube_tree_clone(a, old->c.items[i]));
  }
  for (uint32_t i = 0; i < config->c.n; i++)
    if (!kube_getn(old, config->c.keys[i]))
      kube_setn(a, out, config->c.keys[i], kube_tree_clone(a, config->c.items[i]));
  return out;
}

/* --- lists: the order of the configuration, and between what it has the rest in the order it had -------------------
 */

typedef struct lists {
  kube_arena_t *a;
  const kube_place_t *p;
  kube_place_t item;
  const kube_node_t *old, *config;
  const char **old_keys, **config_keys;
  bool *merged; /* of the configuration's */
  kube_node_t *out;
} lists_t;

static const char **keys_of(kube_arena_t *a, const kube_place_t *p, const kube_node_t *list) {
  const char **keys = kube_arena_alloc(a, (list->c.n + 1) * sizeof *keys);
  for (uint32_t i = 0; i < list->c.n; i++) {
    keys[i] = kube_element_key(a, p, list->c.items[i]);
    if (!keys[i]) keys[i] = kube_arena_fmt(a, "i:%u", i);
  }
  return keys;
}

static int64_t place_in(const char **keys, uint32_t n, const char *key) {
  for (uint32_t i = 0; i < n; i++)
    if (!strcmp(keys[i], key)) return i;
  return -1;
}

static void take(lists_t *l, int64_t old, int64_t config) {
  kube_node_t *v;
  if (old >= 0 && config >= 0)
    v = merge(l->a, &l->item, l->old->c.items[old], l->config->c.items[config]);
  else
    v = kube_tree_clone(l->a, old >= 0 ? l->old->c.items[old] : l->config->c.items[config]);
  if (config >= 0) l->merged[config] = true;
  kube_push(l->a, l->out, v);
}

/* The next element of the configuration, from i on, that was there before. */
static uint32_t next_shared(const lists_t *l, uint32_t i) {
  while (i < l->config->c.n && place_in(l->old_keys, l->old->c.n, l->config_keys[i]) < 0) i++;
  return i;
}

static void merge_steps(lists_t *l) {
  uint32_t n = l->old->c.n, m = l->config->c.n, o = 0, c = 0, shared = next_shared(l, 0);
  while (o < n || c < m) {
    int64_t mine = o < n ? place_in(l->config_keys, m, l->old_keys[o]) : -1;
    if (o < n && c < m && !strcmp(l->old_keys[o], l->config_keys[c])) {
      take(l, o++, c++);
      shared = next_shared(l, c);
      continue;
    }
    if (o < n && c < m && mine >= 0 && shared < m && strcmp(l->config_keys[shared], l->old_keys[o])) {
      o++; /* it comes later, where the configuration wants it */
      continue;
    }
    if (o < n && mine < 0) {
      take(l, o++, -1);
      continue;
    }
    if (o < n && l->merged[mine]) o++;
    if (c < m) {
      take(l, place_in(l->old_keys, n, l->config_keys[c]), c);
      if (shared == c) shared = next_shared(l, c + 1);
      c++;
    }
  }
}

static kube_node_t *merge_lists(kube_arena_t *a, const kube_place_t *p, const kube_node_t *old,
                                const kube_node_t *config) {
  lists_t l = {.a = a, .p = p, .item = kube_place_item(p), .old = old, .config = config, .out = kube_array(a)};
  l.old_keys = keys_of(a, p, old);
  l.config_keys = keys_of(a, p, config);
  l.merged = kube_arena_alloc(a, config->c.n + 1);
  merge_steps(&l);
  return l.out;
}

static kube_node_t *merge(kube_arena_t *a, const kube_place_t *p, const kube_node_t *old, const kube_node_t *config) {
  kube_merge_t how = kube_place_merge(p, old, config);
  if (how == KUBE_FIELDS && old->type == KG_V_MAP && config->type == KG_V_MAP) return merge_maps(a, p, old, config);
  if ((how == KUBE_SET || how == KUBE_KEYED) && old->type == KG_V_ARRAY && config->type == KG_V_ARRAY)
    return merge_lists(a, p, old, config);
  return kube_tree_clone(a, config);
}

kube_node_t *kube_merge_objects(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *old,
                                const kube_node_t *config) {
  kube_place_t root = kube_place_root(r);
  return merge_maps(a, &root, old, config);
}

/* --- taking out ------------------------------------------------------------------------------------------------- */

static void take_out(kube_arena_t *a, const kube_place_t *p, kube_node_t *n, const kube_node_t *last,
                     const kube_node_t *kept);

static void take_from_map(kube_arena_t *a, const kube_place_t *p, kube_node_t *n, const kube_node_t *last,
                          const kube_node_t *kept) {
  for (uint32_t i = 0; i < last->c.n; i++) {
    kg_str_t key = last->c.keys[i];
    if (key.n < 3 || key.p[0] != 'f') continue;
    kg_str_t name = {key.p + 2, key.n - 2};
    kube_node_t *v = kube_getn(n, name);
    const kube_node_t *still = kube_getn(kept, key);
    if (!v) continue;
    kube_place_t f = kube_place_field(p, name, NULL);
    if (!still && kube_fields_member(last->c.items[i]))
      kube_strike(n, name);
    else
      take_out(a, &f, v, last->c.items[i], still);
  }
  kube_settle(a, n);
}

static void take_from_list(kube_arena_t *a, const kube_place_t *p, kube_node_t *n, const kube_node_t *last,
                           const kube_node_t *kept) {
  kube_place_t item = kube_place_item(p);
  for (uint32_t i = n->c.n; i-- > 0;) {
    const char *key = kube_element_key(a, p, n->c.items[i]);
    const kube_node_t *had = key ? kube_get(last, key) : NULL, *still = key ? kube_get(kept, key) : NULL;
    if (!had) continue;
    if (!still && kube_fields_member(had))
      kube_remove_at(n, i);
    else
      take_out(a, &item, n->c.items[i], had, still);
  }
}

static void take_out(kube_arena_t *a, const kube_place_t *p, kube_node_t *n, const kube_node_t *last,
                     const kube_node_t *kept) {
  kube_merge_t how = kube_place_merge(p, n, NULL);
  if (how == KUBE_FIELDS && n->type == KG_V_MAP) take_from_map(a, p, n, last, kept);
  if ((how == KUBE_SET || how == KUBE_KEYED) && n->type == KG_V_ARRAY) take_from_list(a, p, n, last, kept);
}

void kube_fields_remove(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object, const kube_node_t *last,
                        const kube_node_t *kept) {
  kube_place_t root = kube_place_root(r);
  if (last) take_from_map(a, &root, object, last, kept);
}
