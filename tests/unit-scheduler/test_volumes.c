/* Pods with claims: what is said while they wait, where their volumes let them go, and what is told to whom. The test
 * is the controller that binds. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "place.h"

#define CLAIMS "v1/persistentvolumeclaims"
#define VOLUMES "v1/persistentvolumes"
#define CLASSES "storage.k8s.io/v1/storageclasses"
#define USES(claim) ",'volumes':[{'name':'v','persistentVolumeClaim':{'claimName':'" claim "'}}]"
#define HOPELESS " preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."

static void class(cluster_t *c, const char *name, const char *provisioner, const char *more) {
  make(c, CLASSES, NULL, "{'metadata':{'name':'%s'},'provisioner':'%s'%s}", name, provisioner, more);
}
#define LATE ",'volumeBindingMode':'WaitForFirstConsumer'"

static void claim(cluster_t *c, const char *name, const char *class, const char *mode, const char *size) {
  make(c, CLAIMS, "default",
       "{'metadata':{'name':'%s'},'spec':{'storageClassName':'%s','accessModes':['%s'],'resources':{'requests':{"
       "'storage':'%s'}}}}",
       name, class, mode, size);
}

/* On a node (NULL: on any); free. */
static void volume(cluster_t *c, const char *name, const char *class, const char *size, const char *node) {
  char affinity[300] = "";
  if (node)
    snprintf(affinity, sizeof affinity,
             ",'nodeAffinity':{'required':{'nodeSelectorTerms':[{'matchExpressions':[{'key':'kubernetes.io/hostname',"
             "'operator':'In','values':['%s']}]}]}}",
             node);
  make(c, VOLUMES, NULL,
       "{'metadata':{'name':'%s'},'spec':{'storageClassName':'%s','capacity':{'storage':'%s'},'accessModes':"
       "['ReadWriteOnce'],'hostPath':{'path':'/x'}%s}}",
       name, class, size, affinity);
  patch(c, VOLUMES, NULL, name, "status", "{'status':{'phase':'Available'}}");
}

/* As the controller does when it is done. */
static void bind(cluster_t *c, const char *claim, const char *volume) {
  patch(c, CLAIMS, "default", claim, NULL,
        "{'metadata':{'annotations':{'pv.kubernetes.io/bind-completed':'yes'}},'spec':{'volumeName':'%s'}}", volume);
  patch(c, CLAIMS, "default", claim, "status", "{'status':{'phase':'Bound'}}");
}

static void stays_unbound(cluster_t *c, const char *pod) {
  pause_ms(150);
  expect(c, PODS, "default", pod, "spec>nodeName", NULL);
}

static void selected_node(cluster_t *c, const char *claim, char out[64]) {
  for (int i = 0; i < 1000; i++) {
    kg_msg_t *m = fetch(c, CLAIMS, "default", claim);
    kg_str_t n =
        kg_view_str(at(kg_view_of(kg_msg_doc(m, 0)), "metadata>annotations>volume.kubernetes.io/selected-node"));
    snprintf(out, 64, KG_STR_FMT, KG_STR_ARG(n));
    kg_msg_unref(m);
    if (*out) return;
    pause_ms(10);
  }
  cr_assert(0, "no node was selected for claim %s", claim);
}

Test(volumes, a_claim_that_is_not_there_or_not_bound_or_going_is_waited_for) {
  cluster_t *c = three_nodes();
  class(c, "now", "x/y", "");
  pod(c, "p", "web", USES("data"));
  expect_waits(c, "p", "0/3 nodes are available: persistentvolumeclaim \"data\" not found." HOPELESS);
  expect_event(c, "default", "p", "FailedScheduling", NULL);
  claim(c, "data", "now", "ReadWriteOnce", "1Gi");
  expect_waits(c, "p", "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims." HOPELESS);
  volume(c, "v", "now", "1Gi", "b");
  bind(c, "data", "v");
  cr_assert(runs_on(c, "p", "b"));
  del(c, CLAIMS, "default", "data", NULL); /* p uses it: it stays, deleted */
  pod(c, "q", "web", USES("data"));
  expect_waits(c, "q", "0/3 nodes are available: persistentvolumeclaim \"data\" is being deleted." HOPELESS);
  cluster_free(c);
}

