#ifndef GATEWAY_PROXY_H
#define GATEWAY_PROXY_H
/*
 * The proxy subresource of pods, services and nodes. proxy_target.c finds out where a request goes, proxy.c carries it
 * there and the answer back, proxy_html.c mends the links in pages.
 */
#include "link.h"

typedef struct gw_proxy {
  gw_ex_t *ex;
  /* of the route's name: [SCHEME:]NAME[:PORT]; never NULL */
  char *scheme, *name, *port;
  const char *path; /* what the other side is asked for, as it was written (escapes kept); "" or with a slash */
  char *prepend;    /* our path before it */
  /* proxy_target.c */
  kg_doc_t *endpoints;
  char *port_name;     /* of a service */
  size_t first, tried; /* of its ready addresses */
  char address[64];
  /* proxy.c */
  gw_link_t *link;
  llhttp_t *parser;
  kube_buf_t text; /* head of the answer: name\0 value\0 ... */
  kube_buf_t body; /* of the answer, what came in this turn */
  struct gw_html *html;
  bool upgraded, head_done, message_done, begun;
} gw_proxy_t;

/* The target is known: goes on there. */
void gw_proxy_dial(gw_proxy_t *p, const char *address, int port, bool tls);
/* Finds the target of p, then calls gw_proxy_dial(), or answers why not. */
void gw_proxy_pod(gw_proxy_t *p);
void gw_proxy_service(gw_proxy_t *p);
void gw_proxy_node(gw_proxy_t *p);

/* A link (Location, href, ...) as it must be for the client; malloc'ed, NULL: it stays as it is. */
char *gw_proxy_url(const gw_proxy_t *p, kg_str_t url);

/* Rewrites the links of HTML as it comes in pieces. */
typedef struct gw_html gw_html_t;
gw_html_t *gw_html_new(const gw_proxy_t *p);
void gw_html_free(gw_html_t *h);
void gw_html_feed(gw_html_t *h, const char *p, size_t n, kube_buf_t *out);
void gw_html_end(gw_html_t *h, kube_buf_t *out); /* what was held back */

#endif
