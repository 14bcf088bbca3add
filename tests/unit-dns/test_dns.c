/* The dns role: names as pods ask for them, at the address pods have in their resolv.conf. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ask.h"
#include "cluster.h"

#define DNS "10.43.0.10"
#define IN "default.svc.cluster.local"

typedef struct bench {
  cluster_t c;
  char pod[128], ip[32];
} bench_t;

static void slice(bench_t *t, const char *name, const char *service, const char *json) {
  char *text;
  cr_assert(
      asprintf(&text,
               "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\",\"labels\":{\"kubernetes.io/service-name\":"
               "\"%s\"}},%s}",
               name, service, json) > 0);
  object_put(&t->c, "discovery.k8s.io", "v1", "endpointslices", "default", name, text);
  free(text);
}

static const char *ask_how(bench_t *t, const char *name, const char *type, how_t how) {
  return dig(t->pod, DNS, name, type, how);
}
static const char *ask_for(bench_t *t, const char *name, const char *type) {
  return ask_how(t, name, type, OVER_UDP);
}

/* Until what the test made is known there. */
static void wait_for(bench_t *t, const char *name, const char *type, const char *wanted) {
  const char *said = "";
  for (int i = 0; i < 200 && strcmp(said, wanted); i++) {
    said = ask_for(t, name, type);
    nanosleep(&(struct timespec){0, 10000000}, NULL);
  }
  cr_assert_str_eq(said, wanted, "%s %s: %s", name, type, said);
}

static void setup(bench_t *t) {
  char config[400], path[160];
  memset(t, 0, sizeof *t);
  snprintf(path, sizeof path, "/tmp/kogge-resolv-%d", getpid());
  FILE *f = fopen(path, "w");
  fprintf(f, "# test\nnameserver %s\nsearch example.com\n", OUTSIDE_IP);
  fclose(f);
  snprintf(config, sizeof config, "{\"serviceCIDR\":\"10.43.0.0/16\",\"resolvConf\":\"%s\"}", path);
  cluster_up(&t->c, "proxy", "proxy-nft.so", "{\"nodeName\":\"here\"}");
  resolver_start(t->c.outside);
  driver_load(t->c.d, "dns", "dns.so", config);
  pod_up(&t->c, "pod", t->pod, t->ip);
  service_put(&t->c, "web",
              "{\"clusterIP\":\"10.43.1.1\",\"ports\":[{\"name\":\"http\",\"port\":80},{\"name\":\"dns\",\"port\":53,"
              "\"protocol\":\"UDP\"}]}");
  service_put(&t->c, "db", "{\"clusterIP\":\"None\",\"ports\":[{\"name\":\"sql\",\"port\":5432}]}");
  slice(t, "db-1", "db",
        "\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"sql\",\"port\":5432,\"protocol\":\"TCP\"}],\"endpoints\":["
        "{\"addresses\":[\"10.77.0.50\"],\"hostname\":\"db-0\"},{\"addresses\":[\"10.77.0.51\"]},"
        "{\"addresses\":[\"10.77.0.52\"],\"hostname\":\"db-2\",\"conditions\":{\"ready\":false}}]");
  wait_for(t, "db-0.db." IN, "A", "NOERROR db-0.db." IN ". A 10.77.0.50");
}

static void teardown(bench_t *t) {
  char path[160];
  snprintf(path, sizeof path, "/tmp/kogge-resolv-%d", getpid());
  unlink(path);
  cluster_down(&t->c);
}

