/* What the embedded store keeps on disk. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

Test(store_lmdb, entries_outlive_the_process_and_so_does_history) {
  bench_t b = setup("store-lmdb.so", NULL);
  char buf[400];
  put(&b, "{\"key\":\"/r/a\"}", "1");
  put(&b, "{\"key\":\"/r/a\"}", "2");
  put(&b, "{\"key\":\"/r/b\",\"lazy\":true}", "3");
  reopen(&b);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\"}", buf), "/r/a=2 /r/b=3", "%s", buf);
  cr_expect_eq(put(&b, "{\"key\":\"/r/c\"}", "4"), 4, "an orderly end loses no revision");
  stream_t *s = watch(&b, "{\"from\":\"/r/\",\"rev\":@1}", 0, false);
  cr_expect_str_eq(next(s, 2000, buf), "progress 1 ");
  cr_expect_str_eq(next(s, 2000, buf), "put 2 /r/a");
  cr_expect_str_eq(next(s, 2000, buf), "put 3 /r/b");
  cr_expect_str_eq(next(s, 2000, buf), "put 4 /r/c");
  stream_close(s);
  teardown(&b);
}

/* Else every conmon keeps a file that compaction has long replaced. */
Test(store_lmdb, programs_that_are_started_do_not_get_the_database) {
  bench_t b = setup("store-lmdb.so", NULL);
  int seen = 0;
  for (int fd = 3; fd < 1000; fd++) {
    char path[40], to[400];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, to, sizeof to - 1);
    if (n <= 0) continue;
    to[n] = '\0';
    if (!strstr(to, "/store/")) continue;
    seen++;
    cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC, "%s is inherited", to);
  }
  cr_expect_geq(seen, 2);
  teardown(&b);
}

Test(store_lmdb, after_kill_9_nothing_durable_is_missing_and_no_revision_comes_twice) {
  char dir[] = "/tmp/kogge-kill-XXXXXX", run[64], buf[400];
  cr_assert(mkdtemp(dir));
  snprintf(run, sizeof run, "%s/run", dir);
  int pipe_fd[2];
  cr_assert(pipe(pipe_fd) == 0);
  pid_t pid = fork();
  if (pid == 0) {
    bench_t b = {.d = driver_new(dir, run)};
    driver_load(b.d, "store", "store-lmdb.so", NULL);
    put(&b, "{\"key\":\"/r/lazy\",\"lazy\":true}", "1");
    put(&b, "{\"key\":\"/r/a\"}", "2");
    int64_t last = put(&b, "{\"key\":\"/r/late\",\"lazy\":true}", "3");
    if (write(pipe_fd[1], &last, sizeof last) < 0) _exit(1);
    kill(getpid(), SIGKILL);
  }
  int64_t last = 0;
  cr_assert(read(pipe_fd[0], &last, sizeof last) == sizeof last);
  waitpid(pid, NULL, 0);
  cr_expect_eq(last, 3);
  bench_t b = {.d = driver_new(dir, run)};
  snprintf(b.dir, sizeof b.dir, "%s", dir);
  driver_load(b.d, "store", "store-lmdb.so", NULL);
  keys(&b, "{\"from\":\"/r/\"}", buf);
  cr_expect(strstr(buf, "/r/a=2") && strstr(buf, "/r/lazy=1"), "a lazy write before a durable one survives with it: %s",
            buf);
  cr_expect_gt(put(&b, "{\"key\":\"/r/b\"}", "4"), last, "revisions never go back");
  teardown(&b);
}

static void fill_big(int i, char **args, char **doc, void *arg) {
  cr_assert(asprintf(args, "{\"key\":\"/%s/%06d\"}", (const char *)arg, i) > 0);
  *doc = malloc(20010);
  (*doc)[0] = '"';
  memset(*doc + 1, 'x', 20000);
  memcpy(*doc + 20001, "\"", 2);
}

