/* The connection to one member of the cluster: TCP, TLS, HTTP/2's bytes; the next endpoint when it fails. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "etcd.h"

enum { CONNECT_MS = 3000, BACKOFF_MS = 50, BACKOFF_MAX_MS = 3000, OUT_MAX = 256 << 10, READS = 64 };

/* --- configuration --------------------------------------------------------------------------------------------------
 */

int etcd_endpoint_parse(etcd_endpoint_t *p, kg_str_t url, kg_error_t *err) {
  char text[300], *host = text, *rest = NULL;
  snprintf(text, sizeof text, KG_STR_FMT, KG_STR_ARG(url));
  p->tls = !strncmp(text, "https://", 8);
  if (p->tls || !strncmp(text, "http://", 7)) host = text + (p->tls ? 8 : 7);
  host[strcspn(host, "/")] = '\0';
  if (*host == '[' && (rest = strchr(host, ']'))) {
    host++;
    *rest++ = '\0';
  } else {
    rest = host + strcspn(host, ":");
  }
  long port = *rest == ':' ? strtol(rest + 1, NULL, 10) : 2379;
  *rest = '\0';
  if (!*host || url.n >= sizeof text || port < 1 || port > 65535)
    return kg_error_set(err, KG_EINVAL, "store-etcd: `" KG_STR_FMT "` is no endpoint like https://HOST:2379",
                        KG_STR_ARG(url));
  p->port = (int)port;
  p->host = strdup(host);
  return p->host ? 0 : kg_error_set(err, KG_EINTERNAL, "store-etcd: out of memory");
}

static int tls_error(SSL_CTX *tls, const char *what, const char *file, kg_error_t *err) {
  char text[200];
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  SSL_CTX_free(tls);
  return kg_error_set(err, KG_EINVAL, "store-etcd: %s %s cannot be used: %s", what, file, text);
}

SSL_CTX *etcd_tls_new(kg_view_t config, kg_error_t *err) {
  char ca[512], cert[512], key[512];
  static const unsigned char alpn[] = "\2h2";
  snprintf(ca, sizeof ca, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(config, "ca"))));
  snprintf(cert, sizeof cert, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(config, "cert"))));
  snprintf(key, sizeof key, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(config, "key"))));
  SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
  if (!tls) {
    kg_error_set(err, KG_EINTERNAL, "store-etcd: out of memory");
    return NULL;
  }
  SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
  SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_alpn_protos(tls, alpn, sizeof alpn - 1);
  bool bad = true;
  if (ca[0] ? !SSL_CTX_load_verify_locations(tls, ca, NULL) : !SSL_CTX_set_default_verify_paths(tls))
    tls_error(tls, "the CA", ca, err);
  else if (cert[0] && SSL_CTX_use_certificate_chain_file(tls, cert) != 1)
    tls_error(tls, "the certificate", cert, err);
  else if (key[0] && SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
    tls_error(tls, "the key", key, err);
  else
    bad = false;
  return bad ? NULL : tls;
}

/* --- ends ------------------------------------------------------------------------------------------------------------
 */

static void on_retry(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  etcd_t *e = arg;
  e->retry_timer = 0;
  etcd_connect(e);
}

void etcd_conn_close(etcd_t *e) {
  kg_timer_cancel(e->ctx, e->connect_timer);
  kg_timer_cancel(e->ctx, e->retry_timer);
  e->connect_timer = e->retry_timer = 0;
  etcd_dial_drop(e->dial);
  e->dial = NULL;
  if (e->session) nghttp2_session_del(e->session);
  e->session = NULL;
  SSL_free(e->ssl);
  e->ssl = NULL;
  if (e->fd >= 0) {
    kg_fd_forget(e->ctx, e->fd);
    close(e->fd);
  }
  e->fd = -1;
  kube_buf_free(&e->out);
  e->out_sent = 0;
  e->state = CONN_NONE;
  e->good = e->broken = false;
}

