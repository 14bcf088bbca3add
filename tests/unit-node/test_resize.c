/* Resizing in place beside others, on a node that has only so much. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "fake.h"
#include "world.h"

static kg_msg_t *resize(world_t *w, long milli) {
  char doc[512];
  snprintf(doc, sizeof doc,
           "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"%ldm\"},\"limits\":{"
           "\"cpu\":\"%ldm\"}}}]}}",
           milli, milli);
  return driver_call(w->d, "api", "api.patch",
                     "{\"g\":\"\",\"v\":\"v1\",\"r\":\"pods\",\"ns\":\"default\",\"name\":\"p\",\"sub\":\"resize\","
                     "\"patch\":\"strategic\"}",
                     doc);
}

static void pod_of(world_t *w, const char *name, long milli) {
  char spec[512];
  snprintf(spec, sizeof spec,
           "\"containers\":[{\"name\":\"c\",\"image\":\"here\",\"command\":[\"run\"],\"resources\":{\"requests\":{"
           "\"cpu\":\"%ldm\"},\"limits\":{"
           "\"cpu\":\"%ldm\"}}}]",
           milli, milli);
  create_pod(w, name, spec);
}

Test(resize, waits_for_what_others_have) {
  world_t w;
  char text[256];
  long all = sysconf(_SC_NPROCESSORS_ONLN) * 1000;
  begin(&w);
  pod_of(&w, "p", 100);
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  pod_of(&w, "other", all - 300);
  expect_object(&w, POD_ARGS("other"), "\"phase\":\"Running\"");
  kg_msg_unref(resize(&w, 500));
  snprintf(text, sizeof text, "Node didn't have enough resource: cpu, requested: 500, used: %ld, capacity: %ld",
           all - 300, all);
  expect_object(&w, POD_ARGS("p"), text);
  expect_object(&w, POD_ARGS("p"), "\"type\":\"PodResizePending\"");
  expect_object(&w, POD_ARGS("p"), "\"reason\":\"Deferred\"");
  expect_event(&w, "ResizeDeferred",
               "Pod resize Deferred: {\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":\"500m\"}");
  expect_object(&w, POD_ARGS("p"),
                "\"allocatedResources\":{\"cpu\":\"100m\"},\"resources\":{\"limits\":{\"cpu\":\"100m\"}");
  cr_assert_eq(fake_calls("runtime.container.update", NULL), 0);
  /* An agent that starts anew knows what was granted. */
  kg_error_t err = {0};
  cr_assert(kg_kernel_unload(driver_kernel(w.d), "node", &err) == 0, "%s", err.text);
  driver_load(w.d, "node", "node.so", NODE);
  usleep(300000);
  expect_object(&w, POD_ARGS("p"), "\"allocatedResources\":{\"cpu\":\"100m\"}");
  cr_assert_eq(fake_calls("runtime.container.update", NULL), 0);
  must(&w, "api.delete", POD_ARGS("other"), NULL);
  expect_object(&w, POD_ARGS("p"),
                "\"allocatedResources\":{\"cpu\":\"500m\"},\"resources\":{\"limits\":{\"cpu\":\"500m\"}");
  expect_event(&w, "ResizeStarted", "Pod resize started: ");
  expect_event(&w, "ResizeCompleted", "\"generation\":2}");
  kg_doc_t *now = get_object(&w, POD_ARGS("p"));
  cr_assert(!kg_view_there(condition(kg_view_of(now), "PodResizePending")));
  kg_doc_unref(now);
  finish(&w);
}

Test(resize, what_the_node_never_has_is_refused) {
  world_t w;
  long all = sysconf(_SC_NPROCESSORS_ONLN) * 1000;
  char text[256];
  begin(&w);
  pod_of(&w, "p", 100);
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  kg_msg_t *m = resize(&w, all + 1);
  snprintf(
      text, sizeof text,
      "pods \"p\" is forbidden: node didn't have enough allocatable resources: cpu, requested: %ld, allocatable: %ld",
      all + 1, all);
  cr_assert_eq(kg_msg_code(m), 403);
  cr_assert_str_eq(kg_msg_text(m), text);
  kg_msg_unref(m);
  finish(&w);
}
