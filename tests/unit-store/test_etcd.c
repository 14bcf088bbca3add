/* What only a store on another server can get into: that server stops, members fail, others write to it too. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define ETCD_TEST(name)                                                                                                \
  static void story_##name(void);                                                                                      \
  Test(store_etcd, name, .timeout = 60) {                                                                              \
    if (!test_etcd_there()) cr_skip_test("etcd is not installed");                                                     \
    story_##name();                                                                                                    \
  }                                                                                                                    \
  static void story_##name(void)

/* etcd's own gateway for JSON: what another user of the same etcd does. */
static void etcd_do(bench_t *b, const char *path, const char *json) {
  char command[600];
  snprintf(command, sizeof command, "curl -sfS -X POST http://127.0.0.1:%d/v3/%s -d '%s' >/dev/null", b->etcd.ports[0],
           path, json);
  cr_assert_eq(system(command), 0, "%s", command);
}

ETCD_TEST(entries_and_history_outlive_the_plugin) {
  bench_t b = setup("store-etcd.so", NULL);
  char buf[400];
  put(&b, "{\"key\":\"/r/a\"}", "1");
  put(&b, "{\"key\":\"/r/a\"}", "2");
  reopen(&b);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\"}", buf), "/r/a=2", "%s", buf);
  cr_expect_eq(put(&b, "{\"key\":\"/r/b\"}", "3"), 3);
  stream_t *s = watch(&b, "{\"from\":\"/r/\",\"rev\":@0}", 0, false);
  cr_expect_str_eq(next(s, 10000, buf), "progress 0 ");
  cr_expect_str_eq(next(s, 10000, buf), "put 1 /r/a", "%s", buf);
  cr_expect_str_eq(next(s, 10000, buf), "put 2 /r/a");
  cr_expect_str_eq(next(s, 10000, buf), "put 3 /r/b");
  cr_expect_eq(put(&b, "{\"key\":\"/r/c\"}", "4"), 4);
  cr_expect_str_eq(next(s, 10000, buf), "put 4 /r/c", "it has caught up");
  stream_close(s);
  teardown(&b);
}

ETCD_TEST(a_watch_goes_on_without_gap_or_repeat_when_etcd_is_killed_and_starts_again) {
  bench_t b = setup("store-etcd.so", NULL);
  char buf[400];
  stream_t *s = watch(&b, "{\"from\":\"/\",\"rev\":0}", 0, false);
  cr_expect_str_eq(next(s, 10000, buf), "progress 0 ");
  cr_expect_eq(put(&b, "{\"key\":\"/r/a\"}", "1"), 1);
  cr_expect_str_eq(next(s, 10000, buf), "put 1 /r/a");
  test_etcd_kill(&b.etcd, 0);
  test_etcd_start_member(&b.etcd, 0);
  etcd_do(&b, "kv/put", "{\"key\":\"L3IvYg==\",\"value\":\"AQ==\"}"); /* /r/b = 1, maybe before the watch is back */
  cr_expect_str_eq(next(s, 10000, buf), "put 2 /r/b", "%s", buf);
  cr_expect_eq(put(&b, "{\"key\":\"/r/a\",\"expect\":@1}", "3"), 3);
  cr_expect_str_eq(next(s, 10000, buf), "put 3 /r/a", "%s", buf);
  cr_expect_str_eq(next(s, 50, buf), "none", "%s", buf);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\"}", buf), "/r/a=3 /r/b=1", "%s", buf);
  stream_close(s);
  teardown(&b);
}

ETCD_TEST(requests_wait_while_etcd_is_away_and_are_refused_when_it_stays_away) {
  bench_t b = setup("store-etcd.so", NULL);
  char buf[400];
  snprintf(b.etcd.config, sizeof b.etcd.config, "{\"requestTimeoutMs\":3000,\"endpoints\":[\"http://127.0.0.1:%d\"]}",
           b.etcd.ports[0]); /* other tests are patient */
  reopen(&b);
  put(&b, "{\"key\":\"/r/a\"}", "1");
  test_etcd_kill(&b.etcd, 0);
  usleep(100000);
  kg_msg_t *m = call(&b, "store.range", "{\"from\":\"/r/\"}", NULL);
  cr_expect_eq(kg_msg_code(m), 503, "%s", kg_msg_text(m));
  kg_msg_unref(m);
  test_etcd_start_member(&b.etcd, 0);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\"}", buf), "/r/a=1", "%s", buf);
  teardown(&b);
}