Test(volumes, a_volume_says_which_nodes_reach_it_and_may_be_lost) {
  cluster_t *c = three_nodes();
  class(c, "now", "x/y", "");
  claim(c, "data", "now", "ReadWriteOnce", "1Gi");
  volume(c, "v", "now", "1Gi", "b");
  bind(c, "data", "v");
  pod(c, "p", "web", USES("data") ",'nodeSelector':{'zone':'2'}");
  expect_waits(c, "p",
               "0/3 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, 2 node(s) didn't "
               "match Pod's node affinity/selector." HOPELESS);
  claim(c, "far", "now", "ReadWriteOnce", "1Gi");
  bind(c, "far", "gone");
  pod(c, "q", "web", USES("far"));
  expect_waits(c, "q",
               "0/3 nodes are available: 3 node(s) unavailable due to one or more pvc(s) bound to non-existent "
               "pv(s)." HOPELESS);
  patch(c, CLAIMS, "default", "far", "status", "{'status':{'phase':'Lost'}}");
  expect_waits(c, "q",
               "0/3 nodes are available: persistentvolumeclaim \"far\" bound to non-existent persistentvolume "
               "\"gone\"." HOPELESS);
  cluster_free(c);
}

Test(volumes, one_is_made_for_the_node_of_the_pod_that_is_bound_after_it) {
  cluster_t *c = three_nodes();
  char node[64];
  class(c, "late", "x/y", LATE);
  claim(c, "data", "late", "ReadWriteOnce", "1Gi");
  pod(c, "p", "web", USES("data") ",'nodeSelector':{'zone':'2'}");
  selected_node(c, "data", node);
  cr_assert_str_eq(node, "c");
  pod(c, "q", "web", USES("data")); /* of the same claim: to the same node */
  stays_unbound(c, "p");
  stays_unbound(c, "q");
  volume(c, "made", "late", "1Gi", "c");
  bind(c, "data", "made");
  cr_assert(runs_on(c, "p", "c"));
  cr_assert(runs_on(c, "q", "c"));
  cluster_free(c);
}

Test(volumes, who_cannot_make_it_says_so_and_the_pod_is_tried_again) {
  cluster_t *c = three_nodes();
  char node[64];
  class(c, "late", "x/y", LATE);
  claim(c, "data", "late", "ReadWriteOnce", "1Gi");
  pod(c, "p", "web", USES("data"));
  selected_node(c, "data", node);
  patch(c, CLAIMS, "default", "data", NULL, "{'metadata':{'annotations':{'volume.kubernetes.io/selected-node':null}}}");
  expect_event(c, "default", "p", "FailedScheduling",
               "running PreBind plugin \"VolumeBinding\": binding volumes: provisioning failed for PVC \"data\"");
  selected_node(c, "data", node);
  bind(c, "data", "made");
  cr_assert(count(c, PODS, "default", NULL) == 1);
  volume(c, "made", "late", "1Gi", node);
  cr_assert(runs_on(c, "p", node));
  cluster_free(c);
}

