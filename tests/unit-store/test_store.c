/* One suite over every store plugin: the contract in plugins/contracts/store.md. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define OVER_EVERY_STORE(name)                                                                                         \
  static void story_##name(const char *file);                                                                          \
  Test(store, name##_in_memory) {                                                                                      \
    story_##name("store-memory.so");                                                                                   \
  }                                                                                                                    \
  Test(store, name##_in_lmdb) {                                                                                        \
    story_##name("store-lmdb.so");                                                                                     \
  }                                                                                                                    \
  Test(store, name##_in_etcd) {                                                                                        \
    if (!test_etcd_there()) cr_skip_test("etcd is not installed");                                                     \
    story_##name("store-etcd.so");                                                                                     \
  }                                                                                                                    \
  static void story_##name(const char *file)

OVER_EVERY_STORE(writes_take_the_next_revision_and_guards_hold) {
  bench_t b = setup(file, NULL);
  cr_expect_eq(put(&b, "{\"key\":\"/a\",\"expect\":0}", "{\"v\":1}"), 1);
  cr_expect_eq(put(&b, "{\"key\":\"/a\",\"expect\":0}", "{\"v\":2}"), -409, "it exists");
  cr_expect_eq(put(&b, "{\"key\":\"/a\",\"expect\":@1}", "{\"v\":2}"), 2);
  cr_expect_eq(put(&b, "{\"key\":\"/a\",\"expect\":@1}", "{\"v\":3}"), -409, "somebody was faster");
  cr_expect_eq(put(&b, "{\"key\":\"/a\"}", "{\"v\":3}"), 3, "no guard");
  cr_expect_eq(del(&b, "{\"key\":\"/a\",\"expect\":@2}"), -409);
  cr_expect_eq(del(&b, "{\"key\":\"/b\"}"), -404);
  kg_msg_t *m = call(&b, "store.get", "{\"key\":\"/a\"}", NULL);
  cr_expect_eq(reply_int(m, "create") - base, 1);
  cr_expect_eq(reply_int(m, "mod") - base, 3);
  cr_expect_eq(reply_int(m, "version"), 3);
  kg_msg_unref(m);
  m = call(&b, "store.delete", "{\"key\":\"/a\",\"expect\":@3}", NULL);
  cr_expect_eq(reply_int(m, "rev") - base, 4);
  char *json = doc_json(m, 0);
  cr_expect_str_eq(json, "{\"v\":3}", "a deletion gives the value before");
  free(json);
  kg_msg_unref(m);
  m = call(&b, "store.get", "{\"key\":\"/a\"}", NULL);
  cr_expect_eq(kg_msg_code(m), 404);
  kg_msg_unref(m);
  cr_expect_eq(put(&b, "{\"key\":\"\"}", "{}"), -400);
  cr_expect_eq(put(&b, "{\"key\":\"/x\"}", NULL), -400, "no value");
  teardown(&b);
}

OVER_EVERY_STORE(ranges_come_in_order_of_keys_and_in_pages) {
  bench_t b = setup(file, NULL);
  char buf[400];
  put(&b, "{\"key\":\"/r/c\"}", "3");
  put(&b, "{\"key\":\"/r/a\"}", "1");
  put(&b, "{\"key\":\"/r/b\",\"lazy\":true}", "2");
  put(&b, "{\"key\":\"/s/x\"}", "9");
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\"}", buf), "/r/a=1 /r/b=2 /r/c=3", "%s", buf);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/b\",\"to\":\"/s\"}", buf), "/r/b=2 /r/c=3", "%s", buf);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\",\"limit\":2}", buf), "/r/a=1 /r/b=2", "%s", buf);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\",\"keys_only\":true}", buf), "/r/a=- /r/b=- /r/c=-", "%s", buf);
  kg_msg_t *m = call(&b, "store.range", "{\"from\":\"/r/\",\"limit\":2}", NULL);
  cr_expect(kg_view_bool(kg_view_get(kg_msg_args(m), "more"), false));
  kg_msg_unref(m);
  m = call(&b, "store.range", "{\"from\":\"/\",\"count_only\":true}", NULL);
  cr_expect_eq(reply_int(m, "count"), 4);
  cr_expect_eq(reply_int(m, "rev") - base, 4);
  kg_msg_unref(m);
  teardown(&b);
}

OVER_EVERY_STORE(a_range_shows_an_older_revision_until_it_is_compacted) {
  bench_t b = setup(file, NULL);
  char buf[400];
  put(&b, "{\"key\":\"/r/a\"}", "1");
  put(&b, "{\"key\":\"/r/b\"}", "1");
  put(&b, "{\"key\":\"/r/a\"}", "2");
  del(&b, "{\"key\":\"/r/b\"}");
  put(&b, "{\"key\":\"/r/c\"}", "1");
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\",\"rev\":@2}", buf), "/r/a=1 /r/b=1", "%s", buf);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\",\"rev\":@3}", buf), "/r/a=2 /r/b=1", "%s", buf);
  kg_msg_t *m = call(&b, "store.compact", "{\"rev\":@3}", NULL);
  cr_expect_eq(kg_msg_type(m), KG_MSG_REPLY);
  kg_msg_unref(m);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\",\"rev\":@2}", buf), "error 410", "%s", buf);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\",\"rev\":@3}", buf), "/r/a=2 /r/b=1", "%s", buf);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\"}", buf), "/r/a=2 /r/c=1", "%s", buf);
  m = call(&b, "store.compact", "{\"rev\":@3}", NULL);
  cr_expect_eq(kg_msg_code(m), 410);
  kg_msg_unref(m);
  stream_t *s = watch(&b, "{\"from\":\"/r/\",\"rev\":@2}", 0, false);
  cr_expect_str_eq(next(s, 10000, buf), "error 410");
  stream_close(s);
  teardown(&b);
}

OVER_EVERY_STORE(a_watch_tells_every_change_once_and_in_order_also_those_before_it) {
  bench_t b = setup(file, NULL);
  char buf[200];
  put(&b, "{\"key\":\"/r/a\"}", "1");
  put(&b, "{\"key\":\"/s/a\"}", "1");
  put(&b, "{\"key\":\"/r/a\"}", "2");
  stream_t *s = watch(&b, "{\"from\":\"/r/\",\"rev\":@1}", 0, false);
  stream_t *now = watch(&b, "{\"from\":\"/r/\",\"rev\":0}", 0, false);
  cr_expect_str_eq(next(s, 10000, buf), "progress 1 ");
  kg_msg_t *m = stream_next(s, 10000);
  cr_assert(m);
  cr_expect_eq(kg_msg_ndocs(m), 2, "a put over an existing key carries the value before");
  char *json = doc_json(m, 1);
  cr_expect_str_eq(json, "1");
  free(json);
  kg_msg_unref(m);
  del(&b, "{\"key\":\"/r/a\"}");
  put(&b, "{\"key\":\"/r/b\",\"lazy\":true}", "5");
  m = stream_next(s, 10000);
  json = doc_json(m, 0);
  cr_expect_str_eq(json, "2", "a deletion carries the value before");
  free(json);
  kg_msg_unref(m);
  cr_expect_str_eq(next(s, 10000, buf), "put 5 /r/b");
  cr_expect_str_eq(next(now, 10000, buf), "progress 3 ", "%s", buf);
  cr_expect_str_eq(next(now, 10000, buf), "delete 4 /r/a");
  cr_expect_str_eq(next(now, 10000, buf), "put 5 /r/b");
  cr_expect_str_eq(next(now, 50, buf), "none");
  stream_close(s);
  stream_close(now);
  teardown(&b);
}

static void fill_same(int i, char **args, char **doc, void *arg) {
  (void)arg;
  *args = strdup("{\"key\":\"/same\"}");
  cr_assert(asprintf(doc, "{\"n\":%d}", i) > 0);
}

/* Which keys have come, each once and with the next revision. Writes to different keys may change places. */
static void expect_burst(stream_t *s, bool *seen, int from, int to) {
  char buf[200], key[64];
  for (int i = from; i < to; i++) {
    long long rev = 0;
    int n = -1;
    next(s, 10000, buf);
    cr_assert_eq(sscanf(buf, "put %lld /w/%d", &rev, &n), 2, "%s", buf);
    cr_assert_eq(rev, i + 1, "revision %d was to come, not %s", i + 1, buf);
    snprintf(key, sizeof key, "/w/%06d", n);
    cr_assert(strstr(buf, key) && n >= 0 && n < to && !seen[n], "%s comes twice, or never was written", buf);
    seen[n] = true;
  }
}

