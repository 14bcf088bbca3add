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
  gw_line_t line; /* SPDY on the connection itself, or inside WebSocket messages */
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
  gw_line_free(&s->line);
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
  if (data.n) gw_spdy_send(p->session->line.spdy, p->data, data.p, data.n, false);
  gw_duplex_drain(d);
}

static void on_end(gw_duplex_t *d, const char *error, int code) {
  (void)code;
  pair_t *p = d->arg;
  gw_spdy_t *spdy = p->session->line.spdy;
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
  pair->call = gw_duplex_open(ex, pair->session->node, "node.portforward", args, &events, pair);
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
  if (s->line.ws)
    gw_ws_send(s->line.ws, p, n);
  else
    gw_raw(s->ex, p, n);
}

static void on_message(gw_ex_t *ex, const uint8_t *p, size_t n, void *arg) {
  session_t *s = arg;
  if (!gw_spdy_feed(s->line.spdy, p, n)) gw_conn_break(ex->conn);
}

static void on_bytes(gw_ex_t *ex, const char *p, size_t n) {
  session_t *s = ex->op;
  if (!gw_line_feed(&s->line, p, n)) gw_raw_end(ex);
}

/* --- opening ----------------------------------------------------------------------------------------------------- */

static void on_pod(gw_ex_t *ex, kg_view_t pod) {
  session_t *s = ex->op;
  s->node = gw_pod_node(ex, pod);
  if (!s->node) return;
  ex->on_data = on_bytes;
  ex->on_drain = session_drain;
  ex->patient = true;
  gw_line_accept(&s->line, ex, s->line.ws ? TUNNEL : PROTOCOL);
}

void gw_forward(gw_ex_t *ex) {
  static const char *const ours[] = {PROTOCOL, NULL};
  static const gw_spdy_events_t events = {on_opened, on_data, on_closed, on_out};
  const char *protocol = NULL;
  bool spdy = gw_spdy_asked(ex, ours, &protocol);
  if (!spdy && gw_line_refuse(ex)) return;
  if (spdy ? !protocol : !gw_ws_offers(ex, TUNNEL)) {
    gw_status(ex, 400, "BadRequest", NULL, "none of the protocols offered is spoken here: " PROTOCOL ", " TUNNEL);
    return;
  }
  session_t *s = calloc(1, sizeof *s);
  if (s) s->ex = ex;
  if (!s || !gw_line_open(&s->line, ex, spdy ? NULL : on_message, &events, s)) {
    free(s);
    gw_status(ex, 503, "ServiceUnavailable", NULL, "out of memory");
    return;
  }
  ex->op = s;
  ex->on_gone = session_gone;
  gw_pod_get(ex, on_pod);
}
