#include "json_keys.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static kg_str_t text_at(const kg_pack_t *p, uint32_t at) {
  return kg_view_str((kg_view_t){p->data + at, p->data + p->size});
}

static uint32_t slot_of(const json_keys_t *k, kg_str_t key) {
  uint64_t h = kg_hash_str(k->seed, key);
  return (uint32_t)(h ^ h >> 32) & (k->nslots - 1);
}

json_key_t *json_keys_find(json_keys_t *k, const kg_pack_t *p, kg_str_t key) {
  if (!k->nslots) {
    for (uint32_t i = 0; i < k->n; i++)
      if (kg_str_eq(text_at(p, k->first[i].key), key)) return &k->first[i];
    return NULL;
  }
  for (uint32_t s = slot_of(k, key); k->slots[s]; s = (s + 1) & (k->nslots - 1)) {
    json_key_t *found = &k->more[k->slots[s] - 1];
    if (kg_str_eq(text_at(p, found->key), key)) return found;
  }
  return NULL;
}

static void place(json_keys_t *k, const kg_pack_t *p, uint32_t i) {
  uint32_t s = slot_of(k, text_at(p, k->more[i].key));
  while (k->slots[s]) s = (s + 1) & (k->nslots - 1);
  k->slots[s] = i + 1;
}

/* Twice the room, and four slots for each key of it. */
static int grow(json_keys_t *k, const kg_pack_t *p) {
  uint32_t room = k->room ? 2 * k->room : 64;
  json_key_t *more = realloc(k->more, room * sizeof *more);
  uint32_t *slots = more ? calloc(4 * room, sizeof *slots) : NULL;
  if (more) k->more = more;
  if (!slots) return -1;
  if (!k->nslots) {
    memcpy(more, k->first, k->n * sizeof *more);
    if (getrandom(&k->seed, sizeof k->seed, 0) < 0) k->seed = (uintptr_t)more;
  }
  free(k->slots);
  k->slots = slots;
  k->room = room;
  k->nslots = 4 * room;
  for (uint32_t i = 0; i < k->n; i++) place(k, p, i);
  return 0;
}

int json_keys_add(json_keys_t *k, const kg_pack_t *p, json_key_t add) {
  if (k->n < JSON_FEW) {
    k->first[k->n++] = add;
    return 0;
  }
  if (k->n >= k->room && grow(k, p) < 0) return -1;
  k->more[k->n] = add;
  place(k, p, k->n++);
  return 0;
}

void json_keys_free(json_keys_t *k) {
  free(k->more);
  free(k->slots);
}

int json_keys_settle(json_keys_t *k, kg_pack_t *p, size_t from) {
  if (!k->twice || p->failed) return 0;
  const json_key_t *list = k->nslots ? k->more : k->first;
  uint8_t *copy = malloc(p->size - from), *at = copy;
  if (!copy) return -1;
  for (uint32_t i = 0; i < k->n; i++) { /* in the order in which they came first */
    size_t key = kg_view_span((kg_view_t){p->data + list[i].key, p->data + p->size}),
           value = kg_view_span((kg_view_t){p->data + list[i].value, p->data + p->size});
    memcpy(at, p->data + list[i].key, key);
    memcpy(at + key, p->data + list[i].value, value);
    at += key + value;
  }
  memcpy(p->data + from, copy, (size_t)(at - copy));
  p->size = from + (size_t)(at - copy);
  p->open[p->depth - 1].count = 2 * k->n;
  free(copy);
  return 0;
}
