/* What must hold of the records: nothing acknowledged is lost, revisions rise, watches tell each change once, and every
 * key's history is linearizable. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

static void fault(verdict_t *v, const char *fmt, ...) KG_PRINTF(2, 3);
static void fault(verdict_t *v, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  if (!v->faults++) vsnprintf(v->first, sizeof v->first, fmt, ap);
  va_end(ap);
}

static const change_t *find_change(const changes_t *c, int64_t rev) {
  size_t low = 0, high = c->n;
  while (low < high) {
    size_t mid = (low + high) / 2;
    if (c->list[mid].rev < rev)
      low = mid + 1;
    else
      high = mid;
  }
  return low < c->n && c->list[low].rev == rev ? &c->list[low] : NULL;
}

static bool is_write(const record_t *r) {
  return r->op.kind != LIN_READ && (r->unknown || r->op.result == LIN_DONE);
}

/* --- watches
 * ------------------------------------------------------------------------------------------------------------ */

static void check_told(verdict_t *v, const load_t *l) {
  const changes_t *t = &l->told;
  for (size_t i = 1; i < t->n; i++)
    if (t->list[i].rev <= t->list[i - 1].rev)
      fault(v, "the watch told revision %lld after %lld", (long long)t->list[i].rev, (long long)t->list[i - 1].rev);
  if (!l->replayed) return;
  for (size_t i = 0; i < t->n || i < l->replay.n; i++) {
    const change_t *a = i < t->n ? &t->list[i] : NULL, *b = i < l->replay.n ? &l->replay.list[i] : NULL;
    if (a && b && a->rev == b->rev && a->value == b->value && a->deleted == b->deleted) continue;
    return fault(v, "the resumed watch told revision %lld where the history has %lld", a ? (long long)a->rev : 0LL,
                 b ? (long long)b->rev : 0LL);
  }
}

static void check_acknowledged(verdict_t *v, const load_t *l) {
  for (size_t i = 0; i < l->nrecords; i++) {
    const record_t *r = &l->records[i];
    v->operations++;
    v->unknown += r->unknown;
    if (!is_write(r) || r->unknown) continue;
    v->acknowledged++;
    const change_t *c = find_change(&l->told, r->op.rev);
    if (!c || c->round != r->round || c->key != r->key || c->deleted != (r->op.kind == LIN_DELETE) ||
        c->value != r->op.value)
      fault(v, "lost: the acknowledged %s of value %lld as revision %lld", r->op.kind == LIN_PUT ? "put" : "delete",
            (long long)r->op.value, (long long)r->op.rev);
  }
}

/* --- revisions: who was answered before another was called has the smaller one, whatever the keys
 * --------------------------- */

static int by_end(const void *a, const void *b) {
  const record_t *x = *(record_t *const *)a, *y = *(record_t *const *)b;
  return x->op.end < y->op.end ? -1 : x->op.end > y->op.end;
}

static int by_begin(const void *a, const void *b) {
  const record_t *x = *(record_t *const *)a, *y = *(record_t *const *)b;
  return x->op.begin < y->op.begin ? -1 : x->op.begin > y->op.begin;
}

static void check_revisions(verdict_t *v, load_t *l) {
  record_t **ends = calloc(l->nrecords + 1, sizeof *ends), **begins = calloc(l->nrecords + 1, sizeof *begins);
  size_t n = 0, ended = 0;
  int64_t most = 0;
  for (size_t i = 0; i < l->nrecords; i++)
    if (is_write(&l->records[i]) && !l->records[i].unknown) ends[n] = begins[n] = &l->records[i], n++;
  qsort(ends, n, sizeof *ends, by_end);
  qsort(begins, n, sizeof *begins, by_begin);
  for (size_t i = 0; i < n; i++) {
    for (; ended < n && ends[ended]->op.end < begins[i]->op.begin; ended++)
      if (ends[ended]->op.rev > most) most = ends[ended]->op.rev;
    if (begins[i]->op.rev <= most)
      fault(v, "revision %lld was given after %lld had been answered", (long long)begins[i]->op.rev, (long long)most);
  }
  free(ends);
  free(begins);
}

/* --- histories of one key each
 * ----------------------------------------------------------------------------------------------- */

typedef struct history {
  lin_op_t *ops;
  size_t n, room;
  int64_t first_unknown_delete; /* when it was called; 0: there is none */
} history_t;

static void add_op(history_t *h, const lin_op_t *op) {
  if (h->n == h->room) {
    h->room = h->room ? h->room * 2 : 256;
    h->ops = realloc(h->ops, h->room * sizeof *h->ops);
    if (!h->ops) abort();
  }
  h->ops[h->n++] = *op;
}

static int by_value(const void *a, const void *b) {
  const record_t *x = *(record_t *const *)a, *y = *(record_t *const *)b;
  return x->op.value < y->op.value ? -1 : x->op.value > y->op.value;
}

