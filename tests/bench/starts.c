/*
 * bench-starts DATA PORT POD COUNT [BUNDLE]: starts COUNT pods, and prints microseconds: one after the other, each
 * beside a bare `runc run` of BUNDLE, a line "POD RUNC" each; without BUNDLE all at once, a line for when the last one
 * runs. A pod's time begins with its POST and ends when a watch tells that it runs; both connections are open before,
 * as those of a controller are. POD: its JSON, @ for its name.
 */
#include <fcntl.h>
#include <openssl/ssl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"

enum { PAUSE_MS = 300, LINE = 64 << 10 };
#define PODS "/api/v1/namespaces/default/pods"

extern char **environ;

typedef struct client {
  SSL_CTX *tls;
  BIO *post, *watch;
  const char *pod;
  char prefix[32]; /* of the pods' names; a number follows */
  char line[LINE], event[2 * LINE];
  size_t have; /* of the watch, in event */
} client_t;

static void die(const char *what) {
  fprintf(stderr, "bench-starts: %s\n", what);
  exit(1);
}

static BIO *connected(client_t *c, const char *port) {
  BIO *tls = BIO_new_ssl_connect(c->tls), *buffer = BIO_new(BIO_f_buffer());
  if (!tls || !buffer || !BIO_set_conn_hostname(tls, "127.0.0.1") || !BIO_set_conn_port(tls, port))
    die("no connection");
  BIO_push(buffer, tls);
  if (BIO_do_handshake(tls) != 1) die("the API does not take the connection");
  return buffer;
}

static void ask(BIO *b, const char *method, const char *path, const char *body) {
  int n = BIO_printf(
      b, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", method,
      path, strlen(body), body);
  if (n <= 0 || BIO_flush(b) != 1) die("the request could not be sent");
}

static void read_line(client_t *c, BIO *b) {
  if (BIO_gets(b, c->line, LINE) <= 0) die("the API ended the connection");
}

/* Up to the body; its length, or -1 if it comes in chunks. */
static long read_head(client_t *c, BIO *b, const char *status) {
  long length = -1;
  read_line(c, b);
  if (!strstr(c->line, status)) die(c->line);
  while (c->line[0] != '\r') {
    read_line(c, b);
    if (!strncasecmp(c->line, "content-length:", 15)) length = atol(c->line + 15);
  }
  return length;
}

static void read_exactly(BIO *b, char *to, long n) {
  for (int got; n > 0; to += got, n -= got)
    if ((got = BIO_read(b, to, (int)n)) <= 0) die("the API ended the connection");
}

static void create(client_t *c, int i) {
  char body[4096];
  const char *at = strchr(c->pod, '@');
  if (!at) die("the pod has no @ for its name");
  snprintf(body, sizeof body, "%.*s%s%d%s", (int)(at - c->pod), c->pod, c->prefix, i, at + 1);
  ask(c->post, "POST", PODS, body);
  long n = read_head(c, c->post, " 201 ");
  if (n < 0 || n >= LINE) die("an answer without a length, or too long");
  read_exactly(c->post, c->line, n);
}

/* Of the pod that an event of the watch says to run; -1: of none of ours. */
static int number_in(const client_t *c, const char *event) {
  char own[64];
  snprintf(own, sizeof own, "\"name\":\"%s", c->prefix);
  const char *at = strstr(event, own);
  return at && strstr(event, "\"phase\":\"Running\"") ? atoi(at + strlen(own)) : -1;
}

/* Reads on, chunk by chunk, until a whole event says of a pod that it runs; which. */
static int next_running(client_t *c) {
  for (;;) {
    for (char *end; (end = memchr(c->event, '\n', c->have));) {
      *end = '\0';
      int number = number_in(c, c->event);
      c->have -= (size_t)(end + 1 - c->event);
      memmove(c->event, end + 1, c->have);
      if (number >= 0) return number;
    }
    read_line(c, c->watch);
    long n = strtol(c->line, NULL, 16);
    if (n <= 0 || c->have + (size_t)n >= sizeof c->event) die("the watch ended, or an event is too long");
    read_exactly(c->watch, c->event + c->have, n);
    c->have += (size_t)n;
    read_line(c, c->watch);
  }
}

