/* ServiceAccount and Namespace. */
#include <criterion/criterion.h>

#include "harness.h"

Test(serviceaccount, default_account_in_each_namespace) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", NULL});
  expect_there(c, "v1/serviceaccounts", "kube-system", "default");
  make(c, "v1/namespaces", NULL, "{'metadata':{'name':'n'}}");
  expect_there(c, "v1/serviceaccounts", "n", "default");
  del(c, "v1/serviceaccounts", "n", "default", NULL);
  expect_there(c, "v1/serviceaccounts", "n", "default");
  cluster_free(c);
}

/* Who signs is not here: all that comes before is done, and said. (Under ASan it showed what was read after it was
 * freed.) */
Test(serviceaccount, token_is_asked_for) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", NULL});
  expect_there(c, "v1/serviceaccounts", "default", "default");
  cr_assert(post_sub(c, "v1/serviceaccounts", "default", "default", "token",
                     "{'kind':'TokenRequest','apiVersion':'authentication.k8s.io/v1','spec':{'audiences':['a']}}") ==
            500);
  cr_assert(
      post_sub(c, "v1/serviceaccounts", "default", "default", "token",
               "{'kind':'TokenRequest','apiVersion':'authentication.k8s.io/v1','spec':{'expirationSeconds':1}}") ==
      422);
  cluster_free(c);
}

static cluster_t *with_space(const char *name) {
  cluster_t *c = cluster_new(NULL, (const char *const[]){"controller-serviceaccount", "controller-namespace", NULL});
  make(c, "v1/namespaces", NULL, "{'metadata':{'name':'%s'}}", name);
  expect_there(c, "v1/serviceaccounts", name, "default");
  return c;
}

Test(namespace, goes_with_all_its_content) {
  cluster_t *c = with_space("n");
  make(c, "v1/configmaps", "n", "{'metadata':{'name':'m'}}");
  make(c, "v1/configmaps", "default", "{'metadata':{'name':'m'}}");
  make(c, "v1/secrets", "n", "{'metadata':{'name':'s'}}");
  make(c, "v1/pods", "n", "{'metadata':{'name':'p'}," POD_SPEC "}");
  make(c, "rbac.authorization.k8s.io/v1/roles", "n", "{'metadata':{'name':'r'},'rules':[]}");
  del(c, "v1/namespaces", NULL, "n", NULL);
  expect_gone(c, "v1/namespaces", NULL, "n");
  cr_assert(count(c, "v1/configmaps", "n", NULL) == 0);
  cr_assert(count(c, "v1/pods", "n", NULL) == 0);
  cr_assert(count(c, "rbac.authorization.k8s.io/v1/roles", "n", NULL) == 0);
  cr_assert(count(c, "v1/configmaps", "default", NULL) == 1);
  make(c, "v1/namespaces", NULL, "{'metadata':{'name':'n'}}"); /* the name is free again */
  cluster_free(c);
}

/* Who deletes a stack names the namespace first. */
Test(namespace, its_content_is_there_for_a_moment_after_its_deletion_began) {
  cluster_t *c = with_space("n");
  make(c, "v1/configmaps", "n", "{'metadata':{'name':'m'}}");
  del(c, "v1/namespaces", NULL, "n", NULL);
  expect(c, "v1/namespaces", NULL, "n", "status>phase", "'Terminating'");
  stays_count(c, "v1/configmaps", "n", NULL, 1, 300); /* of 1000 */
  del(c, "v1/configmaps", "n", "m", NULL);            /* 404 would fail */
  expect_gone(c, "v1/namespaces", NULL, "n");
  cluster_free(c);
}

Test(namespace, pods_get_their_grace_and_go_first) {
  cluster_t *c = with_space("n");
  make(c, "v1/configmaps", "n", "{'metadata':{'name':'m'}}");
  make(c, "v1/pods", "n", "{'metadata':{'name':'p'},'spec':{'nodeName':'x','containers':[{'name':'c','image':'i'}]}}");
  del(c, "v1/namespaces", NULL, "n", NULL);
  expect(c, "v1/pods", "n", "p", "metadata>deletionGracePeriodSeconds", "30");
  expect(c, "v1/namespaces", NULL, "n", "status>conditions>type=NamespaceContentRemaining>reason",
         "'SomeResourcesRemain'");
  cr_assert(count(c, "v1/configmaps", "n", NULL) == 1, "the ConfigMap waits until the pods have gone");
  kubelet(c, "n");
  expect_gone(c, "v1/namespaces", NULL, "n");
  cluster_free(c);
}

