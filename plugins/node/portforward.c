/* node.portforward: a connection to a port inside the pod's network namespace, bytes both ways. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node.h"

enum { CHUNK = 16 * 1024 };

typedef struct forward {
  kg_ctx_t *ctx;
  kg_msg_t *request;
  char *netns; /* NULL: the node's own */
  int fd, port;
  char refusals[256]; /* why the addresses tried so far do not answer */
  bool six, connected, no_credit, input_ended;
  kube_buf_t in;
  size_t taken;
  uint32_t owed; /* items in `in`, granted again when they have gone */
} forward_t;

static void hang_up(forward_t *f) {
  if (f->fd < 0) return;
  kg_fd_forget(f->ctx, f->fd);
  close(f->fd);
  f->fd = -1;
}

static void forward_free(forward_t *f) {
  hang_up(f);
  kube_buf_free(&f->in);
  free(f->netns);
  kg_msg_unref(f->request);
  free(f);
}

static void interest(forward_t *f) {
  bool writes = !f->connected || f->in.n > f->taken;
  kg_fd_change(f->ctx, f->fd, (f->no_credit ? 0 : EPOLLIN) | (writes ? EPOLLOUT : 0));
}

static void fail(forward_t *f, const char *what, int why) {
  kg_fail(f->ctx, f->request, KG_EINTERNAL, "%s: %s", what, strerror(why));
  forward_free(f);
}

/* False: f has gone. */
static bool write_input(forward_t *f) {
  while (f->taken < f->in.n) {
    ssize_t n = send(f->fd, f->in.p + f->taken, f->in.n - f->taken, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return true;
    if (n < 0) {
      fail(f, "the connection broke", errno);
      return false;
    }
    f->taken += (size_t)n;
  }
  kube_buf_free(&f->in);
  f->in = (kube_buf_t){0};
  f->taken = 0;
  kg_stream_grant(f->ctx, f->request, f->owed);
  f->owed = 0;
  if (f->input_ended) shutdown(f->fd, SHUT_WR);
  return true;
}

static bool read_output(forward_t *f) {
  char buf[CHUNK];
  ssize_t n = recv(f->fd, buf, sizeof buf, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) {
    kg_stream_end(f->ctx, f->request);
    forward_free(f);
    return false;
  }
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_key(&k, "data");
  kg_pack_bin(&k, buf, (size_t)n);
  kg_pack_end(&k);
  kg_doc_t *item = kg_pack_doc(&k);
  f->no_credit = kg_stream_item(f->ctx, f->request, item, NULL, 0) <= 0;
  kg_doc_unref(item);
  return true;
}

/* --- connecting -------------------------------------------------------------------------------------------------- */

/* A socket belongs to the namespace its maker was in: this thread goes there for the one call and comes back. */
static int socket_in(const char *netns, int family) {
  int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), ns = open(netns, O_RDONLY | O_CLOEXEC), fd = -1;
  if (home >= 0 && ns >= 0 && setns(ns, CLONE_NEWNET) == 0) {
    fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    while (setns(home, CLONE_NEWNET) != 0 && errno == EINTR) continue;
  }
  if (home >= 0) close(home);
  if (ns >= 0) close(ns);
  return fd;
}

static void on_socket(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg);

/* To localhost. -1: not even begun; errno says why. */
static int dial(forward_t *f) {
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
  struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = four.sin_port, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int family = f->six ? AF_INET6 : AF_INET;
  f->fd = f->netns ? socket_in(f->netns, family) : socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (f->fd < 0) return -1;
  const struct sockaddr *to = f->six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
  if (connect(f->fd, to, f->six ? sizeof six : sizeof four) < 0 && errno != EINPROGRESS) return -1;
  return kg_fd_watch(f->ctx, f->fd, EPOLLIN | EPOLLOUT, on_socket, f, NULL);
}

/* Programs may listen on one of localhost's two addresses only. May free f. */
static void refused(forward_t *f, int why) {
  size_t n = strlen(f->refusals);
  snprintf(f->refusals + n, sizeof f->refusals - n,
           f->six ? " IPv6 dial tcp6 [::1]:%d: connect: %s" : "IPv4: dial tcp4 127.0.0.1:%d: connect: %s", f->port,
           why == ECONNREFUSED ? "connection refused" : strerror(why));
  hang_up(f);
  bool last = f->six;
  f->six = true;
  if (!last && !dial(f)) return;
  if (!last) return refused(f, errno);
  kg_fail(f->ctx, f->request, KG_EINTERNAL, "failed to connect to localhost:%d inside namespace \"%s\", %s", f->port,
          f->netns ? f->netns : "host", f->refusals);
  forward_free(f);
}

static void on_socket(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)self;
  forward_t *f = arg;
  int why = 0;
  socklen_t n = sizeof why;
  if (!f->connected && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &n) == 0 && why) return refused(f, why);
    f->connected = true;
  }
  if (f->connected && !write_input(f)) return;
  if ((events & (EPOLLIN | EPOLLHUP)) && !f->no_credit && !read_output(f)) return;
  interest(f);
}

static void on_item(kg_ctx_t *ctx, void *self, const kg_msg_t *request, const kg_msg_t *item, void *arg) {
  (void)ctx, (void)self, (void)request;
  forward_t *f = arg;
  kg_str_t data = kg_view_bin(kg_view_get(kg_msg_args(item), "data"));
  if (kg_msg_type(item) == KG_MSG_END) f->input_ended = true;
  if (data.n) kube_buf_add(&f->in, data.p, data.n);
  if (kg_msg_type(item) == KG_MSG_ITEM) f->owed++;
  if (f->connected && !write_input(f)) return;
  interest(f);
}

static void on_credit(kg_ctx_t *ctx, void *self, const kg_msg_t *request, void *arg) {
  (void)ctx, (void)self, (void)request;
  forward_t *f = arg;
  f->no_credit = false;
  interest(f);
}

static void on_cancel(kg_ctx_t *ctx, void *self, const kg_msg_t *request, void *arg) {
  (void)ctx, (void)self, (void)request;
  forward_free(arg);
}

void node_portforward(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  static const kg_stream_events_t events = {
      .on_credit = on_credit, .on_cancel = on_cancel, .on_item = on_item, .manual_credit = true};
  kg_view_t args = kg_msg_args(m);
  const pod_t *p = agent_pod(self, VIEW_STR(args, "ns"), VIEW_STR(args, "pod"));
  int64_t port = kg_view_int(kg_view_get(args, "port"), 0);
  if (!p || p->sandbox != SB_READY) return kg_fail(ctx, m, KG_ENOTFOUND, "the pod does not run");
  if (port < 1 || port > 65535) return kg_fail(ctx, m, KG_EINVAL, "%lld is no port", (long long)port);
  forward_t *f = calloc(1, sizeof *f);
  if (!f) return kg_fail(ctx, m, KG_EINTERNAL, "out of memory");
  *f = (forward_t){.ctx = ctx, .request = kg_msg_ref(m), .fd = -1, .port = (int)port};
  if (p->netns && !(f->netns = strdup(p->netns))) return fail(f, "the pod's network cannot be entered", ENOMEM);
  kg_stream_open(ctx, m, &events, f);
  if (dial(f)) refused(f, errno);
}
