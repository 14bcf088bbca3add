/* Services, ingresses, network policies. */
#include <arpa/inet.h>
#include <string.h>

#include "validate.h"

static bool address(kg_str_t s, unsigned char out[16], int *family) {
  char text[64];
  if (!s.n || s.n >= sizeof text) return false;
  memcpy(text, s.p, s.n);
  text[s.n] = 0;
  *family = inet_pton(AF_INET, text, out) == 1 ? 4 : inet_pton(AF_INET6, text, out) == 1 ? 6 : 0;
  return *family != 0;
}

/* Addresses that mean this host or this link are no place to send others to. */
KUBE_CALL(nonspecial_ip) {
  (void)old;
  unsigned char b[16] = {0};
  static const unsigned char any6[16], one6[16] = {[15] = 1};
  const char *field = r->each || r->field[0] == '-' ? NULL : r->field, *words = NULL;
  int family;
  kg_str_t s = kube_node_str(v);
  if (!address(s, b, &family)) return;
  bool four = family == 4;
  if (four ? !b[0] && !b[1] && !b[2] && !b[3] : !memcmp(b, any6, 16))
    words = four ? "may not be unspecified (0.0.0.0 or ::)" : "may not be unspecified (0.0.0.0 or ::)";
  else if (four ? b[0] == 127 : !memcmp(b, one6, 16))
    words = "may not be in the loopback range (127.0.0.0/8, ::1/128)";
  else if (four ? b[0] == 169 && b[1] == 254 : b[0] == 0xfe && (b[1] & 0xc0) == 0x80)
    words = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
  else if (four ? b[0] == 224 && !b[1] && !b[2] : b[0] == 0xff && (b[1] & 0x0f) == 2)
    words = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
  if (words) kube_invalid_str(c, field, s, words);
}

/* --- services --------------------------------------------------------------------------------------------------- */

static void service_ports(kube_check_t *c, const kube_node_t *ports, bool cluster, bool balanced) {
  kube_node_t *seen = kube_map(c->a), *nodes = kube_map(c->a);
  for (uint32_t i = 0; i < kube_count(ports); i++) {
    const kube_node_t *p = ports->c.items[i], *node = kube_get(p, "nodePort");
    kg_str_t protocol = kube_text(p, "protocol");
    size_t n = kube_path_push(c, "ports");
    kube_path_index(c, i);
    if (kube_count(ports) > 1 && !kube_text(p, "name").n) kube_required(c, "name", NULL);
    if (balanced && kube_node_int(kube_get(p, "port"), 0) == 10250)
      kube_invalid(c, "port", kube_get(p, "port"), "may not expose port 10250 externally since it is used by kubelet");
    if (cluster && kube_node_int(node, 0)) kube_forbidden(c, "nodePort", "may not be used when `type` is 'ClusterIP'");
    const char *on = kube_arena_fmt(c->a, KG_STR_FMT "/", KG_STR_ARG(protocol));
    if (kube_noted(c, seen, kube_arena_fmt(c->a, "%s%s", on, kube_value_text(c, kube_get(p, "port"))))) {
      kube_node_t *key = kube_map(c->a);
      kube_set(c->a, key, "port", kube_get(p, "port"));
      kube_set(c->a, key, "protocol", kube_get(p, "protocol"));
      kube_duplicate(c, NULL, key);
    }
    if (kube_node_int(node, 0) && kube_noted(c, nodes, kube_arena_fmt(c->a, "%s%s", on, kube_value_text(c, node))))
      kube_duplicate(c, "nodePort", node);
    kube_path_pop(c, n);
  }
}

static bool headless(const kube_node_t *spec) {
  return kube_is(spec, "clusterIP", "None") ||
         kg_str_is(kube_node_str(kube_at(kube_get(spec, "clusterIPs"), 0)), "None");
}

