/* The bridge, and the pair of links that joins a pod to it. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <libmnl/libmnl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdio.h>

#include "network.h"

/* A hardware address that follows from the address: whoever gets the address again is found without a new question. */
static void put_mac(struct nlmsghdr *m, uint32_t ip) {
  const uint8_t mac[6] = {0x0a, 0x58, (uint8_t)(ip >> 24), (uint8_t)(ip >> 16), (uint8_t)(ip >> 8), (uint8_t)ip};
  mnl_attr_put(m, IFLA_ADDRESS, sizeof mac, mac);
}

static void add_address(netlink_t *nl, unsigned index, uint32_t ip, unsigned bits) {
  struct ifaddrmsg a = {.ifa_family = AF_INET, .ifa_prefixlen = (uint8_t)bits, .ifa_index = index};
  struct nlmsghdr *m = netlink_add(nl, "address", RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &a, sizeof a);
  mnl_attr_put_u32(m, IFA_LOCAL, htonl(ip));
  mnl_attr_put_u32(m, IFA_ADDRESS, htonl(ip));
  mnl_attr_put_u32(m, IFA_BROADCAST, htonl(ip | ((1u << (32 - bits)) - 1)));
}

static void add_up(netlink_t *nl, unsigned index) {
  struct ifinfomsg up = {.ifi_index = (int)index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  netlink_add(nl, "link up", RTM_NEWLINK, 0, &up, sizeof up);
}

/* --- the bridge -------------------------------------------------------------------------------------------------- */

static int bridge_create(netlink_t *nl, const job_t *j, kg_error_t *err) {
  struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
  struct nlmsghdr *m = netlink_add(nl, "bridge", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
  mnl_attr_put_strz(m, IFLA_IFNAME, j->bridge);
  put_mac(m, cidr_gateway(&j->cidr));
  struct nlattr *info = mnl_attr_nest_start(m, IFLA_LINKINFO);
  mnl_attr_put_strz(m, IFLA_INFO_KIND, "bridge");
  mnl_attr_nest_end(m, info);
  return netlink_send(nl, EEXIST, err);
}

/* Packets between two pods pass the bridge without the routing; they must be seen all the same, because their addresses
 * may have to be put back to those of a service. */
static int bridge_see_packets(netlink_t *nl, unsigned index, kg_error_t *err) {
  struct ifinfomsg link = {.ifi_index = (int)index};
  struct nlmsghdr *m = netlink_add(nl, "nf_call_iptables", RTM_NEWLINK, 0, &link, sizeof link);
  struct nlattr *info = mnl_attr_nest_start(m, IFLA_LINKINFO);
  mnl_attr_put_strz(m, IFLA_INFO_KIND, "bridge");
  struct nlattr *data = mnl_attr_nest_start(m, IFLA_INFO_DATA);
  mnl_attr_put_u8(m, IFLA_BR_NF_CALL_IPTABLES, 1);
  mnl_attr_nest_end(m, data);
  mnl_attr_nest_end(m, info);
  return netlink_send(nl, 0, err);
}

/* Addresses that another link has already (a second instance with the same configuration, a bridge of Docker) would be
 * taken from whoever lives there. */
static int addresses_are_free(job_t *j) {
  struct ifaddrs *all = NULL;
  if (getifaddrs(&all) < 0) return 0;
  for (const struct ifaddrs *i = all; i && !j->err.code; i = i->ifa_next) {
    if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !strcmp(i->ifa_name, j->bridge)) continue;
    uint32_t ip = ntohl(((const struct sockaddr_in *)i->ifa_addr)->sin_addr.s_addr);
    char text[16], net[16];
    ip_text(ip, text);
    ip_text(j->cidr.net, net);
    if (cidr_holds(&j->cidr, ip))
      kg_error_set(&j->err, KG_ECONFLICT, "%s has the address %s already, which is one of podCIDR %s/%u", i->ifa_name,
                   text, net, j->cidr.bits);
  }
  freeifaddrs(all);
  return j->err.code ? -1 : 0;
}

static bool has_ports(const char *bridge) {
  char path[64];
  snprintf(path, sizeof path, "/sys/class/net/%s/brif", bridge);
  DIR *d = opendir(path);
  bool some = false;
  for (const struct dirent *e; d && (e = readdir(d));) some |= e->d_name[0] != '.';
  if (d) closedir(d);
  return some;
}

bool bridge_is_used(const char *bridge, uint32_t own) {
  struct ifaddrs *all = NULL;
  bool other = false;
  if (getifaddrs(&all) < 0) return has_ports(bridge);
  for (const struct ifaddrs *i = all; i; i = i->ifa_next)
    other |= i->ifa_addr && i->ifa_addr->sa_family == AF_INET && !strcmp(i->ifa_name, bridge) &&
             ntohl(((const struct sockaddr_in *)i->ifa_addr)->sin_addr.s_addr) != own;
  freeifaddrs(all);
  return other || has_ports(bridge);
}

int bridge_make(netlink_t *nl, job_t *j) {
  kg_error_t err;
  if (addresses_are_free(j) < 0) return -1;
  if (bridge_create(nl, j, &j->err) < 0) return -1;
  unsigned index = if_nametoindex(j->bridge);
  if (!index) return kg_error_set(&j->err, KG_EINTERNAL, "the bridge %s is gone again", j->bridge);
  struct ifinfomsg link = {.ifi_index = (int)index};
  struct nlmsghdr *m = netlink_add(nl, "mtu", RTM_NEWLINK, 0, &link, sizeof link);
  mnl_attr_put_u32(m, IFLA_MTU, j->mtu);
  add_address(nl, index, cidr_gateway(&j->cidr), j->cidr.bits);
  add_up(nl, index);
  if (netlink_send(nl, EEXIST, &j->err) < 0) return -1;
  if (bridge_see_packets(nl, index, &err) < 0)
    snprintf(j->warning, sizeof j->warning,
             "pods on one node may not reach each other over services, the module br_netfilter is needed (%.60s)",
             err.text);
  return 0;
}

/* --- a pod's links ----------------------------------------------------------------------------------------------- */

static void put_peer(struct nlmsghdr *m, const job_t *j, int netns) {
  struct nlattr *info = mnl_attr_nest_start(m, IFLA_LINKINFO);
  mnl_attr_put_strz(m, IFLA_INFO_KIND, "veth");
  struct nlattr *data = mnl_attr_nest_start(m, IFLA_INFO_DATA), *peer = mnl_attr_nest_start(m, VETH_INFO_PEER);
  *(struct ifinfomsg *)mnl_nlmsg_get_payload_tail(m) = (struct ifinfomsg){.ifi_family = AF_UNSPEC};
  m->nlmsg_len += NLMSG_ALIGN(sizeof(struct ifinfomsg));
  mnl_attr_put_strz(m, IFLA_IFNAME, "eth0");
  mnl_attr_put_u32(m, IFLA_MTU, j->mtu);
  put_mac(m, j->ip);
  mnl_attr_put_u32(m, IFLA_NET_NS_FD, (uint32_t)netns);
  mnl_attr_nest_end(m, peer);
  mnl_attr_nest_end(m, data);
  mnl_attr_nest_end(m, info);
}

/* What a pod sends to itself over a service comes back through the same port. */
static void add_hairpin(netlink_t *nl, const job_t *j) {
  struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
  struct nlmsghdr *m = netlink_add(nl, "hairpin", RTM_NEWLINK, 0, &link, sizeof link);
  mnl_attr_put_strz(m, IFLA_IFNAME, j->link);
  struct nlattr *info = mnl_attr_nest_start(m, IFLA_LINKINFO);
  mnl_attr_put_strz(m, IFLA_INFO_SLAVE_KIND, "bridge");
  struct nlattr *data = mnl_attr_nest_start(m, IFLA_INFO_SLAVE_DATA);
  mnl_attr_put_u8(m, IFLA_BRPORT_MODE, 1);
  mnl_attr_nest_end(m, data);
  mnl_attr_nest_end(m, info);
}

int pod_link_make(netlink_t *nl, const job_t *j, int netns, kg_error_t *err) {
  unsigned bridge = if_nametoindex(j->bridge);
  if (!bridge) return kg_error_set(err, KG_EUNAVAILABLE, "the bridge %s is gone", j->bridge);
  struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  struct nlmsghdr *m = netlink_add(nl, "veth", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
  mnl_attr_put_strz(m, IFLA_IFNAME, j->link);
  mnl_attr_put_u32(m, IFLA_MTU, j->mtu);
  mnl_attr_put_u32(m, IFLA_MASTER, bridge);
  put_peer(m, j, netns);
  add_hairpin(nl, j);
  return netlink_send(nl, 0, err);
}

static void add_default_route(netlink_t *nl, const job_t *j, unsigned index) {
  struct rtmsg r = {.rtm_family = AF_INET,
                    .rtm_table = RT_TABLE_MAIN,
                    .rtm_protocol = RTPROT_STATIC,
                    .rtm_scope = RT_SCOPE_UNIVERSE,
                    .rtm_type = RTN_UNICAST};
  struct nlmsghdr *m = netlink_add(nl, "default route", RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &r, sizeof r);
  mnl_attr_put_u32(m, RTA_GATEWAY, htonl(cidr_gateway(&j->cidr)));
  mnl_attr_put_u32(m, RTA_OIF, index);
}

int pod_inside_make(netlink_t *inside, const job_t *j, kg_error_t *err) {
  unsigned lo = if_nametoindex("lo"), eth0 = if_nametoindex("eth0");
  if (!lo || !eth0) return kg_error_set(err, KG_EINTERNAL, "eth0 is gone again");
  add_up(inside, lo);
  add_address(inside, eth0, j->ip, j->cidr.bits);
  add_up(inside, eth0);
  add_default_route(inside, j, eth0);
  return netlink_send(inside, 0, err);
}

/* --- the end ----------------------------------------------------------------------------------------------------- */

void links_remove(netlink_t *nl, char (*names)[IFNAMSIZ], size_t n) {
  for (size_t i = 0; i < n; i++) {
    struct ifinfomsg link = {.ifi_index = (int)if_nametoindex(names[i])};
    if (!link.ifi_index) continue; /* went with its namespace */
    netlink_add(nl, "veth", RTM_DELLINK, 0, &link, sizeof link);
    netlink_send(nl, ENODEV, NULL);
  }
}

typedef struct others {
  const job_t *job;
  unsigned bridge;
  char (*names)[IFNAMSIZ];
  size_t n;
} others_t;

static bool kept(const job_t *j, const char *name) {
  for (size_t i = 0; i < j->nlinks; i++)
    if (!strcmp(j->links[i], name)) return true;
  return false;
}

static void see_link(const struct nlmsghdr *m, void *arg) {
  others_t *o = arg;
  const struct nlattr *a;
  const char *name = "";
  unsigned master = 0;
  mnl_attr_for_each(a, m, sizeof(struct ifinfomsg)) {
    if (mnl_attr_get_type(a) == IFLA_IFNAME) name = mnl_attr_get_str(a);
    if (mnl_attr_get_type(a) == IFLA_MASTER) master = mnl_attr_get_u32(a);
  }
  if (master != o->bridge || kept(o->job, name)) return;
  void *more = realloc(o->names, (o->n + 1) * IFNAMSIZ);
  if (!more) return;
  o->names = more;
  snprintf(o->names[o->n++], IFNAMSIZ, "%s", name);
}

void links_remove_others(netlink_t *nl, const job_t *j) {
  others_t o = {.job = j, .bridge = if_nametoindex(j->bridge)};
  struct ifinfomsg all = {.ifi_family = AF_UNSPEC};
  if (o.bridge && netlink_dump(nl, RTM_GETLINK, &all, sizeof all, see_link, &o, NULL) == 0)
    links_remove(nl, o.names, o.n);
  free(o.names);
}