Test(volumes, a_class_without_provisioner_or_for_other_nodes_makes_none) {
  cluster_t *c = three_nodes();
  class(c, "hand", "kubernetes.io/no-provisioner", LATE);
  class(c, "zoned", "x/y", LATE ",'allowedTopologies':[{'matchLabelExpressions':[{'key':'zone','values':['2','3']}]}]");
  claim(c, "hand", "hand", "ReadWriteOnce", "1Gi");
  claim(c, "zoned", "zoned", "ReadWriteOnce", "1Gi");
  pod(c, "p", "web", USES("hand"));
  expect_waits(c, "p", "0/3 nodes are available: 3 node(s) didn't find available persistent volumes to bind." HOPELESS);
  pod(c, "q", "web", USES("zoned"));
  char node[64];
  selected_node(c, "zoned", node);
  cr_assert_str_eq(node, "c");
  volume(c, "small", "hand", "500Mi", "a");
  volume(c, "big", "hand", "5Gi", "b");
  volume(c, "fits", "hand", "1Gi", "b");
  volume(c, "other", "zoned", "1Gi", "a");
  expect(c, VOLUMES, NULL, "fits", "spec>claimRef>name", "'hand'");
  expect(c, VOLUMES, NULL, "fits", "metadata>annotations>pv.kubernetes.io/bound-by-controller", "'yes'");
  stays_unbound(c, "p");
  bind(c, "hand", "fits");
  cr_assert(runs_on(c, "p", "b"));
  expect(c, VOLUMES, NULL, "big", "spec>claimRef", NULL);
  cluster_free(c);
}

Test(volumes, two_claims_do_not_get_one_volume) {
  cluster_t *c = three_nodes();
  class(c, "hand", "kubernetes.io/no-provisioner", LATE);
  volume(c, "va", "hand", "1Gi", "a");
  volume(c, "vb", "hand", "1Gi", "b");
  claim(c, "one", "hand", "ReadWriteOnce", "1Gi");
  claim(c, "two", "hand", "ReadWriteOnce", "1Gi");
  claim(c, "three", "hand", "ReadWriteOnce", "1Gi");
  pod(c, "p1", "web", USES("one"));
  pod(c, "p2", "web", USES("two"));
  pod(c, "p3", "web", USES("three"));
  expect_waits(c, "p3",
               "0/3 nodes are available: 3 node(s) didn't find available persistent volumes to bind." HOPELESS);
  expect(c, VOLUMES, NULL, "va", "spec>claimRef>kind", "'PersistentVolumeClaim'");
  expect(c, VOLUMES, NULL, "vb", "spec>claimRef>kind", "'PersistentVolumeClaim'");
  cluster_free(c);
}

Test(volumes, only_one_pod_may_use_it) {
  cluster_t *c = three_nodes();
  class(c, "now", "x/y", "");
  claim(c, "data", "now", "ReadWriteOncePod", "1Gi");
  volume(c, "v", "now", "1Gi", NULL);
  bind(c, "data", "v");
  pod(c, "p", "web", USES("data"));
  char node[64];
  node_of(c, "p", node);
  pod(c, "q", "web", USES("data"));
  expect_waits(c, "q",
               "0/3 nodes are available: 3 node has pod using PersistentVolumeClaim with the same name and "
               "ReadWriteOncePod access mode. preemption: 0/3 nodes are available: 3 No preemption victims found for "
               "incoming pod.");
  make(c, "scheduling.k8s.io/v1/priorityclasses", NULL, "{'metadata':{'name':'high'},'value':1000}");
  pod(c, "r", "web", USES("data") ",'priorityClassName':'high'");
  kubelet(c, "default");
  settle(c, PODS, "default", "r", "spec>nodeName", node[0] == 'a' ? "'a'" : node[0] == 'b' ? "'b'" : "'c'");
  cluster_free(c);
}

Test(volumes, zones_of_a_volume_hold) {
  cluster_t *c = three_nodes();
  class(c, "now", "x/y", "");
  claim(c, "data", "now", "ReadWriteOnce", "1Gi");
  volume(c, "v", "now", "1Gi", NULL);
  patch(c, VOLUMES, NULL, "v", NULL, "{'metadata':{'labels':{'topology.kubernetes.io/zone':'z1__z2'}}}");
  for (const char *n = "abc"; *n; n++)
    patch(c, "v1/nodes", NULL, (char[]){*n, 0}, NULL, "{'metadata':{'labels':{'topology.kubernetes.io/zone':'%s'}}}",
          *n == 'b' ? "z2" : "z3");
  bind(c, "data", "v");
  pod(c, "p", "web", USES("data"));
  cr_assert(runs_on(c, "p", "b"));
  pod(c, "q", "web", USES("data") ",'nodeSelector':{'kubernetes.io/hostname':'a'}");
  expect_waits(c, "q",
               "0/3 nodes are available: 1 node(s) had no available volume zone, 2 node(s) didn't match Pod's node "
               "affinity/selector." HOPELESS);
  cluster_free(c);
}

