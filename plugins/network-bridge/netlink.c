/* Batches of rtnetlink requests: sent in one call, answered one by one. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdio.h>

#include "network.h"

enum { BATCH = 16, ROOM = 8192, ANSWERS = 32768 };

struct netlink {
  struct mnl_socket *socket;
  unsigned seq, first; /* first: sequence number of the batch's first message */
  size_t used;
  unsigned count;
  const char *what[BATCH];
  char buf[ROOM], answers[ANSWERS];
};

netlink_t *netlink_open(kg_error_t *err) {
  netlink_t *nl = calloc(1, sizeof *nl);
  if (nl && (nl->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC)) &&
      mnl_socket_bind(nl->socket, 0, MNL_SOCKET_AUTOPID) == 0)
    return nl;
  kg_error_set(err, KG_EINTERNAL, "netlink could not be opened: %s", strerror(errno));
  netlink_close(nl);
  return NULL;
}

void netlink_close(netlink_t *nl) {
  if (nl && nl->socket) mnl_socket_close(nl->socket);
  free(nl);
}

static struct nlmsghdr *begin(netlink_t *nl, int type, int flags, const void *head, size_t n) {
  struct nlmsghdr *m = mnl_nlmsg_put_header(nl->buf + nl->used);
  m->nlmsg_type = (uint16_t)type;
  m->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
  m->nlmsg_seq = ++nl->seq;
  memcpy(mnl_nlmsg_put_extra_header(m, n), head, n);
  return m;
}

/* The message begun last is as long as it says now. */
static void close_last(netlink_t *nl) {
  if (!nl->count) return;
  size_t at = 0;
  for (unsigned i = 0; i < nl->count; i++) at += NLMSG_ALIGN(((struct nlmsghdr *)(nl->buf + at))->nlmsg_len);
  nl->used = at;
}

struct nlmsghdr *netlink_add(netlink_t *nl, const char *what, int type, int flags, const void *head, size_t n) {
  close_last(nl);
  if (!nl->count) {
    nl->first = nl->seq + 1;
    nl->used = 0;
  }
  nl->what[nl->count++] = what;
  return begin(nl, type, NLM_F_ACK | flags, head, n);
}

static void take_answer(netlink_t *nl, const struct nlmsghdr *m, int forgive, int *result, kg_error_t *err) {
  const struct nlmsgerr *e = mnl_nlmsg_get_payload(m);
  unsigned i = m->nlmsg_seq - nl->first;
  if (!e->error || -e->error == forgive || *result < 0) return;
  *result = kg_error_set(err, KG_EINTERNAL, "%s: %s", i < BATCH ? nl->what[i] : "netlink", strerror(-e->error));
}

int netlink_send(netlink_t *nl, int forgive, kg_error_t *err) {
  close_last(nl);
  unsigned left = nl->count;
  int result = 0;
  if (mnl_socket_sendto(nl->socket, nl->buf, nl->used) < 0)
    result = kg_error_set(err, KG_EINTERNAL, "%s: %s", nl->what[0], strerror(errno)), left = 0;
  while (left) {
    ssize_t n = mnl_socket_recvfrom(nl->socket, nl->answers, sizeof nl->answers);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      result = kg_error_set(err, KG_EINTERNAL, "netlink: %s", strerror(errno));
      break;
    }
    int size = (int)n;
    for (struct nlmsghdr *m = (void *)nl->answers; mnl_nlmsg_ok(m, size); m = mnl_nlmsg_next(m, &size)) {
      if (m->nlmsg_type != NLMSG_ERROR || m->nlmsg_seq - nl->first >= nl->count) continue;
      take_answer(nl, m, forgive, &result, err);
      left--;
    }
  }
  nl->count = 0;
  return result;
}

int netlink_dump(netlink_t *nl, int type, const void *head, size_t n, void (*fn)(const struct nlmsghdr *m, void *arg),
                 void *arg, kg_error_t *err) {
  nl->used = 0;
  struct nlmsghdr *request = begin(nl, type, NLM_F_DUMP, head, n);
  if (mnl_socket_sendto(nl->socket, request, request->nlmsg_len) < 0)
    return kg_error_set(err, KG_EINTERNAL, "netlink: %s", strerror(errno));
  for (;;) {
    ssize_t got = mnl_socket_recvfrom(nl->socket, nl->answers, sizeof nl->answers);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return kg_error_set(err, KG_EINTERNAL, "netlink: %s", strerror(errno));
    int size = (int)got;
    for (struct nlmsghdr *m = (void *)nl->answers; mnl_nlmsg_ok(m, size); m = mnl_nlmsg_next(m, &size)) {
      if (m->nlmsg_seq != nl->seq) continue;
      if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR) return 0;
      fn(m, arg);
    }
  }
}
