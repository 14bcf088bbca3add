/* What runs is ended by the agent itself, or ends by itself: when the next one comes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "fake.h"
#include "server.h"
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
  cr_assert_geq(fake_order("runtime.sandbox.update", NULL), 0, "the whole pod may have more first");
  cr_assert_lt(fake_order("runtime.sandbox.update", NULL), fake_order("runtime.container.create", "-c-1"));
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

Test(restarts, sidecars_hear_of_the_end_at_once_and_end_last) {
  world_t w;
  begin(&w);
  create_pod(
      &w, "p",
      "\"terminationGracePeriodSeconds\":5,\"initContainers\":[{\"name\":\"a\",\"image\":\"here\",\"restartPolicy\":"
      "\"Always\","
      "\"command\":[\"run\"],\"lifecycle\":{\"preStop\":{\"exec\":{\"command\":[\"0\",\"\"]}}}},{\"name\":\"b\","
      "\"image\":\"here\","
      "\"restartPolicy\":\"Always\",\"command\":[\"run\"]}],\"containers\":[{\"name\":\"c\",\"image\":\"here\","
      "\"command\":[\"run\"],\"lifecycle\":{\"preStop\":{\"sleep\":{\"seconds\":1}}}}]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  must(&w, "api.delete", POD_ARGS("p"), NULL);
  expect_calls("runtime.exec", "-a-0", 1);
  cr_assert_eq(fake_calls("runtime.container.stop", "-a-0"), 0, "its turn has not come");
  expect_event(&w, "Killing", "Stopping container a");
  expect_object(&w, POD_ARGS("p"), NULL);
  cr_assert_lt(fake_order("runtime.container.stop", "-c-0"), fake_order("runtime.container.stop", "-b-0"));
  cr_assert_lt(fake_order("runtime.container.stop", "-b-0"), fake_order("runtime.container.stop", "-a-0"));
  finish(&w);
}

/* --- hooks
 * ------------------------------------------------------------------------------------------------------------ */

static void hooked(world_t *w, const char *name, const char *hook) {
  char text[512];
  snprintf(
      text, sizeof text,
      "\"containers\":[{\"name\":\"c\",\"image\":\"here\",\"command\":[\"run\"],\"lifecycle\":{\"postStart\":{%s}}}]",
      hook);
  create_pod(w, name, text);
}

static void http_hook(world_t *w, const char *name, const server_t *s, const char *scheme) {
  char text[256];
  snprintf(text, sizeof text, "\"httpGet\":{\"host\":\"127.0.0.1\",\"port\":%d,\"path\":\"/%s\",\"scheme\":\"%s\"}",
           server_port(s), name, scheme);
  hooked(w, name, text);
}

