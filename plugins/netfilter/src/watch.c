/* The kernel tells of every change of rules; what it says is not read, it only makes us look. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "netfilter/nft.h"

enum { LOOK_MS = 250, NAME = 64, ROOM = 32768 };

struct nft_watch {
  kg_ctx_t *ctx;
  struct mnl_socket *told, *asked;
  char table[NAME], chain[NAME];
  nft_lost_fn lost;
  uint64_t timer;
};

static struct mnl_socket *netlink_open(unsigned groups) {
  struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (!s || mnl_socket_bind(s, groups, MNL_SOCKET_AUTOPID) == 0) return s;
  mnl_socket_close(s);
  return NULL;
}

static bool ask(const nft_watch_t *w) {
  char buf[512];
  struct nlmsghdr *m = mnl_nlmsg_put_header(buf);
  m->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE;
  m->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  struct nfgenmsg *g = mnl_nlmsg_put_extra_header(m, sizeof *g);
  g->nfgen_family = AF_INET;
  g->version = NFNETLINK_V0;
  mnl_attr_put_strz(m, NFTA_RULE_TABLE, w->table);
  mnl_attr_put_strz(m, NFTA_RULE_CHAIN, w->chain);
  return mnl_socket_sendto(w->asked, m, m->nlmsg_len) > 0;
}

/* The kernel answers within the question, so nothing is waited for. A dump that broke off says nothing: true. */
static bool has_rules(const nft_watch_t *w) {
  char in[ROOM];
  bool found = !ask(w), end = found;
  while (!end) {
    ssize_t got = mnl_socket_recvfrom(w->asked, in, sizeof in);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    int size = (int)got;
    for (struct nlmsghdr *m = (void *)in; mnl_nlmsg_ok(m, size); m = mnl_nlmsg_next(m, &size)) {
      found |= m->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE) || (m->nlmsg_flags & NLM_F_DUMP_INTR);
      end |= m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR;
    }
  }
  return found;
}

static void look(kg_ctx_t *ctx, void *self, void *arg) {
  nft_watch_t *w = arg;
  w->timer = 0;
  if (!has_rules(w)) w->lost(ctx, self);
}

/* Too much was said for the socket's buffer: that, too, is a reason to look. */
static void on_told(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)self, (void)events;
  nft_watch_t *w = arg;
  char any;
  while (recv(fd, &any, 1, MSG_DONTWAIT) > 0 || errno == ENOBUFS) {
  }
  if (!w->timer) w->timer = kg_timer(ctx, LOOK_MS, 0, look, w);
}

nft_watch_t *nft_watch(kg_ctx_t *ctx, const char *table, const char *chain, nft_lost_fn lost, kg_error_t *err) {
  nft_watch_t *w = calloc(1, sizeof *w);
  if (!w) {
    kg_error_set(err, KG_EINTERNAL, "out of memory");
    return NULL;
  }
  *w = (nft_watch_t){.ctx = ctx, .lost = lost};
  snprintf(w->table, NAME, "%s", table);
  snprintf(w->chain, NAME, "%s", chain);
  if ((w->told = netlink_open(1u << (NFNLGRP_NFTABLES - 1))) && (w->asked = netlink_open(0))) {
    if (kg_fd_watch(ctx, mnl_socket_get_fd(w->told), EPOLLIN, on_told, w, err) == 0) return w;
  } else {
    kg_error_set(err, KG_EINTERNAL, "changes of rules cannot be heard of: %s", strerror(errno));
  }
  if (w->told) mnl_socket_close(w->told);
  if (w->asked) mnl_socket_close(w->asked);
  free(w);
  return NULL;
}

void nft_unwatch(nft_watch_t *w) {
  if (!w) return;
  kg_timer_cancel(w->ctx, w->timer);
  kg_fd_forget(w->ctx, mnl_socket_get_fd(w->told));
  mnl_socket_close(w->told);
  mnl_socket_close(w->asked);
  free(w);
}
