/* Questions over TCP: each behind its length, several on one connection, answers in any order. */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "dns.h"

enum { IDLE_MS = 10000 };

static void unlink_connection(connection_t *c) {
  dns_t *d = c->dns;
  if (c->prev)
    c->prev->next = c->next;
  else
    d->connections = c->next;
  if (c->next) c->next->prev = c->prev;
  d->nconnections--;
}

/* Who waits for a forwarded answer keeps it alive, closed. */
static void end(connection_t *c) {
  if (c->fd >= 0) {
    kg_fd_forget(c->dns->ctx, c->fd);
    close(c->fd);
    c->fd = -1;
  }
  if (c->waiting) return;
  unlink_connection(c);
  free(c->in);
  free(c->out);
  free(c);
}

void tcp_release(connection_t *c) {
  c->waiting--;
  if (c->fd < 0 || (c->ended && !c->waiting && c->out_at == c->out_n)) end(c);
}

/* False: the connection is broken. */
static bool write_out(connection_t *c) {
  while (c->out_at < c->out_n) {
    ssize_t n = send(c->fd, c->out + c->out_at, c->out_n - c->out_at, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) return false;
    c->out_at += (size_t)n;
  }
  bool all = c->out_at == c->out_n;
  if (all) c->out_at = c->out_n = 0;
  kg_fd_change(c->dns->ctx, c->fd, (c->ended ? 0 : EPOLLIN) | (all ? 0 : EPOLLOUT));
  return true;
}

void tcp_send(connection_t *c, const uint8_t *wire, size_t n) {
  if (c->fd < 0 || n > WIRE) return;
  if (c->out_n + n + 2 > c->out_room) {
    size_t room = c->out_n + n + 2;
    uint8_t *out = room > 8 * WIRE ? NULL : realloc(c->out, room); /* it does not read */
    if (!out) return;
    c->out = out;
    c->out_room = room;
  }
  c->out[c->out_n] = (uint8_t)(n >> 8);
  c->out[c->out_n + 1] = (uint8_t)n;
  memcpy(c->out + c->out_n + 2, wire, n);
  c->out_n += n + 2;
  write_out(c); /* a broken one is seen by its events */
}

static void take_questions(connection_t *c) {
  size_t at = 0;
  while (c->in_n - at >= 2) {
    size_t n = (size_t)c->in[at] << 8 | c->in[at + 1];
    if (c->in_n - at < n + 2) break;
    serve_question(c->dns, (asker_t){.connection = c}, c->in + at + 2, n);
    at += n + 2;
  }
  memmove(c->in, c->in + at, c->in_n - at);
  c->in_n -= at;
}

static void on_connection(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)self;
  connection_t *c = arg;
  bool broken = (events & EPOLLERR) != 0;
  c->used_ms = kg_now_ms(ctx);
  c->waiting++; /* it stays until we are done */
  if (!broken && (events & (EPOLLIN | EPOLLHUP)) && !c->ended) {
    ssize_t n = recv(fd, c->in + c->in_n, WIRE + 2 - c->in_n, 0);
    if (n > 0) c->in_n += (size_t)n;
    if (n == 0) c->ended = true;
    if (n < 0 && errno != EAGAIN) broken = true;
    if (n > 0) take_questions(c);
  }
  if (!broken && c->fd >= 0) broken = !write_out(c);
  c->waiting--;
  if (broken || c->fd < 0 || (c->ended && !c->waiting && c->out_at == c->out_n)) end(c);
}

static void close_idle(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  dns_t *d = self;
  int64_t before = kg_now_ms(ctx) - IDLE_MS;
  for (connection_t *c = d->connections, *next; c; c = next) {
    next = c->next;
    if (!c->waiting && c->used_ms < before) end(c);
  }
  d->idle_timer = d->connections ? kg_timer(ctx, IDLE_MS, 0, close_idle, NULL) : 0;
}

static void on_accept(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)events, (void)arg;
  dns_t *d = self;
  kg_error_t err;
  int one = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (one < 0) return;
  connection_t *c = d->nconnections < MOST_CONNECTIONS ? calloc(1, sizeof *c) : NULL;
  if (c) *c = (connection_t){.dns = d, .fd = one, .used_ms = kg_now_ms(ctx), .in = malloc(WIRE + 2)};
  if (!c || !c->in || kg_fd_watch(ctx, one, EPOLLIN, on_connection, c, &err) < 0) {
    if (c) free(c->in);
    free(c);
    close(one);
    return;
  }
  c->next = d->connections;
  if (c->next) c->next->prev = c;
  d->connections = c;
  d->nconnections++;
  if (!d->idle_timer) d->idle_timer = kg_timer(ctx, IDLE_MS, 0, close_idle, NULL);
}

int tcp_open(dns_t *d, const struct sockaddr_storage *a, socklen_t size, kg_error_t *err) {
  int on = 1;
  d->tcp = socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (d->tcp >= 0) setsockopt(d->tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (d->tcp < 0 || bind(d->tcp, (const struct sockaddr *)a, size) < 0 || listen(d->tcp, 64) < 0)
    return kg_error_set(err, errno == EADDRINUSE ? KG_ECONFLICT : KG_EINTERNAL, "%s cannot be listened on: %s",
                        d->address, strerror(errno));
  return kg_fd_watch(d->ctx, d->tcp, EPOLLIN, on_accept, NULL, err);
}

void tcp_close_all(dns_t *d) {
  for (connection_t *c = d->connections, *next; c; c = next) {
    next = c->next;
    end(c);
  }
  if (d->tcp < 0) return;
  kg_fd_forget(d->ctx, d->tcp);
  close(d->tcp);
  d->tcp = -1;
}
