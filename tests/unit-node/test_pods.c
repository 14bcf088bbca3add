/* The agent against a real api and store and a runtime that pretends: what happens to pods, and what the API shows. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"
#include "world.h"

Test(pods, a_pod_runs_and_shows_it) {
  world_t w;
  begin(&w);
  create_pod(&w, "p", "\"containers\":[" CONTAINER("c", "\"run\"") "]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  kg_doc_t *doc = get_object(&w, POD_ARGS("p"));
  kg_view_t pod = kg_view_of(doc), status = kg_view_get(pod, "status");
  kg_view_t c = kg_view_at(kg_view_get(status, "containerStatuses"), 0);
  static const char *const types[] = {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady",
                                      "PodScheduled"};
  for (size_t i = 0; i < 5; i++) {
    cr_text(kg_view_get(condition(pod, types[i]), "status"), "True");
    cr_assert(kg_view_str(kg_view_get(condition(pod, types[i]), "lastTransitionTime")).n > 0, "%s", types[i]);
    cr_assert(!kg_view_there(kg_view_get(condition(pod, types[i]), "reason")), "%s", types[i]);
  }
  cr_text(kg_view_get(status, "podIP"), "10.1.2.3");
  cr_text(kg_view_get(kg_view_at(kg_view_get(status, "podIPs"), 0), "ip"), "10.1.2.3");
  cr_assert_eq(kg_view_count(kg_view_get(status, "podIPs")), 1);
  cr_text(kg_view_get(status, "qosClass"), "BestEffort");
  cr_assert(kg_view_str(kg_view_get(status, "startTime")).n == 20);
  cr_assert_eq(kg_view_int(kg_view_get(status, "observedGeneration"), 0), 1);
  cr_text(kg_view_get(c, "name"), "c");
  cr_text(kg_view_get(c, "image"), "here");
  cr_text(kg_view_get(c, "imageID"), "sha256:fake");
  cr_assert(kg_view_bool(kg_view_get(c, "ready"), false) && kg_view_bool(kg_view_get(c, "started"), false));
  cr_assert_eq(kg_view_int(kg_view_get(c, "restartCount"), -1), 0);
  cr_assert(kg_view_str(kg_view_path(c, "state", "running", "startedAt", NULL)).n == 20);
  kg_str_t id = kg_view_str(kg_view_get(c, "containerID"));
  cr_assert(id.n == 7 + 64 && !memcmp(id.p, "fake://", 7) && strspn(id.p + 7, "0123456789abcdef") >= 64);
  kg_doc_unref(doc);
  finish(&w);
}

/* Who holds a deleted pod sees its last status, as a kubelet, which lets none go in another phase. */
Test(pods, one_that_never_ran_has_failed_before_it_goes) {
  world_t w;
  begin(&w);
  create_pod(&w, "p",
             "\"terminationGracePeriodSeconds\":-1,\"containers\":[{\"name\":\"c\",\"image\":\"nope\","
             "\"imagePullPolicy\":\"Never\"}]");
  create_pod(&w, "i",
             "\"initContainers\":[{\"name\":\"i\",\"image\":\"nope\",\"imagePullPolicy\":\"Never\"}],"
             "\"containers\":[" CONTAINER("c", "\"run\"") "]");
  for (int i = 0; i < 2; i++) {
    const char *args = i ? POD_ARGS("i") : POD_ARGS("p");
    expect_object(&w, args, "ErrImageNeverPull");
    expect_object(&w, args, i ? "\"terminationGracePeriodSeconds\":30" : "\"terminationGracePeriodSeconds\":1");
    must(&w, "api.patch",
         i ? "{\"g\":\"\",\"v\":\"v1\",\"r\":\"pods\",\"ns\":\"default\",\"name\":\"i\",\"patch\":\"merge\"}"
           : "{\"g\":\"\",\"v\":\"v1\",\"r\":\"pods\",\"ns\":\"default\",\"name\":\"p\",\"patch\":\"merge\"}",
         "{\"metadata\":{\"finalizers\":[\"example.com/held\"]}}");
    must(&w, "api.delete", args, NULL);
    expect_object(&w, args, "\"phase\":\"Failed\"");
    expect_object(&w, args,
                  i ? "\"waiting\":{\"reason\":\"PodInitializing\"" : "\"reason\":\"ContainerStatusUnknown\"");
  }
  finish(&w);
}

