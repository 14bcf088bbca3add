/* Disruption budgets, quotas, clearing away pods. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"
#include "kube/values.h"

#define NS "default"
#define BUDGETS "policy/v1/poddisruptionbudgets"
#define PODS "v1/pods"

static cluster_t *budget(const char *spec) {
  cluster_t *c = cluster_new(
      NULL, (const char *const[]){"controller-serviceaccount", "controller-replicaset", "controller-disruption", NULL});
  expect_there(c, "v1/serviceaccounts", NS, "default");
  make(c, "apps/v1/replicasets", NS,
       "{'metadata':{'name':'s'},'spec':{'replicas':4,'selector':{'matchLabels':{'app':'s'}},'template':{'metadata':{"
       "'labels':{'app':'s'}},'spec':{'nodeName':'n','containers':[{'name':'c','image':'i'}]}}}}");
  settle(c, "apps/v1/replicasets", NS, "s", "status>readyReplicas", "4");
  make(c, BUDGETS, NS, "{'metadata':{'name':'b'},'spec':{%s,'selector':{'matchLabels':{'app':'s'}}}}", spec);
  return c;
}

static char *nth(cluster_t *c, size_t i) {
  kg_msg_t *m = list(c, PODS, NS, "app=s");
  char *name = kg_str_dup(kube_name(kg_view_of(kg_msg_doc(m, i))));
  kg_msg_unref(m);
  return name;
}

static int evict(cluster_t *c, const char *pod) {
  char doc[300];
  snprintf(doc, sizeof doc,
           "{'apiVersion':'policy/v1','kind':'Eviction','metadata':{'name':'%s','namespace':'default'}}", pod);
  return post_sub(c, PODS, NS, pod, "eviction", doc);
}

Test(disruption, counts_and_is_kept) {
  cluster_t *c = budget("'minAvailable':3");
  expect(c, BUDGETS, NS, "b", "status>disruptionsAllowed", "1");
  expect(c, BUDGETS, NS, "b", "status>currentHealthy", "4");
  expect(c, BUDGETS, NS, "b", "status>desiredHealthy", "3");
  expect(c, BUDGETS, NS, "b", "status>expectedPods", "4");
  expect(c, BUDGETS, NS, "b", "status>conditions>type=DisruptionAllowed>reason", "'SufficientPods'");
  char *one = nth(c, 0), *two = nth(c, 1);
  cr_assert(evict(c, one) == 201);
  cr_assert(evict(c, two) == 429, "two at once would be too many");
  expect(c, PODS, NS, one, "metadata>deletionGracePeriodSeconds", "30");
  expect(c, PODS, NS, two, "metadata>deletionTimestamp", NULL);
  expect(c, BUDGETS, NS, "b", "status>disruptionsAllowed", "0");
  expect(c, BUDGETS, NS, "b", "status>conditions>type=DisruptionAllowed>status", "'False'");
  settle(c, BUDGETS, NS, "b", "status>disruptionsAllowed", "1"); /* its successor is ready */
  cr_assert(evict(c, two) == 201);
  free(one);
  free(two);
  cluster_free(c);
}

Test(disruption, percent_of_the_scale) {
  cluster_t *c = budget("'maxUnavailable':'50%'");
  expect(c, BUDGETS, NS, "b", "status>disruptionsAllowed", "2");
  patch(c, "apps/v1/replicasets", NS, "s", NULL, "{'spec':{'replicas':6}}");
  expect(c, BUDGETS, NS, "b", "status>desiredHealthy", "3");
  settle(c, BUDGETS, NS, "b", "status>disruptionsAllowed", "3");
  cluster_free(c);
}

