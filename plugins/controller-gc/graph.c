#include <stdlib.h>

#include "gc.h"

uint64_t uid_hash(kg_str_t uid) {
  return kg_hash_str(KG_HASH_START, uid);
}

static kg_view_t refs_of(kg_view_t object) {
  return kg_view_path(object, "metadata", "ownerReferences", NULL);
}

kg_view_t ref_to(kg_view_t object, kg_str_t uid) {
  for (kg_iter_t it = kg_iter(refs_of(object)); kg_iter_next(&it);)
    if (kg_str_eq(kg_view_str(kg_view_get(it.value, "uid")), uid)) return it.value;
  return (kg_view_t){0};
}

static void grow(gcc_t *c) {
  size_t n = c->nbuckets ? c->nbuckets * 2 : 64;
  edge_t **buckets = calloc(n, sizeof *buckets);
  if (!buckets) return; /* longer chains, then */
  for (size_t i = 0; i < c->nbuckets; i++)
    for (edge_t *e = c->buckets[i], *next; e; e = next) {
      next = e->next;
      e->next = buckets[e->owner & (n - 1)];
      buckets[e->owner & (n - 1)] = e;
    }
  free(c->buckets);
  c->buckets = buckets;
  c->nbuckets = n;
}

static void add_edge(gcc_t *c, const gc_kind_t *k, kg_doc_t *doc, uint64_t owner) {
  if (c->nedges >= c->nbuckets) grow(c);
  edge_t *e = c->nbuckets ? calloc(1, sizeof *e) : NULL;
  if (!e) return;
  edge_t **at = &c->buckets[owner & (c->nbuckets - 1)];
  *e = (edge_t){*at, owner, kg_doc_ref(doc), k->number};
  *at = e;
  c->nedges++;
}

void graph_add(gcc_t *c, const gc_kind_t *k, kg_doc_t *doc) {
  for (kg_iter_t it = kg_iter(refs_of(kg_view_of(doc))); kg_iter_next(&it);)
    add_edge(c, k, doc, uid_hash(kg_view_str(kg_view_get(it.value, "uid"))));
}

static void remove_edge(gcc_t *c, const gc_kind_t *k, kg_str_t dependent, uint64_t owner) {
  edge_t **at = c->nbuckets ? &c->buckets[owner & (c->nbuckets - 1)] : NULL;
  for (; at && *at; at = &(*at)->next) {
    edge_t *e = *at;
    if (e->owner != owner || e->kind != k->number || !kg_str_eq(kube_uid(kg_view_of(e->doc)), dependent)) continue;
    *at = e->next;
    kg_doc_unref(e->doc);
    free(e);
    c->nedges--;
    return;
  }
}

void graph_remove(gcc_t *c, const gc_kind_t *k, kg_view_t old) {
  for (kg_iter_t it = kg_iter(refs_of(old)); kg_iter_next(&it);)
    remove_edge(c, k, kube_uid(old), uid_hash(kg_view_str(kg_view_get(it.value, "uid"))));
}

edge_t *graph_next(const gcc_t *c, kg_str_t uid, edge_t *at) {
  uint64_t owner = uid_hash(uid);
  edge_t *e = at ? at->next : c->nbuckets ? c->buckets[owner & (c->nbuckets - 1)] : NULL;
  while (e && (e->owner != owner || !kg_view_there(ref_to(kg_view_of(e->doc), uid)))) e = e->next;
  return e;
}

void graph_free(gcc_t *c) {
  for (size_t i = 0; i < c->nbuckets; i++)
    while (c->buckets[i]) {
      edge_t *e = c->buckets[i];
      c->buckets[i] = e->next;
      kg_doc_unref(e->doc);
      free(e);
    }
  free(c->buckets);
}
