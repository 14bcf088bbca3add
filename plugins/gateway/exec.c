/*
 * pods/exec and pods/attach over WebSocket (v5.channel.k8s.io, v4.channel.k8s.io). The first byte of a message is the
 * channel: 0 stdin, 1 stdout, 2 stderr, 3 the outcome as a Status, 4 terminal size; v5: 255 closes the channel the next
 * byte names.
 */
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <wslay/wslay.h>

#include "pod.h"

enum {
  CH_STDIN = 0,
  CH_ERROR = 3,
  CH_RESIZE = 4,
  CH_CLOSE = 255,
  MAX_MESSAGE = 1 << 20,
  RETRY_MS = 5,
  MAX_HELD = 64 << 10
};

typedef struct held { /* input that waits for credit */
  struct held *next;
  kg_doc_t *doc;
  size_t n;
} held_t;

typedef struct session {
  wslay_event_context_ptr ws;
  const char *in; /* bytes being fed */
  size_t in_n;
  bool attach, reported, v5, input_over, feeding, over;
  uint32_t owed;
  held_t *head, *tail;
  size_t held;
} session_t;

static void session_gone(gw_ex_t *ex) {
  session_t *s = ex->op;
  if (s->ws) wslay_event_context_free(s->ws);
  while (s->head) {
    held_t *h = s->head;
    s->head = h->next;
    kg_doc_unref(h->doc);
    free(h);
  }
  free(s);
  ex->op = NULL;
}

/* --- out
 * ----------------------------------------------------------------------------------------------------------------------
 */

static void send_channel(gw_ex_t *ex, uint8_t channel, const char *p, size_t n) {
  session_t *s = ex->op;
  uint8_t *m = malloc(n + 1);
  if (!m) return;
  m[0] = channel;
  if (n) memcpy(m + 1, p, n);
  struct wslay_event_msg msg = {.opcode = WSLAY_BINARY_FRAME, .msg = m, .msg_length = n + 1};
  wslay_event_queue_msg(s->ws, &msg);
  free(m);
  wslay_event_send(s->ws);
}

static void report(gw_ex_t *ex, const kube_buf_t *status) {
  session_t *s = ex->op;
  if (s->reported) return;
  s->reported = true;
  send_channel(ex, CH_ERROR, status->p, status->n);
}

static void report_exit(gw_ex_t *ex, int64_t code) {
  kube_buf_t b = {0};
  if (!code)
    kube_buf_addz(&b, "{\"metadata\":{},\"status\":\"Success\"}");
  else
    kube_buf_fmt(
        &b,
        "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: exit status "
        "%lld\","
        "\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"%lld\"}]}}",
        (long long)code, (long long)code);
  if (!b.failed) report(ex, &b);
  kube_buf_free(&b);
}

static void report_error(gw_ex_t *ex, const char *text) {
  kube_buf_t b = {0};
  gw_status_json(&b, 500, "InternalError", NULL, text);
  if (!b.failed) report(ex, &b);
  kube_buf_free(&b);
}

static void session_end(gw_ex_t *ex) {
  session_t *s = ex->op;
  wslay_event_queue_close(s->ws, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0);
  wslay_event_send(s->ws);
  s->over = true;
  if (!s->feeding) gw_raw_end(ex); /* else when the feeding returns */
}

static void session_drain(gw_ex_t *ex) {
  session_t *s = ex->op;
  if (!s->owed || !ex->call || gw_backlog(ex) >= GW_BACKLOG_LOW) return;
  kg_credit(ex->conn->gw->ctx, ex->call, s->owed);
  s->owed = 0;
}

static void on_output(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  session_t *s = ex->op;
  kg_view_t args = kg_msg_args(m), exit = kg_view_get(args, "exit");
  if (kg_msg_type(m) == KG_MSG_ITEM) {
    kg_str_t data = kg_view_bin(kg_view_get(args, "data"));
    int64_t fd = kg_view_int(kg_view_get(args, "fd"), 0);
    if (data.n && (fd == 1 || fd == 2)) send_channel(ex, (uint8_t)fd, data.p, data.n);
    if (kg_view_there(exit)) report_exit(ex, kg_view_int(exit, 0));
    s->owed++;
    session_drain(ex);
    return;
  }
  ex->call = 0;
  if (kg_msg_type(m) == KG_MSG_ERROR)
    report_error(ex, kg_msg_text(m));
  else
    report_exit(ex, 0);
  session_end(ex);
}

