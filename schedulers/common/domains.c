#include "domains.h"

#include <stdlib.h>
#include <string.h>

/* Of the value alone: a term has one key, or few. */
static uint64_t hash(uint32_t term, kg_str_t value) {
  uint64_t h = kg_hash_str(KG_HASH_START ^ term, value);
  return h ^ h >> 32;
}

/* Its place, or the empty one where it belongs; NULL in a table without room. */
static domain_t *place(const domains_t *d, uint32_t term, kg_str_t key, kg_str_t value) {
  if (!d->room) return NULL;
  for (size_t i = hash(term, value) & (d->room - 1);; i = (i + 1) & (d->room - 1)) {
    domain_t *at = &d->of[i];
    if (!at->key.p || (at->term == term && kg_str_eq(at->value, value) && kg_str_eq(at->key, key))) return at;
  }
}

static bool grow(domains_t *d) {
  if (d->used * 2 < d->room) return true;
  domains_t more = {.room = d->room ? d->room * 2 : 64};
  if (!(more.of = calloc(more.room, sizeof *more.of))) return d->used + 1 < d->room;
  for (size_t i = 0; i < d->room; i++)
    if (d->of[i].key.p) *place(&more, d->of[i].term, d->of[i].key, d->of[i].value) = d->of[i];
  free(d->of);
  d->of = more.of;
  d->room = more.room;
  return true;
}

static bool know_key(domains_t *d, kg_str_t key) {
  for (size_t i = 0; i < d->nkeys; i++)
    if (kg_str_eq(d->keys[i], key)) return true;
  if (d->nkeys == DOMAIN_KEYS) return false;
  d->keys[d->nkeys++] = key;
  return true;
}

void domains_add(domains_t *d, uint32_t term, kg_str_t key, kg_str_t value, int64_t n) {
  if (!key.p || !value.p || !grow(d)) return;
  domain_t *at = place(d, term, key, value);
  if (!at->key.p) {
    if (!know_key(d, key)) return;
    *at = (domain_t){.key = key, .value = value, .term = term};
    d->used++;
  }
  at->n += n;
}

int64_t domains_get(const domains_t *d, uint32_t term, kg_str_t key, kg_str_t value) {
  const domain_t *at = value.p ? place(d, term, key, value) : NULL;
  return at ? at->n : 0;
}

int64_t domains_least(const domains_t *d, uint32_t term, size_t *count) {
  int64_t least = INT64_MAX;
  *count = 0;
  for (size_t i = 0; i < d->room; i++) {
    if (!d->of[i].key.p || d->of[i].term != term) continue;
    ++*count;
    if (d->of[i].n < least) least = d->of[i].n;
  }
  return *count ? least : 0;
}

int64_t domains_sum(const domains_t *d, uint32_t term, kg_view_t node_labels) {
  int64_t sum = 0;
  for (size_t i = 0; i < d->nkeys; i++)
    sum += domains_get(d, term, d->keys[i], kg_view_str(kg_view_get_str(node_labels, d->keys[i])));
  return sum;
}

void domains_clear(domains_t *d) {
  if (d->used) memset(d->of, 0, d->room * sizeof *d->of);
  d->used = d->nkeys = 0;
}

void domains_free(domains_t *d) {
  free(d->of);
  *d = (domains_t){0};
}
