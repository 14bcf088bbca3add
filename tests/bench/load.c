/* kogge-load: see load.h. Prints one line of JSON with what it measured. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

typedef struct load {
  load_options_t o;
  SSL_CTX *tls;
  conn_t *conns; /* MODE_WATCH: the first nwriters make the changes that the others watch */
  int nconns, nwriters, ep;
  long begun, finished, failed, events, wanted_events;
  int64_t t0, t1;
  double cpu0; /* what the client had used at t0 */
  uint32_t *latency_us;
  bool over;
  char *value, read[64 << 10];
} load_t;

static int64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

/* Of this process so far. */
static double cpu_s(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void die(const char *what, const char *why) {
  fprintf(stderr, "kogge-load: %s: %s\n", what, why);
  exit(1);
}

/* --- requests ---------------------------------------------------------------------------------------------------- */

static size_t put_object(char *to, size_t room, const load_t *l, const char *name, long serial) {
  return (size_t)snprintf(to, room,
                          "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\",\"labels\":{"
                          "\"bench\":\"load\"}},\"data\":{\"serial\":\"%ld\",\"value\":\"%s\"}}",
                          name, serial, l->value);
}

static void make_request(load_t *l, conn_t *c, load_mode_t mode) {
  size_t room = (size_t)l->o.value_bytes + 4096;
  char *body = malloc(room), name[128], where[256];
  size_t n = 0;
  const char *verb = "GET";
  snprintf(where, sizeof where, "%s", l->o.path);
  if (mode == MODE_CREATE) {
    verb = "POST";
    snprintf(name, sizeof name, "%s-%ld", l->o.names, c->n);
    n = put_object(body, room, l, name, c->n);
  } else if (mode == MODE_UPDATE) {
    verb = "PUT";
    snprintf(name, sizeof name, "%s-%ld", l->o.names, (long)(c - l->conns));
    snprintf(where, sizeof where, "%s/%s", l->o.path, name);
    n = put_object(body, room, l, name, c->n);
  } else if (mode == MODE_WATCH)
    snprintf(where, sizeof where, "%s?watch=true&resourceVersion=%s", l->o.path, l->o.since);
  free(c->out);
  c->nout = (size_t)asprintf(&c->out,
                             "%s %s HTTP/1.1\r\nHost: %s:%d\r\nAccept: application/json\r\n%s%s%s"
                             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%.*s",
                             verb, where, l->o.host, l->o.port, l->o.token ? "Authorization: Bearer " : "",
                             l->o.token ? l->o.token : "", l->o.token ? "\r\n" : "", n, (int)n, body);
  free(body);
  c->sent = 0;
  c->waiting = true;
  http_expect(c, mode == MODE_WATCH);
}

static void push(load_t *l, conn_t *c);

static void next_request(load_t *l, conn_t *c, load_mode_t mode) {
  if (l->begun >= l->o.count) {
    c->waiting = false;
    return;
  }
  c->n = l->begun++;
  c->asked_us = now_us();
  make_request(l, c, mode);
  push(l, c);
}

static void answered(conn_t *c, void *arg) {
  load_t *l = arg;
  bool good = c->status >= 200 && c->status < 300;
  l->failed += !good;
  if (!good && l->failed == 1) fprintf(stderr, "kogge-load: first failure: %.200s\n", c->head);
  if (l->finished < l->o.count) l->latency_us[l->finished] = (uint32_t)(now_us() - c->asked_us);
  l->finished++;
  c->waiting = false;
  if (l->finished >= l->o.count && l->o.mode != MODE_WATCH) {
    l->t1 = now_us();
    l->over = true;
  } else
    next_request(l, c, l->o.mode == MODE_WATCH ? MODE_CREATE : l->o.mode);
}

static void event_seen(conn_t *c, void *arg) {
  (void)c;
  load_t *l = arg;
  if (++l->events < l->wanted_events) return;
  l->t1 = now_us();
  l->over = true;
}

/* --- connections ------------------------------------------------------------------------------------------------- */

static void interest(load_t *l, conn_t *c, bool out) {
  if (out == c->writes_blocked) return;
  struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
  epoll_ctl(l->ep, EPOLL_CTL_MOD, c->fd, &e);
  c->writes_blocked = out;
}

static void push(load_t *l, conn_t *c) {
  while (c->sent < c->nout) {
    int n = SSL_write(c->ssl, c->out + c->sent, (int)(c->nout - c->sent));
    if (n <= 0) {
      int why = SSL_get_error(c->ssl, n);
      if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ) die("write", "the server closed the connection");
      break;
    }
    c->sent += (size_t)n;
  }
  interest(l, c, c->sent < c->nout);
}