/* --- in
 * -----------------------------------------------------------------------------------------------------------------------
 */

static void retry_later(gw_ex_t *ex);

static void push_held(gw_ex_t *ex) {
  session_t *s = ex->op;
  kg_ctx_t *ctx = ex->conn->gw->ctx;
  while (s->head && ex->call && !kg_call_item(ctx, ex->call, s->head->doc, NULL, 0)) {
    held_t *h = s->head;
    s->head = h->next;
    if (!s->head) s->tail = NULL;
    s->held -= h->n;
    kg_doc_unref(h->doc);
    free(h);
  }
  if (s->head && ex->call)
    retry_later(ex);
  else if (s->input_over && ex->call)
    kg_call_end(ctx, ex->call);
  bool full = s->held > MAX_HELD;
  if (ex->conn->no_read == full) return;
  ex->conn->no_read = full;
  if (!full) gw_conn_read_again(ex->conn);
  gw_conn_interest(ex->conn);
}

static void on_retry(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  ex->timer = 0;
  push_held(ex);
}

/* The bus says nothing when credit comes back to a requester: ask again soon, only while input waits. */
static void retry_later(gw_ex_t *ex) {
  if (!ex->timer) ex->timer = kg_timer(ex->conn->gw->ctx, RETRY_MS, 0, on_retry, ex);
}

static void push(gw_ex_t *ex, kg_pack_t *p, size_t n) {
  session_t *s = ex->op;
  kg_doc_t *doc = kg_pack_doc(p);
  held_t *h = calloc(1, sizeof *h);
  if (!doc || !h) {
    kg_doc_unref(doc);
    free(h);
    return;
  }
  *h = (held_t){.doc = doc, .n = n + 64};
  if (s->tail)
    s->tail->next = h;
  else
    s->head = h;
  s->tail = h;
  s->held += h->n;
  push_held(ex);
}

static void on_stdin(gw_ex_t *ex, const uint8_t *data, size_t n) {
  if (!n) return;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "fd", 0);
  kg_pack_key(&p, "data");
  kg_pack_bin(&p, data, n);
  kg_pack_end(&p);
  push(ex, &p, n);
}

static void on_resize(gw_ex_t *ex, const uint8_t *data, size_t n) {
  kg_doc_t *size = kube_json_parse((const char *)data, n, NULL, NULL, NULL);
  if (!size) return;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "resize");
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "w", kg_view_int(kg_view_get(kg_view_of(size), "Width"), 80));
  kg_pack_kv_int(&p, "h", kg_view_int(kg_view_get(kg_view_of(size), "Height"), 24));
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_doc_unref(size);
  push(ex, &p, 0);
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m, void *user) {
  (void)ctx;
  gw_ex_t *ex = user;
  session_t *s = ex->op;
  if ((m->opcode != WSLAY_BINARY_FRAME && m->opcode != WSLAY_TEXT_FRAME) || !m->msg_length) return;
  const uint8_t *p = m->msg + 1;
  size_t n = m->msg_length - 1;
  if (m->msg[0] == CH_STDIN && !s->input_over)
    on_stdin(ex, p, n);
  else if (m->msg[0] == CH_RESIZE)
    on_resize(ex, p, n);
  else if (m->msg[0] == CH_CLOSE && s->v5 && n && p[0] == CH_STDIN && !s->input_over) {
    s->input_over = true;
    push_held(ex);
  }
}

static ssize_t ws_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t room, int flags, void *user) {
  (void)flags;
  session_t *s = ((gw_ex_t *)user)->op;
  if (!s->in_n) {
    wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
    return -1;
  }
  size_t n = s->in_n < room ? s->in_n : room;
  memcpy(buf, s->in, n);
  s->in += n;
  s->in_n -= n;
  return (ssize_t)n;
}

static ssize_t ws_send(wslay_event_context_ptr ctx, const uint8_t *p, size_t n, int flags, void *user) {
  (void)ctx, (void)flags;
  gw_raw(user, p, n);
  return (ssize_t)n;
}

static const struct wslay_event_callbacks callbacks = {
    .recv_callback = ws_recv, .send_callback = ws_send, .on_msg_recv_callback = on_message};

static void on_bytes(gw_ex_t *ex, const char *p, size_t n) {
  session_t *s = ex->op;
  s->in = p;
  s->in_n = n;
  s->feeding = true;
  int r = wslay_event_recv(s->ws);
  if (!r) r = wslay_event_send(s->ws); /* pongs and close */
  s->feeding = false;
  if (r || s->over || wslay_event_get_close_received(s->ws)) gw_raw_end(ex);
}

