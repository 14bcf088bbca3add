#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "kube/values.h"

#define NS "default"
#define SLICES "discovery.k8s.io/v1/endpointslices"
#define OF_S "kubernetes.io/service-name=s"

static cluster_t *cluster(void) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "controller-endpoints", NULL});
  expect_there(c, "v1/serviceaccounts", NS, "default");
  return c;
}

static void pod(cluster_t *c, const char *name, const char *label) {
  make(c, "v1/pods", NS,
       "{'metadata':{'name':'%s','labels':{'app':'%s'}},'spec':{'nodeName':'n','containers':[{'name':'c','image':'i',"
       "'ports':[{'name':'web','containerPort':8080}]}]}}",
       name, label);
}

static void service(cluster_t *c, const char *more) {
  make(c, "v1/services", NS,
       "{'metadata':{'name':'s','labels':{'x':'y'}},'spec':{%s'ports':[{'name':'http','port':80,'targetPort':'web'}]}}",
       more);
}

/* Name of the only slice of the service; caller frees. */
static char *slice(cluster_t *c) {
  expect_count(c, SLICES, NS, OF_S, 1);
  kg_msg_t *m = list(c, SLICES, NS, OF_S);
  char *name = kg_str_dup(kube_name(kg_view_of(kg_msg_doc(m, 0))));
  kg_msg_unref(m);
  return name;
}

static void expect_slice(cluster_t *c, const char *path, const char *want) {
  char *name = slice(c);
  expect(c, SLICES, NS, name, path, want);
  free(name);
}

Test(endpoints, follow_the_pods) {
  cluster_t *c = cluster();
  service(c, "'selector':{'app':'a'},");
  expect_slice(c, "endpoints", "null");
  expect_slice(c, "metadata>labels>x", "'y'");
  expect(c, "v1/endpoints", NS, "s", "subsets", NULL);
  pod(c, "p-a", "a");
  pod(c, "p-b", "other");
  patch(c, "v1/pods", NS, "p-a", "status",
        "{'status':{'phase':'Running','podIP':'10.0.0.1','podIPs':[{'ip':'10.0.0.1'}]}}");
  expect_slice(c, "endpoints>0>addresses>0", "'10.0.0.1'");
  expect_slice(c, "endpoints>0>conditions>ready", "false");
  expect_slice(c, "endpoints>0>nodeName", "'n'");
  expect_slice(c, "endpoints>0>targetRef>name", "'p-a'");
  expect_slice(c, "ports>0>port", "8080");
  expect_slice(c, "ports>0>name", "'http'");
  expect(c, "v1/endpoints", NS, "s", "subsets>0>notReadyAddresses>0>ip", "'10.0.0.1'");
  patch(c, "v1/pods", NS, "p-a", "status", "{'status':{'conditions':[{'type':'Ready','status':'True'}]}}");
  expect_slice(c, "endpoints>0>conditions>ready", "true");
  expect(c, "v1/endpoints", NS, "s", "subsets>0>addresses>0>ip", "'10.0.0.1'");
  expect(c, "v1/endpoints", NS, "s", "subsets>0>notReadyAddresses", NULL);
  del(c, "v1/pods", NS, "p-a", NULL);
  expect_slice(c, "endpoints>0>conditions>terminating", "true");
  expect_slice(c, "endpoints>0>conditions>serving", "true");
  expect_slice(c, "endpoints>0>conditions>ready", "false");
  expect(c, "v1/endpoints", NS, "s", "subsets", NULL);
  kubelet(c, NS);
  expect_slice(c, "endpoints", "null");
  del(c, "v1/services", NS, "s", NULL);
  expect_gone(c, "v1/endpoints", NS, "s");
  cluster_free(c);
}

Test(endpoints, slices_of_a_hundred) {
  cluster_t *c = cluster();
  service(c, "'selector':{'app':'a'},");
  for (int i = 0; i < 130; i++) {
    char name[16];
    snprintf(name, sizeof name, "p%03d", i);
    pod(c, name, "a");
    patch(c, "v1/pods", NS, name, "status",
          "{'status':{'phase':'Running','podIP':'10.0.1.%d','podIPs':[{'ip':'10.0.1.%d'}]}}", i, i);
  }
  expect_count(c, SLICES, NS, OF_S, 2);
  size_t sum = 0;
  for (int t = 0; t < 300 && sum != 130; t++) {
    kg_msg_t *m = list(c, SLICES, NS, OF_S);
    sum = 0;
    for (size_t i = 0; i < kg_msg_ndocs(m); i++) {
      size_t n = kg_view_count(at(kg_view_of(kg_msg_doc(m, i)), "endpoints"));
      cr_assert(n <= 100);
      sum += n;
    }
    kg_msg_unref(m);
    pause_ms(10);
  }
  cr_assert(sum == 130, "%zu endpoints", sum);
  cluster_free(c);
}

