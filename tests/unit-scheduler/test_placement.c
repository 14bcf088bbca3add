/* Where pods go: affinity, anti-affinity, spreading and the scores of the default scheduler. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "kube/values.h"

#define PODS "v1/pods"
#define CONTAINER "'containers':[{'name':'c','image':'i'}]"

static void node(cluster_t *c, const char *name, const char *zone, int cpu) {
  make(c, "v1/nodes", NULL, "{'metadata':{'name':'%s','labels':{'kubernetes.io/hostname':'%s','zone':'%s'}}}", name,
       name, zone);
  patch(c, "v1/nodes", NULL, name, NULL, "{'spec':{'taints':null}}"); /* that of the new */
  patch(c, "v1/nodes", NULL, name, "status", "{'status':{'allocatable':{'cpu':'%d','memory':'8Gi','pods':'110'}}}",
        cpu);
}

/* Nodes a and b in zone 1, c in zone 2. */
static cluster_t *three_nodes(void) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "scheduler-default", NULL});
  expect_there(c, "v1/serviceaccounts", "default", "default");
  node(c, "a", "1", 4);
  node(c, "b", "1", 4);
  node(c, "c", "2", 4);
  return c;
}

static void pod(cluster_t *c, const char *name, const char *app, const char *more) {
  make(c, PODS, "default", "{'metadata':{'name':'%s','labels':{'app':'%s'}},'spec':{" CONTAINER "%s}}", name, app,
       more);
}

/* The node the pod is bound to, once it is. */
static void node_of(cluster_t *c, const char *name, char out[64]) {
  for (int i = 0; i < 1000; i++) {
    kg_msg_t *m = fetch(c, PODS, "default", name);
    cr_assert(m, "pod %s is gone", name);
    kg_str_t n = kg_view_str(at(kg_view_of(kg_msg_doc(m, 0)), "spec>nodeName"));
    snprintf(out, 64, KG_STR_FMT, KG_STR_ARG(n));
    kg_msg_unref(m);
    if (*out) return;
    pause_ms(10);
  }
  cr_assert(0, "pod %s was not bound in 10 s", name);
}

static bool runs_on(cluster_t *c, const char *name, const char *want) {
  char got[64];
  node_of(c, name, got);
  return strcmp(got, want) == 0;
}

/* In the harness's JSON a ' is a quote: one of the text is written as its code. */
static void expect_waits(cluster_t *c, const char *name, const char *why) {
  char want[600] = "'";
  for (; *why; why++) snprintf(want + strlen(want), 8, *why == '\'' ? "\\u0027" : "%c", *why);
  strcat(want, "'");
  expect(c, PODS, "default", name, "status>conditions>type=PodScheduled>message", want);
}

#define REQUIRED "requiredDuringSchedulingIgnoredDuringExecution"
#define PREFERRED "preferredDuringSchedulingIgnoredDuringExecution"
#define TERM(key, app) "{'topologyKey':'" key "','labelSelector':{'matchLabels':{'app':'" app "'}}}"
#define AFFINE(kind, term) ",'affinity':{'" kind "':{'" REQUIRED "':[" term "]}}"
#define AVOID_SELF AFFINE("podAntiAffinity", TERM("kubernetes.io/hostname", "web"))

Test(affinity, goes_where_its_friend_is) {
  cluster_t *c = three_nodes();
  pod(c, "friend", "db", ",'nodeSelector':{'zone':'2'}");
  cr_assert(runs_on(c, "friend", "c"));
  pod(c, "p", "web", AFFINE("podAffinity", TERM("zone", "db")));
  cr_assert(runs_on(c, "p", "c"));
  cluster_free(c);
}

