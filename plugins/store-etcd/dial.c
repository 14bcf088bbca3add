/* From a host and port to a socket that is connecting. Names are looked up by the C library's own threads, and asked
 * about at intervals while that lasts: no thread may run in this plugin, which can be unloaded meanwhile. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "etcd.h"

enum { DEAD_MS = 10000, PROBE_S = 10, ASK_MS = 5 };

struct etcd_dial {
  struct gaicb look_up;
  struct addrinfo hints;
  etcd_t *etcd;
  etcd_dialed_fn done;
  uint64_t timer;
  char port[8], host[];
};

/* A peer that is gone without a word is noticed by the kernel, idle or not: nothing of ours ticks for it. */
static int open_socket(const struct addrinfo *a, char why[200]) {
  int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, dead = DEAD_MS, probe = PROBE_S;
  if (fd >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &probe, sizeof probe);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &probe, sizeof probe);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead, sizeof dead);
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS) return fd;
  }
  snprintf(why, 200, "%s", strerror(errno));
  if (fd >= 0) close(fd);
  return -1;
}

static void report(etcd_t *e, etcd_dialed_fn done, const struct addrinfo *found, int rc) {
  char why[200] = "";
  if (rc || !found) snprintf(why, sizeof why, "%s", gai_strerror(rc));
  int fd = rc || !found ? -1 : open_socket(found, why);
  done(e, fd, why);
}

static void dial_free(etcd_dial_t *d) {
  if (d->look_up.ar_result) freeaddrinfo(d->look_up.ar_result);
  free(d);
}

static void on_ask(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self;
  etcd_dial_t *d = arg;
  int rc = gai_error(&d->look_up);
  if (rc == EAI_INPROGRESS) {
    d->timer = kg_timer(ctx, ASK_MS, 0, on_ask, d);
    return;
  }
  report(d->etcd, d->done, d->look_up.ar_result, rc);
  dial_free(d);
}

void etcd_dial_drop(etcd_dial_t *d) {
  if (!d) return;
  kg_timer_cancel(d->etcd->ctx, d->timer);
  /* A look-up that runs cannot be stopped and will write its result: its memory is left to it. */
  if (gai_cancel(&d->look_up) != EAI_NOTCANCELED) dial_free(d);
}

static etcd_dial_t *look_up(etcd_t *e, const etcd_endpoint_t *p, const char *port, etcd_dialed_fn done) {
  etcd_dial_t *d = calloc(1, sizeof *d + strlen(p->host) + 1);
  if (!d) return NULL;
  d->etcd = e;
  d->done = done;
  memcpy(d->host, p->host, strlen(p->host));
  snprintf(d->port, sizeof d->port, "%s", port);
  d->hints.ai_socktype = SOCK_STREAM;
  d->look_up = (struct gaicb){.ar_name = d->host, .ar_service = d->port, .ar_request = &d->hints};
  struct gaicb *list = &d->look_up;
  if (getaddrinfo_a(GAI_NOWAIT, &list, 1, NULL) == 0) {
    d->timer = kg_timer(e->ctx, ASK_MS, 0, on_ask, d);
    return d;
  }
  free(d);
  return NULL;
}

etcd_dial_t *etcd_dial(etcd_t *e, const etcd_endpoint_t *p, etcd_dialed_fn done) {
  char port[8];
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *found = NULL;
  snprintf(port, sizeof port, "%d", p->port);
  if (getaddrinfo(p->host, port, &hints, &found) == 0) {
    report(e, done, found, 0);
    freeaddrinfo(found);
    return NULL;
  }
  etcd_dial_t *d = look_up(e, p, port, done);
  if (!d) done(e, -1, "the host name cannot be looked up");
  return d;
}
