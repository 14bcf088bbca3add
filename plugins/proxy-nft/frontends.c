/* From a Service to the elements it wants in the kernel. */
#include <stdio.h>

#include "kube/values.h"
#include "proxy.h"

enum { AFFINITY_S = 10800 };
#define LABEL_OTHER_PROXY "service.kubernetes.io/service-proxy-name"
#define LABEL_HEADLESS "service.kubernetes.io/headless"

typedef enum { INTERNAL, EXTERNAL_ALL, EXTERNAL_LOCAL, EXTERNAL_INSIDE } kind_t;

typedef struct maker {
  const service_t *s;
  const char *node;
  uint32_t *numbers;
  elements_t *elements;
  affinity_t *affinities;
  size_t naffinities;
  int64_t timeout_s; /* 0: no affinity */
  protocol_t protocol;
  uint16_t port;
} maker_t;

protocol_t protocol_of(kg_str_t text) {
  return kg_str_is(text, "UDP") ? UDP : kg_str_is(text, "SCTP") ? SCTP : TCP;
}

void element_add(elements_t *e, element_t one) {
  if (e->n == e->room) {
    size_t room = e->room ? e->room * 2 : 8;
    element_t *all = realloc(e->all, room * sizeof *all);
    if (!all) return;
    e->all = all;
    e->room = room;
  }
  e->all[e->n++] = one;
}

static int compare(uint32_t a, uint32_t b) {
  return a < b ? -1 : a > b;
}

int element_order(const void *x, const void *y) {
  const element_t *a = x, *b = y;
  int o = compare(a->place, b->place);
  if (!o) o = compare(a->ip, b->ip);
  if (!o) o = compare(a->protocol, b->protocol);
  if (!o) o = compare(a->port, b->port);
  if (!o) o = compare(a->slot, b->slot);
  return o ? o : compare(a->bits, b->bits);
}

bool element_same_key(const element_t *a, const element_t *b) {
  return element_order(a, b) == 0;
}

bool element_equal(const element_t *a, const element_t *b) {
  return element_same_key(a, b) && a->verdict == b->verdict && a->to == b->to && a->to_port == b->to_port;
}

void affinities_free(affinity_t *a, size_t n) {
  for (size_t i = 0; i < n; i++) free(a[i].backends);
  free(a);
}

/* --- affinity: one set of chains for each port and kind, shared by its addresses ---------------------------------- */

static const affinity_t *known(const affinity_t *all, size_t n, uint32_t tag) {
  for (size_t i = 0; i < n; i++)
    if (all[i].tag == tag) return &all[i];
  return NULL;
}

static const affinity_t *affinity_for(maker_t *m, kind_t kind, const backends_t *b) {
  uint32_t tag = (uint32_t)m->protocol << 20 | (uint32_t)m->port << 4 | kind;
  const affinity_t *made = known(m->affinities, m->naffinities, tag);
  if (made) return made;
  const affinity_t *old = known(m->s->affinities, m->s->naffinities, tag);
  affinity_t *more = realloc(m->affinities, (m->naffinities + 1) * sizeof *more);
  if (!more) return NULL;
  m->affinities = more;
  affinity_t *a = &more[m->naffinities];
  *a = (affinity_t){.tag = tag, .timeout_s = m->timeout_s, .masquerade = kind == EXTERNAL_ALL, .n = b->n};
  a->number = old && old->timeout_s == a->timeout_s ? old->number : ++*m->numbers;
  if (!(a->backends = malloc(b->n * sizeof *b->all))) return NULL;
  memcpy(a->backends, b->all, b->n * sizeof *b->all);
  m->naffinities++;
  return a;
}

/* --- one frontend ------------------------------------------------------------------------------------------------- */

