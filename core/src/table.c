#include "table.h"

#include <stdlib.h>

static size_t spread(uint64_t key) {
  return (size_t)((key * 0x9e3779b97f4a7c15u) >> 20);
}

static struct kg_table_slot *find(const kg_table_t *t, uint64_t key) {
  size_t i = spread(key) & (t->room - 1);
  while (t->slots[i].key && t->slots[i].key != key) i = (i + 1) & (t->room - 1);
  return &t->slots[i];
}

void *kg_table_get(const kg_table_t *t, uint64_t key) {
  if (!t->count || !key) return NULL;
  struct kg_table_slot *s = find(t, key);
  return s->key ? s->value : NULL;
}

static int grow(kg_table_t *t) {
  kg_table_t bigger = {.room = t->room ? t->room * 2 : 16};
  bigger.slots = calloc(bigger.room, sizeof *bigger.slots);
  if (!bigger.slots) return -1;
  for (size_t i = 0; i < t->room; i++)
    if (t->slots[i].key) *find(&bigger, t->slots[i].key) = t->slots[i];
  bigger.count = t->count;
  free(t->slots);
  *t = bigger;
  return 0;
}

int kg_table_put(kg_table_t *t, uint64_t key, void *value) {
  if (!key) return -1;
  if ((t->count + 1) * 4 > t->room * 3 && grow(t) < 0) return -1;
  struct kg_table_slot *s = find(t, key);
  if (!s->key) t->count++;
  *s = (struct kg_table_slot){key, value};
  if ((size_t)(s - t->slots) < t->first) t->first = (size_t)(s - t->slots);
  return 0;
}

void *kg_table_remove(kg_table_t *t, uint64_t key) {
  if (!t->count || !key) return NULL;
  struct kg_table_slot *s = find(t, key);
  if (!s->key) return NULL;
  void *value = s->value;
  size_t mask = t->room - 1, hole = (size_t)(s - t->slots);
  /* Close the gap: move back every follower that may not be found past an empty slot. */
  for (size_t i = (hole + 1) & mask; t->slots[i].key; i = (i + 1) & mask) {
    size_t home = spread(t->slots[i].key) & mask;
    if (((i - home) & mask) < ((i - hole) & mask)) continue;
    t->slots[hole] = t->slots[i];
    hole = i;
  }
  t->slots[hole] = (struct kg_table_slot){0, NULL};
  t->count--;
  return value;
}

void *kg_table_any(kg_table_t *t, uint64_t *key) {
  if (!t->count) return NULL;
  while (!t->slots[t->first].key) t->first++; /* emptying a table looks at each slot once */
  *key = t->slots[t->first].key;
  return t->slots[t->first].value;
}

void kg_table_free(kg_table_t *t) {
  free(t->slots);
  *t = (kg_table_t){0};
}
