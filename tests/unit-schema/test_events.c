/* What a recorder of events makes of repetitions: counts, one for all that are alike, and at last nothing. */
#include <criterion/criterion.h>

#include "../../plugins/kube/src/correlate.h"

static const int64_t START = 1700000000LL * 1000000, SECOND = 1000000;
static correlator_t *c;

static void set_up(void) {
  c = correlator_new();
}

static void tear_down(void) {
  correlator_free(c);
}

TestSuite(events, .init = set_up, .fini = tear_down);

/* Of object `of`, whose messages differ by `message`. */
static told_t tell(uint64_t of, uint64_t message, int64_t now) {
  uint64_t alike = (of + 1) * 0x9e3779b97f4a7c15;
  event_key_t k = {of * 0xff51afd7ed558ccd, alike, alike ^ message * 0xc4ceb9fe1a85ec53, message};
  told_t told = {0};
  if (!correlate(c, &k, now, (uint64_t)now, &told)) told.count = 0;
  return told;
}

Test(events, of_many_objects_each_has_its_own_counts) {
  for (unsigned turn = 1; turn <= 3; turn++)
    for (uint64_t of = 0; of < 2000; of++) {
      told_t told = tell(of, 7, START + turn * 60 * SECOND + (int64_t)of);
      cr_assert_eq(told.count, turn, "object %d: told %u times, not %u", (int)of, told.count, turn);
      cr_assert_eq(told.suffix, (uint64_t)(START + 60 * SECOND) + of, "it is another row");
    }
}

Test(events, twenty_five_at_once_then_one_every_five_minutes) {
  for (int i = 1; i <= 25; i++) cr_assert_eq(tell(1, 1, START).count, i);
  cr_assert_eq(tell(1, 1, START + SECOND).count, 0);
  cr_assert_eq(tell(2, 1, START + SECOND).count, 1, "another object may");
  cr_assert_eq(tell(1, 1, START + 301 * SECOND).count, 26);
  cr_assert_eq(tell(1, 1, START + 302 * SECOND).count, 0);
}

Test(events, from_the_tenth_message_on_they_are_told_as_one) {
  for (uint64_t i = 1; i < 10; i++) cr_assert(!tell(1, i, START).combined);
  cr_assert(tell(1, 10, START).combined);
  told_t told = tell(1, 11, START);
  cr_assert(told.combined && told.count == 2);
}

Test(events, what_was_silent_for_ten_minutes_begins_anew) {
  cr_assert_eq(tell(1, 1, START).count, 1);
  cr_assert_eq(tell(1, 1, START + 590 * SECOND).count, 2);
  cr_assert_eq(tell(1, 1, START + 1200 * SECOND).count, 1);
  cr_assert_eq(tell(1, 1, START).count, 2, "the clock was put back");
}

Test(events, of_too_many_the_oldest_are_forgotten) {
  for (uint64_t of = 0; of < 50000; of++) cr_assert_eq(tell(of, 1, START + (int64_t)of).count, 1);
  for (uint64_t of = 49000; of < 50000; of++) cr_assert_eq(tell(of, 1, START + 50000).count, 2);
  cr_assert_eq(tell(0, 1, START + 50000).count, 1);
  for (uint64_t of = 0; of < 50000; of++) cr_assert_gt(tell(of, 2, START).count, 0, "all at one time");
}
