#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../unit-node/world.h"

#define C "\"containers\":[{\"name\":\"c\",\"image\":\"any/thing:1\"}]"
#define NODES "{\"g\":\"\",\"v\":\"v1\",\"r\":\"nodes\"}"

static void begin_sim(world_t *w, const char *config) {
  begin_bare(w);
  driver_load(w->d, "runtime", "runtime-sim.so", config);
  driver_load(w->d, "node", "node.so", NODE);
}

/* All that a stream says, up to its end or until nothing comes; its error if it has one. */
static char *stream_text(world_t *w, const char *service, const char *topic, const char *args) {
  char *all = calloc(1, 8192);
  stream_t *s = driver_stream(w->d, service, topic, args, 64, false);
  for (kg_msg_t *m; (m = stream_next(s, 2000)); kg_msg_unref(m)) {
    kg_str_t data = kg_view_bin(kg_view_get(kg_msg_args(m), "data"));
    if (data.p) strncat(all, data.p, data.n);
    if (kg_msg_type(m) == KG_MSG_ERROR) strcat(all, kg_msg_text(m));
    if (kg_msg_type(m) == KG_MSG_ITEM) continue;
    kg_msg_unref(m);
    break;
  }
  stream_close(s);
  return all;
}

Test(runtime, containers_go_as_their_script_says) {
  world_t w;
  begin_sim(&w, "{\"network\":true,\"defaults\":{\"exit-code\":\"4\"}}");
  create_pod_on(&w, "n1", "stays", "{}", C);
  create_pod_on(&w, "n1", "ends", "{\"sim.kogge.dev/run-time\":\"300ms\",\"sim.kogge.dev/exit-code.c\":\"0\"}",
                "\"restartPolicy\":\"Never\"," C);
  create_pod_on(&w, "n1", "fails", "{\"sim.kogge.dev/run-time\":\"10ms\"}", "\"restartPolicy\":\"Never\"," C);
  create_pod_on(&w, "n1", "oom", "{\"sim.kogge.dev/run-time\":\"10ms\",\"sim.kogge.dev/oom\":\"true\"}",
                "\"restartPolicy\":\"Never\"," C);
  create_pod_on(&w, "n1", "broken", "{\"sim.kogge.dev/start-error\":\"no such file\"}",
                "\"restartPolicy\":\"Never\"," C);
  expect_object(&w, POD_ARGS("stays"), "\"ready\":true");
  expect_object(&w, POD_ARGS("stays"), "\"podIP\":\"10.244.");
  expect_object(&w, POD_ARGS("ends"), "\"phase\":\"Succeeded\"");
  expect_object(&w, POD_ARGS("fails"), "\"phase\":\"Failed\"");
  expect_object(&w, POD_ARGS("fails"), "\"exitCode\":4");
  expect_object(&w, POD_ARGS("oom"), "\"reason\":\"OOMKilled\"");
  expect_object(&w, POD_ARGS("broken"), "no such file");
  must(&w, "api.delete", POD_ARGS("stays"), NULL);
  expect_object(&w, POD_ARGS("stays"), NULL);
  finish(&w);
}

Test(runtime, logs_say_that_they_are_pretended_and_nothing_runs_inside) {
  world_t w;
  begin_sim(&w, "{\"network\":true}");
  create_pod_on(&w, "n1", "p", "{\"sim.kogge.dev/run-time\":\"1s\"}", "\"restartPolicy\":\"Never\"," C);
  expect_object(&w, POD_ARGS("p"), "\"ready\":true");
  char *text =
      stream_text(&w, "node/n1", "node.exec",
                  "{\"ns\":\"default\",\"pod\":\"p\",\"container\":\"c\",\"command\":[\"ls\"],\"stdout\":true}");
  cr_assert_str_eq(text, "(simulated) container c: nothing runs in it\n");
  free(text);
  text =
      stream_text(&w, "node/n1", "node.logs", "{\"ns\":\"default\",\"pod\":\"p\",\"container\":\"c\",\"follow\":true}");
  cr_assert_str_eq(text, "(simulated) container c of image any/thing:1 started: nothing runs\n"
                         "(simulated) container c ended with exit code 0\n");
  free(text);
  finish(&w);
}

