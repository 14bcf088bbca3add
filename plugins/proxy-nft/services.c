#include "proxy.h"

#include <stdio.h>

#include "kube/values.h"

static size_t hash(kg_str_t ns, kg_str_t name) {
  uint64_t h = kg_hash_str(kg_hash_str(kg_hash_str(KG_HASH_START, ns), KG_STR("/")), name);
  return (size_t)(h ^ h >> 32);
}

static size_t hash_of(const service_t *s) {
  const char *slash = strchr(s->key, '/');
  return hash((kg_str_t){s->key, (size_t)(slash - s->key)}, kg_str(slash + 1));
}

static void grow(services_t *s) {
  size_t n = s->nbuckets ? s->nbuckets * 2 : 64;
  service_t **buckets = calloc(n, sizeof *buckets);
  if (!buckets) return;
  for (size_t i = 0; i < s->nbuckets; i++)
    for (service_t *one = s->buckets[i], *next; one; one = next) {
      next = one->next;
      service_t **at = &buckets[hash_of(one) % n];
      one->next = *at;
      *at = one;
    }
  free(s->buckets);
  s->buckets = buckets;
  s->nbuckets = n;
}

static bool is(const service_t *s, kg_str_t ns, kg_str_t name) {
  return !strncmp(s->key, ns.p, ns.n) && s->key[ns.n] == '/' && kg_str_is(name, s->key + ns.n + 1);
}

service_t *services_get(services_t *s, kg_str_t ns, kg_str_t name, bool make) {
  if (!ns.n || !name.n) return NULL;
  size_t h = hash(ns, name);
  for (service_t *one = s->nbuckets ? s->buckets[h % s->nbuckets] : NULL; one; one = one->next)
    if (is(one, ns, name)) return one;
  if (!make) return NULL;
  if (s->count >= s->nbuckets) grow(s);
  service_t *one = s->nbuckets ? calloc(1, sizeof *one) : NULL;
  if (!one || asprintf(&one->key, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(ns), KG_STR_ARG(name)) < 0) {
    free(one);
    return NULL;
  }
  service_t **at = &s->buckets[h % s->nbuckets];
  one->next = *at;
  *at = one;
  s->count++;
  return one;
}

static void service_free(service_t *s) {
  health_close(s);
  for (size_t i = 0; i < s->nslices; i++) kg_doc_unref(s->slices[i]);
  kg_doc_unref(s->doc);
  affinities_free(s->affinities, s->naffinities);
  free(s->slices);
  free(s->live.all);
  free(s->key);
  free(s);
}

void services_drop(services_t *s, service_t *one) {
  service_t **at = &s->buckets[hash_of(one) % s->nbuckets];
  while (*at != one) at = &(*at)->next;
  *at = one->next;
  s->count--;
  service_free(one);
}

void services_free(services_t *s) {
  for (size_t i = 0; i < s->nbuckets; i++)
    for (service_t *one = s->buckets[i], *next; one; one = next) {
      next = one->next;
      service_free(one);
    }
  free(s->buckets);
  *s = (services_t){0};
}

service_t *services_next(const services_t *s, const service_t *after) {
  if (after && after->next) return after->next;
  for (size_t i = after ? hash_of(after) % s->nbuckets + 1 : 0; i < s->nbuckets; i++)
    if (s->buckets[i]) return s->buckets[i];
  return NULL;
}

void service_slice(service_t *s, kg_str_t name, kg_doc_t *doc) {
  size_t i = 0;
  while (i < s->nslices && !kg_str_eq(kube_name(kg_view_of(s->slices[i])), name)) i++;
  if (i < s->nslices) {
    kg_doc_unref(s->slices[i]);
    if (doc)
      s->slices[i] = kg_doc_ref(doc);
    else
      s->slices[i] = s->slices[--s->nslices];
    return;
  }
  kg_doc_t **more = doc ? realloc(s->slices, (s->nslices + 1) * sizeof *more) : NULL;
  if (!more) return;
  s->slices = more;
  s->slices[s->nslices++] = kg_doc_ref(doc);
}