Test(affinity, waits_for_a_friend_and_goes_when_it_comes) {
  cluster_t *c = three_nodes();
  pod(c, "p", "web", AFFINE("podAffinity", TERM("zone", "db")));
  expect_waits(c, "p", "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
  expect_event(c, "default", "p", "FailedScheduling", NULL);
  pod(c, "friend", "db", ",'nodeSelector':{'kubernetes.io/hostname':'c'}");
  cr_assert(runs_on(c, "p", "c"));
  cluster_free(c);
}

Test(affinity, the_first_of_a_group_goes_anywhere_the_others_follow) {
  cluster_t *c = three_nodes();
  char first[64], next[64];
  pod(c, "p1", "web", AFFINE("podAffinity", TERM("kubernetes.io/hostname", "web")));
  node_of(c, "p1", first);
  for (int i = 2; i < 5; i++) {
    char name[8];
    snprintf(name, sizeof name, "p%d", i);
    pod(c, name, "web", AFFINE("podAffinity", TERM("kubernetes.io/hostname", "web")));
    node_of(c, name, next);
    cr_assert_str_eq(next, first);
  }
  cluster_free(c);
}

Test(affinity, other_namespaces_count_when_they_are_named_or_selected) {
  cluster_t *c = three_nodes();
  make(c, "v1/namespaces", NULL, "{'metadata':{'name':'other','labels':{'team':'x'}}}");
  expect_there(c, "v1/serviceaccounts", "other", "default");
  make(c, PODS, "other", "{'metadata':{'name':'friend','labels':{'app':'db'}},'spec':{'nodeName':'c'," CONTAINER "}}");
  pod(c, "own", "web", AFFINE("podAffinity", TERM("zone", "db")));
  expect_waits(c, "own", "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
  pod(c, "named", "web",
      AFFINE("podAffinity",
             "{'topologyKey':'zone','namespaces':['other'],'labelSelector':{'matchLabels':{'app':'db'}}}"));
  cr_assert(runs_on(c, "named", "c"));
  pod(c, "selected", "web",
      AFFINE("podAffinity", "{'topologyKey':'zone','namespaceSelector':{'matchLabels':{'team':'x'}},"
                            "'labelSelector':{'matchLabels':{'app':'db'}}}"));
  cr_assert(runs_on(c, "selected", "c"));
  cluster_free(c);
}

Test(anti_affinity, one_on_each_node_and_no_more) {
  cluster_t *c = three_nodes();
  char n[3][64];
  pod(c, "p0", "web", AVOID_SELF);
  pod(c, "p1", "web", AVOID_SELF);
  pod(c, "p2", "web", AVOID_SELF);
  node_of(c, "p0", n[0]), node_of(c, "p1", n[1]), node_of(c, "p2", n[2]);
  cr_assert(strcmp(n[0], n[1]) != 0 && strcmp(n[1], n[2]) != 0 && strcmp(n[0], n[2]) != 0);
  pod(c, "p3", "web", AVOID_SELF);
  expect_waits(c, "p3", "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.");
  del(c, PODS, "default", "p1", NULL);
  kubelet(c, "default");
  cr_assert(runs_on(c, "p3", n[1]), "it takes the place that became free");
  cluster_free(c);
}

Test(anti_affinity, those_that_are_there_keep_others_away) {
  cluster_t *c = three_nodes();
  pod(c, "loner", "db", ",'nodeSelector':{'zone':'1'}" AFFINE("podAntiAffinity", TERM("zone", "web")));
  char n[64];
  node_of(c, "loner", n);
  pod(c, "p", "web", "");
  cr_assert(runs_on(c, "p", "c"));
  pod(c, "q", "web", ",'nodeSelector':{'zone':'1'}");
  expect_waits(c, "q",
               "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 node(s) didn't "
               "satisfy existing pods anti-affinity rules.");
  cluster_free(c);
}

Test(affinity, preferences_win_over_room) {
  cluster_t *c = three_nodes();
  pod(c, "friend", "db", ",'nodeSelector':{'kubernetes.io/hostname':'b'}");
  cr_assert(runs_on(c, "friend", "b"));
  pod(c, "p", "web",
      ",'affinity':{'podAffinity':{'" PREFERRED
      "':[{'weight':100,'podAffinityTerm':" TERM("kubernetes.io/hostname", "db") "}]}}");
  cr_assert(runs_on(c, "p", "b"));
  pod(c, "q", "web",
      ",'affinity':{'nodeAffinity':{'" PREFERRED
      "':[{'weight':1,'preference':{'matchExpressions':[{'key':'zone','operator':"
      "'In','values':['2']}]}}]}}");
  cr_assert(runs_on(c, "q", "c"));
  cluster_free(c);
}

#define SPREAD(key, skew, when)                                                                                        \
  ",'topologySpreadConstraints':[{'maxSkew':" skew ",'topologyKey':'" key "','whenUnsatisfiable':'" when               \
  "','labelSelector':{'matchLabels':{'app':'web'}}}]"

Test(spread, zones_stay_level) {
  cluster_t *c = three_nodes();
  int in_c = 0;
  for (int i = 0; i < 6; i++) {
    char name[8], n[64];
    snprintf(name, sizeof name, "p%d", i);
    pod(c, name, "web", SPREAD("zone", "1", "DoNotSchedule"));
    node_of(c, name, n);
    in_c += strcmp(n, "c") == 0;
  }
  cr_assert(in_c == 3, "%d of 6 are in the zone of one node", in_c);
  cluster_free(c);
}

Test(spread, refuses_what_would_tilt) {
  cluster_t *c = three_nodes();
  pod(c, "p0", "web", ",'nodeSelector':{'zone':'1'}" SPREAD("zone", "1", "DoNotSchedule"));
  char n[64];
  node_of(c, "p0", n);
  /* It may only go to zone 1, which has one more than zone 2 when its own selector is left out of the count. */
  pod(c, "p1", "web",
      ",'nodeSelector':{'zone':'1'},'topologySpreadConstraints':[{'maxSkew':1,'topologyKey':'zone','whenUnsatisfiable':"
      "'DoNotSchedule','nodeAffinityPolicy':'Ignore','labelSelector':{'matchLabels':{'app':'web'}}}]");
  expect_waits(c, "p1",
               "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 node(s) didn't "
               "match pod topology spread constraints.");
  pod(c, "p2", "web", SPREAD("rack", "1", "DoNotSchedule"));
  expect_waits(c, "p2",
               "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints (missing required "
               "label).");
  cluster_free(c);
}

Test(spread, preferred_where_it_can_be) {
  cluster_t *c = three_nodes();
  char n[3][64];
  for (int i = 0; i < 3; i++) {
    char name[8];
    snprintf(name, sizeof name, "p%d", i);
    pod(c, name, "web", SPREAD("kubernetes.io/hostname", "1", "ScheduleAnyway"));
    node_of(c, name, n[i]);
  }
  cr_assert(strcmp(n[0], n[1]) != 0 && strcmp(n[1], n[2]) != 0 && strcmp(n[0], n[2]) != 0);
  cluster_free(c);
}

/* Room alone would put all on the big node. */
Test(spread, pods_of_one_controller_without_asking) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "scheduler-default", NULL});
  expect_there(c, "v1/serviceaccounts", "default", "default");
  node(c, "big", "1", 64);
  node(c, "small", "1", 8);
  int small = 0;
  for (int i = 0; i < 6; i++) {
    char name[8], n[64];
    snprintf(name, sizeof name, "p%d", i);
    make(c, PODS, "default",
         "{'metadata':{'name':'%s','ownerReferences':[{'apiVersion':'apps/"
         "v1','kind':'ReplicaSet','name':'r','uid':'u-1',"
         "'controller':true}]},'spec':{" CONTAINER "}}",
         name);
    node_of(c, name, n);
    small += strcmp(n, "small") == 0;
  }
  cr_assert(small >= 2 && small <= 4, "%d of 6 on the small node", small);
  cluster_free(c);
}