/* Probes by exec go as the script says, an attempt may end otherwise than the one before. */
Test(runtime, probes_and_attempts_go_as_their_script_says) {
  static const char probed[] = "\"containers\":[{\"name\":\"c\",\"image\":\"any/"
                               "thing:1\",\"%s\":{\"exec\":{\"command\":[\"x\"]},\"periodSeconds\":1,"
                               "\"failureThreshold\":1}}]";
  char ready[300], alive[300];
  world_t w;
  begin_sim(&w, "{\"network\":true}");
  snprintf(ready, sizeof ready, probed, "readinessProbe");
  snprintf(alive, sizeof alive, probed, "livenessProbe");
  create_pod_on(&w, "n1", "sound", "{}", ready);
  create_pod_on(&w, "n1", "never", "{\"sim.kogge.dev/ready-after\":\"never\"}", ready);
  create_pod_on(&w, "n1", "sick", "{\"sim.kogge.dev/unready-after\":\"100ms\"}", alive);
  create_pod_on(&w, "n1", "learns", "{\"sim.kogge.dev/run-time\":\"10ms\",\"sim.kogge.dev/exit-code\":\"5,0\"}",
                "\"restartPolicy\":\"OnFailure\"," C);
  expect_object(&w, POD_ARGS("sound"), "\"ready\":true");
  expect_object(&w, POD_ARGS("sick"), "\"restartCount\":1");
  expect_object(&w, POD_ARGS("learns"), "\"exitCode\":5");
  expect_object(&w, POD_ARGS("learns"), "\"phase\":\"Succeeded\"");
  expect_object(&w, POD_ARGS("never"), "\"ready\":false");
  finish(&w);
}

Test(runtime, images_are_there_as_configured) {
  world_t w;
  begin_sim(&w,
            "{\"network\":true,\"images\":[\"any/*\"],\"pullable\":[\"far/*\"],\"pull-delay\":{\"far/*\":\"100ms\"},"
            "\"pull-error\":{\"far/broken*\":\"manifest unknown\"}}");
  create_pod_on(&w, "n1", "broken", "{}", "\"containers\":[{\"name\":\"c\",\"image\":\"far/broken:1\"}]");
  expect_object(&w, POD_ARGS("broken"), "manifest unknown");
  create_pod_on(&w, "n1", "near", "{}", C);
  create_pod_on(&w, "n1", "far", "{}", "\"containers\":[{\"name\":\"c\",\"image\":\"far/away:2\"}]");
  create_pod_on(&w, "n1", "none", "{}", "\"containers\":[{\"name\":\"c\",\"image\":\"no/where:3\"}]");
  expect_object(&w, POD_ARGS("near"), "\"ready\":true");
  expect_object(&w, POD_ARGS("far"), "\"ready\":true");
  expect_object(&w, POD_ARGS("none"), "not among the pretended images");
  finish(&w);
}

Test(runtime, a_successor_goes_on_with_what_there_is) {
  world_t w;
  kg_error_t err = {0};
  begin_sim(&w, "{\"network\":true}");
  create_pod_on(&w, "n1", "p", "{\"sim.kogge.dev/run-time\":\"2s\",\"sim.kogge.dev/exit-code\":\"9\"}",
                "\"restartPolicy\":\"Never\"," C);
  expect_object(&w, POD_ARGS("p"), "\"ready\":true");
  cr_assert(kg_kernel_reload(driver_kernel(w.d), "runtime", NULL, &err) == 0, "%s", err.text);
  expect_object(&w, POD_ARGS("p"), "\"exitCode\":9");
  expect_object(&w, POD_ARGS("p"), "\"restartCount\":0");
  finish(&w);
}

/* --- many nodes
 * ---------------------------------------------------------------------------------------------------------- */

