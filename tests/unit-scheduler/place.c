#include "place.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

void node(cluster_t *c, const char *name, const char *zone, int cpu) {
  make(c, "v1/nodes", NULL, "{'metadata':{'name':'%s','labels':{'kubernetes.io/hostname':'%s','zone':'%s'}}}", name,
       name, zone);
  patch(c, "v1/nodes", NULL, name, NULL, "{'spec':{'taints':null}}"); /* that of the new */
  patch(c, "v1/nodes", NULL, name, "status", "{'status':{'allocatable':{'cpu':'%d','memory':'8Gi','pods':'110'}}}",
        cpu);
}

/* Nodes a and b in zone 1, c in zone 2. */
cluster_t *three_nodes(void) {
  cluster_t *c = cluster_new(
      NULL, (const char *const[]){"controller-serviceaccount", "controller-disruption", "scheduler-default", NULL});
  expect_there(c, "v1/serviceaccounts", "default", "default");
  node(c, "a", "1", 4);
  node(c, "b", "1", 4);
  node(c, "c", "2", 4);
  return c;
}

void pod(cluster_t *c, const char *name, const char *app, const char *more) {
  make(c, PODS, "default", "{'metadata':{'name':'%s','labels':{'app':'%s'}},'spec':{" CONTAINER "%s}}", name, app,
       more);
}

/* The node the pod is bound to, once it is. */
void node_of(cluster_t *c, const char *name, char out[64]) {
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

bool runs_on(cluster_t *c, const char *name, const char *want) {
  char got[64];
  node_of(c, name, got);
  return strcmp(got, want) == 0;
}

/* In the harness's JSON a ' is a quote: quotes of the text are written as their codes. */
void expect_waits(cluster_t *c, const char *name, const char *why) {
  char want[600] = "'";
  for (; *why; why++) snprintf(want + strlen(want), 8, strchr("'\"", *why) ? "\\u%04x" : "%c", *why);
  strcat(want, "'");
  expect(c, PODS, "default", name, "status>conditions>type=PodScheduled>message", want);
}

void wants(cluster_t *c, const char *name, const char *requests, const char *more) {
  make(c, PODS, "default",
       "{'metadata':{'name':'%s'},'spec':{'containers':[{'name':'c','image':'i','resources':{'requests':%s}}]%s}}",
       name, requests, more);
}