Test(dns, services_and_endpoints) {
  bench_t t;
  setup(&t);
  cr_expect_str_eq(ask_for(&t, "web." IN, "A"), "NOERROR web." IN ". A 10.43.1.1");
  cr_expect_str_eq(ask_for(&t, "WEB.Default.svc.Cluster.local", "A"),
                   "NOERROR WEB.Default.svc.Cluster.local. A 10.43.1.1", "letters of either case, given back as asked");
  cr_expect_str_eq(ask_for(&t, "web." IN, "AAAA"), "NOERROR", "the name is there, the record is not");
  cr_expect_str_eq(ask_for(&t, "db." IN, "A"), "NOERROR db." IN ". A 10.77.0.50; db." IN ". A 10.77.0.51");
  cr_expect_str_eq(ask_for(&t, "10-77-0-51.db." IN, "A"), "NOERROR 10-77-0-51.db." IN ". A 10.77.0.51");
  cr_expect_str_eq(ask_for(&t, "db-2.db." IN, "A"), "NXDOMAIN", "not ready");
  cr_expect_str_eq(ask_for(&t, "nobody." IN, "A"), "NXDOMAIN");
  cr_expect_str_eq(ask_for(&t, "web.other.svc.cluster.local", "A"), "NXDOMAIN");
  cr_expect_str_eq(ask_for(&t, IN, "A"), "NOERROR", "a namespace");
  cr_expect_str_eq(ask_for(&t, "a.b.c.d.web." IN, "A"), "NXDOMAIN");
  cr_expect_str_eq(ask_for(&t, "example.com." IN, "A"), "NXDOMAIN", "search paths do not leave the cluster");
  cr_expect_eq(resolver_count(), 0);
  cr_expect_str_eq(ask_for(&t, "kubernetes." IN, "A"), "NOERROR kubernetes." IN ". A 10.43.0.1");
  cr_expect_str_eq(ask_for(&t, "kube-dns.kube-system.svc.cluster.local", "A"),
                   "NOERROR kube-dns.kube-system.svc.cluster.local. A 10.43.0.10");
  teardown(&t);
}

Test(dns, ports_pods_reverse_and_version) {
  bench_t t;
  setup(&t);
  cr_expect_str_eq(ask_for(&t, "_http._tcp.web." IN, "SRV"),
                   "NOERROR _http._tcp.web." IN ". SRV 0 100 80 web." IN ". + web." IN ". A 10.43.1.1");
  cr_expect_str_eq(ask_for(&t, "_dns._udp.web." IN, "SRV"),
                   "NOERROR _dns._udp.web." IN ". SRV 0 100 53 web." IN ". + web." IN ". A 10.43.1.1");
  cr_expect_str_eq(ask_for(&t, "_http._udp.web." IN, "SRV"), "NXDOMAIN");
  cr_expect_str_eq(ask_for(&t, "_sql._tcp.db." IN, "SRV"),
                   "NOERROR _sql._tcp.db." IN ". SRV 0 100 5432 10-77-0-51.db." IN ".; _sql._tcp.db." IN
                   ". SRV 0 100 5432 db-0.db." IN ". + 10-77-0-51.db." IN ". A 10.77.0.51; db-0.db." IN
                   ". A 10.77.0.50");
  cr_expect_str_eq(ask_for(&t, "10-77-0-9.default.pod.cluster.local", "A"),
                   "NOERROR 10-77-0-9.default.pod.cluster.local. A 10.77.0.9");
  cr_expect_str_eq(ask_for(&t, "1.1.43.10.in-addr.arpa", "PTR"), "NOERROR 1.1.43.10.in-addr.arpa. PTR web." IN ".");
  cr_expect_str_eq(ask_for(&t, "50.0.77.10.in-addr.arpa", "PTR"),
                   "NOERROR 50.0.77.10.in-addr.arpa. PTR db-0.db." IN ".");
  cr_expect_str_eq(ask_for(&t, "dns-version.cluster.local", "TXT"), "NOERROR dns-version.cluster.local. TXT \"1.1.0\"");
  cr_expect_str_eq(ask_for(&t, "cluster.local", "SOA"), "NOERROR cluster.local. SOA");
  teardown(&t);
}

Test(dns, names_follow_endpoints_that_move) {
  bench_t t;
  setup(&t);
  slice(&t, "db-1", "db",
        "\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"sql\",\"port\":5432,\"protocol\":\"TCP\"}],\"endpoints\":["
        "{\"addresses\":[\"10.77.0.60\"],\"hostname\":\"db-0\"}]");
  wait_for(&t, "60.0.77.10.in-addr.arpa", "PTR", "NOERROR 60.0.77.10.in-addr.arpa. PTR db-0.db." IN ".");
  cr_expect_str_eq(ask_for(&t, "db." IN, "A"), "NOERROR db." IN ". A 10.77.0.60");
  cr_expect_not(strstr(ask_for(&t, "50.0.77.10.in-addr.arpa", "PTR"), "db"), "it has moved");
  service_put(&t.c, "web", "{\"type\":\"ExternalName\",\"externalName\":\"example.com\",\"clusterIP\":null}");
  wait_for(&t, "web." IN, "CNAME", "NOERROR web." IN ". CNAME example.com.");
  cr_expect_not(strstr(ask_for(&t, "1.1.43.10.in-addr.arpa", "PTR"), "web"), "it has no address any more");
  object_delete(&t.c, "discovery.k8s.io", "v1", "endpointslices", "default", "db-1");
  wait_for(&t, "db." IN, "A", "NOERROR");
  cr_expect_not(strstr(ask_for(&t, "60.0.77.10.in-addr.arpa", "PTR"), "db"));
  teardown(&t);
}

