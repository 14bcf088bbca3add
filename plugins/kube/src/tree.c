#include "kube/tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- arena ------------------------------------------------------------------------------------------------------ */

enum { BLOCK = 16 * 1024 };

typedef struct block {
  struct block *next;
  size_t used, room;
  uint8_t bytes[] __attribute__((aligned(8)));
} block_t;

struct kube_arena {
  block_t *blocks; /* the one being filled first */
};

static void out_of_memory(void) {
  fputs("kogge: out of memory\n", stderr);
  exit(1);
}

static block_t *block_new(size_t room, block_t *next) {
  block_t *b = malloc(sizeof *b + room);
  if (!b) out_of_memory();
  b->next = next;
  b->used = 0;
  b->room = room;
  return b;
}

kube_arena_t *kube_arena_new(void) {
  kube_arena_t *a = malloc(sizeof *a);
  if (!a) out_of_memory();
  a->blocks = block_new(BLOCK, NULL);
  return a;
}

void kube_arena_free(kube_arena_t *a) {
  if (!a) return;
  for (block_t *b = a->blocks; b;) {
    block_t *next = b->next;
    free(b);
    b = next;
  }
  free(a);
}

void *kube_arena_alloc(kube_arena_t *a, size_t size) {
  size = (size + 7) & ~(size_t)7;
  block_t *b = a->blocks;
  if (b->room - b->used < size) {
    if (size > BLOCK / 4) { /* a block of its own behind the current one, which may still have room */
      b->next = block_new(size, b->next);
      b = b->next;
    } else {
      b = a->blocks = block_new(BLOCK, b);
    }
  }
  void *p = b->bytes + b->used;
  b->used += size;
  return memset(p, 0, size);
}

char *kube_arena_fmt(kube_arena_t *a, const char *fmt, ...) {
  va_list ap, again;
  va_start(ap, fmt);
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  char *z = kube_arena_alloc(a, (size_t)(n < 0 ? 0 : n) + 1);
  if (n > 0) vsnprintf(z, (size_t)n + 1, fmt, again);
  va_end(again);
  return z;
}

kg_str_t kube_arena_str(kube_arena_t *a, kg_str_t s) {
  char *z = kube_arena_alloc(a, s.n + 1);
  if (s.n) memcpy(z, s.p, s.n);
  return (kg_str_t){z, s.n};
}

/* --- parsing and packing ---------------------------------------------------------------------------------------- */

static kube_node_t *node_new(kube_arena_t *a, kg_vtype_t type) {
  kube_node_t *n = kube_arena_alloc(a, sizeof *n);
  n->type = type;
  return n;
}

static void reserve(kube_arena_t *a, kube_node_t *n, uint32_t room) {
  if (n->c.room >= room) return;
  uint32_t want = n->c.room ? n->c.room * 2 : 4;
  if (want < room) want = room;
  kube_node_t **items = kube_arena_alloc(a, want * sizeof *items);
  if (n->c.n) memcpy(items, n->c.items, n->c.n * sizeof *items);
  n->c.items = items;
  if (n->type == KG_V_MAP) {
    kg_str_t *keys = kube_arena_alloc(a, want * sizeof *keys);
    if (n->c.n) memcpy(keys, n->c.keys, n->c.n * sizeof *keys);
    n->c.keys = keys;
  }
  n->c.room = want;
}

/* --- finding keys: a map of many keys has an index, or strangers' objects would cost the square of their size --------
 */

enum { INDEX_FROM = 24, INDEX_HEAD = 2 }; /* in front of the slots: their number - 1, and the seed of the hash */

static uint32_t slot_of(const uint32_t *index, kg_str_t key) {
  uint64_t h = kg_hash_str(index[1] | 0xcbf29ce400000000ull, key);
  return (uint32_t)(h ^ h >> 32) & index[0];
}

static void index_add(kube_node_t *m, uint32_t i) {
  uint32_t *slots = m->c.index + INDEX_HEAD, mask = m->c.index[0], s = slot_of(m->c.index, m->c.keys[i]);
  while (slots[s]) s = (s + 1) & mask;
  slots[s] = i + 1;
}

static void reindex(kube_arena_t *a, kube_node_t *m) {
  m->c.index = NULL;
  if (m->c.n < INDEX_FROM) return;
  uint32_t n = 64;
  while (n < 4 * m->c.n) n *= 2;
  m->c.index = kube_arena_alloc(a, (INDEX_HEAD + n) * sizeof *m->c.index);
  m->c.index[0] = n - 1;
  m->c.index[1] = (uint32_t)((uintptr_t)m->c.index >> 4); /* nobody outside knows it */
  for (uint32_t i = 0; i < m->c.n; i++) index_add(m, i);
}

