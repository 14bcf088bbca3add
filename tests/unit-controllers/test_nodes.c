#include <criterion/criterion.h>

#include "harness.h"

static void node(cluster_t *c, const char *name) {
  make(c, "v1/nodes", NULL,
       "{'metadata':{'name':'%s'},'status':{'conditions':[{'type':'Ready','status':'True','reason':'KubeletReady',"
       "'lastHeartbeatTime':'2026-01-01T00:00:00Z','lastTransitionTime':'2026-01-01T00:00:00Z'}]}}",
       name);
}

static cluster_t *nodes(const char *config) {
  cluster_t *c =
      cluster_new(config, (const char *const[]){"controller-serviceaccount", "controller-nodelifecycle", NULL});
  expect_there(c, "v1/serviceaccounts", "default", "default");
  node(c, "a");
  node(c, "b");
  return c;
}

static void pod_on(cluster_t *c, const char *name, const char *node, const char *tolerations) {
  make(c, "v1/pods", "default",
       "{'metadata':{'name':'%s'},'spec':{'nodeName':'%s','tolerations':[%s],'containers':[{'name':'c','image':'i'}]}}",
       name, node, tolerations);
}

static void set_ready(cluster_t *c, const char *node, const char *status) {
  patch(c, "v1/nodes", NULL, node, "status",
        "{'status':{'conditions':[{'type':'Ready','status':'%s','lastHeartbeatTime':'2026-01-01T00:00:05Z'}]}}",
        status);
}

Test(nodes, a_silent_node_becomes_unknown_and_comes_back) {
  cluster_t *c = nodes("{\"nodeMonitorGracePeriodMs\":300}");
  pod_on(c, "p", "a", "");
  kubelet(c, "default");
  for (int i = 0; i < 8; i++) { /* b goes on saying that it lives */
    patch(c, "v1/nodes", NULL, "b", "status",
          "{'status':{'conditions':[{'type':'Ready','status':'True','lastHeartbeatTime':'2026-01-01T00:01:0%dZ'}]}}",
          i);
    pause_ms(100);
  }
  expect(c, "v1/nodes", NULL, "a", "status>conditions>type=Ready>status", "'Unknown'");
  expect(c, "v1/nodes", NULL, "a", "status>conditions>type=Ready>reason", "'NodeStatusUnknown'");
  expect(c, "v1/nodes", NULL, "a", "status>conditions>type=Ready>message", "'Kubelet stopped posting node status.'");
  expect(c, "v1/nodes", NULL, "a", "status>conditions>type=DiskPressure>reason", "'NodeStatusNeverUpdated'");
  expect(c, "v1/nodes", NULL, "a", "spec>taints>key=node.kubernetes.io/unreachable>effect", "'NoSchedule'");
  expect(c, "v1/pods", "default", "p", "status>conditions>type=Ready>status", "'False'");
  expect_event(c, "default", "a", "NodeNotReady", "Node a status is now: NodeNotReady");
  expect_event(c, "default", "p", "NodeNotReady", "Node is not ready");
  set_ready(c, "a", "True");
  expect(c, "v1/nodes", NULL, "a", "spec>taints", NULL);
  cluster_free(c);
}

Test(nodes, a_lease_is_a_sign_of_life) {
  cluster_t *c = nodes("{\"nodeMonitorGracePeriodMs\":400}");
  make(c, "coordination.k8s.io/v1/leases", "kube-node-lease",
       "{'metadata':{'name':'a'},'spec':{'renewTime':'2026-01-01T00:00:00.000000Z'}}");
  for (int i = 0; i < 9; i++) {
    patch(c, "coordination.k8s.io/v1/leases", "kube-node-lease", "a", NULL,
          "{'spec':{'renewTime':'2026-01-01T00:00:0%d.100000Z'}}", i);
    pause_ms(100);
  }
  expect(c, "v1/nodes", NULL, "a", "status>conditions>type=Ready>status", "'True'");
  expect(c, "v1/nodes", NULL, "b", "status>conditions>type=Ready>status", "'Unknown'");
  cluster_free(c);
}

