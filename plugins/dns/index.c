/* Objects found by what a question says, without going through all of them. An entry holds a reference to the
 * informer's own document. */
#include "dns.h"
#include "kube/values.h"

struct indexed {
  indexed_t *next; /* in its bucket */
  uint64_t key;
  kg_doc_t *doc;
};

/* --- keys --------------------------------------------------------------------------------------------------------- */

static uint64_t key_of(char kind, kg_str_t one, kg_str_t two) {
  uint64_t h = kg_hash(KG_HASH_START, &kind, 1);
  h = kg_hash_str(kg_hash_str(kg_hash_str(h, one), KG_STR("/")), two);
  return h ^ h >> 32;
}

uint64_t index_service_key(kg_str_t ip) {
  return key_of('a', ip, KG_STR(""));
}

uint64_t index_slice_key(kg_str_t ns, kg_str_t service) {
  return key_of('s', ns, service);
}

uint64_t index_endpoint_key(kg_str_t ip) {
  return key_of('e', ip, KG_STR(""));
}

/* --- entries ------------------------------------------------------------------------------------------------------ */

static void grow(index_t *x) {
  size_t n = x->nbuckets ? x->nbuckets * 2 : 64;
  indexed_t **buckets = calloc(n, sizeof(indexed_t *));
  if (!buckets) return;
  for (size_t i = 0; i < x->nbuckets; i++)
    for (indexed_t *e = x->buckets[i], *next; e; e = next) {
      next = e->next;
      e->next = buckets[e->key % n];
      buckets[e->key % n] = e;
    }
  free(x->buckets);
  x->buckets = buckets;
  x->nbuckets = n;
}

static bool is_of(const indexed_t *e, uint64_t key, kg_view_t object) {
  if (e->key != key) return false;
  kg_view_t mine = kg_view_of(e->doc);
  return kg_str_eq(kube_name(mine), kube_name(object)) && kg_str_eq(kube_namespace(mine), kube_namespace(object));
}

static void remove_entry(index_t *x, uint64_t key, kg_view_t object) {
  indexed_t **at = x->nbuckets ? &x->buckets[key % x->nbuckets] : NULL;
  while (at && *at && !is_of(*at, key, object)) at = &(*at)->next;
  indexed_t *e = at ? *at : NULL;
  if (!e) return;
  *at = e->next;
  x->count--;
  kg_doc_unref(e->doc);
  free(e);
}

static void add_entry(index_t *x, uint64_t key, kg_doc_t *doc) {
  remove_entry(x, key, kg_view_of(doc)); /* an address may stand twice in one object */
  if (x->count >= x->nbuckets) grow(x);
  indexed_t *e = x->nbuckets ? calloc(1, sizeof *e) : NULL;
  if (!e) return;
  *e = (indexed_t){x->buckets[key % x->nbuckets], key, kg_doc_ref(doc)};
  x->buckets[key % x->nbuckets] = e;
  x->count++;
}

/* doc NULL: the object's entry goes. */
static void change(index_t *x, uint64_t key, kg_view_t object, kg_doc_t *doc) {
  if (doc)
    add_entry(x, key, doc);
  else
    remove_entry(x, key, object);
}

void index_service(index_t *x, kg_view_t service, kg_doc_t *doc) {
  kg_view_t spec = kg_view_get(service, "spec");
  kg_str_t ip = kg_view_str(kg_view_get(spec, "clusterIP"));
  if (!ip.n || kg_str_is(ip, "None")) return;
  change(x, index_service_key(ip), service, doc);
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "clusterIPs")); kg_iter_next(&it);)
    change(x, index_service_key(kg_view_str(it.value)), service, doc);
}

void index_slice(index_t *x, kg_view_t slice, kg_doc_t *doc) {
  kg_str_t service = kg_view_str(kg_view_get(kube_labels(slice), "kubernetes.io/service-name"));
  if (!service.n) return;
  change(x, index_slice_key(kube_namespace(slice), service), slice, doc);
  for (kg_iter_t it = kg_iter(kg_view_get(slice, "endpoints")); kg_iter_next(&it);)
    change(x, index_endpoint_key(kg_view_str(kg_view_at(kg_view_get(it.value, "addresses"), 0))), slice, doc);
}

kg_doc_t *index_next(const index_t *x, uint64_t key, const indexed_t **at) {
  const indexed_t *e = *at ? (*at)->next : x->nbuckets ? x->buckets[key % x->nbuckets] : NULL;
  while (e && e->key != key) e = e->next;
  *at = e;
  return e ? e->doc : NULL;
}

void index_free(index_t *x) {
  for (size_t i = 0; i < x->nbuckets; i++)
    for (indexed_t *e = x->buckets[i], *next; e; e = next) {
      next = e->next;
      kg_doc_unref(e->doc);
      free(e);
    }
  free(x->buckets);
  *x = (index_t){0};
}
