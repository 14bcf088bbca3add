/* Sets of fields, in the form of FieldsV1. */
#include <string.h>

#include "kube/json.h"
#include "place.h"

static bool is_self(kg_str_t key) {
  return key.n == 1 && key.p[0] == '.';
}

bool kube_fields_member(const kube_node_t *set) {
  return set && set->type == KG_V_MAP && (!set->c.n || kube_get(set, ".") != NULL);
}

static bool has_children(const kube_node_t *set) {
  return set && set->type == KG_V_MAP && (set->c.n > 1 || (set->c.n == 1 && !is_self(set->c.keys[0])));
}

/* A node with its own membership said explicitly where it has children. */
static kube_node_t *finish(kube_arena_t *a, kube_node_t *out, bool member) {
  if (member && out->c.n) {
    kube_node_t *first = kube_map(a);
    kube_set(a, first, ".", kube_map(a));
    for (uint32_t i = 0; i < out->c.n; i++) kube_setn(a, first, out->c.keys[i], out->c.items[i]);
    return first;
  }
  return member || out->c.n ? out : NULL;
}

kube_node_t *kube_fields_union(kube_arena_t *a, const kube_node_t *x, const kube_node_t *y) {
  if (!x || !y) return x || y ? kube_tree_clone(a, x ? x : y) : NULL;
  kube_node_t *out = kube_map(a);
  for (uint32_t i = 0; i < x->c.n; i++)
    if (!is_self(x->c.keys[i]))
      kube_setn(a, out, x->c.keys[i], kube_fields_union(a, x->c.items[i], kube_getn(y, x->c.keys[i])));
  for (uint32_t i = 0; i < y->c.n; i++)
    if (!is_self(y->c.keys[i]) && !kube_getn(x, y->c.keys[i]))
      kube_setn(a, out, y->c.keys[i], kube_tree_clone(a, y->c.items[i]));
  return finish(a, out, kube_fields_member(x) || kube_fields_member(y));
}

kube_node_t *kube_fields_minus(kube_arena_t *a, const kube_node_t *x, const kube_node_t *y, bool deep) {
  if (!x) return NULL;
  if (!y) return kube_tree_clone(a, x);
  if (deep && kube_fields_member(y)) return NULL;
  kube_node_t *out = kube_map(a);
  for (uint32_t i = 0; i < x->c.n; i++) {
    if (is_self(x->c.keys[i])) continue;
    kube_node_t *left = kube_fields_minus(a, x->c.items[i], kube_getn(y, x->c.keys[i]), deep);
    if (left) kube_setn(a, out, x->c.keys[i], left);
  }
  return finish(a, out, kube_fields_member(x) && !kube_fields_member(y));
}

kube_node_t *kube_fields_common(kube_arena_t *a, const kube_node_t *x, const kube_node_t *y) {
  if (!x || !y) return NULL;
  kube_node_t *out = kube_map(a);
  for (uint32_t i = 0; i < x->c.n; i++) {
    const kube_node_t *other = kube_getn(y, x->c.keys[i]);
    kube_node_t *both = is_self(x->c.keys[i]) || !other ? NULL : kube_fields_common(a, x->c.items[i], other);
    if (both) kube_setn(a, out, x->c.keys[i], both);
  }
  return finish(a, out, kube_fields_member(x) && kube_fields_member(y));
}

/* `f:name` -> .name, `v:"x"` -> [="x"], `k:{"a":"b"}` -> [a="b"] */
static const char *element_text(kube_arena_t *a, kg_str_t key) {
  kg_str_t rest = {key.p + 2, key.n > 2 ? key.n - 2 : 0};
  kg_error_t err = {0};
  kube_buf_t b = {0};
  if (key.p[0] == 'f') return kube_arena_fmt(a, "." KG_STR_FMT, KG_STR_ARG(rest));
  if (key.p[0] == 'v') return kube_arena_fmt(a, "[=" KG_STR_FMT "]", KG_STR_ARG(rest));
  if (key.p[0] == 'i') return kube_arena_fmt(a, "[" KG_STR_FMT "]", KG_STR_ARG(rest));
  kg_doc_t *doc = kube_json_parse(rest.p, rest.n, NULL, NULL, &err);
  for (kg_iter_t it = kg_iter(kg_view_of(doc)); doc && kg_iter_next(&it);) {
    kg_str_t name = kg_view_str(it.key);
    kube_buf_fmt(&b, "%s" KG_STR_FMT "=", b.n ? "," : "[", KG_STR_ARG(name));
    kube_json_write(&b, it.value);
  }
  kg_doc_unref(doc);
  const char *text = kube_arena_fmt(a, "%.*s]", (int)b.n, b.p ? b.p : "");
  kube_buf_free(&b);
  return text;
}

static void each(kube_arena_t *a, const kube_node_t *set, const char *path, void (*fn)(const char *, void *),
                 void *arg) {
  if (*path && kube_fields_member(set)) fn(path, arg);
  for (uint32_t i = 0; has_children(set) && i < set->c.n; i++)
    if (!is_self(set->c.keys[i]))
      each(a, set->c.items[i], kube_arena_fmt(a, "%s%s", path, element_text(a, set->c.keys[i])), fn, arg);
}

void kube_fields_each(kube_arena_t *a, const kube_node_t *set, void (*fn)(const char *path, void *arg), void *arg) {
  if (set) each(a, set, "", fn, arg);
}
