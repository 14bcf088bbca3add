/* Cells of services, endpoints, ingresses and addresses. */
#include <string.h>

#include "kube/values.h"
#include "table_cell.h"

static void service_cluster_ip(const kube_cell_t *c) {
  kg_str_t first = kg_view_str(kg_view_at(kube_view_in(c->o, "spec.clusterIPs"), 0));
  kube_cell_str(c, first.n ? first : kube_view_text(c->o, "spec.clusterIP"), "<none>");
}

/* Addresses of a load balancer: an IP or else a host name each. */
static void balancer_text(kube_buf_t *b, kg_view_t o) {
  for (kg_iter_t it = kg_iter(kube_view_in(o, "status.loadBalancer.ingress")); kg_iter_next(&it);) {
    kg_str_t ip = kube_view_text(it.value, "ip");
    if (b->n) kube_buf_addz(b, ",");
    kube_buf_str(b, ip.n ? ip : kube_view_text(it.value, "hostname"));
  }
}
static void service_external_ip(const kube_cell_t *c) {
  kg_str_t type = kube_view_text(c->o, "spec.type");
  if (kg_str_is(type, "ExternalName")) {
    kube_cell_str(c, kube_view_text(c->o, "spec.externalName"), "");
    return;
  }
  kube_buf_t b = {0};
  bool balanced = kg_str_is(type, "LoadBalancer");
  if (balanced) balancer_text(&b, c->o);
  kube_list_text(&b, kube_view_in(c->o, "spec.externalIPs"), NULL);
  kube_cell_take(c, &b, balanced ? "<pending>" : "<none>");
}
static void service_ports(const kube_cell_t *c) {
  kube_buf_t b = {0};
  for (kg_iter_t it = kg_iter(kube_view_in(c->o, "spec.ports")); kg_iter_next(&it);) {
    int64_t node = kg_view_int(kg_view_get(it.value, "nodePort"), 0);
    kube_buf_fmt(&b, "%s%lld", b.n ? "," : "", (long long)kg_view_int(kg_view_get(it.value, "port"), 0));
    if (node) kube_buf_fmt(&b, ":%lld", (long long)node);
    kube_buf_addz(&b, "/");
    kube_buf_str(&b, kube_view_text(it.value, "protocol"));
  }
  kube_cell_take(c, &b, "<none>");
}

/* --- endpoints
 * ------------------------------------------------------------------------------------------------------------- */

enum { SHOWN = 3 }; /* endpoints that are named; the others are counted */

static void add_endpoint(kube_buf_t *b, size_t *count, kg_str_t ip, int64_t port) {
  if ((*count)++ >= SHOWN) return;
  if (b->n) kube_buf_addz(b, ",");
  bool v6 = memchr(ip.p ? ip.p : "", ':', ip.n) != NULL;
  kube_buf_fmt(b, v6 && port >= 0 ? "[" KG_STR_FMT "]" : KG_STR_FMT, KG_STR_ARG(ip));
  if (port >= 0) kube_buf_fmt(b, ":%lld", (long long)port);
}
static void endpoints(const kube_cell_t *c) {
  kube_buf_t b = {0};
  size_t count = 0;
  for (kg_iter_t s = kg_iter(kg_view_get(c->o, "subsets")); kg_iter_next(&s);) {
    kg_view_t ports = kg_view_get(s.value, "ports"), addresses = kg_view_get(s.value, "addresses");
    if (kg_view_count(ports) == 0) {
      for (kg_iter_t a = kg_iter(addresses); kg_iter_next(&a);)
        add_endpoint(&b, &count, kube_view_text(a.value, "ip"), -1);
    }
    for (kg_iter_t p = kg_iter(ports); kg_iter_next(&p);) {
      int64_t port = kg_view_int(kg_view_get(p.value, "port"), 0);
      for (kg_iter_t a = kg_iter(addresses); kg_iter_next(&a);)
        add_endpoint(&b, &count, kube_view_text(a.value, "ip"), port);
    }
  }
  if (count > SHOWN) kube_buf_fmt(&b, " + %zu more...", count - SHOWN);
  kube_cell_take(c, &b, "<none>");
}
static void slice_endpoints(const kube_cell_t *c) {
  kube_buf_t b = {0};
  size_t count = 0;
  for (kg_iter_t e = kg_iter(kg_view_get(c->o, "endpoints")); kg_iter_next(&e);) {
    for (kg_iter_t a = kg_iter(kg_view_get(e.value, "addresses")); kg_iter_next(&a);) {
      add_endpoint(&b, &count, kg_view_str(a.value), -1);
    }
  }
  if (count > SHOWN) kube_buf_fmt(&b, " + %zu more...", count - SHOWN);
  kube_cell_take(c, &b, "<unset>");
}
static void slice_ports(const kube_cell_t *c) {
  kube_buf_t b = {0};
  size_t count = 0;
  for (kg_iter_t it = kg_iter(kg_view_get(c->o, "ports")); kg_iter_next(&it); count++) {
    if (count >= SHOWN) continue;
    kg_view_t port = kg_view_get(it.value, "port");
    if (count) kube_buf_addz(&b, ",");
    if (kg_view_type(port) == KG_V_INT) {
      kube_buf_fmt(&b, "%lld", (long long)kg_view_int(port, 0));
    } else {
      kube_buf_addz(&b, "*");
    }
  }
  if (count > SHOWN) kube_buf_fmt(&b, " + %zu more...", count - SHOWN);
  kube_cell_take(c, &b, "<unset>");
}

