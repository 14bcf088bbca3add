#include <criterion/criterion.h>
#include <stdlib.h>

#include "table.h"

Test(table, holds_what_a_plain_array_holds_through_many_changes) {
  enum { KEYS = 500, ROUNDS = 200000 };
  static void *expected[KEYS];
  kg_table_t t = {0};
  size_t count = 0;
  srandom(7);
  for (int i = 0; i < ROUNDS; i++) {
    size_t k = (size_t)random() % KEYS;
    uint64_t key = (k + 1) << 40 | (k * 7 + 1); /* like call ids */
    if (random() % 2) {
      count += !expected[k];
      expected[k] = &expected[(size_t)random() % KEYS];
      cr_assert_eq(kg_table_put(&t, key, expected[k]), 0);
    } else {
      cr_assert_eq(kg_table_remove(&t, key), expected[k]);
      count -= expected[k] != NULL;
      expected[k] = NULL;
    }
    size_t probe = (size_t)random() % KEYS;
    cr_assert_eq(kg_table_get(&t, (probe + 1) << 40 | (probe * 7 + 1)), expected[probe]);
    cr_assert_eq(t.count, count);
    cr_assert_eq(kg_table_any(&t, &key) != NULL, count != 0);
  }
  uint64_t key;
  while (kg_table_any(&t, &key)) kg_table_remove(&t, key);
  cr_assert_eq(t.count, 0u);
  kg_table_free(&t);
}
