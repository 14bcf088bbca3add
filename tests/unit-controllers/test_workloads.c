/* ReplicaSet and Deployment. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "kube/values.h"

#define SETS "apps/v1/replicasets"
#define DEPLOYMENTS "apps/v1/deployments"
#define NS "default"

static cluster_t *cluster(void) {
  cluster_t *c = cluster_new(
      NULL, (const char *const[]){"controller-serviceaccount", "controller-replicaset", "controller-deployment", NULL});
  expect_there(c, "v1/serviceaccounts", NS, "default");
  return c;
}

static void make_set(cluster_t *c, int replicas) {
  make(c, SETS, NS,
       "{'metadata':{'name':'s'},'spec':{'replicas':%d,'selector':{'matchLabels':{'app':'s'}},'template':{'metadata':"
       "{'labels':{'app':'s'}}," POD_SPEC "}}}",
       replicas);
}

Test(replicaset, makes_scales_and_replaces) {
  cluster_t *c = cluster();
  make_set(c, 3);
  expect_count(c, "v1/pods", NS, "app=s", 3);
  expect(c, SETS, NS, "s", "status>replicas", "3");
  expect(c, SETS, NS, "s", "status>readyReplicas", NULL);
  settle(c, SETS, NS, "s", "status>availableReplicas", "3");
  expect(c, SETS, NS, "s", "status>fullyLabeledReplicas", "3");
  patch(c, SETS, NS, "s", NULL, "{'spec':{'replicas':5}}");
  expect_count(c, "v1/pods", NS, "app=s", 5);
  patch(c, SETS, NS, "s", NULL, "{'spec':{'replicas':2}}");
  expect_count(c, "v1/pods", NS, "app=s", 2);
  kg_msg_t *m = list(c, "v1/pods", NS, "app=s");
  char *name = kg_str_dup(kube_name(kg_view_of(kg_msg_doc(m, 0))));
  kg_msg_unref(m);
  del(c, "v1/pods", NS, name, NULL);
  expect_gone(c, "v1/pods", NS, name);
  expect_count(c, "v1/pods", NS, "app=s", 2);
  expect(c, SETS, NS, "s", "status>observedGeneration", "3");
  free(name);
  stays_count(c, "v1/pods", NS, "app=s", 2, 200);
  cluster_free(c);
}

/* A pod of the other set of the same owner crowds a node, too. */
Test(replicaset, deletes_where_its_owner_has_more) {
  cluster_t *c = cluster();
  static const char *const nodes[] = {"a", "b", "b"};
  for (int i = 0; i < 3; i++)
    make(c, "v1/pods", NS,
         "{'metadata':{'name':'p%d','labels':{'app':'s%d'}},'spec':{'nodeName':'%s','containers':[{'name':'c',"
         "'image':'i'}]}}",
         i, i / 2, nodes[i]);
  kubelet(c, NS);
  for (int i = 0; i < 2; i++)
    make(c, SETS, NS,
         "{'metadata':{'name':'s%d','ownerReferences':[{'apiVersion':'example.com/v1','kind':'X','name':'x','uid':'7',"
         "'controller':true}]},'spec':{'replicas':%d,'selector':{'matchLabels':{'app':'s%d'}},'template':{'metadata':"
         "{'labels':{'app':'s%d'}}," POD_SPEC "}}}",
         i, 2 - i, i, i);
  expect(c, SETS, NS, "s0", "status>replicas", "2");
  expect(c, SETS, NS, "s1", "status>replicas", "1");
  patch(c, SETS, NS, "s0", NULL, "{'spec':{'replicas':1}}");
  expect(c, SETS, NS, "s0", "status>terminatingReplicas", "1");
  settle(c, SETS, NS, "s0", "status>terminatingReplicas", "0");
  expect_there(c, "v1/pods", NS, "p0");
  cluster_free(c);
}

Test(replicaset, deletes_what_is_not_ready_first) {
  cluster_t *c = cluster();
  make_set(c, 2);
  expect_count(c, "v1/pods", NS, "app=s", 2);
  settle(c, SETS, NS, "s", "status>readyReplicas", "2");
  patch(c, SETS, NS, "s", NULL, "{'spec':{'replicas':4}}");
  expect_count(c, "v1/pods", NS, "app=s", 4);
  patch(c, SETS, NS, "s", NULL, "{'spec':{'replicas':2}}");
  expect_count(c, "v1/pods", NS, "app=s", 2);
  expect(c, SETS, NS, "s", "status>readyReplicas", "2");
  expect(c, SETS, NS, "s", "status>replicas", "2");
  cluster_free(c);
}

