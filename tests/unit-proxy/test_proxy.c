/* The proxy role: what clients in pods, on the node and outside reach over Services. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cluster.h"
#include "kube/values.h"

#define CONFIG "{\"nodeName\":\"here\",\"serviceCIDR\":\"10.43.0.0/16\"}"

typedef struct bench {
  cluster_t c;
  char a[128], b[128], client[128], ip_a[32], ip_b[32], ip_client[32];
} bench_t;

/* Two pods that answer on 8080 (TCP) and 53 (UDP), and a third that asks. */
static void setup(bench_t *t) {
  cluster_up(&t->c, "proxy", "proxy-nft.so", CONFIG);
  pod_up(&t->c, "a", t->a, t->ip_a);
  pod_up(&t->c, "b", t->b, t->ip_b);
  pod_up(&t->c, "client", t->client, t->ip_client);
  serve(&t->c.w, t->a, 8080, false);
  serve(&t->c.w, t->b, 8080, false);
  serve(&t->c.w, t->a, 53, true);
}

/* Until the proxy has done what the api knows by now. */
static void settle(bench_t *t) {
  for (int i = 0; i < 500; i++) {
    nanosleep(&(struct timespec){0, 10000000}, NULL);
    kg_msg_t *m = driver_call(t->c.d, "proxy", "proxy.status", NULL, NULL);
    bool ready = kg_view_bool(kg_view_get(kg_msg_args(m), "ready"), false);
    int64_t failures = reply_int(m, "failures");
    kg_msg_unref(m);
    cr_assert_eq(failures, 0, "nft refused something");
    if (ready) return;
  }
  cr_assert(false, "the proxy did not come to rest");
}

static void endpoints(bench_t *t, const char *service, int port, const char *protocol, const char *fmt, ...) {
  char text[4096];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  slice_put(&t->c, service, port, protocol, text);
  settle(t);
}

#define READY(ip) "{\"addresses\":[\"" ip "\"],\"nodeName\":\"here\"}"
#define AWAY(ip) "{\"addresses\":[\"" ip "\"],\"nodeName\":\"there\"}"
#define ENDING(ip)                                                                                                     \
  "{\"addresses\":[\"" ip                                                                                              \
  "\"],\"nodeName\":\"here\",\"conditions\":{\"ready\":false,\"serving\":true,\"terminating\":true}}"

Test(values, ranges_of_addresses) {
  static const char *const wrong[] = {"",         "/8",          "10.0.0.0",    "10.0.0.0/",   "10.0.0.0/33",
                                      "10.0.0/8", "10.0.0.0/8 ", "10.0.0.0/+8", "256.0.0.0/8", "10.0.0.0/008",
                                      "::/8"};
  uint32_t net;
  unsigned bits;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    cr_assert_eq(kube_ipv4_range(kg_str(wrong[i]), &net, &bits), -1, "%s", wrong[i]);
  cr_assert(kube_ipv4_range(kg_str("10.1.2.3/8"), &net, &bits) == 0 && net == 10u << 24 && bits == 8);
  cr_assert(kube_ipv4_range(kg_str("10.1.2.3/32"), &net, &bits) == 0 && net == 0x0a010203 && bits == 32);
  cr_assert(kube_ipv4_range(kg_str("10.1.2.3/0"), &net, &bits) == 0 && net == 0 && bits == 0);
}

Test(proxy, cluster_ip_from_pods_the_node_and_itself) {
  bench_t t;
  setup(&t);
  service_put(&t.c, "web", "{\"clusterIP\":\"10.43.1.1\",\"ports\":[{\"port\":80,\"targetPort\":8080}]}");
  settle(&t);
  cr_expect_str_eq(ask(t.client, "10.43.1.1", 80, false), "refused", "nobody stands behind it");
  cr_expect_str_eq(ask(NULL, "10.43.1.1", 80, false), "refused", "nor for the node");
  endpoints(&t, "web", 8080, "TCP", "[" READY("%s") "]", t.ip_a);
  cr_expect_str_eq(ask(t.client, "10.43.1.1", 80, false), t.ip_client, "the client's address is kept");
  cr_expect_str_eq(ask(t.a, "10.43.1.1", 80, false), BRIDGE_IP, "a pod reaches itself, masqueraded");
  cr_expect_str_neq(ask(NULL, "10.43.1.1", 80, false), "-", "from the node");
  cr_expect_str_eq(ask(t.client, "10.43.1.1", 81, false), "refused", "a port the service does not have");
  cr_expect_str_eq(ask(NULL, "10.43.1.1", 81, false), "refused", "nor for the node");
  cr_expect_str_eq(ask(NULL, "10.43.1.77", 80, false), "refused", "an address no service has");
  endpoints(&t, "web", 8080, "TCP", "[]");
  cr_expect_str_eq(ask(t.client, "10.43.1.1", 80, false), "refused");
  endpoints(&t, "web", 8080, "TCP", "[" READY("%s") "]", t.ip_a);
  object_delete(&t.c, "", "v1", "services", "default", "web");
  settle(&t);
  cr_expect_str_eq(ask(t.client, "10.43.1.1", 80, false), "refused", "gone with the service");
  cr_expect_not(strstr(sh("nft list table ip " BRIDGE "-proxy"), "10.43.1.1"), "no rule is left");
  cluster_down(&t.c);
}

