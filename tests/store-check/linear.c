/*
 * Wing and Gong's check. The next operation is sought among the minimal ones: those called before any that is not yet
 * placed has answered. In general that is a search with backtracking. Here every write's revision is known, so that
 * there is one order of the writes that can be right; and an operation that changes nothing and fits the state can be
 * placed at once, because whatever holds with it later holds with it now. So no choice is left, and the answer is
 * exact.
 */
#include "linear.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct state {
  bool there;
  int64_t rev, value; /* of the value, if there */
  int64_t last;       /* revision of the last write */
} state_t;

typedef struct check {
  lin_op_t *ops;   /* by call */
  bool *placed;    /* by the same index */
  size_t *writes;  /* indexes of writes that were done, by revision */
  size_t *answers; /* all indexes by answer */
  size_t n, nwrites, written, answered, first;
  state_t state;
} check_t;

static int by_begin(const void *a, const void *b) {
  const lin_op_t *x = a, *y = b;
  return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static int by_end(const void *a, const void *b, void *ops) {
  const lin_op_t *x = &((lin_op_t *)ops)[*(const size_t *)a], *y = &((lin_op_t *)ops)[*(const size_t *)b];
  return x->end < y->end ? -1 : x->end > y->end;
}

static int by_rev(const void *a, const void *b, void *ops) {
  const lin_op_t *x = &((lin_op_t *)ops)[*(const size_t *)a], *y = &((lin_op_t *)ops)[*(const size_t *)b];
  return x->rev < y->rev ? -1 : x->rev > y->rev;
}

static bool changes(const lin_op_t *op) {
  return op->kind != LIN_READ && op->result == LIN_DONE;
}

static bool guard_holds(const state_t *s, const lin_op_t *op) {
  return !op->guarded || op->expect == (s->there ? s->rev : 0);
}

/* Whether the operation could answer so in this state. */
static bool fits(const state_t *s, const lin_op_t *op) {
  if (op->kind == LIN_READ)
    return op->result == LIN_ABSENT ? !s->there : s->there && s->rev == op->rev && s->value == op->value;
  if (op->result == LIN_ABSENT) return !s->there;
  if (op->result == LIN_CONFLICT) return !guard_holds(s, op);
  if (!guard_holds(s, op) || op->rev <= s->last) return false;
  return op->kind == LIN_PUT || (s->there && s->value == op->value);
}

static void place(check_t *c, size_t i) {
  const lin_op_t *op = &c->ops[i];
  c->placed[i] = true;
  if (!changes(op)) return;
  c->written++;
  c->state = (state_t){.there = op->kind == LIN_PUT, .rev = op->rev, .value = op->value, .last = op->rev};
}

/* The earliest answer among those not placed: who was called after it must be placed later. */
static int64_t horizon(check_t *c) {
  while (c->answered < c->n && c->placed[c->answers[c->answered]]) c->answered++;
  return c->answered < c->n ? c->ops[c->answers[c->answered]].end : INT64_MAX;
}

/* Places all that change nothing and fit now. */
static bool place_readers(check_t *c) {
  bool any = false;
  int64_t limit = horizon(c);
  while (c->first < c->n && c->placed[c->first]) c->first++;
  for (size_t i = c->first; i < c->n && c->ops[i].begin <= limit; i++) {
    if (c->placed[i] || changes(&c->ops[i]) || !fits(&c->state, &c->ops[i])) continue;
    place(c, i);
    any = true;
  }
  return any;
}

static bool place_writer(check_t *c) {
  if (c->written == c->nwrites) return false;
  size_t i = c->writes[c->written];
  if (c->ops[i].begin > horizon(c) || !fits(&c->state, &c->ops[i])) return false;
  place(c, i);
  return true;
}

static void tell(const check_t *c, char *text, size_t room) {
  static const char *const kinds[] = {"read", "put", "delete"}, *const results[] = {"done", "absent", "conflict"};
  const lin_op_t *op = &c->ops[c->answers[c->answered]];
  snprintf(
      text, room,
      "a %s (%s, guard %lld, revision %lld, value %lld) fits nowhere between its call and its answer; the key was at "
      "revision %lld, value %lld%s",
      kinds[op->kind], results[op->result], op->guarded ? (long long)op->expect : -1LL, (long long)op->rev,
      (long long)op->value, (long long)c->state.last, (long long)c->state.value, c->state.there ? "" : ", absent");
}

const char *lin_check(lin_op_t *ops, size_t n, char *text, size_t room) {
  check_t c = {.ops = ops, .n = n};
  c.placed = calloc(n + 1, sizeof *c.placed);
  c.writes = calloc(n + 1, sizeof *c.writes);
  c.answers = calloc(n + 1, sizeof *c.answers);
  qsort(ops, n, sizeof *ops, by_begin);
  for (size_t i = 0; i < n; i++) {
    c.answers[i] = i;
    if (changes(&ops[i])) c.writes[c.nwrites++] = i;
  }
  qsort_r(c.answers, n, sizeof *c.answers, by_end, ops);
  qsort_r(c.writes, c.nwrites, sizeof *c.writes, by_rev, ops);
  while (place_readers(&c) || place_writer(&c)) {
  }
  horizon(&c);
  bool good = c.answered == n;
  if (!good) tell(&c, text, room);
  free(c.placed);
  free(c.writes);
  free(c.answers);
  return good ? NULL : text;
}