Test(namespace, says_which_finalizers_hold_it) {
  cluster_t *c = with_space("n");
  make(c, "v1/configmaps", "n", "{'metadata':{'name':'m','finalizers':['example.com/hold']}}");
  del(c, "v1/namespaces", NULL, "n", NULL);
  expect(c, "v1/namespaces", NULL, "n", "status>phase", "'Terminating'");
  expect(c, "v1/namespaces", NULL, "n", "status>conditions>type=NamespaceFinalizersRemaining>message",
         "'Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances'");
  expect(c, "v1/namespaces", NULL, "n", "status>conditions>type=NamespaceContentRemaining>message",
         "'Some resources are remaining: configmaps. has 1 resource instances'");
  expect(c, "v1/namespaces", NULL, "n", "status>conditions>type=NamespaceDeletionDiscoveryFailure>status", "'False'");
  patch(c, "v1/configmaps", "n", "m", NULL, "{'metadata':{'finalizers':null}}");
  expect_gone(c, "v1/namespaces", NULL, "n");
  cluster_free(c);
}

/* --- RuntimeClass: admission, not a controller, but it wants the same cluster --------------------------------------
 */

Test(runtimeclass, pods_take_overhead_selector_and_tolerations_of_their_class) {
  cluster_t *c = with_space("n");
  cr_assert(post_sub(c, "v1/pods", "n", NULL, "",
                     "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'x'},'spec':{'runtimeClassName':'absent',"
                     "'containers':[{'name':'c','image':'i'}]}}") == 403);
  make(c, "node.k8s.io/v1/runtimeclasses", NULL,
       "{'metadata':{'name':'heavy'},'handler':'runc','overhead':{'podFixed':{'cpu':'10m'}},'scheduling':{'"
       "nodeSelector':"
       "{'disk':'fast'},'tolerations':[{'key':'k','operator':'Exists'}]}}");
  make(c, "v1/pods", "n",
       "{'metadata':{'name':'p'},'spec':{'runtimeClassName':'heavy','nodeSelector':{'zone':'a'},'containers':[{'name':'"
       "c',"
       "'image':'i'}]}}");
  expect(c, "v1/pods", "n", "p", "spec>overhead", "{'cpu':'10m'}");
  expect(c, "v1/pods", "n", "p", "spec>nodeSelector", "{'zone':'a','disk':'fast'}");
  expect(c, "v1/pods", "n", "p", "spec>tolerations>key=k>operator", "'Exists'");
  cr_assert(post_sub(c, "v1/pods", "n", NULL, "",
                     "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'x'},'spec':{'runtimeClassName':'heavy',"
                     "'nodeSelector':{'disk':'slow'},'containers':[{'name':'c','image':'i'}]}}") == 403);
  cluster_free(c);
}

/* --- Events: one collection under two names, with fields of two names ----------------------------------------------
 */

Test(events, are_the_same_in_both_groups) {
  cluster_t *c = with_space("n");
  make(c, "events.k8s.io/v1/events", "n",
       "{'metadata':{'name':'e'},'eventTime':'2026-01-01T00:00:00.000000Z','reportingController':'x.io/"
       "c','reportingInstance':"
       "'i','action':'Did','reason':'Because','type':'Normal','regarding':{'kind':'Pod','namespace':'n','name':'p'},"
       "'note':'words'}");
  expect(c, "v1/events", "n", "e", "message", "'words'");
  expect(c, "v1/events", "n", "e", "involvedObject>name", "'p'");
  expect(c, "v1/events", "n", "e", "reportingComponent", "'x.io/c'");
  patch(c, "events.k8s.io/v1/events", "n", "e", NULL,
        "{'series':{'count':2,'lastObservedTime':'2026-01-01T00:00:00.000000Z'}}");
  expect(c, "v1/events", "n", "e", "series>count", "2");
  patch(c, "v1/events", "n", "e", NULL, "{'message':'other words'}");
  expect(c, "events.k8s.io/v1/events", "n", "e", "note", "'other words'");
  expect(c, "events.k8s.io/v1/events", "n", "e", "message", NULL);
  del(c, "events.k8s.io/v1/events", "n", "e", NULL);
  expect_gone(c, "v1/events", "n", "e");
  cluster_free(c);
}

Test(network_api, the_range_of_services_is_shown_and_addresses_have_addresses_as_names) {
  cluster_t *c = with_space("n");
  expect(c, "networking.k8s.io/v1/servicecidrs", NULL, "kubernetes", "spec>cidrs", "['10.96.0.0/12']");
  make(c, "networking.k8s.io/v1/ipaddresses", NULL,
       "{'metadata':{'name':'2001:db8::1'},'spec':{'parentRef':{'resource':'services','namespace':'n','name':'s'}}}");
  cr_assert(post_sub(c, "networking.k8s.io/v1/ipaddresses", NULL, NULL, "",
                     "{'apiVersion':'networking.k8s.io/v1','kind':'IPAddress','metadata':{'name':'words'},'spec':"
                     "{'parentRef':{'resource':'services','namespace':'n','name':'s'}}}") == 422);
  cluster_free(c);
}
