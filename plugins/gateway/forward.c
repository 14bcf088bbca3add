/*
 * pods/portforward: SPDY/3.1 streams, either on the upgraded connection itself or inside WebSocket messages (KEP-4006).
 * Each forwarded connection is a pair of streams with the same request id: `error` first, then `data`.
 */
#include "duplex.h"
#include "pod.h"

#define PROTOCOL "portforward.k8s.io"
#define TUNNEL "SPDY/3.1+portforward.k8s.io"

typedef struct session session_t;
typedef struct pair {
  struct pair *next;
  session_t *session;
  uint32_t error, data; /* stream ids, 0: not opened */
  long port;
  char request[32];
  gw_duplex_t *call;
  bool failed;
} pair_t;
struct session {
  gw_ex_t *ex;
  gw_ws_t *ws; /* NULL: SPDY on the connection itself */
  gw_spdy_t *spdy;
  char *node;
  pair_t *pairs;
};

static void pair_free(pair_t *p) {
  for (pair_t **at = &p->session->pairs; *at; at = &(*at)->next)
    if (*at == p) {
      *at = p->next;
      break;
    }
  gw_duplex_free(p->call);
  free(p);
}

static void session_gone(gw_ex_t *ex) {
  session_t *s = ex->op;
  while (s->pairs) pair_free(s->pairs);
  gw_ws_free(s->ws);
  gw_spdy_free(s->spdy);
  free(s->node);
  free(s);
  ex->op = NULL;
}

static void session_drain(gw_ex_t *ex) {
  session_t *s = ex->op;
  for (pair_t *p = s->pairs; p; p = p->next)
    if (p->call) gw_duplex_drain(p->call);
}

/* --- one connection ---------------------------------------------------------------------------------------------- */

static void on_item(gw_duplex_t *d, kg_view_t args) {
  pair_t *p = d->arg;
  kg_str_t data = kg_view_bin(kg_view_get(args, "data"));
  if (data.n) gw_spdy_send(p->session->spdy, p->data, data.p, data.n, false);
  gw_duplex_drain(d);
}

static void on_end(gw_duplex_t *d, const char *error, int code) {
  (void)code;
  pair_t *p = d->arg;
  gw_spdy_t *spdy = p->session->spdy;
  if (error && p->error) {
    char text[700];
    int n = snprintf(text, sizeof text, "error forwarding port %ld to pod %s, uid : %s", p->port,
                     p->session->ex->route.name, error);
    gw_spdy_send(spdy, p->error, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1, false);
  }
  if (p->error) gw_spdy_send(spdy, p->error, NULL, 0, true);
  if (p->data) gw_spdy_send(spdy, p->data, NULL, 0, true);
  pair_free(p);
}

static void start_pair(pair_t *pair) {
  static const gw_duplex_events_t events = {on_item, on_end};
  gw_ex_t *ex = pair->session->ex;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "ns", ex->route.ns);
  kg_pack_kv_str(&p, "pod", ex->route.name);
  kg_pack_kv_int(&p, "port", pair->port);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  const char *node = pair->session->node;
  pair->call = gw_duplex_open(ex, node ? node : "node", "node.portforward", args, &events, pair);
  kg_doc_unref(args);
}

/* --- streams ----------------------------------------------------------------------------------------------------- */

static pair_t *pair_of(session_t *s, const char *request, long port) {
  for (pair_t *p = s->pairs; p; p = p->next)
    if (!strcmp(p->request, request)) return p;
  pair_t *p = calloc(1, sizeof *p);
  if (!p) return NULL;
  *p = (pair_t){.session = s, .port = port, .next = s->pairs};
  snprintf(p->request, sizeof p->request, "%s", request);
  s->pairs = p;
  return p;
}

