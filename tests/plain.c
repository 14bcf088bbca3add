/*
 * Runs Criterion's tests without its runner, for ThreadSanitizer: that refuses most of the random addresses at which
 * the runner wants to share memory with its child processes. Every test in a process of its own, JOBS at a time.
 *   test-NAME [PATTERN]     PATTERN: of SUITE/TEST
 */
#include <criterion/criterion.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JOBS = 2, LONGEST_S = 100, MOST = 1024 };

/* They measure memory and time, of which ThreadSanitizer takes much. Only a pattern that is theirs runs them. */
static const char *const left_out[] = {"leaks/*", "limits/*"};

extern struct criterion_test *__start_cr_tst[], *__stop_cr_tst[];

static struct {
  pid_t pid;
  const struct criterion_test *test;
} running[MOST];
static int run, failed;

/* --- what Criterion's macros call --------------------------------------------------------------------------------- */

static bool asserted = true;

void criterion_send_assert(struct criterion_assert_stats *stats) {
  if (stats->passed) return;
  asserted = false;
  fprintf(stderr, "%s:%u: %s\n", stats->file, stats->line, stats->message ? stats->message : "");
}

void cr_log(enum criterion_severity severity, const char *text, ...) {
  (void)severity;
  va_list ap;
  va_start(ap, text);
  vfprintf(stderr, text, ap);
  va_end(ap);
  fputc('\n', stderr);
}

void criterion_abort_test(void) {
  exit(1);
}
void criterion_internal_test_setup(void) {}
void criterion_internal_test_main(void (*fn)(void)) {
  fn();
}
void criterion_internal_test_teardown(void) {}

/* --- the runner --------------------------------------------------------------------------------------------------- */

static void begin(int i, const struct criterion_test *test) {
  fflush(NULL);
  running[i].test = test;
  running[i].pid = fork();
  if (running[i].pid) return;
  alarm(LONGEST_S);
  test->test();
  exit(asserted ? 0 : 1);
}

static bool wanted(const struct criterion_test *test, const char *pattern) {
  char name[200];
  snprintf(name, sizeof name, "%s/%s", test->category, test->name);
  for (size_t i = 0; !*pattern && i < sizeof left_out / sizeof *left_out; i++)
    if (fnmatch(left_out[i], name, 0) == 0) return false;
  return !*pattern || fnmatch(pattern, name, 0) == 0;
}

static void end_one(int n) {
  int status;
  pid_t pid = wait(&status);
  for (int i = 0; i < n; i++) {
    if (running[i].pid != pid || status == 0) continue;
    failed++;
    fprintf(stderr, "FAILED: %s/%s (status %x)\n", running[i].test->category, running[i].test->name, (unsigned)status);
  }
}

int main(int argc, char **argv) {
  const char *pattern = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
  int under_way = 0;
  for (struct criterion_test **t = __start_cr_tst; t < __stop_cr_tst && run < MOST; t++) {
    if (!*t || !wanted(*t, pattern)) continue;
    if (under_way == JOBS) end_one(run);
    if (under_way < JOBS) under_way++;
    begin(run++, *t);
  }
  for (; under_way > 0; under_way--) end_one(run);
  printf("%d tests, %d failed\n", run, failed);
  return failed || !run;
}
