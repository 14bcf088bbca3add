/* One connection to a container, plain or with TLS, never waited for: what probes and hooks have in common. */
#include "wire.h"

#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int wire_open(wire_t *w, const char *host, int port) {
  char text[16];
  struct addrinfo *to = NULL, hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  snprintf(text, sizeof text, "%d", port);
  if (getaddrinfo(strcmp(host, "localhost") ? host : "127.0.0.1", text, &hints, &to)) return -1;
  w->fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int r = w->fd < 0 ? -1 : connect(w->fd, to->ai_addr, to->ai_addrlen), why = errno;
  freeaddrinfo(to);
  if (!r || why == EINPROGRESS) return 0;
  if (w->fd >= 0) close(w->fd);
  w->fd = -1;
  return why;
}

void wire_close(wire_t *w, kg_ctx_t *ctx) {
  if (w->tls) SSL_free(w->tls);
  if (w->tls_ctx) SSL_CTX_free(w->tls_ctx);
  if (w->fd >= 0) {
    kg_fd_forget(ctx, w->fd);
    close(w->fd);
  }
  *w = (wire_t){.fd = -1};
}

int wire_error(const wire_t *w) {
  int why = 0;
  socklen_t len = sizeof why;
  getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &why, &len);
  return why;
}

void wire_tls(wire_t *w) {
  w->tls_ctx = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(w->tls_ctx, SSL_VERIFY_NONE, NULL); /* a probe asks whether it answers, not who it is */
  w->tls = SSL_new(w->tls_ctx);
  SSL_set_fd(w->tls, w->fd);
  SSL_set_connect_state(w->tls);
}

int wire_shake(wire_t *w, char why[WIRE_TEXT], bool *plain) {
  if (!w->tls || w->shaken) return 1;
  ERR_clear_error();
  int r = SSL_do_handshake(w->tls), e = r == 1 ? 0 : SSL_get_error(w->tls, r);
  w->shaken = r == 1;
  if (r == 1) return 1;
  if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) return 0;
  unsigned long first = ERR_get_error();
  *plain = ERR_GET_REASON(first) == SSL_R_WRONG_VERSION_NUMBER;
  ERR_error_string_n(first, why, WIRE_TEXT);
  return -1;
}

bool wire_wants_write(const wire_t *w) {
  return w->tls && SSL_want_write(w->tls);
}

ssize_t wire_read(wire_t *w, void *buf, size_t size) {
  if (!w->tls) {
    ssize_t got = recv(w->fd, buf, size, 0);
    return got >= 0 ? got : errno == EAGAIN || errno == EINTR ? WIRE_LATER : WIRE_BROKEN;
  }
  ERR_clear_error();
  int got = SSL_read(w->tls, buf, (int)size);
  if (got > 0) return got;
  int why = SSL_get_error(w->tls, got);
  return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? WIRE_LATER : 0;
}

ssize_t wire_write(wire_t *w, const void *data, size_t n) {
  if (!w->tls) {
    ssize_t did = send(w->fd, data, n, MSG_NOSIGNAL);
    return did > 0 ? did : did < 0 && (errno == EAGAIN || errno == EINTR) ? WIRE_LATER : WIRE_BROKEN;
  }
  ERR_clear_error();
  int did = SSL_write(w->tls, data, (int)n);
  if (did > 0) return did;
  return SSL_get_error(w->tls, did) == SSL_ERROR_SSL ? WIRE_BROKEN : WIRE_LATER;
}