typedef struct member {
  kg_str_t key;
  kube_node_t *value;
} member_t;

static int by_key(const void *a, const void *b) {
  return kg_str_cmp(((const member_t *)a)->key, ((const member_t *)b)->key);
}

static bool is_sorted(const kube_node_t *m) {
  for (uint32_t i = 1; i < m->c.n; i++)
    if (kg_str_cmp(m->c.keys[i - 1], m->c.keys[i]) > 0) return false;
  return true;
}

static void sort_one(kube_arena_t *a, kube_node_t *m) {
  member_t *members = kube_arena_alloc(a, m->c.n * sizeof *members);
  for (uint32_t i = 0; i < m->c.n; i++) members[i] = (member_t){m->c.keys[i], m->c.items[i]};
  qsort(members, m->c.n, sizeof *members, by_key);
  for (uint32_t i = 0; i < m->c.n; i++) {
    m->c.keys[i] = members[i].key;
    m->c.items[i] = members[i].value;
  }
  reindex(a, m);
}

void kube_sort_keys(kube_arena_t *a, kube_node_t *m, bool deep) {
  if (!m || (m->type != KG_V_MAP && m->type != KG_V_ARRAY)) return;
  if (m->type == KG_V_MAP && !is_sorted(m)) sort_one(a, m);
  for (uint32_t i = 0; deep && i < m->c.n; i++) kube_sort_keys(a, m->c.items[i], true);
}

static int64_t place_of(const kube_node_t *m, kg_str_t key) {
  if (!m || m->type != KG_V_MAP) return -1;
  if (!m->c.index) {
    for (uint32_t i = 0; i < m->c.n; i++)
      if (kg_str_eq(m->c.keys[i], key)) return i;
    return -1;
  }
  const uint32_t *slots = m->c.index + INDEX_HEAD;
  for (uint32_t s = slot_of(m->c.index, key); slots[s]; s = (s + 1) & m->c.index[0])
    if (kg_str_eq(m->c.keys[slots[s] - 1], key)) return slots[s] - 1;
  return -1;
}

/* --- parsing and packing, again --------------------------------------------------------------------------------- */

static kube_node_t *parse(kube_arena_t *a, kg_view_t v, unsigned depth);

static kube_node_t *parse_container(kube_arena_t *a, kg_view_t v, kg_vtype_t type, unsigned depth) {
  kube_node_t *n = node_new(a, type);
  uint32_t count = (uint32_t)kg_view_count(v);
  reserve(a, n, count);
  kg_iter_t it = kg_iter(v);
  while (kg_iter_next(&it)) {
    if (type == KG_V_MAP) {
      kg_str_t key = kg_view_str(it.key);
      if (!key.p) return NULL;
      n->c.keys[n->c.n] = key;
    }
    kube_node_t *item = parse(a, it.value, depth + 1);
    if (!item) return NULL;
    n->c.items[n->c.n++] = item;
  }
  if (type == KG_V_MAP) reindex(a, n);
  return n->c.n == count ? n : NULL;
}

static kube_node_t *parse(kube_arena_t *a, kg_view_t v, unsigned depth) {
  if (depth > KG_DOC_MAX_DEPTH) return NULL;
  kg_vtype_t type = kg_view_type(v);
  if (type == KG_V_NONE) return NULL;
  if (type == KG_V_MAP || type == KG_V_ARRAY) return parse_container(a, v, type, depth);
  kube_node_t *n = node_new(a, type);
  switch (type) {
  case KG_V_BOOL:
    n->b = kg_view_bool(v, false);
    break;
  case KG_V_INT:
    n->i = kg_view_int(v, 0);
    break;
  case KG_V_UINT:
    n->u = kg_view_uint(v, 0);
    break;
  case KG_V_FLOAT:
    n->f = kg_view_float(v, 0);
    break;
  case KG_V_STR:
    n->s = kg_view_str(v);
    break;
  case KG_V_BIN:
    n->s = kg_view_bin(v);
    break;
  default:
    break;
  }
  return n;
}

kube_node_t *kube_tree_parse(kube_arena_t *a, kg_view_t v) {
  return parse(a, v, 0);
}