Test(scores, soft_taints_are_avoided) {
  cluster_t *c = three_nodes();
  patch(c, "v1/nodes", NULL, "a", NULL, "{'spec':{'taints':[{'key':'k','effect':'PreferNoSchedule'}]}}");
  patch(c, "v1/nodes", NULL, "b", NULL, "{'spec':{'taints':[{'key':'k','effect':'PreferNoSchedule'}]}}");
  pause_ms(50); /* the scheduler has seen them */
  pod(c, "p", "web", "");
  cr_assert(runs_on(c, "p", "c"));
  cluster_free(c);
}

Test(queue, the_more_important_first) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "scheduler-default", NULL});
  expect_there(c, "v1/serviceaccounts", "default", "default");
  make(c, "scheduling.k8s.io/v1/priorityclasses", NULL, "{'metadata':{'name':'high'},'value':1000}");
  pod(c, "low", "web", "");
  make(c, PODS, "default",
       "{'metadata':{'name':'high'},'spec':{'priorityClassName':'high','containers':[{'name':'c','image':'i',"
       "'resources':{'requests':{'cpu':'3'}}}]}}");
  make(c, PODS, "default",
       "{'metadata':{'name':'big'},'spec':{'containers':[{'name':'c','image':'i',"
       "'resources':{'requests':{'cpu':'3'}}}]}}");
  expect(c, PODS, "default", "big", "status>conditions>type=PodScheduled>reason", "'Unschedulable'");
  node(c, "a", "1", 4);
  cr_assert(runs_on(c, "high", "a"));
  expect_waits(c, "big", "0/1 nodes are available: 1 Insufficient cpu.");
  cluster_free(c);
}

#define HOST_PORT(more) "{'name':'c','image':'i','ports':[{'containerPort':80,'hostPort':8080" more "}]}"

static void port_pod(cluster_t *c, const char *name, const char *container) {
  make(c, PODS, "default",
       "{'metadata':{'name':'%s'},'spec':{'nodeSelector':{'kubernetes.io/hostname':'a'},'containers':[%s]}}", name,
       container);
}

Test(host_ports, clash_on_the_same_address_and_protocol) {
  cluster_t *c = three_nodes();
  port_pod(c, "one", HOST_PORT(",'hostIP':'127.0.0.1'"));
  cr_assert(runs_on(c, "one", "a"));
  port_pod(c, "other-address", HOST_PORT(",'hostIP':'10.0.0.1'"));
  cr_assert(runs_on(c, "other-address", "a"));
  port_pod(c, "other-protocol", HOST_PORT(",'hostIP':'127.0.0.1','protocol':'UDP'"));
  cr_assert(runs_on(c, "other-protocol", "a"));
  port_pod(c, "all-addresses", HOST_PORT(""));
  expect_waits(
      c, "all-addresses",
      "0/3 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 2 node(s) didn't "
      "match Pod's node affinity/selector.");
  cluster_free(c);
}