Test(store_lmdb, the_map_grows_when_it_is_full) {
  bench_t b = setup("store-lmdb.so", "{\"mapSize\":1}");
  cr_expect_eq(driver_burst(b.d, "store", "store.put", 400, fill_big, "big", NULL), 400);
  kg_msg_t *m = call(&b, "store.status", "{}", NULL);
  cr_expect_gt(reply_int(m, "bytes"), 8000000);
  cr_expect_eq(reply_int(m, "keys"), 400);
  kg_msg_unref(m);
  teardown(&b);
}

Test(store_lmdb, a_swap_passes_the_directory_on) {
  bench_t b = setup("store-lmdb.so", NULL);
  kg_error_t err = {0};
  int64_t pause = 0;
  cr_expect_eq(put(&b, "{\"key\":\"/before\"}", "1"), 1);
  int rc = kg_kernel_swap(driver_kernel(b.d), "store", "store-lmdb.so", NULL, &pause, &err);
  cr_expect_eq(rc, 0, "%s", err.text);
  cr_expect_eq(put(&b, "{\"key\":\"/after\"}", "1"), 2);
  cr_expect_eq(put(&b, "{\"key\":\"/before\",\"expect\":@1}", "2"), 3);
  teardown(&b);
}

Test(store_lmdb, group_commit_makes_many_writes_share_one_fsync, .timeout = 60) {
  bench_t b = setup("store-lmdb.so", NULL);
  int64_t us = 0;
  cr_expect_eq(driver_burst(b.d, "store", "store.put", 20000, fill_many, "g", &us), 20000);
  kg_msg_t *m = call(&b, "store.status", "{}", NULL);
  int64_t commits = reply_int(m, "commits");
  kg_msg_unref(m);
  cr_expect_lt(commits, 10000, "%lld commits for 20,000 writes", (long long)commits);
  fprintf(stderr, "20,000 durable puts in %lld ms, %lld commits\n", (long long)us / 1000, (long long)commits);
  teardown(&b);
}

static int64_t status(bench_t *b, const char *what) {
  kg_msg_t *m = call(b, "store.status", "{}", NULL);
  int64_t n = reply_int(m, what);
  kg_msg_unref(m);
  return n;
}

static int64_t file_kib(const bench_t *b) {
  char path[128];
  struct stat st;
  snprintf(path, sizeof path, "%s/store/data.mdb", b->dir);
  return stat(path, &st) ? -1 : st.st_size / 1024;
}

static void fill_kib(int i, char **args, char **doc, void *first) {
  cr_assert(asprintf(args, "{\"key\":\"/k/%06d\"}", *(int *)first + i) > 0);
  *doc = malloc(1010);
  (*doc)[0] = '"';
  memset(*doc + 1, 'x', 1000);
  memcpy(*doc + 1001, "\"", 2);
}

static void fill_keys(int i, char **args, char **doc, void *first) {
  *doc = NULL;
  cr_assert(asprintf(args, "{\"key\":\"/k/%06d\"}", *(int *)first + i) > 0);
}

/* n requests, no more at once than a queue holds. */
static void many(bench_t *b, const char *topic, int n, driver_fill_fn fill) {
  enum { PART = 10000 };
  for (int first = 0; first < n; first += PART)
    cr_assert_eq(driver_burst(b->d, "store", topic, PART, fill, &first, NULL), PART);
}

static void wait_for(bench_t *b, const char *what, int64_t at_least) {
  for (int i = 0; i < 1000 && status(b, what) < at_least; i++) usleep(20000);
  cr_assert_geq(status(b, what), at_least, "%s did not come to %lld", what, (long long)at_least);
}

#ifdef __SANITIZE_ADDRESS__
enum { MANY = 20000 };
#else
enum { MANY = 100000 };
#endif

#define COMPACTS_SOON "{\"compaction\":{\"keepMs\":300,\"keepRevisions\":0}}"

