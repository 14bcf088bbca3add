/* Names of Services, their endpoints and pods: the DNS specification of Kubernetes, version 1.1.0. */
#include <arpa/inet.h>
#include <ctype.h>

#include "dns.h"
#include "kube/values.h"

enum { LABELS = 6, NAME = 300 };

typedef struct ask {
  dns_t *d;
  ldns_pkt *r;
  ldns_rr_type type;
  char name[NAME]; /* lower case, without the dot at its end */
  bool exists;     /* the name is there, maybe without records of the type */
  char *chase;
} ask_t;

static bool wants_address(const ask_t *a) {
  return a->type == LDNS_RR_TYPE_A || a->type == LDNS_RR_TYPE_AAAA;
}

static kg_str_t text(kg_view_t v, const char *key) {
  return kg_view_str(kg_view_get(v, key));
}

/* --- endpoints ---------------------------------------------------------------------------------------------------- */

/* hostname, or the address with dashes. */
static void endpoint_name(kg_view_t endpoint, kg_str_t ip, char name[80]) {
  kg_str_t host = text(endpoint, "hostname");
  snprintf(name, 80, KG_STR_FMT, KG_STR_ARG(host.n && host.n < 64 ? host : ip));
  if (!host.n)
    for (char *c = name; *c; c++)
      if (*c == '.' || *c == ':') *c = '-';
}

typedef void (*endpoint_fn)(ask_t *a, kg_view_t slice, const char *name, kg_str_t ip, void *arg);

static void each_in(ask_t *a, kg_view_t slice, endpoint_fn fn, void *arg) {
  char name[80];
  for (kg_iter_t it = kg_iter(kg_view_get(slice, "endpoints")); kg_iter_next(&it);) {
    kg_str_t ip = kg_view_str(kg_view_at(kg_view_get(it.value, "addresses"), 0));
    if (!ip.n || !kg_view_bool(kg_view_path(it.value, "conditions", "ready", NULL), true)) continue;
    endpoint_name(it.value, ip, name);
    fn(a, slice, name, ip, arg);
  }
}

static void each_endpoint(ask_t *a, kg_view_t service, endpoint_fn fn, void *arg) {
  kg_doc_t *doc;
  kg_str_t ns = kube_namespace(service), name = kube_name(service);
  uint64_t key = index_slice_key(ns, name);
  for (const kube_indexed_t *at = NULL; (doc = kube_index_next(&a->d->index, key, &at));) {
    kg_view_t slice = kg_view_of(doc);
    if (kg_str_eq(text(kube_labels(slice), "kubernetes.io/service-name"), name) && kg_str_eq(kube_namespace(slice), ns))
      each_in(a, slice, fn, arg);
  }
}

static void add_endpoint(ask_t *a, kg_view_t slice, const char *name, kg_str_t ip, void *arg) {
  (void)slice;
  const char *only = arg; /* NULL: all */
  if (only && strcmp(only, name) != 0) return;
  a->exists = true;
  if (wants_address(a)) record_address(a->r, LDNS_SECTION_ANSWER, a->name, a->type, ip);
}

/* --- services ----------------------------------------------------------------------------------------------------- */

static bool headless(kg_view_t service) {
  return kg_str_is(kg_view_str(kg_view_path(service, "spec", "clusterIP", NULL)), "None");
}

static void cluster_addresses(ask_t *a, kg_view_t service, ldns_pkt_section section, const char *owner,
                              ldns_rr_type type) {
  kg_view_t spec = kg_view_get(service, "spec"), list = kg_view_get(spec, "clusterIPs");
  size_t n = kg_view_count(list);
  for (size_t i = 0; i < n; i++) record_address(a->r, section, owner, type, kg_view_str(kg_view_at(list, i)));
  if (!n) record_address(a->r, section, owner, type, text(spec, "clusterIP"));
}

static outcome_t external_name(ask_t *a, kg_view_t service);

typedef struct srv {
  const char *port, *protocol; /* NULL: all */
  char base[NAME];             /* SERVICE.NS.svc.DOMAIN */
} srv_t;

