/* Addresses and node ports of Services: bit maps, filled from the cache. */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"

enum { PORT_LOW = 30000, PORT_HIGH = 32767 };

struct services {
  uint32_t net, size; /* addresses net .. net + size - 1, host byte order */
  char cidr[40];
  uint8_t *ips;
  uint8_t ports[(PORT_HIGH - PORT_LOW + 8) / 8];
};

static bool bit(const uint8_t *map, uint32_t i) {
  return map[i / 8] >> (i % 8) & 1;
}

static void set_bit(uint8_t *map, uint32_t i, bool on) {
  if (on)
    map[i / 8] |= (uint8_t)(1 << (i % 8));
  else
    map[i / 8] &= (uint8_t) ~(1 << (i % 8));
}

/* Configuration: serviceCIDR, "10.96.0.0/12". */
int services_init(api_t *api, kg_error_t *err) {
  services_t *s = calloc(1, sizeof *s);
  kg_str_t cidr = arg_str(kg_config(api->ctx), "serviceCIDR");
  unsigned bits;
  if (!s) return kg_error_set(err, KG_EINTERNAL, "api: out of memory");
  api->services = s;
  snprintf(s->cidr, sizeof s->cidr, KG_STR_FMT, KG_STR_ARG(cidr.n ? cidr : KG_STR("10.96.0.0/12")));
  if (kube_ipv4_range(kg_str(s->cidr), &s->net, &bits) < 0 || bits < 8 || bits > 29)
    return kg_error_set(err, KG_EINVAL, "api: serviceCIDR must be an IPv4 network of /8 to /29, not %s", s->cidr);
  s->size = 1u << (32 - bits);
  s->ips = calloc(1, s->size / 8 + 1);
  if (!s->ips) return kg_error_set(err, KG_EINTERNAL, "api: out of memory");
  set_bit(s->ips, 0, true);
  set_bit(s->ips, s->size - 1, true);
  return 0;
}

void services_free(api_t *api) {
  if (!api->services) return;
  free(api->services->ips);
  free(api->services);
}

/* Index in the network, or -1. */
static int64_t ip_index(const services_t *s, kg_str_t text) {
  uint32_t ip;
  if (kube_ipv4(text, &ip) < 0) return -1;
  return ip - s->net < s->size ? (int64_t)(ip - s->net) : -1;
}

static void see_port(services_t *s, int64_t port, bool there) {
  if (port >= PORT_LOW && port <= PORT_HIGH) set_bit(s->ports, (uint32_t)(port - PORT_LOW), there);
}

void services_seen(api_t *api, kg_view_t service, bool there) {
  services_t *s = api->services;
  kg_view_t spec = kg_view_get(service, "spec");
  int64_t ip = ip_index(s, arg_str(spec, "clusterIP"));
  if (ip > 0) set_bit(s->ips, (uint32_t)ip, there);
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "ports")); kg_iter_next(&it);) {
    int64_t port = kg_view_int(kg_view_get(it.value, "nodePort"), 0);
    see_port(s, port, there);
  }
  see_port(s, kg_view_int(kg_view_get(spec, "healthCheckNodePort"), 0), there);
}

typedef struct kept_port { /* in the write's arena */
  struct kept_port *next;
  uint32_t port;
} kept_port_t;

/* Gives back what this try took and nobody got. */
void service_undo(write_t *w) {
  services_t *s = w->q.api->services;
  if (w->cluster_ip) set_bit(s->ips, w->cluster_ip, false);
  for (const kept_port_t *k = w->node_ports; k; k = k->next) set_bit(s->ports, k->port - PORT_LOW, false);
  w->cluster_ip = 0;
  w->node_ports = NULL;
}

static bool invalid(write_t *w, const char *field, const char *fmt, ...) KG_PRINTF(3, 4);
static bool invalid(write_t *w, const char *field, const char *fmt, ...) {
  char text[400];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  kube_node_t *causes = kube_array(w->arena);
  cause_add(w->arena, causes, "FieldValueInvalid", field, "%s", text);
  return fault_invalid(&w->fault, w->q.r, w->q.name, causes);
}

/* The lowest of a range are for those who ask for one: who takes any gets them last. (KEP-3070, KEP-3668) */
static uint32_t band(uint32_t n, uint32_t part, uint32_t most) {
  uint32_t lowest = n / part < 16 ? 16 : n / part;
  return n <= 16 ? 0 : lowest < most ? lowest : most;
}