Test(dns, aliases) {
  bench_t t;
  setup(&t);
  service_put(&t.c, "out", "{\"type\":\"ExternalName\",\"externalName\":\"www.example.com\"}");
  service_put(&t.c, "in", "{\"type\":\"ExternalName\",\"externalName\":\"web." IN "\"}");
  service_put(&t.c, "round", "{\"type\":\"ExternalName\",\"externalName\":\"round." IN "\"}");
  wait_for(&t, "round." IN, "CNAME", "NOERROR round." IN ". CNAME round." IN ".");
  cr_expect_str_eq(ask_for(&t, "out." IN, "A"),
                   "NOERROR out." IN ". CNAME www.example.com.; www.example.com. A 198.51.100.1");
  cr_expect_str_eq(ask_for(&t, "out." IN, "CNAME"), "NOERROR out." IN ". CNAME www.example.com.");
  cr_expect_str_eq(ask_for(&t, "in." IN, "A"), "NOERROR in." IN ". CNAME web." IN ".; web." IN ". A 10.43.1.1");
  cr_expect(strstr(ask_for(&t, "round." IN, "A"), "NOERROR round." IN ". CNAME"), "a circle ends");
  teardown(&t);
}

Test(dns, the_outside_and_its_cache) {
  bench_t t;
  setup(&t);
  cr_expect_str_eq(ask_for(&t, "www.example.com", "A"), "NOERROR www.example.com. A 198.51.100.1");
  cr_expect_eq(resolver_count(), 1);
  cr_expect_str_eq(ask_for(&t, "www.Example.com", "A"), "NOERROR www.example.com. A 198.51.100.1");
  cr_expect_eq(resolver_count(), 1, "from the cache");
  cr_expect_str_eq(ask_for(&t, "gone.example.com", "A"), "NXDOMAIN");
  const char *said = ask_how(&t, "big.example.com", "A", OVER_UDP);
  cr_expect_eq(strncmp(said, "NOERROR TC big", 14), 0, "%.40s", said);
  said = ask_how(&t, "big.example.com", "A", OVER_TCP);
  cr_expect(strstr(said, "198.51.100.100") && !strstr(said, "TC"), "%.40s", said);
  said = ask_how(&t, "big.example.com", "A", WITH_EDNS);
  cr_expect_eq(strncmp(said, "NOERROR TC big", 14), 0, "100 addresses do not fit into 1232 bytes: %.40s", said);
  cr_expect_str_eq(dig(NULL, DNS, "web." IN, "A", OVER_TCP), "NOERROR web." IN ". A 10.43.1.1", "from the node");
  teardown(&t);
}

static void settings(bench_t *t, const char *upstreams) {
  char text[500];
  snprintf(text, sizeof text,
           "{\"metadata\":{\"name\":\"kube-dns\",\"namespace\":\"kube-system\"},\"data\":{\"stubDomains\":"
           "\"{\\\"acme.test\\\":[\\\"" OUTSIDE_IP "\\\"]}\",\"upstreamNameservers\":\"[\\\"%s\\\"]\"}}",
           upstreams);
  object_put(&t->c, "", "v1", "configmaps", "kube-system", "kube-dns", text);
  nanosleep(&(struct timespec){0, 300000000}, NULL);
}

