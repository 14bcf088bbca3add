/* The network role over a bridge: addresses, links, what gets through, and what a restart finds. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "driver.h"
#include "world.h"

#define BRIDGE "kgtest0"
#define CONFIG "{\"bridge\":\"" BRIDGE "\"}"
#define NETWORK "10.77.0.0/24"

typedef struct bench {
  world_t w;
  char data[96], run[96];
  driver_t *d;
} bench_t;

static kg_msg_t *call(bench_t *b, const char *topic, const char *args) {
  return driver_call(b->d, "network", topic, args, NULL);
}

/* The error code; 0: it was done. */
static int code_of(bench_t *b, const char *topic, const char *args) {
  kg_msg_t *m = call(b, topic, args);
  int code = kg_msg_type(m) == KG_MSG_REPLY ? 0 : kg_msg_code(m);
  kg_msg_unref(m);
  return code;
}

static void begin(bench_t *b) {
  b->d = driver_new(b->data, b->run);
  driver_load(b->d, "network", "network-bridge.so", CONFIG);
}

static void setup(bench_t *b, const char *cidr) {
  char args[64];
  world_enter(&b->w);
  snprintf(b->data, sizeof b->data, "%s/data", b->w.dir);
  snprintf(b->run, sizeof b->run, "%s/run", b->w.dir);
  begin(b);
  snprintf(args, sizeof args, "{\"podCIDR\":\"%s\"}", cidr);
  kg_msg_t *m = call(b, "network.configure", args);
  cr_assert_eq(kg_msg_type(m), KG_MSG_REPLY, "%s", kg_msg_text(m));
  kg_msg_unref(m);
}

static void teardown(bench_t *b) {
  driver_free(b->d);
  world_leave(&b->w);
}

static kg_msg_t *attach_raw(bench_t *b, const char *id, const char *netns, const char *ports) {
  char args[512];
  snprintf(args, sizeof args, "{\"id\":\"%s\",\"netns\":\"%s\",\"name\":\"%s\",\"namespace\":\"default\",\"ports\":%s}",
           id, netns, id, ports ? ports : "[]");
  return call(b, "network.attach", args);
}

/* The address; fails the test if there is none. */
static void attach(bench_t *b, const char *id, const char *netns, const char *ports, char ip[32]) {
  kg_msg_t *m = attach_raw(b, id, netns, ports);
  cr_assert_eq(kg_msg_type(m), KG_MSG_REPLY, "%s", kg_msg_text(m));
  snprintf(ip, 32, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(kg_msg_args(m), "ip"))));
  kg_msg_unref(m);
}

static void detach(bench_t *b, const char *id) {
  char args[128];
  snprintf(args, sizeof args, "{\"id\":\"%s\"}", id);
  cr_assert_eq(code_of(b, "network.detach", args), 0);
}

static size_t attached(bench_t *b) {
  kg_msg_t *m = call(b, "network.list", NULL);
  size_t n = kg_view_count(kg_view_get(kg_msg_args(m), "attached"));
  kg_msg_unref(m);
  return n;
}

static int ports_of_bridge(void) {
  return atoi(sh("ip -o link show master " BRIDGE " | wc -l"));
}

static void wait_ports(int wanted) {
  for (int i = 0; i < 300 && ports_of_bridge() != wanted; i++) nanosleep(&(struct timespec){0, 10000000}, NULL);
  cr_assert_eq(ports_of_bridge(), wanted);
}

Test(network, pods_reach_each_other_the_host_and_the_world) {
  bench_t b;
  char one[128], two[128], outside[128], ip1[32], ip2[32];
  setup(&b, NETWORK);
  snprintf(outside, sizeof outside, "%s/outside", b.w.dir);
  world_ns(&b.w, "one", one);
  world_ns(&b.w, "two", two);
  attach(&b, "one", one, NULL, ip1);
  attach(&b, "two", two, NULL, ip2);
  cr_expect_str_eq(ip1, "10.77.0.2");
  cr_expect_str_eq(ip2, "10.77.0.3");
  serve(&b.w, one, 8080, false);
  serve(&b.w, one, 53, true);
  serve(&b.w, NULL, 8081, false);
  serve(&b.w, outside, 8082, false);
  cr_expect_str_eq(ask(NULL, ip1, 8080, false), "10.77.0.1", "host to pod");
  cr_expect_str_eq(ask(two, ip1, 8080, false), ip2, "pod to pod keeps its address");
  cr_expect_str_eq(ask(two, ip1, 53, true), ip2, "UDP");
  cr_expect_str_eq(ask(one, ip1, 8080, false), ip1, "pod to itself");
  cr_expect_str_eq(ask(one, "127.0.0.1", 8080, false), "127.0.0.1", "lo is up");
  cr_expect_str_eq(ask(two, "10.77.0.1", 8081, false), ip2, "pod to host");
  cr_expect_str_eq(ask(two, OUTSIDE_IP, 8082, false), HOST_IP, "pod to the world is masqueraded");
  cr_expect(strstr(sh("ip -d link show master " BRIDGE), "hairpin on"));
  teardown(&b);
}