/* --- ingresses
 * --------------------------------------------------------------------------------------------------------------- */

static void ingress_hosts(const kube_cell_t *c) {
  kube_buf_t b = {0};
  size_t count = 0;
  for (kg_iter_t it = kg_iter(kube_view_in(c->o, "spec.rules")); kg_iter_next(&it);) {
    kg_str_t host = kube_view_text(it.value, "host");
    if (!host.n) continue;
    if (count++ < SHOWN) {
      if (b.n) kube_buf_addz(&b, ",");
      kube_buf_str(&b, host);
    }
  }
  if (count > SHOWN) kube_buf_fmt(&b, " + %zu more...", count - SHOWN);
  kube_cell_take(c, &b, "*");
}
static void ingress_address(const kube_cell_t *c) {
  kube_buf_t b = {0};
  balancer_text(&b, c->o);
  kube_cell_take(c, &b, "");
}
static void ingress_ports(const kube_cell_t *c) {
  kg_pack_str(c->p, kg_view_count(kube_view_in(c->o, "spec.tls")) ? "80, 443" : "80");
}
static void ingressclass_parameters(const kube_cell_t *c) {
  kg_view_t ref = kube_view_in(c->o, "spec.parameters");
  if (kg_view_type(ref) != KG_V_MAP) {
    kg_pack_str(c->p, "<none>");
    return;
  }
  kg_str_t group = kube_view_text(ref, "apiGroup");
  kg_pack_fmt(c->p, KG_STR_FMT "%s" KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(kube_view_text(ref, "kind")),
              group.n ? "." : "", KG_STR_ARG(group), KG_STR_ARG(kube_view_text(ref, "name")));
}
static void ip_parent(const kube_cell_t *c) {
  kg_view_t ref = kube_view_in(c->o, "spec.parentRef");
  kg_str_t group = kube_view_text(ref, "group"), ns = kube_view_text(ref, "namespace");
  kg_pack_fmt(c->p, KG_STR_FMT "%s" KG_STR_FMT "%s" KG_STR_FMT "/" KG_STR_FMT,
              KG_STR_ARG(kube_view_text(ref, "resource")), group.n ? "." : "", KG_STR_ARG(group), ns.n ? "/" : "",
              KG_STR_ARG(ns), KG_STR_ARG(kube_view_text(ref, "name")));
}

const kube_cell_fn_t kube_cells_network[] = {
    {"service_cluster_ip", service_cluster_ip},
    {"service_external_ip", service_external_ip},
    {"service_ports", service_ports},
    {"endpoints", endpoints},
    {"slice_endpoints", slice_endpoints},
    {"slice_ports", slice_ports},
    {"ingress_hosts", ingress_hosts},
    {"ingress_address", ingress_address},
    {"ingress_ports", ingress_ports},
    {"ingressclass_parameters", ingressclass_parameters},
    {"ip_parent", ip_parent},
    {0},
};