static bool port_fits(const srv_t *s, kg_view_t port) {
  kg_str_t protocol = text(port, "protocol");
  if (s->port && !kg_str_is(text(port, "name"), s->port)) return false;
  return !s->protocol ||
         (protocol.n ? protocol.n == strlen(s->protocol) && !strncasecmp(protocol.p, s->protocol, protocol.n)
                     : !strcmp(s->protocol, "tcp"));
}

static void srv_of_endpoint(ask_t *a, kg_view_t slice, const char *name, kg_str_t ip, void *arg) {
  const srv_t *s = arg;
  char target[NAME + 100];
  bool any = false;
  snprintf(target, sizeof target, "%s.%s", name, s->base);
  for (kg_iter_t it = kg_iter(kg_view_get(slice, "ports")); kg_iter_next(&it);) {
    if (!port_fits(s, it.value)) continue;
    any = a->exists = true;
    if (a->type == LDNS_RR_TYPE_SRV)
      record_srv(a->r, a->name, 100, (uint16_t)kg_view_int(kg_view_get(it.value, "port"), 0), target);
  }
  if (!any || a->type != LDNS_RR_TYPE_SRV) return;
  record_address(a->r, LDNS_SECTION_ADDITIONAL, target, LDNS_RR_TYPE_A, ip);
  record_address(a->r, LDNS_SECTION_ADDITIONAL, target, LDNS_RR_TYPE_AAAA, ip);
}

static void srv_of_service(ask_t *a, kg_view_t service, srv_t *s) {
  bool any = false;
  if (headless(service)) return each_endpoint(a, service, srv_of_endpoint, s);
  for (kg_iter_t it = kg_iter(kg_view_path(service, "spec", "ports", NULL)); kg_iter_next(&it);) {
    if (!port_fits(s, it.value)) continue;
    any = a->exists = true;
    if (a->type == LDNS_RR_TYPE_SRV)
      record_srv(a->r, a->name, 100, (uint16_t)kg_view_int(kg_view_get(it.value, "port"), 0), s->base);
  }
  if (!any || a->type != LDNS_RR_TYPE_SRV) return;
  cluster_addresses(a, service, LDNS_SECTION_ADDITIONAL, s->base, LDNS_RR_TYPE_A);
  cluster_addresses(a, service, LDNS_SECTION_ADDITIONAL, s->base, LDNS_RR_TYPE_AAAA);
}

static outcome_t service_itself(ask_t *a, kg_view_t service, srv_t *s) {
  a->exists = true;
  if (kg_str_is(kg_view_str(kg_view_path(service, "spec", "type", NULL)), "ExternalName"))
    return external_name(a, service);
  if (a->type == LDNS_RR_TYPE_SRV)
    srv_of_service(a, service, s);
  else if (headless(service))
    each_endpoint(a, service, add_endpoint, NULL);
  else if (wants_address(a))
    cluster_addresses(a, service, LDNS_SECTION_ANSWER, a->name, a->type);
  return ANSWERED;
}

/* labels[0 .. n-1] before NS.svc.DOMAIN: SERVICE, HOST.SERVICE or _PORT._PROTOCOL.SERVICE. */
static outcome_t service_name(ask_t *a, char **labels, size_t n, const char *ns) {
  srv_t s = {0};
  kg_doc_t *doc = kube_informer_get(a->d->services, kg_str(ns), kg_str(labels[n - 1]));
  if (!doc) return ANSWERED;
  kg_view_t service = kg_view_of(doc);
  snprintf(s.base, sizeof s.base, "%s.%s.svc.%s", labels[n - 1], ns, a->d->domain);
  if (n == 1) return service_itself(a, service, &s);
  if (n == 2) {
    each_endpoint(a, service, add_endpoint, labels[0]);
  } else if (n == 3 && labels[0][0] == '_' && labels[1][0] == '_') {
    s.port = labels[0] + 1;
    s.protocol = labels[1] + 1;
    srv_of_service(a, service, &s);
  }
  return ANSWERED;
}

/* --- the tree of names -------------------------------------------------------------------------------------------- */