Test(store_lmdb, the_file_shrinks_when_most_was_deleted_and_compacted, .timeout = 100) {
  bench_t b = setup("store-lmdb.so", COMPACTS_SOON);
  char buf[400];
  many(&b, "store.put", MANY, fill_kib);
  int64_t full = file_kib(&b);
  cr_expect_gt(full, MANY);
  many(&b, "store.delete", MANY, fill_keys);
  put(&b, "{\"key\":\"/r/a\"}", "1");
  stream_t *s = watch(&b, "{\"from\":\"/r/\",\"rev\":0}", 0, false);
  next(s, 2000, buf);
  for (int i = 0; i < 1000 && file_kib(&b) >= 8192; i++) usleep(20000); /* maybe in several steps */
  int64_t small = file_kib(&b);
  fprintf(stderr, "%d objects of 1 KB: %lld KiB; deleted and compacted: %lld KiB\n", MANY, (long long)full,
          (long long)small);
  cr_expect_lt(small, 8192, "%lld KiB are left", (long long)small);
  char args[64], want[64];
  snprintf(args, sizeof args, "{\"key\":\"/r/a\",\"expect\":%d}", 2 * MANY + 1);
  snprintf(want, sizeof want, "put %d /r/a", 2 * MANY + 2);
  cr_expect_eq(put(&b, args, "2"), 2 * MANY + 2, "it goes on in the new file");
  cr_expect_str_eq(next(s, 2000, buf), want);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/\"}", buf), "/r/a=2", "%s", buf);
  stream_close(s);
  reopen(&b);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/\"}", buf), "/r/a=2", "%s", buf);
  cr_expect_eq(put(&b, "{\"key\":\"/r/a\"}", "3"), 2 * MANY + 3);
  teardown(&b);
}

Test(store_lmdb, writes_go_on_while_the_file_shrinks_and_none_is_lost, .timeout = 100) {
  enum { N = 10000, LIVE = 2000 };
  bench_t b = setup("store-lmdb.so", "{\"shrink\":1,\"compaction\":{\"keepMs\":200,\"keepRevisions\":0}}");
  cr_expect_eq(driver_burst(b.d, "store", "store.put", LIVE, fill_many, "live", NULL), LIVE);
  for (int round = 0; round < 2; round++) {
    many(&b, "store.put", N, fill_kib);
    many(&b, "store.delete", N, fill_keys);
    for (int i = 0; status(&b, "shrinks") < round + 1 && i < 500; i++) {
      char args[64], doc[32];
      snprintf(args, sizeof args, "{\"key\":\"/during/%d/%d\",\"lazy\":%s}", round, i, i % 2 ? "true" : "false");
      snprintf(doc, sizeof doc, "%d", i);
      cr_assert_gt(put(&b, args, doc), 0);
      usleep(2000);
    }
    wait_for(&b, "shrinks", round + 1);
  }
  int64_t before = status(&b, "keys"), rev = status(&b, "rev");
  reopen(&b);
  cr_expect_eq(status(&b, "keys"), before);
  cr_expect_eq(status(&b, "rev"), rev);
  kg_msg_t *m = call(&b, "store.range", "{\"from\":\"/live/\",\"count_only\":true}", NULL);
  cr_expect_eq(reply_int(m, "count"), LIVE);
  kg_msg_unref(m);
  teardown(&b);
}

/* Durability per resource: Leases and Events are written lazily. */
Test(store_lmdb, lazy_writes_do_not_wait_for_the_disk) {
  bench_t b = setup("store-lmdb.so", NULL);
  int64_t at_first = status(&b, "commits");
  for (int i = 0; i < 200; i++) cr_assert_gt(put(&b, "{\"key\":\"/lease\",\"lazy\":true}", "1"), 0);
  int64_t lazy = status(&b, "commits") - at_first;
  for (int i = 0; i < 200; i++) cr_assert_gt(put(&b, "{\"key\":\"/object\"}", "1"), 0);
  int64_t durable = status(&b, "commits") - at_first - lazy;
  fprintf(stderr, "commits of 200 lazy writes: %lld, of 200 durable ones: %lld\n", (long long)lazy, (long long)durable);
  cr_expect_leq(lazy, 5);
  cr_expect_geq(durable, 200);
  teardown(&b);
}