Test(network, links_have_the_mtu_of_the_uplink) {
  bench_t b;
  char one[128], ip[32];
  world_enter(&b.w);
  sh("ip link set up0 mtu 1450");
  snprintf(b.data, sizeof b.data, "%s/data", b.w.dir);
  snprintf(b.run, sizeof b.run, "%s/run", b.w.dir);
  begin(&b);
  cr_assert_eq(code_of(&b, "network.configure", "{\"podCIDR\":\"" NETWORK "\"}"), 0);
  world_ns(&b.w, "one", one);
  attach(&b, "one", one, NULL, ip);
  cr_expect(strstr(sh("nsenter --net=%s ip link show eth0", one), "mtu 1450"));
  cr_expect(strstr(sh("ip link show " BRIDGE), "mtu 1450"));
  teardown(&b);
}

Test(network, what_others_use_is_not_taken) {
  bench_t b;
  world_enter(&b.w);
  snprintf(b.data, sizeof b.data, "%s/data", b.w.dir);
  snprintf(b.run, sizeof b.run, "%s/run", b.w.dir);
  sh("ip link add " BRIDGE " type bridge && ip addr add 10.79.0.1/24 dev " BRIDGE);
  begin(&b);
  cr_expect_eq(code_of(&b, "network.configure", "{\"podCIDR\":\"" NETWORK "\"}"), 409, "another instance's bridge");
  cr_expect_not(strstr(sh("ip addr show " BRIDGE), "10.77."), "nothing of it was changed");
  sh("ip link del " BRIDGE " && ip addr add 10.77.0.9/32 dev up0");
  cr_expect_eq(code_of(&b, "network.configure", "{\"podCIDR\":\"" NETWORK "\"}"), 409, "another link's address");
  sh("ip addr del 10.77.0.9/32 dev up0");
  cr_expect_eq(code_of(&b, "network.configure", "{\"podCIDR\":\"" NETWORK "\"}"), 0);
  teardown(&b);
}

Test(network, a_host_port_is_reached_from_everywhere) {
  bench_t b;
  char one[128], two[128], outside[128], ip1[32], ip2[32];
  const char *ports = "[{\"hostPort\":9090,\"containerPort\":8080,\"protocol\":\"TCP\"},"
                      "{\"hostPort\":9053,\"containerPort\":53,\"protocol\":\"UDP\"},"
                      "{\"hostPort\":9091,\"containerPort\":8080,\"protocol\":\"TCP\",\"hostIP\":\"10.77.0.1\"},"
                      "{\"containerPort\":7,\"protocol\":\"TCP\"}]";
  setup(&b, NETWORK);
  snprintf(outside, sizeof outside, "%s/outside", b.w.dir);
  world_ns(&b.w, "one", one);
  world_ns(&b.w, "two", two);
  attach(&b, "two", two, NULL, ip2);
  attach(&b, "one", one, ports, ip1);
  serve(&b.w, one, 8080, false);
  serve(&b.w, one, 53, true);
  cr_expect_str_eq(ask(outside, HOST_IP, 9090, false), OUTSIDE_IP, "the client's address is kept");
  cr_expect_str_eq(ask(outside, HOST_IP, 9053, true), OUTSIDE_IP, "UDP");
  cr_expect_str_eq(ask(outside, HOST_IP, 9091, false), "refused", "another address of the host");
  cr_expect_str_eq(ask(NULL, "10.77.0.1", 9091, false), "10.77.0.1", "its own address of the host");
  cr_expect_str_eq(ask(NULL, HOST_IP, 9090, false), HOST_IP, "from the host");
  cr_expect_str_eq(ask(NULL, "127.0.0.1", 9090, false), "10.77.0.1", "from the host over its loopback");
  cr_expect_str_eq(ask(two, HOST_IP, 9090, false), ip2, "from another pod");
  cr_expect_str_eq(ask(one, HOST_IP, 9090, false), "10.77.0.1", "from itself");
  detach(&b, "one");
  cr_expect_str_eq(ask(outside, HOST_IP, 9090, false), "refused", "gone with the pod");
  teardown(&b);
}

/* A client that keeps asking from one port; until it is answered as wanted. */
static void wait_answer(const char *netns, const char *wanted) {
  const char *said = "";
  for (int i = 0; i < 20 && strcmp(said, wanted); i++) said = ask_from(netns, HOST_IP, 9053, 4000);
  cr_expect_str_eq(said, wanted);
}

