#include "correlate.h"

#include <stdlib.h>
#include <string.h>

/* What was not told again for ten minutes is forgotten; what is told again before becomes a count. */
static const int64_t FORGET_US = 600 * 1000000LL;
/* From the tenth message on those of one object, type and reason are told as one; an object may have 25 at once and one
 * more every five minutes, all told. */
enum { MESSAGES = 10, BURST = 25, REFILL_US = 300 * 1000000, FIRST_ROOM = 16, MOST_ROOM = 8192 };

/* --- tables that grow with what there is to remember
 * --------------------------------------------------------------- */

typedef struct { /* how each entry begins; hash 0: a free place */
  uint64_t hash;
  int64_t last_us;
} entry_t;

typedef struct {
  size_t size; /* of an entry */
  unsigned n, room;
  char *entries;
} table_t;

static entry_t *at(const table_t *t, uint64_t i) {
  return (entry_t *)(t->entries + (i & (t->room - 1)) * t->size);
}

/* Its entry, or the free place for it. */
static entry_t *place_of(const table_t *t, uint64_t hash) {
  uint64_t i = hash;
  while (at(t, i)->hash && at(t, i)->hash != hash) i++;
  return at(t, i);
}

/* Those of the future, too, are none: the clock was put back. */
static bool is_since(const entry_t *e, int64_t since, int64_t now) {
  return e->hash && e->last_us > since && e->last_us <= now;
}

static unsigned count_since(const table_t *t, int64_t since, int64_t now) {
  unsigned n = 0;
  for (unsigned i = 0; i < t->room; i++) n += is_since(at(t, i), since, now);
  return n;
}

/* Forgets what is old, where there is too much the older of it, and fits the room to what is left. */
static bool make_room(table_t *t, int64_t now) {
  int64_t since = now - FORGET_US;
  while (since < now && count_since(t, since, now) > MOST_ROOM / 2) since += (now - since + 1) / 2;
  table_t fresh = {.size = t->size, .n = count_since(t, since, now), .room = FIRST_ROOM};
  while (fresh.room < 2 * (fresh.n + 1)) fresh.room *= 2;
  fresh.entries = calloc(fresh.room, t->size);
  if (!fresh.entries) return false;
  for (unsigned i = 0; i < t->room; i++)
    if (is_since(at(t, i), since, now)) memcpy(place_of(&fresh, at(t, i)->hash), at(t, i), t->size);
  free(t->entries);
  *t = fresh;
  return true;
}

/* Its entry; a new one, zeroes, if there was none or it is too old. NULL: no memory. */
static void *entry_of(table_t *t, uint64_t hash, int64_t now, int64_t forget_us) {
  hash += !hash;
  entry_t *e = t->room ? place_of(t, hash) : NULL;
  if (!e || !e->hash) {
    if (4 * (t->n + 1) > 3 * t->room && !make_room(t, now)) return NULL;
    e = place_of(t, hash);
    t->n++;
  } else if (now - e->last_us > forget_us) {
    memset(e, 0, t->size);
  }
  e->hash = hash;
  return e;
}

/* --- the three memories
 * -------------------------------------------------------------------------------------------- */

typedef struct {
  entry_t e;
  uint64_t suffix;
  int64_t first_us;
  unsigned count;
} seen_t;

typedef struct { /* messages of one object, type and reason */
  entry_t e;
  uint32_t messages[MESSAGES];
  unsigned n;
} alike_t;

typedef struct { /* what an object may still tell */
  entry_t e;
  double tokens;
} budget_t;

struct correlator {
  table_t seen, alike, budgets;
};

correlator_t *correlator_new(void) {
  correlator_t *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  c->seen.size = sizeof(seen_t);
  c->alike.size = sizeof(alike_t);
  c->budgets.size = sizeof(budget_t);
  return c;
}

void correlator_free(correlator_t *c) {
  if (!c) return;
  free(c->seen.entries);
  free(c->alike.entries);
  free(c->budgets.entries);
  free(c);
}

static bool may_tell(correlator_t *c, uint64_t object, int64_t now) {
  budget_t *b = entry_of(&c->budgets, object, now, INT64_MAX);
  if (!b) return false;
  if (!b->e.last_us) b->tokens = BURST;
  if (b->e.last_us && now > b->e.last_us) b->tokens += (double)(now - b->e.last_us) / REFILL_US;
  if (b->tokens > BURST) b->tokens = BURST;
  b->e.last_us = now;
  if (b->tokens < 1) return false;
  b->tokens--;
  return true;
}

/* Whether so many other messages were alike that this one is told with them. */
static bool is_one_of_many(correlator_t *c, const event_key_t *k, int64_t now) {
  alike_t *a = entry_of(&c->alike, k->alike, now, FORGET_US);
  unsigned i = 0;
  if (!a) return false;
  a->e.last_us = now;
  while (i < a->n && a->messages[i] != (uint32_t)k->message) i++;
  if (i == a->n) a->messages[a->n++] = (uint32_t)k->message;
  if (a->n < MESSAGES) return false;
  a->n--;
  return true;
}

bool correlate(correlator_t *c, const event_key_t *k, int64_t now, uint64_t suffix, told_t *told) {
  if (!may_tell(c, k->object, now)) return false;
  bool combined = is_one_of_many(c, k, now);
  seen_t *s = entry_of(&c->seen, combined ? k->alike : k->same, now, FORGET_US);
  if (!s) return false;
  if (!s->count++) {
    s->suffix = suffix;
    s->first_us = now;
  }
  s->e.last_us = now;
  *told = (told_t){s->suffix, s->first_us, now, s->count, combined};
  return true;
}
