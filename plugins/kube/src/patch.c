/* JSON merge patch (RFC 7396) and JSON patch (RFC 6902). */
#include <stdlib.h>
#include <string.h>

#include "kube/schema.h"

/* --- merge
 * --------------------------------------------------------------------------------------------------------------- */

kube_node_t *kube_patch_merge(kube_arena_t *a, const kube_node_t *object, const kube_node_t *patch) {
  if (!patch || patch->type != KG_V_MAP) return patch ? kube_tree_clone(a, patch) : kube_nil(a);
  kube_node_t *out = object && object->type == KG_V_MAP ? kube_tree_clone(a, object) : kube_map(a);
  for (uint32_t i = 0; i < patch->c.n; i++) {
    kg_str_t key = patch->c.keys[i];
    const kube_node_t *v = patch->c.items[i];
    if (v->type == KG_V_NIL) {
      kube_strike(out, key);
    } else {
      kube_setn(a, out, key, kube_patch_merge(a, kube_getn(out, key), v));
    }
  }
  kube_settle(a, out);
  return out;
}

/* --- JSON patch
 * ------------------------------------------------------------------------------------------------------------ */

typedef struct place {
  kube_node_t *parent; /* NULL: the whole document */
  kg_str_t key;        /* of a map */
  uint32_t index;      /* of an array; its length: behind the end */
} place_t;

static int refuse(kg_error_t *err, const char *operation, kg_str_t path, const char *why) {
  return kg_error_set(err, 422, "the patch operation %s at \"" KG_STR_FMT "\" cannot be done: %s", operation,
                      KG_STR_ARG(path), why);
}

/* One step of a pointer, ~1 and ~0 undone. */
static kg_str_t step_of(kube_arena_t *a, const char *p, size_t n) {
  char *out = kube_arena_alloc(a, n + 1);
  size_t used = 0;
  for (size_t i = 0; i < n; i++) {
    if (p[i] == '~' && i + 1 < n && (p[i + 1] == '0' || p[i + 1] == '1')) {
      out[used++] = p[++i] == '0' ? '~' : '/';
    } else {
      out[used++] = p[i];
    }
  }
  return (kg_str_t){out, used};
}

static bool index_of(kg_str_t s, const kube_node_t *array, bool behind, uint32_t *index) {
  if (kg_str_is(s, "-") && behind) {
    *index = array->c.n;
    return true;
  }
  if (s.n == 0 || s.n > 9) return false;
  uint32_t v = 0;
  for (size_t i = 0; i < s.n; i++) {
    if (s.p[i] < '0' || s.p[i] > '9') return false;
    v = v * 10 + (uint32_t)(s.p[i] - '0');
  }
  *index = v;
  return v < array->c.n || (behind && v == array->c.n);
}

/* Finds the parent of what `path` points to; the last step may name something new when `create`. */
static int find_place(kube_arena_t *a, kube_node_t *root, kg_str_t path, bool create, place_t *place) {
  *place = (place_t){0};
  const char *p = path.p, *end = path.p + path.n;
  kube_node_t *n = root;
  while (p < end) {
    if (*p != '/') return -1;
    const char *stop = memchr(p + 1, '/', (size_t)(end - p - 1));
    if (!stop) stop = end;
    bool last = stop == end;
    place->parent = n;
    place->key = step_of(a, p + 1, (size_t)(stop - p - 1));
    if (n && n->type == KG_V_ARRAY) {
      if (!index_of(place->key, n, last && create, &place->index)) return -1;
      n = place->index < n->c.n ? n->c.items[place->index] : NULL;
    } else if (n && n->type == KG_V_MAP) {
      n = kube_getn(n, place->key);
      if (!n && !(last && create)) return -1;
    } else {
      return -1;
    }
    p = stop;
  }
  return 0;
}

static kube_node_t *value_at(kube_node_t *root, const place_t *place) {
  if (!place->parent) return root;
  if (place->parent->type == KG_V_ARRAY) return place->parent->c.items[place->index];
  return kube_getn(place->parent, place->key);
}

/* --- what a hostile patch may cost: copies of copies double, paths nest what is nested already */

enum { MOST_OPERATIONS = 10000, MOST_COPIED = 3 << 20 };

typedef struct patcher {
  kube_arena_t *a;
  kube_node_t *root;
  int64_t copied; /* bytes, as JSON would have them */
  kg_error_t *err;
} patcher_t;

/* About the bytes of n as JSON, and how deep it is. */
static int64_t weigh(const kube_node_t *n, unsigned depth, unsigned *deepest) {
  int64_t sum = 8 + (n->type == KG_V_STR ? (int64_t)n->s.n : 0);
  if (depth > *deepest) *deepest = depth;
  if (n->type != KG_V_MAP && n->type != KG_V_ARRAY) return sum;
  for (uint32_t i = 0; i < n->c.n; i++)
    sum += weigh(n->c.items[i], depth + 1, deepest) + (n->type == KG_V_MAP ? (int64_t)n->c.keys[i].n : 0);
  return sum;
}

static bool too_deep(const kube_node_t *v, kg_str_t path, int64_t *weight) {
  unsigned deepest = 0, steps = 0;
  for (size_t i = 0; i < path.n; i++) steps += path.p[i] == '/';
  *weight = weigh(v, 0, &deepest);
  return steps + deepest >= KG_DOC_MAX_DEPTH - 1;
}

