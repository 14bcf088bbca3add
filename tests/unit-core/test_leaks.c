/* After a thousand lives of plugins the process has what it had before: descriptors, threads, mappings, memory. */
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness.h"

typedef struct held {
  size_t descriptors, threads, mappings, kib, files;
} held_t;

static size_t entries(const char *dir) {
  size_t n = 0;
  DIR *d = opendir(dir);
  for (const struct dirent *e; d && (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
  if (d) closedir(d);
  return n;
}

static size_t lines(const char *file) {
  size_t n = 0;
  FILE *f = fopen(file, "r");
  for (int c; f && (c = fgetc(f)) != EOF;) n += c == '\n';
  if (f) fclose(f);
  return n;
}

static held_t held(const char *run_dir) {
  size_t size = 0, resident = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (!f || fscanf(f, "%zu %zu", &size, &resident) != 2) resident = 0;
  if (f) fclose(f);
  return (held_t){.descriptors = entries("/proc/self/fd"),
                  .threads = entries("/proc/self/task"),
                  .mappings = lines("/proc/self/maps"),
                  .kib = resident * (size_t)sysconf(_SC_PAGESIZE) / 1024,
                  .files = entries(run_dir)};
}

static bool more(held_t now, held_t before) {
  return now.descriptors > before.descriptors || now.files > before.files || now.threads > before.threads;
}

/* ZeroMQ closes sockets in a thread of its own. */
static held_t settled(const char *run_dir, held_t before) {
  held_t now = held(run_dir);
  for (int i = 0; i < 1000 && more(now, before); i++) {
    usleep(10000);
    now = held(run_dir);
  }
  return now;
}

/* Mappings move a little with the allocator's arenas; a leaked file would be four a life. Before there may have been
 * some more, not yet closed. */
static void same(const char *what, held_t before, held_t now, int rounds) {
  cr_assert_leq(now.descriptors, before.descriptors, "%s: descriptors %zu -> %zu", what, before.descriptors,
                now.descriptors);
  cr_assert_leq(now.threads, before.threads, "%s: threads %zu -> %zu", what, before.threads, now.threads);
  cr_assert_leq(now.mappings, before.mappings + 8, "%s: mappings %zu -> %zu after %d rounds", what, before.mappings,
                now.mappings, rounds);
  cr_assert_leq(now.files, before.files, "%s: files %zu -> %zu", what, before.files, now.files);
#ifndef SANITIZED
  cr_assert_leq(now.kib, before.kib + 1024, "%s: %zu -> %zu KiB after %d rounds", what, before.kib, now.kib, rounds);
#endif
}

static char run_dir[] = "/tmp/kogge-test-XXXXXX";

static kg_kernel_t *make_kernel(bool tried, int64_t start_ms) {
  kg_error_t err = {0};
  cr_assert(mkdtemp(run_dir));
  kg_kernel_t *k =
      kg_kernel_new(&(kg_kernel_options_t){.log_level = KG_LOG_ERROR,
                                           .log_file = "/dev/null",
                                           .run_dir = run_dir,
                                           .plugin_path = KOGGE_BUILD_DIR "/plugins:" KOGGE_BUILD_DIR "/tests/plugins",
                                           .trial_command = tried ? KOGGE_BUILD_DIR "/kogge" : NULL,
                                           .start_timeout_ms = start_ms,
                                           .drain_timeout_ms = 300,
                                           .trial_timeout_ms = start_ms < 300 ? 300 : start_ms},
                    &err);
  cr_assert(k, "%s", err.text);
  return k;
}

static void finish(kg_kernel_t *k) {
  kg_kernel_free(k);
  cr_assert_eq(rmdir(run_dir), 0);
}

#ifdef SANITIZED /* starts processes slowly, and finds leaks of its own */
enum { LIVES = 200, BAD = 5, WARM = 50 };
#else
enum { LIVES = 1000, BAD = 50, WARM = 50 };
#endif

Test(leaks, a_thousand_lives_leave_nothing) {
  kg_kernel_t *k = make_kernel(false, 5000);
  held_t before = {0};
  for (int i = 0; i < WARM + LIVES; i++) {
    kg_error_t err = {0};
    if (i == WARM) before = held(run_dir);
    cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "hello", .file = "hello.so"}, &err), 0, "%s", err.text);
    cr_assert_eq(kg_kernel_unload(k, "hello", &err), 0, "%s", err.text);
  }
  same("load and unload", before, settled(run_dir, before), LIVES);
  finish(k);
}

Test(leaks, a_thousand_swaps_leave_nothing) {
  kg_kernel_t *k = make_kernel(false, 5000);
  held_t before = {0};
  kg_error_t err = {0};
  cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "hello", .file = "hello.so"}, &err), 0, "%s", err.text);
  for (int i = 0; i < WARM + LIVES; i++) {
    if (i == WARM) before = held(run_dir);
    cr_assert_eq(kg_kernel_swap(k, "hello", "hello", NULL, NULL, &err), 0, "%s", err.text);
  }
  same("swaps", before, settled(run_dir, before), LIVES);
  finish(k);
}

