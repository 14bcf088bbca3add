/* pods/log, and finding the node of a pod. */
#include <openssl/evp.h>

#include "duplex.h"
#include "pod.h"

/* --- the pod -------------------------------------------------------------------------------------------------------
 */

static void on_found(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  ex->call = 0;
  if (kg_msg_type(m) != KG_MSG_REPLY)
    gw_status_of(ex, m);
  else
    ex->found(ex, kg_view_of(kg_msg_doc(m, 0)));
}

void gw_pod_get(gw_ex_t *ex, gw_pod_fn fn) {
  const gw_route_t *r = &ex->route; /* asked as the gateway itself: the user may the subresource, that is enough */
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "g", r->group);
  kg_pack_kv_str(&p, "v", r->version);
  kg_pack_kv_str(&p, "r", r->resource_name);
  kg_pack_kv_str(&p, "ns", r->ns);
  kg_pack_kv_str(&p, "name", r->name);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  ex->found = fn;
  gw_api_call(ex, "api.get", args, NULL, false, on_found);
  kg_doc_unref(args);
}

/* The names of all of them, in the API's order, and whether `name` is one. */
static bool has_container(kg_view_t spec, kg_str_t name, kube_buf_t *names) {
  static const char *const lists[] = {"initContainers", "containers", "ephemeralContainers"};
  bool found = false;
  for (size_t i = 0; i < 3; i++)
    for (kg_iter_t it = kg_iter(kg_view_get(spec, lists[i])); kg_iter_next(&it);) {
      kg_str_t n = kg_view_str(kg_view_get(it.value, "name"));
      kube_buf_fmt(names, "%s" KG_STR_FMT, names->n ? " " : "", KG_STR_ARG(n));
      found |= kg_str_eq(n, name);
    }
  return found;
}

static char *out_of_memory(gw_ex_t *ex) {
  gw_status(ex, 503, "ServiceUnavailable", NULL, "out of memory");
  return NULL;
}

char *gw_pod_node(gw_ex_t *ex, kg_view_t pod) {
  kg_str_t host = kg_view_str(kg_view_path(pod, "spec", "nodeName", NULL));
  char *node;
  if (host.n) return asprintf(&node, "node/" KG_STR_FMT, KG_STR_ARG(host)) < 0 ? out_of_memory(ex) : node;
  gw_status(ex, 400, "BadRequest", NULL, "pod %s does not have a host assigned", ex->route.name);
  return NULL;
}

char *gw_pod_container(gw_ex_t *ex, kg_view_t pod) {
  kg_view_t spec = kg_view_get(pod, "spec"), mains = kg_view_get(spec, "containers");
  char *want = gw_query(ex, "container", NULL);
  bool named = want && *want;
  if (!named && kg_view_count(mains) == 1) {
    free(want);
    want = kg_str_dup(kg_view_str(kg_view_get(kg_view_at(mains, 0), "name")));
    return want ? want : out_of_memory(ex);
  }
  kube_buf_t names = {0};
  bool found = has_container(spec, kg_str(want), &names);
  if (!named)
    gw_status(ex, 400, "BadRequest", NULL, "a container name must be specified for pod %s, choose one of: [%.*s]",
              ex->route.name, (int)names.n, names.p ? names.p : "");
  else if (!found)
    gw_status(ex, 400, "BadRequest", NULL, "container %s is not valid for pod %s", want, ex->route.name);
  kube_buf_free(&names);
  if (named && found) return want;
  free(want);
  return NULL;
}

/* --- logs ----------------------------------------------------------------------------------------------------------
 */

typedef struct logs {
  kg_pack_t asked; /* what the node is asked for */
  gw_ws_t *ws;     /* asked for as WebSocket messages: binary.k8s.io, or base64.binary.k8s.io as text */
  bool base64, feeding, over;
  bool begun;
  uint32_t owed;
} logs_t;

static void logs_gone(gw_ex_t *ex) {
  logs_t *l = ex->op;
  gw_ws_free(l->ws);
  kg_pack_free(&l->asked);
  free(l);
  ex->op = NULL;
}

static void logs_drain(gw_ex_t *ex) {
  logs_t *l = ex->op;
  if (!l->owed || !ex->call || gw_backlog(ex) >= GW_BACKLOG_LOW) return;
  kg_credit(ex->conn->gw->ctx, ex->call, l->owed);
  l->owed = 0;
}

static void on_ws_message(gw_ex_t *ex, const uint8_t *p, size_t n, void *arg) {
  (void)ex, (void)p, (void)n, (void)arg; /* the client has nothing to say here */
}