Test(volumes, an_ephemeral_claim_is_of_its_pod) {
  cluster_t *c = three_nodes();
  class(c, "now", "x/y", "");
  pod(c, "p", "web",
      ",'volumes':[{'name':'v','ephemeral':{'volumeClaimTemplate':{'spec':{'storageClassName':'now','accessModes':["
      "'ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}}}]");
  expect_waits(c, "p",
               "0/3 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim "
               "\"p-v\"." HOPELESS);
  claim(c, "p-v", "now", "ReadWriteOnce", "1Gi");
  expect_waits(
      c, "p",
      "0/3 nodes are available: PVC default/p-v was not created for pod default/p (pod is not owner)." HOPELESS);
  cluster_free(c);
}

Test(volumes, a_pod_that_goes_while_it_waits_and_a_wait_that_is_too_long) {
  cluster_t *c = cluster_new("{\"bindTimeoutSeconds\":1}",
                             (const char *const[]){"controller-serviceaccount", "scheduler-default", NULL});
  char selected[64];
  expect_there(c, "v1/serviceaccounts", "default", "default");
  node(c, "a", "1", 4);
  class(c, "late", "x/y", LATE);
  claim(c, "data", "late", "ReadWriteOnce", "1Gi");
  claim(c, "slow", "late", "ReadWriteOnce", "1Gi");
  wants(c, "p", "{'cpu':'3'}", USES("data"));
  selected_node(c, "data", selected);
  pod(c, "q", "web", USES("slow"));
  expect_event(c, "default", "q", "FailedScheduling",
               "running PreBind plugin \"VolumeBinding\": binding volumes: context deadline exceeded");
  expect(c, PODS, "default", "q", "status>conditions>type=PodScheduled>reason", "'SchedulerError'");
  del(c, PODS, "default", "p", NULL);
  expect_gone(c, PODS, "default", "p");
  wants(c, "big", "{'cpu':'3'}", "");
  cr_assert(runs_on(c, "big", "a"));
  cluster_free(c);
}

Test(volumes, another_scheduler_goes_on_where_the_first_one_waited) {
  cluster_t *c = three_nodes();
  char node[64], file[300];
  kg_error_t err = {0};
  class(c, "late", "x/y", LATE);
  class(c, "hand", "kubernetes.io/no-provisioner", LATE);
  claim(c, "made", "late", "ReadWriteOnce", "1Gi");
  claim(c, "hand", "hand", "ReadWriteOnce", "1Gi");
  volume(c, "v", "hand", "1Gi", "b");
  pod(c, "p", "web", USES("made"));
  pod(c, "q", "web", USES("hand"));
  selected_node(c, "made", node);
  expect(c, VOLUMES, NULL, "v", "spec>claimRef>name", "'hand'");
  snprintf(file, sizeof file, "%s/scheduler-random.so", PLUGINS);
  cr_assert(kg_kernel_swap(driver_kernel(cluster_driver(c)), "scheduler-default", file, NULL, NULL, &err) == 0, "%s",
            err.text);
  stays_unbound(c, "p");
  char again[64];
  selected_node(c, "made", again);
  cr_assert_str_eq(node, again);
  volume(c, "new", "late", "1Gi", node);
  bind(c, "made", "new");
  bind(c, "hand", "v");
  cr_assert(runs_on(c, "p", node));
  cr_assert(runs_on(c, "q", "b"));
  cluster_free(c);
}