ETCD_TEST(three_members_lose_one_and_go_on) {
  bench_t b = {.file = "store-etcd.so"};
  char buf[400];
  snprintf(b.dir, sizeof b.dir, "/tmp/kogge-store-XXXXXX");
  cr_assert(mkdtemp(b.dir));
  test_etcd_start(&b.etcd, b.dir, 3);
  setup_on(&b);
  stream_t *s = watch(&b, "{\"from\":\"/\",\"rev\":0}", 0, false);
  next(s, 10000, buf);
  int64_t first = put(&b, "{\"key\":\"/r/a\"}", "1");
  cr_expect_gt(first, 0);
  next(s, 10000, buf);
  for (int i = 0; i < 3; i++) { /* whoever it talks to, and who leads, is killed in one of the rounds */
    char want[64];
    test_etcd_kill(&b.etcd, i);
    int64_t rev = 0;
    for (int k = 0; k < 50 && rev <= 0; k++) rev = put(&b, "{\"key\":\"/r/a\"}", "2");
    cr_assert_gt(rev, first, "no write came through after member %d was killed: %lld", i, (long long)rev);
    /* A write whose answer was lost may have been done: all that is told is told in order, up to this one. */
    snprintf(want, sizeof want, "put %lld /r/a", (long long)rev);
    for (int64_t r = first + 1; r <= rev; r++) {
      snprintf(want, sizeof want, "put %lld /r/a", (long long)r);
      cr_assert_str_eq(next(s, 10000, buf), want, "%s instead of %s", buf, want);
    }
    first = rev;
    test_etcd_start_member(&b.etcd, i);
    usleep(700000);
  }
  stream_close(s);
  teardown(&b);
}

ETCD_TEST(a_transaction_of_another_user_over_several_keys_is_told_whole) {
  bench_t b = setup("store-etcd.so", NULL);
  char buf[400];
  put(&b, "{\"key\":\"/r/a\"}", "1");
  put(&b, "{\"key\":\"/r/b\"}", "2");
  put(&b, "{\"key\":\"/r/c\"}", "3");
  stream_t *now = watch(&b, "{\"from\":\"/\",\"rev\":0}", 2, true);
  etcd_do(&b, "kv/deleterange", "{\"key\":\"L3IvYQ==\",\"range_end\":\"L3Iw\"}"); /* [/r/a, /r0) */
  put(&b, "{\"key\":\"/r/d\"}", "4");
  stream_t *then = watch(&b, "{\"from\":\"/\",\"rev\":@3}", 0, false);
  cr_expect_str_eq(next(then, 2000, buf), "progress 3 ");
  cr_expect_str_eq(next(now, 2000, buf), "progress 3 ");
  cr_expect_str_eq(next(now, 2000, buf), "delete 4 /r/a");
  stream_credit(now, 10); /* it stopped in the middle of a revision */
  cr_expect_str_eq(next(now, 2000, buf), "delete 4 /r/b", "%s", buf);
  cr_expect_str_eq(next(now, 2000, buf), "delete 4 /r/c", "%s", buf);
  cr_expect_str_eq(next(now, 2000, buf), "put 5 /r/d");
  cr_expect_str_eq(next(then, 2000, buf), "delete 4 /r/a");
  cr_expect_str_eq(next(then, 2000, buf), "delete 4 /r/b");
  cr_expect_str_eq(next(then, 2000, buf), "delete 4 /r/c");
  cr_expect_str_eq(next(then, 2000, buf), "put 5 /r/d");
  stream_close(now);
  stream_close(then);
  teardown(&b);
}