/* A container that is made and not yet started is no news: the word that it runs would have to wait for it. */
Test(pods, nothing_is_told_between_creation_and_start) {
  world_t w;
  bool runs = false;
  begin(&w);
  stream_t *s =
      driver_stream(w.d, "api", "api.watch", "{\"g\":\"\",\"v\":\"v1\",\"r\":\"pods\",\"ns\":\"default\"}", 64, false);
  create_pod(&w, "p", "\"containers\":[" CONTAINER("c", "\"slow\"") "]");
  while (!runs) {
    kg_msg_t *m = stream_next(s, 5000);
    cr_assert(m);
    kg_view_t status = kg_view_get(kg_view_of(kg_msg_doc(m, 0)), "status");
    kg_view_t c = kg_view_at(kg_view_get(status, "containerStatuses"), 0), state = kg_view_get(c, "state");
    cr_expect(!kg_view_str(kg_view_get(c, "containerID")).n || !kg_view_there(kg_view_get(state, "waiting")));
    runs = kg_view_there(kg_view_get(state, "running"));
    kg_msg_unref(m);
  }
  stream_close(s);
  finish(&w);
}

Test(pods, a_container_that_ends_is_restarted_with_backoff) {
  world_t w;
  begin(&w);
  create_pod(&w, "p", "\"containers\":[" CONTAINER("c", "\"exit\",\"3\"") "]");
  expect_object(&w, POD_ARGS("p"), "\"reason\":\"CrashLoopBackOff\"");
  kg_doc_t *doc = get_object(&w, POD_ARGS("p"));
  kg_view_t pod = kg_view_of(doc), c = kg_view_at(kg_view_path(pod, "status", "containerStatuses", NULL), 0);
  kg_view_t last = kg_view_path(c, "lastState", "terminated", NULL);
  char text[256];
  cr_assert_eq(kg_view_int(kg_view_get(c, "restartCount"), -1), 1, "the first restart comes at once");
  cr_assert_eq(kg_view_int(kg_view_get(last, "exitCode"), -1), 3);
  cr_text(kg_view_get(last, "reason"), "Error");
  snprintf(text, sizeof text, "back-off 10s restarting failed container=c pod=p_default(" KG_STR_FMT ")",
           KG_STR_ARG(kg_view_str(kg_view_path(pod, "metadata", "uid", NULL))));
  cr_text(kg_view_path(c, "state", "waiting", "message", NULL), text);
  cr_text(kg_view_path(pod, "status", "phase", NULL), "Running");
  cr_text(kg_view_get(condition(pod, "Ready"), "reason"), "ContainersNotReady");
  cr_text(kg_view_get(condition(pod, "Ready"), "message"), "containers with unready status: [c]");
  kg_doc_unref(doc);
  finish(&w);
}

Test(pods, what_is_not_restarted_has_succeeded_or_failed) {
  world_t w;
  begin(&w);
  create_pod(&w, "good", "\"restartPolicy\":\"OnFailure\",\"containers\":[" CONTAINER("c", "\"exit\",\"0\"") "]");
  create_pod(&w, "bad", "\"restartPolicy\":\"Never\",\"containers\":[" CONTAINER("c", "\"exit\",\"1\"") "]");
  expect_object(&w, POD_ARGS("good"), "\"phase\":\"Succeeded\"");
  expect_object(&w, POD_ARGS("good"), "\"reason\":\"PodCompleted\"");
  expect_object(&w, POD_ARGS("good"), "\"reason\":\"Completed\"");
  expect_object(&w, POD_ARGS("bad"), "\"phase\":\"Failed\"");
  expect_object(&w, POD_ARGS("bad"), "\"reason\":\"PodFailed\"");
  expect_calls("runtime.sandbox.stop", NULL, 2);
  finish(&w);
}

