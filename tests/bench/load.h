#ifndef LOAD_H
#define LOAD_H
/*
 * A load generator for the HTTPS API: one thread, many TLS connections, one request in flight on each (so that the
 * number of connections is the number in flight). HTTP/1.1, because nothing is shared between the requests then.
 */
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum { MODE_CREATE, MODE_UPDATE, MODE_GET, MODE_LIST, MODE_WATCH } load_mode_t;

typedef struct load_options {
  const char *host, *cert, *key, *ca, *token, *path;
  int port, connections;
  int writers; /* MODE_WATCH: connections that make the changes */
  load_mode_t mode;
  long count;        /* requests in all; for MODE_WATCH: objects changed */
  int seconds;       /* a bound on the whole run */
  int value_bytes;   /* size of the value in the objects written */
  const char *since; /* MODE_WATCH: the resourceVersion to watch from */
  const char *names; /* prefix of the names of what is created */
} load_options_t;

typedef struct conn {
  int fd;
  SSL *ssl;
  bool watching, waiting, writes_blocked;
  char *out;
  size_t nout, sent;
  int64_t asked_us;
  long n; /* number of the request */
  /* the answer */
  char head[8192];
  size_t nhead;
  bool in_body, chunked;
  int status;
  long left;     /* bytes of the body still to come (with a length) */
  unsigned tail; /* last bytes seen, to find the end of chunks */
  char last;     /* last byte: an event ends with "}\n" */
} conn_t;

/* http.c: reads what came; calls done() when an answer is complete, event() for every line of a watch. */
typedef struct sink {
  void (*done)(conn_t *c, void *arg);
  void (*event)(conn_t *c, void *arg);
  void *arg;
} sink_t;
/* -1: the answer cannot be understood. */
int http_feed(conn_t *c, const char *p, size_t n, const sink_t *sink);
void http_expect(conn_t *c, bool watching);

#endif