static int64_t took_ms(bench_t *t, const char *name, const char *wanted) {
  struct timespec a, b;
  clock_gettime(CLOCK_MONOTONIC, &a);
  cr_expect_str_eq(ask_how(t, name, "A", PATIENTLY), wanted);
  clock_gettime(CLOCK_MONOTONIC, &b);
  return (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
}

Test(dns, resolvers_of_the_config_map) {
  bench_t t;
  setup(&t);
  settings(&t, "192.0.2.99"); /* nobody */
  cr_expect_str_eq(ask_for(&t, "www.Acme.test", "A"), "NOERROR www.Acme.test. A 198.51.100.1", "a stub domain");
  int64_t took = took_ms(&t, "www.example.com", "SERVFAIL");
  cr_expect_lt(took, 4900, "clients hear of it before they give up: %d ms", (int)took);
  cr_expect_eq(resolver_count(), 1);
  settings(&t, "192.0.2.98\\\",\\\"" OUTSIDE_IP);
  took = took_ms(&t, "one.example.com", "NOERROR one.example.com. A 198.51.100.1");
  cr_expect_gt(took, 1500, "the first one is waited for: %d ms", (int)took);
  took = took_ms(&t, "two.example.com", "NOERROR two.example.com. A 198.51.100.1");
  cr_expect_lt(took, 1000, "once: %d ms", (int)took);
  teardown(&t);
}

Test(dns, a_resolver_that_asks_us_makes_no_endless_circle) {
  bench_t t;
  setup(&t);
  settings(&t, DNS);
  took_ms(&t, "www.example.com", "SERVFAIL");
  kg_msg_t *m = driver_call(t.c.d, "dns", "dns.status", NULL, NULL);
  int64_t questions = reply_int(m, "forwarded");
  kg_msg_unref(m);
  cr_expect_leq(questions, 10, "%d questions", (int)questions);
  object_delete(&t.c, "", "v1", "configmaps", "kube-system", "kube-dns");
  wait_for(&t, "www.example.com", "A", "NOERROR www.example.com. A 198.51.100.1");
  teardown(&t);
}

Test(dns, many_endpoints_need_tcp_and_garbage_does_no_harm) {
  bench_t t;
  char *text = malloc(8192);
  size_t n = (size_t)sprintf(text, "\"addressType\":\"IPv4\",\"ports\":[],\"endpoints\":[");
  for (int i = 1; i <= 60; i++)
    n += (size_t)sprintf(text + n, "%s{\"addresses\":[\"10.77.1.%d\"]}", i > 1 ? "," : "", i);
  strcpy(text + n, "]");
  setup(&t);
  service_put(&t.c, "many", "{\"clusterIP\":\"None\",\"ports\":[{\"port\":80}]}");
  slice(&t, "many-1", "many", text);
  free(text);
  wait_for(&t, "10-77-1-60.many." IN, "A", "NOERROR 10-77-1-60.many." IN ". A 10.77.1.60");
  cr_expect(strstr(ask_how(&t, "many." IN, "A", OVER_UDP), "NOERROR TC"));
  const char *said = ask_how(&t, "many." IN, "A", WITH_EDNS);
  cr_expect(strstr(said, "10.77.1.60") && !strstr(said, "TC"), "%.60s", said);
  said = ask_how(&t, "many." IN, "A", OVER_TCP);
  cr_expect(strstr(said, "10.77.1.60") && !strstr(said, "TC"), "%.60s", said);
  sh("nsenter --net=%s bash -c 'for i in 1 2 3; do head -c 200 /dev/urandom >/dev/udp/" DNS "/53; "
     "printf abc >/dev/udp/" DNS "/53; head -c 300 /dev/urandom >/dev/tcp/" DNS "/53; done' || true",
     t.pod);
  cr_expect_str_eq(ask_for(&t, "web." IN, "A"), "NOERROR web." IN ". A 10.43.1.1");
  teardown(&t);
}

Test(dns, a_swap_and_a_deleted_service) {
  bench_t t;
  kg_error_t err = {0};
  int64_t pause;
  setup(&t);
  cr_assert_eq(kg_kernel_reload(driver_kernel(t.c.d), "dns", &pause, &err), 0, "%s", err.text);
  wait_for(&t, "web." IN, "A", "NOERROR web." IN ". A 10.43.1.1");
  object_delete(&t.c, "", "v1", "services", "default", "web");
  wait_for(&t, "web." IN, "A", "NXDOMAIN");
  object_delete(&t.c, "", "v1", "services", "kube-system", "kube-dns");
  nanosleep(&(struct timespec){0, 300000000}, NULL);
  wait_for(&t, "kube-dns.kube-system.svc.cluster.local", "A",
           "NOERROR kube-dns.kube-system.svc.cluster.local. A 10.43.0.10");
  teardown(&t);
}