Test(proxy, udp) {
  bench_t t;
  setup(&t);
  service_put(&t.c, "dns",
              "{\"clusterIP\":\"10.43.1.2\",\"ports\":[{\"port\":5353,\"targetPort\":53,\"protocol\":\"UDP\"}]}");
  endpoints(&t, "dns", 53, "UDP", "[" READY("%s") "]", t.ip_a);
  cr_expect_str_eq(ask(t.client, "10.43.1.2", 5353, true), t.ip_client);
  cr_expect_str_eq(ask(t.client, "10.43.1.2", 5353, false), "refused", "TCP is another port");
  cluster_down(&t.c);
}

/* A client that keeps asking from one port. Says which pod answers, by the address it is seen with there. */
Test(proxy, udp_clients_follow_the_backends) {
  bench_t t;
  setup(&t);
  serve(&t.c.w, t.b, 53, true);
  service_put(&t.c, "dns",
              "{\"clusterIP\":\"10.43.1.2\",\"ports\":[{\"port\":5353,\"targetPort\":53,\"protocol\":\"UDP\"}]}");
  endpoints(&t, "dns", 53, "UDP", "[" READY("%s") "]", t.ip_a);
  cr_expect_str_eq(ask_from(t.a, "10.43.1.2", 5353, 4000), BRIDGE_IP, "itself");
  endpoints(&t, "dns", 53, "UDP", "[" READY("%s") "]", t.ip_b);
  const char *said = "";
  for (int i = 0; i < 20 && strcmp(said, t.ip_a); i++) said = ask_from(t.a, "10.43.1.2", 5353, 4000);
  cr_expect_str_eq(said, t.ip_a, "the other one");
  cluster_down(&t.c);
}

/* How often each of the two answered. The servers say who asked; who answered is told by who is masqueraded. */
static void count(bench_t *t, const char *netns, const char *ip, int port, int n, int *first) {
  *first = 0;
  for (int i = 0; i < n; i++) {
    const char *said = ask(netns, ip, port, false);
    cr_assert_str_neq(said, "-");
    if (!strcmp(said, BRIDGE_IP)) ++*first;
  }
  (void)t;
}

Test(proxy, backends_are_chosen_evenly) {
  bench_t t;
  int first;
  setup(&t);
  service_put(&t.c, "web", "{\"clusterIP\":\"10.43.1.1\",\"ports\":[{\"port\":80,\"targetPort\":8080}]}");
  endpoints(&t, "web", 8080, "TCP", "[" READY("%s") "," READY("%s") "]", t.ip_a, t.ip_b);
  count(&t, t.a, "10.43.1.1", 80, 60, &first);
  cr_expect(first > 10 && first < 50, "%d of 60", first);
  cluster_down(&t.c);
}