Test(disruption, says_what_it_cannot_count) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "controller-disruption", NULL});
  expect_there(c, "v1/serviceaccounts", NS, "default");
  make(c, BUDGETS, NS, "{'metadata':{'name':'b'},'spec':{'maxUnavailable':1,'selector':{'matchLabels':{'app':'s'}}}}");
  make(c, PODS, NS, "{'metadata':{'name':'p','labels':{'app':'s'}}," POD_SPEC "}");
  expect_event(
      c, NS, "b", "UnmanagedPods",
      "Pods selected by this PodDisruptionBudget (selector: &LabelSelector{MatchLabels:map[string]string{app: "
      "s,},MatchExpressions:[]LabelSelectorRequirement{},}) were found to be unmanaged. As a result, the status "
      "of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these "
      "pods please set \".spec.minAvailable\" field of the PDB to an integer value.");
  patch(c, PODS, NS, "p", NULL,
        "{'metadata':{'ownerReferences':[{'apiVersion':'batch/v1','kind':'Job','name':'j','uid':'1',"
        "'controller':true}],'labels':{'x':'y'}}}");
  expect(c, BUDGETS, NS, "b", "status>conditions>type=DisruptionAllowed>reason", "'SyncFailed'");
  expect(c, BUDGETS, NS, "b", "status>conditions>type=DisruptionAllowed>message",
         "'jobs.batch does not implement the scale subresource'");
  expect(c, BUDGETS, NS, "b", "status>disruptionsAllowed", "0");
  expect(c, BUDGETS, NS, "b", "status>expectedPods", "0");
  expect_event(c, NS, "b", "CalculateExpectedPodCountFailed", NULL);
  cluster_free(c);
}

Test(disruption, asks_custom_kinds_for_their_scale) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "controller-disruption", NULL});
  expect_there(c, "v1/serviceaccounts", NS, "default");
  make(c, "apiextensions.k8s.io/v1/customresourcedefinitions", NULL,
       "{'metadata':{'name':'flocks.example.com'},'spec':{'group':'example.com','scope':'Namespaced','names':{'plural':"
       "'flocks','singular':'flock','kind':'Flock','listKind':'FlockList'},'versions':[{'name':'v1','served':true,"
       "'storage':true,'subresources':{'scale':{'specReplicasPath':'.spec.replicas','statusReplicasPath':"
       "'.status.replicas'}},'schema':{'openAPIV3Schema':{'type':'object','properties':{'spec':{'type':'object',"
       "'properties':{'replicas':{'type':'integer'}}},'status':{'type':'object','properties':{'replicas':{'type':"
       "'integer'}}}}}}}]}}");
  expect(c, "apiextensions.k8s.io/v1/customresourcedefinitions", NULL, "flocks.example.com",
         "status>conditions>type=Established>status", "'True'");
  make(c, "example.com/v1/flocks", NS,
       "{'apiVersion':'example.com/v1','kind':'Flock','metadata':{'name':'f'},'spec':{'replicas':3}}");
  kg_msg_t *m = fetch(c, "example.com/v1/flocks", NS, "f");
  char *uid = kg_str_dup(kube_uid(kg_view_of(kg_msg_doc(m, 0))));
  kg_msg_unref(m);
  make(c, BUDGETS, NS, "{'metadata':{'name':'b'},'spec':{'maxUnavailable':1,'selector':{'matchLabels':{'app':'s'}}}}");
  for (int i = 0; i < 3; i++)
    make(c, PODS, NS,
         "{'metadata':{'name':'p%d','labels':{'app':'s'},'ownerReferences':[{'apiVersion':'example.com/"
         "v1','kind':'Flock',"
         "'name':'f','uid':'%s','controller':true}]}," POD_SPEC "}",
         i, uid);
  settle(c, BUDGETS, NS, "b", "status>disruptionsAllowed", "1");
  expect(c, BUDGETS, NS, "b", "status>expectedPods", "3");
  expect(c, BUDGETS, NS, "b", "status>desiredHealthy", "2");
  make(c, PODS, NS,
       "{'metadata':{'name':'q','labels':{'app':'s'},'ownerReferences':[{'apiVersion':'example.com/"
       "v1','kind':'Herd','name'"
       ":'h','uid':'9','controller':true}]}," POD_SPEC "}");
  expect(c, BUDGETS, NS, "b", "status>conditions>type=DisruptionAllowed>message",
         "'no matches for kind \\'Herd\\' in version \\'example.com/v1\\''");
  free(uid);
  cluster_free(c);
}

Test(disruption, takes_back_what_did_not_happen) {
  cluster_t *c = budget("'minAvailable':1");
  char *name = nth(c, 0);
  patch(c, PODS, NS, name, "status",
        "{'status':{'conditions':[{'type':'Ready','status':'True'},{'type':'DisruptionTarget','status':'True','reason':"
        "'EvictionByEvictionAPI','lastTransitionTime':'2026-01-01T00:00:00Z'}]}}");
  expect(c, PODS, NS, name, "status>conditions>type=DisruptionTarget>status", "'False'");
  expect(c, PODS, NS, name, "status>conditions>type=DisruptionTarget>reason", NULL);
  free(name);
  cluster_free(c);
}

