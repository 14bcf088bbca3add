/* Sockets and TLS: accepting, reading, writing with a bounded backlog, deadlines. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway.h"

enum {
  HANDSHAKE_MS = 10000,
  LINGER_MS = 2000,
  STALLED_MS = 60000,
  PATIENCE_MS = 4 * 3600 * 1000,
  SWEEP_MS = 2000,
  ROUNDS = 4
};

static void conn_event(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg);
static void readable(gw_conn_t *c);

static int bind_address(int fd, int family, const char *address, int port) {
  if (family == AF_INET6) {
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    inet_pton(AF_INET6, address, &a.sin6_addr);
    return bind(fd, (struct sockaddr *)&a, sizeof a);
  }
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  inet_pton(AF_INET, address, &a.sin_addr);
  return bind(fd, (struct sockaddr *)&a, sizeof a);
}

int gw_listen(gw_t *gw, const char *address, int port, kg_error_t *err) {
  unsigned char probe[16];
  int family = strchr(address, ':') ? AF_INET6 : AF_INET, one = 1;
  if (inet_pton(family, address, probe) != 1)
    return kg_error_set(err, KG_EINVAL, "\"%s\" is no IP address to listen on", address);
  if (gw->nlisten == GW_MAX_LISTEN)
    return kg_error_set(err, KG_EINVAL, "more than %d addresses to listen on", GW_MAX_LISTEN);
  int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return kg_error_set(err, KG_EUNAVAILABLE, "cannot make a socket: %s", strerror(errno));
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof one); /* the pod bridge comes later */
  if (bind_address(fd, family, address, port) || listen(fd, 4096)) {
    int e = errno;
    close(fd);
    return kg_error_set(err, e == EADDRINUSE ? KG_ECONFLICT : KG_EUNAVAILABLE, "cannot listen on %s port %d: %s",
                        address, port, strerror(e));
  }
  gw->listen_fd[gw->nlisten++] = fd;
  return 0;
}

/* --- deadlines
 * --------------------------------------------------------------------------------------------------------- */

static void sweep(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  gw_t *gw = self;
  int64_t now = kg_now_ms(ctx);
  gw->sweep_timer = 0;
  for (gw_conn_t *c = gw->conns, *next; c; c = next) {
    next = c->next;
    if (c->deadline_ms && c->deadline_ms <= now) gw_conn_close(c);
  }
  if (gw->ndeadlines && !gw->sweep_timer) gw->sweep_timer = kg_timer(ctx, SWEEP_MS, 0, sweep, NULL);
}

void gw_conn_deadline(gw_conn_t *c, int64_t in_ms) {
  gw_t *gw = c->gw;
  if (c->deadline_ms) gw->ndeadlines--;
  c->deadline_ms = in_ms ? kg_now_ms(gw->ctx) + in_ms : 0;
  if (!in_ms) return;
  gw->ndeadlines++;
  if (!gw->sweep_timer) gw->sweep_timer = kg_timer(gw->ctx, SWEEP_MS, 0, sweep, NULL);
}

/* --- writing
 * ----------------------------------------------------------------------------------------------------------- */

static size_t waiting(const gw_conn_t *c) {
  return c->out.bytes + c->nleft;
}

void gw_conn_interest(gw_conn_t *c) {
  uint32_t want = EPOLLRDHUP;
  if (!c->no_read && !c->eof) want |= EPOLLIN;
  if (c->eof || c->half_closed) want &= ~(uint32_t)EPOLLRDHUP;
  if (waiting(c)) want |= EPOLLOUT;
  if (want == c->events || c->broken) return;
  c->events = want;
  kg_fd_change(c->gw->ctx, c->fd, want);
}

void gw_conn_flush_all(gw_t *gw) {
  gw_conn_t *todo = gw->dirty; /* what becomes dirty meanwhile waits for the next turn */
  gw->dirty = NULL;
  while (todo) {
    gw_conn_t *c = todo;
    todo = c->dirty_next;
    c->dirty = false;
    if (c->read_again && !c->broken) {
      c->read_again = false;
      c->running = true;
      readable(c);
      c->running = false;
    }
    if (!c->broken) gw_conn_flush(c);
    if (c->broken || c->eof) gw_conn_close(c);
  }
}

static void on_flush(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  gw_t *gw = self;
  gw->flush_timer = 0;
  gw_conn_flush_all(gw);
}

void gw_conn_dirty(gw_conn_t *c) {
  gw_t *gw = c->gw;
  if (c->dirty) return;
  c->dirty = true;
  c->dirty_next = gw->dirty;
  gw->dirty = c;
  if (!gw->flush_timer) gw->flush_timer = kg_timer(gw->ctx, 0, 0, on_flush, NULL);
}

