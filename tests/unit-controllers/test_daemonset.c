#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"
#include "kube/values.h"

#define NS "default"
#define SETS "apps/v1/daemonsets"
#define PODS "v1/pods"

/* No controller of nodes runs here: the taint of a node that was never ready goes by our hand. */
static void node(cluster_t *c, const char *name, const char *taints) {
  make(c, "v1/nodes", NULL, "{'metadata':{'name':'%s','labels':{'n':'%s'}}}", name, name);
  patch(c, "v1/nodes", NULL, name, NULL, "{'spec':{'taints':%s}}", taints);
}

static cluster_t *cluster(void) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "controller-daemonset", NULL});
  expect_there(c, "v1/serviceaccounts", NS, "default");
  node(c, "a", "null");
  node(c, "b", "null");
  return c;
}

static void set(cluster_t *c, const char *more, const char *pod) {
  make(c, SETS, NS,
       "{'metadata':{'name':'d'},'spec':{%s'selector':{'matchLabels':{'app':'d'}},'template':{'metadata':{'labels':{"
       "'app':'d'}},'spec':{%s'containers':[{'name':'c','image':'i:1'}]}}}}",
       more, pod);
}

static void set_image(cluster_t *c, const char *image) {
  patch(c, SETS, NS, "d", NULL, "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'%s'}]}}}}", image);
}

static size_t with_image(cluster_t *c, const char *image) {
  kg_msg_t *m = list(c, PODS, NS, NULL);
  size_t n = 0;
  for (size_t i = 0; i < kg_msg_ndocs(m); i++)
    n += kg_str_is(kg_view_str(at(kg_view_of(kg_msg_doc(m, i)), "spec>containers>0>image")), image);
  kg_msg_unref(m);
  return n;
}

Test(daemonset, one_on_each_node) {
  cluster_t *c = cluster();
  set(c, "", "");
  expect_count(c, PODS, NS, "app=d", 2);
  expect(c, SETS, NS, "d", "status>desiredNumberScheduled", "2");
  expect(c, SETS, NS, "d", "status>numberUnavailable", "2");
  settle(c, SETS, NS, "d", "status>numberAvailable", "2");
  expect(c, SETS, NS, "d", "status>updatedNumberScheduled", "2");
  kg_msg_t *m = list(c, PODS, NS, NULL);
  kg_view_t v = kg_view_of(kg_msg_doc(m, 0));
  cr_assert(kg_str_is(kg_view_str(at(v, "spec>affinity>nodeAffinity>requiredDuringSchedulingIgnoredDuringExecution>"
                                        "nodeSelectorTerms>0>matchFields>0>key")),
                      "metadata.name"));
  cr_assert(kg_str_is(kg_view_str(at(v, "spec>tolerations>key=node.kubernetes.io/disk-pressure>operator")), "Exists"));
  kg_msg_unref(m);
  node(c, "c", "null");
  expect_count(c, PODS, NS, "app=d", 3);
  stays_count(c, PODS, NS, "app=d", 3, 150);
  cluster_free(c);
}

Test(daemonset, only_where_it_fits) {
  cluster_t *c = cluster();
  node(c, "tainted", "[{'key':'k','effect':'NoSchedule'}]");
  set(c, "", "'nodeSelector':{'n':'a'},");
  expect_count(c, PODS, NS, "app=d", 1);
  expect(c, SETS, NS, "d", "status>desiredNumberScheduled", "1");
  patch(c, "v1/nodes", NULL, "b", NULL, "{'metadata':{'labels':{'n':'a'}}}");
  expect_count(c, PODS, NS, "app=d", 2);
  patch(c, "v1/nodes", NULL, "tainted", NULL, "{'metadata':{'labels':{'n':'a'}}}");
  stays_count(c, PODS, NS, "app=d", 2, 100);
  patch(c, "v1/nodes", NULL, "tainted", NULL, "{'spec':{'taints':null}}");
  expect_count(c, PODS, NS, "app=d", 3);
  patch(c, "v1/nodes", NULL, "b", NULL, "{'metadata':{'labels':{'n':'b'}}}");
  expect_count(c, PODS, NS, "app=d", 2);
  cluster_free(c);
}

