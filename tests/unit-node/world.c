#include "world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"

const char *const NODE = "{\"nodeName\":\"n1\",\"podCIDR\":\"10.1.2.0/24\",\"nodeIP\":\"127.0.0.1\"}";

void must(world_t *w, const char *topic, const char *args, const char *doc) {
  kg_msg_t *m = driver_call(w->d, "api", topic, args, doc);
  cr_assert_eq(kg_msg_type(m), KG_MSG_REPLY, "%s %s: %s", topic, args, kg_msg_text(m));
  kg_msg_unref(m);
}

void begin_bare(world_t *w) {
  strcpy(w->dir, "/tmp/kogge-unit-node-XXXXXX");
  cr_assert(mkdtemp(w->dir));
  w->d = driver_new(w->dir, w->dir);
  driver_load(w->d, "store", "store-memory.so", NULL);
  driver_load(w->d, "api", "api.so", NULL);
  kg_msg_t *m = driver_call(w->d, "api", "api.create", "{\"g\":\"\",\"v\":\"v1\",\"r\":\"namespaces\"}",
                            "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"default\"}}");
  kg_msg_unref(m); /* there or not */
  must(w, "api.create", "{\"g\":\"\",\"v\":\"v1\",\"r\":\"serviceaccounts\",\"ns\":\"default\"}",
       "{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":\"default\"}}");
}

void begin(world_t *w) {
  kg_error_t err = {0};
  fake_reset();
  begin_bare(w);
  kg_plugin_spec_t spec = {.name = "runtime", .lane = "main", .descriptor = &fake_runtime};
  cr_assert(kg_kernel_load(driver_kernel(w->d), &spec, &err) == 0, "%s", err.text);
  driver_load(w->d, "node", "node.so", NODE);
}

void finish(world_t *w) {
  char command[128];
  driver_free(w->d);
  snprintf(command, sizeof command, "rm -rf %s", w->dir);
  cr_assert_eq(system(command), 0);
}

/* spec: further fields of the spec, JSON without braces. */
void create_pod(world_t *w, const char *name, const char *spec) {
  create_pod_on(w, "n1", name, "{}", spec);
}

void create_pod_on(world_t *w, const char *node, const char *name, const char *annotations, const char *spec) {
  char doc[4096];
  snprintf(doc, sizeof doc,
           "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\","
           "\"annotations\":%s},\"spec\":{\"nodeName\":\"%s\",\"automountServiceAccountToken\":false,%s}}",
           name, annotations, node, spec);
  must(w, "api.create", "{\"g\":\"\",\"v\":\"v1\",\"r\":\"pods\",\"ns\":\"default\"}", doc);
}

kg_doc_t *get_object(world_t *w, const char *args) {
  kg_msg_t *m = driver_call(w->d, "api", "api.get", args, NULL);
  kg_doc_t *doc = kg_msg_type(m) == KG_MSG_REPLY ? kg_doc_ref(kg_msg_doc(m, 0)) : NULL;
  kg_msg_unref(m);
  return doc;
}

/* Waits until the object's JSON contains `text`; NULL: until it is not there. */
void expect_object(world_t *w, const char *args, const char *text) {
  char *json = NULL;
  for (int i = 0; i < 1000; i++) {
    kg_doc_t *doc = get_object(w, args);
    free(json);
    json = doc ? kg_view_to_json(kg_view_of(doc)) : NULL;
    kg_doc_unref(doc);
    if (text ? json && strstr(json, text) : !json) break;
    nanosleep(&(struct timespec){0, 10000000}, NULL);
  }
  cr_assert(text ? json && strstr(json, text) != NULL : !json, "expected %s in %s", text ? text : "nothing", json);
  free(json);
}

void expect_calls(const char *topic, const char *part, int n) {
  for (int i = 0; i < 1000 && fake_calls(topic, part) < n; i++) nanosleep(&(struct timespec){0, 10000000}, NULL);
  cr_assert_eq(fake_calls(topic, part), n, "%s %s: %d calls, not %d", topic, part, fake_calls(topic, part), n);
}

kg_view_t condition(kg_view_t pod, const char *type) {
  for (kg_iter_t it = kg_iter(kg_view_path(pod, "status", "conditions", NULL)); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(kg_view_get(it.value, "type")), type)) return it.value;
  return (kg_view_t){0};
}

void cr_text(kg_view_t v, const char *wanted) {
  kg_str_t s = kg_view_str(v);
  cr_assert(kg_str_is(s, wanted), "'" KG_STR_FMT "' is not '%s'", KG_STR_ARG(s), wanted);
}

void expect_event(world_t *w, const char *reason, const char *text) {
  char *all = NULL;
  for (int i = 0; i < 1000; i++) {
    kg_msg_t *m = driver_call(w->d, "api", "api.list", "{\"g\":\"\",\"v\":\"v1\",\"r\":\"events\"}", NULL);
    bool found = false;
    free(all);
    all = NULL;
    for (size_t n = 0; n < kg_msg_ndocs(m) && !found; n++) {
      kg_view_t event = kg_view_of(kg_msg_doc(m, n));
      kg_str_t message = kg_view_str(kg_view_get(event, "message"));
      found = kg_str_is(kg_view_str(kg_view_get(event, "reason")), reason) &&
              memmem(message.p, message.n, text, strlen(text));
      free(all);
      all = kg_view_to_json(event);
    }
    kg_msg_unref(m);
    if (found) return free(all);
    nanosleep(&(struct timespec){0, 10000000}, NULL);
  }
  cr_assert_fail("no event %s with '%s'; the last one: %s", reason, text, all);
}