static void run_runc(const char *bundle, const char *id) {
  posix_spawn_file_actions_t fa;
  pid_t pid;
  int status = 1;
  const char *const argv[] = {"runc", "run", "-b", bundle, id, NULL};
  posix_spawn_file_actions_init(&fa);
  posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
  if (posix_spawnp(&pid, argv[0], &fa, NULL, (char *const *)argv, environ)) die("runc could not be started");
  posix_spawn_file_actions_destroy(&fa);
  if (waitpid(pid, &status, 0) < 0 || status) die("runc run failed");
}

/* Long enough that neither gains from what the other has just done: control groups that somebody has moved processes
 * between are quick for some 20 ms more, and a bare runc right after a pod takes 19 ms instead of 30. */
static void rest(void) {
  nanosleep(&(struct timespec){0, PAUSE_MS * 1000000L}, NULL);
}

static void open_client(client_t *c, const char *data, const char *port) {
  char ca[512], cert[512], key[512];
  snprintf(ca, sizeof ca, "%s/tls/ca.crt", data);
  snprintf(cert, sizeof cert, "%s/tls/admin.crt", data);
  snprintf(key, sizeof key, "%s/tls/admin.key", data);
  c->tls = SSL_CTX_new(TLS_client_method());
  if (!c->tls || SSL_CTX_load_verify_locations(c->tls, ca, NULL) != 1 ||
      SSL_CTX_use_certificate_chain_file(c->tls, cert) != 1 ||
      SSL_CTX_use_PrivateKey_file(c->tls, key, SSL_FILETYPE_PEM) != 1)
    die("DATA/tls cannot be read");
  SSL_CTX_set_verify(c->tls, SSL_VERIFY_PEER, NULL);
  c->post = connected(c, port);
  c->watch = connected(c, port);
  ask(c->watch, "GET", PODS "?watch=true", "");
  if (read_head(c, c->watch, " 200 ") >= 0) die("the watch has a length");
}

static void one_by_one(client_t *c, int n, const char *bundle) {
  char id[64];
  for (int i = 0; i < n; i++) {
    int64_t begun = now_ns();
    create(c, i);
    while (next_running(c) != i) continue;
    int64_t pod = now_ns() - begun;
    rest();
    snprintf(id, sizeof id, "%s%d", c->prefix, i);
    begun = now_ns();
    run_runc(bundle, id);
    printf("%lld %lld\n", (long long)pod / 1000, (long long)(now_ns() - begun) / 1000);
    rest();
  }
}

static void all_at_once(client_t *c, int n) {
  bool *runs = calloc((size_t)n, sizeof *runs);
  int64_t begun = now_ns();
  for (int i = 0; i < n; i++) create(c, i);
  for (int left = n; left > 0;) {
    int i = next_running(c);
    if (!runs || i >= n) die("out of memory, or a pod of somebody else");
    left -= !runs[i];
    runs[i] = true;
  }
  printf("%lld\n", (long long)(now_ns() - begun) / 1000);
  free(runs);
}

int main(int argc, char **argv) {
  static client_t c;
  int n = argc > 4 ? atoi(argv[4]) : 0;
  if (n <= 0 || argc > 6) die("usage: bench-starts DATA PORT POD COUNT [BUNDLE]");
  c.pod = argv[3];
  snprintf(c.prefix, sizeof c.prefix, "start-%d-", (int)getpid());
  open_client(&c, argv[1], argv[2]);
  if (argc == 6)
    one_by_one(&c, n, argv[5]);
  else
    all_at_once(&c, n);
  return 0;
}