static size_t count(world_t *w, const char *args, const char *with) {
  kg_msg_t *m = driver_call(w->d, "api", "api.list", args, NULL);
  size_t n = 0;
  for (size_t i = 0; i < kg_msg_ndocs(m); i++) {
    char *json = doc_json(m, i);
    n += strstr(json, with) != NULL;
    free(json);
  }
  kg_msg_unref(m);
  return n;
}

static void expect_count(world_t *w, const char *args, const char *with, size_t wanted) {
  size_t n = 0;
  for (int i = 0; i < 200 && (n = count(w, args, with)) != wanted; i++) usleep(50000);
  cr_assert_eq(n, wanted, "%zu of %zu have %s", n, wanted, with);
}

Test(nodes, hundreds_of_them_and_their_pods) {
  world_t w;
  char node[32], name[32];
  begin_bare(&w);
  driver_load(w.d, "sim", "node-sim.so",
              "{\"count\":300,\"prefix\":\"w\",\"zones\":3,\"capacity\":{\"cpu\":\"4\",\"example.com/gpu\":\"8\"}}");
  expect_count(&w, NODES, "\"reason\":\"KubeletReady\"", 300);
  expect_count(&w, NODES, "\"topology.kubernetes.io/zone\":\"zone-1\"", 100);
  cr_assert_eq(count(&w, NODES, "\"example.com/gpu\":\"8\""), 300);
  expect_count(&w, "{\"g\":\"coordination.k8s.io\",\"v\":\"v1\",\"r\":\"leases\",\"ns\":\"kube-node-lease\"}",
               "\"leaseDurationSeconds\":40", 300);
  for (int i = 0; i < 100; i++) {
    snprintf(node, sizeof node, "w%d", 3 * i);
    snprintf(name, sizeof name, "p%d", i);
    create_pod_on(&w, node, name, "{}", C);
  }
  expect_count(&w, "{\"g\":\"\",\"v\":\"v1\",\"r\":\"pods\",\"ns\":\"default\"}", "\"ready\":true", 100);
  must(&w, "api.delete", POD_ARGS("p7"), NULL);
  expect_object(&w, POD_ARGS("p7"), NULL);
  finish(&w);
}

/* Deletes a pod that somebody holds, who sees how it ended. */
static void expect_end(world_t *w, const char *name, const char *phase, const char *state) {
  char args[256];
  snprintf(args, sizeof args,
           "{\"g\":\"\",\"v\":\"v1\",\"r\":\"pods\",\"ns\":\"default\",\"patch\":\"merge\",\"name\":\"%s\"}", name);
  must(w, "api.patch", args, "{\"metadata\":{\"finalizers\":[\"example.com/held\"]}}");
  must(w, "api.delete", args, NULL);
  expect_object(w, args, phase);
  expect_object(w, args, state);
  must(w, "api.patch", args, "{\"metadata\":{\"finalizers\":null}}");
  expect_object(w, args, NULL);
}

Test(nodes, deleted_pods_have_their_last_status_before_they_go) {
  world_t w;
  begin_bare(&w);
  driver_load(w.d, "sim", "node-sim.so", "{\"count\":1}");
  create_pod_on(&w, "sim-0", "runs", "{\"sim.kogge.dev/stop-delay\":\"100ms\"}", C);
  create_pod_on(&w, "sim-0", "waits", "{\"sim.kogge.dev/run-time\":\"10ms\"}", C);
  create_pod_on(&w, "sim-0", "noimage", "{\"sim.kogge.dev/pull-error\":\"manifest unknown\"}", C);
  create_pod_on(&w, "sim-0", "late", "{\"sim.kogge.dev/start-delay\":\"1h\"}", C);
  create_pod_on(&w, "sim-0", "ended", "{\"sim.kogge.dev/run-time\":\"10ms\"}", "\"restartPolicy\":\"Never\"," C);
  expect_object(&w, POD_ARGS("runs"), "\"ready\":true");
  expect_object(&w, POD_ARGS("waits"), "CrashLoopBackOff");
  expect_object(&w, POD_ARGS("noimage"), "ImagePullBackOff");
  expect_object(&w, POD_ARGS("ended"), "Succeeded");
  expect_end(&w, "runs", "\"phase\":\"Failed\"", "\"state\":{\"terminated\":{\"exitCode\":143,\"reason\":\"Error\"");
  expect_end(&w, "waits", "\"phase\":\"Succeeded\"", "\"state\":{\"terminated\":{\"exitCode\":0");
  expect_end(&w, "noimage", "\"phase\":\"Failed\"", "\"exitCode\":137,\"reason\":\"ContainerStatusUnknown\"");
  expect_end(&w, "late", "\"phase\":\"Failed\"", "\"exitCode\":137,\"reason\":\"ContainerStatusUnknown\"");
  expect_end(&w, "ended", "\"phase\":\"Succeeded\"", "\"exitCode\":0");
  finish(&w);
}

