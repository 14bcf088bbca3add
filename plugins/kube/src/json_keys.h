#ifndef KUBE_JSON_KEYS_H
#define KUBE_JSON_KEYS_H
/* The keys of one JSON object while it is read: found in constant time however many there are. */
#include "kogge/pack.h"

typedef struct json_key {
  uint32_t key, value; /* where they begin in the packed bytes; value: the last one of that key */
} json_key_t;

enum { JSON_FEW = 12 };
typedef struct json_keys {
  json_key_t first[JSON_FEW], *more; /* more: all of them, once there are more than JSON_FEW */
  uint32_t n, room, *slots, nslots;  /* slots: index + 1 by hash */
  uint64_t seed;                     /* strangers choose the keys, so they must not know how they are spread */
  bool twice;                        /* some key came more than once */
} json_keys_t;

static inline void json_keys_start(json_keys_t *k) { /* not all of it: most objects are small, and there are many */
  k->more = NULL;
  k->slots = NULL;
  k->n = k->room = k->nslots = 0;
  k->twice = false;
}
/* The key, NULL if it is not there. `p`: what was packed so far. */
json_key_t *json_keys_find(json_keys_t *k, const kg_pack_t *p, kg_str_t key);
/* Adds a key that is not there. -1: out of memory. */
int json_keys_add(json_keys_t *k, const kg_pack_t *p, json_key_t add);
void json_keys_free(json_keys_t *k);
/* Where keys came more than once: leaves each where it came first, with its last value. -1: out of memory. */
int json_keys_settle(json_keys_t *k, kg_pack_t *p, size_t from);

#endif
