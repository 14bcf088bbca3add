/*
 * TLS records on their way to the socket. What a connection has to say in one go becomes several records; they are sent
 * with one system call, and wake the other side once. What the socket does not take waits in memory of the connection's
 * own, before anything else that follows.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <sys/socket.h>

#include "gateway.h"

static ssize_t send_now(int fd, const char *p, size_t n) {
  ssize_t done;
  do done = send(fd, p, n, MSG_NOSIGNAL);
  while (done < 0 && errno == EINTR);
  return done;
}

static int out_write(BIO *b, const char *p, int n) {
  gw_conn_t *c = BIO_get_data(b);
  gw_wire_t *w = &c->gw->wire;
  BIO_clear_retry_flags(b);
  if (w->conn == c && sizeof w->p - w->n >= (size_t)n) {
    memcpy(w->p + w->n, p, (size_t)n);
    w->n += (size_t)n;
    return n;
  }
  ssize_t done = -1;
  if (c->nleft || w->conn == c)
    errno = EAGAIN;
  else
    done = send_now(c->fd, p, (size_t)n);
  if (done < 0 && errno == EAGAIN) BIO_set_retry_write(b);
  return (int)done;
}

static long out_ctrl(BIO *b, int command, long number, void *p) {
  (void)b, (void)number, (void)p;
  return command == BIO_CTRL_FLUSH;
}

int gw_wire_open(gw_conn_t *c) {
  gw_wire_t *w = &c->gw->wire;
  if (!w->method) {
    w->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "kogge");
    if (!w->method || !BIO_meth_set_write(w->method, out_write) || !BIO_meth_set_ctrl(w->method, out_ctrl)) return -1;
  }
  BIO *b = BIO_new(w->method);
  if (!b) return -1;
  BIO_set_data(b, c);
  BIO_set_init(b, 1);
  SSL_set0_wbio(c->ssl, b);
  return 0;
}

void gw_wire_free(gw_t *gw) {
  BIO_meth_free(gw->wire.method);
  gw->wire.method = NULL;
}

/* What the socket does not take of p is kept. -1: the connection is broken, or there is no memory. */
static int send_or_keep(gw_conn_t *c, const char *p, size_t n) {
  ssize_t done = send_now(c->fd, p, n);
  if (done < 0 && errno != EAGAIN) return -1;
  if (done < 0) done = 0;
  if ((size_t)done == n) return 0;
  if (!(c->left = malloc(n - (size_t)done))) return -1;
  c->nleft = n - (size_t)done;
  c->left_from = 0;
  memcpy(c->left, p + done, c->nleft);
  return 0;
}

int gw_wire_begin(gw_conn_t *c) {
  if (c->nleft) {
    ssize_t done = send_now(c->fd, c->left + c->left_from, c->nleft);
    if (done < 0) return errno == EAGAIN ? 0 : -1;
    c->left_from += (size_t)done;
    c->nleft -= (size_t)done;
    if (c->nleft) return 0;
    free(c->left);
    c->left = NULL;
  }
  c->gw->wire.conn = c;
  c->gw->wire.n = 0;
  return 1;
}

bool gw_wire_has_room(const gw_t *gw) {
  return sizeof gw->wire.p - gw->wire.n >= GW_RECORD;
}

int gw_wire_end(gw_conn_t *c) {
  gw_wire_t *w = &c->gw->wire;
  w->conn = NULL;
  return w->n ? send_or_keep(c, w->p, w->n) : 0;
}
