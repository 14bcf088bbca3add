/*
 * pods/exec and pods/attach, over WebSocket (v5.channel.k8s.io, v4.channel.k8s.io: the first byte of a message is the
 * channel; v5: 255 closes the channel the next byte names; with base64 in the name messages are text: the channel's
 * digit, then base64) or over SPDY/3.1 (a stream for each channel, named by its header streamtype). Before v4 the
 * outcome is words, and none when all went well. Channels: 0 stdin, 1 stdout, 2 stderr, 3 the outcome as a Status, 4
 * terminal size.
 */
#include <openssl/evp.h>
#include <strings.h>

#include "duplex.h"
#include "pod.h"

enum { CH_STDIN = 0, CH_STDOUT, CH_STDERR, CH_ERROR, CH_RESIZE, CHANNELS, CH_CLOSE = 255 };

typedef struct session {
  gw_ex_t *ex;
  gw_line_t line; /* WebSocket or SPDY */
  const char *protocol;
  uint32_t stream[CHANNELS]; /* SPDY: their ids, 0: not opened */
  gw_duplex_t *call;
  char *container, *node;
  bool attach, begun, reported, feeding, over;
  kube_buf_t resizes; /* SPDY: sizes are JSON values one after the other */
} session_t;

static void session_gone(gw_ex_t *ex) {
  session_t *s = ex->op;
  gw_duplex_free(s->call);
  gw_line_free(&s->line);
  kube_buf_free(&s->resizes);
  free(s->container);
  free(s->node);
  free(s);
  ex->op = NULL;
}

/* --- out --------------------------------------------------------------------------------------------------------- */

static void send_base64(session_t *s, uint8_t channel, const char *p, size_t n) {
  kube_buf_t m = {0};
  kube_buf_fmt(&m, "%d", channel);
  kube_buf_base64(&m, p, n);
  if (!m.failed) gw_ws_send_text(s->line.ws, m.p, m.n);
  kube_buf_free(&m);
}

static void send_channel(session_t *s, uint8_t channel, const char *p, size_t n) {
  if (s->line.spdy) {
    if (s->stream[channel]) gw_spdy_send(s->line.spdy, s->stream[channel], p, n, false);
    return;
  }
  if (strstr(s->protocol, "base64")) {
    send_base64(s, channel, p, n);
    return;
  }
  uint8_t *m = malloc(n + 1);
  if (!m) return;
  m[0] = channel;
  if (n) memcpy(m + 1, p, n);
  gw_ws_send(s->line.ws, m, n + 1);
  free(m);
}

static bool speaks_words(const session_t *s) {
  return s->line.ws && s->protocol[0] != 'v';
}

static void report(session_t *s, const kube_buf_t *status) {
  if (s->reported || status->failed) return;
  s->reported = true;
  send_channel(s, CH_ERROR, status->p, status->n);
}

static void report_exit(session_t *s, int64_t code) {
  kube_buf_t b = {0};
  if (speaks_words(s)) {
    if (code) kube_buf_fmt(&b, "command terminated with non-zero exit code: exit status %lld", (long long)code);
  } else if (!code)
    kube_buf_addz(&b, "{\"metadata\":{},\"status\":\"Success\"}");
  else
    kube_buf_fmt(
        &b,
        "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: exit "
        "status %lld\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\","
        "\"message\":\"%lld\"}]}}",
        (long long)code, (long long)code);
  if (b.n) report(s, &b);
  kube_buf_free(&b);
}

/* Why there is no outcome, as a kubelet behind an API server says it. */
static void report_error(session_t *s, const char *text) {
  kube_buf_t b = {0};
  char words[1024];
  snprintf(words, sizeof words, "%s%s%s", s->line.ws || s->begun ? "Internal error occurred: " : "",
           !s->begun   ? "unable to upgrade connection: "
           : s->attach ? "error attaching to container: "
                       : "error executing command in container: ",
           text);
  kg_str_mend(words);
  if (speaks_words(s))
    kube_buf_addz(&b, words);
  else
    gw_status_json(&b, 500, "InternalError", NULL, words);
  report(s, &b);
  kube_buf_free(&b);
}

static void session_end(session_t *s) {
  for (int i = CH_STDOUT; s->line.spdy && i <= CH_ERROR; i++)
    if (s->stream[i]) gw_spdy_send(s->line.spdy, s->stream[i], NULL, 0, true);
  if (s->line.spdy)
    gw_spdy_goaway(s->line.spdy);
  else
    gw_ws_close(s->line.ws);
  s->over = true;
  if (!s->feeding) gw_raw_end(s->ex); /* else when the feeding returns */
}

