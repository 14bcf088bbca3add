#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deployment.h"

static bool note_value(kg_view_t object, const char *key, int64_t *value) {
  kg_str_t s = kg_view_str(kube_annotation(object, key));
  char text[24] = "", *end;
  if (!s.n || s.n >= sizeof text) return false;
  memcpy(text, s.p, s.n);
  *value = strtoll(text, &end, 10);
  return !*end;
}

bool scale_wanted(const pass_t *p) {
  for (size_t i = 0; i < p->n; i++) {
    int64_t desired;
    if (p->sets[i].replicas > 0 && note_value(p->sets[i].object, NOTE_DESIRED, &desired) && desired != p->replicas)
      return true;
  }
  return false;
}

/* The only set with pods, or if none has any the newest or youngest; NULL if several have. */
static set_t *only_active(pass_t *p) {
  set_t *active = NULL;
  for (size_t i = 0; i < p->n; i++) {
    if (p->sets[i].replicas == 0) continue;
    if (active) return NULL;
    active = &p->sets[i];
  }
  if (active || p->newest || !p->n) return active ? active : p->newest;
  return &p->sets[p->n - 1];
}

static bool saturated(const pass_t *p) {
  int64_t desired;
  const set_t *s = p->newest;
  return s && note_value(s->object, NOTE_DESIRED, &desired) && s->replicas == p->replicas && desired == p->replicas &&
         s->available == p->replicas;
}

/* How the set's share of all pods changes with the deployment's size. */
static int64_t fraction(const pass_t *p, const set_t *s) {
  if (p->replicas == 0) return -s->replicas;
  int64_t before;
  if (!note_value(s->object, NOTE_MAX, &before) || before == 0)
    before = kg_view_int(kg_view_path(p->object, "status", "replicas", NULL), 0);
  if (before == 0) before = p->replicas + p->surge;
  double size = (double)s->replicas * (double)(p->replicas + p->surge) / (double)before;
  return (int64_t)llround(size) - s->replicas;
}

static int64_t proportion(const pass_t *p, const set_t *s, int64_t to_add, int64_t added) {
  if (s->replicas == 0 || to_add == 0 || to_add == added) return 0;
  int64_t f = fraction(p, s), allowed = to_add - added;
  if (to_add > 0) return f < allowed ? f : allowed;
  return f > allowed ? f : allowed;
}

static int biggest_newest(const void *x, const void *y) {
  const set_t *a = *(set_t *const *)x, *b = *(set_t *const *)y;
  if (a->replicas != b->replicas) return a->replicas > b->replicas ? -1 : 1;
  return a->created_us > b->created_us ? -1 : a->created_us < b->created_us;
}

static int biggest_oldest(const void *x, const void *y) {
  const set_t *a = *(set_t *const *)x, *b = *(set_t *const *)y;
  if (a->replicas != b->replicas) return a->replicas > b->replicas ? -1 : 1;
  return a->created_us < b->created_us ? -1 : a->created_us > b->created_us;
}

static void mark_sizes(pass_t *p, set_t *s) {
  set_note(p, s, NOTE_DESIRED, p->replicas);
  set_note(p, s, NOTE_MAX, p->replicas + p->surge);
}

static void share_out(pass_t *p) {
  set_t **active = kube_arena_alloc(p->arena, (p->n + 1) * sizeof *active);
  size_t n = 0;
  int64_t total = 0, added = 0;
  for (size_t i = 0; i < p->n; i++) {
    if (p->sets[i].replicas == 0) continue;
    active[n++] = &p->sets[i];
    total += p->sets[i].replicas;
  }
  int64_t to_add = (p->replicas > 0 ? p->replicas + p->surge : 0) - total;
  qsort(active, n, sizeof *active, to_add > 0 ? biggest_newest : biggest_oldest);
  for (size_t i = 0; i < n; i++) {
    int64_t share = proportion(p, active[i], to_add, added);
    active[i]->want = active[i]->replicas + share;
    added += share;
  }
  for (size_t i = 0; i < n; i++) {
    if (i == 0 && to_add != 0) active[i]->want += to_add - added;
    if (active[i]->want < 0) active[i]->want = 0;
    mark_sizes(p, active[i]);
  }
}

void scale_sets(pass_t *p) {
  set_t *only = only_active(p);
  if (only) {
    if (only->replicas == p->replicas) return mark_sizes(p, only);
    only->want = p->replicas;
    return;
  }
  if (saturated(p)) {
    for (size_t i = 0; i < p->n; i++)
      if (&p->sets[i] != p->newest) p->sets[i].want = 0;
    return;
  }
  if (!p->recreate) share_out(p);
}

static bool removable(const pass_t *p, const set_t *s) {
  return s != p->newest && s->actual == 0 && s->replicas == 0 && !kube_deleting(s->object) &&
         kube_generation(s->object) <= kg_view_int(kg_view_path(s->object, "status", "observedGeneration", NULL), 0);
}

void clean_history(pass_t *p) {
  int64_t limit = kg_view_int(kg_view_get(p->spec, "revisionHistoryLimit"), INT64_MAX);
  int64_t old = 0;
  for (size_t i = 0; i < p->n; i++) old += &p->sets[i] != p->newest && !kube_deleting(p->sets[i].object);
  int64_t over = limit == INT64_MAX ? 0 : old - limit;
  /* The oldest revisions go; sets are few, so looking for the lowest each time is cheap. */
  for (; over > 0; over--) {
    set_t *lowest = NULL;
    for (size_t i = 0; i < p->n; i++) {
      set_t *s = &p->sets[i];
      if (s->remove || s == p->newest || kube_deleting(s->object)) continue;
      if (!lowest || s->revision < lowest->revision) lowest = s;
    }
    if (!lowest || !removable(p, lowest)) return;
    lowest->remove = true;
  }
}