static void affinity(kube_check_t *c, const kube_node_t *spec) {
  const kube_node_t *config = kube_get(spec, "sessionAffinityConfig");
  if (kube_is(spec, "sessionAffinity", "None") && config)
    kube_forbidden(c, "sessionAffinityConfig", "must not be set when session affinity is None");
  if (!kube_is(spec, "sessionAffinity", "ClientIP")) return;
  if (!config)
    kube_required(c, "sessionAffinityConfig", "when session affinity type is ClientIP");
  else if (!kube_get(config, "clientIP"))
    kube_required(c, "sessionAffinityConfig.clientIP", "when session affinity type is ClientIP");
  else if (!kube_node_look(config, "clientIP.timeoutSeconds"))
    kube_required(c, "sessionAffinityConfig.clientIP.timeoutSeconds", "when session affinity type is ClientIP");
}

static void traffic(kube_check_t *c, const kube_node_t *spec, bool outside, bool balanced) {
  const kube_node_t *policy = kube_get(spec, "externalTrafficPolicy"), *check = kube_get(spec, "healthCheckNodePort");
  bool local = balanced && kube_is(spec, "externalTrafficPolicy", "Local");
  if (outside && kube_node_empty(policy)) kube_required(c, "externalTrafficPolicy", NULL);
  if (!outside && !kube_node_empty(policy))
    kube_invalid(c, "externalTrafficPolicy", policy, "may only be set for externally-accessible services");
  if (kube_node_int(check, 0) && !local)
    kube_invalid(c, "healthCheckNodePort", check,
                 "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
}

static void of_external_name(kube_check_t *c, const kube_node_t *spec) {
  static const char *const keys[] = {"clusterIPs", "ipFamilies", "ipFamilyPolicy"};
  kg_str_t name = kube_text(spec, "externalName"), host = name;
  for (int i = 0; i < 3; i++)
    if (!kube_node_empty(kube_get(spec, keys[i])) || (i == 0 && kube_text(spec, "clusterIP").n))
      kube_forbidden(c, keys[i], "may not be set for ExternalName services");
  if (host.n && host.p[host.n - 1] == '.') host.n--;
  if (host.n)
    kube_check_form(c, "externalName", host, kube_form_dns1123_subdomain);
  else
    kube_required(c, "externalName", NULL);
}

static void of_balancer(kube_check_t *c, const kube_node_t *spec, bool balanced) {
  static const char *const keys[] = {"loadBalancerClass", "allocateLoadBalancerNodePorts"};
  if (balanced) {
    if (!kube_get(spec, "allocateLoadBalancerNodePorts")) kube_required(c, "allocateLoadBalancerNodePorts", NULL);
    return;
  }
  if (kube_count(kube_get(spec, "loadBalancerSourceRanges")))
    kube_forbidden(c, "LoadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'");
  for (int i = 0; i < 2; i++)
    if (kube_get(spec, keys[i])) kube_forbidden(c, keys[i], "may only be used when `type` is 'LoadBalancer'");
}

KUBE_CALL(service) {
  (void)r, (void)old;
  bool node = kube_is(v, "type", "NodePort"), balanced = kube_is(v, "type", "LoadBalancer"),
       external = kube_is(v, "type", "ExternalName"), cluster = kube_is(v, "type", "ClusterIP"), none = headless(v);
  if (!kube_count(kube_get(v, "ports")) && !none && !external) kube_required(c, "ports", NULL);
  if (none && (node || balanced))
    kube_invalid(c, "clusterIPs[0]", kube_str(c->a, "None"),
                 balanced ? "may not be set to 'None' for LoadBalancer services"
                          : "may not be set to 'None' for NodePort services");
  if (external) of_external_name(c, v);
  service_ports(c, kube_get(v, "ports"), cluster, balanced);
  affinity(c, v);
  traffic(c, v, node || balanced || kube_count(kube_get(v, "externalIPs")), balanced);
  of_balancer(c, v, balanced);
  if (!external && !kube_get(v, "internalTrafficPolicy")) kube_required(c, "internalTrafficPolicy", NULL);
}

/* Each may have blanks around it, as it once was an annotation. */
KUBE_CALL(source_ranges) {
  (void)r, (void)old;
  size_t n = kube_path_push(c, "LoadBalancerSourceRanges");
  for (uint32_t i = 0; i < kube_count(v); i++) {
    kg_str_t s = kube_node_str(v->c.items[i]);
    while (s.n && s.p[0] == ' ') s.p++, s.n--;
    while (s.n && s.p[s.n - 1] == ' ') s.n--;
    size_t inner = kube_path_index(c, i);
    kube_check_form(c, NULL, s, kube_form_cidr);
    kube_path_pop(c, inner);
  }
  kube_path_pop(c, n);
}

/* --- ingresses -------------------------------------------------------------------------------------------------- */

KUBE_CALL(ingress) {
  (void)r, (void)old;
  if (!kube_count(kube_get(v, "rules")) && !kube_get(v, "defaultBackend"))
    kube_invalid(c, NULL, kube_array(c->a), "either `defaultBackend` or `rules` must be specified");
}

static void wildcard(void *arg, const char *sentence) {
  void **p = arg;
  kube_invalid_str(p[0], p[1], *(kg_str_t *)p[2], sentence);
}

/* A host name, perhaps with a star as its first label. */
KUBE_CALL(host) {
  (void)old;
  unsigned char b[16];
  int family;
  kg_str_t s = kube_node_str(v), rest = s;
  const char *field = r->each ? NULL : r->field;
  if (!s.n && !r->each) return;
  if (address(s, b, &family)) return kube_invalid_str(c, field, s, "must be a DNS name, not an IP address");
  if (!memchr(s.p ? s.p : "", '*', s.n)) return kube_check_form(c, field, s, kube_form_dns1123_subdomain);
  bool good = s.n > 2 && s.p[0] == '*' && s.p[1] == '.';
  if (good) rest = (kg_str_t){s.p + 2, s.n - 2};
  if (!good || memchr(rest.p, '*', rest.n))
    return kube_invalid_str(
        c, field, s,
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
        "consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character");
  void *arg[] = {c, (void *)field, &s};
  kube_form_dns1123_subdomain(rest, wildcard, arg);
}

KUBE_CALL(ingress_backend) {
  (void)r, (void)old;
  const kube_node_t *service = kube_get(v, "service"), *resource = kube_get(v, "resource"),
                    *port = kube_get(service, "port");
  if (resource && service)
    kube_invalid_str(c, NULL, KG_STR(""), "cannot set both resource and service backends");
  else if (!resource && !service)
    kube_invalid_str(c, NULL, KG_STR(""), "resource or service backend is required");
  if (!service || resource) return;
  kg_str_t name = kube_text(service, "name"), port_name = kube_text(port, "name");
  int64_t number = kube_node_int(kube_get(port, "number"), 0);
  if (name.n)
    kube_check_form(c, "service.name", name, kube_form_dns1035_label);
  else
    kube_required(c, "service.name", NULL);
  if (port_name.n && number)
    kube_invalid_str(c, NULL, KG_STR(""), "cannot set both port name & port number");
  else if (port_name.n)
    kube_check_form(c, "service.port.name", port_name, kube_form_port_name);
  else if (number && (number < 1 || number > 65535))
    kube_invalid(c, "service.port.number", kube_get(port, "number"), "must be between 1 and 65535, inclusive");
  else if (!number)
    kube_required(c, NULL, "port name or number is required");
}

KUBE_CALL(ingress_path) {
  (void)r, (void)old;
  static const char *const bad[] = {"//", "/./", "/../", "%2f", "%2F"};
  const kube_node_t *path = kube_get(v, "path"), *type = kube_get(v, "pathType");
  kg_str_t s = kube_node_str(path);
  if (!type || type->type == KG_V_NIL) return kube_required(c, "pathType", "pathType must be specified");
  bool exact = kg_str_is(kube_node_str(type), "Exact") || kg_str_is(kube_node_str(type), "Prefix"),
       own = kg_str_is(kube_node_str(type), "ImplementationSpecific");
  if (!exact && !own) return kube_unsupported(c, "pathType", type, "Exact ImplementationSpecific Prefix");
  if ((exact || s.n) && (!s.n || s.p[0] != '/')) kube_invalid_str(c, "path", s, "must be an absolute path");
  const char *text = kube_arena_fmt(c->a, KG_STR_FMT, KG_STR_ARG(s));
  for (int i = 0; exact && i < 5; i++)
    if (strstr(text, bad[i])) kube_invalid_str(c, "path", s, kube_arena_fmt(c->a, "must not contain '%s'", bad[i]));
  size_t n = kube_path_push(c, "backend");
  kube_call_ingress_backend(c, r, kube_get(v, "backend"), NULL);
  kube_path_pop(c, n);
}

KUBE_CALL(class_parameters) {
  (void)r, (void)old;
  if (!v) return;
  kg_str_t group = kube_text(v, "apiGroup"), kind = kube_text(v, "kind"), name = kube_text(v, "name");
  size_t n = kube_path_push(c, "parameters");
  if (kube_get(v, "apiGroup")) kube_check_form(c, "apiGroup", group, kube_form_dns1123_subdomain);
  if (kind.n)
    kube_check_form(c, "kind", kind, kube_form_path_segment);
  else
    kube_required(c, "kind", "kind is required");
  if (name.n)
    kube_check_form(c, "name", name, kube_form_path_segment);
  else
    kube_required(c, "name", "name is required");
  bool cluster = kube_is(v, "scope", "Cluster"), ns = kube_is(v, "scope", "Namespace");
  if (!kube_text(v, "scope").n)
    kube_required(c, "scope", NULL);
  else if (!cluster && !ns)
    kube_unsupported(c, "scope", kube_get(v, "scope"), "Cluster Namespace");
  if (ns && !kube_text(v, "namespace").n) kube_required(c, "namespace", "`parameters.scope` is set to 'Namespace'");
  if (cluster && kube_get(v, "namespace")) kube_forbidden(c, "namespace", "`parameters.scope` is set to 'Cluster'");
  kube_path_pop(c, n);
}

/* --- network policies ------------------------------------------------------------------------------------------- */

KUBE_CALL(policy_types) {
  (void)r, (void)old;
  if (kube_count(v) > 2) kube_invalid(c, "policyTypes", v, "may not specify more than two policyTypes");
}

KUBE_CALL(peer) {
  (void)r, (void)old;
  const kube_node_t *pods = kube_get(v, "podSelector"), *spaces = kube_get(v, "namespaceSelector"),
                    *block = kube_get(v, "ipBlock");
  if (!pods && !spaces && !block) kube_required(c, NULL, "must specify a peer");
  if (block && (pods || spaces)) kube_forbidden(c, NULL, "may not specify both ipBlock and another peer");
}

static bool network(kg_str_t s, unsigned char out[16], int *family, int *bits) {
  const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
  if (!slash || !address((kg_str_t){s.p, (size_t)(slash - s.p)}, out, family)) return false;
  *bits = 0;
  for (const char *p = slash + 1; p < s.p + s.n; p++) {
    if (*p < '0' || *p > '9') return false;
    *bits = *bits * 10 + (*p - '0');
  }
  return *bits <= (*family == 4 ? 32 : 128) && slash + 1 < s.p + s.n;
}

KUBE_CALL(excepts) {
  (void)r, (void)old;
  unsigned char net[16], part[16];
  int family, bits, own_family, own_bits;
  const kube_node_t *list = kube_get(v, "except");
  if (!network(kube_text(v, "cidr"), net, &family, &bits)) return;
  for (uint32_t i = 0; i < kube_count(list); i++) {
    if (!network(kube_node_str(list->c.items[i]), part, &own_family, &own_bits)) continue;
    bool inside = family == own_family && own_bits > bits;
    for (int b = 0; inside && b < bits; b++) inside = ((net[b / 8] ^ part[b / 8]) >> (7 - b % 8) & 1) == 0;
    if (inside) continue;
    size_t n = kube_path_push(c, "except");
    kube_path_index(c, i);
    kube_invalid(c, NULL, list->c.items[i], "must be a strict subset of `cidr`");
    kube_path_pop(c, n);
  }
}

KUBE_CALL(port_if_there) {
  (void)old;
  if (!v || v->type == KG_V_NIL) return;
  if (v->type == KG_V_STR)
    kube_check_form(c, r->field, v->s, kube_form_port_name);
  else if (kube_node_int(v, 0) < 1 || kube_node_int(v, 0) > 65535)
    kube_invalid(c, r->field, v, "must be between 1 and 65535, inclusive");
}

/* "example.com/name" */
KUBE_CALL(prefixed_path) {
  (void)old;
  kg_str_t s = kube_node_str(v);
  if (s.n > 250) kube_too_long(c, r->field, 250);
  const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
  if (!slash) return kube_invalid_str(c, r->field, s, "must be a domain-prefixed path (such as \"acme.io/foo\")");
  kg_str_t host = {s.p, (size_t)(slash - s.p)}, path = {slash + 1, s.n - host.n - 1};
  if (!host.n) return kube_invalid_str(c, r->field, s, "must be a domain-prefixed path (such as \"acme.io/foo\")");
  kube_check_form(c, r->field, host, kube_form_dns1123_subdomain);
  if (!path.n) return kube_invalid_str(c, r->field, s, "must be a domain-prefixed path (such as \"acme.io/foo\")");
  for (size_t i = 0; i < path.n; i++)
    if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:/@%", path.p[i]))
      return kube_invalid_str(c, r->field, path,
                              "a valid HTTP path is a string of unreserved and percent-encoded characters");
}

KUBE_CALL(end_port) {
  (void)r, (void)old;
  const kube_node_t *port = kube_get(c->self, "port");
  if (!v) return;
  if (!port) return kube_required(c, "port", "must be specified when `endPort` is set");
  if (port->type == KG_V_STR) return kube_invalid(c, "endPort", v, "may not be set when `port` is not numeric");
  if (kube_node_int(v, 0) < kube_node_int(port, 0))
    kube_invalid(c, "endPort", v, "must be greater than or equal to `port`");
}

/* --- endpoints -------------------------------------------------------------------------------------------------- */

KUBE_CALL(endpoint_ip) {
  unsigned char b[16];
  int family;
  kg_str_t s = kube_node_str(v);
  kube_check_form(c, r->field, s, kube_form_ip);
  if (!address(s, b, &family)) kube_invalid_str(c, r->field, s, "must be a valid IP address");
  kube_call_nonspecial_ip(c, r, v, old);
}

/* Several ports need names. */
KUBE_CALL(named_ports) {
  (void)old;
  for (uint32_t i = 0; kube_count(v) > 1 && i < kube_count(v); i++) {
    if (kube_text(v->c.items[i], "name").n) continue;
    size_t n = kube_path_push(c, r->field);
    kube_path_index(c, i);
    kube_required(c, "name", NULL);
    kube_path_pop(c, n);
  }
}

/* The addresses of an endpoint, as the slice's type says. */
KUBE_CALL(slice_addresses) {
  (void)old, (void)r;
  kg_str_t type = kube_text(c->root, "addressType");
  for (uint32_t i = 0; i < kube_count(v); i++) {
    unsigned char b[16];
    int family = 0;
    kg_str_t s = kube_node_str(v->c.items[i]);
    size_t n = kube_path_push(c, "addresses");
    kube_path_index(c, i);
    if (kg_str_is(type, "FQDN"))
      kube_check_form(c, NULL, s, kube_form_dns1123_subdomain);
    else if (kg_str_is(type, "IPv4") && !(address(s, b, &family) && family == 4))
      kube_invalid_str(c, NULL, s, "must be a valid IPv4 address");
    else if (kg_str_is(type, "IPv6") && !(address(s, b, &family) && family == 6))
      kube_invalid_str(c, NULL, s, "must be a valid IPv6 address");
    else
      kube_call_nonspecial_ip(c, &(kube_check_rule_t){.field = "-"}, v->c.items[i], NULL);
    kube_path_pop(c, n);
  }
}
