#ifndef WIRE_H
#define WIRE_H
/* One connection to a container, plain or with TLS, never waited for. Lane's thread only. */
#include <sys/types.h>

#include "node.h"

enum { WIRE_LATER = -1, WIRE_BROKEN = -2, WIRE_TEXT = 160 };

typedef struct wire {
  int fd; /* -1: none */
  struct ssl_ctx_st *tls_ctx;
  struct ssl_st *tls; /* NULL: plain */
  bool shaken;
} wire_t;

/* Begins to connect: 0, an errno, or -1: the host is no address (no names are looked up). The caller watches w->fd. */
int wire_open(wire_t *w, const char *host, int port);
void wire_close(wire_t *w, kg_ctx_t *ctx); /* forgets w->fd; harmless if there is none */
int wire_error(const wire_t *w);           /* how the connecting went: 0 or an errno */
void wire_tls(wire_t *w);                  /* once connected; nobody's certificate is looked at */
/* 1: it may be read and written; 0: not yet; -1: failed, why says how, *plain: the other side does not speak TLS. */
int wire_shake(wire_t *w, char why[WIRE_TEXT], bool *plain);
bool wire_wants_write(const wire_t *w); /* while wire_shake says 0 */
/* Bytes, 0: the end (read), WIRE_LATER: not now, WIRE_BROKEN. */
ssize_t wire_read(wire_t *w, void *buf, size_t size);
ssize_t wire_write(wire_t *w, const void *data, size_t n);

#endif
