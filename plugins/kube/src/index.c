#include "kube/index.h"

#include <stdlib.h>

#include "kube/values.h"

struct kube_indexed {
  kube_indexed_t *next; /* in its bucket */
  uint64_t key;
  kg_doc_t *doc;
};

uint64_t kube_index_key(kg_str_t one, kg_str_t two) {
  uint64_t h = kg_hash_str(kg_hash_str(kg_hash_str(KG_HASH_START, one), KG_STR("/")), two);
  return h ^ h >> 32;
}

static void grow(kube_index_t *x) {
  size_t n = x->nbuckets ? x->nbuckets * 2 : 64;
  kube_indexed_t **buckets = calloc(n, sizeof(kube_indexed_t *));
  if (!buckets) return;
  for (size_t i = 0; i < x->nbuckets; i++)
    for (kube_indexed_t *e = x->buckets[i], *next; e; e = next) {
      next = e->next;
      e->next = buckets[e->key % n];
      buckets[e->key % n] = e;
    }
  free(x->buckets);
  x->buckets = buckets;
  x->nbuckets = n;
}

static bool is_of(const kube_indexed_t *e, uint64_t key, kg_view_t object) {
  if (e->key != key) return false;
  kg_view_t mine = kg_view_of(e->doc);
  return kg_str_eq(kube_name(mine), kube_name(object)) && kg_str_eq(kube_namespace(mine), kube_namespace(object));
}

void kube_index_remove(kube_index_t *x, uint64_t key, kg_view_t object) {
  kube_indexed_t **at = x->nbuckets ? &x->buckets[key % x->nbuckets] : NULL;
  while (at && *at && !is_of(*at, key, object)) at = &(*at)->next;
  kube_indexed_t *e = at ? *at : NULL;
  if (!e) return;
  *at = e->next;
  x->count--;
  kg_doc_unref(e->doc);
  free(e);
}

void kube_index_add(kube_index_t *x, uint64_t key, kg_doc_t *doc) {
  if (!doc) return;
  kube_index_remove(x, key, kg_view_of(doc)); /* an address may stand twice in one object */
  if (x->count >= x->nbuckets) grow(x);
  kube_indexed_t *e = x->nbuckets ? calloc(1, sizeof *e) : NULL;
  if (!e) return;
  *e = (kube_indexed_t){x->buckets[key % x->nbuckets], key, kg_doc_ref(doc)};
  x->buckets[key % x->nbuckets] = e;
  x->count++;
}

kg_doc_t *kube_index_next(const kube_index_t *x, uint64_t key, const kube_indexed_t **at) {
  const kube_indexed_t *e = *at ? (*at)->next : x->nbuckets ? x->buckets[key % x->nbuckets] : NULL;
  while (e && e->key != key) e = e->next;
  *at = e;
  return e ? e->doc : NULL;
}

void kube_index_free(kube_index_t *x) {
  for (size_t i = 0; i < x->nbuckets; i++)
    for (kube_indexed_t *e = x->buckets[i], *next; e; e = next) {
      next = e->next;
      kg_doc_unref(e->doc);
      free(e);
    }
  free(x->buckets);
  *x = (kube_index_t){0};
}