static void on_opened(gw_spdy_t *spdy, uint32_t id, void *arg) {
  session_t *s = arg;
  const char *type = gw_spdy_header(spdy, "streamtype"), *port = gw_spdy_header(spdy, "port");
  const char *request = gw_spdy_header(spdy, "requestid");
  long number = port ? strtol(port, NULL, 10) : 0;
  bool error = type && !strcmp(type, "error"), data = type && !strcmp(type, "data");
  pair_t *p = (error || data) && number > 0 && number < 65536 ? pair_of(s, request ? request : port, number) : NULL;
  if (!p) {
    gw_spdy_reset(spdy, id);
    return;
  }
  if (error) p->error = id;
  if (data) p->data = id;
  if (p->error && p->data && !p->call) start_pair(p);
}

static pair_t *by_data(session_t *s, uint32_t id) {
  for (pair_t *p = s->pairs; p; p = p->next)
    if (p->data == id && p->call) return p;
  return NULL;
}

static void on_data(gw_spdy_t *spdy, uint32_t id, const uint8_t *data, size_t n, void *arg) {
  (void)spdy;
  pair_t *pair = by_data(arg, id);
  if (!pair) return;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "data");
  kg_pack_bin(&p, data, n);
  kg_pack_end(&p);
  gw_duplex_send(pair->call, &p, n);
}

static void on_closed(gw_spdy_t *spdy, uint32_t id, void *arg) {
  (void)spdy;
  pair_t *p = by_data(arg, id);
  if (p) gw_duplex_end(p->call);
}

static void on_out(const void *p, size_t n, void *arg) {
  session_t *s = arg;
  if (s->ws)
    gw_ws_send(s->ws, p, n);
  else
    gw_raw(s->ex, p, n);
}

static void on_message(gw_ex_t *ex, const uint8_t *p, size_t n, void *arg) {
  session_t *s = arg;
  if (!gw_spdy_feed(s->spdy, p, n)) gw_conn_break(ex->conn);
}

static void on_bytes(gw_ex_t *ex, const char *p, size_t n) {
  session_t *s = ex->op;
  bool good = s->ws ? gw_ws_feed(s->ws, p, n) : gw_spdy_feed(s->spdy, (const uint8_t *)p, n);
  if (!good) gw_raw_end(ex);
}

/* --- opening ----------------------------------------------------------------------------------------------------- */

static void on_pod(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  session_t *s = ex->op;
  ex->call = 0;
  if (kg_msg_type(m) != KG_MSG_REPLY) {
    gw_status_of(ex, m);
    return;
  }
  if (gw_pod_node(ex, m, &s->node)) return;
  ex->on_data = on_bytes;
  ex->on_drain = session_drain;
  if (s->ws)
    gw_ws_accept(ex, TUNNEL);
  else
    gw_spdy_accept(ex, PROTOCOL);
}

void gw_forward(gw_ex_t *ex) {
  static const char *const ours[] = {PROTOCOL, NULL};
  static const gw_spdy_events_t events = {on_opened, on_data, on_closed, on_out};
  const char *protocol = NULL;
  bool spdy = gw_spdy_asked(ex, ours, &protocol), ws = !spdy && gw_ws_asked(ex);
  if (!spdy && !ws) {
    gw_status(ex, 400, "BadRequest", NULL, "Upgrade request required");
    return;
  }
  if (spdy ? !protocol : !gw_ws_offers(ex, TUNNEL)) {
    gw_status(ex, 400, "BadRequest", NULL, "none of the protocols offered is spoken here: " PROTOCOL ", " TUNNEL);
    return;
  }
  session_t *s = calloc(1, sizeof *s);
  if (s) {
    s->ex = ex;
    s->spdy = gw_spdy_new(&events, s);
    s->ws = ws ? gw_ws_new(ex, on_message, s) : NULL;
  }
  if (!s || !s->spdy || (ws && !s->ws)) {
    if (s) gw_spdy_free(s->spdy);
    free(s);
    gw_status(ex, 503, "ServiceUnavailable", NULL, "out of memory");
    return;
  }
  ex->op = s;
  ex->on_gone = session_gone;
  gw_pod_get(ex, on_pod);
}