/* The k-th of n to try: those above the low ones from `start` on, then these. */
static uint32_t kth(uint32_t k, uint32_t start, uint32_t low, uint32_t n) {
  return k < n - low ? low + (start + k) % (n - low) : k - (n - low);
}

/* --- cluster addresses ------------------------------------------------------------------------------------------- */

static bool take_ip(write_t *w, uint32_t i) {
  services_t *s = w->q.api->services;
  if (bit(s->ips, i)) return false;
  set_bit(s->ips, i, true);
  w->cluster_ip = i;
  return true;
}

static bool free_ip(write_t *w, char text[32]) {
  services_t *s = w->q.api->services;
  uint32_t start = (uint32_t)(kg_random(w->q.ctx) % s->size), low = band(s->size, 16, 256);
  for (uint32_t k = 0; k < s->size; k++) {
    uint32_t i = kth(k, start, low, s->size);
    if (i < 2 || !take_ip(w, i)) continue; /* the first address is the API's own */
    struct in_addr addr = {htonl(s->net + i)};
    inet_ntop(AF_INET, &addr, text, 32);
    return true;
  }
  return fault_other(&w->fault, 500, "InternalError",
                     "Internal error occurred: failed to allocate a serviceIP: range is full");
}

static void set_ip(kube_arena_t *a, kube_node_t *spec, const char *ip) {
  kube_node_t *list = kube_array(a);
  kube_push(a, list, kube_str(a, ip));
  kube_set(a, spec, "clusterIP", kube_str(a, ip));
  kube_set(a, spec, "clusterIPs", list);
}

static bool cluster_ip(write_t *w, kube_node_t *spec) {
  services_t *s = w->q.api->services;
  kube_node_t *list = kube_get(spec, "clusterIPs");
  kg_str_t ip = kube_node_str(kube_get(spec, "clusterIP"));
  if (!ip.n && list && list->type == KG_V_ARRAY && list->c.n) ip = kube_node_str(list->c.items[0]);
  char text[64];
  if (ip.n) {
    snprintf(text, sizeof text, KG_STR_FMT, KG_STR_ARG(ip));
    int64_t i = ip_index(s, ip);
    if (!kg_str_is(ip, "None") && i < 0)
      return invalid(w, "spec.clusterIPs",
                     "Invalid value: [\"%s\"]: failed to allocate IP %s: the provided IP (%s) is not in the valid "
                     "range. The range of valid IPs is %s",
                     text, text, text, s->cidr);
    if (i >= 0 && !take_ip(w, (uint32_t)i))
      return invalid(w, "spec.clusterIPs",
                     "Invalid value: [\"%s\"]: failed to allocate IP %s: provided IP is already allocated", text, text);
  } else if (!free_ip(w, text)) {
    return false;
  }
  set_ip(w->arena, spec, text);
  return true;
}

/* --- node ports -------------------------------------------------------------------------------------------------- */

static void keep_port(write_t *w, uint32_t port) {
  kept_port_t *k = kube_arena_alloc(w->arena, sizeof *k);
  if (!k) return;
  *k = (kept_port_t){w->node_ports, port};
  w->node_ports = k;
  set_bit(w->q.api->services->ports, port - PORT_LOW, true);
}

static bool take_port(write_t *w, int64_t wanted, const char *field) {
  if (wanted < PORT_LOW || wanted > PORT_HIGH)
    return invalid(w, field,
                   "Invalid value: %lld: provided port is not in the valid range. The range of valid ports is %d-%d",
                   (long long)wanted, PORT_LOW, PORT_HIGH);
  if (bit(w->q.api->services->ports, (uint32_t)wanted - PORT_LOW))
    return invalid(w, field, "Invalid value: %lld: provided port is already allocated", (long long)wanted);
  keep_port(w, (uint32_t)wanted);
  return true;
}

static bool free_port(write_t *w, kube_node_t *at, const char *key) {
  uint32_t n = PORT_HIGH - PORT_LOW + 1, start = (uint32_t)(kg_random(w->q.ctx) % n), low = band(n, 32, 128);
  for (uint32_t k = 0; k < n; k++) {
    uint32_t i = kth(k, start, low, n);
    if (bit(w->q.api->services->ports, i)) continue;
    keep_port(w, PORT_LOW + i);
    kube_set(w->arena, at, key, kube_int(w->arena, PORT_LOW + i));
    return true;
  }
  return fault_other(&w->fault, 500, "InternalError",
                     "Internal error occurred: failed to allocate a nodePort: range is full");
}

