/* What is the same for every service: maps, the chains they lead to, and where packets enter. */
#include <stdio.h>

#include "proxy.h"

void ip_put(kube_buf_t *b, uint32_t ip) {
  kube_buf_fmt(b, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

static void maps(kube_buf_t *b) {
  kube_buf_addz(
      b, "  map services { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
         "  map services-inside { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
         "  map node-ports { type inet_proto . inet_service : verdict; }\n"
         "  map node-ports-inside { type inet_proto . inet_service : verdict; }\n"
         "  map backends { typeof ip daddr . meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport; }\n"
         "  map node-backends { typeof meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport; }\n"
         "  map refused { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
         "  map node-refused { type inet_proto . inet_service : verdict; }\n"
         "  set restricted { type ipv4_addr . inet_proto . inet_service; }\n"
         "  set allowed { type ipv4_addr . inet_proto . inet_service . ipv4_addr; flags interval; }\n"
         "  set hairpin { type ipv4_addr . ipv4_addr; }\n");
}

/* Clients of all sorts find a backend by chance, of equal weight. The mark asks for masquerade after the routing. */
static void slots(kube_buf_t *b, unsigned n) {
  static const char mark[] = "meta mark set meta mark | 0x4000 ";
  for (int node = 0; node < 2; node++) {
    const char *prefix = node ? "node-" : "", *key = node ? "" : "ip daddr . ";
    kube_buf_fmt(b, "  chain %splain-%u { ", prefix, n);
    kube_buf_fmt(b, "dnat ip to %smeta l4proto . th dport . numgen random mod %u map @%sbackends; }\n", key, n, prefix);
    kube_buf_fmt(b, "  chain %smasq-%u { %sgoto %splain-%u; }\n", prefix, n, mark, prefix, n);
    kube_buf_fmt(b, "  chain %sinside-%u { ", prefix, n);
    kube_buf_fmt(b, "dnat ip to %smeta l4proto . th dport . numgen random mod %u offset %d map @%sbackends; }\n", key,
                 n, INSIDE, prefix);
  }
}

static void dispatch(kube_buf_t *b) {
  kube_buf_addz(
      b, "  chain refuse {\n"
         "    meta l4proto tcp reject with tcp reset\n" /* at once, where an answer by ICMP takes a client a second */
         "    reject\n"
         "  }\n"
         "  chain outside {\n"
         "    ip daddr . meta l4proto . th dport vmap @services\n"
         "    fib daddr type local meta l4proto . th dport vmap @node-ports\n"
         "  }\n"
         "  chain inside {\n"
         "    ip daddr . meta l4proto . th dport vmap @services-inside\n"
         "    fib daddr type local meta l4proto . th dport vmap @node-ports-inside\n"
         "    goto outside\n"
         "  }\n");
}

/* Packets of other bridges are not ours to translate: another instance may use the same service addresses there. Node
 * ports are for everybody. */
static void entries(kube_buf_t *b, const frame_t *f) {
  kube_buf_fmt(b,
               "  chain prerouting {\n"
               "    type nat hook prerouting priority dstnat; policy accept;\n"
               "    iifname \"%s\" jump inside\n"
               "    meta iifkind != \"bridge\" jump outside\n"
               "    iifname != \"%s\" fib daddr type local meta l4proto . th dport vmap @node-ports\n"
               "  }\n"
               "  chain output {\n"
               "    type nat hook output priority -100; policy accept;\n"
               "    jump inside\n"
               "  }\n",
               f->bridge, f->bridge);
}

static void leaving(kube_buf_t *b, const frame_t *f) {
  kube_buf_addz(b, "  chain postrouting {\n"
                   "    type nat hook postrouting priority srcnat - 1; policy accept;\n"
                   "    ct status & dnat != dnat return\n"
                   "    ip saddr . ip daddr @hairpin masquerade\n"
                   "    meta mark & 0x4000 == 0x4000 meta mark set meta mark & 0xffffbfff masquerade\n");
  kube_buf_fmt(b, "    fib saddr type != local ip saddr != %s ct original ip daddr %s masquerade\n", f->pods,
               f->services);
  kube_buf_fmt(b, "    ip saddr 127.0.0.0/8 oifname != \"lo\" masquerade\n  }\n");
}

/* Services nobody stands behind, ports a service does not have, and load balancers that are not for everybody. */
static void refusals(kube_buf_t *b, const frame_t *f) {
  kube_buf_fmt(b,
               "  chain check {\n"
               "    ip daddr . meta l4proto . th dport vmap @refused\n"
               "    ip daddr %s meta l4proto { tcp, udp, sctp } goto refuse\n"
               "  }\n"
               "  chain filter-input {\n"
               "    type filter hook input priority filter; policy accept;\n"
               "    ct state new fib daddr type local meta l4proto . th dport vmap @node-refused\n"
               "    ct state new ip daddr . meta l4proto . th dport vmap @refused\n"
               "  }\n",
               f->services);
  kube_buf_fmt(b,
               "  chain filter-forward {\n"
               "    type filter hook forward priority filter; policy accept;\n"
               "    iifname \"%s\" ct state new jump check\n"
               "    iifname != \"%s\" ct state new ip daddr . meta l4proto . th dport vmap @refused\n"
               "  }\n"
               "  chain filter-output {\n"
               "    type filter hook output priority filter; policy accept;\n"
               "    ct state new jump check\n"
               "  }\n"
               "  chain firewall {\n"
               "    type filter hook prerouting priority -110; policy accept;\n"
               "    ip daddr . meta l4proto . th dport @restricted "
               "ip daddr . meta l4proto . th dport . ip saddr != @allowed drop\n"
               "  }\n",
               f->bridge, f->bridge);
}

/* A pod that reaches itself over a service must see another address than its own. nft cannot compare two fields of a
 * packet, so the set has a pair for every address a pod of this node may have. */
static void hairpins(kube_buf_t *b, const frame_t *f) {
  uint32_t n = f->pod_bits >= 20 ? 1u << (32 - f->pod_bits) : 0;
  if (!n) {
    kube_buf_fmt(b, "add rule ip %s postrouting ip saddr %s ip daddr %s masquerade\n", f->table, f->pods, f->pods);
    return;
  }
  kube_buf_fmt(b, "add element ip %s hairpin { ", f->table);
  for (uint32_t i = 1; i + 1 < n; i++) {
    if (i > 1) kube_buf_addz(b, ", ");
    ip_put(b, f->pod_net + i);
    kube_buf_addz(b, " . ");
    ip_put(b, f->pod_net + i);
  }
  kube_buf_addz(b, " }\n");
}

void table_text(kube_buf_t *b, const frame_t *f) {
  kube_buf_fmt(b, "table ip %s { }\ndelete table ip %s\ntable ip %s {\n", f->table, f->table, f->table);
  maps(b);
  for (unsigned n = 1; n <= EXACT; n++) slots(b, n);
  slots(b, MOST);
  dispatch(b);
  entries(b, f);
  leaving(b, f);
  refusals(b, f);
  kube_buf_addz(b, "}\n");
  hairpins(b, f);
}