static void pod_name(ask_t *a, const char *label) {
  char ip[80];
  snprintf(ip, sizeof ip, "%s", label);
  for (int six = 0; six < 2 && !a->exists; six++) {
    for (size_t i = 0; ip[i]; i++)
      if (label[i] == '-') ip[i] = six ? ':' : '.';
    ldns_rr_type type = six ? LDNS_RR_TYPE_AAAA : LDNS_RR_TYPE_A;
    a->exists = address_is(kg_str(ip), type);
    if (a->exists && a->type == type) record_address(a->r, LDNS_SECTION_ANSWER, a->name, type, kg_str(ip));
  }
}

static bool has_services(const ask_t *a, const char *ns) {
  size_t first, count;
  kube_informer_ns(a->d->services, kg_str(ns), &first, &count);
  return count > 0;
}

static outcome_t in_cluster(ask_t *a, char **labels, size_t n) {
  const char *last = n ? labels[n - 1] : "";
  if (n == 1 && !strcmp(last, "dns-version")) {
    a->exists = true;
    if (a->type == LDNS_RR_TYPE_TXT) record_text(a->r, a->name, "1.1.0");
  } else if (n == 0 || (n == 1 && (!strcmp(last, "svc") || !strcmp(last, "pod")))) {
    a->exists = true;
  } else if (n == 2 && (!strcmp(last, "svc") || !strcmp(last, "pod"))) {
    a->exists = has_services(a, labels[0]);
  } else if (n == 3 && !strcmp(last, "pod")) {
    pod_name(a, labels[0]);
  } else if (n >= 3 && n <= 5 && !strcmp(last, "svc")) {
    return service_name(a, labels, n - 2, labels[n - 2]);
  }
  return ANSWERED;
}

static uint32_t serial(const ask_t *a) {
  return (uint32_t)(kg_wall_us(a->d->ctx) / 1000000);
}

static void apex(ask_t *a) {
  char ns[NAME];
  snprintf(ns, sizeof ns, "ns.dns.%s", a->d->domain);
  if (a->type == LDNS_RR_TYPE_SOA) record_soa(a->r, LDNS_SECTION_ANSWER, a->d->domain, serial(a));
  if (a->type == LDNS_RR_TYPE_NS) record_name(a->r, a->d->domain, LDNS_RR_TYPE_NS, ns);
}

/* The part before the domain; NULL: the name is not of the cluster. */
static char *before_domain(const dns_t *d, char *name) {
  size_t n = strlen(name), k = strlen(d->domain);
  if (n < k || strcmp(name + n - k, d->domain) != 0) return NULL;
  if (n == k) return name + n;
  if (name[n - k - 1] != '.') return NULL;
  name[n - k - 1] = '\0';
  return name;
}

static outcome_t walk(ask_t *a, char *name) {
  char *labels[LABELS], *at = name;
  size_t n = 0;
  while (*at && n < LABELS) {
    labels[n++] = at;
    at += strcspn(at, ".");
    if (*at) *at++ = '\0';
  }
  if (*at) return ANSWERED; /* deeper than any name */
  if (!n) apex(a);
  return in_cluster(a, labels, n);
}

/* Follows an alias to a name of the cluster at once; once only, two Services could name each other. */
static outcome_t external_name(ask_t *a, kg_view_t service) {
  kg_str_t target = kg_view_str(kg_view_path(service, "spec", "externalName", NULL));
  char name[NAME], *rest;
  if (!target.n || target.n >= NAME - 1) return ANSWERED;
  snprintf(name, sizeof name, KG_STR_FMT, KG_STR_ARG(target));
  if (name[target.n - 1] == '.') name[target.n - 1] = '\0';
  for (char *c = name; *c; c++) *c = (char)tolower((unsigned char)*c);
  record_name(a->r, a->name, LDNS_RR_TYPE_CNAME, name);
  if (!wants_address(a)) return ANSWERED;
  snprintf(a->chase, NAME, "%s", name);
  if (!(rest = before_domain(a->d, name))) return CHASE;
  if (ldns_pkt_ancount(a->r) > 1) return ANSWERED;
  char *was = strdup(a->name);
  snprintf(a->name, sizeof a->name, "%s", a->chase);
  outcome_t o = was && ldns_pkt_ancount(a->r) == 1 ? walk(a, rest) : ANSWERED;
  free(was);
  a->exists = true;
  return o;
}

/* --- reverse ------------------------------------------------------------------------------------------------------ */