Test(network, udp_clients_follow_a_host_port) {
  bench_t b;
  char one[128], two[128], outside[128], ip[32];
  const char *ports = "[{\"hostPort\":9053,\"containerPort\":53,\"protocol\":\"UDP\"}]";
  setup(&b, NETWORK);
  snprintf(outside, sizeof outside, "%s/outside", b.w.dir);
  world_ns(&b.w, "one", one);
  world_ns(&b.w, "two", two);
  serve(&b.w, one, 53, true);
  serve(&b.w, two, 53, true);
  cr_expect_str_eq(ask_from(outside, HOST_IP, 9053, 4000), "refused", "nobody is there yet");
  attach(&b, "one", one, ports, ip);
  wait_answer(outside, OUTSIDE_IP);
  detach(&b, "one");
  attach(&b, "two", two, ports, ip);
  sh("nsenter --net=%s ip link set eth0 down || true", one);
  wait_answer(outside, OUTSIDE_IP);
  teardown(&b);
}

Test(network, rules_that_somebody_flushes_come_back) {
  bench_t b;
  char one[128], ip[32];
  const char *ports = "[{\"hostPort\":9090,\"containerPort\":8080,\"protocol\":\"TCP\"}]";
  static const char *const ways[] = {"flush ruleset", "flush table ip " BRIDGE};
  setup(&b, NETWORK);
  world_ns(&b.w, "one", one);
  attach(&b, "one", one, ports, ip);
  serve(&b.w, one, 8080, false);
  for (int way = 0; way < 2; way++) {
    cr_expect_str_eq(ask(NULL, HOST_IP, 9090, false), HOST_IP);
    sh("nft %s", ways[way]);
    const char *said = "";
    for (int i = 0; i < 30 && strcmp(said, HOST_IP); i++) {
      nanosleep(&(struct timespec){0, 100000000}, NULL);
      said = ask(NULL, HOST_IP, 9090, false);
    }
    cr_expect_str_eq(said, HOST_IP, "after %s: %s", ways[way], said);
  }
  teardown(&b);
}

Test(network, two_pods_cannot_have_one_host_port) {
  bench_t b;
  char one[128], two[128], ip[32];
  const char *ports = "[{\"hostPort\":9090,\"containerPort\":8080,\"protocol\":\"TCP\"}]";
  setup(&b, NETWORK);
  world_ns(&b.w, "one", one);
  world_ns(&b.w, "two", two);
  attach(&b, "one", one, ports, ip);
  kg_msg_t *m = attach_raw(&b, "two", two, ports);
  cr_expect_eq(kg_msg_type(m), KG_MSG_ERROR);
  kg_msg_unref(m);
  cr_expect_eq(attached(&b), 1);
  wait_ports(1);
  teardown(&b);
}

Test(network, attach_and_detach_can_be_repeated) {
  bench_t b;
  char one[128], ip[32], again[32];
  setup(&b, NETWORK);
  world_ns(&b.w, "one", one);
  attach(&b, "one", one, NULL, ip);
  attach(&b, "one", one, NULL, again);
  cr_expect_str_eq(ip, again);
  cr_expect_eq(attached(&b), 1);
  detach(&b, "one");
  detach(&b, "one");
  cr_expect_eq(attached(&b), 0);
  wait_ports(0);
  attach(&b, "one", one, NULL, again);
  cr_expect_eq(ports_of_bridge(), 1);
  cr_expect_eq(code_of(&b, "network.attach", "{\"id\":\"x\",\"netns\":\"/nonexistent\"}"), 400);
  cr_expect_eq(code_of(&b, "network.attach", "{\"id\":\"../x\",\"netns\":\"/x\"}"), 400);
  cr_expect_eq(attached(&b), 1);
  teardown(&b);
}

Test(network, addresses_are_given_once_and_reused_last) {
  bench_t b;
  char path[8][128], ip[8][32], name[16], again[32];
  setup(&b, "10.77.0.0/29"); /* 5 for pods */
  for (int i = 0; i < 6; i++) {
    snprintf(name, sizeof name, "p%d", i);
    world_ns(&b.w, name, path[i]);
  }
  for (int i = 0; i < 3; i++) {
    snprintf(name, sizeof name, "p%d", i);
    attach(&b, name, path[i], NULL, ip[i]);
    for (int k = 0; k < i; k++) cr_expect_str_neq(ip[i], ip[k]);
  }
  detach(&b, "p2");
  attach(&b, "p3", path[3], NULL, ip[3]);
  attach(&b, "p4", path[4], NULL, ip[4]);
  cr_expect_str_neq(ip[3], ip[2], "the others come first");
  cr_expect_str_neq(ip[4], ip[2], "the others come first");
  attach(&b, "p5", path[5], NULL, ip[5]);
  cr_expect_str_eq(ip[5], ip[2], "then the freed one");
  kg_msg_t *m = attach_raw(&b, "p2", path[2], NULL);
  cr_expect_eq(kg_msg_code(m), KG_EFULL);
  kg_msg_unref(m);
  detach(&b, "p0");
  attach(&b, "p2", path[2], NULL, again);
  cr_expect_str_eq(again, ip[0]);
  teardown(&b);
}