typedef struct owners { /* puts by their values, which are unique */
  record_t **list;
  size_t n;
} owners_t;

static record_t *owner_of(const owners_t *o, int64_t value) {
  record_t key = {.op.value = value}, *k = &key, **found = bsearch(&k, o->list, o->n, sizeof *o->list, by_value);
  return found ? *found : NULL;
}

static int64_t *acknowledged_deletes(load_t *l, size_t *n) {
  int64_t *revs = calloc(l->nrecords + 1, sizeof *revs);
  *n = 0;
  for (size_t i = 0; i < l->nrecords; i++) {
    const record_t *r = &l->records[i];
    if (r->op.kind == LIN_DELETE && !r->unknown && r->op.result == LIN_DONE) revs[(*n)++] = r->op.rev;
  }
  return revs;
}

static int by_number(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

/* Of writes without an answer those were done that the watch told of. They count as never answered. */
static void add_unanswered(verdict_t *v, load_t *l, history_t *all, size_t keys) {
  owners_t o = {.list = calloc(l->nrecords + 1, sizeof *o.list)};
  size_t ndeletes;
  int64_t *deletes = acknowledged_deletes(l, &ndeletes);
  qsort(deletes, ndeletes, sizeof *deletes, by_number);
  for (size_t i = 0; i < l->nrecords; i++)
    if (l->records[i].op.kind == LIN_PUT) o.list[o.n++] = &l->records[i];
  qsort(o.list, o.n, sizeof *o.list, by_value);
  for (size_t i = 0; i < l->told.n; i++) {
    const change_t *c = &l->told.list[i];
    history_t *h = &all[(size_t)c->round * keys + (size_t)c->key];
    record_t *r = c->deleted ? NULL : owner_of(&o, c->value);
    lin_op_t op = {.kind = LIN_DELETE, .begin = h->first_unknown_delete};
    if (r) op = r->op;
    op.rev = c->rev;
    op.value = c->value;
    op.result = LIN_DONE;
    op.end = INT64_MAX - 1; /* before the last reads */
    bool mine = c->deleted ? !bsearch(&c->rev, deletes, ndeletes, sizeof *deletes, by_number) : r && r->unknown;
    if (mine && op.begin)
      add_op(h, &op);
    else if (mine || (!c->deleted && !r))
      fault(v, "revision %lld is a change that nobody made", (long long)c->rev);
  }
  free(o.list);
  free(deletes);
}

static history_t *collect(verdict_t *v, load_t *l, size_t rounds, size_t keys) {
  history_t *all = calloc(rounds * keys, sizeof *all);
  if (!all) abort();
  for (size_t i = 0; i < l->nrecords; i++) {
    const record_t *r = &l->records[i];
    history_t *h = &all[(size_t)r->round * keys + (size_t)r->key];
    if (!r->unknown)
      add_op(h, &r->op);
    else if (r->op.kind == LIN_DELETE && (!h->first_unknown_delete || r->op.begin < h->first_unknown_delete))
      h->first_unknown_delete = r->op.begin;
  }
  add_unanswered(v, l, all, keys);
  return all;
}

/* What is there in the end is read by one more client, after everything. */
static void add_last_reads(load_t *l, history_t *all, size_t n, size_t keys) {
  bool *there = calloc(n, sizeof *there);
  lin_op_t read = {.kind = LIN_READ, .begin = INT64_MAX, .end = INT64_MAX};
  for (size_t i = 0; i < l->left.n; i++) {
    const change_t *c = &l->left.list[i];
    size_t at = (size_t)c->round * keys + (size_t)c->key;
    there[at] = true;
    read.result = LIN_DONE;
    read.rev = c->rev;
    read.value = c->value;
    add_op(&all[at], &read);
  }
  read = (lin_op_t){.kind = LIN_READ, .result = LIN_ABSENT, .begin = INT64_MAX, .end = INT64_MAX};
  for (size_t i = 0; i < n; i++)
    if (!there[i] && all[i].n) add_op(&all[i], &read);
  free(there);
}

static void check_histories(verdict_t *v, load_t *l) {
  size_t rounds = (size_t)atomic_load(&l->round) + 1, keys = (size_t)l->keys, n = rounds * keys;
  history_t *all = collect(v, l, rounds, keys);
  add_last_reads(l, all, n, keys);
  for (size_t i = 0; i < n; i++) {
    char text[300];
    const char *why = all[i].n ? lin_check(all[i].ops, all[i].n, text, sizeof text) : NULL;
    v->histories += all[i].n > 0;
    if (why) fault(v, "key /check/%zu/%zu is not linearizable: %s", i / keys, i % keys, why);
    free(all[i].ops);
  }
  free(all);
}

verdict_t judge(load_t *l) {
  verdict_t v = {.resumed = l->resumed};
  if (l->trouble[0]) fault(&v, "%s", l->trouble);
  check_told(&v, l);
  check_acknowledged(&v, l);
  check_revisions(&v, l);
  check_histories(&v, l);
  return v;
}
