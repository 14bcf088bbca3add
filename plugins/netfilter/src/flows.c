/* Memories of UDP packets, over netlink. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "netfilter/flows.h"

enum { ROOM = 65536 };

struct flows {
  flows_t **at;
  struct mnl_socket *socket;
  leds_t now, next; /* next: came while the dump was under way */
  uint64_t deleted;
  char in[ROOM];
};

typedef struct tuple {
  uint32_t from, to; /* host byte order */
  uint16_t from_port, to_port;
  uint8_t protocol;
} tuple_t;

/* --- which are stale ---------------------------------------------------------------------------------------------- */

void leds_add(leds_t *l, led_t one) {
  if (l->n == l->room) {
    size_t room = l->room ? l->room * 2 : 8;
    led_t *all = realloc(l->all, room * sizeof *all);
    if (!all) return;
    l->all = all;
    l->room = room;
  }
  l->all[l->n++] = one;
}

static int by_frontend(const void *x, const void *y) {
  const led_t *a = x, *b = y;
  if (a->ip != b->ip) return a->ip < b->ip ? -1 : 1;
  return (a->port > b->port) - (a->port < b->port);
}

/* Its frontend changed, and where it leads is none of the backends of now. */
static bool stale(const leds_t *e, const tuple_t *asked, const tuple_t *answers) {
  for (int node = 0; node < 2; node++) {
    led_t key = {.ip = node ? 0 : asked->to, .port = asked->to_port};
    size_t low = 0, high = e->n;
    while (low < high) {
      size_t middle = (low + high) / 2;
      if (by_frontend(&e->all[middle], &key) < 0)
        low = middle + 1;
      else
        high = middle;
    }
    bool ours = false, good = false;
    for (; low < e->n && by_frontend(&e->all[low], &key) == 0; low++) {
      ours = true;
      good |= e->all[low].to == answers->from && e->all[low].to_port == answers->from_port;
    }
    if (ours) return !good;
  }
  return false;
}

/* --- netlink ------------------------------------------------------------------------------------------------------ */

static uint32_t get32(const struct nlattr *a) {
  return mnl_attr_get_payload_len(a) == 4 ? ntohl(mnl_attr_get_u32(a)) : 0;
}

static void read_inner(const struct nlattr *part, tuple_t *t) {
  const struct nlattr *a;
  bool ip = mnl_attr_get_type(part) == CTA_TUPLE_IP, proto = mnl_attr_get_type(part) == CTA_TUPLE_PROTO;
  mnl_attr_for_each_nested(a, part) {
    int type = mnl_attr_get_type(a);
    if (ip && type == CTA_IP_V4_SRC) t->from = get32(a);
    if (ip && type == CTA_IP_V4_DST) t->to = get32(a);
    if (proto && type == CTA_PROTO_NUM) t->protocol = mnl_attr_get_u8(a);
    if (proto && type == CTA_PROTO_SRC_PORT) t->from_port = ntohs(mnl_attr_get_u16(a));
    if (proto && type == CTA_PROTO_DST_PORT) t->to_port = ntohs(mnl_attr_get_u16(a));
  }
}

static void read_tuple(const struct nlattr *attr, tuple_t *t) {
  const struct nlattr *a;
  mnl_attr_for_each_nested(a, attr) read_inner(a, t);
}

static struct nlmsghdr *begin(char *buf, int type, int flags) {
  struct nlmsghdr *m = mnl_nlmsg_put_header(buf);
  m->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
  m->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
  struct nfgenmsg *g = mnl_nlmsg_put_extra_header(m, sizeof *g);
  g->nfgen_family = AF_INET;
  g->version = NFNETLINK_V0;
  return m;
}

/* By the very tuple the kernel showed. It may be gone already: no answer is asked for. */
static void delete_flow(flows_t *f, const struct nlattr *asked) {
  char buf[1024];
  if (mnl_attr_get_payload_len(asked) > 512) return;
  struct nlmsghdr *m = begin(buf, IPCTNL_MSG_CT_DELETE, 0);
  mnl_attr_put(m, CTA_TUPLE_ORIG | NLA_F_NESTED, mnl_attr_get_payload_len(asked), mnl_attr_get_payload(asked));
  if (mnl_socket_sendto(f->socket, m, m->nlmsg_len) > 0) f->deleted++;
}

static void see_flow(flows_t *f, const struct nlmsghdr *m) {
  const struct nlattr *a, *orig = NULL;
  tuple_t asked = {0}, answers = {0};
  mnl_attr_for_each(a, m, sizeof(struct nfgenmsg)) {
    if (mnl_attr_get_type(a) == CTA_TUPLE_ORIG) read_tuple(orig = a, &asked);
    if (mnl_attr_get_type(a) == CTA_TUPLE_REPLY) read_tuple(a, &answers);
  }
  if (orig && asked.protocol == IPPROTO_UDP && stale(&f->now, &asked, &answers)) delete_flow(f, orig);
}

static void ask(kg_ctx_t *ctx, flows_t *f);

/* The dump has ended, or broke off. */
static void finish(kg_ctx_t *ctx, flows_t *f) {
  free(f->now.all);
  f->now = f->next;
  f->next = (leds_t){0};
  if (f->now.n)
    ask(ctx, f);
  else
    flows_forget(ctx, f->at);
}

static void on_flows(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)self, (void)fd, (void)events;
  flows_t *f = arg;
  ssize_t got = mnl_socket_recvfrom(f->socket, f->in, sizeof f->in);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  int size = (int)got;
  bool end = got <= 0;
  for (struct nlmsghdr *m = (void *)f->in; !end && mnl_nlmsg_ok(m, size); m = mnl_nlmsg_next(m, &size)) {
    end = m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR;
    if (!end) see_flow(f, m);
  }
  if (end) finish(ctx, f);
}

static void ask(kg_ctx_t *ctx, flows_t *f) {
  char buf[256];
  struct nlmsghdr *m = begin(buf, IPCTNL_MSG_CT_GET, NLM_F_DUMP);
  qsort(f->now.all, f->now.n, sizeof *f->now.all, by_frontend);
  if (mnl_socket_sendto(f->socket, m, m->nlmsg_len) < 0) flows_forget(ctx, f->at);
}

void flows_check(kg_ctx_t *ctx, flows_t **at, leds_t *changed) {
  flows_t *f = *at;
  kg_error_t err;
  if (!changed->n) return;
  if (f) { /* after the dump under way */
    for (size_t i = 0; i < changed->n; i++) leds_add(&f->next, changed->all[i]);
    free(changed->all);
    *changed = (leds_t){0};
    return;
  }
  f = *at = calloc(1, sizeof *f);
  if (!f) return;
  f->at = at;
  f->now = *changed;
  *changed = (leds_t){0};
  f->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (f->socket && mnl_socket_bind(f->socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
      kg_fd_watch(ctx, mnl_socket_get_fd(f->socket), EPOLLIN, on_flows, f, &err) == 0)
    return ask(ctx, f);
  kg_log(ctx, KG_LOG_WARN, "UDP clients may be sent to backends that are gone: %s", strerror(errno));
  flows_forget(ctx, at);
}

void flows_forget(kg_ctx_t *ctx, flows_t **at) {
  flows_t *f = *at;
  *at = NULL;
  if (!f) return;
  if (f->socket) {
    kg_fd_forget(ctx, mnl_socket_get_fd(f->socket));
    mnl_socket_close(f->socket);
  }
  free(f->now.all);
  free(f->next.all);
  free(f);
}
