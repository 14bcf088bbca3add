/* exec, logs, attach. */
#include "node.h"

#include <time.h>

/* Reads the stream to its end: outputs together, *code the exit code. Caller frees. */
static char *drain(stream_t *s, int64_t *code) {
  kube_buf_t out = {0};
  bool more = true;
  for (kg_msg_t *m; more && (m = stream_next(s, 10000)); kg_msg_unref(m)) {
    more = kg_msg_type(m) == KG_MSG_ITEM;
    cr_assert(kg_msg_type(m) != KG_MSG_ERROR, "%s", kg_msg_text(m));
    kg_str_t data = kg_view_bin(kg_view_get(kg_msg_args(m), "data"));
    if (data.n) kube_buf_add(&out, data.p, data.n);
    if (code) *code = kg_view_int(kg_view_get(kg_msg_args(m), "exit"), *code);
  }
  cr_assert(!more, "the stream did not end");
  stream_close(s);
  kube_buf_add(&out, "", 1);
  return out.p;
}

static char *run_in(node_t *n, const char *args, int64_t *code) {
  return drain(driver_stream(n->d, "runtime", "runtime.exec", args, 0, false), code);
}

Test(streams, exec) {
  node_t *n = node_new();
  int64_t code = -1;
  sandbox(n, "s1");
  container(n, "c1", "s1", "sleep 1000", "");
  char *out = run_in(n, "{\"id\": \"c1\", \"command\": [\"sh\", \"-c\", \"hostname; echo err >&2; exit 4\"]}", &code);
  cr_expect(strstr(out, "s1\n") && strstr(out, "err\n"), "%s", out);
  cr_expect(code == 4, "%d", (int)code);
  free(out);
  out = run_in(n, "{\"id\": \"c1\", \"command\": [\"sh\", \"-c\", \"tty; stty size\"], \"tty\": true}", &code);
  cr_expect(strstr(out, "/dev/pts/") && code == 0, "%s", out);
  free(out);
  out = run_in(n, "{\"id\": \"c1\", \"command\": [\"/nope\"]}", &code);
  cr_expect(code == 255 || code == 127 || code == 126 || code == 1, "%d %s", (int)code, out);
  free(out);
  out = run_in(n, "{\"id\": \"c1\", \"command\": [\"sh\", \"-c\", \"seq 1 200000\"]}", &code);
  cr_expect(strlen(out) == 1288895, "%zu", strlen(out));
  free(out);
  stop_all(n, "s1", "c1");
  node_free(n);
}

static char *logs(node_t *n, const char *more) {
  char args[256];
  snprintf(args, sizeof args, "{\"path\": \"%s/logs/c1/0.log\"%s}", n->dir, more);
  return drain(driver_stream(n->d, "runtime", "runtime.logs", args, 0, false), NULL);
}

/* A line too long for one entry of the file (P ... P F) is one line again, with one time. */
Test(streams, a_long_line_of_a_log) {
  node_t *n = node_new();
  sandbox(n, "s1");
  container(n, "c1", "s1", "printf %0100000d 0; echo; echo end", "");
  await(n, "c1", "\"exited\"");
  cr_expect(
      shell("grep -q ' stdout P 0' %s/logs/c1/0.log && grep -q ' stdout F end' %s/logs/c1/0.log", n->dir, n->dir) == 0);
  char *out = logs(n, "");
  cr_expect(strspn(out, "0") == 100000 && !strcmp(out + 100000, "\nend\n"), "%zu of %zu", strspn(out, "0"),
            strlen(out));
  free(out);
  out = logs(n, ", \"timestamps\": true");
  char *text = strchr(out, ' ');
  cr_expect(text && strspn(text + 1, "0") == 100000, "%.80s", out);
  free(out);
  stop_all(n, "s1", "c1");
  node_free(n);
}

Test(streams, logs_and_their_options) {
  node_t *n = node_new();
  sandbox(n, "s1");
  container(n, "c1", "s1", "for i in 1 2 3 4 5; do echo line $i; done", "");
  await(n, "c1", "\"exited\"");
  char *out = logs(n, "");
  cr_expect_str_eq(out, "line 1\nline 2\nline 3\nline 4\nline 5\n");
  free(out);
  out = logs(n, ", \"tail\": 2");
  cr_expect_str_eq(out, "line 4\nline 5\n");
  free(out);
  out = logs(n, ", \"limitBytes\": 9");
  cr_expect_str_eq(out, "line 1\nli");
  free(out);
  out = logs(n, ", \"timestamps\": true, \"tail\": 1");
  cr_expect(out[4] == '-' && strstr(out, " line 5\n"), "%s", out);
  free(out);
  stop_all(n, "s1", "c1");
  node_free(n);
}

Test(streams, followed_logs_end_with_the_container) {
  node_t *n = node_new();
  sandbox(n, "s1");
  container(n, "c1", "s1", "for i in 1 2 3; do echo line $i; sleep 0.2; done", "");
  char *out = logs(n, ", \"follow\": true");
  cr_expect_str_eq(out, "line 1\nline 2\nline 3\n");
  free(out);
  await(n, "c1", "\"exited\"");
  stop_all(n, "s1", "c1");
  node_free(n);
}