/* --- pods nobody ends --------------------------------------------------------------------------------------------- */

Test(podgc, pods_of_a_node_that_is_gone) {
  cluster_t *c = cluster_new("{\"quarantineMs\":200}",
                             (const char *const[]){"controller-serviceaccount", "controller-podgc", NULL});
  expect_there(c, "v1/serviceaccounts", NS, "default");
  make(c, "v1/nodes", NULL, "{'metadata':{'name':'a'}}");
  make(c, PODS, NS,
       "{'metadata':{'name':'p','finalizers':['x.io/"
       "hold']},'spec':{'nodeName':'a','containers':[{'name':'c','image':'i'}]}}");
  make(c, PODS, NS, "{'metadata':{'name':'q'}," POD_SPEC "}");
  del(c, "v1/nodes", NULL, "a", NULL);
  expect(c, PODS, NS, "p", "status>phase", "'Failed'");
  expect(c, PODS, NS, "p", "status>conditions>type=DisruptionTarget>message", "'PodGC: node no longer exists'");
  expect(c, PODS, NS, "p", "metadata>deletionGracePeriodSeconds", "0");
  expect(c, PODS, NS, "q", "metadata>deletionTimestamp", NULL);
  cluster_free(c);
}

Test(podgc, a_pod_that_never_came_to_a_node) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "controller-podgc", NULL});
  expect_there(c, "v1/serviceaccounts", NS, "default");
  make(c, PODS, NS, "{'metadata':{'name':'p','finalizers':['x.io/hold']}," POD_SPEC "}");
  del(c, PODS, NS, "p", NULL);
  expect(c, PODS, NS, "p", "status>phase", "'Failed'");
  cluster_free(c);
}

Test(podgc, a_pod_of_a_node_out_of_service) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "controller-podgc", NULL});
  expect_there(c, "v1/serviceaccounts", NS, "default");
  make(c, "v1/nodes", NULL, "{'metadata':{'name':'a'}}");
  for (int i = 0; i < 2; i++)
    make(c, PODS, NS, "{'metadata':{'name':'p%d'},'spec':{'nodeName':'a','containers':[{'name':'c','image':'i'}]}}", i);
  del(c, PODS, NS, "p0", NULL);
  stays_count(c, PODS, NS, NULL, 2, 100);
  patch(
      c, "v1/nodes", NULL, "a", NULL,
      "{'spec':{'taints':[{'key':'node.kubernetes.io/out-of-service','value':'nodeshutdown','effect':'NoExecute'}]}}");
  expect_gone(c, PODS, NS, "p0");
  del(c, PODS, NS, "p1", NULL);
  expect_gone(c, PODS, NS, "p1");
  cluster_free(c);
}

Test(podgc, too_many_that_have_ended) {
  cluster_t *c = cluster_new("{\"terminatedPodThreshold\":3}",
                             (const char *const[]){"controller-serviceaccount", "controller-podgc", NULL});
  expect_there(c, "v1/serviceaccounts", NS, "default");
  for (int i = 0; i < 6; i++) {
    char name[8];
    snprintf(name, sizeof name, "p%d", i);
    make(c, PODS, NS, "{'metadata':{'name':'%s'}," POD_SPEC "}", name);
    finish_pod(c, NS, name, "Succeeded", 0);
  }
  expect_count(c, PODS, NS, NULL, 3);
  cluster_free(c);
}

/* --- quotas ------------------------------------------------------------------------------------------------------- */

#define QUOTAS "v1/resourcequotas"

static cluster_t *quota(const char *hard, const char *more) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "controller-replicaset",
                                                         "controller-resourcequota", NULL});
  make(c, "v1/namespaces", NULL, "{'metadata':{'name':'n'}}");
  expect_there(c, "v1/serviceaccounts", "n", "default");
  make(c, QUOTAS, "n", "{'metadata':{'name':'q'},'spec':{'hard':{%s}%s}}", hard, more);
  return c;
}

