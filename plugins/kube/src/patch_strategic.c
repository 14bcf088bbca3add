/*
 * Strategic merge patch: the types say which lists are merged and by what key; directives in the patch ($patch,
 * $setElementOrder, $retainKeys, $deleteFromPrimitiveList) say the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "kube/schema.h"

static const char order_prefix[] = "$setElementOrder/", delete_prefix[] = "$deleteFromPrimitiveList/";

static kube_node_t *merge_map(kube_arena_t *a, const kube_type_t *t, const kube_node_t *object,
                              const kube_node_t *patch, kg_error_t *err);

static bool starts(kg_str_t s, const char *prefix, kg_str_t *rest) {
  size_t n = strlen(prefix);
  if (s.n <= n || memcmp(s.p, prefix, n) != 0) return false;
  *rest = (kg_str_t){s.p + n, s.n - n};
  return true;
}

static bool is_directive(kg_str_t key) {
  kg_str_t rest;
  return kg_str_is(key, "$patch") || kg_str_is(key, "$retainKeys") || starts(key, order_prefix, &rest) ||
         starts(key, delete_prefix, &rest);
}

/* A new value of the patch as it goes into the object: without directives, without what is to be deleted. */
static kube_node_t *plain(kube_arena_t *a, const kube_node_t *v) {
  if (v->type == KG_V_MAP) {
    kube_node_t *out = kube_map(a);
    for (uint32_t i = 0; i < v->c.n; i++) {
      if (!is_directive(v->c.keys[i])) kube_setn(a, out, v->c.keys[i], plain(a, v->c.items[i]));
    }
    return out;
  }
  if (v->type == KG_V_ARRAY) {
    kube_node_t *out = kube_array(a);
    for (uint32_t i = 0; i < v->c.n; i++) {
      if (!kube_get(v->c.items[i], "$patch")) kube_push(a, out, plain(a, v->c.items[i]));
    }
    return out;
  }
  return kube_tree_clone(a, v);
}

/* --- lists
 * ----------------------------------------------------------------------------------------------------------------- */

/* What identifies an element: the value of the merge key, or the element itself. */
static const kube_node_t *identity(const kube_node_t *element, const char *key) {
  return key ? kube_get(element, key) : element;
}

static int64_t place_in(const kube_node_t *list, const kube_node_t *element, const char *key) {
  const kube_node_t *id = identity(element, key);
  if (!list || list->type != KG_V_ARRAY || !id) return -1;
  for (uint32_t i = 0; i < list->c.n; i++) {
    const kube_node_t *other = identity(list->c.items[i], key);
    if (other && kube_tree_equal(other, id)) return i;
  }
  return -1;
}

/* The elements of `list` that are named in `order`, in that order. */
static kube_node_t *in_order(kube_arena_t *a, kube_node_t *list, const kube_node_t *order, const char *key) {
  kube_node_t *out = kube_array(a);
  for (uint32_t i = 0; i < order->c.n; i++) {
    int64_t at = place_in(list, order->c.items[i], key);
    if (at >= 0) kube_push(a, out, list->c.items[at]);
  }
  return out;
}

/* Elements of the patch come in the patch's order; what only the server has keeps its place before those it stood
 * before. */
static kube_node_t *arrange(kube_arena_t *a, kube_node_t *merged, const kube_node_t *order, const kube_node_t *server,
                            const char *key) {
  kube_node_t *left = kube_array(a), *right = in_order(a, merged, order, key), *out = kube_array(a);
  for (uint32_t i = 0; i < merged->c.n; i++) {
    if (place_in(order, merged->c.items[i], key) < 0) kube_push(a, left, merged->c.items[i]);
  }
  uint32_t i = 0, j = 0;
  while (i < left->c.n || j < right->c.n) {
    bool take_left = j >= right->c.n;
    if (i < left->c.n && j < right->c.n) {
      int64_t l = place_in(server, left->c.items[i], key), r = place_in(server, right->c.items[j], key);
      take_left = l >= 0 && r >= 0 && l < r;
    }
    kube_push(a, out, take_left ? left->c.items[i++] : right->c.items[j++]);
  }
  return out;
}

static int need_key(const kube_node_t *element, const char *key, kg_error_t *err) {
  if (element->type == KG_V_MAP && kube_get(element, key)) return 0;
  return kg_error_set(err, KG_EINVAL, "a list element of the patch does not contain declared merge key: %s", key);
}

