/* What a decision in Lua costs, beside the same in plain C, in one run. Prints "label value unit" lines and JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/policy.h"

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const char source[] =
    "function numbers(cpu, used, pod) return (cpu - used - pod) / cpu end\n"
    "function view(pod, node)\n"
    "  local disk = pod('metadata', 'annotations', 'disk')\n"
    "  if disk and node('metadata', 'labels', 'disk') ~= disk then return 0 end\n"
    "  return #node.metadata.labels + #pod.spec.containers\n"
    "end\n"
    "function match(pod) return pod.spec.containers[1].image:match(':([%w._-]+)$') ~= nil end\n"
    "function loop() local x = 0 for i = 1, 1000000 do x = x + i % 7 end return x end\n"
    "function ends() while true do end end\n";

static kg_doc_t *pod;
static policy_t *p;

__attribute__((noinline)) static double c_numbers(double cpu, double used, double want) {
  return (cpu - used - want) / cpu;
}

__attribute__((noinline)) static int64_t c_view(kg_view_t a, kg_view_t b) {
  kg_str_t disk = kg_view_str(kg_view_path(a, "metadata", "annotations", "disk", NULL));
  if (disk.n && !kg_str_eq(disk, kg_view_str(kg_view_path(b, "metadata", "labels", "disk", NULL)))) return 0;
  return (int64_t)(kg_view_count(kg_view_path(b, "metadata", "labels", NULL)) +
                   kg_view_count(kg_view_path(a, "spec", "containers", NULL)));
}

static void row(const char *key, double per_s, const char *beside) {
  printf("%s %.0f %.1f %s\n", key, per_s, 1e9 / per_s, beside);
}

static double call_rate(const char *name, const policy_arg_t *args, size_t n, int rounds) {
  int fn = policy_function(p, name);
  policy_result_t r;
  kg_error_t err = {0};
  double since = now();
  for (int i = 0; i < rounds; i++) {
    if (policy_call(p, fn, args, n, &r, &err) < 0) {
      fprintf(stderr, "%s: %s\n", name, err.text);
      exit(1);
    }
    policy_result_clear(&r);
  }
  return rounds / (now() - since);
}

static double c_rate(int rounds) {
  volatile double sink = 0;
  double since = now();
  for (int i = 0; i < rounds; i++) sink += c_numbers(4000, i & 1023, 100);
  return rounds / (now() - since);
}

static double c_view_rate(int rounds) {
  volatile int64_t sink = 0;
  double since = now();
  for (int i = 0; i < rounds; i++) sink += c_view(kg_view_of(pod), kg_view_of(pod));
  return rounds / (now() - since);
}

static kg_doc_t *make_pod(void) {
  kg_doc_t *sample = policy_sample(NULL);
  kg_view_t v = kg_view_get(kg_view_of(sample), "object");
  kg_doc_t *doc = kg_doc_copy(v.p, kg_view_span(v));
  kg_doc_unref(sample);
  return doc;
}

int main(void) {
  kg_error_t err = {0};
  p = policy_new("bench", KG_STR(source), NULL, &err);
  pod = make_pod();
  if (!p || !pod) {
    fprintf(stderr, "%s\n", err.text);
    return 1;
  }
  policy_arg_t numbers[] = {POLICY_ARG_NUMBER(4000), POLICY_ARG_NUMBER(500), POLICY_ARG_NUMBER(100)};
  policy_arg_t views[] = {POLICY_ARG_VIEW(kg_view_of(pod)), POLICY_ARG_VIEW(kg_view_of(pod))};
  row("numbers", call_rate("numbers", numbers, 3, 2000000), "calls_with_three_numbers");
  row("numbers_c", c_rate(100000000), "the_same_in_C");
  row("views", call_rate("view", views, 2, 500000), "calls_with_two_views");
  row("views_c", c_view_rate(5000000), "the_same_in_C");
  row("match", call_rate("match", views, 1, 500000), "a_view_and_a_pattern");
  double loops = call_rate("loop", NULL, 0, 5);
  row("loop", loops * 1e6, "iterations_of_a_loop");
  policy_result_t r;
  double since = now();
  policy_call(p, policy_function(p, "ends"), NULL, 0, &r, &err);
  printf("stopped_after_ms %.1f 0 a_loop_without_end\n", (now() - since) * 1000);
  policy_free(p);
  kg_doc_unref(pod);
  return 0;
}