void gw_conn_break(gw_conn_t *c) {
  c->broken = true;
  gw_conn_dirty(c);
}

/* One SSL_write of what waits; 0: nothing more goes now. A repeated write after WANT_WRITE gathers the same first bytes
 * again. */
static size_t write_some(gw_conn_t *c) {
  const gw_out_t *o = c->out.head;
  size_t n = o->to - o->from;
  const char *p = o->blob->p + o->from;
  if (n < sizeof c->gw->gather / 2 && o->next) {
    n = gw_queue_copy(&c->out, c->gw->gather, sizeof c->gw->gather);
    p = c->gw->gather;
  }
  ERR_clear_error();
  size_t done = 0;
  if (SSL_write_ex(c->ssl, p, n, &done)) {
    gw_queue_drop(&c->out, done);
    return done;
  }
  int e = SSL_get_error(c->ssl, 0);
  if (e != SSL_ERROR_WANT_WRITE && e != SSL_ERROR_WANT_READ) gw_conn_break(c);
  return 0;
}

static void drained(gw_conn_t *c) {
  for (gw_ex_t *ex = c->exchanges, *next; ex; ex = next) {
    next = ex->next;
    if (ex->on_drain && gw_backlog(ex) < GW_BACKLOG_LOW) ex->on_drain(ex);
  }
}

/* Everything is written: say so, and read on until the client closes, since closing on unread bytes would take the
 * answer away. */
static void linger(gw_conn_t *c) {
  if (c->lingering) return;
  c->lingering = true;
  c->no_read = false;
  SSL_shutdown(c->ssl);
  ERR_clear_error();
  shutdown(c->fd, SHUT_WR);
  gw_conn_deadline(c, LINGER_MS);
}

/* Writes what waits, as far as the socket takes it. */
static size_t write_out(gw_conn_t *c) {
  size_t wrote = 0, n, left = c->nleft;
  if (c->is_h2) gw_http2_pump(c);
  if (!waiting(c)) return 0;
  int open = gw_wire_begin(c);
  wrote += left - c->nleft;
  while (open > 0 && !c->broken && c->out.bytes && gw_wire_has_room(c->gw) && (n = write_some(c))) {
    wrote += n;
    if (c->is_h2 && c->out.bytes < GW_BACKLOG_LOW) gw_http2_pump(c);
  }
  if (open < 0 || (open > 0 && gw_wire_end(c) < 0)) gw_conn_break(c);
  return wrote;
}

/* A client may stop reading a stream for hours (a pager, a stopped process; a kubelet waits as long), but not an
 * answer. */
static int64_t stalled_ms(const gw_conn_t *c) {
  bool patient = c->exchanges || c->patient;
  for (const gw_ex_t *ex = c->exchanges; ex; ex = ex->next) patient &= ex->patient;
  return patient ? PATIENCE_MS : STALLED_MS;
}

/* What is written does not prolong the time that a request has to come. */
void gw_conn_flush(gw_conn_t *c) {
  size_t wrote = 0, n;
  for (int i = 0; i < ROUNDS && (n = write_out(c)) && !c->broken; i++) {
    wrote += n;
    if (c->out.bytes < GW_BACKLOG_LOW) drained(c);
  }
  if (c->broken) return;
  if (!waiting(c) && !c->is_h2) gw_release_answers(c, c->answers);
  if (!waiting(c) && c->close_after)
    linger(c);
  else if (waiting(c) && (c->reading ? !c->deadline_ms : wrote || !c->deadline_ms))
    gw_conn_deadline(c, stalled_ms(c));
  else if (!waiting(c) && wrote && c->exchanges && !c->reading)
    gw_conn_deadline(c, 0);
  gw_conn_interest(c);
}

/* --- reading
 * ----------------------------------------------------------------------------------------------------------- */

static int handshake(gw_conn_t *c) {
  ERR_clear_error();
  int r = SSL_accept(c->ssl);
  if (r != 1) {
    int e = SSL_get_error(c->ssl, r);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) return 0;
    c->gw->handshake_failures++;
    return -1;
  }
  c->shaken = true;
  X509 *cert = SSL_get1_peer_certificate(c->ssl);
  if (cert) {
    c->bad_cert = SSL_get_verify_result(c->ssl) != X509_V_OK;
    if (!c->bad_cert) c->user = gw_user_of_cert(cert);
    X509_free(cert);
  }
  const unsigned char *proto = NULL;
  unsigned n = 0;
  SSL_get0_alpn_selected(c->ssl, &proto, &n);
  c->is_h2 = n == 2 && !memcmp(proto, "h2", 2);
  gw_conn_deadline(c, c->gw->request_ms);
  if (c->is_h2) return gw_http2_open(c);
  gw_http1_open(c);
  return c->parser ? 0 : -1;
}