static int post(cluster_t *c, const char *resource, const char *doc) {
  return post_sub(c, resource, "n", NULL, "", doc);
}

Test(quota, counts_what_is_there) {
  cluster_t *c = quota("'pods':'5','requests.cpu':'2','limits.memory':'4Gi','services':'3','count/configmaps':'9',"
                       "'count/replicasets.apps':'1','requests.storage':'10Gi'",
                       "");
  expect(c, QUOTAS, "n", "q", "status>used>pods", "'0'");
  expect(c, QUOTAS, "n", "q", "status>hard>limits.memory", "'4Gi'");
  make(c, PODS, "n",
       "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'a','image':'i','resources':{'requests':{'cpu':'300m'},"
       "'limits':{'cpu':'1','memory':'1Gi'}}},{'name':'b','image':'i','resources':{'requests':{'cpu':'200m'},'limits':{"
       "'memory':'512Mi'}}}]}}");
  make(c, "v1/services", "n", "{'metadata':{'name':'s'},'spec':{'ports':[{'port':80}]}}");
  make(c, "v1/persistentvolumeclaims", "n",
       "{'metadata':{'name':'v'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}");
  expect(c, QUOTAS, "n", "q", "status>used>pods", "'1'");
  expect(c, QUOTAS, "n", "q", "status>used>requests.cpu", "'500m'");
  expect(c, QUOTAS, "n", "q", "status>used>limits.memory", "'1536Mi'");
  expect(c, QUOTAS, "n", "q", "status>used>services", "'1'");
  expect(c, QUOTAS, "n", "q", "status>used>requests.storage", "'1Gi'");
  finish_pod(c, "n", "p", "Succeeded", 0);
  expect(c, QUOTAS, "n", "q", "status>used>pods", "'0'");
  cluster_free(c);
}

Test(quota, is_kept_however_many_come_at_once) {
  cluster_t *c = quota("'pods':'3'", "");
  make(c, "apps/v1/replicasets", "n",
       "{'metadata':{'name':'s'},'spec':{'replicas':8,'selector':{'matchLabels':{'app':'s'}},'template':{'metadata':{"
       "'labels':{'app':'s'}}," POD_SPEC "}}}");
  expect_count(c, PODS, "n", NULL, 3);
  stays_count(c, PODS, "n", NULL, 3, 200);
  expect(c, "apps/v1/replicasets", "n", "s", "status>conditions>type=ReplicaFailure>status", "'True'");
  patch(c, QUOTAS, "n", "q", NULL, "{'spec':{'hard':{'pods':'8'}}}");
  expect_count(c, PODS, "n", NULL, 8);
  expect(c, QUOTAS, "n", "q", "status>used>pods", "'8'");
  cluster_free(c);
}

Test(quota, counts_custom_kinds) {
  cluster_t *c = quota("'count/crontabs.example.com':'2'", "");
  expect(c, QUOTAS, "n", "q", "status>used>count/crontabs.example.com", "'0'");
  make(c, "apiextensions.k8s.io/v1/customresourcedefinitions", NULL,
       "{'metadata':{'name':'crontabs.example.com'},'spec':{'group':'example.com','scope':'Namespaced','names':{'"
       "plural':"
       "'crontabs','singular':'crontab','kind':'CronTab','listKind':'CronTabList'},'versions':[{'name':'v1','served':"
       "true,"
       "'storage':true,'schema':{'openAPIV3Schema':{'type':'object'}}}]}}");
  expect(c, "apiextensions.k8s.io/v1/customresourcedefinitions", NULL, "crontabs.example.com",
         "status>conditions>type=Established>status", "'True'");
  for (int i = 0; i < 2; i++)
    make(c, "example.com/v1/crontabs", "n",
         "{'apiVersion':'example.com/v1','kind':'CronTab','metadata':{'name':'c%d'}}", i);
  expect(c, QUOTAS, "n", "q", "status>used>count/crontabs.example.com", "'2'");
  pause_ms(200);
  expect(c, QUOTAS, "n", "q", "status>used>count/crontabs.example.com", "'2'");
  del(c, "example.com/v1/crontabs", "n", "c0", NULL);
  expect(c, QUOTAS, "n", "q", "status>used>count/crontabs.example.com", "'1'");
  cluster_free(c);
}

