/* Which pods make room for a more important one: the choice alone. */
#include <criterion/criterion.h>

#include "victims.h"

/* A node with so much room; pods of a size. */
typedef struct room {
  int64_t free, wanted;
} room_t;

static void move(void *arg, victim_t *v, bool there) {
  room_t *r = arg;
  r->free += there ? -*(int64_t *)v->pod : *(int64_t *)v->pod;
}

static bool fits(void *arg) {
  const room_t *r = arg;
  return r->free >= r->wanted;
}

static int64_t sizes[] = {0, 1, 2, 3, 4, 5};

static victim_t of(int64_t priority, int64_t started, int size, bool guarded) {
  return (victim_t){.pod = &sizes[size], .priority = priority, .started_us = started, .guarded = guarded};
}

static bool choose(victim_t *all, size_t n, int64_t room, int64_t wanted, victims_t *out) {
  room_t r = {.free = room, .wanted = wanted};
  victims_sort(all, n);
  bool can = victims_choose(all, n, &(victims_trial_t){move, fits, &r}, out);
  cr_assert(r.free == room, "things are as they were");
  return can;
}

Test(victims, the_least_important_goes) {
  victim_t all[] = {of(5, 1, 2, false), of(1, 1, 2, false), of(3, 1, 2, false)};
  victims_t v;
  cr_assert(choose(all, 3, 0, 2, &v));
  cr_assert(v.n == 1 && v.of[0].priority == 1 && v.broken == 0);
}

Test(victims, no_more_than_must) {
  victim_t all[] = {of(1, 1, 1, false), of(1, 2, 3, false), of(1, 3, 1, false)};
  victims_t v;
  cr_assert(choose(all, 3, 0, 2, &v));
  /* The one that has run longest is spared first; then the big one cannot be, and the last one can. */
  cr_assert(v.n == 1 && *(int64_t *)v.of[0].pod == 3, "%zu go", v.n);
}

Test(victims, of_equals_the_one_that_began_last) {
  victim_t all[] = {of(1, 300, 2, false), of(1, 100, 2, false), of(1, 200, 2, false)};
  victims_t v;
  cr_assert(choose(all, 3, 0, 2, &v));
  cr_assert(v.n == 1 && v.of[0].started_us == 300);
}

Test(victims, guarded_ones_are_spared_even_for_more_important_ones) {
  victim_t all[] = {of(1, 1, 2, true), of(5, 1, 2, false)};
  victims_t v;
  cr_assert(choose(all, 2, 0, 2, &v));
  cr_assert(v.n == 1 && v.of[0].priority == 5 && v.broken == 0);
}

Test(victims, a_budget_is_broken_where_nothing_else_helps) {
  victim_t all[] = {of(1, 1, 2, true), of(5, 1, 2, false)};
  victims_t v;
  cr_assert(choose(all, 2, 0, 4, &v));
  cr_assert(v.n == 2 && v.broken == 1 && v.of[0].priority == 5, "the most important first");
}

Test(victims, none_if_even_all_are_too_few) {
  victim_t all[] = {of(1, 1, 2, false), of(5, 1, 2, false)};
  victims_t v;
  cr_assert(!choose(all, 2, 0, 5, &v));
  cr_assert(!choose(all, 0, 0, 1, &v));
}

static bool better(victim_t *a, size_t na, size_t broken_a, victim_t *b, size_t nb, size_t broken_b) {
  victims_t va = {.n = na, .broken = broken_a, .of = a}, vb = {.n = nb, .broken = broken_b, .of = b};
  cr_assert(!(victims_better(&va, &vb) && victims_better(&vb, &va)));
  return victims_better(&va, &vb);
}

#define LIST(...)                                                                                                      \
  (victim_t[]) {                                                                                                       \
    __VA_ARGS__                                                                                                        \
  }

Test(nodes, fewer_broken_budgets_come_before_all) {
  cr_assert(better(LIST(of(9, 1, 1, false), of(9, 1, 1, false)), 2, 0, LIST(of(1, 1, 1, true)), 1, 1));
}

Test(nodes, then_the_lower_most_important_victim) {
  cr_assert(better(LIST(of(2, 1, 1, false), of(2, 1, 1, false)), 2, 0, LIST(of(3, 1, 1, false)), 1, 0));
}

Test(nodes, then_the_lower_sum_also_below_zero) {
  cr_assert(
      better(LIST(of(3, 1, 1, false), of(1, 1, 1, false)), 2, 0, LIST(of(3, 1, 1, false), of(2, 1, 1, false)), 2, 0));
  cr_assert(better(LIST(of(-5, 1, 1, false)), 1, 0, LIST(of(-5, 1, 1, false), of(-5, 1, 1, false)), 2, 0));
}

Test(nodes, then_the_victims_that_began_later) {
  cr_assert(better(LIST(of(3, 200, 1, false)), 1, 0, LIST(of(3, 100, 1, false)), 1, 0));
  cr_assert(!better(LIST(of(3, 100, 1, false)), 1, 0, LIST(of(3, 100, 1, false)), 1, 0));
}
