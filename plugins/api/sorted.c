/* Objects in order of their keys. */
#include <stdlib.h>
#include <string.h>

#include "api.h"

object_t *object_new(kg_str_t key, int64_t rev, int64_t create, kg_doc_t *doc) {
  object_t *o = malloc(sizeof *o + key.n + 1);
  if (!o) return NULL;
  o->refs = 1;
  o->nkey = (uint32_t)key.n;
  o->rev = rev;
  o->create = create;
  o->doc = kg_doc_ref(doc);
  memcpy(o->key, key.p, key.n);
  o->key[key.n] = '\0';
  return o;
}

object_t *object_ref(object_t *o) {
  if (o) o->refs++;
  return o;
}

void object_unref(object_t *o) {
  if (!o || --o->refs) return;
  kg_doc_unref(o->doc);
  free(o);
}

/* Last chunk whose first key is not above `key` (the first chunk if there is none). */
static size_t find_chunk(const sorted_t *s, kg_str_t key) {
  size_t low = 0, high = s->nchunks;
  while (low < high) {
    size_t mid = (low + high) / 2;
    if (kg_str_cmp(object_key(s->chunks[mid]->at[0]), key) <= 0)
      low = mid + 1;
    else
      high = mid;
  }
  return low ? low - 1 : 0;
}

static uint32_t find_in(const sorted_chunk_t *c, kg_str_t key) {
  uint32_t low = 0, high = c->n;
  while (low < high) {
    uint32_t mid = (low + high) / 2;
    if (kg_str_cmp(object_key(c->at[mid]), key) < 0)
      low = mid + 1;
    else
      high = mid;
  }
  return low;
}

sorted_pos_t sorted_seek(const sorted_t *s, kg_str_t key) {
  if (!s->nchunks) return (sorted_pos_t){0, 0};
  size_t chunk = find_chunk(s, key);
  return (sorted_pos_t){chunk, find_in(s->chunks[chunk], key)};
}

object_t *sorted_at(const sorted_t *s, sorted_pos_t *pos) {
  while (pos->chunk < s->nchunks && pos->i >= s->chunks[pos->chunk]->n) {
    pos->chunk++;
    pos->i = 0;
  }
  return pos->chunk < s->nchunks ? s->chunks[pos->chunk]->at[pos->i++] : NULL;
}

object_t *sorted_get(const sorted_t *s, kg_str_t key) {
  if (!s->nchunks) return NULL;
  sorted_pos_t pos = sorted_seek(s, key);
  const sorted_chunk_t *c = s->chunks[pos.chunk];
  return pos.i < c->n && kg_str_eq(object_key(c->at[pos.i]), key) ? c->at[pos.i] : NULL;
}

static int insert_chunk(sorted_t *s, size_t at) {
  if (s->nchunks == s->room) {
    size_t room = s->room ? s->room * 2 : 4;
    sorted_chunk_t **more = realloc(s->chunks, room * sizeof *more);
    if (!more) return -1;
    s->chunks = more;
    s->room = room;
  }
  sorted_chunk_t *c = calloc(1, sizeof *c);
  if (!c) return -1;
  memmove(s->chunks + at + 1, s->chunks + at, (s->nchunks - at) * sizeof *s->chunks);
  s->chunks[at] = c;
  s->nchunks++;
  return 0;
}

/* Makes room in a full chunk. Keys that come in order leave full chunks behind, others halves. */
static int split(sorted_t *s, sorted_pos_t *pos) {
  if (insert_chunk(s, pos->chunk + 1) < 0) return -1;
  sorted_chunk_t *left = s->chunks[pos->chunk], *right = s->chunks[pos->chunk + 1];
  bool last = pos->chunk + 2 == s->nchunks && pos->i == left->n;
  uint32_t keep = last ? left->n : left->n / 2;
  right->n = left->n - keep;
  memcpy(right->at, left->at + keep, right->n * sizeof *right->at);
  left->n = keep;
  if (pos->i > keep || last) {
    pos->chunk++;
    pos->i -= keep;
  }
  return 0;
}

int sorted_put(sorted_t *s, object_t *o, object_t **old) {
  *old = NULL;
  if (!s->nchunks && insert_chunk(s, 0) < 0) return -1;
  sorted_pos_t pos = {0, 0};
  if (s->count) pos = sorted_seek(s, object_key(o));
  sorted_chunk_t *c = s->chunks[pos.chunk];
  if (pos.i < c->n && kg_str_eq(object_key(c->at[pos.i]), object_key(o))) {
    *old = c->at[pos.i];
    c->at[pos.i] = o;
    return 0;
  }
  if (c->n == SORTED_CHUNK && split(s, &pos) < 0) return -1;
  c = s->chunks[pos.chunk];
  memmove(c->at + pos.i + 1, c->at + pos.i, (c->n - pos.i) * sizeof *c->at);
  c->at[pos.i] = o;
  c->n++;
  s->count++;
  return 0;
}

object_t *sorted_take(sorted_t *s, kg_str_t key) {
  if (!s->nchunks) return NULL;
  sorted_pos_t pos = sorted_seek(s, key);
  sorted_chunk_t *c = s->chunks[pos.chunk];
  if (pos.i >= c->n || !kg_str_eq(object_key(c->at[pos.i]), key)) return NULL;
  object_t *o = c->at[pos.i];
  c->n--;
  memmove(c->at + pos.i, c->at + pos.i + 1, (c->n - pos.i) * sizeof *c->at);
  s->count--;
  if (!c->n) {
    free(c);
    s->nchunks--;
    memmove(s->chunks + pos.chunk, s->chunks + pos.chunk + 1, (s->nchunks - pos.chunk) * sizeof *s->chunks);
  }
  return o;
}

void sorted_free(sorted_t *s) {
  for (size_t i = 0; i < s->nchunks; i++) {
    for (uint32_t k = 0; k < s->chunks[i]->n; k++) object_unref(s->chunks[i]->at[k]);
    free(s->chunks[i]);
  }
  free(s->chunks);
  *s = (sorted_t){0};
}