Test(nodes, their_pods_go_as_the_annotations_say) {
  world_t w;
  begin_bare(&w);
  driver_load(w.d, "sim", "node-sim.so", "{\"count\":2}");
  create_pod_on(&w, "sim-1", "job", "{\"sim.kogge.dev/run-time\":\"100ms\"}", "\"restartPolicy\":\"Never\"," C);
  create_pod_on(&w, "sim-1", "bad", "{\"sim.kogge.dev/run-time\":\"10ms\",\"sim.kogge.dev/exit-code\":\"3\"}",
                "\"restartPolicy\":\"OnFailure\"," C);
  create_pod_on(&w, "sim-0", "late", "{\"sim.kogge.dev/ready-after\":\"500ms\"}", C);
  create_pod_on(&w, "other", "foreign", "{}", C);
  create_pod_on(&w, "sim-0", "fades", "{\"sim.kogge.dev/unready-after\":\"300ms\"}", C);
  create_pod_on(&w, "sim-0", "noimage", "{\"sim.kogge.dev/pull-error\":\"manifest unknown\"}", C);
  create_pod_on(&w, "sim-0", "oom", "{\"sim.kogge.dev/run-time\":\"10ms\",\"sim.kogge.dev/oom\":\"true\"}",
                "\"restartPolicy\":\"Never\"," C);
  create_pod_on(&w, "sim-0", "learns", "{\"sim.kogge.dev/run-time\":\"10ms\",\"sim.kogge.dev/exit-code\":\"5,0\"}",
                "\"restartPolicy\":\"OnFailure\"," C);
  expect_object(&w, POD_ARGS("fades"), "\"ready\":true");
  expect_object(&w, POD_ARGS("fades"), "\"ready\":false");
  expect_object(&w, POD_ARGS("noimage"), "\"reason\":\"ImagePullBackOff\",\"message\":\"manifest unknown\"");
  expect_object(&w, POD_ARGS("oom"), "\"reason\":\"OOMKilled\"");
  expect_object(&w, POD_ARGS("learns"), "\"phase\":\"Succeeded\"");
  expect_object(&w, POD_ARGS("learns"), "\"restartCount\":1");
  expect_object(&w, POD_ARGS("job"), "\"phase\":\"Succeeded\"");
  expect_object(&w, POD_ARGS("bad"), "\"reason\":\"CrashLoopBackOff\"");
  expect_object(&w, POD_ARGS("bad"), "\"restartCount\":2");
  expect_object(&w, POD_ARGS("late"), "\"ready\":false");
  expect_object(&w, POD_ARGS("late"), "\"ready\":true");
  kg_doc_t *doc = get_object(&w, POD_ARGS("foreign"));
  cr_text(kg_view_path(kg_view_of(doc), "status", "phase", NULL), "Pending");
  kg_doc_unref(doc);
  /* Another instance goes on from what the API says. */
  kg_error_t err = {0};
  cr_assert(kg_kernel_reload(driver_kernel(w.d), "sim", NULL, &err) == 0, "%s", err.text);
  must(&w, "api.delete", POD_ARGS("late"), NULL);
  expect_object(&w, POD_ARGS("late"), NULL);
  finish(&w);
}
