#include <stdlib.h>
#include <string.h>

#include "replicaset.h"

enum { BELIEVED_MS = 60 * 1000 };

static ahead_t **place(const rsc_t *c, const char *key) {
  uint32_t h = 2166136261u;
  for (const char *p = key; *p; p++) h = (h ^ (uint8_t)*p) * 16777619u;
  ahead_t **at = (ahead_t **)&c->ahead[h % AHEAD_BUCKETS];
  while (*at && strcmp((*at)->key, key)) at = &(*at)->next;
  return at;
}

static void drop(expected_t **at) {
  expected_t *e = *at;
  *at = e->next;
  free(e->name);
  free(e);
}

void expect(kg_ctx_t *ctx, rsc_t *c, const char *key, kg_str_t pod, bool deletion) {
  ahead_t **at = place(c, key);
  if (!*at) {
    *at = calloc(1, sizeof **at);
    (*at)->key = strdup(key);
  }
  expected_t *e = calloc(1, sizeof *e);
  *e = (expected_t){(*at)->list, kg_str_dup(pod), deletion, kg_now_ms(ctx) + BELIEVED_MS};
  (*at)->list = e;
}

static void drop_if_empty(ahead_t **at) {
  ahead_t *a = *at;
  if (a->list) return;
  *at = a->next;
  free(a->key);
  free(a);
}

void expect_seen(rsc_t *c, const char *key, kg_str_t pod, bool deletion) {
  ahead_t **at = place(c, key);
  if (!*at) return;
  for (expected_t **e = &(*at)->list; *e;)
    if ((*e)->deletion == deletion && kg_str_is(pod, (*e)->name))
      drop(e);
    else
      e = &(*e)->next;
  drop_if_empty(at);
}

bool expects_creation(kg_ctx_t *ctx, rsc_t *c, const char *key) {
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

bool expects_deletion_of(const rsc_t *c, const char *key, kg_str_t pod) {
  ahead_t **at = place(c, key);
  for (expected_t *e = *at ? (*at)->list : NULL; e; e = e->next)
    if (e->deletion && kg_str_is(pod, e->name)) return true;
  return false;
}

void expect_forget(rsc_t *c, const char *key) {
  ahead_t **at = place(c, key);
  if (!*at) return;
  while ((*at)->list) drop(&(*at)->list);
  drop_if_empty(at);
}

void expect_free(rsc_t *c) {
  for (size_t i = 0; i < AHEAD_BUCKETS; i++)
    while (c->ahead[i]) {
      while (c->ahead[i]->list) drop(&c->ahead[i]->list);
      drop_if_empty(&c->ahead[i]);
    }
}