static void readable(gw_conn_t *c) {
  gw_t *gw = c->gw;
  for (int turns = 0; turns < 16 && !c->broken && !c->no_read && !c->eof; turns++) {
    size_t n = 0;
    ERR_clear_error();
    if (!SSL_read_ex(c->ssl, gw->scratch, sizeof gw->scratch, &n)) {
      int e = SSL_get_error(c->ssl, 0);
      if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) return;
      c->eof = true;
      return;
    }
    if (c->lingering) continue;
    if (c->is_h2)
      gw_http2_feed(c, gw->scratch, n);
    else
      gw_http1_feed(c, gw->scratch, n);
  }
  if (SSL_has_pending(c->ssl)) gw_conn_read_again(c);
}

/* Bytes that OpenSSL holds do not wake epoll: come back in the next turn. */
void gw_conn_read_again(gw_conn_t *c) {
  c->read_again = true;
  gw_conn_dirty(c);
}

static void conn_event(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)self, (void)fd;
  gw_conn_t *c = arg;
  if (!c->shaken) {
    if (handshake(c)) {
      gw_conn_close(c);
      return;
    }
    if (!c->shaken) return;
  }
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
    c->running = true;
    readable(c);
    c->running = false;
  }
  if ((events & EPOLLRDHUP) && c->no_read) c->half_closed = true; /* seen; it would wake us for ever */
  if (events & (EPOLLHUP | EPOLLERR)) c->eof = true;
  /* A client that has gone wants no answer: its calls are cancelled. */
  if (c->eof) {
    gw_conn_close(c);
    return;
  }
  if (!c->broken) gw_conn_flush(c);
  if (c->broken) gw_conn_close(c);
}

/* --- life
 * -------------------------------------------------------------------------------------------------------------- */

static gw_conn_t *conn_new(gw_t *gw, int fd) {
  gw_conn_t *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  c->gw = gw;
  c->fd = fd;
  c->events = EPOLLIN | EPOLLRDHUP;
  c->ssl = SSL_new(gw->tls);
  kg_error_t err;
  if (!c->ssl || !SSL_set_fd(c->ssl, fd) || gw_wire_open(c) < 0 ||
      kg_fd_watch(gw->ctx, fd, c->events, conn_event, c, &err)) {
    SSL_free(c->ssl);
    free(c);
    return NULL;
  }
  c->next = gw->conns;
  if (c->next) c->next->prev = c;
  gw->conns = c;
  gw->nconns++;
  gw->accepted++;
  gw_conn_deadline(c, HANDSHAKE_MS);
  return c;
}

void gw_conn_close(gw_conn_t *c) {
  gw_t *gw = c->gw;
  c->broken = true;
  while (c->exchanges) gw_ex_free(c->exchanges);
  gw_release_answers(c, c->answers);
  if (c->is_h2) gw_http2_close(c);
  gw_http1_close(c);
  gw_conn_deadline(c, 0);
  if (c->dirty) {
    gw_conn_t **at = &gw->dirty;
    while (*at && *at != c) at = &(*at)->dirty_next;
    if (*at) *at = c->dirty_next;
  }
  if (c->prev)
    c->prev->next = c->next;
  else
    gw->conns = c->next;
  if (c->next) c->next->prev = c->prev;
  gw->nconns--;
  kg_fd_forget(gw->ctx, c->fd);
  if (c->shaken && !c->lingering && !SSL_in_init(c->ssl)) SSL_shutdown(c->ssl);
  ERR_clear_error();
  SSL_free(c->ssl);
  close(c->fd);
  gw_queue_clear(&c->out);
  free(c->left);
  gw_user_unref(c->user);
  free(c);
}

/* Out of descriptors: take the connection with the spare one and drop it, so that the listener does not spin. */
static void shed(gw_t *gw, int listener) {
  close(gw->spare_fd);
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd >= 0) close(fd);
  gw->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void gw_accept(kg_ctx_t *ctx, void *self, int listener, uint32_t events, void *arg) {
  (void)ctx, (void)events, (void)arg;
  gw_t *gw = self;
  for (int i = 0; i < 64; i++) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE) shed(gw, listener);
      return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    if (!conn_new(gw, fd)) close(fd);
  }
}