Test(daemonset, updates_one_after_the_other) {
  cluster_t *c = cluster();
  set(c, "", "");
  settle(c, SETS, NS, "d", "status>numberAvailable", "2");
  set_image(c, "i:2");
  for (int i = 0; i < 300 && with_image(c, "i:2") == 0; i++) pause_ms(10);
  pause_ms(100);
  cr_assert(with_image(c, "i:1") == 1 && with_image(c, "i:2") == 1, "the second waits for the first");
  settle(c, SETS, NS, "d", "status>updatedNumberScheduled", "2");
  settle(c, SETS, NS, "d", "status>numberAvailable", "2");
  expect_count(c, "apps/v1/controllerrevisions", NS, "app=d", 2);
  cr_assert(with_image(c, "i:1") == 0);
  cluster_free(c);
}

/* A client that looks for the revision of the present template compares texts (daemon.Match of Kubernetes); kubectl
 * rollout history shows the cause that stood on the owner. */
Test(daemonset, a_revision_is_the_text_that_go_writes) {
  cluster_t *c = cluster();
  set(c, "", "");
  expect_count(c, "apps/v1/controllerrevisions", NS, "app=d", 1);
  patch(c, SETS, NS, "d", NULL,
        "{'metadata':{'annotations':{'kubernetes.io/change-cause':'more'}},'spec':{'template':{'spec':{'containers':["
        "{'name':'c','image':'i:1','command':['x'],'args':['y']}]}}}}");
  expect_count(c, "apps/v1/controllerrevisions", NS, "app=d", 2);
  kg_msg_t *m = list(c, "apps/v1/controllerrevisions", NS, NULL);
  size_t newest = kg_view_int(kg_view_get(kg_view_of(kg_msg_doc(m, 1)), "revision"), 0) == 2;
  kg_view_t v = kg_view_of(kg_msg_doc(m, newest));
  char *text = kg_view_to_json(kg_view_get(v, "data"));
  cr_assert_str_eq(
      text, "{\"spec\":{\"template\":{\"$patch\":\"replace\",\"metadata\":{\"labels\":{\"app\":\"d\"}},\"spec\":{"
            "\"containers\":[{\"args\":[\"y\"],\"command\":[\"x\"],\"image\":\"i:1\",\"imagePullPolicy\":"
            "\"IfNotPresent\",\"name\":\"c\",\"resources\":{},\"terminationMessagePath\":\"/dev/termination-"
            "log\",\"terminationMessagePolicy\":\"File\"}],\"dnsPolicy\":\"ClusterFirst\",\"restartPolicy\":"
            "\"Always\",\"schedulerName\":\"default-scheduler\",\"securityContext\":{},"
            "\"terminationGracePeriodSeconds\":30}}}}");
  cr_assert(kg_str_is(kg_view_str(at(v, "metadata>annotations>kubernetes.io/change-cause")), "more"));
  free(text);
  kg_msg_unref(m);
  cluster_free(c);
}

Test(daemonset, surge_has_two_for_a_while) {
  cluster_t *c = cluster();
  set(c, "'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1,'maxUnavailable':0}},", "");
  settle(c, SETS, NS, "d", "status>numberAvailable", "2");
  set_image(c, "i:2");
  expect_count(c, PODS, NS, "app=d", 3);
  stays_count(c, PODS, NS, "app=d", 3, 100);
  for (int i = 0; i < 300 && with_image(c, "i:1"); i++, pause_ms(10)) kubelet(c, NS);
  expect_count(c, PODS, NS, "app=d", 2);
  cr_assert(with_image(c, "i:2") == 2);
  cluster_free(c);
}

