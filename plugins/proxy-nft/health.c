/*
 * For load balancers in front of Services that keep their clients' addresses (externalTrafficPolicy Local): on the
 * Service's healthCheckNodePort this node says how many ready endpoints it has. One answer to a connection.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kube/values.h"
#include "proxy.h"

enum { PATIENCE_MS = 5000, MOST_CLIENTS = 64, HEAD = 4096 };

typedef struct client {
  struct client *next, **at;
  health_t *of;
  int fd;
  uint64_t timer;
  size_t n;
  char in[HEAD];
} client_t;

struct health {
  kg_ctx_t *ctx;
  const service_t *service;
  const char *node;
  int fd;
  uint16_t port;
  client_t *clients;
  size_t nclients;
};

/* --- one client --------------------------------------------------------------------------------------------------- */

static void client_end(client_t *c) {
  health_t *h = c->of;
  if ((*c->at = c->next)) c->next->at = c->at;
  h->nclients--;
  kg_timer_cancel(h->ctx, c->timer);
  kg_fd_forget(h->ctx, c->fd);
  close(c->fd);
  free(c);
}

static void on_patience(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  client_t *c = arg;
  c->timer = 0;
  client_end(c);
}

static void answer(const client_t *c) {
  char body[700], text[1000];
  const health_t *h = c->of;
  size_t here = local_ready(h->service, h->node);
  const char *name = strchr(h->service->key, '/') + 1;
  int n = snprintf(
      body, sizeof body,
      "{\n\t\"service\": {\n\t\t\"namespace\": \"%.*s\",\n\t\t\"name\": \"%s\"\n\t},\n\t\"localEndpoints\": %zu,\n"
      "\t\"serviceProxyHealthy\": true\n}",
      (int)(name - 1 - h->service->key), h->service->key, name, here);
  n = snprintf(text, sizeof text,
               "HTTP/1.1 %s\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
               "X-Load-Balancing-Endpoint-Weight: %zu\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
               here ? "200 OK" : "503 Service Unavailable", here, n, body);
  if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) < 0) return; /* it is gone; who waits is helped by the close */
  shutdown(c->fd, SHUT_WR);
}

static void on_client(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)self, (void)events;
  client_t *c = arg;
  ssize_t n = recv(fd, c->in + c->n, HEAD - 1 - c->n, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n > 0) {
    c->n += (size_t)n;
    c->in[c->n] = '\0';
    bool whole = strstr(c->in, "\r\n\r\n") != NULL;
    if (!whole && c->n < HEAD - 1) return;
    if (whole) answer(c);
  }
  client_end(c);
}

static void on_accept(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)self, (void)events;
  health_t *h = arg;
  kg_error_t err;
  int one = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (one < 0) return;
  client_t *c = h->nclients < MOST_CLIENTS ? calloc(1, sizeof *c) : NULL;
  if (!c || kg_fd_watch(ctx, one, EPOLLIN, on_client, c, &err) < 0) {
    free(c);
    close(one);
    return;
  }
  c->of = h;
  c->fd = one;
  c->at = &h->clients;
  if ((c->next = h->clients)) c->next->at = &c->next;
  h->clients = c;
  h->nclients++;
  c->timer = kg_timer(ctx, PATIENCE_MS, 0, on_patience, c);
}

/* --- the listener ------------------------------------------------------------------------------------------------- */

static int listen_on(uint16_t port) {
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 64) == 0) return fd;
  int code = errno;
  close(fd);
  errno = code;
  return -1;
}

static health_t *health_open(kg_ctx_t *ctx, const service_t *s, const char *node, uint16_t port) {
  kg_error_t err;
  health_t *h = calloc(1, sizeof *h);
  if (!h) return NULL;
  *h = (health_t){.ctx = ctx, .service = s, .node = node, .port = port, .fd = listen_on(port)};
  if (h->fd >= 0 && kg_fd_watch(ctx, h->fd, EPOLLIN, on_accept, h, &err) == 0) return h;
  kg_log(ctx, KG_LOG_WARN, "node %s failed to start healthcheck \"%s\" on port %u: %s", node, s->key, port,
         strerror(errno));
  if (h->fd >= 0) close(h->fd);
  free(h);
  return NULL;
}

void health_close(service_t *s) {
  health_t *h = s->health;
  s->health = NULL;
  if (!h) return;
  while (h->clients) client_end(h->clients);
  kg_fd_forget(h->ctx, h->fd);
  close(h->fd);
  free(h);
}

static uint16_t wanted_port(const service_t *s) {
  kg_view_t spec = kg_view_get(kg_view_of(s->doc), "spec");
  int64_t port = kg_view_int(kg_view_get(spec, "healthCheckNodePort"), 0);
  bool local = kg_str_is(kg_view_str(kg_view_get(spec, "externalTrafficPolicy")), "Local") &&
               kg_str_is(kg_view_str(kg_view_get(spec, "type")), "LoadBalancer");
  return local && service_is_ours(s) && port > 0 && port < 65536 ? (uint16_t)port : 0;
}

void health_follow(kg_ctx_t *ctx, service_t *s, const char *node) {
  uint16_t port = wanted_port(s);
  if (s->health && s->health->port == port) return;
  health_close(s);
  if (port) s->health = health_open(ctx, s, node, port);
}
