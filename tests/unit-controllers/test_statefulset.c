#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"
#include "kube/values.h"

#define NS "default"
#define SETS "apps/v1/statefulsets"
#define PODS "v1/pods"
#define CLAIMS "v1/persistentvolumeclaims"

static cluster_t *cluster(void) {
  cluster_t *c = cluster_new(
      NULL, (const char *const[]){"controller-serviceaccount", "controller-statefulset", "controller-gc", NULL});
  expect_there(c, "v1/serviceaccounts", NS, "default");
  return c;
}

static void set(cluster_t *c, int replicas, const char *more) {
  make(c, SETS, NS,
       "{'metadata':{'name':'w'},'spec':{'replicas':%d,'serviceName':'svc',%s'selector':{'matchLabels':{'app':'w'}},"
       "'template':{'metadata':{'labels':{'app':'w'}},'spec':{'containers':[{'name':'c','image':'i:1'}]}}}}",
       replicas, more);
}

static void set_image(cluster_t *c, const char *image) {
  patch(c, SETS, NS, "w", NULL, "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'%s'}]}}}}", image);
}

static void image_is(cluster_t *c, const char *pod, const char *image) {
  char want[32];
  snprintf(want, sizeof want, "'%s'", image);
  settle(c, PODS, NS, pod, "spec>containers>0>image", want);
}

Test(statefulset, one_after_the_other) {
  cluster_t *c = cluster();
  set(c, 3, "");
  expect_there(c, PODS, NS, "w-0");
  stays_count(c, PODS, NS, NULL, 1, 150); /* w-1 waits for w-0 */
  expect(c, PODS, NS, "w-0", "spec>hostname", "'w-0'");
  expect(c, PODS, NS, "w-0", "spec>subdomain", "'svc'");
  expect(c, PODS, NS, "w-0", "metadata>labels>statefulset.kubernetes.io/pod-name", "'w-0'");
  expect(c, PODS, NS, "w-0", "metadata>labels>apps.kubernetes.io/pod-index", "'0'");
  kubelet(c, NS);
  expect_there(c, PODS, NS, "w-1");
  stays_count(c, PODS, NS, NULL, 2, 100);
  settle(c, SETS, NS, "w", "status>readyReplicas", "3");
  expect_event(c, NS, "w", "SuccessfulCreate", "create Pod w-2 in StatefulSet w successful");
  patch(c, SETS, NS, "w", NULL, "{'spec':{'replicas':1}}");
  expect_gone(c, PODS, NS, "w-2");
  expect_gone(c, PODS, NS, "w-1");
  expect(c, SETS, NS, "w", "status>replicas", "1");
  del(c, PODS, NS, "w-0", NULL);
  expect(c, SETS, NS, "w", "status>readyReplicas", NULL);
  settle(c, SETS, NS, "w", "status>readyReplicas", "1"); /* the same name again */
  cluster_free(c);
}

Test(statefulset, all_at_once) {
  cluster_t *c = cluster();
  set(c, 3, "'podManagementPolicy':'Parallel','ordinals':{'start':5},");
  expect_count(c, PODS, NS, NULL, 3);
  expect_there(c, PODS, NS, "w-5");
  expect_there(c, PODS, NS, "w-7");
  cluster_free(c);
}

Test(statefulset, updates_from_the_last_to_the_first) {
  cluster_t *c = cluster();
  set(c, 3, "");
  settle(c, SETS, NS, "w", "status>readyReplicas", "3");
  settle(c, SETS, NS, "w", "status>currentReplicas", "3");
  set_image(c, "i:2");
  image_is(c, "w-2", "i:2");
  image_is(c, "w-0", "i:2");
  settle(c, SETS, NS, "w", "status>updatedReplicas", "3");
  settle(c, SETS, NS, "w", "status>currentReplicas", "3");
  expect_count(c, "apps/v1/controllerrevisions", NS, "app=w", 2);
  kg_msg_t *m = fetch(c, SETS, NS, "w");
  kg_view_t v = kg_view_of(kg_msg_doc(m, 0));
  cr_assert(kg_view_equal(at(v, "status>currentRevision"), at(v, "status>updateRevision")));
  kg_msg_unref(m);
  set_image(c, "i:1"); /* back: no third revision */
  image_is(c, "w-0", "i:1");
  expect_count(c, "apps/v1/controllerrevisions", NS, "app=w", 2);
  cluster_free(c);
}

