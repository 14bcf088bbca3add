/* DNS packets. The first byte chooses: a client's question, or what a resolver says to one of ours. */
#include "forward.c" /* take() is its own */

#include "fuzz.h"
#include "kube/json.h"

/* One headless Service with an endpoint stands for the cluster. */
static kg_doc_t *service, *slice;

bool kube_informer_synced(const kube_informer_t *inf) {
  return (void)inf, true;
}
kg_doc_t *kube_informer_get(const kube_informer_t *inf, kg_str_t ns, kg_str_t name) {
  return (void)inf, kg_str_is(ns, "b") && kg_str_is(name, "web") ? service : NULL;
}
void kube_informer_ns(const kube_informer_t *inf, kg_str_t ns, size_t *first, size_t *count) {
  (void)inf;
  *first = 0;
  *count = kg_str_is(ns, "b");
}
size_t resolvers_for(dns_t *d, const char *name, struct sockaddr_storage out[MOST_RESOLVERS]) {
  return (void)d, (void)name, (void)out, 0;
}
void resolver_failed(dns_t *d, const struct sockaddr_storage *a) {
  (void)d, (void)a;
}
void resolver_answered(dns_t *d, const struct sockaddr_storage *a) {
  (void)d, (void)a;
}

static kg_doc_t *object(const char *text) {
  kg_doc_t *d = kube_json_parse(text, strlen(text), NULL, NULL, NULL);
  FUZZ_MUST(d);
  return d;
}

static dns_t *server(void) {
  static dns_t *d;
  if (d) return d;
  service = object(
      "{\"metadata\":{\"name\":\"web\",\"namespace\":\"b\"},\"spec\":{\"clusterIP\":\"None\",\"ports\":[{\"name\":"
      "\"http\",\"protocol\":\"TCP\",\"port\":80}]}}");
  slice = object(
      "{\"metadata\":{\"name\":\"web-1\",\"namespace\":\"b\",\"labels\":{\"kubernetes.io/service-name\":\"web\"}},"
      "\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":8080}],\"endpoints\":[{"
      "\"addresses\":[\"10.1.0.5\"],\"hostname\":\"h\"}]}");
  d = calloc(1, sizeof *d);
  *d = (dns_t){.udp = -1, .tcp = -1};
  index_service(&d->index, kg_view_of(service), service);
  index_slice(&d->index, kg_view_of(slice), slice);
  strcpy(d->domain, "cluster.local");
  strcpy(d->cluster_ip, "10.96.0.10");
  return d;
}

/* An open question of ours: example.com, type A, id 1. */
static forward_t *open_question(dns_t *d) {
  static const uint8_t wire[] = "\0\x1d\0\1\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0\1";
  forward_t *f = calloc(1, sizeof *f);
  *f = (forward_t){.dns = d, .fd = -1, .id = 1, .nresolvers = 1, .tries = 1};
  f->wire_n = sizeof wire - 1;
  f->wire = malloc(f->wire_n);
  memcpy(f->wire, wire, f->wire_n);
  ldns_pkt *question = NULL;
  FUZZ_MUST(ldns_wire2pkt(&question, f->wire + 2, f->wire_n - 2) == LDNS_STATUS_OK);
  FUZZ_MUST(add_waiter(f, (asker_t){.id = 9, .most = LARGEST_UDP}, question));
  ldns_pkt_free(question);
  d->forwards = f;
  return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_in_t in = {data, data + size};
  dns_t *d = server();
  bool answer = fuzz_byte(&in) & 1;
  size_t n = (size_t)(in.end - in.p);
  uint8_t *wire = malloc(n ? n : 1);
  if (n) memcpy(wire, in.p, n);
  if (answer) {
    forward_t *f = open_question(d);
    take(f, wire, n);
  } else
    serve_question(d, (asker_t){.from_size = sizeof(struct sockaddr_in)}, wire, n);
  forwards_free(d);
  FUZZ_MUST(d->nforwards == 0);
  cache_free(d);
  free(wire);
  return 0;
}