static int merge_element(kube_arena_t *a, const kube_field_t *f, kube_node_t *list, const kube_node_t *element,
                         kg_error_t *err) {
  if (need_key(element, f->patch_key, err) != 0) return -1;
  kg_str_t directive = kube_node_str(kube_get(element, "$patch"));
  int64_t at = place_in(list, element, f->patch_key);
  if (kg_str_is(directive, "delete")) {
    for (; at >= 0; at = place_in(list, element, f->patch_key)) kube_remove_at(list, (uint32_t)at);
    return 0;
  }
  if (directive.n && !kg_str_is(directive, "merge")) {
    return kg_error_set(err, KG_EINVAL, "unknown patch type found: " KG_STR_FMT, KG_STR_ARG(directive));
  }
  if (at < 0) {
    kube_push(a, list, plain(a, element));
    return 0;
  }
  kube_node_t *merged = merge_map(a, f->type, list->c.items[at], element, err);
  if (!merged) return -1;
  list->c.items[at] = merged;
  return 0;
}

static bool replaces(const kube_node_t *patch) {
  for (uint32_t i = 0; i < patch->c.n; i++) {
    if (kg_str_is(kube_node_str(kube_get(patch->c.items[i], "$patch")), "replace")) return true;
  }
  return false;
}

static kube_node_t *merge_list(kube_arena_t *a, const kube_field_t *f, const kube_node_t *object,
                               const kube_node_t *patch, const kube_node_t *order, kg_error_t *err) {
  bool maps = f->kind == KUBE_T_STRUCT;
  if (maps && replaces(patch)) return plain(a, patch);
  kube_node_t *merged = kube_tree_clone(a, object), *named = kube_array(a);
  for (uint32_t i = 0; i < patch->c.n; i++) {
    const kube_node_t *element = patch->c.items[i];
    if (maps) {
      if (merge_element(a, f, merged, element, err) != 0) return NULL;
      if (!kg_str_is(kube_node_str(kube_get(element, "$patch")), "delete"))
        kube_push(a, named, kube_tree_clone(a, element));
    } else {
      if (place_in(merged, element, NULL) < 0) kube_push(a, merged, kube_tree_clone(a, element));
      kube_push(a, named, kube_tree_clone(a, element));
    }
  }
  return arrange(a, merged, order ? order : named, object, maps ? f->patch_key : NULL);
}

/* --- maps
 * -------------------------------------------------------------------------------------------------------------------
 */

static int retain_keys(kube_node_t *out, const kube_node_t *patch, kg_error_t *err) {
  const kube_node_t *keep = kube_get(patch, "$retainKeys");
  if (!keep) return 0;
  if (keep->type != KG_V_ARRAY) return kg_error_set(err, KG_EINVAL, "invalid patch format of retainKeys");
  for (uint32_t i = 0; i < patch->c.n; i++) {
    if (is_directive(patch->c.keys[i]) || patch->c.items[i]->type == KG_V_NIL) continue;
    kube_node_t key = {.type = KG_V_STR, .s = patch->c.keys[i]};
    if (place_in(keep, &key, NULL) < 0) return kg_error_set(err, KG_EINVAL, "invalid patch format of retainKeys");
  }
  for (uint32_t i = out->c.n; i-- > 0;) {
    kube_node_t key = {.type = KG_V_STR, .s = out->c.keys[i]};
    if (place_in(keep, &key, NULL) < 0) kube_deln(out, out->c.keys[i]);
  }
  return 0;
}

static void delete_from_list(kube_node_t *list, const kube_node_t *gone) {
  if (!list || list->type != KG_V_ARRAY || gone->type != KG_V_ARRAY) return;
  for (uint32_t i = list->c.n; i-- > 0;) {
    if (place_in(gone, list->c.items[i], NULL) >= 0) kube_remove_at(list, i);
  }
}

static const kube_node_t *order_of(kube_arena_t *a, const kube_node_t *patch, kg_str_t key) {
  const kube_node_t *order = kube_get(patch, kube_arena_fmt(a, "%s" KG_STR_FMT, order_prefix, KG_STR_ARG(key)));
  return order && order->type == KG_V_ARRAY ? order : NULL;
}

