/* What is written where control groups are one tree (v2), in a directory that stands for it: machines for tests have
 * v1. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../runtimes/oci/oci.h"

/* What cgroup.c takes from the runtime's other parts. */
sandbox_t *sandbox_find(const oci_t *o, kg_str_t id) {
  (void)id;
  return o->sandboxes;
}

container_t *container_find(const oci_t *o, kg_str_t id) {
  (void)id;
  return o->containers;
}

char *text_of(kg_view_t args, const char *key) {
  kg_str_t s = kg_view_str(kg_view_get(args, key));
  return s.n ? kg_str_dup(s) : NULL;
}

char *read_whole(const char *path, size_t most, size_t *n) {
  FILE *f = fopen(path, "re");
  char *text = calloc(1, most + 1);
  size_t got = f && text ? fread(text, 1, most, f) : 0;
  if (f) fclose(f);
  if (n) *n = got;
  return text;
}

#define POD CGROUPS "/kogge-test/podu1"

/* The files that the kernel puts into every group. */
static void group(const char *dir) {
  static const char *const files[] = {"cpu.weight", "cpu.max", "memory.max", "memory.current",
                                      "cgroup.subtree_control"};
  char command[600];
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    snprintf(command, sizeof command, "mkdir -p %s && : >%s/%s", dir, dir, files[i]);
    cr_assert_eq(system(command), 0);
  }
}

static void put(const char *path, const char *text) {
  FILE *f = fopen(path, "we");
  cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void is(const char *path, const char *text) {
  char *now = read_whole(path, 4096, NULL);
  cr_expect_str_eq(now, text, "%s is '%s', not '%s'", path, now, text);
  free(now);
}

static kg_doc_t *doc_of(const char *json) {
  kg_error_t err = {0};
  kg_doc_t *doc = kube_json_parse(json, strlen(json), NULL, NULL, &err);
  cr_assert(doc, "%s", err.text);
  return doc;
}

static void begin(oci_t *o, sandbox_t *s, container_t *c) {
  cr_assert_eq(system("rm -rf " CGROUPS), 0);
  group(CGROUPS);
  group(CGROUPS "/kogge-test");
  group(POD);
  group(POD "/c1");
  *o = (oci_t){.unified = true, .cgroup_root = "/kogge-test", .sandboxes = s, .containers = c};
  *s = (sandbox_t){
      .id = "s1",
      .args = doc_of("{\"uid\":\"u1\",\"resources\":{\"cpuShares\":102,\"cpuQuota\":20000,\"cpuPeriod\":100000,"
                     "\"memory\":67108864}}")};
  *c = (container_t){.id = "c1", .state = C_RUNNING};
}

static void a_pods_group_has_its_limits_and_passes_controllers_down(void) {
  oci_t o;
  sandbox_t s;
  container_t c;
  begin(&o, &s, &c);
  cgroup_pod(&o, &s);
  is(POD "/cpu.weight", "4");
  is(POD "/cpu.max", "20000 100000");
  is(POD "/memory.max", "67108864");
  is(CGROUPS "/cgroup.subtree_control", "");
  is(CGROUPS "/kogge-test/cgroup.subtree_control", "+cpu +memory +pids");
  is(POD "/cgroup.subtree_control", "+cpu +memory +pids");
  kg_doc_unref(s.args);
}

static void an_update_reaches_the_container_and_its_pod(void) {
  oci_t o;
  sandbox_t s;
  container_t c;
  kg_error_t err = {0};
  begin(&o, &s, &c);
  kg_doc_t *args =
      doc_of("{\"resources\":{\"cpuShares\":1024,\"cpuQuota\":50000,\"cpuPeriod\":100000,\"memory\":1048576},"
             "\"pod\":{\"cpuShares\":2048,\"cpuQuota\":0,\"cpuPeriod\":100000,\"memory\":0}}");
  put(POD "/c1/memory.current", "1000\n");
  cr_assert_eq(cgroup_update(&o, &c, &s, kg_view_of(args), &err), 0, "%s", err.text);
  is(POD "/c1/cpu.weight", "39");
  is(POD "/c1/cpu.max", "50000 100000");
  is(POD "/c1/memory.max", "1048576");
  is(POD "/cpu.weight", "79");
  is(POD "/cpu.max", "max");
  is(POD "/memory.max", "max");
  put(POD "/c1/memory.current", "2000000\n");
  cr_assert_eq(cgroup_update(&o, &c, &s, kg_view_of(args), &err), -1);
  cr_assert_eq(err.code, KG_ECONFLICT);
  cr_assert_str_eq(err.text, "it uses 2000000 bytes of memory, more than the new limit of 1048576");
  kg_doc_unref(args);
  kg_doc_unref(s.args);
}

static void a_group_that_lacks_a_file_says_which(void) {
  oci_t o;
  sandbox_t s;
  container_t c;
  kg_error_t err = {0};
  begin(&o, &s, &c);
  kg_doc_t *args = doc_of("{\"resources\":{\"cpuShares\":2,\"cpuQuota\":0,\"memory\":0}}");
  unlink(POD "/c1/cpu.max");
  cr_assert_eq(cgroup_update(&o, &c, &s, kg_view_of(args), &err), -1);
  cr_assert(strstr(err.text, "/podu1/c1/cpu.max cannot become max"), "%s", err.text);
  is(POD "/c1/cpu.weight", "1");
  is(POD "/c1/memory.max", "max");
  kg_doc_unref(args);
  kg_doc_unref(s.args);
}

/* One after the other: they share the directory. */
Test(cgroup2, limits_are_written) {
  a_pods_group_has_its_limits_and_passes_controllers_down();
  an_update_reaches_the_container_and_its_pod();
  a_group_that_lacks_a_file_says_which();
}
