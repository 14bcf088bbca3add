#include <stdlib.h>
#include <string.h>

#include "control.h"

enum { BELIEVED_MS = 60 * 1000 };

typedef struct expected {
  struct expected *next;
  char *name;
  bool deletion;
  int64_t until_ms; /* then it is not believed any more */
} expected_t;

typedef struct ctl_ahead_key {
  struct ctl_ahead_key *next;
  char *key;
  expected_t *list;
} ahead_t;

static ahead_t **place(const ctl_ahead_t *c, const char *key) {
  uint64_t h = kg_hash_str(KG_HASH_START, kg_str(key));
  ahead_t **at = (ahead_t **)&c->buckets[h % CTL_AHEAD_BUCKETS];
  while (*at && strcmp((*at)->key, key)) at = &(*at)->next;
  return at;
}

static void drop(expected_t **at) {
  expected_t *e = *at;
  *at = e->next;
  free(e->name);
  free(e);
}

void ctl_expect(kg_ctx_t *ctx, ctl_ahead_t *c, const char *key, kg_str_t name, bool deletion) {
  ahead_t **at = place(c, key);
  if (!*at) {
    *at = calloc(1, sizeof **at);
    (*at)->key = strdup(key);
  }
  expected_t *e = calloc(1, sizeof *e);
  *e = (expected_t){(*at)->list, kg_str_dup(name), deletion, kg_now_ms(ctx) + BELIEVED_MS};
  (*at)->list = e;
}

static void drop_if_empty(ahead_t **at) {
  ahead_t *a = *at;
  if (a->list) return;
  *at = a->next;
  free(a->key);
  free(a);
}

void ctl_expect_seen(ctl_ahead_t *c, const char *key, kg_str_t name, bool deletion) {
  ahead_t **at = place(c, key);
  if (!*at) return;
  for (expected_t **e = &(*at)->list; *e;)
    if ((*e)->deletion == deletion && kg_str_is(name, (*e)->name))
      drop(e);
    else
      e = &(*e)->next;
  drop_if_empty(at);
}

bool ctl_expects_creation(kg_ctx_t *ctx, ctl_ahead_t *c, const char *key) {
  ahead_t **at = place(c, key);
  if (!*at) return false;
  bool found = false;
  for (expected_t **e = &(*at)->list; *e;) {
    if ((*e)->until_ms < kg_now_ms(ctx)) {
      drop(e);
      continue;
    }
    found |= !(*e)->deletion;
    e = &(*e)->next;
  }
  drop_if_empty(at);
  return found;
}

bool ctl_expects_deletion_of(const ctl_ahead_t *c, const char *key, kg_str_t name) {
  ahead_t **at = place(c, key);
  for (expected_t *e = *at ? (*at)->list : NULL; e; e = e->next)
    if (e->deletion && kg_str_is(name, e->name)) return true;
  return false;
}

void ctl_expect_forget(ctl_ahead_t *c, const char *key) {
  ahead_t **at = place(c, key);
  if (!*at) return;
  while ((*at)->list) drop(&(*at)->list);
  drop_if_empty(at);
}

void ctl_expect_free(ctl_ahead_t *c) {
  for (size_t i = 0; i < CTL_AHEAD_BUCKETS; i++)
    while (c->buckets[i]) {
      while (c->buckets[i]->list) drop(&c->buckets[i]->list);
      drop_if_empty(&c->buckets[i]);
    }
}
