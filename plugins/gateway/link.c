#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link.h"

enum { DIAL_MS = 30000, TURNS = 16 };

struct gw_link {
  gw_t *gw;
  int fd;
  SSL *ssl; /* NULL: plain */
  bool connected, shaken, held, over;
  bool deaf;  /* broken while it was held: it would wake us for ever, so it is not watched */
  bool *gone; /* set when it is freed from inside an event */
  kube_buf_t out;
  size_t sent;
  uint64_t timer, again;
  char peer[80];
  const gw_link_events_t *events;
  void *arg;
};

static void interest(gw_link_t *l) {
  if (l->deaf) return;
  bool writes = !l->connected || !l->shaken || l->sent < l->out.n;
  kg_fd_change(l->gw->ctx, l->fd, (l->held ? 0 : EPOLLIN) | (writes ? EPOLLOUT : 0));
}

void gw_link_free(gw_link_t *l) {
  if (!l) return;
  if (l->gone) *l->gone = true;
  kg_timer_cancel(l->gw->ctx, l->timer);
  kg_timer_cancel(l->gw->ctx, l->again);
  SSL_free(l->ssl);
  if (l->fd >= 0) {
    kg_fd_forget(l->gw->ctx, l->fd);
    close(l->fd);
  }
  kube_buf_free(&l->out);
  free(l);
}

const char *gw_link_peer(const gw_link_t *l) {
  return l->peer;
}

size_t gw_link_waiting(const gw_link_t *l) {
  return l->out.n - l->sent;
}

static void ended(gw_link_t *l, const char *error) {
  l->over = true;
  kg_fd_forget(l->gw->ctx, l->fd);
  l->events->end(l, error, l->arg);
}

/* In the words of the library that clients know: "dial tcp 10.1.2.3:80: connect: connection refused". */
static void broken(gw_link_t *l, const char *what, const char *why) {
  char text[300];
  int n = snprintf(text, sizeof text, "%s%s%s", l->connected ? "" : "dial tcp ", l->connected ? "" : l->peer,
                   l->connected ? "" : ": ");
  n += snprintf(text + n, sizeof text - (size_t)n, "%s: ", what);
  snprintf(text + n, sizeof text - (size_t)n, "%s", why);
  text[n] = (char)tolower((unsigned char)text[n]);
  ended(l, text);
}

/* --- TLS or plain: > 0 bytes, 0 not now, -1 over (errno or OpenSSL's queue says why; errno 0: closed) ---------------
 */

static ssize_t ssl_result(gw_link_t *l, int r) {
  int e = SSL_get_error(l->ssl, r);
  if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) return 0;
  if (e == SSL_ERROR_ZERO_RETURN) errno = 0;
  if (e == SSL_ERROR_SSL) errno = EPROTO;
  return -1;
}

static ssize_t receive(gw_link_t *l, char *p, size_t room) {
  if (l->ssl) {
    ERR_clear_error();
    int r = SSL_read(l->ssl, p, (int)room);
    return r > 0 ? r : ssl_result(l, r);
  }
  ssize_t n = recv(l->fd, p, room, 0);
  if (n == 0) errno = 0;
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  return n > 0 ? n : -1;
}

static ssize_t transmit(gw_link_t *l, const char *p, size_t n) {
  if (l->ssl) {
    ERR_clear_error();
    int r = SSL_write(l->ssl, p, n > 65536 ? 65536 : (int)n);
    return r > 0 ? r : ssl_result(l, r);
  }
  ssize_t done = send(l->fd, p, n, MSG_NOSIGNAL);
  return done < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : done;
}

/* --- steps: each false when l is over or gone -----------------------------------------------------------------------
 */

static bool step_connect(gw_link_t *l, uint32_t events) {
  int why = 0;
  socklen_t n = sizeof why;
  if (l->connected) return true;
  if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) return false;
  if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &why, &n) < 0) why = errno;
  if (why) {
    broken(l, "connect", strerror(why));
    return false;
  }
  l->connected = true;
  l->shaken = !l->ssl;
  if (l->shaken) kg_timer_cancel(l->gw->ctx, l->timer);
  return true;
}

static bool step_shake(gw_link_t *l) {
  if (l->shaken) return true;
  ERR_clear_error();
  int r = SSL_connect(l->ssl);
  if (r == 1) {
    kg_timer_cancel(l->gw->ctx, l->timer);
    l->shaken = true;
    return true;
  }
  if (ssl_result(l, r) == 0) return false;
  unsigned long e = ERR_peek_last_error();
  const char *why = ERR_reason_error_string(e);
  if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_WRONG_VERSION_NUMBER)
    ended(l, "http: server gave HTTP response to HTTPS client");
  else
    broken(l, "tls", why ? why : "the connection was closed");
  return false;
}

static bool step_write(gw_link_t *l) {
  bool any = l->sent < l->out.n;
  while (l->sent < l->out.n) {
    ssize_t n = transmit(l, l->out.p + l->sent, l->out.n - l->sent);
    if (n == 0) return true;
    if (n < 0) { /* it may have answered before it closed: what is to be read comes first */
      kube_buf_free(&l->out);
      l->out = (kube_buf_t){0};
      l->sent = 0;
      return true;
    }
    l->sent += (size_t)n;
  }
  if (!any) return true;
  kube_buf_free(&l->out);
  l->out = (kube_buf_t){0};
  l->sent = 0;
  bool gone = false;
  l->gone = &gone;
  if (l->events->written) l->events->written(l, l->arg);
  if (!gone) l->gone = NULL;
  return !gone;
}

