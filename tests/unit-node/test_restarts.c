/* What runs is ended by the agent itself, or ends by itself: when the next one comes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "fake.h"
#include "world.h"

#define FAILS "\"livenessProbe\":{\"exec\":{\"command\":[\"1\",\"no\"]},\"periodSeconds\":1,\"failureThreshold\":1}"

static void patch_pod(world_t *w, const char *name, const char *sub, const char *spec) {
  char args[256], doc[1024];
  snprintf(args, sizeof args,
           "{\"g\":\"\",\"v\":\"v1\",\"r\":\"pods\",\"ns\":\"default\",\"name\":\"%s\",%s\"patch\":\"strategic\"}",
           name, sub);
  snprintf(doc, sizeof doc, "{\"spec\":{%s}}", spec);
  must(w, "api.patch", args, doc);
}

Test(restarts, one_that_ends_well_after_a_failed_probe_runs_again) {
  world_t w;
  begin(&w);
  create_pod(&w, "p",
             "\"restartPolicy\":\"OnFailure\",\"containers\":[{\"name\":\"c\",\"image\":\"here\",\"command\":["
             "\"gentle\"]," FAILS "}]");
  expect_object(&w, POD_ARGS("p"), "\"restartCount\":1");
  expect_event(&w, "Killing", "Container c failed liveness probe, will be restarted");
  finish(&w);
}

Test(restarts, a_pod_that_never_restarts_ends_with_a_failed_probe) {
  world_t w;
  begin(&w);
  create_pod(
      &w, "p",
      "\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"here\",\"command\":[\"gentle\"]," FAILS
      "}]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Succeeded\"");
  cr_assert_eq(fake_calls("runtime.container.create", NULL), 1);
  finish(&w);
}

Test(restarts, one_that_ends_well_for_a_resize_runs_again) {
  world_t w;
  begin(&w);
  create_pod(&w, "p",
             "\"restartPolicy\":\"OnFailure\",\"containers\":[{\"name\":\"c\",\"image\":\"here\",\"command\":["
             "\"gentle\"],\"resizePolicy\":"
             "[{\"resourceName\":\"cpu\",\"restartPolicy\":\"RestartContainer\"}],\"resources\":{\"limits\":{\"cpu\":"
             "\"10m\"}}}]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  patch_pod(
      &w, "p", "\"sub\":\"resize\",",
      "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"20m\"},\"limits\":{\"cpu\":\"20m\"}}}]");
  expect_object(&w, POD_ARGS("p"), "\"restartCount\":1");
  expect_object(&w, POD_ARGS("p"), "\"resources\":{\"limits\":{\"cpu\":\"20m\"}");
  finish(&w);
}

Test(restarts, another_image_takes_the_place_of_what_runs) {
  world_t w;
  begin(&w);
  create_pod(
      &w, "p",
      "\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"here\",\"command\":[\"gentle\"]}]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  patch_pod(&w, "p", "", "\"containers\":[{\"name\":\"c\",\"image\":\"here:2\"}]");
  expect_event(&w, "Killing", "Container c definition changed, will be restarted");
  expect_object(&w, POD_ARGS("p"), "\"restartCount\":1");
  kg_doc_t *args = fake_args("runtime.container.create", "-c-1");
  cr_text(kg_view_get(kg_view_of(args), "image"), "here:2");
  kg_doc_unref(args);
  finish(&w);
}

Test(restarts, another_image_is_not_waited_for) {
  world_t w;
  begin(&w);
  create_pod(&w, "pull", "\"containers\":[{\"name\":\"c\",\"image\":\"gone\",\"imagePullPolicy\":\"IfNotPresent\"}]");
  create_pod(&w, "crash", "\"containers\":[" CONTAINER("c", "\"exit\",\"1\"") "]");
  expect_object(&w, POD_ARGS("pull"), "\"reason\":\"ErrImagePull\"");
  expect_object(&w, POD_ARGS("crash"), "\"reason\":\"CrashLoopBackOff\"");
  patch_pod(&w, "pull", "", "\"containers\":[{\"name\":\"c\",\"image\":\"here\"}]");
  patch_pod(&w, "crash", "", "\"containers\":[{\"name\":\"c\",\"image\":\"here:2\"}]");
  expect_object(&w, POD_ARGS("pull"), "\"phase\":\"Running\"");
  for (int i = 0; i < 300 && fake_calls("runtime.container.create", "-c-2") < 1; i++) usleep(10000);
  cr_assert_eq(fake_calls("runtime.container.create", "-c-2"), 1, "the backoff was of another image");
  finish(&w);
}
