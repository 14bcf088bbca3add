/* What controllers do when they are not let: quotas, events that would be too many. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"
#include "kube/values.h"

#define NS "n"
#define POD_OF(app) "'template':{'metadata':{'labels':{'app':'" app "'}}," POD_SPEC "}"

static cluster_t *cluster(int pods) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "controller-resourcequota",
                                                         "controller-replicaset", "controller-deployment",
                                                         "controller-job", "controller-daemonset", NULL});
  make(c, "v1/namespaces", NULL, "{'metadata':{'name':'" NS "'}}");
  expect_there(c, "v1/serviceaccounts", NS, "default");
  make(c, "v1/resourcequotas", NS, "{'metadata':{'name':'q'},'spec':{'hard':{'pods':'%d'}}}", pods);
  expect(c, "v1/resourcequotas", NS, "q", "status>used>pods", "'0'");
  return c;
}

/* How many events with that reason there are, and how often they were told. */
static size_t events(cluster_t *c, const char *reason, int64_t *told) {
  kg_msg_t *m = list(c, "v1/events", NS, NULL);
  size_t n = 0;
  *told = 0;
  for (size_t i = 0; i < kg_msg_ndocs(m); i++) {
    kg_view_t e = kg_view_of(kg_msg_doc(m, i));
    if (!kg_str_is(kg_view_str(at(e, "reason")), reason)) continue;
    *told += kg_view_int(at(e, "count"), 0);
    n++;
  }
  kg_msg_unref(m);
  return n;
}

static void told_at_most(cluster_t *c, const char *reason, int64_t most) {
  int64_t told;
  size_t n = events(c, reason, &told);
  cr_assert(n >= 1 && n <= 10 && told <= most, "%s: %zu events, told %lld times", reason, n, (long long)told);
}

Test(refusals, a_deployment_beyond_the_quota) {
  cluster_t *c = cluster(5);
  make(c, "apps/v1/deployments", NS,
       "{'metadata':{'name':'d'},'spec':{'replicas':200,'selector':{'matchLabels':{'app':'d'}}," POD_OF("d") "}}");
  expect_count(c, "v1/pods", NS, "app=d", 5);
  kg_msg_t *sets = list(c, "apps/v1/replicasets", NS, NULL);
  cr_assert(kg_str_is(kg_view_str(at(kg_view_of(kg_msg_doc(sets, 0)), "metadata>managedFields>0>manager")),
                      "kube-controller-manager"));
  kg_msg_unref(sets);
  expect(c, "apps/v1/deployments", NS, "d", "status>conditions>type=ReplicaFailure>reason", "'FailedCreate'");
  pause_ms(300);
  told_at_most(c, "FailedCreate", 15); /* three in the first pass, one in each that follows */
  kg_msg_t *m = fetch(c, "apps/v1/deployments", NS, "d");
  kg_view_t failure = at(kg_view_of(kg_msg_doc(m, 0)), "status>conditions>type=ReplicaFailure");
  cr_assert(kg_view_type(at(failure, "lastUpdateTime")) == KG_V_STR, "%s", doc_json(m, 0));
  kg_msg_unref(m);
  patch(c, "v1/resourcequotas", NS, "q", NULL, "{'spec':{'hard':{'pods':'300'}}}");
  expect_count(c, "v1/pods", NS, "app=d", 200);
  expect(c, "apps/v1/deployments", NS, "d", "status>conditions>type=ReplicaFailure", NULL);
  told_at_most(c, "SuccessfulCreate", 25);
  cluster_free(c);
}

/* What has ended is counted though no more pods may be made; those counted do not use the quota any more. */
Test(refusals, a_job_beyond_the_quota) {
  cluster_t *c = cluster(2);
  make(c, "batch/v1/jobs", NS,
       "{'metadata':{'name':'j'},'spec':{'completions':4,'parallelism':4,'template':{'spec':{'restartPolicy':'Never',"
       "'containers':[{'name':'c','image':'i'}]}}}}");
  for (int i = 0; i < 2; i++) {
    expect(c, "batch/v1/jobs", NS, "j", "status>active", "2");
    kg_msg_t *m = list(c, "v1/pods", NS, NULL);
    for (size_t k = 0; k < kg_msg_ndocs(m); k++) {
      kg_view_t v = kg_view_of(kg_msg_doc(m, k));
      char *name = kg_str_dup(kube_name(v));
      if (!kg_str_is(kg_view_str(at(v, "status>phase")), "Succeeded")) finish_pod(c, NS, name, "Succeeded", 0);
      free(name);
    }
    kg_msg_unref(m);
    expect(c, "batch/v1/jobs", NS, "j", "status>succeeded", i ? "4" : "2");
  }
  expect(c, "batch/v1/jobs", NS, "j", "status>conditions>type=Complete>status", "'True'");
  cluster_free(c);
}

/* What is told again is counted in the Event there is, of however many objects; one that was deleted is made again. */
Test(refusals, events_repeated) {
  enum { MANY = 40 };
  cluster_t *c = cluster(100);
  for (int i = 0; i < MANY; i++)
    make(c, "apps/v1/deployments", NS,
         "{'metadata':{'name':'d%d'},'spec':{'replicas':0,'selector':{'matchLabels':{'app':'d%d'}},'template':"
         "{'metadata':{'labels':{'app':'d%d'}}," POD_SPEC "}}}",
         i, i, i);
  for (int replicas = 1, round = 0; round < 4; replicas = !replicas, round++)
    for (int pass = 0; pass < 2; pass++)
      for (int i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d", i);
        if (!pass) patch(c, "apps/v1/deployments", NS, name, NULL, "{'spec':{'replicas':%d}}", replicas);
        if (pass) expect(c, "apps/v1/deployments", NS, name, "status>replicas", replicas ? "1" : NULL);
      }
  pause_ms(100);
  int64_t told;
  cr_expect(events(c, "ScalingReplicaSet", &told) == 2 * MANY && told == 4 * MANY, "%lld", (long long)told);
  kg_msg_t *m = list(c, "v1/events", NS, NULL);
  for (size_t i = 0; i < kg_msg_ndocs(m); i++) {
    kg_view_t e = kg_view_of(kg_msg_doc(m, i));
    char *name = kg_str_dup(kube_name(e));
    if (kg_str_is(kg_view_str(at(e, "reason")), "ScalingReplicaSet")) del(c, "v1/events", NS, name, NULL);
    free(name);
  }
  kg_msg_unref(m);
  patch(c, "apps/v1/deployments", NS, "d7", NULL, "{'spec':{'replicas':1}}");
  expect_event(c, NS, "d7", "ScalingReplicaSet", NULL);
  cr_expect(events(c, "ScalingReplicaSet", &told) == 1 && told == 3, "%lld", (long long)told);
  cluster_free(c);
}