Test(pods, init_containers_come_first_and_in_order) {
  world_t w;
  begin(&w);
  create_pod(&w, "p",
             "\"initContainers\":[" CONTAINER(
                 "i1", "\"exit\",\"0\"") ",{\"name\":\"side\",\"image\":\"here\","
                                         "\"restartPolicy\":\"Always\",\"command\":["
                                         "\"run\"]}," CONTAINER("i2", "\"exit\",\"0\"") "],"
                                                                                        "\"containers\":[" CONTAINER(
                                                                                            "c", "\"run\"") "]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  static const char *const order[] = {"-i1-0", "-side-0", "-i2-0", "-c-0"};
  for (size_t i = 1; i < 4; i++)
    cr_assert_lt(fake_order("runtime.container.start", order[i - 1]), fake_order("runtime.container.create", order[i]),
                 "%s before %s", order[i - 1], order[i]);
  must(&w, "api.delete", POD_ARGS("p"), NULL);
  expect_object(&w, POD_ARGS("p"), NULL);
  cr_assert_lt(fake_order("runtime.container.stop", "-c-0"), fake_order("runtime.container.stop", "-side-0"));
  finish(&w);
}

Test(pods, a_failed_init_container_ends_a_pod_that_never_restarts) {
  world_t w;
  begin(&w);
  create_pod(&w, "p",
             "\"restartPolicy\":\"Never\",\"initContainers\":[" CONTAINER(
                 "i", "\"exit\",\"2\"") "],\"containers\":[" CONTAINER("c", "\"run\"") "]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Failed\"");
  cr_assert_eq(fake_calls("runtime.container.create", "-c-0"), 0);
  expect_object(&w, POD_ARGS("p"), "containers with incomplete status: [i]");
  finish(&w);
}

Test(pods, deletion_gives_time_and_then_leaves_nothing) {
  world_t w;
  begin(&w);
  create_pod(&w, "p", "\"terminationGracePeriodSeconds\":1,\"containers\":[" CONTAINER("c", "\"stubborn\"") "]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  must(&w, "api.delete", POD_ARGS("p"), NULL);
  expect_object(&w, POD_ARGS("p"), "\"deletionTimestamp\"");
  cr_assert_eq(fake_running(), 2, "it still has time");
  expect_object(&w, POD_ARGS("p"), NULL);
  cr_assert_eq(fake_grace("-c-0"), 1000);
  cr_assert_eq(fake_running(), 0);
  expect_calls("runtime.sandbox.remove", NULL, 1);
  expect_calls("runtime.container.remove", "-c-0", 1);
  finish(&w);
}

Test(pods, a_deletion_by_force_leaves_no_grace) {
  world_t w;
  begin(&w);
  create_pod(&w, "p", "\"terminationGracePeriodSeconds\":300,\"containers\":[" CONTAINER("c", "\"stubborn\"") "]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  must(&w, "api.delete", POD_ARGS("p"), NULL);
  expect_calls("runtime.container.stop", "-c-0", 1);
  cr_assert_eq(fake_grace("-c-0"), 300000);
  usleep(100000); /* for a status that must not come: what is told to end serves until it has ended */
  expect_object(&w, POD_ARGS("p"), "\"ready\":true");
  must(&w, "api.delete",
       "{\"g\":\"\",\"v\":\"v1\",\"r\":\"pods\",\"ns\":\"default\",\"name\":\"p\","
       "\"gracePeriodSeconds\":0}",
       NULL);
  expect_calls("runtime.container.remove", "-c-0", 1);
  cr_assert_eq(fake_grace("-c-0"), 1000);
  cr_assert_eq(fake_running(), 0);
  finish(&w);
}

static void resize(world_t *w, const char *cpu) {
  char doc[512];
  snprintf(doc, sizeof doc,
           "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"%s\"},"
           "\"limits\":{\"cpu\":\"%s\"}}}]}}",
           cpu, cpu);
  must(w, "api.patch",
       "{\"g\":\"\",\"v\":\"v1\",\"r\":\"pods\",\"ns\":\"default\",\"name\":\"p\",\"sub\":\"resize\","
       "\"patch\":\"strategic\"}",
       doc);
}

Test(pods, a_resize_reaches_what_runs_and_then_the_status) {
  world_t w;
  begin(&w);
  create_pod(&w, "p",
             "\"containers\":[{\"name\":\"c\",\"image\":\"here\",\"command\":[\"run\"],\"resources\":{\"requests\":{"
             "\"cpu\":\"10m\"},\"limits\":{\"cpu\":\"10m\"}}}]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  cr_assert_eq(fake_calls("runtime.container.update", NULL), 0);
  fake_refuse_updates(true);
  resize(&w, "20m");
  expect_object(&w, POD_ARGS("p"), "PodResizeInProgress");
  expect_object(&w, POD_ARGS("p"), "it uses too much");
  expect_object(&w, POD_ARGS("p"), "\"resources\":{\"limits\":{\"cpu\":\"10m\"}");
  fake_refuse_updates(false);
  expect_object(&w, POD_ARGS("p"),
                "\"allocatedResources\":{\"cpu\":\"20m\"},\"resources\":{\"limits\":{\"cpu\":\"20m\"}");
  kg_doc_t *args = fake_args("runtime.container.update", "-c-0");
  cr_assert_eq(kg_view_int(kg_view_path(kg_view_of(args), "resources", "cpuQuota", NULL), 0), 2000);
  kg_doc_unref(args);
  kg_doc_t *now = get_object(&w, POD_ARGS("p"));
  cr_expect(!kg_view_there(condition(kg_view_of(now), "PodResizeInProgress")));
  kg_doc_unref(now);
  cr_assert_eq(fake_calls("runtime.container.create", NULL), 1);
  finish(&w);
}

Test(pods, a_resize_restarts_what_asks_for_it) {
  world_t w;
  begin(&w);
  create_pod(&w, "p",
             "\"containers\":[{\"name\":\"c\",\"image\":\"here\",\"command\":[\"run\"],\"resizePolicy\":[{"
             "\"resourceName\":\"cpu\","
             "\"restartPolicy\":\"RestartContainer\"}],\"resources\":{\"requests\":{\"cpu\":\"10m\"},\"limits\":{"
             "\"cpu\":\"10m\"}}}]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  resize(&w, "20m");
  expect_object(&w, POD_ARGS("p"), "\"restartCount\":1");
  expect_object(&w, POD_ARGS("p"), "\"ready\":true");
  expect_object(&w, POD_ARGS("p"), "\"resources\":{\"limits\":{\"cpu\":\"20m\"}");
  expect_event(&w, "Killing", "Container c resize requires restart");
  cr_assert_eq(fake_calls("runtime.container.update", NULL), 0);
  finish(&w);
}

static void again(world_t *w) {
  kg_error_t err = {0};
  cr_assert(kg_kernel_unload(driver_kernel(w->d), "node", &err) == 0, "%s", err.text);
}

Test(pods, what_runs_is_taken_over_untouched) {
  world_t w;
  begin(&w);
  create_pod(&w, "p", "\"containers\":[" CONTAINER("c", "\"run\"") "]");
  create_pod(&w, "q", "\"containers\":[" CONTAINER("c", "\"run\"") "]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  expect_object(&w, POD_ARGS("q"), "\"phase\":\"Running\"");
  kg_doc_t *before = get_object(&w, POD_ARGS("p"));
  again(&w);
  /* One of them is deleted while nobody looks. */
  must(&w, "api.delete",
       "{\"g\":\"\",\"v\":\"v1\",\"r\":\"pods\",\"ns\":\"default\",\"name\":\"q\","
       "\"gracePeriodSeconds\":0}",
       NULL);
  driver_load(w.d, "node", "node.so", NODE);
  expect_calls("runtime.sandbox.remove", NULL, 1);
  kg_doc_t *after = get_object(&w, POD_ARGS("p"));
  cr_assert(kg_view_equal(kg_view_get(kg_view_of(before), "status"), kg_view_get(kg_view_of(after), "status")));
  cr_assert_eq(fake_calls("runtime.sandbox.run", NULL), 2);
  cr_assert_eq(fake_calls("runtime.container.create", NULL), 2);
  cr_assert_eq(fake_running(), 2, "a sandbox and a container");
  kg_doc_unref(before);
  kg_doc_unref(after);
  finish(&w);
}

Test(pods, after_a_start_of_the_machine_pods_run_again) {
  world_t w;
  begin(&w);
  create_pod(&w, "p", "\"containers\":[" CONTAINER("c", "\"run\"") "]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  again(&w);
  fake_reboot();
  driver_load(w.d, "node", "node.so", NODE);
  expect_object(&w, POD_ARGS("p"), "\"restartCount\":1");
  expect_object(&w, POD_ARGS("p"), "\"ready\":true");
  expect_calls("runtime.sandbox.run", NULL, 2);
  finish(&w);
}

Test(pods, images_that_are_not_there) {
  world_t w;
  begin(&w);
  create_pod(&w, "never", "\"containers\":[{\"name\":\"c\",\"image\":\"gone\",\"imagePullPolicy\":\"Never\"}]");
  create_pod(&w, "pull", "\"containers\":[{\"name\":\"c\",\"image\":\"gone\",\"imagePullPolicy\":\"IfNotPresent\"}]");
  create_pod(&w, "name", "\"containers\":[{\"name\":\"c\",\"image\":\"No/Such Name\"}]");
  expect_object(&w, POD_ARGS("never"), "Container image \\\"gone\\\" is not present with pull policy of Never");
  expect_object(&w, POD_ARGS("never"), "\"reason\":\"ErrImageNeverPull\"");
  expect_object(&w, POD_ARGS("pull"), "\"reason\":\"ErrImagePull\"");
  expect_object(&w, POD_ARGS("pull"), "\"phase\":\"Pending\"");
  expect_object(&w, POD_ARGS("name"), "\"reason\":\"InvalidImageName\"");
  expect_object(&w, POD_ARGS("pull"), "\"reason\":\"ImagePullBackOff\"");
  finish(&w);
}

Test(pods, what_its_environment_refers_to_may_come_later) {
  world_t w;
  begin(&w);
  create_pod(&w, "p",
             "\"containers\":[{\"name\":\"c\",\"image\":\"here\",\"command\":[\"run\"],\"env\":[{\"name\":\"A\","
             "\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"m\",\"key\":\"a\"}}}]}]");
  expect_object(&w, POD_ARGS("p"), "configmap \\\"m\\\" not found");
  expect_object(&w, POD_ARGS("p"), "\"reason\":\"CreateContainerConfigError\"");
  must(&w, "api.create", "{\"g\":\"\",\"v\":\"v1\",\"r\":\"configmaps\",\"ns\":\"default\"}",
       "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"m\"},\"data\":{\"a\":\"1\"}}");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  finish(&w);
}

Test(pods, a_deadline_ends_the_pod) {
  world_t w;
  begin(&w);
  create_pod(&w, "p", "\"activeDeadlineSeconds\":1,\"containers\":[" CONTAINER("c", "\"run\"") "]");
  expect_object(&w, POD_ARGS("p"), "\"reason\":\"DeadlineExceeded\"");
  expect_object(&w, POD_ARGS("p"), "Pod was active on the node longer than the specified deadline");
  expect_calls("runtime.container.stop", "-c-0", 1);
  finish(&w);
}

Test(pods, logs_of_what_has_not_started_say_why) {
  world_t w;
  begin(&w);
  create_pod(&w, "p", "\"containers\":[{\"name\":\"c\",\"image\":\"gone\",\"imagePullPolicy\":\"Never\"}]");
  expect_object(&w, POD_ARGS("p"), "ErrImageNeverPull");
  kg_msg_t *m =
      driver_call(w.d, "node/n1", "node.logs", "{\"ns\":\"default\",\"pod\":\"p\",\"container\":\"c\"}", NULL);
  cr_assert_eq(kg_msg_code(m), 400);
  cr_assert_str_eq(kg_msg_text(m), "container \"c\" in pod \"p\" is waiting to start: ErrImageNeverPull");
  kg_msg_unref(m);
  m = driver_call(w.d, "node/n1", "node.logs",
                  "{\"ns\":\"default\",\"pod\":\"p\",\"container\":\"c\",\"previous\":true}", NULL);
  cr_assert_str_eq(kg_msg_text(m), "previous terminated container \"c\" in pod \"p\" not found");
  kg_msg_unref(m);
  finish(&w);
}
