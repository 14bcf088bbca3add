#include "compare.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

uint64_t kg_view_hash(kg_view_t v) {
  kg_vtype_t type = kg_view_type(v);
  uint64_t h = kg_hash(KG_HASH_START, &type, sizeof type);
  if (type == KG_V_ARRAY || type == KG_V_MAP) {
    for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) {
      uint64_t value = kg_view_hash(it.value);
      if (type == KG_V_MAP) /* pairs come in any order */
        h += kg_hash(kg_view_hash(it.key), &value, sizeof value);
      else
        h = kg_hash(h, &value, sizeof value);
    }
    return h;
  }
  kg_str_t s = type == KG_V_BIN ? kg_view_bin(v) : kg_view_str(v);
  if (s.p) return kg_hash_str(h, s);
  union {
    double d;
    uint64_t u;
  } n = {.u = 0};
  if (type == KG_V_FLOAT)
    n.d = kg_view_float(v, 0);
  else if (type == KG_V_BOOL)
    n.u = kg_view_bool(v, false);
  else
    n.u = type == KG_V_INT ? (uint64_t)kg_view_int(v, 0) : kg_view_uint(v, 0);
  return kg_hash(h, &n, sizeof n);
}

static bool ignored(char *const *ignore, const char *path) {
  for (; ignore && *ignore; ignore++)
    if (fnmatch(*ignore, path, 0) == 0) return true;
  return false;
}

/* The path grows by a part for the time of one comparison. */
static size_t push(kg_difference_t *d, const char *fmt, int n, const char *text, size_t index) {
  size_t at = strlen(d->path);
  if (text)
    snprintf(d->path + at, sizeof d->path - at, fmt, n, text);
  else
    snprintf(d->path + at, sizeof d->path - at, fmt, index);
  return at;
}

static bool differ(kg_view_t a, kg_view_t b, char *const *ignore, kg_difference_t *d);

static bool pair_differs(kg_view_t a, kg_view_t b, kg_view_t key, char *const *ignore, kg_difference_t *d) {
  kg_str_t name = kg_view_str(key);
  size_t at = push(d, *d->path ? ".%.*s" : "%.*s", (int)name.n, name.p ? name.p : "?", 0);
  if (differ(a, b, ignore, d)) return true;
  d->path[at] = 0;
  return false;
}

static bool maps_differ(kg_view_t a, kg_view_t b, char *const *ignore, kg_difference_t *d) {
  for (kg_iter_t it = kg_iter(a); kg_iter_next(&it);)
    if (pair_differs(it.value, kg_view_get_str(b, kg_view_str(it.key)), it.key, ignore, d)) return true;
  for (kg_iter_t it = kg_iter(b); kg_iter_next(&it);)
    if (!kg_view_there(kg_view_get_str(a, kg_view_str(it.key))) &&
        pair_differs((kg_view_t){0}, it.value, it.key, ignore, d))
      return true;
  return false;
}

static bool arrays_differ(kg_view_t a, kg_view_t b, char *const *ignore, kg_difference_t *d) {
  kg_iter_t ia = kg_iter(a), ib = kg_iter(b);
  for (size_t i = 0;; i++) {
    bool more_a = kg_iter_next(&ia), more_b = kg_iter_next(&ib);
    if (!more_a && !more_b) return false;
    size_t at = push(d, "[%zu]", 0, NULL, i);
    if (differ(more_a ? ia.value : (kg_view_t){0}, more_b ? ib.value : (kg_view_t){0}, ignore, d)) return true;
    d->path[at] = 0;
  }
}

static bool differ(kg_view_t a, kg_view_t b, char *const *ignore, kg_difference_t *d) {
  kg_vtype_t ta = kg_view_type(a), tb = kg_view_type(b);
  if (kg_view_equal(a, b)) return false;
  if (ignored(ignore, d->path)) return false;
  if (ta == tb && ta == KG_V_MAP) return maps_differ(a, b, ignore, d);
  if (ta == tb && ta == KG_V_ARRAY) return arrays_differ(a, b, ignore, d);
  d->a = a;
  d->b = b;
  return true;
}

bool kg_views_differ(kg_view_t a, kg_view_t b, char *const *ignore, kg_difference_t *d) {
  return differ(a, b, ignore, d);
}

static bool texts_differ(const char *what, const char *a, const char *b, char *const *ignore, kg_difference_t *d) {
  if (strcmp(a, b) == 0 || ignored(ignore, what)) return false;
  snprintf(d->path, sizeof d->path, "%s", what);
  snprintf(d->ta, sizeof d->ta, "%s", a);
  snprintf(d->tb, sizeof d->tb, "%s", b);
  return true;
}

static bool heads_differ(const kg_msg_t *a, const kg_msg_t *b, char *const *ignore, kg_difference_t *d) {
  static const char *const types[] = {"none", "request", "reply", "error", "event", "item", "end", "cancel", "credit"};
  char ca[16], cb[16];
  snprintf(ca, sizeof ca, "%d", a->code);
  snprintf(cb, sizeof cb, "%d", b->code);
  return texts_differ("type", types[a->type], types[b->type], ignore, d) ||
         texts_differ("topic", a->topic, b->topic, ignore, d) || texts_differ("code", ca, cb, ignore, d) ||
         texts_differ("text", a->text, b->text, ignore, d);
}

bool kg_messages_differ(const kg_msg_t *a, const kg_msg_t *b, char *const *ignore, kg_difference_t *d) {
  if (heads_differ(a, b, ignore, d)) return true;
  strcpy(d->path, "args");
  if (a->args != b->args && differ(kg_view_of(a->args), kg_view_of(b->args), ignore, d)) return true;
  for (uint32_t i = 0; i < a->ndocs || i < b->ndocs; i++) {
    kg_doc_t *da = kg_msg_doc(a, i), *db = kg_msg_doc(b, i);
    snprintf(d->path, sizeof d->path, "docs[%u]", i);
    if (da != db && differ(kg_view_of(da), kg_view_of(db), ignore, d)) return true;
  }
  d->path[0] = 0;
  return false;
}
