/* The check itself: what it accepts and what it must refuse. */
#include <criterion/criterion.h>

#include "linear.h"

#define CHECK(...)                                                                                                     \
  ({                                                                                                                   \
    lin_op_t ops[] = {__VA_ARGS__};                                                                                    \
    static char text[300];                                                                                             \
    lin_check(ops, sizeof ops / sizeof *ops, text, sizeof text);                                                       \
  })
#define PUT(b, e, r, v)                                                                                                \
  { .kind = LIN_PUT, .begin = b, .end = e, .rev = r, .value = v }
#define PUT_IF(b, e, x, r, v)                                                                                          \
  { .kind = LIN_PUT, .begin = b, .end = e, .guarded = true, .expect = x, .rev = r, .value = v }
#define REFUSED(b, e, x)                                                                                               \
  { .kind = LIN_PUT, .result = LIN_CONFLICT, .begin = b, .end = e, .guarded = true, .expect = x }
#define READ(b, e, r, v)                                                                                               \
  { .kind = LIN_READ, .begin = b, .end = e, .rev = r, .value = v }
#define READ_NONE(b, e)                                                                                                \
  { .kind = LIN_READ, .result = LIN_ABSENT, .begin = b, .end = e }
#define DEL(b, e, r, v)                                                                                                \
  { .kind = LIN_DELETE, .begin = b, .end = e, .rev = r, .value = v }

Test(linear, accepts_what_one_after_the_other_explains) {
  cr_expect_null(CHECK(READ_NONE(1, 2), PUT(3, 4, 1, 7), READ(5, 6, 1, 7), DEL(7, 8, 2, 7), READ_NONE(9, 10)));
}

Test(linear, accepts_either_order_of_what_is_under_way_together) {
  cr_expect_null(CHECK(PUT(1, 10, 2, 8), PUT(1, 10, 1, 7), READ(2, 3, 1, 7), READ(4, 5, 2, 8)));
  cr_expect_null(CHECK(PUT(1, 10, 1, 7), READ_NONE(2, 3), READ(4, 5, 1, 7)));
  cr_expect_null(CHECK(PUT(1, 2, 1, 7), PUT(3, 10, 2, 8), REFUSED(4, 5, 1), READ(6, 7, 2, 8)));
}

Test(linear, accepts_a_write_that_was_never_answered_but_seen) {
  cr_expect_null(CHECK(PUT(1, INT64_MAX, 5, 7), READ_NONE(2, 3), READ(9, 10, 5, 7)));
}

Test(linear, refuses_a_read_of_a_value_that_is_gone) {
  cr_expect_not_null(CHECK(PUT(1, 2, 1, 7), PUT(3, 4, 2, 8), READ(5, 6, 1, 7)));
  cr_expect_not_null(CHECK(PUT(1, 2, 1, 7), READ_NONE(3, 4)));
  cr_expect_not_null(CHECK(PUT(1, 10, 1, 7), READ(2, 3, 1, 7), READ_NONE(4, 5)));
}

Test(linear, refuses_a_read_of_what_is_not_written_yet) {
  cr_expect_not_null(CHECK(READ(1, 2, 1, 7), PUT(3, 4, 1, 7)));
}

Test(linear, refuses_guards_that_did_not_hold_and_conflicts_that_were_none) {
  cr_expect_not_null(CHECK(PUT(1, 2, 1, 7), PUT_IF(3, 4, 0, 2, 8)));
  cr_expect_not_null(CHECK(PUT(1, 2, 1, 7), PUT_IF(3, 6, 1, 2, 8), PUT_IF(3, 6, 1, 3, 9)));
  cr_expect_not_null(CHECK(PUT(1, 2, 1, 7), REFUSED(3, 4, 1)));
}

Test(linear, refuses_revisions_that_go_back_and_a_write_that_was_lost) {
  cr_expect_not_null(CHECK(PUT(1, 2, 2, 7), PUT(3, 4, 1, 8)));
  cr_expect_not_null(CHECK(PUT(1, 2, 1, 7), PUT(3, 4, 2, 8), DEL(5, 6, 3, 7)));
}