Test(proxy, affinity_keeps_a_client_with_its_backend) {
  bench_t t;
  int first;
  setup(&t);
  service_put(&t.c, "web",
              "{\"clusterIP\":\"10.43.1.1\",\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":{"
              "\"timeoutSeconds\":2}},\"ports\":[{\"port\":80,\"targetPort\":8080}]}");
  endpoints(&t, "web", 8080, "TCP", "[" READY("%s") "," READY("%s") "]", t.ip_a, t.ip_b);
  count(&t, t.a, "10.43.1.1", 80, 20, &first);
  cr_expect(first == 0 || first == 20, "%d of 20", first);
  /* A third backend does not move the client, the end of its own does. */
  endpoints(&t, "web", 8080, "TCP", "[" READY("%s") "," READY("%s") "," READY("10.77.0.200") "]", t.ip_a, t.ip_b);
  int again;
  count(&t, t.a, "10.43.1.1", 80, 20, &again);
  cr_expect_eq(again, first);
  endpoints(&t, "web", 8080, "TCP", "[" READY("%s") "]", first ? t.ip_b : t.ip_a);
  count(&t, t.a, "10.43.1.1", 80, 10, &again);
  cr_expect_eq(again, first ? 0 : 10);
  object_delete(&t.c, "", "v1", "services", "default", "web");
  settle(&t);
  cr_expect_not(strstr(sh("nft list table ip " BRIDGE "-proxy"), "seen-"), "no set is left");
  cluster_down(&t.c);
}

Test(proxy, node_port_from_everywhere) {
  bench_t t;
  setup(&t);
  service_put(&t.c, "web",
              "{\"type\":\"NodePort\",\"clusterIP\":\"10.43.1.1\",\"ports\":[{\"port\":80,\"targetPort\":8080,"
              "\"nodePort\":30080}]}");
  settle(&t);
  cr_expect_str_eq(ask(t.c.outside, HOST_IP, 30080, false), "refused", "nobody stands behind it");
  endpoints(&t, "web", 8080, "TCP", "[" READY("%s") "]", t.ip_a);
  cr_expect_str_eq(ask(t.c.outside, HOST_IP, 30080, false), BRIDGE_IP, "from outside, masqueraded");
  cr_expect_str_eq(ask(NULL, HOST_IP, 30080, false), BRIDGE_IP, "from the node");
  cr_expect_str_eq(ask(NULL, "127.0.0.1", 30080, false), BRIDGE_IP, "from the node over its loopback");
  cr_expect_str_eq(ask(t.client, HOST_IP, 30080, false), BRIDGE_IP, "from a pod");
  cr_expect_str_eq(ask(t.a, HOST_IP, 30080, false), BRIDGE_IP, "from the pod itself");
  cr_expect_str_eq(ask(t.client, "10.43.1.1", 80, false), t.ip_client, "and its cluster address works");
  service_put(&t.c, "web",
              "{\"type\":\"ClusterIP\",\"ports\":[{\"port\":80,\"targetPort\":8080,\"protocol\":\"TCP\"}]}");
  settle(&t);
  cr_expect_str_eq(ask(t.c.outside, HOST_IP, 30080, false), "refused", "no node port any more");
  cluster_down(&t.c);
}

Test(proxy, traffic_policies) {
  bench_t t;
  setup(&t);
  service_put(
      &t.c, "web",
      "{\"type\":\"NodePort\",\"clusterIP\":\"10.43.1.1\",\"externalTrafficPolicy\":\"Local\",\"ports\":[{\"port\":80,"
      "\"targetPort\":8080,\"nodePort\":30080}]}");
  endpoints(&t, "web", 8080, "TCP", "[" READY("%s") "]", t.ip_a);
  cr_expect_str_eq(ask(t.c.outside, HOST_IP, 30080, false), OUTSIDE_IP, "Local keeps the client's address");
  endpoints(&t, "web", 8080, "TCP", "[" AWAY("%s") "]", t.ip_a);
  cr_expect_str_eq(ask(t.c.outside, HOST_IP, 30080, false), "-", "dropped where no backend is local");
  cr_expect_str_eq(ask(t.client, HOST_IP, 30080, false), t.ip_client, "pods may use all backends");
  cr_expect_str_eq(ask(t.client, "10.43.1.1", 80, false), t.ip_client, "the cluster address, too");
  service_put(&t.c, "web", "{\"internalTrafficPolicy\":\"Local\"}");
  settle(&t);
  cr_expect_str_eq(ask(t.client, "10.43.1.1", 80, false), "-", "internal traffic stays on the node");
  endpoints(&t, "web", 8080, "TCP", "[" READY("%s") "]", t.ip_a);
  cr_expect_str_eq(ask(t.client, "10.43.1.1", 80, false), t.ip_client);
  cluster_down(&t.c);
}

Test(proxy, backends_that_end_serve_while_there_is_no_other) {
  bench_t t;
  int first;
  setup(&t);
  service_put(&t.c, "web", "{\"clusterIP\":\"10.43.1.1\",\"ports\":[{\"port\":80,\"targetPort\":8080}]}");
  endpoints(&t, "web", 8080, "TCP", "[" ENDING("%s") "," READY("%s") "]", t.ip_a, t.ip_b);
  count(&t, t.a, "10.43.1.1", 80, 10, &first);
  cr_expect_eq(first, 0, "the ready one only");
  endpoints(&t, "web", 8080, "TCP", "[" ENDING("%s") "]", t.ip_a);
  count(&t, t.a, "10.43.1.1", 80, 5, &first);
  cr_expect_eq(first, 5);
  endpoints(&t, "web", 8080, "TCP", "[{\"addresses\":[\"%s\"],\"nodeName\":\"here\",\"conditions\":{\"ready\":false}}]",
            t.ip_a);
  cr_expect_str_eq(ask(t.client, "10.43.1.1", 80, false), "refused");
  cluster_down(&t.c);
}

Test(proxy, external_addresses_and_load_balancers) {
  bench_t t;
  setup(&t);
  sh("nsenter --net=%s ip route add 203.0.113.0/24 via " HOST_IP, t.c.outside);
  service_put(&t.c, "web",
              "{\"type\":\"LoadBalancer\",\"clusterIP\":\"10.43.1.1\",\"externalIPs\":[\"203.0.113.1\"],"
              "\"loadBalancerSourceRanges\":[\"198.51.100.0/24\"],\"ports\":[{\"port\":80,\"targetPort\":8080}]}");
  endpoints(&t, "web", 8080, "TCP", "[" READY("%s") "]", t.ip_a);
  kg_msg_t *m =
      driver_call(t.c.d, "api", "api.patch",
                  "{\"g\":\"\",\"v\":\"v1\",\"r\":\"services\",\"ns\":\"default\",\"name\":\"web\",\"sub\":\"status\","
                  "\"patch\":\"merge\"}",
                  "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"203.0.113.2\",\"ipMode\":\"VIP\"}]}}}");
  cr_assert_eq(kg_msg_type(m), KG_MSG_REPLY, "%s", kg_msg_text(m));
  kg_msg_unref(m);
  settle(&t);
  cr_expect_str_eq(ask(t.c.outside, "203.0.113.1", 80, false), BRIDGE_IP, "an external address");
  cr_expect_str_eq(ask(t.c.outside, "203.0.113.2", 80, false), "-", "not in the source ranges");
  service_put(&t.c, "web", "{\"loadBalancerSourceRanges\":[\"198.51.100.0/24\",\" 192.0.2.0/24 \"]}");
  settle(&t);
  cr_expect_str_eq(ask(t.c.outside, "203.0.113.2", 80, false), BRIDGE_IP, "in the source ranges");
  cluster_down(&t.c);
}

static kg_view_t get_service(bench_t *t, const char *name, kg_msg_t **m) {
  char args[200];
  snprintf(args, sizeof args, "{\"g\":\"\",\"v\":\"v1\",\"r\":\"services\",\"ns\":\"default\",\"name\":\"%s\"}", name);
  *m = driver_call(t->c.d, "api", "api.get", args, NULL);
  cr_assert_eq(kg_msg_type(*m), KG_MSG_REPLY, "%s", kg_msg_text(*m));
  return kg_view_get(kg_view_of(kg_msg_doc(*m, 0)), "spec");
}

static int port_of(bench_t *t, const char *name, const char *key) {
  kg_msg_t *m;
  kg_view_t spec = get_service(t, name, &m), first = kg_view_at(kg_view_get(spec, "ports"), 0);
  int port = (int)kg_view_int(kg_view_get(strcmp(key, "nodePort") ? spec : first, key), 0);
  kg_msg_unref(m);
  return port;
}

static int second_node_port(bench_t *t, const char *name) {
  kg_msg_t *m;
  kg_view_t port = kg_view_at(kg_view_get(get_service(t, name, &m), "ports"), 1);
  int number = (int)kg_view_int(kg_view_get(port, "nodePort"), 0);
  kg_msg_unref(m);
  return number;
}

Test(proxy, load_balancers_ask_where_the_endpoints_are) {
  bench_t t;
  kg_error_t err = {0};
  int64_t pause;
  setup(&t);
  service_put(
      &t.c, "web",
      "{\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\",\"ports\":[{\"port\":80,\"targetPort\":8080}]}");
  endpoints(&t, "web", 8080, "TCP", "[" READY("%s") "," READY("%s") "]", t.ip_a, t.ip_b);
  int port = port_of(&t, "web", "healthCheckNodePort");
  cr_assert(port >= 30000 && port <= 32767, "%d", port);
  const char *said = sh("nsenter --net=%s curl -si --max-time 3 http://" HOST_IP ":%d/healthz", t.c.outside, port);
  cr_expect(strstr(said, "HTTP/1.1 200 OK") && strstr(said, "X-Load-Balancing-Endpoint-Weight: 2"), "%s", said);
  cr_expect(strstr(said, "\"namespace\": \"default\"") && strstr(said, "\"localEndpoints\": 2"), "%s", said);
  endpoints(&t, "web", 8080, "TCP", "[" AWAY("%s") "," ENDING("%s") "]", t.ip_a, t.ip_b);
  said = sh("nsenter --net=%s curl -si --max-time 3 http://" HOST_IP ":%d/", t.c.outside, port);
  cr_expect(strstr(said, "HTTP/1.1 503 ") && strstr(said, "\"localEndpoints\": 0"), "%s", said);
  cr_assert_eq(kg_kernel_reload(driver_kernel(t.c.d), "proxy", &pause, &err), 0, "%s", err.text);
  settle(&t);
  said = sh("nsenter --net=%s curl -si --max-time 3 http://" HOST_IP ":%d/", t.c.outside, port);
  cr_expect(strstr(said, "HTTP/1.1 503 "), "after a swap: %s", said);
  service_put(&t.c, "web", "{\"externalTrafficPolicy\":\"Cluster\"}");
  settle(&t);
  cr_expect_eq(port_of(&t, "web", "healthCheckNodePort"), 0);
  cr_expect_str_eq(ask(t.c.outside, HOST_IP, port, false), "refused", "nobody asks any more");
  cluster_down(&t.c);
}

Test(proxy, one_node_port_for_several_protocols) {
  bench_t t;
  setup(&t);
  const char *ports =
      "[{\"name\":\"u\",\"port\":53,\"protocol\":\"UDP\"%s},{\"name\":\"t\",\"port\":53,\"targetPort\":8080%s}]";
  char spec[400], list[300];
  snprintf(list, sizeof list, ports, "", "");
  snprintf(spec, sizeof spec, "{\"type\":\"NodePort\",\"ports\":%s}", list);
  service_put(&t.c, "dns", spec);
  cr_expect_eq(port_of(&t, "dns", "nodePort"), second_node_port(&t, "dns"));
  snprintf(list, sizeof list, ports, ",\"nodePort\":31053", ",\"nodePort\":31053");
  snprintf(spec, sizeof spec, "{\"type\":\"NodePort\",\"ports\":%s}", list);
  service_put(&t.c, "two", spec);
  cr_expect_eq(second_node_port(&t, "two"), 31053);
  /* Not allocated by itself, but kept where somebody names one. */
  service_put(
      &t.c, "lb",
      "{\"type\":\"LoadBalancer\",\"allocateLoadBalancerNodePorts\":false,\"ports\":[{\"name\":\"a\",\"port\":80,"
      "\"nodePort\":31080},{\"name\":\"b\",\"port\":81}]}");
  cr_expect_eq(second_node_port(&t, "lb"), 0);
  kg_msg_t *m =
      driver_call(t.c.d, "api", "api.create", "{\"g\":\"\",\"v\":\"v1\",\"r\":\"services\",\"ns\":\"default\"}",
                  "{\"metadata\":{\"name\":\"x\",\"namespace\":\"default\"},\"spec\":{\"type\":\"NodePort\",\"ports\":"
                  "[{\"port\":80,\"nodePort\":31080}]}}");
  cr_expect(kg_msg_type(m) == KG_MSG_ERROR && strstr(kg_msg_text(m), "already allocated"), "%s", kg_msg_text(m));
  kg_msg_unref(m);
  cluster_down(&t.c);
}

Test(proxy, two_services_that_want_one_address_do_not_stop_the_others) {
  bench_t t;
  setup(&t);
  const char *spec = "{\"externalIPs\":[\"203.0.113.1\"],\"ports\":[{\"port\":80,\"targetPort\":8080}]}";
  service_put(&t.c, "one", spec);
  service_put(&t.c, "two", spec);
  slice_put(&t.c, "one", 8080, "TCP", "[" READY("10.77.0.2") "]");
  slice_put(&t.c, "two", 8080, "TCP", "[" READY("10.77.0.3") "," READY("10.77.0.2") "]");
  service_put(&t.c, "web", "{\"clusterIP\":\"10.43.1.1\",\"ports\":[{\"port\":80,\"targetPort\":8080}]}");
  slice_put(&t.c, "web", 8080, "TCP", "[" READY("10.77.0.2") "]");
  const char *said = "-";
  for (int i = 0; i < 50 && strcmp(said, t.ip_client); i++) {
    nanosleep(&(struct timespec){0, 100000000}, NULL);
    said = ask(t.client, "10.43.1.1", 80, false);
  }
  cr_expect_str_eq(said, t.ip_client);
  cr_expect_str_neq(ask(t.client, "203.0.113.1", 80, false), "-", "one of them is reached");
  object_delete(&t.c, "", "v1", "services", "default", "one");
  nanosleep(&(struct timespec){0, 500000000}, NULL);
  cr_expect_str_neq(ask(t.client, "203.0.113.1", 80, false), "-", "now the other");
  cluster_down(&t.c);
}

Test(proxy, rules_that_somebody_flushes_come_back) {
  bench_t t;
  setup(&t);
  service_put(&t.c, "web", "{\"clusterIP\":\"10.43.1.1\",\"ports\":[{\"port\":80,\"targetPort\":8080}]}");
  endpoints(&t, "web", 8080, "TCP", "[" READY("%s") "]", t.ip_a);
  static const char *const ways[] = {"flush ruleset", "delete table ip " BRIDGE "-proxy",
                                     "flush table ip " BRIDGE "-proxy"};
  for (int way = 0; way < 3; way++) {
    cr_expect_str_eq(ask(t.client, "10.43.1.1", 80, false), t.ip_client);
    sh("nft %s", ways[way]);
    const char *said = "";
    for (int i = 0; i < 30 && strcmp(said, t.ip_client); i++) {
      nanosleep(&(struct timespec){0, 100000000}, NULL);
      said = ask(t.client, "10.43.1.1", 80, false);
    }
    cr_expect_str_eq(said, t.ip_client, "after %s: %s", ways[way], said);
  }
  settle(&t);
  cluster_down(&t.c);
}

Test(proxy, a_swap_and_a_headless_service) {
  bench_t t;
  kg_error_t err = {0};
  int64_t pause;
  setup(&t);
  service_put(&t.c, "web", "{\"clusterIP\":\"10.43.1.1\",\"ports\":[{\"port\":80,\"targetPort\":8080}]}");
  service_put(&t.c, "none", "{\"clusterIP\":\"None\",\"ports\":[{\"port\":80,\"targetPort\":8080}]}");
  service_put(&t.c, "other", "{\"type\":\"ExternalName\",\"externalName\":\"example.com\"}");
  object_put(&t.c, "", "v1", "services", "default", "marked",
             "{\"metadata\":{\"name\":\"marked\",\"namespace\":\"default\",\"labels\":{\"service.kubernetes.io/"
             "headless\":\"\"}},"
             "\"spec\":{\"clusterIP\":\"10.43.1.9\",\"ports\":[{\"port\":80,\"targetPort\":8080}]}}");
  slice_put(&t.c, "marked", 8080, "TCP", "[" READY("10.77.0.2") "]");
  slice_put(&t.c, "none", 8080, "TCP", "[" READY("10.77.0.2") "]");
  endpoints(&t, "web", 8080, "TCP", "[" READY("%s") "]", t.ip_a);
  cr_expect_str_eq(ask(t.client, "10.43.1.9", 80, false), "refused", "left alone by its label");
  cr_assert_eq(kg_kernel_reload(driver_kernel(t.c.d), "proxy", &pause, &err), 0, "%s", err.text);
  cr_expect_str_eq(ask(t.client, "10.43.1.1", 80, false), t.ip_client, "the rules stay");
  settle(&t);
  endpoints(&t, "web", 8080, "TCP", "[" READY("%s") "]", t.ip_b);
  cr_expect_str_eq(ask(t.b, "10.43.1.1", 80, false), BRIDGE_IP, "and change");
  cluster_down(&t.c);
}
