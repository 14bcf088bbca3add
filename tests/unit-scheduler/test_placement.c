/* Where pods go: affinity, anti-affinity, spreading and the scores of the default scheduler. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "place.h"

#define REQUIRED "requiredDuringSchedulingIgnoredDuringExecution"
#define PREFERRED "preferredDuringSchedulingIgnoredDuringExecution"
#define TERM(key, app) "{'topologyKey':'" key "','labelSelector':{'matchLabels':{'app':'" app "'}}}"
#define AFFINE(kind, term) ",'affinity':{'" kind "':{'" REQUIRED "':[" term "]}}"
#define AVOID_SELF AFFINE("podAntiAffinity", TERM("kubernetes.io/hostname", "web"))

#define NO_VICTIMS "No preemption victims found for incoming pod."
#define NO_VICTIMS_AND "No preemption victims found for incoming pod,"
#define HOPELESS " preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
#define ONE_HOPELESS " preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 " NO_VICTIMS

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
  expect_waits(c, "p", "0/3 nodes are available: 3 node(s) didn't match pod affinity rules." HOPELESS);
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
  expect_waits(c, "own", "0/3 nodes are available: 3 node(s) didn't match pod affinity rules." HOPELESS);
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
  expect_waits(c, "p3",
               "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules. preemption: 0/3 nodes are "
               "available: 3 " NO_VICTIMS);
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
               "satisfy existing pods anti-affinity rules." ONE_HOPELESS);
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
               "match pod topology spread constraints." ONE_HOPELESS);
  pod(c, "p2", "web", SPREAD("rack", "1", "DoNotSchedule"));
  expect_waits(c, "p2",
               "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints (missing required "
               "label)." HOPELESS);
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
  expect_waits(c, "big",
               "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 " NO_VICTIMS);
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
      "match Pod's node affinity/selector. preemption: 0/3 nodes are available: 1 " NO_VICTIMS_AND
      " 2 Preemption is not helpful for scheduling.");
  cluster_free(c);
}

/* --- why not ------------------------------------------------------------------------------------------------------ */

Test(reasons, all_that_a_node_lacks_is_told) {
  cluster_t *c = three_nodes();
  patch(c, "v1/nodes", NULL, "c", NULL, "{'spec':{'taints':[{'key':'k','value':'v','effect':'NoSchedule'}]}}");
  patch(c, "v1/nodes", NULL, "b", NULL, "{'spec':{'unschedulable':true}}");
  pause_ms(50); /* the scheduler has seen it */
  wants(c, "big", "{'cpu':'5','memory':'9Gi'}", "");
  expect_waits(c, "big",
               "0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 "
               "node(s) had untolerated taint(s), 1 node(s) were unschedulable. preemption: 0/3 nodes are available: 3 "
               "Preemption is not helpful for scheduling.");
  wants(c, "named", "{'cpu':'5'}",
        ",'affinity':{'nodeAffinity':{'" REQUIRED "':{'nodeSelectorTerms':[{'matchFields':[{'key':'metadata.name',"
        "'operator':'In','values':['a']}]}]}}}");
  expect_waits(c, "named",
               "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. "
               "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.");
  cluster_free(c);
}

Test(taints, an_unschedulable_node_takes_those_that_tolerate_it) {
  cluster_t *c = three_nodes();
  patch(c, "v1/nodes", NULL, "c", NULL, "{'spec':{'unschedulable':true}}");
  pause_ms(50);
  wants(c, "other-effect", "{}",
        ",'nodeSelector':{'zone':'2'},'tolerations':[{'key':'node.kubernetes.io/unschedulable','operator':'Exists',"
        "'effect':'NoExecute'}]");
  expect(c, PODS, "default", "other-effect", "status>conditions>type=PodScheduled>reason", "'Unschedulable'");
  wants(
      c, "tolerates", "{}",
      ",'nodeSelector':{'zone':'2'},'tolerations':[{'key':'node.kubernetes.io/unschedulable','effect':'NoSchedule'}]");
  cr_assert(runs_on(c, "tolerates", "c"));
  cluster_free(c);
}

Test(resources, what_the_whole_pod_asks_for_stands_above_its_containers) {
  cluster_t *c = three_nodes();
  wants(c, "more", "{'cpu':'1'}", ",'resources':{'requests':{'cpu':'5'}}");
  expect(c, PODS, "default", "more", "status>conditions>type=PodScheduled>reason", "'Unschedulable'");
  make(c, PODS, "default",
       "{'metadata':{'name':'sidecars'},'spec':{'initContainers':[{'name':'s','image':'i','restartPolicy':'Always',"
       "'resources':{'requests':{'cpu':'2'}}},{'name':'i','image':'i','resources':{'requests':{'cpu':'3'}}}],"
       "'containers':[{'name':'c','image':'i','resources':{'requests':{'cpu':'1'}}}]}}");
  expect(c, PODS, "default", "sidecars", "status>conditions>type=PodScheduled>reason", "'Unschedulable'");
  cluster_free(c);
}

Test(queue, a_pod_that_tolerates_more_now_is_tried_at_once) {
  cluster_t *c = three_nodes();
  patch(c, "v1/nodes", NULL, "c", NULL, "{'spec':{'taints':[{'key':'k','value':'v','effect':'NoSchedule'}]}}");
  pause_ms(50);
  pod(c, "p", "web", ",'nodeSelector':{'zone':'2'}");
  expect(c, PODS, "default", "p", "status>conditions>type=PodScheduled>reason", "'Unschedulable'");
  patch(c, PODS, "default", "p", NULL,
        "{'spec':{'tolerations':[{'key':'k','operator':'Exists'},{'key':'node.kubernetes.io/not-ready','operator':"
        "'Exists','effect':'NoExecute','tolerationSeconds':300},{'key':'node.kubernetes.io/unreachable','operator':"
        "'Exists','effect':'NoExecute','tolerationSeconds':300}]}}");
  cr_assert(runs_on(c, "p", "c"));
  cluster_free(c);
}

Test(gates, a_gated_pod_says_so_and_goes_when_its_gates_do) {
  cluster_t *c = three_nodes();
  pod(c, "p", "web", ",'schedulingGates':[{'name':'example.com/wait'}]");
  expect(c, PODS, "default", "p", "status>conditions>type=PodScheduled>reason", "'SchedulingGated'");
  pause_ms(100);
  expect(c, PODS, "default", "p", "spec>nodeName", NULL);
  patch(c, PODS, "default", "p", NULL, "{'spec':{'schedulingGates':null}}");
  char n[64];
  node_of(c, "p", n);
  expect(c, PODS, "default", "p", "status>conditions>type=PodScheduled>status", "'True'");
  cluster_free(c);
}