Test(endpoints, headless_with_host_names) {
  cluster_t *c = cluster();
  make(c, "v1/services", NS,
       "{'metadata':{'name':'s'},'spec':{'clusterIP':'None','publishNotReadyAddresses':true,'selector':{'app':'a'}}}");
  make(c, "v1/pods", NS,
       "{'metadata':{'name':'p','labels':{'app':'a'}},'spec':{'hostname':'h','subdomain':'s','containers':[{'name':'c',"
       "'image':'i'}]}}");
  patch(c, "v1/pods", NS, "p", "status",
        "{'status':{'phase':'Running','podIP':'10.0.0.1','podIPs':[{'ip':'10.0.0.1'}]}}");
  expect_slice(c, "endpoints>0>hostname", "'h'");
  expect_slice(c, "endpoints>0>conditions>ready", "true");
  expect_slice(c, "metadata>labels>service.kubernetes.io/headless", "''");
  expect(c, "v1/endpoints", NS, "s", "subsets>0>addresses>0>hostname", "'h'");
  cluster_free(c);
}

Test(endpoints, mirrored_for_services_without_selector) {
  cluster_t *c = cluster();
  make(c, "v1/endpoints", NS,
       "{'metadata':{'name':'s','labels':{'k':'v'},'annotations':{'n':'m','kubectl.kubernetes.io/"
       "last-applied-configuration'"
       ":'x'}},'subsets':[{'addresses':[{'ip':'1.2.3.4'}],'notReadyAddresses':[{"
       "'ip':'1.2.3.5'}],'ports':[{'name':'http','port':80}]}]}");
  stays_count(c, "v1/endpoints", NS, NULL, 1, 100); /* before its service is there */
  service(c, "");
  expect_slice(c, "endpoints>0>addresses>0", "'1.2.3.4'");
  expect_slice(c, "endpoints>1>conditions>ready", "false");
  expect_slice(c, "metadata>labels>k", "'v'");
  expect_slice(c, "metadata>annotations", "{'n':'m'}");
  expect_slice(c, "metadata>ownerReferences>0>kind", "'Endpoints'");
  patch(c, "v1/endpoints", NS, "s", NULL, "{'metadata':{'annotations':{'n':null}}}");
  expect_slice(c, "metadata>annotations", NULL);
  patch(c, "v1/endpoints", NS, "s", NULL,
        "{'subsets':[{'addresses':[{'ip':'1.2.3.9'}],'ports':[{'name':'http','port':80}]}]}");
  expect_slice(c, "endpoints>0>addresses>0", "'1.2.3.9'");
  expect_slice(c, "endpoints>1", NULL);
  del(c, "v1/endpoints", NS, "s", NULL);
  expect_count(c, SLICES, NS, OF_S, 0);
  cluster_free(c);
}

Test(endpoints, hint_at_zone_and_node) {
  cluster_t *c = cluster();
  make(c, "v1/nodes", NULL, "{'metadata':{'name':'n','labels':{'topology.kubernetes.io/zone':'z1'}}}");
  service(c, "'selector':{'app':'a'},'trafficDistribution':'PreferSameNode',");
  pod(c, "p-a", "a");
  patch(c, "v1/pods", NS, "p-a", "status",
        "{'status':{'phase':'Running','podIP':'10.0.0.1','podIPs':[{'ip':'10.0.0.1'}]}}");
  expect_slice(c, "endpoints>0>zone", "'z1'");
  expect_slice(c, "endpoints>0>hints", NULL);
  patch(c, "v1/pods", NS, "p-a", "status", "{'status':{'conditions':[{'type':'Ready','status':'True'}]}}");
  expect_slice(c, "endpoints>0>hints", "{'forZones':[{'name':'z1'}],'forNodes':[{'name':'n'}]}");
  patch(c, "v1/services", NS, "s", NULL, "{'spec':{'trafficDistribution':'PreferClose'}}");
  expect_slice(c, "endpoints>0>hints", "{'forZones':[{'name':'z1'}]}");
  patch(c, "v1/services", NS, "s", NULL, "{'spec':{'trafficDistribution':null}}");
  expect_slice(c, "endpoints>0>hints", NULL);
  cluster_free(c);
}