Test(replicaset, adopts_and_releases) {
  cluster_t *c = cluster();
  make(c, "v1/pods", NS, "{'metadata':{'name':'orphan','labels':{'app':'s'}}," POD_SPEC "}");
  make_set(c, 2);
  expect(c, "v1/pods", NS, "orphan", "metadata>ownerReferences>0>kind", "'ReplicaSet'");
  expect(c, "v1/pods", NS, "orphan", "metadata>ownerReferences>0>controller", "true");
  expect_count(c, "v1/pods", NS, "app=s", 2);
  patch(c, "v1/pods", NS, "orphan", NULL, "{'metadata':{'labels':{'app':'other'}}}");
  expect(c, "v1/pods", NS, "orphan", "metadata>ownerReferences", NULL);
  expect_count(c, "v1/pods", NS, "app=s", 2);
  cluster_free(c);
}

/* --- Deployment --------------------------------------------------------------------------------------------------- */

static void make_deployment(cluster_t *c, int replicas, const char *more) {
  make(c, DEPLOYMENTS, NS,
       "{'metadata':{'name':'d'},'spec':{'replicas':%d,%s'selector':{'matchLabels':{'app':'d'}},'template':{'metadata':"
       "{'labels':{'app':'d'}},'spec':{'containers':[{'name':'c','image':'i:1'}]}}}}",
       replicas, more);
}

static void set_image(cluster_t *c, const char *image) {
  patch(c, DEPLOYMENTS, NS, "d", NULL, "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'%s'}]}}}}",
        image);
}

/* The ReplicaSet whose pods have that image, by name; caller frees. NULL: none. */
static char *set_of(cluster_t *c, const char *image) {
  kg_msg_t *m = list(c, SETS, NS, NULL);
  char *name = NULL;
  for (size_t i = 0; i < kg_msg_ndocs(m) && !name; i++) {
    kg_view_t v = kg_view_of(kg_msg_doc(m, i));
    if (kg_str_is(kg_view_str(at(v, "spec>template>spec>containers>0>image")), image)) name = kg_str_dup(kube_name(v));
  }
  kg_msg_unref(m);
  return name;
}

static void expect_set(cluster_t *c, const char *image, const char *path, const char *want) {
  char *name = NULL;
  for (int i = 0; i < 500 && !(name = set_of(c, image)); i++) pause_ms(10);
  cr_assert(name, "no ReplicaSet with image %s", image);
  expect(c, SETS, NS, name, path, want);
  free(name);
}

Test(deployment, rolls_forward_and_back) {
  cluster_t *c = cluster();
  make_deployment(c, 3, "");
  settle(c, DEPLOYMENTS, NS, "d", "status>availableReplicas", "3");
  expect(c, DEPLOYMENTS, NS, "d", "metadata>annotations>deployment.kubernetes.io/revision", "'1'");
  expect(c, DEPLOYMENTS, NS, "d", "status>conditions>type=Available>reason", "'MinimumReplicasAvailable'");
  set_image(c, "i:2");
  expect_set(c, "i:2", "spec>replicas", "1"); /* 25 % more, rounded up; none may be missing */
  expect_set(c, "i:1", "spec>replicas", "3");
  settle(c, DEPLOYMENTS, NS, "d", "status>conditions>type=Progressing>reason", "'NewReplicaSetAvailable'");
  settle(c, DEPLOYMENTS, NS, "d", "status>replicas", "3");
  expect_set(c, "i:1", "spec>replicas", "0");
  expect(c, DEPLOYMENTS, NS, "d", "metadata>annotations>deployment.kubernetes.io/revision", "'2'");
  set_image(c, "i:1");
  expect_set(c, "i:1", "metadata>annotations>deployment.kubernetes.io/revision", "'3'");
  expect_set(c, "i:1", "metadata>annotations>deployment.kubernetes.io/revision-history", "'1'");
  settle(c, DEPLOYMENTS, NS, "d", "status>updatedReplicas", "3");
  settle(c, DEPLOYMENTS, NS, "d", "status>replicas", "3");
  cr_assert(count(c, SETS, NS, NULL) == 2, "the old ReplicaSet is used again");
  cluster_free(c);
}

