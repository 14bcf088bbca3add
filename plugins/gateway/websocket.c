/* WebSocket (RFC 6455) on an upgraded exchange; wslay does the frames. */
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <strings.h>
#include <wslay/wslay.h>

#include "duplex.h"
#include "kube/values.h"

enum { MAX_MESSAGE = 1 << 20 };

struct gw_ws {
  gw_ex_t *ex;
  wslay_event_context_ptr ws;
  gw_ws_fn on_message;
  void *arg;
  const char *in; /* bytes being fed */
  size_t in_n;
  bool closing;
};

bool gw_ws_asked(const gw_ex_t *ex) {
  const char *up = gw_header(ex, "upgrade");
  return ex->upgrade && !ex->stream && up && !strcasecmp(up, "websocket") && gw_header(ex, "sec-websocket-key");
}

bool gw_ws_offers(const gw_ex_t *ex, const char *name) {
  size_t n = strlen(name);
  for (const char *s = gw_header(ex, "sec-websocket-protocol"); s && *s; s += strcspn(s, ","), s += *s == ',') {
    s += strspn(s, " \t");
    size_t len = strcspn(s, ", \t");
    if (len == n && !memcmp(s, name, n)) return true;
  }
  return false;
}

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t room, int flags, void *user) {
  (void)flags;
  gw_ws_t *w = user;
  if (!w->in_n) {
    wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
    return -1;
  }
  size_t n = w->in_n < room ? w->in_n : room;
  memcpy(buf, w->in, n);
  w->in += n;
  w->in_n -= n;
  return (ssize_t)n;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *p, size_t n, int flags, void *user) {
  (void)ctx, (void)flags;
  gw_raw(((gw_ws_t *)user)->ex, p, n);
  return (ssize_t)n;
}

static void on_frame(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m, void *user) {
  (void)ctx;
  gw_ws_t *w = user;
  if (m->opcode == WSLAY_BINARY_FRAME || m->opcode == WSLAY_TEXT_FRAME)
    w->on_message(w->ex, m->msg, m->msg_length, w->arg);
}

static const struct wslay_event_callbacks callbacks = {
    .recv_callback = on_recv, .send_callback = on_send, .on_msg_recv_callback = on_frame};

gw_ws_t *gw_ws_new(gw_ex_t *ex, gw_ws_fn on_message, void *arg) {
  gw_ws_t *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  *w = (gw_ws_t){.ex = ex, .on_message = on_message, .arg = arg};
  if (wslay_event_context_server_init(&w->ws, &callbacks, w)) {
    free(w);
    return NULL;
  }
  wslay_event_config_set_max_recv_msg_length(w->ws, MAX_MESSAGE);
  return w;
}

void gw_ws_free(gw_ws_t *w) {
  if (!w) return;
  wslay_event_context_free(w->ws);
  free(w);
}

void gw_ws_accept(gw_ex_t *ex, const char *protocol) {
  char text[256], accept[KUBE_BASE64_SIZE(SHA_DIGEST_LENGTH)];
  unsigned char sum[SHA_DIGEST_LENGTH];
  snprintf(text, sizeof text, "%.100s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", gw_header(ex, "sec-websocket-key"));
  SHA1((unsigned char *)text, strlen(text), sum);
  kube_base64(accept, sum, sizeof sum);
  gw_add_header(ex, "upgrade", "websocket");
  gw_add_header(ex, "connection", "Upgrade");
  gw_add_header(ex, "sec-websocket-accept", accept);
  if (protocol) gw_add_header(ex, "sec-websocket-protocol", protocol);
  gw_upgrade(ex);
}

static void send_message(gw_ws_t *w, uint8_t opcode, const uint8_t *p, size_t n) {
  struct wslay_event_msg msg = {.opcode = opcode, .msg = p, .msg_length = n};
  wslay_event_queue_msg(w->ws, &msg);
  wslay_event_send(w->ws);
}

void gw_ws_send(gw_ws_t *w, const uint8_t *p, size_t n) {
  send_message(w, WSLAY_BINARY_FRAME, p, n);
}

void gw_ws_send_text(gw_ws_t *w, const char *p, size_t n) {
  send_message(w, WSLAY_TEXT_FRAME, (const uint8_t *)p, n);
}

void gw_ws_close(gw_ws_t *w) {
  if (w->closing) return;
  w->closing = true;
  wslay_event_queue_close(w->ws, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0);
  wslay_event_send(w->ws);
}

bool gw_ws_feed(gw_ws_t *w, const char *p, size_t n) {
  w->in = p;
  w->in_n = n;
  int r = wslay_event_recv(w->ws);
  if (!r) r = wslay_event_send(w->ws); /* pongs and close */
  return !r && !wslay_event_get_close_received(w->ws);
}