OVER_EVERY_STORE(a_slow_watcher_reads_on_in_the_history_and_misses_nothing) {
  bench_t b = setup(file, NULL);
  char buf[200];
  bool *seen = calloc(12000, sizeof *seen);
  stream_t *s = watch(&b, "{\"from\":\"/w/\",\"rev\":0}", 5, true);
  cr_expect_str_eq(next(s, 10000, buf), "progress 0 ");
  cr_expect_eq(driver_burst(b.d, "store", "store.put", 12000, fill_many, "w", NULL), 12000);
  for (int i = 0; i < 4; i++) {
    kg_msg_t *m = stream_next(s, 10000);
    int n = -1;
    cr_assert(m && sscanf(kg_view_str(kg_view_get(kg_msg_args(m), "key")).p, "/w/%d", &n) == 1);
    cr_expect_eq(reply_int(m, "rev") - base, i + 1);
    seen[n] = true;
    kg_msg_unref(m);
  }
  cr_expect_str_eq(next(s, 100, buf), "none", "no item without credit, got %s", buf);
  stream_credit(s, 20000);
  expect_burst(s, seen, 4, 12000);
  stream_close(s);
  free(seen);
  teardown(&b);
}

OVER_EVERY_STORE(a_reader_starts_some_changes_ago_and_is_told_when_it_has_come_to_now) {
  bench_t b = setup(file, NULL);
  char buf[400];
  for (int i = 0; i < 10; i++) put(&b, i % 2 ? "{\"key\":\"/r/a\"}" : "{\"key\":\"/s/b\"}", "1");
  kg_msg_t *m = call(&b, "store.status", "{\"recent\":4}", NULL);
  cr_expect_eq(reply_int(m, "recent") - base, 6);
  kg_msg_unref(m);
  stream_t *s = watch(&b, "{\"from\":\"/r/\",\"rev\":@6,\"mark\":true}", 0, false);
  cr_expect_str_eq(next(s, 10000, buf), "progress 6 ");
  cr_expect_str_eq(next(s, 10000, buf), "put 8 /r/a");
  cr_expect_str_eq(next(s, 10000, buf), "put 10 /r/a");
  cr_expect_str_eq(next(s, 10000, buf), "progress 10 ", "the mark: %s", buf);
  put(&b, "{\"key\":\"/r/a\"}", "2");
  cr_expect_str_eq(next(s, 10000, buf), "put 11 /r/a");
  stream_close(s);
  reopen(&b);
  m = call(&b, "store.status", "{\"recent\":100}", NULL);
  cr_expect_lt(reply_int(m, "recent") - base, 2, "all of them");
  kg_msg_unref(m);
  teardown(&b);
}