Test(deployment, never_fewer_available_than_allowed) {
  cluster_t *c = cluster();
  make_deployment(c, 4, "'strategy':{'rollingUpdate':{'maxSurge':0,'maxUnavailable':1}},");
  settle(c, DEPLOYMENTS, NS, "d", "status>availableReplicas", "4");
  set_image(c, "i:2");
  expect_set(c, "i:2", "spec>replicas", "1");
  expect_set(c, "i:1", "spec>replicas", "3");
  for (int i = 0; i < 300; i++) {
    kg_msg_t *m = list(c, "v1/pods", NS, NULL);
    size_t ready = 0, n = kg_msg_ndocs(m);
    for (size_t k = 0; k < n; k++)
      ready += kg_str_is(kg_view_str(at(kg_view_of(kg_msg_doc(m, k)), "status>conditions>type=Ready>status")), "True");
    kg_msg_unref(m);
    cr_assert(n <= 4 && ready >= 3, "%zu pods, %zu ready", n, ready);
    kubelet(c, NS);
    pause_ms(5);
  }
  expect(c, DEPLOYMENTS, NS, "d", "status>updatedReplicas", "4");
  cluster_free(c);
}

Test(deployment, scales_in_proportion_while_it_rolls) {
  cluster_t *c = cluster();
  make_deployment(c, 10, "'strategy':{'rollingUpdate':{'maxSurge':3,'maxUnavailable':2}},");
  settle(c, DEPLOYMENTS, NS, "d", "status>availableReplicas", "10");
  set_image(c, "i:broken");
  expect_set(c, "i:1", "spec>replicas", "8");
  expect_set(c, "i:broken", "spec>replicas", "5");
  patch(c, DEPLOYMENTS, NS, "d", NULL, "{'spec':{'replicas':15}}");
  expect_set(c, "i:1", "spec>replicas", "11"); /* 8 of 13 parts of the 18 allowed */
  expect_set(c, "i:broken", "spec>replicas", "7");
  cluster_free(c);
}

Test(deployment, recreate_waits_for_the_old_to_go) {
  cluster_t *c = cluster();
  make_deployment(c, 2, "'strategy':{'type':'Recreate'},");
  settle(c, DEPLOYMENTS, NS, "d", "status>availableReplicas", "2");
  set_image(c, "i:2");
  expect_set(c, "i:1", "spec>replicas", "0");
  settle(c, DEPLOYMENTS, NS, "d", "status>updatedReplicas", "2");
  expect_count(c, "v1/pods", NS, NULL, 2);
  cluster_free(c);
}

Test(deployment, pause_and_resume) {
  cluster_t *c = cluster();
  make_deployment(c, 2, "");
  settle(c, DEPLOYMENTS, NS, "d", "status>availableReplicas", "2");
  patch(c, DEPLOYMENTS, NS, "d", NULL, "{'spec':{'paused':true}}");
  expect(c, DEPLOYMENTS, NS, "d", "status>conditions>type=Progressing>reason", "'DeploymentPaused'");
  set_image(c, "i:2");
  stays_count(c, SETS, NS, NULL, 1, 200);
  patch(c, DEPLOYMENTS, NS, "d", NULL, "{'spec':{'paused':false}}");
  expect_count(c, SETS, NS, NULL, 2);
  settle(c, DEPLOYMENTS, NS, "d", "status>updatedReplicas", "2");
  cluster_free(c);
}

Test(deployment, progress_deadline) {
  cluster_t *c = cluster();
  make_deployment(c, 1, "'progressDeadlineSeconds':1,");
  expect(c, DEPLOYMENTS, NS, "d", "status>conditions>type=Progressing>reason", "'ProgressDeadlineExceeded'");
  expect(c, DEPLOYMENTS, NS, "d", "status>conditions>type=Progressing>status", "'False'");
  cluster_free(c);
}

Test(deployment, keeps_so_much_history) {
  cluster_t *c = cluster();
  make_deployment(c, 1, "'revisionHistoryLimit':1,");
  for (int i = 2; i < 5; i++) {
    char image[16], revision[16];
    settle(c, DEPLOYMENTS, NS, "d", "status>conditions>type=Progressing>reason", "'NewReplicaSetAvailable'");
    snprintf(image, sizeof image, "i:%d", i);
    snprintf(revision, sizeof revision, "'%d'", i);
    set_image(c, image);
    expect(c, DEPLOYMENTS, NS, "d", "metadata>annotations>deployment.kubernetes.io/revision", revision);
    settle(c, DEPLOYMENTS, NS, "d", "status>updatedReplicas", "1");
    settle(c, DEPLOYMENTS, NS, "d", "status>replicas", "1");
  }
  expect_count(c, SETS, NS, NULL, 2);
  cluster_free(c);
}