static void session_drain(gw_ex_t *ex) {
  session_t *s = ex->op;
  if (s->call) gw_duplex_drain(s->call);
}

static void on_item(gw_duplex_t *d, kg_view_t args) {
  session_t *s = d->arg;
  s->begun = true;
  kg_view_t exit = kg_view_get(args, "exit");
  kg_str_t data = kg_view_bin(kg_view_get(args, "data"));
  int64_t fd = kg_view_int(kg_view_get(args, "fd"), 0);
  if (data.n && (fd == 1 || fd == 2)) send_channel(s, (uint8_t)fd, data.p, data.n);
  if (kg_view_there(exit)) report_exit(s, kg_view_int(exit, 0));
  gw_duplex_drain(d);
}

static void on_end(gw_duplex_t *d, const char *error, int code) {
  (void)code;
  session_t *s = d->arg;
  if (error)
    report_error(s, error);
  else
    report_exit(s, 0);
  session_end(s);
}

/* --- in ---------------------------------------------------------------------------------------------------------- */

static void on_stdin(session_t *s, const uint8_t *data, size_t n) {
  if (!n || !s->call) return;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "fd", 0);
  kg_pack_key(&p, "data");
  kg_pack_bin(&p, data, n);
  kg_pack_end(&p);
  gw_duplex_send(s->call, &p, n);
}

static void on_resize(session_t *s, const uint8_t *data, size_t n) {
  kg_doc_t *size = s->call ? kube_json_parse((const char *)data, n, NULL, NULL, NULL) : NULL;
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
  gw_duplex_send(s->call, &p, 0);
}

static void on_channel(session_t *s, const uint8_t *m, size_t n) {
  if (m[0] == CH_STDIN)
    on_stdin(s, m + 1, n - 1);
  else if (m[0] == CH_RESIZE)
    on_resize(s, m + 1, n - 1);
  else if (m[0] == CH_CLOSE && !strcmp(s->protocol, "v5.channel.k8s.io") && n > 1 && m[1] == CH_STDIN && s->call)
    gw_duplex_end(s->call);
}

static void on_message(gw_ex_t *ex, const uint8_t *m, size_t n, void *arg) {
  (void)ex;
  session_t *s = arg;
  if (!n) return;
  if (!strstr(s->protocol, "base64")) {
    on_channel(s, m, n);
    return;
  }
  size_t len = n - 1, pad = 0;
  while (pad < 2 && pad < len && m[n - 1 - pad] == '=') pad++;
  uint8_t *raw = malloc(1 + len);
  int got = raw && len % 4 == 0 ? EVP_DecodeBlock(raw + 1, m + 1, (int)len) : -1;
  if (got >= (int)pad) {
    raw[0] = (uint8_t)(m[0] - '0');
    on_channel(s, raw, 1 + (size_t)got - pad);
  }
  free(raw);
}

static void on_bytes(gw_ex_t *ex, const char *p, size_t n) {
  session_t *s = ex->op;
  s->feeding = true;
  bool good = gw_line_feed(&s->line, p, n);
  s->feeding = false;
  if (!good || s->over) gw_raw_end(ex);
}

/* --- the call ---------------------------------------------------------------------------------------------------- */

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

static void start_call(session_t *s) {
  static const gw_duplex_events_t events = {on_item, on_end};
  kg_doc_t *args = exec_args(s->ex, s->container);
  s->call = gw_duplex_open(s->ex, s->node, s->attach ? "node.attach" : "node.exec", args, &events, s);
  kg_doc_unref(args);
  if (s->call) return;
  report_error(s, "out of memory");
  session_end(s);
}

/* --- SPDY: the command starts when the client has opened every stream it asked for -------------------------------- */

static bool all_open(const session_t *s) {
  bool tty = gw_query_bool(s->ex, "tty");
  const bool wanted[CHANNELS] = {gw_query_bool(s->ex, "stdin"), gw_query_bool(s->ex, "stdout"),
                                 gw_query_bool(s->ex, "stderr") && !tty, true,
                                 tty && strcmp(s->protocol, "v2.channel.k8s.io")};
  for (int i = 0; i < CHANNELS; i++)
    if (wanted[i] && !s->stream[i]) return false;
  return true;
}

static void on_opened(gw_spdy_t *spdy, uint32_t id, void *arg) {
  static const char *const types[CHANNELS] = {"stdin", "stdout", "stderr", "error", "resize"};
  session_t *s = arg;
  const char *type = gw_spdy_header(spdy, "streamtype");
  for (int i = 0; type && i < CHANNELS; i++)
    if (!strcasecmp(type, types[i])) s->stream[i] = id;
  if (!s->call && !s->over && all_open(s)) start_call(s);
}

