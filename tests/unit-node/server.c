#include "server.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct server {
  serve_t what;
  int fd, port, asked;
  const char *answer;
  char request[8192];
  pthread_t thread;
  pthread_mutex_t mutex;
  SSL_CTX *tls;
};

static SSL_CTX *own_certificate(void) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *x = X509_new();
  X509_set_pubkey(x, key);
  X509_gmtime_adj(X509_getm_notBefore(x), -7200);
  X509_gmtime_adj(X509_getm_notAfter(x), -3600); /* nobody looks at it */
  X509_sign(x, key, EVP_sha256());
  SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
  SSL_CTX_use_certificate(ctx, x);
  SSL_CTX_use_PrivateKey(ctx, key);
  X509_free(x);
  EVP_PKEY_free(key);
  return ctx;
}

static void note(server_t *s, const char *text, size_t n) {
  pthread_mutex_lock(&s->mutex);
  s->asked++;
  if (n > sizeof s->request - 1) n = sizeof s->request - 1;
  memcpy(s->request, text, n);
  s->request[n] = 0;
  pthread_mutex_unlock(&s->mutex);
}

static const char *answer_of(server_t *s) {
  pthread_mutex_lock(&s->mutex);
  const char *answer = s->answer;
  pthread_mutex_unlock(&s->mutex);
  return answer;
}

static void serve_http(server_t *s, int fd) {
  char buf[8192];
  SSL *ssl = s->tls ? SSL_new(s->tls) : NULL;
  if (ssl) SSL_set_fd(ssl, fd);
  if (!ssl || SSL_accept(ssl) == 1) {
    ssize_t n = ssl ? SSL_read(ssl, buf, sizeof buf) : read(fd, buf, sizeof buf);
    if (n > 0) {
      note(s, buf, (size_t)n);
      const char *answer = answer_of(s);
      n = ssl ? SSL_write(ssl, answer, (int)strlen(answer)) : write(fd, answer, strlen(answer));
      if (ssl) SSL_shutdown(ssl);
    }
  }
  if (ssl) SSL_free(ssl);
}

/* Frames as they are on the wire: SETTINGS and its acknowledgement, HEADERS (:status 200), DATA, HEADERS (grpc-status
 * 0) on stream 1. */
static void serve_grpc(server_t *s, int fd) {
  char buf[4096];
  size_t have = 0;
  for (ssize_t n; have < 24 + 9 && (n = read(fd, buf + have, sizeof buf - have)) > 0;) have += (size_t)n;
  note(s, buf, have);
  unsigned char frames[] = {0,   0,   0,   4,   0,   0,   0, 0,  0,                                  /* SETTINGS */
                            0,   0,   0,   4,   1,   0,   0, 0,  0,                                  /* SETTINGS, ack */
                            0,   0,   1,   1,   4,   0,   0, 0,  1, 0x88,                            /* :status: 200 */
                            0,   0,   7,   0,   0,   0,   0, 0,  1, 0,    0,  0,   0,   2,   8,   1, /* the message */
                            0,   0,   15,  1,   5,   0,   0, 0,  1, 0,    11, 'g', 'r', 'p', 'c', '-',
                            's', 't', 'a', 't', 'u', 's', 1, '0'};
  frames[43] = (unsigned char)(answer_of(s)[0] - '0');
  ssize_t n = write(fd, frames, sizeof frames);
  while (n > 0) n = read(fd, buf, sizeof buf);
}

static void *run(void *arg) {
  server_t *s = arg;
  for (int fd; (fd = accept(s->fd, NULL, NULL)) >= 0; close(fd)) {
    if (s->what == SERVE_GRPC)
      serve_grpc(s, fd);
    else if (s->what == SERVE_SILENCE) {
      char c[4096];
      note(s, "", 0);
      while (read(fd, c, sizeof c) > 0) {
      }
    } else
      serve_http(s, fd);
  }
  return NULL;
}

server_t *server_start(serve_t what) {
  server_t *s = calloc(1, sizeof *s);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof a;
  s->what = what;
  s->answer = what == SERVE_GRPC ? "1" : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  if (what == SERVE_HTTPS) s->tls = own_certificate();
  s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(s->fd, (struct sockaddr *)&a, n) || listen(s->fd, 16) || getsockname(s->fd, (struct sockaddr *)&a, &n))
    abort();
  s->port = ntohs(a.sin_port);
  pthread_mutex_init(&s->mutex, NULL);
  pthread_create(&s->thread, NULL, run, s);
  return s;
}

void server_stop(server_t *s) {
  shutdown(s->fd, SHUT_RDWR);
  pthread_join(s->thread, NULL);
  close(s->fd);
  if (s->tls) SSL_CTX_free(s->tls);
  free(s);
}

int server_port(const server_t *s) {
  return s->port;
}

void server_answer(server_t *s, const char *text) {
  pthread_mutex_lock(&s->mutex);
  s->answer = text;
  pthread_mutex_unlock(&s->mutex);
}

int server_asked(server_t *s) {
  pthread_mutex_lock(&s->mutex);
  int n = s->asked;
  pthread_mutex_unlock(&s->mutex);
  return n;
}

bool server_was_asked(server_t *s, const char *text) {
  pthread_mutex_lock(&s->mutex);
  bool yes = strstr(s->request, text) != NULL;
  pthread_mutex_unlock(&s->mutex);
  return yes;
}
