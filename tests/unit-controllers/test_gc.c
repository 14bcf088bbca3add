#include <criterion/criterion.h>
#include <stdio.h>

#include "harness.h"

#define MAPS "v1/configmaps"

static cluster_t *cluster(void) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "controller-gc", NULL});
  make(c, "v1/namespaces", NULL, "{'metadata':{'name':'n'}}");
  expect_there(c, "v1/serviceaccounts", "n", "default");
  return c;
}

static void uid_of(cluster_t *c, const char *resource, const char *ns, const char *name, char uid[64]) {
  kg_msg_t *m = fetch(c, resource, ns, name);
  kg_str_t s = kg_view_str(at(kg_view_of(kg_msg_doc(m, 0)), "metadata>uid"));
  snprintf(uid, 64, KG_STR_FMT, KG_STR_ARG(s));
  kg_msg_unref(m);
}

static void owned_map(cluster_t *c, const char *name, const char *owner, const char *more) {
  char uid[64];
  uid_of(c, MAPS, "n", owner, uid);
  make(c, MAPS, "n",
       "{'metadata':{'name':'%s','ownerReferences':[{'apiVersion':'v1','kind':'ConfigMap','name':'%s','uid':'%s'%s}]}}",
       name, owner, uid, more);
}

static void map(cluster_t *c, const char *name) {
  make(c, MAPS, "n", "{'metadata':{'name':'%s'}}", name);
}

Test(gc, background_deletes_the_whole_tree) {
  cluster_t *c = cluster();
  map(c, "a");
  owned_map(c, "b", "a", "");
  owned_map(c, "c", "b", "");
  map(c, "other");
  del(c, MAPS, "n", "a", "Background");
  cr_assert(fetch(c, MAPS, "n", "a") == NULL, "the owner goes at once");
  expect_gone(c, MAPS, "n", "b");
  expect_gone(c, MAPS, "n", "c");
  expect_there(c, MAPS, "n", "other");
  cluster_free(c);
}

Test(gc, foreground_waits_for_blocking_dependents) {
  cluster_t *c = cluster();
  map(c, "a");
  owned_map(c, "b", "a", ",'blockOwnerDeletion':true");
  patch(c, MAPS, "n", "b", NULL, "{'metadata':{'finalizers':['example.com/hold']}}");
  del(c, MAPS, "n", "a", "Foreground");
  expect(c, MAPS, "n", "b", "metadata>deletionGracePeriodSeconds", "0");
  stays_count(c, MAPS, "n", NULL, 2, 200);
  patch(c, MAPS, "n", "b", NULL, "{'metadata':{'finalizers':null}}");
  expect_gone(c, MAPS, "n", "b");
  expect_gone(c, MAPS, "n", "a");
  cluster_free(c);
}

Test(gc, foreground_does_not_wait_for_others) {
  cluster_t *c = cluster();
  map(c, "a");
  owned_map(c, "b", "a", "");
  patch(c, MAPS, "n", "b", NULL, "{'metadata':{'finalizers':['example.com/hold']}}");
  del(c, MAPS, "n", "a", "Foreground");
  expect_gone(c, MAPS, "n", "a");
  expect(c, MAPS, "n", "b", "metadata>deletionGracePeriodSeconds", "0");
  cluster_free(c);
}

Test(gc, orphans_keep_living) {
  cluster_t *c = cluster();
  map(c, "a");
  owned_map(c, "b", "a", "");
  del(c, MAPS, "n", "a", "Orphan");
  expect_gone(c, MAPS, "n", "a");
  expect(c, MAPS, "n", "b", "metadata>ownerReferences", NULL);
  stays_count(c, MAPS, "n", NULL, 1, 200);
  cluster_free(c);
}

Test(gc, an_owner_that_never_was) {
  cluster_t *c = cluster();
  map(c, "a");
  make(c, MAPS, "n",
       "{'metadata':{'name':'b','ownerReferences':[{'apiVersion':'v1','kind':'ConfigMap','name':'a','uid':'gone'}]}}");
  expect_gone(c, MAPS, "n", "b"); /* same name, but not the one it means */
  char uid[64];
  uid_of(c, MAPS, "n", "a", uid);
  make(c, MAPS, "n",
       "{'metadata':{'name':'d','ownerReferences':[{'apiVersion':'v1','kind':'ConfigMap','name':'a','uid':'%s'},"
       "{'apiVersion':'v1','kind':'Secret','name':'x','uid':'gone'}]}}",
       uid);
  expect(c, MAPS, "n", "d", "metadata>ownerReferences>1", NULL); /* one owner is enough; the dead one is struck off */
  expect(c, MAPS, "n", "d", "metadata>ownerReferences>0>name", "'a'");
  make(c, MAPS, "n",
       "{'metadata':{'name':'e','ownerReferences':[{'apiVersion':'x.io/v1','kind':'Odd','name':'a','uid':'gone'}]}}");
  stays_count(c, MAPS, "n", NULL, 3, 200); /* of a kind nobody knows: left alone */
  cluster_free(c);
}

Test(gc, circles_go) {
  cluster_t *c = cluster();
  char uid[64];
  map(c, "a");
  owned_map(c, "b", "a", ",'blockOwnerDeletion':true");
  uid_of(c, MAPS, "n", "b", uid);
  patch(c, MAPS, "n", "a", NULL,
        "{'metadata':{'ownerReferences':[{'apiVersion':'v1','kind':'ConfigMap','name':'b','uid':'%s',"
        "'blockOwnerDeletion':true}]}}",
        uid);
  del(c, MAPS, "n", "a", "Foreground");
  expect_gone(c, MAPS, "n", "a");
  expect_gone(c, MAPS, "n", "b");
  cluster_free(c);
}

Test(gc, cluster_scoped_owner) {
  cluster_t *c = cluster();
  char uid[64];
  make(c, "rbac.authorization.k8s.io/v1/clusterroles", NULL, "{'metadata':{'name':'r'},'rules':[]}");
  uid_of(c, "rbac.authorization.k8s.io/v1/clusterroles", NULL, "r", uid);
  make(c, MAPS, "n",
       "{'metadata':{'name':'b','ownerReferences':[{'apiVersion':'rbac.authorization.k8s.io/v1','kind':'ClusterRole',"
       "'name':'r','uid':'%s'}]}}",
       uid);
  stays_count(c, MAPS, "n", NULL, 1, 100);
  del(c, "rbac.authorization.k8s.io/v1/clusterroles", NULL, "r", NULL);
  expect_gone(c, MAPS, "n", "b");
  cluster_free(c);
}

Test(gc, pods_of_a_deployment) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "controller-replicaset",
                                                         "controller-deployment", "controller-gc", NULL});
  expect_there(c, "v1/serviceaccounts", "default", "default");
  make(c, "apps/v1/deployments", "default",
       "{'metadata':{'name':'d'},'spec':{'replicas':3,'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{"
       "'labels':{'a':'b'}}," POD_SPEC "}}}");
  expect_count(c, "v1/pods", "default", NULL, 3);
  del(c, "apps/v1/deployments", "default", "d", "Foreground");
  expect_gone(c, "apps/v1/deployments", "default", "d");
  expect_count(c, "apps/v1/replicasets", "default", NULL, 0);
  expect_count(c, "v1/pods", "default", NULL, 0);
  cluster_free(c);
}
