/* The Node object and its Lease, as the API shows them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"
#include "world.h"

static const char *const NODE_N1 = "{\"g\":\"\",\"v\":\"v1\",\"r\":\"nodes\",\"name\":\"n1\"}";
static const char *const LEASE_N1 =
    "{\"g\":\"coordination.k8s.io\",\"v\":\"v1\",\"r\":\"leases\",\"ns\":\"kube-node-lease\",\"name\":\"n1\"}";

static void again(world_t *w) {
  kg_error_t err = {0};
  cr_assert(kg_kernel_unload(driver_kernel(w->d), "node", &err) == 0, "%s", err.text);
}

Test(node, registers_and_becomes_ready) {
  world_t w;
  begin(&w);
  expect_object(&w, NODE_N1, "\"reason\":\"KubeletReady\"");
  expect_object(&w, NODE_N1, "image-60:latest");
  kg_doc_t *doc = get_object(&w, NODE_N1);
  kg_view_t node = kg_view_of(doc), labels = kg_view_path(node, "metadata", "labels", NULL);
  kg_view_t status = kg_view_get(node, "status"), info = kg_view_get(status, "nodeInfo");
  static const char *const types[][4] = {
      {"MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"},
      {"DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"},
      {"PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"},
      {"Ready", "True", "KubeletReady", "kubelet is posting ready status"}};
  for (size_t i = 0; i < 4; i++) {
    kg_view_t c = condition(node, types[i][0]);
    cr_text(kg_view_get(c, "status"), types[i][1]);
    cr_text(kg_view_get(c, "reason"), types[i][2]);
    cr_text(kg_view_get(c, "message"), types[i][3]);
    cr_assert_eq(kg_view_str(kg_view_get(c, "lastHeartbeatTime")).n, 20);
    cr_assert_eq(kg_view_str(kg_view_get(c, "lastTransitionTime")).n, 20);
  }
  cr_text(kg_view_get(labels, "kubernetes.io/hostname"), "n1");
  cr_text(kg_view_get(labels, "kubernetes.io/os"), "linux");
  cr_assert(!kg_view_there(kg_view_get(labels, "node.kubernetes.io/instance-type")));
  cr_text(kg_view_path(node, "spec", "podCIDR", NULL), "10.1.2.0/24");
  cr_text(kg_view_at(kg_view_path(node, "spec", "podCIDRs", NULL), 0), "10.1.2.0/24");
  cr_text(kg_view_path(status, "capacity", "pods", NULL), "110");
  char cpus[16];
  snprintf(cpus, sizeof cpus, "%ld", sysconf(_SC_NPROCESSORS_ONLN));
  cr_text(kg_view_path(status, "capacity", "cpu", NULL), cpus);
  cr_text(kg_view_get(info, "kubeletVersion"), "v1.37.0");
  cr_text(kg_view_get(info, "containerRuntimeVersion"), "fake://1");
  cr_assert_eq(kg_view_int(kg_view_path(status, "daemonEndpoints", "kubeletEndpoint", "Port", NULL), 0), 0);
  kg_view_t images = kg_view_get(status, "images");
  cr_assert_eq(kg_view_count(images), 50, "as many as a kubelet tells of");
  cr_text(kg_view_at(kg_view_get(kg_view_at(images, 0), "names"), 0), "image-60:latest");
  kg_doc_unref(doc);
  finish(&w);
}

Test(node, keeps_what_others_put_on_it) {
  world_t w;
  begin(&w);
  expect_object(&w, NODE_N1, "\"reason\":\"KubeletReady\"");
  again(&w);
  kg_doc_t *before = get_object(&w, NODE_N1);
  must(&w, "api.patch", "{\"g\":\"\",\"v\":\"v1\",\"r\":\"nodes\",\"name\":\"n1\",\"patch\":\"merge\"}",
       "{\"metadata\":{\"labels\":{\"mine\":\"1\",\"kubernetes.io/os\":null},\"annotations\":{\"a\":\"b\"}},\"spec\":{"
       "\"unschedulable\":true,\"taints\":[{\"key\":\"k\",\"effect\":\"NoSchedule\"}]}}");
  must(&w, "api.patch",
       "{\"g\":\"\",\"v\":\"v1\",\"r\":\"nodes\",\"name\":\"n1\",\"sub\":\"status\",\"patch\":\"strategic\"}",
       "{\"status\":{\"conditions\":[{\"type\":\"NetworkUnavailable\",\"status\":\"False\"}],\"capacity\":{\"example."
       "com/"
       "x\":\"3\"}}}");
  usleep(1100 * 1000); /* times are told in seconds */
  driver_load(w.d, "node", "node.so", NODE);
  expect_object(&w, NODE_N1, "\"kubernetes.io/os\":\"linux\"");
  kg_doc_t *after = get_object(&w, NODE_N1);
  kg_view_t node = kg_view_of(after);
  cr_text(kg_view_path(node, "metadata", "labels", "mine", NULL), "1");
  cr_text(kg_view_path(node, "metadata", "annotations", "a", NULL), "b");
  cr_assert(kg_view_bool(kg_view_path(node, "spec", "unschedulable", NULL), false));
  cr_assert_eq(kg_view_count(kg_view_path(node, "spec", "taints", NULL)), 1);
  cr_text(kg_view_get(condition(node, "NetworkUnavailable"), "status"), "False");
  cr_text(kg_view_path(node, "status", "capacity", "example.com/x", NULL), "3");
  cr_assert(kg_view_equal(kg_view_get(condition(node, "MemoryPressure"), "lastTransitionTime"),
                          kg_view_get(condition(kg_view_of(before), "MemoryPressure"), "lastTransitionTime")));
  kg_doc_unref(before);
  kg_doc_unref(after);
  finish(&w);
}