void kube_tree_pack(const kube_node_t *n, kg_pack_t *p) {
  if (!n) {
    kg_pack_nil(p);
    return;
  }
  switch (n->type) {
  case KG_V_BOOL:
    kg_pack_bool(p, n->b);
    break;
  case KG_V_INT:
    kg_pack_int(p, n->i);
    break;
  case KG_V_UINT:
    kg_pack_uint(p, n->u);
    break;
  case KG_V_FLOAT:
    kg_pack_float(p, n->f);
    break;
  case KG_V_STR:
    kg_pack_strn(p, (kg_str_t){n->s.p ? n->s.p : "", n->s.n});
    break;
  case KG_V_BIN:
    kg_pack_bin(p, n->s.p, n->s.n);
    break;
  case KG_V_MAP:
    kg_pack_map(p);
    for (uint32_t i = 0; i < n->c.n; i++) {
      kg_pack_strn(p, (kg_str_t){n->c.keys[i].p ? n->c.keys[i].p : "", n->c.keys[i].n});
      kube_tree_pack(n->c.items[i], p);
    }
    kg_pack_end(p);
    break;
  case KG_V_ARRAY:
    kg_pack_array(p);
    for (uint32_t i = 0; i < n->c.n; i++) kube_tree_pack(n->c.items[i], p);
    kg_pack_end(p);
    break;
  default:
    kg_pack_nil(p);
    break;
  }
}

kg_doc_t *kube_tree_doc(const kube_node_t *n) {
  kg_pack_t p = kg_pack();
  kube_tree_pack(n, &p);
  return kg_pack_doc(&p);
}

kube_node_t *kube_tree_clone(kube_arena_t *a, const kube_node_t *n) {
  if (!n) return NULL;
  kube_node_t *copy = node_new(a, n->type);
  if (n->type != KG_V_MAP && n->type != KG_V_ARRAY) {
    *copy = *n;
    return copy;
  }
  reserve(a, copy, n->c.n);
  for (uint32_t i = 0; i < n->c.n; i++) {
    if (n->type == KG_V_MAP) copy->c.keys[i] = n->c.keys[i];
    copy->c.items[i] = kube_tree_clone(a, n->c.items[i]);
  }
  copy->c.n = n->c.n;
  if (n->type == KG_V_MAP) reindex(a, copy);
  return copy;
}

static bool containers_equal(const kube_node_t *a, const kube_node_t *b) {
  if (a->c.n != b->c.n) return false;
  for (uint32_t i = 0; i < a->c.n; i++) {
    const kube_node_t *other = a->type == KG_V_MAP ? kube_getn(b, a->c.keys[i]) : b->c.items[i];
    if (!other || !kube_tree_equal(a->c.items[i], other)) return false;
  }
  return true;
}

bool kube_tree_equal(const kube_node_t *a, const kube_node_t *b) {
  if (!a || !b) return a == b;
  if (a->type != b->type) return false;
  switch (a->type) {
  case KG_V_BOOL:
    return a->b == b->b;
  case KG_V_INT:
    return a->i == b->i;
  case KG_V_UINT:
    return a->u == b->u;
  case KG_V_FLOAT:
    return a->f == b->f;
  case KG_V_STR:
  case KG_V_BIN:
    return kg_str_eq(a->s, b->s);
  case KG_V_MAP:
  case KG_V_ARRAY:
    return containers_equal(a, b);
  default:
    return true;
  }
}

/* --- making ------------------------------------------------------------------------------------------------------ */

kube_node_t *kube_nil(kube_arena_t *a) {
  return node_new(a, KG_V_NIL);
}
kube_node_t *kube_map(kube_arena_t *a) {
  return node_new(a, KG_V_MAP);
}
kube_node_t *kube_array(kube_arena_t *a) {
  return node_new(a, KG_V_ARRAY);
}

kube_node_t *kube_bool(kube_arena_t *a, bool v) {
  kube_node_t *n = node_new(a, KG_V_BOOL);
  n->b = v;
  return n;
}

kube_node_t *kube_int(kube_arena_t *a, int64_t v) {
  kube_node_t *n = node_new(a, KG_V_INT);
  n->i = v;
  return n;
}

kube_node_t *kube_float(kube_arena_t *a, double v) {
  kube_node_t *n = node_new(a, KG_V_FLOAT);
  n->f = v;
  return n;
}

