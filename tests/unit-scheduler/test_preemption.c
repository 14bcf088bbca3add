/* A more important pod takes the place of less important ones. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "place.h"

/* What a pod asks for, and how important it is. */
static void important(cluster_t *c, const char *name, const char *class, const char *cpu, const char *more) {
  make(c, PODS, "default",
       "{'metadata':{'name':'%s','labels':{'app':'%s'}},'spec':{'priorityClassName':'%s','containers':[{'name':'c',"
       "'image':'i','resources':{'requests':{'cpu':'%s'}}}]%s}}",
       name, name, class, cpu, more);
}

static cluster_t *three_classes(void) {
  cluster_t *c = three_nodes();
  make(c, "scheduling.k8s.io/v1/priorityclasses", NULL, "{'metadata':{'name':'low'},'value':1}");
  make(c, "scheduling.k8s.io/v1/priorityclasses", NULL, "{'metadata':{'name':'medium'},'value':100}");
  make(c, "scheduling.k8s.io/v1/priorityclasses", NULL, "{'metadata':{'name':'high'},'value':1000}");
  return c;
}

#define ON(node) ",'nodeSelector':{'kubernetes.io/hostname':'" node "'}"

/* The nodes are full: low on a, medium on b and c. */
static cluster_t *full(void) {
  cluster_t *c = three_classes();
  important(c, "on-a", "low", "3", ON("a"));
  important(c, "on-b", "medium", "3", ON("b"));
  important(c, "on-c", "medium", "3", ON("c"));
  cr_assert(runs_on(c, "on-a", "a") && runs_on(c, "on-b", "b") && runs_on(c, "on-c", "c"));
  kubelet(c, "default");
  return c;
}

static void expect_deleting(cluster_t *c, const char *name) {
  expect(c, PODS, "default", name, "status>conditions>type=DisruptionTarget>reason", "'PreemptionByScheduler'");
  for (int i = 0; i < 1000; i++) {
    kg_msg_t *m = fetch(c, PODS, "default", name);
    bool deleting = m && kube_deleting(kg_view_of(kg_msg_doc(m, 0)));
    kg_msg_unref(m);
    if (deleting) return;
    pause_ms(10);
  }
  cr_assert(0, "%s is not being deleted", name);
}

static void expect_untouched(cluster_t *c, const char *name) {
  kg_msg_t *m = fetch(c, PODS, "default", name);
  cr_assert(m && !kube_deleting(kg_view_of(kg_msg_doc(m, 0))), "%s is gone or goes", name);
  kg_msg_unref(m);
}

Test(preemption, the_least_important_makes_room) {
  cluster_t *c = full();
  important(c, "vip", "high", "3", "");
  expect_deleting(c, "on-a");
  expect(c, PODS, "default", "on-a", "status>conditions>type=DisruptionTarget>message",
         "'default-scheduler: preempting to accommodate a higher priority pod'");
  expect(c, PODS, "default", "vip", "status>nominatedNodeName", "'a'");
  expect_waits(c, "vip", "0/3 nodes are available: 3 Insufficient cpu.");
  expect_event(c, "default", "on-a", "Preempted", NULL);
  expect_untouched(c, "on-b");
  expect_untouched(c, "on-c");
  kubelet(c, "default"); /* it ends */
  cr_assert(runs_on(c, "vip", "a"));
  expect(c, PODS, "default", "vip", "status>nominatedNodeName", NULL);
  cluster_free(c);
}

Test(preemption, nobody_goes_for_an_equal_or_who_may_not) {
  cluster_t *c = full();
  important(c, "equal", "low", "3", "");
  expect_waits(c, "equal",
               "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption "
               "victims found for incoming pod.");
  make(c, "scheduling.k8s.io/v1/priorityclasses", NULL,
       "{'metadata':{'name':'patient'},'value':2000,'preemptionPolicy':'Never'}");
  important(c, "patient", "patient", "3", "");
  expect_waits(c, "patient",
               "0/3 nodes are available: 3 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.");
  important(c, "huge", "high", "9", "");
  expect_waits(c, "huge",
               "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 Preemption is not "
               "helpful for scheduling.");
  expect_untouched(c, "on-a");
  cluster_free(c);
}

Test(preemption, a_promised_place_is_not_given_to_others) {
  cluster_t *c = full();
  important(c, "vip", "high", "3", "");
  expect_deleting(c, "on-a");
  expect(c, PODS, "default", "vip", "status>nominatedNodeName", "'a'");
  /* A pod of the same priority finds no room on a, though nobody is bound there any more when on-a is gone. */
  important(c, "late", "high", "2", ON("a"));
  expect(c, PODS, "default", "late", "status>conditions>type=PodScheduled>reason", "'Unschedulable'");
  kubelet(c, "default");
  cr_assert(runs_on(c, "vip", "a"));
  pause_ms(100);
  expect(c, PODS, "default", "late", "spec>nodeName", NULL);
  cluster_free(c);
}

Test(preemption, it_waits_for_those_that_end_and_asks_for_no_more) {
  cluster_t *c = full();
  important(c, "vip", "high", "3", "");
  expect_deleting(c, "on-a");
  /* Something happens that makes the scheduler look again. */
  patch(c, "v1/nodes", NULL, "b", "status", "{'status':{'allocatable':{'cpu':'5','memory':'8Gi','pods':'110'}}}");
  expect_waits(c, "vip",
               "0/3 nodes are available: 3 Insufficient cpu. preemption: not eligible due to a terminating pod on the "
               "nominated node.");
  expect_untouched(c, "on-b");
  expect_untouched(c, "on-c");
  cluster_free(c);
}

Test(preemption, budgets_are_kept_where_they_can_be) {
  cluster_t *c = full();
  make(c, "policy/v1/poddisruptionbudgets", "default",
       "{'metadata':{'name':'b'},'spec':{'minAvailable':1,'selector':{'matchLabels':{'app':'on-a'}}}}");
  expect(c, "policy/v1/poddisruptionbudgets", "default", "b", "status>currentHealthy", "1");
  pause_ms(50);
  important(c, "vip", "high", "3", ",'nodeSelector':{'zone':'1'}");
  expect_deleting(c, "on-b");
  expect_untouched(c, "on-a");
  cluster_free(c);
}

Test(preemption, who_keeps_others_away_goes) {
  cluster_t *c = three_classes();
  important(c, "loner", "low", "1",
            ON("c") ",'affinity':{'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey':"
                    "'zone','labelSelector':{'matchLabels':{'app':'vip'}}}]}}");
  important(c, "other", "low", "1", ON("c"));
  cr_assert(runs_on(c, "loner", "c") && runs_on(c, "other", "c"));
  kubelet(c, "default");
  important(c, "vip", "high", "1", ",'nodeSelector':{'zone':'2'}");
  expect_deleting(c, "loner");
  expect_untouched(c, "other");
  kubelet(c, "default");
  cr_assert(runs_on(c, "vip", "c"));
  cluster_free(c);
}