/* --- a full disk
 * ------------------------------------------------------------------------------------------------------ */

/* A file system of its own under DIR/store, in a mount namespace that goes away with the test. */
static void small_disk(const bench_t *b, const char *size, bool again) {
  char path[96], options[32];
  snprintf(path, sizeof path, "%s/store", b->dir);
  snprintf(options, sizeof options, "size=%s", size);
  if (!again && (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)))
    cr_skip_test("needs root");
  mkdir(path, 0700);
  cr_assert_eq(mount("tmpfs", path, "tmpfs", again ? MS_REMOUNT : 0, options), 0);
}

static int64_t put_big(bench_t *b, const char *name, int i) {
  char *args = NULL, *doc = NULL;
  fill_big(i, &args, &doc, (void *)name);
  int64_t rev = put(b, args, doc);
  free(args);
  free(doc);
  return rev;
}

Test(store_lmdb, a_full_disk_refuses_writes_and_recovers_when_space_returns, .timeout = 60) {
  bench_t b = {.file = "store-lmdb.so"};
  char buf[400];
  int n = 0, refused = 0;
  snprintf(b.dir, sizeof b.dir, "/tmp/kogge-store-XXXXXX");
  cr_assert(mkdtemp(b.dir));
  small_disk(&b, "4m", false);
  setup_on(&b);
  stream_t *s = watch(&b, "{\"from\":\"/r/\",\"rev\":0}", 0, false);
  next(s, 2000, buf);
  cr_expect_eq(put(&b, "{\"key\":\"/r/a\"}", "1"), 1);
  while (n < 1000 && put_big(&b, "big", n) > 0) n++;
  cr_assert(n > 50 && n < 1000, "%d writes of 20 KB fit into 4 MB", n);
  for (int i = 0; i < 20; i++) refused += put_big(&b, "more", i) == -507;
  cr_expect_geq(refused, 19, "%d of 20 writes to a full disk were refused with 507", refused);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\"}", buf), "/r/a=1", "reads go on: %s", buf);
  kg_msg_t *m = call(&b, "store.range", "{\"from\":\"/big/\",\"count_only\":true}", NULL);
  cr_expect_eq(reply_int(m, "count"), n, "what was acknowledged is there");
  kg_msg_unref(m);
  small_disk(&b, "64m", true);
  cr_expect_gt(put_big(&b, "later", 0), 0, "there is space again");
  cr_expect_gt(put(&b, "{\"key\":\"/r/a\",\"expect\":@1}", "2"), 0);
  cr_expect_eq(strncmp(next(s, 2000, buf), "put 1 /r/a", 10), 0, "%s", buf);
  cr_expect(strstr(next(s, 2000, buf), " /r/a"), "the watch goes on: %s", buf);
  stream_close(s);
  reopen(&b);
  m = call(&b, "store.range", "{\"from\":\"/big/\",\"count_only\":true}", NULL);
  cr_expect_eq(reply_int(m, "count"), n);
  kg_msg_unref(m);
  cr_expect_str_eq(keys(&b, "{\"from\":\"/r/\"}", buf), "/r/a=2", "%s", buf);
  fprintf(stderr, "a disk of 4 MB took %d writes of 20 KB, refused %d of 20 more, and took writes again when it grew\n",
          n, refused);
  driver_free(b.d);
  b.d = NULL;
  char path[96];
  snprintf(path, sizeof path, "%s/store", b.dir);
  umount(path);
  teardown(&b);
}