static bool reversed(const char *name, char ip[32]) {
  unsigned a, b, c, d;
  int end = 0;
  if (sscanf(name, "%3u.%3u.%3u.%3u.in-addr.arpa%n", &a, &b, &c, &d, &end) != 4 || !end || name[end]) return false;
  return snprintf(ip, 32, "%u.%u.%u.%u", d, c, b, a) < 32;
}

static bool has_ip(kg_view_t service, const char *ip) {
  kg_view_t spec = kg_view_get(service, "spec");
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "clusterIPs")); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(it.value), ip)) return true;
  return kg_str_is(text(spec, "clusterIP"), ip);
}

typedef struct reverse {
  const char *ip;
  kg_str_t service, ns;
} reverse_t;

static void reverse_endpoint(ask_t *a, kg_view_t slice, const char *name, kg_str_t ip, void *arg) {
  (void)slice;
  const reverse_t *v = arg;
  char target[NAME + 200];
  if (!kg_str_is(ip, v->ip)) return;
  snprintf(target, sizeof target, "%s." KG_STR_FMT "." KG_STR_FMT ".svc.%s", name, KG_STR_ARG(v->service),
           KG_STR_ARG(v->ns), a->d->domain);
  a->exists = true;
  record_name(a->r, a->name, LDNS_RR_TYPE_PTR, target);
}

/* Cluster addresses, and endpoints of Services. */
static void reverse(ask_t *a, const char *ip) {
  char target[NAME];
  kg_doc_t *doc;
  uint64_t service_key = index_service_key(kg_str(ip)), endpoint_key = index_endpoint_key(kg_str(ip));
  for (const kube_indexed_t *at = NULL; (doc = kube_index_next(&a->d->index, service_key, &at));) {
    kg_view_t service = kg_view_of(doc);
    if (!has_ip(service, ip)) continue;
    snprintf(target, sizeof target, KG_STR_FMT "." KG_STR_FMT ".svc.%s", KG_STR_ARG(kube_name(service)),
             KG_STR_ARG(kube_namespace(service)), a->d->domain);
    a->exists = true;
    record_name(a->r, a->name, LDNS_RR_TYPE_PTR, target);
    return;
  }
  for (const kube_indexed_t *at = NULL; (doc = kube_index_next(&a->d->index, endpoint_key, &at));) {
    kg_view_t slice = kg_view_of(doc);
    reverse_t v = {ip, text(kube_labels(slice), "kubernetes.io/service-name"), kube_namespace(slice)};
    each_in(a, slice, reverse_endpoint, &v);
  }
}

/* --- a question --------------------------------------------------------------------------------------------------- */

static bool read_name(const ldns_rr *question, char name[NAME]) {
  char *z = ldns_rdf2str(ldns_rr_owner(question));
  size_t n = z ? strlen(z) : 0;
  bool fits = n > 0 && n < NAME;
  if (fits) {
    for (size_t i = 0; i <= n; i++) name[i] = (char)tolower((unsigned char)z[i]);
    if (n > 1 && name[n - 1] == '.') name[n - 1] = '\0';
  }
  free(z);
  return fits;
}

outcome_t zone_answer(dns_t *d, const ldns_pkt *question, ldns_pkt *r, char chase[300]) {
  ask_t a = {.d = d, .r = r, .chase = chase};
  const ldns_rr *q = ldns_rr_list_rr(ldns_pkt_question(question), 0);
  char name[NAME], ip[32];
  if (!read_name(q, a.name)) return NOT_OURS;
  a.type = ldns_rr_get_type(q);
  snprintf(name, sizeof name, "%s", a.name);
  char *rest = before_domain(d, name);
  if (!rest) {
    if (a.type != LDNS_RR_TYPE_PTR || !reversed(name, ip)) return NOT_OURS;
    reverse(&a, ip);
    if (!a.exists) return NOT_OURS;
  }
  ldns_pkt_set_aa(r, true);
  outcome_t o = rest ? walk(&a, rest) : ANSWERED;
  if (!a.exists) ldns_pkt_set_rcode(r, LDNS_RCODE_NXDOMAIN);
  if (!ldns_pkt_ancount(r)) record_soa(r, LDNS_SECTION_AUTHORITY, d->domain, serial(&a));
  return o;
}