static void refuse_often(bool tried, int rounds, const char *const *files) {
  kg_kernel_t *k = make_kernel(tried, 20);
  kg_error_t err = {0};
  int rc = -1;
  for (int i = 0; i < 50 && rc < 0; i++) /* 20 ms are for the bad ones; on a busy machine a good one may need more */
    rc = kg_kernel_load(k, &(kg_plugin_spec_t){.name = "hello", .file = "hello.so"}, &err);
  cr_assert_eq(rc, 0, "%s", err.text);
  for (const char *const *file = files; *file; file++) {
    held_t before = {0};
    for (int i = 0; i < rounds + 2; i++) {
      if (i == 2) before = held(run_dir);
      cr_assert_eq(kg_kernel_swap(k, "hello", *file, NULL, NULL, &err), -1, "%s was accepted", *file);
    }
    same(*file, before, settled(run_dir, before), rounds);
  }
  rc = -1;
  for (int i = 0; i < 50 && rc < 0; i++) rc = kg_kernel_swap(k, "hello", "hello", NULL, NULL, &err);
  cr_assert_eq(rc, 0, "%s", err.text);
  finish(k);
}

Test(leaks, bad_plugins_that_reach_the_kernel_leave_nothing) {
  refuse_often(false, BAD,
               (const char *const[]){"wrong-abi", "wrong-size", "no-descriptor", "refuses-start", "refuses-state",
                                     "never-ready", "half-made", "unruly", "/etc/passwd", NULL});
}
Test(leaks, bad_plugins_that_die_in_their_trial_leave_nothing) {
  refuse_often(true, BAD,
               (const char *const[]){"crash-on-create", "crash-on-start", "crash-on-destroy", "leaks", NULL});
}
Test(leaks, bad_plugins_that_hang_in_their_trial_leave_nothing) {
  refuse_often(true, 3, (const char *const[]){"hang-on-create", "hang-on-start", "hang-on-destroy", NULL});
}

Test(leaks, processes_and_shadows_of_plugins_leave_nothing) {
  kg_kernel_t *k = make_kernel(true, 5000);
  kg_error_t err = {0};
  held_t before = {0};
  cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "hello", .file = "hello.so"}, &err), 0, "%s", err.text);
  for (int i = 0; i < 25; i++) {
    if (i == 5) before = held(run_dir);
    cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "unruly", .file = "unruly.so", .process = true}, &err),
                 0, "%s", err.text);
    cr_assert_eq(kg_kernel_unload(k, "unruly", &err), 0, "%s", err.text);
    cr_assert_eq(kg_kernel_shadow(k, &(kg_shadow_spec_t){.name = "hello", .file = "hello"}, &err), 0, "%s", err.text);
    kg_doc_unref(kg_kernel_shadow_report(k, "hello", true, &err));
  }
  same("processes and shadows", before, settled(run_dir, before), 20);
  finish(k);
}

/* --- documents that outlive their plugin -----------------------------------------------------------------------------
 */

static kg_doc_t *kept[2];
static atomic_int answers;

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)arg;
  for (size_t i = 0; i < 2; i++) kept[i] = kg_doc_ref(kg_msg_doc(m, i));
  answers++;
}

static void ask(kg_ctx_t *ctx, void *self) {
  (void)self;
  kg_send(ctx, &(kg_request_t){.service = "wraps", .topic = "wraps.give", .fn = answered});
}
static const kg_plugin_t asker =
    DESCRIPTOR(.name = "asker", .role = "asker", .create = create_nothing, .activate = ask);

static bool mapped(const char *name) {
  char line[500];
  bool found = false;
  FILE *f = fopen("/proc/self/maps", "r");
  while (f && fgets(line, sizeof line, f)) found |= strstr(line, name) != NULL;
  if (f) fclose(f);
  return found;
}

Test(leaks, a_document_keeps_its_plugins_file_until_it_is_released) {
  for (int first = 0; first < 2; first++) {
    kg_kernel_t *k = new_kernel();
    kg_error_t err = {0};
    cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "wraps", .file = "wraps.so"}, &err), 0, "%s", err.text);
    load(k, "asker", "main", &asker);
    wait_until(&answers, first + 1);
    cr_assert_eq(kg_kernel_unload(k, "wraps", &err), 0, "%s", err.text);
    kg_kernel_free(k);
    cr_assert(mapped("wraps.so"));
    kg_doc_unref(kept[first]);
    cr_assert(mapped("wraps.so"), "document %d needs it still", !first);
    cr_assert(kg_str_is(kg_view_str(kg_view_of(kept[!first])), "const"));
    kg_doc_unref(kept[!first]);
    cr_assert(!mapped("wraps.so"), "nobody needs it any more");
  }
}