kube_node_t *kube_strn(kube_arena_t *a, kg_str_t s) {
  kube_node_t *n = node_new(a, KG_V_STR);
  n->s = kube_arena_str(a, s);
  return n;
}

kube_node_t *kube_str(kube_arena_t *a, const char *z) {
  return kube_strn(a, kg_str(z));
}

kube_node_t *kube_strf(kube_arena_t *a, const char *fmt, ...) {
  va_list ap, again;
  va_start(ap, fmt);
  va_copy(again, ap);
  int size = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  char *z = kube_arena_alloc(a, (size_t)(size < 0 ? 0 : size) + 1);
  if (size > 0) vsnprintf(z, (size_t)size + 1, fmt, again);
  va_end(again);
  kube_node_t *n = node_new(a, KG_V_STR);
  n->s = kg_str(z);
  return n;
}

/* --- editing ----------------------------------------------------------------------------------------------------- */

kube_node_t *kube_getn(const kube_node_t *m, kg_str_t key) {
  int64_t i = place_of(m, key);
  return i < 0 ? NULL : m->c.items[i];
}

kube_node_t *kube_get(const kube_node_t *m, const char *key) {
  return kube_getn(m, kg_str(key));
}

kube_node_t *kube_path(const kube_node_t *m, ...) {
  va_list ap;
  va_start(ap, m);
  const kube_node_t *n = m;
  for (const char *key; n && (key = va_arg(ap, const char *));) n = kube_get(n, key);
  va_end(ap);
  return (kube_node_t *)n;
}

void kube_setn(kube_arena_t *a, kube_node_t *m, kg_str_t key, kube_node_t *v) {
  int64_t i = place_of(m, key);
  if (i < 0) {
    reserve(a, m, m->c.n + 1);
    i = m->c.n++;
    m->c.keys[i] = kube_arena_str(a, key);
    if (!m->c.index || 2 * m->c.n > m->c.index[0])
      reindex(a, m);
    else
      index_add(m, (uint32_t)i);
  }
  m->c.items[i] = v;
}

void kube_set(kube_arena_t *a, kube_node_t *m, const char *key, kube_node_t *v) {
  kube_setn(a, m, kg_str(key), v);
}

bool kube_deln(kube_node_t *m, kg_str_t key) {
  int64_t i = place_of(m, key);
  if (i < 0) return false;
  uint32_t after = m->c.n - (uint32_t)i - 1;
  memmove(m->c.keys + i, m->c.keys + i + 1, after * sizeof *m->c.keys);
  memmove(m->c.items + i, m->c.items + i + 1, after * sizeof *m->c.items);
  m->c.n--;
  m->c.index = NULL;
  return true;
}

void kube_strike(kube_node_t *m, kg_str_t key) {
  int64_t i = place_of(m, key);
  if (i >= 0) m->c.items[i] = NULL;
}

void kube_settle(kube_arena_t *a, kube_node_t *m) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < m->c.n; i++) {
    if (!m->c.items[i]) continue;
    m->c.keys[n] = m->c.keys[i];
    m->c.items[n++] = m->c.items[i];
  }
  if (n == m->c.n) return;
  m->c.n = n;
  reindex(a, m);
}

bool kube_del(kube_node_t *m, const char *key) {
  return kube_deln(m, kg_str(key));
}

kube_node_t *kube_sub(kube_arena_t *a, kube_node_t *m, const char *key) {
  kube_node_t *sub = kube_get(m, key);
  if (sub && sub->type == KG_V_MAP) return sub;
  sub = kube_map(a);
  kube_set(a, m, key, sub);
  return sub;
}

void kube_push(kube_arena_t *a, kube_node_t *arr, kube_node_t *v) {
  reserve(a, arr, arr->c.n + 1);
  arr->c.items[arr->c.n++] = v;
}

void kube_remove_at(kube_node_t *arr, uint32_t i) {
  if (i >= arr->c.n) return;
  memmove(arr->c.items + i, arr->c.items + i + 1, (arr->c.n - i - 1) * sizeof *arr->c.items);
  arr->c.n--;
}

kg_str_t kube_node_str(const kube_node_t *n) {
  return n && n->type == KG_V_STR ? n->s : (kg_str_t){NULL, 0};
}
int64_t kube_node_int(const kube_node_t *n, int64_t fallback) {
  return n && n->type == KG_V_INT ? n->i : fallback;
}
bool kube_node_bool(const kube_node_t *n, bool fallback) {
  return n && n->type == KG_V_BOOL ? n->b : fallback;
}