Test(node, says_why_it_is_not_ready) {
  world_t w;
  kg_error_t err = {0};
  begin(&w);
  expect_object(&w, NODE_N1, "\"reason\":\"KubeletReady\"");
  cr_assert(kg_kernel_unload(driver_kernel(w.d), "runtime", &err) == 0, "%s", err.text);
  expect_object(&w, NODE_N1, "\"reason\":\"KubeletNotReady\"");
  expect_object(&w, NODE_N1, "container runtime is down");
  expect_event(&w, "NodeNotReady", "Node n1 status is now: NodeNotReady");
  kg_plugin_spec_t spec = {.name = "runtime", .lane = "main", .descriptor = &fake_runtime};
  cr_assert(kg_kernel_load(driver_kernel(w.d), &spec, &err) == 0, "%s", err.text);
  expect_object(&w, NODE_N1, "\"reason\":\"KubeletReady\"");
  expect_event(&w, "NodeReady", "Node n1 status is now: NodeReady");
  finish(&w);
}

Test(node, its_lease_is_renewed_and_made_again) {
  world_t w;
  begin(&w);
  expect_object(&w, LEASE_N1, "\"holderIdentity\":\"n1\"");
  kg_doc_t *doc = get_object(&w, LEASE_N1), *node = get_object(&w, NODE_N1);
  kg_view_t lease = kg_view_of(doc), owner = kg_view_at(kg_view_path(lease, "metadata", "ownerReferences", NULL), 0);
  cr_assert_eq(kg_view_int(kg_view_path(lease, "spec", "leaseDurationSeconds", NULL), 0), 40);
  cr_assert_eq(kg_view_str(kg_view_path(lease, "spec", "renewTime", NULL)).n, 27);
  cr_text(kg_view_get(owner, "kind"), "Node");
  cr_assert(kg_view_equal(kg_view_get(owner, "uid"), kg_view_path(kg_view_of(node), "metadata", "uid", NULL)));
  kg_doc_unref(node);
  kg_doc_unref(doc);
  must(&w, "api.delete", LEASE_N1, NULL);
  again(&w);
  driver_load(w.d, "node", "node.so", NODE);
  expect_object(&w, LEASE_N1, "\"holderIdentity\":\"n1\"");
  finish(&w);
}