Test(quota, of_affinity_into_other_name_spaces) {
  cluster_t *c = quota("'pods':'0'", ",'scopes':['CrossNamespacePodAffinity']");
  const char *form = "{'metadata':{'name':'%s'},'spec':{'affinity':{'podAntiAffinity':{'"
                     "preferredDuringSchedulingIgnoredDuringExecution':"
                     "[{'weight':1,'podAffinityTerm':{'topologyKey':'k','labelSelector':{}%s}}]}},'containers':[{'name'"
                     ":'c','image':'i'"
                     "}]}}";
  char doc[600];
  snprintf(doc, sizeof doc, form, "a", "");
  cr_assert(post(c, PODS, doc) == 201);
  snprintf(doc, sizeof doc, form, "b", ",'namespaceSelector':{}");
  cr_assert(post(c, PODS, doc) == 403);
  cluster_free(c);
}

Test(quota, scopes_choose_pods) {
  cluster_t *c = quota("'pods':'0'", ",'scopes':['BestEffort']");
  cr_assert(post(c, PODS, "{'metadata':{'name':'a'}," POD_SPEC "}") == 403);
  cr_assert(post(c, PODS,
                 "{'metadata':{'name':'b'},'spec':{'containers':[{'name':'c','image':'i','resources':{'requests'"
                 ":{'cpu':'1m'}}}]}}") == 201);
  cluster_free(c);
}

Test(quota, what_is_limited_must_be_said) {
  cluster_t *c = quota("'limits.cpu':'1'", "");
  cr_assert(post(c, PODS, "{'metadata':{'name':'a'}," POD_SPEC "}") == 403);
  cr_assert(post(c, PODS,
                 "{'metadata':{'name':'b'},'spec':{'containers':[{'name':'c','image':'i','resources':{'limits'"
                 ":{'cpu':'1500m'}}}]}}") == 403);
  cr_assert(post(c, PODS,
                 "{'metadata':{'name':'c'},'spec':{'containers':[{'name':'c','image':'i','resources':{'limits'"
                 ":{'cpu':'1'}}}]}}") == 201);
  cluster_free(c);
}

/* --- limit ranges ------------------------------------------------------------------------------------------------- */

static int with_cpu(cluster_t *c, const char *name, const char *request, const char *limit) {
  char doc[512];
  snprintf(
      doc, sizeof doc,
      "{'metadata':{'name':'%s'},'spec':{'containers':[{'name':'c','image':'i','resources':{'requests':{'cpu':'%s'},"
      "'limits':{'cpu':'%s'}}}]}}",
      name, request, limit);
  return post(c, PODS, doc);
}

Test(limits, defaults_and_bounds) {
  cluster_t *c = quota("'pods':'9'", "");
  make(
      c, "v1/limitranges", "n",
      "{'metadata':{'name':'l'},'spec':{'limits':[{'type':'Container','min':{'cpu':'50m'},'max':{'cpu':'1'},"
      "'defaultRequest':{'cpu':'100m','memory':'10Mi'},'default':{'cpu':'500m'}},{'type':'Pod','max':{'cpu':'1500m'}},{"
      "'type':'PersistentVolumeClaim','max':{'storage':'1Gi'}}]}}");
  make(c, PODS, "n", "{'metadata':{'name':'p'}," POD_SPEC "}");
  expect(c, PODS, "n", "p", "spec>containers>0>resources>requests>cpu", "'100m'");
  expect(c, PODS, "n", "p", "spec>containers>0>resources>limits>cpu", "'500m'");
  expect(c, PODS, "n", "p", "status>qosClass", "'Burstable'");
  expect(c, PODS, "n", "p", "metadata>annotations>kubernetes.io/limit-ranger",
         "'LimitRanger plugin set: cpu, memory request for container c; cpu limit for container c'");
  cr_assert(with_cpu(c, "small", "10m", "100m") == 403);
  cr_assert(with_cpu(c, "big", "100m", "2") == 403);
  cr_assert(with_cpu(c, "good", "100m", "1") == 201);
  cr_assert(post(c, "v1/persistentvolumeclaims",
                 "{'metadata':{'name':'v'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':"
                 "'2Gi'}}}}") == 403);
  cluster_free(c);
}