/* --- opening
 * ------------------------------------------------------------------------------------------------------------------ */

static kg_doc_t *exec_args(gw_ex_t *ex, const char *container) {
  static const char *const flags[] = {"tty", "stdin", "stdout", "stderr"};
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "ns", ex->route.ns);
  kg_pack_kv_str(&p, "pod", ex->route.name);
  kg_pack_kv_str(&p, "container", container);
  for (size_t i = 0; i < 4; i++) kg_pack_kv_bool(&p, flags[i], gw_query_bool(ex, flags[i]));
  kg_pack_key(&p, "command");
  kg_pack_array(&p);
  size_t at = 0;
  for (char *word; (word = gw_query(ex, "command", &at)); free(word)) kg_pack_str(&p, word);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static bool offers(const char *list, const char *name) {
  size_t n = strlen(name);
  for (const char *s = list; s && *s; s += strcspn(s, ","), s += *s == ',') {
    s += strspn(s, " \t");
    size_t len = strcspn(s, ", \t");
    if (len == n && !memcmp(s, name, n)) return true;
  }
  return false;
}

static void switch_protocols(gw_ex_t *ex, const char *protocol) {
  char text[256], accept[64];
  unsigned char sum[SHA_DIGEST_LENGTH];
  snprintf(text, sizeof text, "%.100s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", gw_header(ex, "sec-websocket-key"));
  SHA1((unsigned char *)text, strlen(text), sum);
  EVP_EncodeBlock((unsigned char *)accept, sum, sizeof sum);
  gw_add_header(ex, "upgrade", "websocket");
  gw_add_header(ex, "connection", "Upgrade");
  gw_add_header(ex, "sec-websocket-accept", accept);
  gw_add_header(ex, "sec-websocket-protocol", protocol);
  gw_upgrade(ex);
}

static void on_pod(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  gw_ex_t *ex = arg;
  session_t *s = ex->op;
  char *container, *node;
  ex->call = 0;
  if (kg_msg_type(m) != KG_MSG_REPLY) {
    gw_status_of(ex, m);
    return;
  }
  if (gw_pod_place(ex, m, &container, &node)) return;
  kg_doc_t *args = exec_args(ex, container);
  kg_request_t r = {.service = node ? node : "node",
                    .topic = s->attach ? "node.attach" : "node.exec",
                    .args = args,
                    .stream = true,
                    .credit = 64,
                    .manual_credit = true,
                    .timeout_ms = -1,
                    .fn = on_output,
                    .arg = ex};
  switch_protocols(ex, s->v5 ? "v5.channel.k8s.io" : "v4.channel.k8s.io");
  ex->call = kg_send(ctx, &r);
  ex->on_data = on_bytes;
  ex->on_drain = session_drain;
  kg_doc_unref(args);
  free(container);
  free(node);
}

void gw_exec(gw_ex_t *ex, bool attach) {
  const char *up = gw_header(ex, "upgrade"), *list = gw_header(ex, "sec-websocket-protocol");
  bool v5 = offers(list, "v5.channel.k8s.io"), v4 = offers(list, "v4.channel.k8s.io");
  bool websocket =
      ex->upgrade && !ex->stream && up && !strcasecmp(up, "websocket") && gw_header(ex, "sec-websocket-key");
  size_t at = 0;
  char *command = attach ? strdup("") : gw_query(ex, "command", &at);
  if (!websocket) {
    gw_status(ex, 400, "BadRequest", NULL, "Upgrade request required");
  } else if (!v4 && !v5) {
    gw_status(ex, 400, "BadRequest", NULL,
              "none of the WebSocket protocols offered is spoken here: v5.channel.k8s.io, v4.channel.k8s.io");
  } else if (!command) {
    gw_status(ex, 400, "BadRequest", NULL, "you must specify at least 1 command for the container");
  } else {
    session_t *s = calloc(1, sizeof *s);
    if (!s || wslay_event_context_server_init(&s->ws, &callbacks, ex)) {
      free(s);
      gw_status(ex, 503, "ServiceUnavailable", NULL, "out of memory");
    } else {
      wslay_event_config_set_max_recv_msg_length(s->ws, MAX_MESSAGE);
      s->attach = attach;
      s->v5 = v5;
      ex->op = s;
      ex->on_gone = session_gone;
      gw_pod_get(ex, on_pod);
    }
  }
  free(command);
}