/* The port an older state of the service had under the same protocol and number. */
static int64_t old_port(const kube_node_t *old, const kube_node_t *port) {
  const kube_node_t *list = kube_path(old, "spec", "ports", NULL);
  for (uint32_t i = 0; list && list->type == KG_V_ARRAY && i < list->c.n; i++) {
    const kube_node_t *p = list->c.items[i];
    if (kube_node_int(kube_get(p, "port"), 0) == kube_node_int(kube_get(port, "port"), -1) &&
        kg_str_eq(kube_node_str(kube_get(p, "protocol")), kube_node_str(kube_get(port, "protocol"))))
      return kube_node_int(kube_get(p, "nodePort"), 0);
  }
  return 0;
}

static bool has_port(const kube_node_t *old, int64_t port) {
  const kube_node_t *list = kube_path(old, "spec", "ports", NULL);
  for (uint32_t i = 0; list && list->type == KG_V_ARRAY && i < list->c.n; i++)
    if (kube_node_int(kube_get(list->c.items[i], "nodePort"), 0) == port) return true;
  return false;
}

/* One port number may be served over several protocols, by one node port. */
static int64_t twin_port(const kube_node_t *list, const kube_node_t *port) {
  for (uint32_t i = 0; i < list->c.n; i++) {
    const kube_node_t *p = list->c.items[i];
    if (p != port && kube_node_int(kube_get(p, "port"), 0) == kube_node_int(kube_get(port, "port"), -1) &&
        !kg_str_eq(kube_node_str(kube_get(p, "protocol")), kube_node_str(kube_get(port, "protocol"))))
      return kube_node_int(kube_get(p, "nodePort"), 0);
  }
  return 0;
}

static bool taken_before(const kube_node_t *list, uint32_t at, int64_t port) {
  for (uint32_t i = 0; i < at; i++)
    if (kube_node_int(kube_get(list->c.items[i], "nodePort"), 0) == port &&
        !kg_str_eq(kube_node_str(kube_get(list->c.items[i], "protocol")),
                   kube_node_str(kube_get(list->c.items[at], "protocol"))))
      return true;
  return false;
}

static bool node_port(write_t *w, kube_node_t *list, uint32_t at, const kube_node_t *old) {
  kube_node_t *port = list->c.items[at];
  int64_t now = kube_node_int(kube_get(port, "nodePort"), 0);
  char field[64];
  if (!now) {
    now = old_port(old, port);
    if (!now) now = twin_port(list, port);
    if (now) kube_set(w->arena, port, "nodePort", kube_int(w->arena, now));
  }
  if (!now) return free_port(w, port, "nodePort");
  if (has_port(old, now) || taken_before(list, at, now)) return true;
  snprintf(field, sizeof field, "spec.ports[%u].nodePort", at);
  return take_port(w, now, field);
}

static bool node_ports(write_t *w, kube_node_t *spec, const kube_node_t *old) {
  kg_str_t type = kube_node_str(kube_get(spec, "type"));
  kube_node_t *list = kube_get(spec, "ports"), *no = kube_get(spec, "allocateLoadBalancerNodePorts");
  bool balanced = kg_str_is(type, "LoadBalancer"), allowed = balanced || kg_str_is(type, "NodePort");
  bool wanted = allowed && !(balanced && !kube_node_bool(no, true));
  for (uint32_t i = 0; list && list->type == KG_V_ARRAY && i < list->c.n; i++) {
    kube_node_t *port = list->c.items[i];
    int64_t now = kube_node_int(kube_get(port, "nodePort"), 0);
    if (!allowed && now && has_port(old, now)) kube_del(port, "nodePort");
    if (!allowed || (!wanted && !now)) continue;
    if (!node_port(w, list, i, old)) return false;
  }
  return true;
}

/* Where load balancers ask whether this node has endpoints of a Service that keeps the clients' addresses. */
static bool wants_health_port(const kube_node_t *spec) {
  return kg_str_is(kube_node_str(kube_get(spec, "type")), "LoadBalancer") &&
         kg_str_is(kube_node_str(kube_get(spec, "externalTrafficPolicy")), "Local");
}