static void on_ws_bytes(gw_ex_t *ex, const char *p, size_t n) {
  logs_t *l = ex->op;
  l->feeding = true;
  bool good = gw_ws_feed(l->ws, p, n);
  l->feeding = false;
  if (!good || l->over) gw_raw_end(ex);
}

static void ws_begin(gw_ex_t *ex) {
  logs_t *l = ex->op;
  bool binary = gw_ws_offers(ex, "binary.k8s.io");
  l->base64 = !binary && gw_ws_offers(ex, "base64.binary.k8s.io");
  ex->on_data = on_ws_bytes;
  gw_ws_accept(ex, binary ? "binary.k8s.io" : l->base64 ? "base64.binary.k8s.io" : NULL);
}

static void ws_send(logs_t *l, kg_str_t data) {
  if (!l->base64) {
    gw_ws_send(l->ws, (const uint8_t *)data.p, data.n);
    return;
  }
  kube_buf_t text = {0};
  kube_buf_base64(&text, data.p, data.n);
  if (!text.failed) gw_ws_send_text(l->ws, text.p, text.n);
  kube_buf_free(&text);
}

static void logs_begin(gw_ex_t *ex) {
  logs_t *l = ex->op;
  if (l->begun) return;
  l->begun = true;
  if (l->ws)
    ws_begin(ex);
  else
    gw_stream_begin(ex, 200, "text/plain");
}

static void logs_end(gw_ex_t *ex) {
  logs_t *l = ex->op;
  if (!l->ws) {
    gw_stream_end(ex);
    return;
  }
  gw_ws_close(l->ws);
  l->over = true;
  if (!l->feeding) gw_raw_end(ex); /* else when the feeding returns */
}

static void logs_send(gw_ex_t *ex, kg_str_t data) {
  logs_t *l = ex->op;
  if (l->ws) {
    ws_send(l, data);
    return;
  }
  gw_blob_t *b = gw_blob_framed(data.p, data.n);
  if (b)
    gw_stream_blob(ex, b);
  else
    gw_conn_break(ex->conn);
  gw_blob_unref(b);
}

static void on_log(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  logs_t *l = ex->op;
  if (kg_msg_type(m) == KG_MSG_ITEM) {
    kg_str_t data = kg_view_bin(kg_view_get(kg_msg_args(m), "data"));
    logs_begin(ex);
    if (data.n) logs_send(ex, data);
    l->owed++;
    logs_drain(ex);
    return;
  }
  ex->call = 0;
  if (kg_msg_type(m) == KG_MSG_ERROR && !l->begun) {
    gw_status_of(ex, m);
    return;
  }
  logs_begin(ex);
  logs_end(ex);
}

static void open_logs(gw_ex_t *ex, const char *node) {
  logs_t *l = ex->op;
  kg_doc_t *args = kg_pack_doc(&l->asked);
  ex->on_drain = logs_drain;
  ex->patient = true;
  if (gw_ws_asked(ex)) l->ws = gw_ws_new(ex, on_ws_message, NULL);
  ex->call = kg_send(ex->conn->gw->ctx, &(kg_request_t){.service = node,
                                                        .topic = "node.logs",
                                                        .args = args,
                                                        .stream = true,
                                                        .credit = 64,
                                                        .manual_credit = true,
                                                        .timeout_ms = -1,
                                                        .fn = on_log,
                                                        .arg = ex});
  kg_doc_unref(args);
}

static void on_pod(gw_ex_t *ex, kg_view_t pod) {
  char *container = gw_pod_container(ex, pod), *node = NULL;
  if (!container) return;
  kg_pack_t *p = &((logs_t *)ex->op)->asked;
  kg_pack_kv_str(p, "ns", ex->route.ns);
  kg_pack_kv_str(p, "pod", ex->route.name);
  kg_pack_kv_str(p, "container", container);
  kg_pack_end(p);
  free(container);
  if (!kg_view_str(kg_view_path(pod, "spec", "nodeName", NULL)).n)
    gw_respond(ex, 204, NULL, NULL); /* it has said nothing yet */
  else if ((node = gw_pod_node(ex, pod)))
    open_logs(ex, node);
  free(node);
}

void gw_logs(gw_ex_t *ex) {
  logs_t *l = ex->op = calloc(1, sizeof *l);
  if (!l) {
    out_of_memory(ex);
    return;
  }
  ex->on_gone = logs_gone;
  l->asked = kg_pack();
  kg_pack_map(&l->asked);
  if (!gw_log_options(ex, &l->asked)) gw_pod_get(ex, on_pod);
}