/* A value that both have. NULL with *err. */
static kube_node_t *merge_value(kube_arena_t *a, const kube_field_t *f, const kube_node_t *object,
                                const kube_node_t *patch, const kube_node_t *order, kg_error_t *err) {
  if (!f) {
    if (object->type == KG_V_MAP && patch->type == KG_V_MAP) return merge_map(a, NULL, object, patch, err);
    return plain(a, patch);
  }
  if (object->type != patch->type) return plain(a, patch);
  if (patch->type == KG_V_MAP) {
    if (f->patch & KUBE_PATCH_REPLACE) return plain(a, patch);
    return merge_map(a, f->shape == KUBE_ONE && f->kind == KUBE_T_STRUCT ? f->type : NULL, object, patch, err);
  }
  if (patch->type == KG_V_ARRAY && (f->patch & KUBE_PATCH_MERGE) && (f->kind != KUBE_T_STRUCT || f->patch_key)) {
    return merge_list(a, f, object, patch, order, err);
  }
  return plain(a, patch);
}

/* An order for a list that the patch does not change otherwise. */
static void reorder(kube_arena_t *a, const kube_type_t *t, kube_node_t *out, const kube_node_t *patch, kg_str_t key,
                    const kube_node_t *order) {
  const kube_field_t *f = kube_field_find(t, key);
  kube_node_t *list = kube_getn(out, key);
  if (!f || !list || list->type != KG_V_ARRAY || kube_getn(patch, key) || order->type != KG_V_ARRAY) return;
  kube_setn(a, out, key,
            arrange(a, list, order, kube_tree_clone(a, list), f->kind == KUBE_T_STRUCT ? f->patch_key : NULL));
}

static int merge_key(kube_arena_t *a, const kube_type_t *t, kube_node_t *out, const kube_node_t *patch, uint32_t i,
                     kg_error_t *err) {
  kg_str_t key = patch->c.keys[i], rest;
  const kube_node_t *v = patch->c.items[i];
  if (starts(key, delete_prefix, &rest)) {
    delete_from_list(kube_getn(out, rest), v);
  } else if (starts(key, order_prefix, &rest)) {
    reorder(a, t, out, patch, rest, v);
  } else if (is_directive(key)) {
    return 0;
  } else if (v->type == KG_V_NIL) {
    kube_strike(out, key);
  } else {
    const kube_node_t *had = kube_getn(out, key);
    kube_node_t *merged =
        had ? merge_value(a, t ? kube_field_find(t, key) : NULL, had, v, order_of(a, patch, key), err) : plain(a, v);
    if (!merged) return -1;
    kube_setn(a, out, key, merged);
  }
  return 0;
}

static kube_node_t *merge_map(kube_arena_t *a, const kube_type_t *t, const kube_node_t *object,
                              const kube_node_t *patch, kg_error_t *err) {
  const kube_node_t *directive = kube_get(patch, "$patch");
  if (directive) {
    kg_str_t what = kube_node_str(directive);
    if (kg_str_is(what, "replace")) return plain(a, patch);
    if (kg_str_is(what, "delete")) return kube_map(a);
    if (!kg_str_is(what, "merge")) {
      kg_error_set(err, KG_EINVAL, "unknown patch type found: " KG_STR_FMT, KG_STR_ARG(what));
      return NULL;
    }
  }
  kube_node_t *out = kube_tree_clone(a, object);
  if (retain_keys(out, patch, err) != 0) return NULL;
  for (uint32_t i = 0; i < patch->c.n; i++) {
    if (merge_key(a, t, out, patch, i, err) != 0) return NULL;
  }
  kube_settle(a, out);
  return out;
}

kube_node_t *kube_patch_strategic(kube_arena_t *a, const kube_type_t *t, const kube_node_t *object,
                                  const kube_node_t *patch, kg_error_t *err) {
  if (!patch || patch->type != KG_V_MAP) {
    kg_error_set(err, KG_EINVAL, "json: cannot unmarshal %s into Go value of type map[string]interface {}",
                 patch && patch->type == KG_V_ARRAY ? "array"
                 : patch && patch->type == KG_V_STR ? "string"
                                                    : "value");
    return NULL;
  }
  return merge_map(a, t, object, patch, err);
}
