/*
 * A collection as it was some changes ago: what has changed since is laid over what there is now. So the pages of one
 * list show one state, and a list at an exact revision needs no copy.
 */
#include <stdlib.h>

#include "api.h"

struct past {
  kg_str_t key;
  int64_t rev; /* of the change; the earliest one counts */
  object_t *o; /* what was there before it; NULL: nothing */
};

static int by_key_and_age(const void *a, const void *b) {
  const struct past *x = a, *y = b;
  int d = kg_str_cmp(x->key, y->key);
  return d ? d : (x->rev > y->rev) - (x->rev < y->rev);
}

static size_t changes_since(const collection_t *c, int64_t rev) {
  size_t n = 0;
  while (n < c->ring_count && c->ring[(c->ring_first + c->ring_count - 1 - n) % c->ring_room]->rev > rev) n++;
  return n;
}

static void fold(cursor_t *k, kg_str_t start) {
  size_t kept = 0;
  qsort(k->past, k->npast, sizeof *k->past, by_key_and_age);
  for (size_t i = 0; i < k->npast; i++) {
    if (kg_str_cmp(k->past[i].key, start) < 0) continue;
    if (kept && kg_str_eq(k->past[kept - 1].key, k->past[i].key)) continue;
    k->past[kept++] = k->past[i];
  }
  k->npast = kept;
}

int cursor_open(cursor_t *k, const collection_t *c, int64_t rev, kg_str_t start) {
  size_t n = changes_since(c, rev);
  *k = (cursor_t){.objects = &c->objects, .pos = sorted_seek(&c->objects, start)};
  if (rev < c->ring_after) return 1;
  if (!n) return 0;
  if (!(k->past = malloc(n * sizeof *k->past))) return -1;
  for (size_t i = 0; i < n; i++) {
    const change_t *e = c->ring[(c->ring_first + c->ring_count - 1 - i) % c->ring_room];
    k->past[i] = (struct past){object_key(e->old ? e->old : e->now), e->rev, e->old};
  }
  k->npast = n;
  fold(k, start);
  return 0;
}

object_t *cursor_next(cursor_t *k) {
  for (;;) {
    sorted_pos_t here = k->pos;
    object_t *o = sorted_at(k->objects, &k->pos);
    if (k->at == k->npast) return o;
    const struct past *p = &k->past[k->at];
    int d = o ? kg_str_cmp(object_key(o), p->key) : 1;
    if (d < 0) return o;
    if (d > 0) k->pos = here; /* gone since, or not yet there: what is now comes later */
    k->at++;
    if (p->o) return p->o;
  }
}

void cursor_close(cursor_t *k) {
  free(k->past);
  k->past = NULL;
}