static void add_backends(maker_t *m, bool node, uint32_t ip, uint32_t first, const backends_t *b) {
  size_t slots = b->n <= EXACT ? b->n : MOST;
  for (size_t i = 0; i < slots; i++)
    element_add(m->elements, (element_t){.place = node ? NODE_BACKENDS : BACKENDS,
                                         .ip = ip,
                                         .protocol = (uint8_t)m->protocol,
                                         .port = m->port,
                                         .slot = first + (uint32_t)i,
                                         .to = b->all[i % b->n].ip,
                                         .to_port = b->all[i % b->n].port});
}

static void add_verdict(maker_t *m, place_t place, uint32_t ip, verdict_t verdict, uint32_t to) {
  element_add(m->elements, (element_t){.place = (uint8_t)place,
                                       .ip = ip,
                                       .protocol = (uint8_t)m->protocol,
                                       .port = m->port,
                                       .verdict = (uint8_t)verdict,
                                       .to = to});
}

/* node: a node port; ip is 0 then. */
static void frontend(maker_t *m, kind_t kind, bool node, uint32_t ip, const backends_t *b) {
  static const verdict_t verdicts[] = {PLAIN, MASQUERADE, PLAIN, CLUSTER};
  place_t place = kind == EXTERNAL_INSIDE ? (node ? NODE_INSIDE : INSIDE_ONLY) : node ? NODE_PORTS : SERVICES;
  if (!b->n) return;
  if (m->timeout_s) {
    const affinity_t *a = affinity_for(m, kind, b);
    if (a) add_verdict(m, place, ip, OWN, a->number);
    return;
  }
  add_verdict(m, place, ip, verdicts[kind], (uint32_t)(b->n <= EXACT ? b->n : MOST));
  add_backends(m, node, ip, kind == EXTERNAL_INSIDE ? INSIDE : 0, b);
}

static void external(maker_t *m, bool node, uint32_t ip, bool local_only, const backends_t *cluster,
                     const backends_t *local) {
  const backends_t *b = local_only ? local : cluster;
  frontend(m, local_only ? EXTERNAL_LOCAL : EXTERNAL_ALL, node, ip, b);
  if (local_only) frontend(m, EXTERNAL_INSIDE, node, ip, cluster);
  if (!b->n) add_verdict(m, node ? NODE_REFUSED : REFUSED, ip, cluster->n ? DROP : REJECT, 0);
}

/* --- a service ---------------------------------------------------------------------------------------------------- */

static void cluster_ips(maker_t *m, kg_view_t spec, const backends_t *b, bool elsewhere) {
  uint32_t ip;
  kg_view_t list = kg_view_get(spec, "clusterIPs");
  size_t n = kg_view_count(list);
  for (size_t i = 0; i < (n ? n : 1); i++) {
    if (kube_ipv4(kg_view_str(n ? kg_view_at(list, i) : kg_view_get(spec, "clusterIP")), &ip) < 0) continue;
    frontend(m, INTERNAL, false, ip, b);
    if (!b->n) add_verdict(m, REFUSED, ip, elsewhere ? DROP : REJECT, 0);
  }
}

static void restrict_to(maker_t *m, uint32_t ip, kg_view_t ranges) {
  uint32_t net;
  unsigned bits;
  if (!kg_view_count(ranges)) return;
  add_verdict(m, RESTRICTED, ip, PLAIN, 0);
  for (kg_iter_t it = kg_iter(ranges); kg_iter_next(&it);) {
    kg_str_t range = kg_view_str(it.value); /* spaces around it are allowed */
    while (range.n && range.p[0] == ' ') range.p++, range.n--;
    while (range.n && range.p[range.n - 1] == ' ') range.n--;
    if (kube_ipv4_range(range, &net, &bits) < 0) continue;
    element_add(m->elements, (element_t){.place = ALLOWED,
                                         .ip = ip,
                                         .protocol = (uint8_t)m->protocol,
                                         .port = m->port,
                                         .slot = net,
                                         .bits = (uint8_t)bits});
  }
}