Test(statefulset, partition_holds_the_update_back) {
  cluster_t *c = cluster();
  set(c, 3, "'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'partition':2}},");
  settle(c, SETS, NS, "w", "status>readyReplicas", "3");
  set_image(c, "i:2");
  image_is(c, "w-2", "i:2");
  settle(c, SETS, NS, "w", "status>readyReplicas", "3");
  image_is(c, "w-1", "i:1");
  del(c, PODS, NS, "w-0", NULL);
  expect(c, SETS, NS, "w", "status>readyReplicas", "2");
  settle(c, SETS, NS, "w", "status>readyReplicas", "3");
  image_is(c, "w-0", "i:1"); /* made anew from the old template */
  expect(c, SETS, NS, "w", "status>updatedReplicas", "1");
  cluster_free(c);
}

Test(statefulset, on_delete_waits_for_you) {
  cluster_t *c = cluster();
  set(c, 2, "'updateStrategy':{'type':'OnDelete'},");
  settle(c, SETS, NS, "w", "status>readyReplicas", "2");
  set_image(c, "i:2");
  pause_ms(150);
  image_is(c, "w-1", "i:1");
  del(c, PODS, NS, "w-1", NULL);
  settle(c, PODS, NS, "w-1", "spec>containers>0>image", "'i:2'");
  cluster_free(c);
}

Test(statefulset, claims_stay_or_go) {
  cluster_t *c = cluster();
  set(c, 2,
      "'persistentVolumeClaimRetentionPolicy':{'whenScaled':'Delete','whenDeleted':'Retain'},'volumeClaimTemplates':[{"
      "'metadata':{'name':'data'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}]"
      ",");
  expect_there(c, CLAIMS, NS, "data-w-0");
  expect(c, PODS, NS, "w-0", "spec>volumes>name=data>persistentVolumeClaim>claimName", "'data-w-0'");
  expect(c, CLAIMS, NS, "data-w-0", "metadata>labels>app", "'w'");
  settle(c, SETS, NS, "w", "status>readyReplicas", "2");
  patch(c, SETS, NS, "w", NULL, "{'spec':{'replicas':1}}");
  expect_gone(c, PODS, NS, "w-1");
  expect_gone(c, CLAIMS, NS, "data-w-1");
  del(c, SETS, NS, "w", NULL);
  expect_count(c, PODS, NS, NULL, 0);
  stays_count(c, CLAIMS, NS, NULL, 1, 100);
  cluster_free(c);
}

Test(statefulset, claims_go_with_their_set_unless_another_has_them) {
  cluster_t *c = cluster();
  make(c, CLAIMS, NS,
       "{'metadata':{'name':'data-w-1','ownerReferences':[{'apiVersion':'example.com/v1','kind':'X','name':'x','uid':"
       "'7','controller':true}]},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}");
  set(c, 2,
      "'podManagementPolicy':'Parallel','persistentVolumeClaimRetentionPolicy':{'whenScaled':'Retain','whenDeleted':"
      "'Delete'},'volumeClaimTemplates':[{'metadata':{'name':'data'},'spec':{'accessModes':['ReadWriteOnce'],"
      "'resources':{'requests':{'storage':'1Gi'}}}}],");
  expect(c, CLAIMS, NS, "data-w-0", "metadata>ownerReferences>kind=StatefulSet>controller", "true");
  expect(c, CLAIMS, NS, "data-w-0", "metadata>ownerReferences>kind=StatefulSet>blockOwnerDeletion", "true");
  expect_event(c, NS, "w", "ConflictingController", NULL);
  expect(c, CLAIMS, NS, "data-w-1", "metadata>ownerReferences>kind=StatefulSet", NULL);
  cluster_free(c);
}

Test(statefulset, replaces_a_failed_pod) {
  cluster_t *c = cluster();
  set(c, 1, "");
  settle(c, SETS, NS, "w", "status>readyReplicas", "1");
  finish_pod(c, NS, "w-0", "Failed", 1);
  expect(c, SETS, NS, "w", "status>readyReplicas", NULL);
  settle(c, SETS, NS, "w", "status>readyReplicas", "1");
  expect_event(c, NS, "w", "RecreatingFailedPod", NULL);
  cluster_free(c);
}
