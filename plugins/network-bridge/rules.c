/* The nft table of the bridge: masquerade for what leaves the pod network, and host ports. */
#include <arpa/inet.h>
#include <stdio.h>

#include "kube/json.h"
#include "network.h"

static kg_str_t port_str(kg_view_t port, const char *key) {
  return kg_view_str(kg_view_get(port, key));
}

static int64_t port_int(kg_view_t port, const char *key) {
  return kg_view_int(kg_view_get(port, key), 0);
}

static bool valid_port(int64_t port) {
  return port > 0 && port < 65536;
}

static bool wanted(kg_view_t port) {
  return valid_port(port_int(port, "hostPort")) && valid_port(port_int(port, "containerPort"));
}

bool pod_has_host_port(const pod_t *p) {
  for (kg_iter_t it = kg_iter(kg_view_of(p->ports)); kg_iter_next(&it);)
    if (wanted(it.value)) return true;
  return false;
}

static const char *protocol(kg_view_t port) {
  kg_str_t p = port_str(port, "protocol");
  return kg_str_is(p, "UDP") ? "udp" : kg_str_is(p, "SCTP") ? "sctp" : "tcp";
}

/* A particular address of the host, or false: all. */
static bool host_ip(kg_view_t port, char text[16]) {
  kg_str_t ip = port_str(port, "hostIP");
  struct in_addr addr;
  if (!ip.n || ip.n > 15) return false;
  snprintf(text, 16, KG_STR_FMT, KG_STR_ARG(ip));
  return inet_pton(AF_INET, text, &addr) == 1 && addr.s_addr;
}

static void add_ports(kube_buf_t *b, const network_t *n, const pod_t *p) {
  char ip[16], host[16];
  ip_text(p->ip, ip);
  for (kg_iter_t it = kg_iter(kg_view_of(p->ports)); kg_iter_next(&it);) {
    if (!wanted(it.value)) continue;
    bool one = host_ip(it.value, host);
    kube_buf_fmt(b, "add element ip %s %s { ", n->bridge, one ? "address-ports" : "host-ports");
    if (one) kube_buf_fmt(b, "%s . ", host);
    kube_buf_fmt(b, "%s . %d : %s . %d }\n", protocol(it.value), (int)port_int(it.value, "hostPort"), ip,
                 (int)port_int(it.value, "containerPort"));
  }
  if (pod_has_host_port(p)) kube_buf_fmt(b, "add element ip %s hairpin { %s . %s }\n", n->bridge, ip, ip);
}

void pod_udp_ports(const pod_t *p, bool there, leds_t *out) {
  uint32_t host = 0;
  for (kg_iter_t it = kg_iter(kg_view_of(p->ports)); kg_iter_next(&it);) {
    if (!wanted(it.value) || strcmp(protocol(it.value), "udp") != 0) continue;
    if (kube_ipv4(port_str(it.value, "hostIP"), &host) < 0) host = 0;
    leds_add(out, (led_t){.ip = host,
                          .port = (uint16_t)port_int(it.value, "hostPort"),
                          .to = there ? p->ip : 0,
                          .to_port = there ? (uint16_t)port_int(it.value, "containerPort") : 0});
  }
}

static void all_ports(kube_buf_t *b, const network_t *n) {
  for (const pod_t *p = n->pods; p; p = p->next)
    if (p->ports) add_ports(b, n, p);
}

static char *text_of(kube_buf_t *b) {
  kube_buf_add(b, "", 1);
  if (!b->failed) return b->p;
  kube_buf_free(b);
  return NULL;
}

char *rules_ports(const network_t *n) {
  kube_buf_t b = {0};
  kube_buf_fmt(&b, "flush map ip %s host-ports\nflush map ip %s address-ports\nflush set ip %s hairpin\n", n->bridge,
               n->bridge, n->bridge);
  all_ports(&b, n);
  return text_of(&b);
}

static void add_maps(kube_buf_t *b) {
  kube_buf_addz(b, "  map host-ports { type inet_proto . inet_service : ipv4_addr . inet_service; }\n"
                   "  map address-ports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }\n"
                   "  set hairpin { type ipv4_addr . ipv4_addr; }\n"
                   "  chain ports {\n"
                   "    dnat ip to ip daddr . meta l4proto . th dport map @address-ports\n"
                   "    dnat ip to meta l4proto . th dport map @host-ports\n"
                   "  }\n"
                   "  chain prerouting {\n"
                   "    type nat hook prerouting priority dstnat + 5; policy accept;\n"
                   "    fib daddr type local meta l4proto { tcp, udp, sctp } jump ports\n"
                   "  }\n"
                   "  chain output {\n"
                   "    type nat hook output priority -95; policy accept;\n"
                   "    fib daddr type local meta l4proto { tcp, udp, sctp } jump ports\n"
                   "  }\n");
}

/* Answers to connections that came over a host port or a service must come back through us, so a pod that reaches
 * itself that way is masqueraded, and so is the host's own loopback address. */
static void add_postrouting(kube_buf_t *b, const network_t *n) {
  char net[16], cluster[16];
  const cidr_t *far = n->cluster.bits ? &n->cluster : &n->cidr;
  ip_text(n->cidr.net, net);
  ip_text(far->net, cluster);
  kube_buf_addz(b, "  chain postrouting {\n    type nat hook postrouting priority srcnat; policy accept;\n");
  kube_buf_fmt(b, "    ip saddr 127.0.0.0/8 oifname \"%s\" masquerade\n", n->bridge);
  kube_buf_addz(b, "    ip saddr . ip daddr @hairpin masquerade\n");
  kube_buf_fmt(b,
               "    ip saddr %s/%u ip daddr != { %s/%u, 224.0.0.0/4, 255.255.255.255 } oifname != \"%s\" masquerade\n"
               "  }\n",
               net, n->cidr.bits, cluster, far->bits, n->bridge);
}

/* The bridge lets in packets to 127.0.0.0/8 (answers to the host's own connections over host ports); nobody may begin
 * there. */
static void add_guard(kube_buf_t *b, const network_t *n) {
  kube_buf_fmt(b,
               "  chain guard {\n"
               "    type filter hook prerouting priority raw; policy accept;\n"
               "    iifname \"%s\" ip daddr 127.0.0.0/8 drop\n"
               "    iifname \"%s\" ip saddr 127.0.0.0/8 drop\n"
               "  }\n",
               n->bridge, n->bridge);
}

char *rules_table(const network_t *n) {
  kube_buf_t b = {0};
  kube_buf_fmt(&b, "table ip %s { }\ndelete table ip %s\ntable ip %s {\n", n->bridge, n->bridge, n->bridge);
  add_maps(&b);
  add_postrouting(&b, n);
  add_guard(&b, n);
  kube_buf_addz(&b, "}\n");
  all_ports(&b, n);
  return text_of(&b);
}