Test(network, a_restart_adopts_what_lives_and_forgets_what_died) {
  bench_t b;
  char one[128], two[128], three[128], ip1[32], ip2[32], ip3[32], again[32];
  const char *ports = "[{\"hostPort\":9090,\"containerPort\":8080,\"protocol\":\"TCP\"}]";
  setup(&b, NETWORK);
  world_ns(&b.w, "one", one);
  world_ns(&b.w, "two", two);
  world_ns(&b.w, "three", three);
  attach(&b, "one", one, ports, ip1);
  attach(&b, "two", two, NULL, ip2);
  serve(&b.w, one, 8080, false);
  driver_free(b.d);
  cr_expect_str_eq(ask(NULL, ip1, 8080, false), "10.77.0.1", "pods go on without us");
  world_ns_drop(two);
  sh("ip link add kgpstray type veth peer name x0 && ip link set kgpstray master " BRIDGE);
  begin(&b);
  attach(&b, "one", one, ports, again);
  cr_expect_str_eq(again, ip1);
  cr_expect_eq(attached(&b), 1);
  wait_ports(1);
  cr_expect_str_eq(ask(NULL, ip1, 8080, false), "10.77.0.1");
  cr_expect_str_eq(ask(NULL, HOST_IP, 9090, false), HOST_IP, "host ports are there again");
  attach(&b, "three", three, NULL, ip3);
  cr_expect_str_neq(ip3, ip1);
  teardown(&b);
}

Test(network, the_pod_network_can_only_change_while_nobody_is_in_it) {
  bench_t b;
  char one[128], ip[32];
  setup(&b, NETWORK);
  cr_expect_eq(code_of(&b, "network.configure", "{\"podCIDR\":\"" NETWORK "\"}"), 0);
  cr_expect_eq(code_of(&b, "network.configure", "{\"podCIDR\":\"10.78.0.0/24\"}"), 0);
  world_ns(&b.w, "one", one);
  attach(&b, "one", one, NULL, ip);
  cr_expect_str_eq(ip, "10.78.0.2");
  cr_expect_eq(code_of(&b, "network.configure", "{\"podCIDR\":\"" NETWORK "\"}"), 409);
  cr_expect_eq(code_of(&b, "network.configure", "{\"podCIDR\":\"10.78.0.0/33\"}"), 400);
  cr_expect_eq(code_of(&b, "network.configure", "{}"), 400);
  teardown(&b);
}

Test(network, a_swap_keeps_pods_and_addresses) {
  bench_t b;
  char one[128], two[128], ip1[32], ip2[32];
  kg_error_t err = {0};
  int64_t pause;
  setup(&b, NETWORK);
  world_ns(&b.w, "one", one);
  world_ns(&b.w, "two", two);
  attach(&b, "one", one, NULL, ip1);
  cr_assert_eq(kg_kernel_reload(driver_kernel(b.d), "network", &pause, &err), 0, "%s", err.text);
  cr_expect_eq(attached(&b), 1);
  attach(&b, "two", two, NULL, ip2);
  cr_expect_str_neq(ip1, ip2);
  serve(&b.w, one, 8080, false);
  cr_expect_str_eq(ask(two, ip1, 8080, false), ip2);
  teardown(&b);
}

typedef struct many {
  char (*paths)[128];
} many_t;

static void fill(int i, char **args, char **doc, void *arg) {
  many_t *m = arg;
  *doc = NULL;
  cr_assert(asprintf(args, "{\"id\":\"m%d\",\"netns\":\"%s\",\"ports\":[]}", i, m->paths[i]) > 0);
}

Test(network, fifty_pods_at_once) {
  bench_t b;
  char paths[50][128], name[16];
  int64_t took;
  setup(&b, NETWORK);
  for (int i = 0; i < 50; i++) {
    snprintf(name, sizeof name, "m%d", i);
    world_ns(&b.w, name, paths[i]);
  }
  many_t m = {paths};
  cr_assert_eq(driver_burst(b.d, "network", "network.attach", 50, fill, &m, &took), 50);
  cr_log_info("50 pods in %lld us", (long long)took);
  cr_expect_eq(attached(&b), 50);
  cr_expect_eq(atoi(sh("ls %s/network/pods | wc -l", b.data)), 50);
  cr_expect_lt(took, 2000000);
  teardown(&b);
}
