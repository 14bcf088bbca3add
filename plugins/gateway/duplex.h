#ifndef GATEWAY_DUPLEX_H
#define GATEWAY_DUPLEX_H
/*
 * What streams to and from containers are made of: a duplex call on the bus (duplex.c), WebSocket messages
 * (websocket.c), SPDY/3.1 streams (spdy.c). None of them closes the connection from inside a callback: they mark it and
 * the exchange ends when the feeding returns.
 */
#include "gateway.h"

/* --- a duplex call, with input that waits for credit ---------------------------------------------------------------
 */

typedef struct gw_duplex gw_duplex_t;
typedef struct gw_duplex_events {
  void (*item)(gw_duplex_t *d, kg_view_t args);
  /* The call is over: error NULL, or its sentence. It may be freed from here. */
  void (*end)(gw_duplex_t *d, const char *error, int code);
} gw_duplex_events_t;
struct gw_duplex {
  gw_ex_t *ex;
  const gw_duplex_events_t *events;
  void *arg;
  uint64_t call;
  struct gw_held *head, *tail;
  size_t held;
  uint32_t owed; /* items whose credit was not given back yet */
  bool input_over;
};
/* args borrowed; service and topic copied. NULL: out of memory. */
gw_duplex_t *gw_duplex_open(gw_ex_t *ex, const char *service, const char *topic, kg_doc_t *args,
                            const gw_duplex_events_t *events, void *arg);
void gw_duplex_free(gw_duplex_t *d);                            /* cancels; NULL is allowed */
void gw_duplex_send(gw_duplex_t *d, kg_pack_t *item, size_t n); /* packs up and empties item; n: what it weighs */
void gw_duplex_end(gw_duplex_t *d);                             /* no more input, once what waits has gone */
void gw_duplex_drain(gw_duplex_t *d);                           /* the client took what was sent: more may come */

/* --- WebSocket -----------------------------------------------------------------------------------------------------
 */

typedef struct gw_ws gw_ws_t;
typedef void (*gw_ws_fn)(gw_ex_t *ex, const uint8_t *p, size_t n, void *arg);
bool gw_ws_asked(const gw_ex_t *ex);                             /* the request wants to become one */
bool gw_ws_offers(const gw_ex_t *ex, const char *protocol);      /* among its subprotocols */
gw_ws_t *gw_ws_new(gw_ex_t *ex, gw_ws_fn on_message, void *arg); /* NULL: out of memory */
void gw_ws_free(gw_ws_t *w);
void gw_ws_accept(gw_ex_t *ex, const char *protocol); /* answers 101; NULL: no subprotocol */
void gw_ws_send(gw_ws_t *w, const uint8_t *p, size_t n);
void gw_ws_send_text(gw_ws_t *w, const char *p, size_t n); /* p must be UTF-8 */
void gw_ws_close(gw_ws_t *w);                              /* queues a close frame */
bool gw_ws_feed(gw_ws_t *w, const char *p, size_t n);      /* false: closed or broken, the exchange should end */

/* --- SPDY/3.1 (draft-mbelshe-httpbis-spdy-00 with the window updates of 3.1), the server's side --------------------
 */

typedef struct gw_spdy gw_spdy_t;
typedef struct gw_spdy_events {
  /* A stream was opened. Header values by gw_spdy_header() during the call. */
  void (*opened)(gw_spdy_t *s, uint32_t id, void *arg);
  void (*data)(gw_spdy_t *s, uint32_t id, const uint8_t *p, size_t n, void *arg);
  void (*closed)(gw_spdy_t *s, uint32_t id, void *arg); /* the client sends nothing more on it */
  void (*out)(const void *p, size_t n, void *arg);      /* bytes for the client */
} gw_spdy_events_t;
gw_spdy_t *gw_spdy_new(const gw_spdy_events_t *events, void *arg);
void gw_spdy_free(gw_spdy_t *s);
bool gw_spdy_feed(gw_spdy_t *s, const uint8_t *p, size_t n);      /* false: broken, the connection should end */
const char *gw_spdy_header(const gw_spdy_t *s, const char *name); /* NULL: absent */
void gw_spdy_send(gw_spdy_t *s, uint32_t id, const void *p, size_t n, bool last);
void gw_spdy_reset(gw_spdy_t *s, uint32_t id);
void gw_spdy_goaway(gw_spdy_t *s);

/* --- a line to the client: one of these two, or SPDY inside of WebSocket messages ----------------------------------
 */

typedef struct gw_line {
  gw_ws_t *ws;
  gw_spdy_t *spdy;
} gw_line_t;
/* The request wants neither: it was answered. */
bool gw_line_refuse(gw_ex_t *ex);
/* Opens what has callbacks, with `arg` for them. False: out of memory, nothing is left open. */
bool gw_line_open(gw_line_t *l, gw_ex_t *ex, gw_ws_fn on_message, const gw_spdy_events_t *events, void *arg);
void gw_line_accept(const gw_line_t *l, gw_ex_t *ex, const char *protocol); /* answers 101; NULL: no subprotocol */
bool gw_line_feed(const gw_line_t *l, const char *p, size_t n);             /* false: the exchange should end */
void gw_line_free(gw_line_t *l);

/* --- what runs over them -------------------------------------------------------------------------------------------
 */

void gw_exec(gw_ex_t *ex, bool attach); /* exec.c */
void gw_forward(gw_ex_t *ex);           /* forward.c: pods/portforward */
/* True: the request wants SPDY/3.1; *protocol (may be NULL as a whole) is the first of `ours` that it offers, or NULL.
 */
bool gw_spdy_asked(const gw_ex_t *ex, const char *const *ours, const char **protocol);
void gw_spdy_accept(gw_ex_t *ex, const char *protocol);

#endif