ETCD_TEST(watchers_end_with_410_when_changes_were_compacted_while_the_connection_was_lost) {
  bench_t b = setup("store-etcd.so", NULL);
  char buf[400];
  put(&b, "{\"key\":\"/r/a\"}", "1");
  stream_t *s = watch(&b, "{\"from\":\"/\",\"rev\":0}", 0, false);
  next(s, 10000, buf);
  /* The plugin is stopped by a handler's worth of silence: its connection dies with etcd, which comes back on another
   * port first, changes there, and is compacted. */
  int port = b.etcd.ports[0];
  test_etcd_kill(&b.etcd, 0);
  b.etcd.ports[0] = port + 1;
  test_etcd_start_member(&b.etcd, 0);
  etcd_do(&b, "kv/put", "{\"key\":\"L3IvYg==\",\"value\":\"AQ==\"}");
  etcd_do(&b, "kv/put", "{\"key\":\"L3IvYg==\",\"value\":\"Ag==\"}");
  char compact[64];
  snprintf(compact, sizeof compact, "{\"revision\":%lld}", (long long)base + 3);
  etcd_do(&b, "kv/compaction", compact);
  test_etcd_kill(&b.etcd, 0);
  b.etcd.ports[0] = port;
  test_etcd_start_member(&b.etcd, 0);
  cr_expect_str_eq(next(s, 8000, buf), "error 410", "%s", buf);
  cr_expect_eq(put(&b, "{\"key\":\"/r/b\",\"expect\":@3}", "3"), 4);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\"}", buf), "/r/a=1 /r/b=3", "%s", buf);
  stream_close(s);
  teardown(&b);
}

ETCD_TEST(a_key_with_a_time_to_live_goes_away) {
  bench_t b = setup("store-etcd.so", NULL);
  char buf[400];
  stream_t *s = watch(&b, "{\"from\":\"/\",\"rev\":0}", 0, false);
  next(s, 10000, buf);
  cr_expect_eq(put(&b, "{\"key\":\"/r/a\",\"ttl_ms\":1000}", "1"), 1);
  cr_expect_eq(put(&b, "{\"key\":\"/r/a\",\"ttl_ms\":1000,\"expect\":0}", "1"), -409);
  cr_expect_str_eq(next(s, 10000, buf), "put 1 /r/a");
  cr_expect_str_eq(next(s, 8000, buf), "delete 2 /r/a", "%s", buf);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\"}", buf), "", "%s", buf);
  stream_close(s);
  teardown(&b);
}

ETCD_TEST(an_etcd_without_space_refuses_writes_with_507) {
  setenv("ETCD_QUOTA_BACKEND_BYTES", "4000000", 1);
  bench_t b = setup("store-etcd.so", NULL);
  char buf[400], *doc = malloc(100003);
  int64_t rev = 0;
  memset(doc, 'x', 100002);
  doc[0] = doc[100001] = '"';
  doc[100002] = '\0';
  for (int i = 0; i < 200 && rev >= 0; i++) rev = put(&b, "{\"key\":\"/big\"}", doc);
  cr_expect_eq(rev, -507, "%lld", (long long)rev);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\"}", buf), "", "reads go on: %s", buf);
  free(doc);
  teardown(&b);
}

ETCD_TEST(a_swap_changes_the_instance_under_writers) {
  bench_t b = setup("store-etcd.so", NULL);
  kg_error_t err = {0};
  cr_expect_eq(put(&b, "{\"key\":\"/before\"}", "1"), 1);
  cr_expect_eq(kg_kernel_swap(driver_kernel(b.d), "store", "store-etcd.so", NULL, NULL, &err), 0, "%s", err.text);
  cr_expect_eq(put(&b, "{\"key\":\"/after\"}", "1"), 2);
  cr_expect_eq(put(&b, "{\"key\":\"/before\",\"expect\":@1}", "2"), 3);
  teardown(&b);
}

ETCD_TEST(bad_configurations_are_refused_with_a_sentence) {
  bench_t b = setup("store-memory.so", NULL);
  static const char *const bad[] = {"{}", "{\"endpoints\":[]}", "{\"endpoints\":[\"http://:1\"]}",
                                    "{\"endpoints\":[\"http://127.0.0.1:99999\"]}",
                                    "{\"endpoints\":[\"https://127.0.0.1\"],\"ca\":\"/nowhere\"}"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    kg_error_t err = {0}, ignored = {0};
    kg_doc_t *doc = kube_json_parse(bad[i], strlen(bad[i]), NULL, NULL, &ignored);
    kg_plugin_spec_t spec = {.name = "other", .file = "store-etcd.so", .lane = "main", .config = doc};
    cr_expect_eq(kg_kernel_load(driver_kernel(b.d), &spec, &err), -1, "%s", bad[i]);
    cr_expect(strstr(err.text, "store-etcd: "), "%s: %s", bad[i], err.text);
    kg_doc_unref(doc);
  }
  teardown(&b);
}