Test(restarts, hooks_over_http_and_https_take_any_answer) {
  world_t w;
  begin(&w);
  server_t *plain = server_start(SERVE_HTTP), *tls = server_start(SERVE_HTTPS);
  server_answer(plain, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
  server_answer(tls, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
  http_hook(&w, "http", plain, "HTTP");
  expect_object(&w, POD_ARGS("http"), "\"started\":true");
  cr_assert(server_was_asked(plain, "GET /http HTTP/1.1\r\n") &&
            server_was_asked(plain, "User-Agent: kube-lifecycle/1.37\r\n"));
  http_hook(&w, "https", tls, "HTTPS");
  expect_object(&w, POD_ARGS("https"), "\"started\":true");
  cr_assert(server_was_asked(tls, "GET /https HTTP/1.1\r\n"));
  http_hook(&w, "fallback", plain, "HTTPS");
  expect_event(&w, "LifecycleHTTPFallback", "got HTTP response, retry with HTTP succeeded");
  expect_object(&w, POD_ARGS("fallback"), "\"started\":true");
  server_stop(plain);
  server_stop(tls);
  finish(&w);
}

Test(restarts, hooks_that_fail_end_the_container) {
  world_t w;
  begin(&w);
  hooked(&w, "closed", "\"httpGet\":{\"host\":\"127.0.0.1\",\"port\":1}");
  expect_object(&w, POD_ARGS("closed"), "\"restartCount\":1");
  expect_event(&w, "FailedPostStartHook", "PostStartHook failed");
  hooked(&w, "tcp", "\"tcpSocket\":{\"port\":1}");
  expect_object(&w, POD_ARGS("tcp"), "\"restartCount\":1");
  finish(&w);
}

/* --- runtime classes
 * -------------------------------------------------------------------------------------------------- */

static void create_class(world_t *w, const char *name, const char *handler) {
  char doc[256];
  snprintf(
      doc, sizeof doc,
      "{\"apiVersion\":\"node.k8s.io/v1\",\"kind\":\"RuntimeClass\",\"metadata\":{\"name\":\"%s\"},\"handler\":\"%s\"}",
      name, handler);
  must(w, "api.create", "{\"g\":\"node.k8s.io\",\"v\":\"v1\",\"r\":\"runtimeclasses\"}", doc);
}

Test(restarts, only_runtimes_that_are_there_run_pods) {
  world_t w;
  begin(&w);
  create_class(&w, "good", "fake");
  create_class(&w, "bad", "sandboxed");
  create_pod(&w, "good", "\"runtimeClassName\":\"good\",\"containers\":[" CONTAINER("c", "\"run\"") "]");
  create_pod(&w, "bad", "\"runtimeClassName\":\"bad\",\"containers\":[" CONTAINER("c", "\"run\"") "]");
  expect_object(&w, POD_ARGS("good"), "\"phase\":\"Running\"");
  expect_event(&w, "FailedCreatePodSandBox",
               "Failed to create pod sandbox: no runtime for \"sandboxed\" is configured");
  expect_object(&w, POD_ARGS("bad"), "\"phase\":\"Pending\"");
  cr_assert_eq(fake_calls("runtime.sandbox.run", NULL), 1);
  finish(&w);
}

Test(restarts, rules_say_which_exit_codes_restart) {
  world_t w;
  begin(&w);
  create_pod(
      &w, "in",
      "\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"here\",\"command\":[\"exit\",\"42\"],"
      "\"restartPolicy\":\"Never\","
      "\"restartPolicyRules\":[{\"action\":\"Restart\",\"exitCodes\":{\"operator\":\"In\",\"values\":[41,42]}}]}]");
  create_pod(
      &w, "not",
      "\"restartPolicy\":\"Always\",\"containers\":[{\"name\":\"c\",\"image\":\"here\",\"command\":[\"exit\",\"42\"],"
      "\"restartPolicy\":\"Never\","
      "\"restartPolicyRules\":[{\"action\":\"Restart\",\"exitCodes\":{\"operator\":\"NotIn\",\"values\":[42]}}]}]");
  expect_object(&w, POD_ARGS("in"), "\"restartCount\":1");
  expect_object(&w, POD_ARGS("not"), "\"phase\":\"Failed\"");
  cr_assert_eq(fake_calls("runtime.container.create", "-c-0"), 2);
  finish(&w);
}

Test(restarts, what_the_node_cannot_promise_is_not_run) {
  world_t w;
  begin(&w);
  create_pod(&w, "p",
             "\"securityContext\":{\"appArmorProfile\":{\"type\":\"RuntimeDefault\"}},\"containers\":[" CONTAINER(
                 "c", "\"run\"") "]");
  expect_object(&w, POD_ARGS("p"), "Pod was rejected: Cannot enforce AppArmor: ");
  expect_object(&w, POD_ARGS("p"), "\"reason\":\"AppArmor\"");
  expect_event(&w, "Starting", "Starting kubelet.");
  finish(&w);
}

Test(restarts, a_program_that_cannot_be_run_has_ended) {
  world_t w;
  begin(&w);
  create_pod(&w, "never", "\"restartPolicy\":\"Never\",\"containers\":[" CONTAINER("c", "\"nope\"") "]");
  create_pod(&w, "always", "\"containers\":[" CONTAINER("c", "\"nope\"") "]");
  expect_object(&w, POD_ARGS("never"), "\"phase\":\"Failed\"");
  expect_object(&w, POD_ARGS("never"), "\"reason\":\"StartError\"");
  expect_object(&w, POD_ARGS("never"), "\"exitCode\":128");
  expect_object(&w, POD_ARGS("never"), "\"startedAt\":\"1970-01-01T00:00:00Z\"");
  expect_object(&w, POD_ARGS("always"), "\"reason\":\"CrashLoopBackOff\"");
  expect_object(&w, POD_ARGS("always"), "\"restartCount\":1");
  expect_event(&w, "Failed", "Error: exec: nope: no such file");
  finish(&w);
}

Test(restarts, nothing_counts_as_running_before_its_hook_is_over) {
  world_t w;
  begin(&w);
  hooked(&w, "p", "\"exec\":{\"command\":[\"hang\"]}");
  expect_event(&w, "Started", "Container started");
  expect_object(&w, POD_ARGS("p"), "\"containerID\"");
  expect_object(&w, POD_ARGS("p"), "\"reason\":\"ContainerCreating\"");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Pending\"");
  hooked(&w, "q", "\"sleep\":{\"seconds\":1}");
  expect_object(&w, POD_ARGS("q"), "\"phase\":\"Running\"");
  finish(&w);
}
