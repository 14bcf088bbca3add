#include "victims.h"

#include <stdlib.h>

static int by_importance(const void *x, const void *y) {
  const victim_t *a = x, *b = y;
  if (a->priority != b->priority) return a->priority > b->priority ? -1 : 1;
  int64_t at = a->started_us ? a->started_us : INT64_MAX, bt = b->started_us ? b->started_us : INT64_MAX;
  return at != bt ? (at > bt) - (at < bt) : a->going - b->going;
}

void victims_sort(victim_t *all, size_t n) {
  if (n > 1) qsort(all, n, sizeof *all, by_importance);
}

static void spare(victim_t *all, size_t n, bool guarded, const victims_trial_t *t) {
  for (size_t i = 0; i < n; i++) {
    if (all[i].guarded != guarded) continue;
    t->move(t->arg, &all[i], true);
    all[i].goes = !t->fits(t->arg);
    if (all[i].goes) t->move(t->arg, &all[i], false);
  }
}

/* Those that go to the front, in their order. */
static void gather(victim_t *all, size_t n, victims_t *out) {
  for (size_t i = 0; i < n; i++) {
    if (!all[i].goes) continue;
    victim_t v = all[i];
    out->broken += v.guarded;
    for (size_t k = i; k > out->n; k--) all[k] = all[k - 1];
    all[out->n++] = v;
  }
}

bool victims_choose(victim_t *all, size_t n, const victims_trial_t *t, victims_t *out) {
  out->of = all;
  out->n = out->broken = 0;
  for (size_t i = 0; i < n; i++) t->move(t->arg, &all[i], false), all[i].goes = true;
  bool fits = n && t->fits(t->arg);
  if (fits) {
    spare(all, n, true, t);
    spare(all, n, false, t);
    gather(all, n, out);
  }
  for (size_t i = 0; i < n; i++)
    if (all[i].goes) t->move(t->arg, &all[i], true);
  return fits;
}

/* As if all were above zero: few of a low priority are not worse than many of it. */
static int64_t sum_of(const victims_t *v) {
  int64_t sum = 0;
  for (size_t i = 0; i < v->n; i++) sum += v->of[i].priority + ((int64_t)INT32_MAX + 1);
  return sum;
}

/* When the first of the most important was started. */
static int64_t first_start(const victims_t *v) {
  int64_t first = INT64_MAX;
  for (size_t i = 0; i < v->n && v->of[i].priority == v->of[0].priority; i++)
    if (v->of[i].started_us && v->of[i].started_us < first) first = v->of[i].started_us;
  return first;
}

bool victims_better(const victims_t *a, const victims_t *b) {
  if (a->broken != b->broken) return a->broken < b->broken;
  if (!a->n || !b->n) return a->n < b->n;
  if (a->of[0].priority != b->of[0].priority) return a->of[0].priority < b->of[0].priority;
  int64_t as = sum_of(a), bs = sum_of(b);
  if (as != bs) return as < bs;
  if (a->n != b->n) return a->n < b->n;
  return first_start(a) > first_start(b);
}