/* --- ReplicationController ---------------------------------------------------------------------------------------- */

Test(replicationcontroller, makes_scales_and_adopts) {
  cluster_t *c =
      cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "controller-replicationcontroller", NULL});
  expect_there(c, "v1/serviceaccounts", NS, "default");
  make(c, "v1/pods", NS, "{'metadata':{'name':'orphan','labels':{'app':'r'}}," POD_SPEC "}");
  make(c, "v1/replicationcontrollers", NS,
       "{'metadata':{'name':'r'},'spec':{'replicas':2,'selector':{'app':'r'},'template':{'metadata':{'labels':{'app':"
       "'r'}}," POD_SPEC "}}}");
  expect(c, "v1/pods", NS, "orphan", "metadata>ownerReferences>0>kind", "'ReplicationController'");
  expect_count(c, "v1/pods", NS, "app=r", 2);
  settle(c, "v1/replicationcontrollers", NS, "r", "status>availableReplicas", "2");
  patch(c, "v1/replicationcontrollers", NS, "r", NULL, "{'spec':{'replicas':0}}");
  for (int i = 0; i < 20; i++, pause_ms(10)) kubelet(c, NS);
  expect_count(c, "v1/pods", NS, "app=r", 0);
  expect(c, "v1/replicationcontrollers", NS, "r", "status>replicas", "0");
  cluster_free(c);
}

Test(replicaset, says_why_it_cannot_make_pods) {
  cluster_t *c = cluster();
  make(c, SETS, NS,
       "{'metadata':{'name':'s'},'spec':{'replicas':1,'selector':{'matchLabels':{'app':'s'}},'template':{'metadata':{"
       "'labels':{'app':'s'}},'spec':{'serviceAccountName':'none','containers':[{'name':'c','image':'i'}]}}}}");
  expect(c, SETS, NS, "s", "status>conditions>type=ReplicaFailure>reason", "'FailedCreate'");
  expect_event(c, NS, "s", "FailedCreate", NULL);
  make(c, "v1/serviceaccounts", NS, "{'metadata':{'name':'none'}}");
  expect_count(c, "v1/pods", NS, "app=s", 1);
  expect(c, SETS, NS, "s", "status>conditions", NULL);
  cluster_free(c);
}

/* --- swapped in the middle of their work -------------------------------------------------------------------------- */

static void reload(cluster_t *c, const char *name) {
  kg_error_t err = {0};
  cr_assert(kg_kernel_reload(driver_kernel(cluster_driver(c)), name, NULL, &err) == 0, "%s: %s", name, err.text);
}

Test(swap, makes_no_pod_twice) {
  cluster_t *c = cluster();
  make_set(c, 0);
  expect_there(c, SETS, NS, "s");
  for (int i = 1; i <= 5; i++) {
    patch(c, SETS, NS, "s", NULL, "{'spec':{'replicas':%d}}", 40 * i);
    reload(c, "controller-replicaset");
    expect_count(c, "v1/pods", NS, "app=s", (size_t)(40 * i));
  }
  kg_msg_t *m = list(c, "v1/events", NS, NULL); /* one too many would have been deleted */
  for (size_t i = 0; i < kg_msg_ndocs(m); i++)
    cr_assert(!kg_str_is(kg_view_str(at(kg_view_of(kg_msg_doc(m, i)), "reason")), "SuccessfulDelete"), "%s",
              doc_json(m, i));
  kg_msg_unref(m);
  cluster_free(c);
}

Test(swap, a_rollout_goes_on) {
  cluster_t *c = cluster();
  make_deployment(c, 4, "");
  settle(c, DEPLOYMENTS, NS, "d", "status>availableReplicas", "4");
  set_image(c, "i:2");
  for (int i = 0; i < 6; i++) {
    kubelet(c, NS);
    reload(c, i % 2 ? "controller-deployment" : "controller-replicaset");
  }
  settle(c, DEPLOYMENTS, NS, "d", "status>updatedReplicas", "4");
  settle(c, DEPLOYMENTS, NS, "d", "status>replicas", "4");
  expect_count(c, "v1/pods", NS, NULL, 4);
  cluster_free(c);
}