/* All endpoints at once, then with growing pauses. */
static int64_t backoff(etcd_t *e) {
  unsigned round = e->failures / (unsigned)e->nendpoints;
  if (!round) return 1;
  int64_t ms = (int64_t)BACKOFF_MS << (round < 8 ? round : 8);
  if (ms > BACKOFF_MAX_MS) ms = BACKOFF_MAX_MS;
  return ms / 2 + (int64_t)(kg_random(e->ctx) % (uint64_t)ms) / 2;
}

static void give_up(etcd_t *e) {
  char why[sizeof e->why];
  memcpy(why, e->why, sizeof why);
  etcd_conn_close(e);
  e->failures++;
  e->at = (e->at + 1) % e->nendpoints;
  e->retry_timer = kg_timer(e->ctx, backoff(e), 0, on_retry, e);
  etcd_calls_lost(e, why);
}

void etcd_conn_lost(etcd_t *e, const char *fmt, ...) {
  const etcd_endpoint_t *p = &e->endpoints[e->at];
  char text[160];
  va_list ap;
  if (e->state == CONN_NONE || e->broken) return;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  snprintf(e->why, sizeof e->why, "%s:%d: %s", p->host, p->port, text);
  kg_log(e->ctx, e->failures ? KG_LOG_DEBUG : KG_LOG_WARN, "lost etcd at %s", e->why);
  e->broken = true;
  if (!e->feeding) give_up(e);
}

/* --- bytes -----------------------------------------------------------------------------------------------------------
 */

static void want(etcd_t *e, uint32_t events) {
  if (e->events == events || e->fd < 0) return;
  e->events = events;
  kg_fd_change(e->ctx, e->fd, events);
}

static const char *tls_reason(etcd_t *e) {
  long verify = SSL_get_verify_result(e->ssl);
  if (verify != X509_V_OK) return X509_verify_cert_error_string(verify);
  const char *text = ERR_reason_error_string(ERR_peek_error());
  return text ? text : "the connection was closed";
}

