#ifndef FUZZ_CONNECTION_H
#define FUZZ_CONNECTION_H
/* A connection of the gateway without a socket: what it would write is counted and thrown away. */
#include "gateway.h"
#include "kernel.h"

static inline gw_t *fuzz_gateway(void) {
  static gw_t *gw;
  static const char *const nobody[] = {"system:unauthenticated"};
  if (gw) return gw;
  gw = calloc(1, sizeof *gw);
  gw->request_ms = 30000;
  gw->anonymous = gw_user_new("system:anonymous", nobody, 1, (kg_view_t){0});
  gw->anonymous->anonymous = true;
  gw->sa_key = EVP_EC_gen("P-256");
  FUZZ_MUST(gw->sa_key && gw_jwt_key_id(gw->sa_key, gw->sa_kid) == 0);
  return gw;
}

static inline gw_conn_t *fuzz_connection(void) {
  static const char *const masters[] = {"system:masters"};
  gw_conn_t *c = calloc(1, sizeof *c);
  c->gw = fuzz_gateway();
  c->fd = -1;
  c->user = gw_user_new("admin", masters, 1, (kg_view_t){0});
  c->gw->conns = c;
  c->gw->nconns++;
  return c;
}

/* What a turn of the lane would do, but for writing. */
static inline void fuzz_turn(gw_conn_t *c) {
  kernel_answer();
  if (c->is_h2) gw_http2_pump(c);
  gw_queue_clear(&c->out);
  for (gw_ex_t *ex = c->exchanges, *next; ex; ex = next) {
    next = ex->next;
    if (ex->on_drain) ex->on_drain(ex);
  }
}

static inline void fuzz_disconnect(gw_conn_t *c) {
  gw_t *gw = c->gw;
  gw_conn_close(c);
  gw_watch_cache_free(gw);
  gw->dirty = NULL;
  gw->flush_timer = gw->sweep_timer = 0;
  FUZZ_MUST(gw->nconns == 0 && gw->nstreams == 0 && gw->ndeadlines == 0);
  FUZZ_MUST(kernel_reset()); /* nothing may come back to what is gone */
}

/* Feeds the input in pieces whose length its bytes choose. */
static inline void fuzz_feed(gw_conn_t *c, const uint8_t *p, size_t n,
                             void (*feed)(gw_conn_t *c, const char *p, size_t n)) {
  while (n && !c->broken && !c->close_after) {
    size_t part = p[0] % 5 ? n : 1 + p[n / 2] % n;
    char *copy = malloc(part);
    memcpy(copy, p, part);
    c->running = true;
    feed(c, copy, part);
    c->running = false;
    free(copy);
    p += part;
    n -= part;
    fuzz_turn(c);
  }
}

#endif