Test(nodes, conditions_become_taints) {
  cluster_t *c = nodes(NULL);
  patch(c, "v1/nodes", NULL, "a", NULL, "{'spec':{'unschedulable':true,'taints':[{'key':'k','effect':'NoSchedule'}]}}");
  expect(c, "v1/nodes", NULL, "a", "spec>taints>key=node.kubernetes.io/unschedulable>effect", "'NoSchedule'");
  patch(c, "v1/nodes", NULL, "a", "status",
        "{'status':{'conditions':[{'type':'Ready','status':'True'},{'type':'MemoryPressure','status':'True'}]}}");
  expect(c, "v1/nodes", NULL, "a", "spec>taints>key=node.kubernetes.io/memory-pressure>effect", "'NoSchedule'");
  patch(c, "v1/nodes", NULL, "a", NULL, "{'spec':{'unschedulable':null}}");
  expect(c, "v1/nodes", NULL, "a", "spec>taints>key=node.kubernetes.io/unschedulable", NULL);
  expect(c, "v1/nodes", NULL, "a", "spec>taints>key=k>effect", "'NoSchedule'");
  expect_event(c, "default", "a", "RegisteredNode", "Node a event: Registered Node a in Controller");
  cluster_free(c);
}

Test(nodes, pods_leave_a_node_that_is_not_ready) {
  cluster_t *c = nodes(NULL);
  pod_on(c, "at-once", "a",
         "{'key':'node.kubernetes.io/not-ready','operator':'Exists','effect':'NoExecute','tolerationSeconds':0}");
  pod_on(c, "soon", "a",
         "{'key':'node.kubernetes.io/not-ready','operator':'Exists','effect':'NoExecute','tolerationSeconds':2}");
  pod_on(c, "never", "a", "{'operator':'Exists'}");
  pod_on(c, "elsewhere", "b", "");
  set_ready(c, "a", "False");
  expect(c, "v1/pods", "default", "at-once", "status>conditions>type=DisruptionTarget>reason",
         "'DeletionByTaintManager'");
  expect(c, "v1/pods", "default", "at-once", "metadata>deletionGracePeriodSeconds", "30");
  expect(c, "v1/pods", "default", "soon", "metadata>deletionTimestamp", NULL);
  expect(c, "v1/pods", "default", "soon", "metadata>deletionGracePeriodSeconds", "30");
  expect_event(c, "default", "soon", "TaintManagerEviction", "Marking for deletion Pod default/soon");
  expect(c, "v1/pods", "default", "never", "metadata>deletionTimestamp", NULL);
  expect(c, "v1/pods", "default", "elsewhere", "metadata>deletionTimestamp", NULL);
  cluster_free(c);
}

Test(nodes, an_eviction_is_called_off) {
  cluster_t *c = nodes(NULL);
  pod_on(c, "p", "a",
         "{'key':'node.kubernetes.io/not-ready','operator':'Exists','effect':'NoExecute','tolerationSeconds':2}");
  set_ready(c, "a", "False");
  expect(c, "v1/nodes", NULL, "a", "spec>taints>0>key", "'node.kubernetes.io/not-ready'");
  pause_ms(100);
  set_ready(c, "a", "True");
  expect_event(c, "default", "p", "TaintManagerEviction", "Cancelling deletion of Pod default/p");
  pause_ms(2300);
  expect(c, "v1/pods", "default", "p", "metadata>deletionTimestamp", NULL);
  cluster_free(c);
}

Test(nodes, nothing_is_evicted_when_no_node_is_ready) {
  cluster_t *c = nodes(NULL);
  pod_on(c, "p", "a",
         "{'key':'node.kubernetes.io/not-ready','operator':'Exists','effect':'NoExecute','tolerationSeconds':1}");
  set_ready(c, "b", "False");
  set_ready(c, "a", "False");
  expect(c, "v1/nodes", NULL, "a", "spec>taints>0>effect", "'NoSchedule'");
  pause_ms(1300);
  expect(c, "v1/nodes", NULL, "b", "spec>taints>1", NULL);
  expect(c, "v1/pods", "default", "p", "metadata>deletionTimestamp", NULL);
  cluster_free(c);
}