/* > 0: bytes; 0: not now; -1: broken. */
static ssize_t conn_write(etcd_t *e, const char *p, size_t n) {
  size_t done = 0;
  if (!e->ssl) {
    ssize_t r = send(e->fd, p, n, MSG_NOSIGNAL);
    if (r < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (r < 0) etcd_conn_lost(e, "%s", strerror(errno));
    return r;
  }
  ERR_clear_error();
  if (SSL_write_ex(e->ssl, p, n, &done)) return (ssize_t)done;
  int why = SSL_get_error(e->ssl, 0);
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return 0;
  etcd_conn_lost(e, "%s", tls_reason(e));
  return -1;
}

static ssize_t conn_read(etcd_t *e, char *p, size_t n) {
  size_t done = 0;
  if (!e->ssl) {
    ssize_t r = recv(e->fd, p, n, 0);
    if (r < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (r == 0) etcd_conn_lost(e, "it closed the connection");
    if (r < 0) etcd_conn_lost(e, "%s", strerror(errno));
    return r ? r : -1;
  }
  ERR_clear_error();
  if (SSL_read_ex(e->ssl, p, n, &done)) return (ssize_t)done;
  int why = SSL_get_error(e->ssl, 0);
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return 0;
  etcd_conn_lost(e, "%s", tls_reason(e));
  return -1;
}

static void gather(etcd_t *e) {
  const uint8_t *p;
  ssize_t n = 0;
  if (e->out_sent == e->out.n) e->out.n = e->out_sent = 0;
  while (e->out.n < OUT_MAX && (n = nghttp2_session_mem_send(e->session, &p)) > 0) kube_buf_add(&e->out, p, (size_t)n);
  if (n < 0 || e->out.failed) etcd_conn_lost(e, "HTTP/2 cannot go on");
}

void etcd_flush(etcd_t *e) {
  if (e->feeding || e->state != CONN_UP) return;
  for (;;) {
    e->feeding = true; /* streams may end in here */
    gather(e);
    e->feeding = false;
    if (e->broken) return give_up(e);
    if (e->out_sent == e->out.n) break;
    ssize_t n = conn_write(e, e->out.p + e->out_sent, e->out.n - e->out_sent);
    if (n < 0) return;
    if (n == 0) return want(e, EPOLLIN | EPOLLOUT);
    e->out_sent += (size_t)n;
  }
  want(e, EPOLLIN);
}

static void feed(etcd_t *e) {
  char buf[65536];
  e->feeding = true;
  for (int i = 0; !e->broken && (i < READS || (e->ssl && SSL_has_pending(e->ssl))); i++) {
    ssize_t n = conn_read(e, buf, sizeof buf);
    if (n <= 0) break;
    ssize_t took = nghttp2_session_mem_recv(e->session, (const uint8_t *)buf, (size_t)n);
    if (took < 0) etcd_conn_lost(e, "%s", nghttp2_strerror((int)took));
  }
  if (!e->broken && !nghttp2_session_want_read(e->session) && !nghttp2_session_want_write(e->session))
    etcd_conn_lost(e, "it ended the connection");
  e->feeding = false;
  if (e->broken) return give_up(e);
  etcd_flush(e);
}

/* --- coming up
 * --------------------------------------------------------------------------------------------------------- */

static void up(etcd_t *e) {
  e->session = etcd_session_new(e);
  e->state = CONN_UP;
  kg_timer_cancel(e->ctx, e->connect_timer);
  e->connect_timer = 0;
  if (!e->session) return etcd_conn_lost(e, "out of memory");
  e->events = 0;
  want(e, EPOLLIN);
  etcd_watch_start(e);
}

static void shake(etcd_t *e) {
  ERR_clear_error();
  int r = SSL_connect(e->ssl), why = SSL_get_error(e->ssl, r);
  if (r == 1) return up(e);
  if (why == SSL_ERROR_WANT_READ) return want(e, EPOLLIN);
  if (why == SSL_ERROR_WANT_WRITE) return want(e, EPOLLIN | EPOLLOUT);
  etcd_conn_lost(e, "TLS: %s", tls_reason(e));
}

static bool begin_tls(etcd_t *e) {
  const char *host = e->endpoints[e->at].host;
  unsigned char address[16];
  bool numeric = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
  e->ssl = SSL_new(e->tls);
  if (!e->ssl || !SSL_set_fd(e->ssl, e->fd)) return false;
  if (numeric) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(e->ssl), host);
  return SSL_set1_host(e->ssl, host) && SSL_set_tlsext_host_name(e->ssl, host);
}

static void connected(etcd_t *e) {
  int error = 0;
  socklen_t n = sizeof error;
  if (getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &error, &n) || error) return etcd_conn_lost(e, "%s", strerror(error));
  if (!e->endpoints[e->at].tls) return up(e);
  if (!begin_tls(e)) return etcd_conn_lost(e, "TLS cannot be begun");
  e->state = CONN_SHAKING;
  shake(e);
}

static void on_event(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)self, (void)fd;
  etcd_t *e = arg;
  if (e->state == CONN_CONNECTING) return connected(e);
  if (e->state == CONN_SHAKING) return shake(e);
  if (e->state != CONN_UP) return;
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) return feed(e);
  etcd_flush(e);
}

static void on_connect_timeout(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  etcd_t *e = arg;
  e->connect_timer = 0;
  etcd_conn_lost(e, "cannot be reached in time");
}

static void dialed(etcd_t *e, int fd, const char *why) {
  kg_error_t err = {0};
  e->dial = NULL;
  if (fd < 0) return etcd_conn_lost(e, "%s", why);
  e->fd = fd;
  e->state = CONN_CONNECTING;
  e->events = EPOLLOUT;
  if (kg_fd_watch(e->ctx, fd, EPOLLOUT, on_event, e, &err) == 0) return;
  close(fd);
  e->fd = -1;
  etcd_conn_lost(e, "%s", err.text);
}

void etcd_connect(etcd_t *e) {
  e->state = CONN_DIALING;
  e->connect_timer = kg_timer(e->ctx, CONNECT_MS, 0, on_connect_timeout, e);
  e->dial = etcd_dial(e, &e->endpoints[e->at], dialed);
}