static void insert(kube_arena_t *a, kube_node_t **root, const place_t *place, kube_node_t *v) {
  if (!place->parent) {
    *root = v;
  } else if (place->parent->type == KG_V_MAP) {
    kube_setn(a, place->parent, place->key, v);
  } else {
    kube_push(a, place->parent, v);
    kube_node_t **items = place->parent->c.items;
    memmove(items + place->index + 1, items + place->index, (place->parent->c.n - 1 - place->index) * sizeof *items);
    items[place->index] = v;
  }
}

static void take_out(kube_node_t **root, const place_t *place, kube_arena_t *a) {
  if (!place->parent) {
    *root = kube_nil(a);
  } else if (place->parent->type == KG_V_MAP) {
    kube_deln(place->parent, place->key);
  } else {
    kube_remove_at(place->parent, place->index);
  }
}

static bool text_of(const kube_node_t *op, const char *key, kg_str_t *out) {
  const kube_node_t *n = kube_get(op, key);
  *out = kube_node_str(n);
  return n && n->type == KG_V_STR;
}

static int apply_from(patcher_t *p, const kube_node_t *op, bool move) {
  int64_t weight;
  kg_str_t from, path = kube_node_str(kube_get(op, "path"));
  place_t source, target;
  if (!text_of(op, "from", &from) || find_place(p->a, p->root, from, false, &source) != 0) {
    return refuse(p->err, move ? "move" : "copy", from, "there is nothing to take");
  }
  kube_node_t *v = value_at(p->root, &source);
  if (too_deep(v, path, &weight)) return refuse(p->err, move ? "move" : "copy", path, "it would be nested too deep");
  if (!move && (p->copied += weight) > MOST_COPIED)
    return kg_error_set(
        p->err, 422,
        "Unable to complete the copy, the accumulated size increase of copy is %lld, exceeding the limit %d",
        (long long)p->copied, MOST_COPIED);
  if (move) {
    take_out(&p->root, &source, p->a);
  } else {
    v = kube_tree_clone(p->a, v);
  }
  if (find_place(p->a, p->root, path, true, &target) != 0)
    return refuse(p->err, move ? "move" : "copy", path, "there is no such place");
  insert(p->a, &p->root, &target, v);
  return 0;
}

static int apply_one(patcher_t *p, const kube_node_t *op) {
  kube_arena_t *a = p->a;
  kube_node_t **root = &p->root;
  kg_error_t *err = p->err;
  int64_t weight;
  kg_str_t name, path;
  if (!text_of(op, "op", &name) || !text_of(op, "path", &path)) {
    return kg_error_set(err, 422, "a patch operation needs `op` and `path`");
  }
  const kube_node_t *value = kube_get(op, "value");
  place_t place;
  if (value && too_deep(value, path, &weight)) return refuse(err, "with a value", path, "it would be nested too deep");
  if (kg_str_is(name, "add")) {
    if (!value) return refuse(err, "add", path, "it has no value");
    if (find_place(a, *root, path, true, &place) != 0) return refuse(err, "add", path, "there is no such place");
    insert(a, root, &place, kube_tree_clone(a, value));
    return 0;
  }
  if (kg_str_is(name, "move") || kg_str_is(name, "copy")) return apply_from(p, op, kg_str_is(name, "move"));
  bool test = kg_str_is(name, "test"), replace = kg_str_is(name, "replace"), gone = kg_str_is(name, "remove");
  if (!test && !replace && !gone)
    return refuse(err, "of an unknown kind", path, "add, remove, replace, move, copy and test are known");
  if (find_place(a, *root, path, false, &place) != 0) {
    /* null is what a test may expect of something absent */
    if (test && value && value->type == KG_V_NIL) return 0;
    refuse(err, test ? "test" : replace ? "replace" : "remove", path, "there is no such place");
    return -1;
  }
  if (test) {
    static const kube_node_t nil = {.type = KG_V_NIL};
    if (kube_tree_equal(value_at(*root, &place), value ? value : &nil)) return 0;
    return kg_error_set(err, 422, "testing value " KG_STR_FMT " failed", KG_STR_ARG(path));
  }
  take_out(root, &place, a);
  if (replace) insert(a, root, &place, value ? kube_tree_clone(a, value) : kube_nil(a));
  return 0;
}

kube_node_t *kube_patch_json(kube_arena_t *a, const kube_node_t *object, const kube_node_t *patch, kg_error_t *err) {
  if (!patch || patch->type != KG_V_ARRAY) {
    kg_error_set(err, KG_EINVAL,
                 "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp");
    return NULL;
  }
  if (patch->c.n > MOST_OPERATIONS) {
    kg_error_set(err, 413, "The allowed maximum operations in a JSON patch is %d, got %u", MOST_OPERATIONS, patch->c.n);
    return NULL;
  }
  patcher_t p = {.a = a, .root = kube_tree_clone(a, object), .err = err};
  for (uint32_t i = 0; i < patch->c.n; i++) {
    if (apply_one(&p, patch->c.items[i]) != 0) return NULL;
  }
  return p.root;
}