static void take_resizes(session_t *s, const uint8_t *p, size_t n) {
  if (s->resizes.n + n > 4096) return;
  kube_buf_add(&s->resizes, p, n);
  for (char *end; s->resizes.n && (end = memchr(s->resizes.p, '}', s->resizes.n));) {
    size_t used = (size_t)(end - s->resizes.p) + 1;
    on_resize(s, (const uint8_t *)s->resizes.p, used);
    while (used < s->resizes.n && s->resizes.p[used] == '\n') used++;
    memmove(s->resizes.p, s->resizes.p + used, s->resizes.n - used);
    s->resizes.n -= used;
  }
}

static void on_spdy_data(gw_spdy_t *spdy, uint32_t id, const uint8_t *p, size_t n, void *arg) {
  (void)spdy;
  session_t *s = arg;
  if (id == s->stream[CH_STDIN])
    on_stdin(s, p, n);
  else if (id == s->stream[CH_RESIZE])
    take_resizes(s, p, n);
}

static void on_spdy_closed(gw_spdy_t *spdy, uint32_t id, void *arg) {
  (void)spdy;
  session_t *s = arg;
  if (id == s->stream[CH_STDIN] && s->call) gw_duplex_end(s->call);
}

static void on_spdy_out(const void *p, size_t n, void *arg) {
  gw_raw(((session_t *)arg)->ex, p, n);
}

static const gw_spdy_events_t spdy_events = {on_opened, on_spdy_data, on_spdy_closed, on_spdy_out};

/* --- opening ----------------------------------------------------------------------------------------------------- */

static void on_pod(gw_ex_t *ex, kg_view_t pod) {
  session_t *s = ex->op;
  s->container = gw_pod_container(ex, pod);
  s->node = s->container ? gw_pod_node(ex, pod) : NULL;
  if (!s->node) return;
  ex->on_data = on_bytes;
  ex->on_drain = session_drain;
  ex->patient = true;
  gw_line_accept(&s->line, ex, *s->protocol ? s->protocol : NULL);
  if (s->line.spdy) return;
  s->feeding = true;
  start_call(s);
  s->feeding = false;
  if (s->over) gw_raw_end(ex);
}

/* Newest first; a client that names none speaks the oldest. */
static const char *over_websocket(const gw_ex_t *ex) {
  static const char *const ours[] = {"v5.channel.k8s.io", "v4.channel.k8s.io",     "v4.base64.channel.k8s.io",
                                     "channel.k8s.io",    "base64.channel.k8s.io", NULL};
  for (int i = 0; ours[i]; i++)
    if (gw_ws_offers(ex, ours[i])) return ours[i];
  return gw_header(ex, "sec-websocket-protocol") ? NULL : "";
}

/* The newest protocol that both speak; NULL: it was refused. */
static const char *agree(gw_ex_t *ex, bool *spdy) {
  static const char *const over_spdy[] = {"v5.channel.k8s.io", "v4.channel.k8s.io", NULL};
  const char *protocol = NULL;
  *spdy = gw_spdy_asked(ex, over_spdy, &protocol);
  if (!*spdy && gw_line_refuse(ex)) return NULL;
  if (!*spdy) protocol = over_websocket(ex);
  if (!protocol)
    gw_status(ex, *spdy ? 403 : 400, *spdy ? "Forbidden" : "BadRequest", NULL,
              *spdy ? "none of the protocols offered is spoken here: v5.channel.k8s.io, v4.channel.k8s.io"
                    : "none of the protocols offered is spoken here: v5.channel.k8s.io, v4.channel.k8s.io, "
                      "v4.base64.channel.k8s.io, channel.k8s.io, base64.channel.k8s.io");
  return protocol;
}

void gw_exec(gw_ex_t *ex, bool attach) {
  bool spdy;
  const char *protocol = agree(ex, &spdy);
  size_t at = 0;
  if (!protocol) return;
  char *command = attach ? strdup("") : gw_query(ex, "command", &at);
  if (!command) {
    gw_status(ex, 400, "BadRequest", NULL, "you must specify at least 1 command for the container");
    return;
  }
  free(command);
  session_t *s = calloc(1, sizeof *s);
  if (s) *s = (session_t){.ex = ex, .attach = attach, .protocol = protocol};
  if (!s || !gw_line_open(&s->line, ex, spdy ? NULL : on_message, spdy ? &spdy_events : NULL, s)) {
    free(s);
    gw_status(ex, 503, "ServiceUnavailable", NULL, "out of memory");
    return;
  }
  ex->op = s;
  ex->on_gone = session_gone;
  gw_pod_get(ex, on_pod);
}