Test(daemonset, on_delete_waits_for_you) {
  cluster_t *c = cluster();
  set(c, "'updateStrategy':{'type':'OnDelete'},", "");
  settle(c, SETS, NS, "d", "status>numberAvailable", "2");
  set_image(c, "i:2");
  pause_ms(150);
  cr_assert(with_image(c, "i:1") == 2);
  cluster_free(c);
}

Test(daemonset, replaces_a_failed_pod) {
  cluster_t *c = cluster();
  set(c, "", "");
  settle(c, SETS, NS, "d", "status>numberAvailable", "2");
  kg_msg_t *m = list(c, PODS, NS, NULL);
  char *name = kg_str_dup(kube_name(kg_view_of(kg_msg_doc(m, 0))));
  kg_msg_unref(m);
  finish_pod(c, NS, name, "Failed", 1);
  expect_gone(c, PODS, NS, name);
  expect_event(c, NS, "d", "FailedDaemonPod", NULL);
  expect_count(c, PODS, NS, "app=d", 2);
  free(name);
  cluster_free(c);
}

/* Name of the pod on node a that has not failed; caller frees. */
static char *pod_on_a(cluster_t *c) {
  char *name = NULL;
  for (int i = 0; i < 500 && !name; i++, pause_ms(10)) {
    kg_msg_t *m = list(c, PODS, NS, "app=d");
    for (size_t k = 0; k < kg_msg_ndocs(m) && !name; k++) {
      kg_view_t v = kg_view_of(kg_msg_doc(m, k));
      bool failed = kg_str_is(kg_view_str(at(v, "status>phase")), "Failed");
      if (!failed && !kube_deleting(v)) name = kg_str_dup(kube_name(v));
    }
    kg_msg_unref(m);
  }
  cr_assert(name);
  return name;
}

static char *fail_one(cluster_t *c) {
  char *name = pod_on_a(c);
  finish_pod(c, NS, name, "Failed", 1);
  return name;
}

Test(daemonset, what_fails_again_and_again_waits) {
  cluster_t *c = cluster();
  set(c, "", "'nodeSelector':{'n':'a'},");
  expect_count(c, PODS, NS, "app=d", 1);
  expect(c, SETS, NS, "d", "status>observedGeneration", "1");
  char *first = fail_one(c);
  expect_gone(c, PODS, NS, first);
  char *second = fail_one(c);
  pause_ms(400);
  expect(c, PODS, NS, second, "status>phase", "'Failed'");
  expect_gone(c, PODS, NS, second);
  expect_count(c, PODS, NS, "app=d", 1);
  free(first);
  free(second);
  cluster_free(c);
}

Test(daemonset, a_pod_that_waits_for_a_node_goes_with_it) {
  cluster_t *c = cluster();
  set(c, "", "");
  expect_count(c, PODS, NS, "app=d", 2);
  del(c, "v1/nodes", NULL, "b", NULL);
  settle(c, SETS, NS, "d", "status>desiredNumberScheduled", "1");
  expect_count(c, PODS, NS, "app=d", 1);
  cluster_free(c);
}

/* Its history does not come back while it is going. */
Test(daemonset, makes_nothing_while_it_is_deleted) {
  cluster_t *c = cluster();
  set(c, "", "");
  settle(c, SETS, NS, "d", "status>numberAvailable", "2");
  patch(c, SETS, NS, "d", NULL, "{'metadata':{'finalizers':['example.com/x']}}");
  del(c, SETS, NS, "d", NULL);
  kg_msg_t *m = list(c, "apps/v1/controllerrevisions", NS, NULL);
  char *name = kg_str_dup(kube_name(kg_view_of(kg_msg_doc(m, 0))));
  kg_msg_unref(m);
  del(c, "apps/v1/controllerrevisions", NS, name, NULL);
  patch(c, SETS, NS, "d", NULL, "{'metadata':{'labels':{'a':'b'}}}");
  stays_count(c, "apps/v1/controllerrevisions", NS, NULL, 0, 200);
  free(name);
  cluster_free(c);
}
