#ifndef GATEWAY_LINK_H
#define GATEWAY_LINK_H
/* A connection that the gateway opens itself, plain or TLS (without asking who answers, as the API's proxy does). */
#include "gateway.h"

typedef struct gw_link gw_link_t;
/* In the lane's thread, never from inside gw_link_open() or gw_link_send(). The link may be freed from within. */
typedef struct gw_link_events {
  void (*data)(gw_link_t *l, const char *p, size_t n, void *arg);
  void (*written)(gw_link_t *l, void *arg); /* nothing waits to be sent */
  /* The other side closed (error NULL), or why there is no connection. Nothing comes after it. */
  void (*end)(gw_link_t *l, const char *error, void *arg);
} gw_link_events_t;

/* address: an IP; events must outlive it. NULL with a sentence. */
gw_link_t *gw_link_open(gw_t *gw, const char *address, int port, bool tls, const gw_link_events_t *events, void *arg,
                        kg_error_t *err);
void gw_link_free(gw_link_t *l);                          /* closes; NULL is allowed */
void gw_link_send(gw_link_t *l, const void *p, size_t n); /* copies */
size_t gw_link_waiting(const gw_link_t *l);               /* bytes not sent yet */
void gw_link_hold(gw_link_t *l, bool hold);               /* reads no more, or again */
const char *gw_link_peer(const gw_link_t *l);             /* "10.1.2.3:80" */

#endif