static bool step_read(gw_link_t *l) {
  char buf[16 << 10];
  for (int turn = 0; turn < TURNS && !l->held; turn++) {
    ssize_t n = receive(l, buf, sizeof buf);
    if (n == 0) return true;
    if (n < 0) {
      if (errno)
        broken(l, "read", strerror(errno));
      else
        ended(l, NULL);
      return false;
    }
    bool gone = false;
    l->gone = &gone;
    l->events->data(l, buf, (size_t)n, l->arg);
    if (gone) return false;
    l->gone = NULL;
  }
  return true;
}

/* Bytes that OpenSSL holds wake nobody. */
static void on_again(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self;
  gw_link_t *l = arg;
  l->again = 0;
  if (l->over || !l->shaken || !step_read(l)) return;
  if (l->deaf && !l->held) l->again = kg_timer(ctx, 0, 0, on_again, l); /* until its end is read */
  interest(l);
}

static void on_ready(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)self;
  gw_link_t *l = arg;
  if (!step_connect(l, events)) return;
  if (!step_shake(l) || !step_write(l) || !step_read(l)) return;
  if (l->held && (events & (EPOLLHUP | EPOLLERR))) {
    l->deaf = true;
    kg_fd_forget(ctx, fd);
  }
  if (l->ssl && SSL_pending(l->ssl) && !l->held && !l->again) l->again = kg_timer(ctx, 0, 0, on_again, l);
  interest(l);
}

/* --- opening --------------------------------------------------------------------------------------------------------
 */

static void on_late(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  gw_link_t *l = arg;
  l->timer = 0;
  if (l->connected) return ended(l, "net/http: TLS handshake timeout");
  char text[120];
  snprintf(text, sizeof text, "dial tcp %s: i/o timeout", l->peer);
  ended(l, text);
}

static int start_tls(gw_link_t *l, kg_error_t *err) {
  SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
  if (tls) l->ssl = SSL_new(tls);
  SSL_CTX_free(tls); /* the connection holds it */
  if (!l->ssl || !SSL_set_fd(l->ssl, l->fd)) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  SSL_set_verify(l->ssl, SSL_VERIFY_NONE, NULL);
  SSL_set_mode(l->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return 0;
}

static int dial(gw_link_t *l, const char *address, int port, kg_error_t *err) {
  struct sockaddr_storage to = {0};
  struct sockaddr_in *four = (struct sockaddr_in *)&to;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)&to;
  bool is_six = strchr(address, ':') != NULL;
  to.ss_family = is_six ? AF_INET6 : AF_INET;
  *(is_six ? &six->sin6_port : &four->sin_port) = htons((uint16_t)port);
  if (inet_pton(to.ss_family, address, is_six ? (void *)&six->sin6_addr : &four->sin_addr) != 1)
    return kg_error_set(err, KG_EINVAL, "\"%s\" is no IP address", address);
  snprintf(l->peer, sizeof l->peer, is_six ? "[%s]:%d" : "%s:%d", address, port);
  l->fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (l->fd < 0) return kg_error_set(err, KG_EUNAVAILABLE, "dial tcp %s: %s", l->peer, strerror(errno));
  socklen_t size = is_six ? sizeof *six : sizeof *four;
  if (connect(l->fd, (struct sockaddr *)&to, size) < 0 && errno != EINPROGRESS)
    return kg_error_set(err, KG_EUNAVAILABLE, "dial tcp %s: connect: %s", l->peer, strerror(errno));
  return 0;
}

gw_link_t *gw_link_open(gw_t *gw, const char *address, int port, bool tls, const gw_link_events_t *events, void *arg,
                        kg_error_t *err) {
  gw_link_t *l = calloc(1, sizeof *l);
  if (!l) {
    kg_error_set(err, KG_EINTERNAL, "out of memory");
    return NULL;
  }
  *l = (gw_link_t){.gw = gw, .fd = -1, .events = events, .arg = arg};
  if (dial(l, address, port, err) || (tls && start_tls(l, err)) ||
      kg_fd_watch(gw->ctx, l->fd, EPOLLIN | EPOLLOUT, on_ready, l, err)) {
    gw_link_free(l);
    return NULL;
  }
  l->timer = kg_timer(gw->ctx, DIAL_MS, 0, on_late, l);
  return l;
}

void gw_link_send(gw_link_t *l, const void *p, size_t n) {
  if (l->over) return;
  kube_buf_add(&l->out, p, n);
  if (l->connected && l->shaken) interest(l);
}

void gw_link_hold(gw_link_t *l, bool hold) {
  if (l->over || l->held == hold) return;
  l->held = hold;
  interest(l);
  if (!hold && (l->deaf || (l->ssl && SSL_pending(l->ssl))) && !l->again)
    l->again = kg_timer(l->gw->ctx, 0, 0, on_again, l);
}