static bool kind_is(kg_view_t spec, const char *key, const char *value) {
  return kg_str_is(kg_view_str(kg_view_get(spec, key)), value);
}

static void outside_ips(maker_t *m, kg_view_t service, bool local_only, const backends_t *cluster,
                        const backends_t *local) {
  uint32_t ip;
  kg_view_t spec = kg_view_get(service, "spec");
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "externalIPs")); kg_iter_next(&it);)
    if (kube_ipv4(kg_view_str(it.value), &ip) == 0) external(m, false, ip, local_only, cluster, local);
  if (!kind_is(spec, "type", "LoadBalancer")) return;
  for (kg_iter_t it = kg_iter(kg_view_path(service, "status", "loadBalancer", "ingress", NULL)); kg_iter_next(&it);) {
    if (kind_is(it.value, "ipMode", "Proxy") || kube_ipv4(kg_view_str(kg_view_get(it.value, "ip")), &ip) < 0) continue;
    external(m, false, ip, local_only, cluster, local);
    restrict_to(m, ip, kg_view_get(spec, "loadBalancerSourceRanges"));
  }
}

static void one_port(maker_t *m, kg_view_t service, kg_view_t port) {
  kg_view_t spec = kg_view_get(service, "spec");
  backends_t cluster = {0}, local = {0};
  int64_t number = kg_view_int(kg_view_get(port, "port"), 0), node = kg_view_int(kg_view_get(port, "nodePort"), 0);
  if (number <= 0 || number > 65535) return;
  m->protocol = protocol_of(kg_view_str(kg_view_get(port, "protocol")));
  m->port = (uint16_t)number;
  backends_of(m->s, kg_view_str(kg_view_get(port, "name")), m->protocol, m->node, &cluster, &local);
  bool inside_local = kind_is(spec, "internalTrafficPolicy", "Local");
  bool outside_local = kind_is(spec, "externalTrafficPolicy", "Local");
  cluster_ips(m, spec, inside_local ? &local : &cluster, cluster.n > 0);
  outside_ips(m, service, outside_local, &cluster, &local);
  if (node > 0 && node < 65536) {
    m->port = (uint16_t)node;
    external(m, true, 0, outside_local, &cluster, &local);
  }
  free(cluster.all);
  free(local.all);
}

bool service_is_ours(const service_t *s) {
  kg_view_t service = kg_view_of(s->doc), labels = kube_labels(service), spec = kg_view_get(service, "spec");
  return kg_view_there(spec) && !kg_view_there(kg_view_get(labels, LABEL_OTHER_PROXY)) &&
         !kg_view_there(kg_view_get(labels, LABEL_HEADLESS)) && !kind_is(spec, "type", "ExternalName") &&
         !kind_is(spec, "clusterIP", "None");
}

void service_wants(const service_t *s, const char *node, uint32_t *numbers, elements_t *elements,
                   affinity_t **affinities, size_t *naffinities) {
  kg_view_t service = kg_view_of(s->doc), spec = kg_view_get(service, "spec");
  maker_t m = {.s = s, .node = node, .numbers = numbers, .elements = elements};
  if (kind_is(spec, "sessionAffinity", "ClientIP"))
    m.timeout_s =
        kg_view_int(kg_view_path(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds", NULL), AFFINITY_S);
  if (service_is_ours(s))
    for (kg_iter_t it = kg_iter(kg_view_get(spec, "ports")); kg_iter_next(&it);) one_port(&m, service, it.value);
  if (elements->n) qsort(elements->all, elements->n, sizeof *elements->all, element_order);
  size_t n = 0; /* the same address may be named twice */
  for (size_t i = 0; i < elements->n; i++)
    if (!n || !element_same_key(&elements->all[i], &elements->all[n - 1])) elements->all[n++] = elements->all[i];
  elements->n = n;
  *affinities = m.affinities;
  *naffinities = m.naffinities;
}