OVER_EVERY_STORE(writes_to_one_key_are_done_in_the_order_sent) {
  bench_t b = setup(file, NULL);
  char buf[200], want[64];
  stream_t *s = watch(&b, "{\"from\":\"/\",\"rev\":0}", 0, false);
  cr_expect_str_eq(next(s, 10000, buf), "progress 0 ");
  cr_expect_eq(driver_burst(b.d, "store", "store.put", 300, fill_same, NULL, NULL), 300);
  for (int i = 0; i < 300; i++) {
    kg_msg_t *m = stream_next(s, 10000);
    cr_assert(m);
    char *json = doc_json(m, 0);
    snprintf(want, sizeof want, "{\"n\":%d}", i);
    cr_assert_str_eq(json, want, "change %d is %s", i, json);
    free(json);
    kg_msg_unref(m);
  }
  stream_close(s);
  teardown(&b);
}

OVER_EVERY_STORE(a_watcher_whose_place_was_compacted_ends_with_410) {
  bench_t b = setup(file, NULL);
  char buf[200];
  stream_t *s = watch(&b, "{\"from\":\"/w/\",\"rev\":0}", 2, true);
  driver_burst(b.d, "store", "store.put", 12000, fill_many, "w", NULL);
  kg_msg_t *m = call(&b, "store.compact", "{\"rev\":@11000}", NULL);
  cr_expect_eq(kg_msg_type(m), KG_MSG_REPLY, "%s", kg_msg_text(m));
  kg_msg_unref(m);
  cr_expect_str_eq(next(s, 10000, buf), "progress 0 ");
  next(s, 10000, buf);
  stream_credit(s, 10);
  cr_expect_str_eq(next(s, 10000, buf), "error 410", "%s", buf);
  stream_close(s);
  teardown(&b);
}

Test(store_memory, refuses_to_be_replaced_because_its_entries_would_be_lost) {
  bench_t b = setup("store-memory.so", NULL);
  kg_error_t err = {0};
  put(&b, "{\"key\":\"/a\"}", "1");
  cr_expect_eq(kg_kernel_swap(driver_kernel(b.d), "store", "store-memory.so", NULL, NULL, &err), -1);
  cr_expect_eq(put(&b, "{\"key\":\"/a\",\"expect\":@1}", "2"), 2, "the old one goes on");
  teardown(&b);
}