static bool health_port(write_t *w, kube_node_t *spec, const kube_node_t *before) {
  static const char key[] = "healthCheckNodePort";
  int64_t now = kube_node_int(kube_get(spec, key), 0), was = kube_node_int(kube_get(before, key), 0);
  if (!wants_health_port(spec)) {
    if (now && now == was) kube_del(spec, key);
    return true;
  }
  if (!now && was) kube_set(w->arena, spec, key, kube_int(w->arena, now = was));
  if (!now) return free_port(w, spec, key);
  return now == was || take_port(w, now, "spec.healthCheckNodePort");
}

/* --- services ---------------------------------------------------------------------------------------------------- */

static void defaults(kube_arena_t *a, kube_node_t *spec) {
  kg_str_t type = kube_node_str(kube_get(spec, "type"));
  bool outside = kg_str_is(type, "NodePort") || kg_str_is(type, "LoadBalancer");
  if (!kube_get(spec, "ipFamilies")) {
    kube_node_t *list = kube_array(a);
    kube_push(a, list, kube_str(a, "IPv4"));
    kube_set(a, spec, "ipFamilies", list);
  }
  if (!kube_get(spec, "ipFamilyPolicy")) kube_set(a, spec, "ipFamilyPolicy", kube_str(a, "SingleStack"));
  if (!kube_get(spec, "internalTrafficPolicy")) kube_set(a, spec, "internalTrafficPolicy", kube_str(a, "Cluster"));
  if (outside && !kube_get(spec, "externalTrafficPolicy"))
    kube_set(a, spec, "externalTrafficPolicy", kube_str(a, "Cluster"));
  if (kg_str_is(type, "LoadBalancer") && !kube_get(spec, "allocateLoadBalancerNodePorts"))
    kube_set(a, spec, "allocateLoadBalancerNodePorts", kube_bool(a, true));
}

static bool is_external(const kube_node_t *spec) {
  return node_is(kube_get(spec, "type"), "ExternalName");
}

bool service_create(write_t *w, kube_node_t *object) {
  kube_node_t *spec = kube_sub(w->arena, object, "spec");
  if (is_external(spec)) return true;
  if (!cluster_ip(w, spec)) return false;
  defaults(w->arena, spec);
  return node_ports(w, spec, NULL) && health_port(w, spec, NULL);
}

/* What only another type of service has goes with that type, unless it is asked for anew. */
static void drop_unfit(kube_node_t *spec, const kube_node_t *before) {
  static const struct {
    const char *key;
    bool node_port; /* also what a NodePort service has */
  } keys[] = {{"externalTrafficPolicy", true},
              {"allocateLoadBalancerNodePorts", false},
              {"loadBalancerClass", false},
              {"healthCheckNodePort", false}};
  bool balanced = node_is(kube_get(spec, "type"), "LoadBalancer"), port = node_is(kube_get(spec, "type"), "NodePort");
  for (size_t i = 0; i < sizeof keys / sizeof *keys && !balanced; i++)
    if (!(port && keys[i].node_port) && kube_tree_equal(kube_get(spec, keys[i].key), kube_get(before, keys[i].key)))
      kube_del(spec, keys[i].key);
}

bool service_update(write_t *w, kube_node_t *object, const kube_node_t *old) {
  kube_arena_t *a = w->arena;
  kube_node_t *spec = kube_sub(a, object, "spec"), *before = kube_get(old, "spec");
  service_undo(w); /* of the try before */
  drop_unfit(spec, before);
  if (is_external(spec)) {
    static const char *const addresses[] = {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses && !is_external(before); i++)
      kube_del(spec, addresses[i]);
    return node_ports(w, spec, old);
  }
  kg_str_t was = kube_node_str(kube_get(before, "clusterIP")), is = kube_node_str(kube_get(spec, "clusterIP"));
  char text[64];
  snprintf(text, sizeof text, KG_STR_FMT, KG_STR_ARG(was));
  if (was.n && !is.n) set_ip(a, spec, text);
  if (was.n && is.n && !kg_str_eq(was, is))
    return invalid(w, "spec.clusterIPs[0]", "Invalid value: [\"" KG_STR_FMT "\"]: may not change once set",
                   KG_STR_ARG(is));
  if (!was.n && !cluster_ip(w, spec)) return false;
  defaults(a, spec);
  return node_ports(w, spec, old) && health_port(w, spec, before);
}

const char *services_cidr(const api_t *api) {
  return api->services->cidr;
}

void services_first_ip(const api_t *api, char text[32]) {
  struct in_addr addr = {htonl(api->services->net + 1)};
  inet_ntop(AF_INET, &addr, text, 32);
}