static void pull(load_t *l, conn_t *c) {
  sink_t sink = {answered, event_seen, l};
  for (;;) {
    int n = SSL_read(c->ssl, l->read, sizeof l->read);
    if (n <= 0) {
      int why = SSL_get_error(c->ssl, n);
      if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) die("read", "the server closed the connection");
      return;
    }
    if (http_feed(c, l->read, (size_t)n, &sink) < 0) die("answer", c->head);
    if (l->over) return;
  }
}

static void open_conn(load_t *l, conn_t *c) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->o.port)};
  if (inet_pton(AF_INET, l->o.host, &a.sin_addr) != 1) die(l->o.host, "is no IPv4 address");
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) < 0) die("connect", strerror(errno));
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  c->ssl = SSL_new(l->tls);
  SSL_set_fd(c->ssl, c->fd);
  if (SSL_connect(c->ssl) != 1) die("TLS", "the handshake failed");
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
  epoll_ctl(l->ep, EPOLL_CTL_ADD, c->fd, &e);
}

static void open_tls(load_t *l) {
  l->tls = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_mode(l->tls,
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(l->tls, 1); /* one system call for several records, not two for each */
  SSL_CTX_set_default_read_buffer_len(l->tls, sizeof l->read);
  if (l->o.cert && (SSL_CTX_use_certificate_chain_file(l->tls, l->o.cert) != 1 ||
                    SSL_CTX_use_PrivateKey_file(l->tls, l->o.key, SSL_FILETYPE_PEM) != 1))
    die(l->o.cert, "cannot be used as a client certificate");
  if (l->o.ca) {
    if (SSL_CTX_load_verify_locations(l->tls, l->o.ca, NULL) != 1) die(l->o.ca, "cannot be read");
    SSL_CTX_set_verify(l->tls, SSL_VERIFY_PEER, NULL);
  }
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static bool step(load_t *l, int64_t deadline) {
  struct epoll_event events[256];
  int n = epoll_wait(l->ep, events, 256, 1000);
  for (int i = 0; i < n && !l->over; i++) {
    conn_t *c = events[i].data.ptr;
    if (events[i].events & EPOLLOUT) push(l, c);
    if (events[i].events & ~(uint32_t)EPOLLOUT) pull(l, c);
  }
  return !l->over && now_us() < deadline;
}

/* Watches must be open, and have sent what is there already, before the first change is made. */
static void open_watches(load_t *l) {
  l->wanted_events = INT64_MAX;
  int64_t deadline = now_us() + 60000000;
  for (bool all = false; !all && step(l, deadline);) {
    all = true;
    for (int i = l->nwriters; i < l->nconns && all; i++) all = l->conns[i].in_body;
  }
  for (int64_t quiet = now_us() + 1000000; step(l, quiet);) {
  }
  l->events = 0;
  l->wanted_events = l->o.count * (l->nconns - l->nwriters);
}

static void run(load_t *l) {
  if (l->o.mode == MODE_WATCH) open_watches(l);
  l->t0 = now_us();
  l->cpu0 = cpu_s();
  for (int i = 0; i < l->nwriters; i++)
    next_request(l, &l->conns[i], l->o.mode == MODE_WATCH ? MODE_CREATE : l->o.mode);
  int64_t deadline = l->t0 + l->o.seconds * 1000000LL;
  while (step(l, deadline)) {
  }
  if (!l->over) {
    l->t1 = now_us();
    fprintf(stderr, "kogge-load: stopped after %d s: %ld of %ld answers, %ld events\n", l->o.seconds, l->finished,
            l->o.count, l->events);
  }
}

static int by_size(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static void report(load_t *l) {
  double s = (double)(l->t1 - l->t0) / 1e6, cpu = cpu_s() - l->cpu0;
  long n = l->finished < l->o.count ? l->finished : l->o.count;
  qsort(l->latency_us, (size_t)n, sizeof *l->latency_us, by_size);
  printf(
      "{\"requests\":%ld,\"failed\":%ld,\"seconds\":%.4f,\"per_s\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"events\":%ld,"
      "\"events_per_s\":%.1f,\"client_cpu_s\":%.3f}\n",
      l->finished, l->failed, s, (double)l->finished / s, n ? l->latency_us[n / 2] / 1e3 : 0,
      n ? l->latency_us[n * 99 / 100] / 1e3 : 0, l->events, (double)l->events / s, cpu);
}

static int usage(void) {
  fprintf(stderr,
          "kogge-load --mode create|update|get|list|watch --port P --path PATH [--host 127.0.0.1] [--cert F --key F]\n"
          "           [--ca F] [--token T] [--connections 64] [--count N] [--seconds S] [--value BYTES] [--names "
          "PREFIX]\n");
  return 2;
}

static int mode_of(const char *s) {
  static const char *const names[] = {"create", "update", "get", "list", "watch"};
  for (int i = 0; i < 5; i++)
    if (!strcmp(s, names[i])) return i;
  return -1;
}

static int read_options(int argc, char **argv, load_options_t *o) {
  static const struct option longs[] = {
      {"mode", 1, 0, 'm'},        {"port", 1, 0, 'p'},    {"path", 1, 0, 'u'},    {"host", 1, 0, 'h'},
      {"cert", 1, 0, 'c'},        {"key", 1, 0, 'k'},     {"ca", 1, 0, 'a'},      {"token", 1, 0, 't'},
      {"connections", 1, 0, 'n'}, {"count", 1, 0, 'N'},   {"seconds", 1, 0, 's'}, {"value", 1, 0, 'v'},
      {"names", 1, 0, 'x'},       {"writers", 1, 0, 'w'}, {"since", 1, 0, 'r'},   {0}};
  *o = (load_options_t){.host = "127.0.0.1",
                        .connections = 64,
                        .count = 1000,
                        .seconds = 60,
                        .writers = 1,
                        .value_bytes = 768,
                        .names = "load",
                        .since = "0",
                        .mode = MODE_GET};
  const char **const texts[] = {['u'] = &o->path, ['h'] = &o->host,  ['c'] = &o->cert,  ['k'] = &o->key,
                                ['a'] = &o->ca,   ['t'] = &o->token, ['x'] = &o->names, ['r'] = &o->since};
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
    int mode;
    if (c == '?') return -1;
    if (c == 'm' && (mode = mode_of(optarg)) < 0) return -1;
    if (c == 'm')
      o->mode = (load_mode_t)mode;
    else if (c == 'p')
      o->port = atoi(optarg);
    else if (c == 'n')
      o->connections = atoi(optarg);
    else if (c == 'w')
      o->writers = atoi(optarg);
    else if (c == 'N')
      o->count = atol(optarg);
    else if (c == 's')
      o->seconds = atoi(optarg);
    else if (c == 'v')
      o->value_bytes = atoi(optarg);
    else
      *texts[c] = optarg;
  }
  return o->path && o->port && o->connections > 0 && o->writers > 0 && o->count > 0 && (!o->cert == !o->key) ? 0 : -1;
}

int main(int argc, char **argv) {
  load_t *l = calloc(1, sizeof *l);
  if (!l || read_options(argc, argv, &l->o)) return usage();
  l->nwriters = l->o.mode == MODE_WATCH ? l->o.writers : l->o.connections;
  l->nconns = l->o.connections + (l->o.mode == MODE_WATCH ? l->nwriters : 0);
  l->conns = calloc((size_t)l->nconns, sizeof *l->conns);
  l->latency_us = calloc((size_t)l->o.count, sizeof *l->latency_us);
  l->value = malloc((size_t)l->o.value_bytes + 1);
  if (!l->conns || !l->latency_us || !l->value) die("memory", "there is not enough");
  for (int i = 0; i < l->o.value_bytes; i++)
    l->value[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[(i * 7 + i / 36) % 36];
  l->value[l->o.value_bytes] = 0;
  l->ep = epoll_create1(EPOLL_CLOEXEC);
  open_tls(l);
  for (int i = l->nconns - 1; i >= 0; i--) { /* the watchers first; each asks at once, since the others take a while */
    open_conn(l, &l->conns[i]);
    if (i < l->nwriters) continue;
    make_request(l, &l->conns[i], MODE_WATCH);
    push(l, &l->conns[i]);
  }
  run(l);
  report(l);
  return l->failed || !l->over;
}
