/* gRPC calls: one HTTP/2 stream each, messages with a length before them, a status at the end. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "etcd.h"

enum { WINDOW = 1 << 20, DUE_STEP_MS = 500, GRPC_UNKNOWN = 2 };

static void list_add(etcd_list_t *l, etcd_call_t *c) {
  c->next = NULL;
  c->prev = l->last;
  *(l->last ? &l->last->next : &l->first) = c;
  l->last = c;
}

static void list_take(etcd_list_t *l, etcd_call_t *c) {
  *(c->prev ? &c->prev->next : &l->first) = c->next;
  *(c->next ? &c->next->prev : &l->last) = c->prev;
  c->next = c->prev = NULL;
}

static etcd_list_t *list_of(etcd_call_t *c) {
  return c->id ? &c->etcd->running : &c->etcd->waiting;
}

etcd_call_t *etcd_call_new(etcd_t *e, const char *path, void *arg) {
  etcd_call_t *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  c->etcd = e;
  c->path = path;
  c->arg = arg;
  c->http = c->status = -1;
  return c;
}

/* While a callback runs, what it was given stays. */
static void call_free(etcd_call_t *c) {
  c->gone = true;
  if (c->busy) return;
  kube_buf_free(&c->out);
  kube_buf_free(&c->in);
  free(c);
}

size_t etcd_message(etcd_call_t *c) {
  kube_buf_add(&c->out, "\0\0\0\0\0", 5);
  return c->out.n;
}

void etcd_message_end(etcd_call_t *c, size_t mark) {
  if (c->out.failed) return;
  size_t n = c->out.n - mark;
  unsigned char *at = (unsigned char *)c->out.p + mark - 4;
  at[0] = (unsigned char)(n >> 24), at[1] = (unsigned char)(n >> 16);
  at[2] = (unsigned char)(n >> 8), at[3] = (unsigned char)n;
}

/* --- ends ----------------------------------------------------------------------------------------------------------
 */

static void forget_stream(etcd_call_t *c) {
  if (c->id && c->etcd->session) nghttp2_session_set_stream_user_data(c->etcd->session, c->id, NULL);
}

static void reset_stream(etcd_call_t *c) {
  if (!c->id || !c->etcd->session) return;
  forget_stream(c);
  nghttp2_submit_rst_stream(c->etcd->session, NGHTTP2_FLAG_NONE, c->id, NGHTTP2_CANCEL);
}

void etcd_call_drop(etcd_call_t *c) {
  reset_stream(c);
  list_take(list_of(c), c);
  call_free(c);
}

static void finish(etcd_call_t *c, const kg_error_t *err, wire_span_t answer) {
  forget_stream(c);
  list_take(list_of(c), c);
  c->busy = true;
  c->end(c, err, answer);
  c->busy = false;
  call_free(c);
}

static void fail(etcd_call_t *c, int code, const char *fmt, ...) KG_PRINTF(3, 4);
static void fail(etcd_call_t *c, int code, const char *fmt, ...) {
  char text[400];
  kg_error_t err = {0};
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  kg_error_set(&err, code, "store-etcd: %s", text);
  finish(c, &err, (wire_span_t){0});
}

/* --- what comes in ------------------------------------------------------------------------------------------------ */

/* The first message in c->in from `at`. 1: there is one; 0: not yet; -1: not gRPC. */
static int next_message(const etcd_call_t *c, size_t at, wire_span_t *m) {
  const uint8_t *p = (const uint8_t *)c->in.p + at;
  if (c->in.n - at < 5) return 0;
  size_t n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
  if (p[0] || n > ETCD_MESSAGE_MAX) return -1;
  if (c->in.n - at - 5 < n) return 0;
  *m = (wire_span_t){p + 5, p + 5 + n};
  return 1;
}

static void take_messages(etcd_call_t *c) {
  size_t at = 0;
  wire_span_t m;
  c->busy = true;
  while (!c->gone && !c->held && next_message(c, at, &m) == 1) {
    c->held = !c->message(c, m);
    if (!c->held) at += 5 + (size_t)(m.end - m.p);
  }
  c->busy = false;
  if (c->gone) return call_free(c);
  memmove(c->in.p, c->in.p + at, c->in.n - at);
  c->in.n -= at;
  if (c->held || !c->etcd->session) return;
  nghttp2_session_consume_stream(c->etcd->session, c->id, c->unread);
  c->unread = 0;
}

void etcd_call_resume(etcd_call_t *c) {
  if (!c->held || c->busy) return;
  etcd_t *e = c->etcd;
  c->held = false;
  if (c->in.n) take_messages(c);
  etcd_flush(e);
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *user) {
  (void)flags;
  etcd_t *e = user;
  etcd_call_t *c = nghttp2_session_get_stream_user_data(s, id);
  nghttp2_session_consume_connection(s, n);
  if (!c) return 0;
  c->unread += n;
  kube_buf_add(&c->in, data, n);
  wire_span_t ignored;
  if (c->in.failed || (!c->held && next_message(c, 0, &ignored) < 0)) {
    etcd_conn_lost(e, "what it sends is no gRPC message of an allowed size");
  } else if (c->stream && !c->held) {
    take_messages(c);
  } else if (!c->stream) {
    nghttp2_session_consume_stream(s, id, c->unread);
    c->unread = 0;
  }
  return 0;
}

static int hex(int ch) {
  return ch >= '0' && ch <= '9'   ? ch - '0'
         : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
         : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
                                  : -1;
}

/* gRPC writes its message with %XX for what a header cannot hold. */
static void take_text(etcd_call_t *c, const char *p, size_t n) {
  size_t to = 0;
  for (size_t i = 0; i < n && to + 1 < sizeof c->text; i++) {
    bool coded = p[i] == '%' && i + 2 < n && hex(p[i + 1]) >= 0 && hex(p[i + 2]) >= 0;
    c->text[to++] = coded ? (char)(hex(p[i + 1]) << 4 | hex(p[i + 2])) : p[i];
    if (coded) i += 2;
  }
  c->text[to] = '\0';
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t nname,
                     const uint8_t *value, size_t nvalue, uint8_t flags, void *user) {
  (void)flags, (void)user;
  etcd_call_t *c = nghttp2_session_get_stream_user_data(s, f->hd.stream_id);
  if (!c) return 0;
  kg_str_t key = {(const char *)name, nname};
  char number[16];
  snprintf(number, sizeof number, "%.*s", (int)nvalue, (const char *)value);
  if (kg_str_is(key, ":status")) c->http = atoi(number);
  if (kg_str_is(key, "grpc-status")) c->status = atoi(number);
  if (kg_str_is(key, "grpc-message")) take_text(c, (const char *)value, nvalue);
  return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *user) {
  (void)user;
  etcd_call_t *c = nghttp2_session_get_stream_user_data(s, id);
  wire_span_t answer = {0};
  kg_error_t err = {0};
  if (!c) return 0;
  if (c->status > 0)
    etcd_refusal(&err, c->status, c->text);
  else if (c->status < 0)
    kg_error_set(&err, KG_EUNAVAILABLE, "store-etcd: the call ended without a status (HTTP %d, HTTP/2 error %u)",
                 c->http, code);
  else if (!c->stream && next_message(c, 0, &answer) != 1)
    kg_error_set(&err, KG_EINTERNAL, "store-etcd: %s was answered with no message", c->path);
  finish(c, &err, answer);
  return 0;
}

nghttp2_session *etcd_session_new(etcd_t *e) {
  nghttp2_session_callbacks *cb = NULL;
  nghttp2_option *option = NULL;
  nghttp2_session *s = NULL;
  nghttp2_settings_entry set[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}};
  if (!nghttp2_session_callbacks_new(&cb) && !nghttp2_option_new(&option)) {
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    if (nghttp2_session_client_new2(&s, cb, e, option)) s = NULL;
  }
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(cb);
  if (s && (nghttp2_submit_settings(s, NGHTTP2_FLAG_NONE, set, sizeof set / sizeof *set) ||
            nghttp2_session_set_local_window_size(s, NGHTTP2_FLAG_NONE, 0, 4 * WINDOW))) {
    nghttp2_session_del(s);
    s = NULL;
  }
  return s;
}

/* --- what goes out -------------------------------------------------------------------------------------------------
 */

static ssize_t read_request(nghttp2_session *s, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
                            nghttp2_data_source *source, void *user) {
  (void)s, (void)user;
  etcd_call_t *c = source->ptr;
  if (nghttp2_session_get_stream_user_data(s, id) != c) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* dropped */
  size_t left = c->out.n - c->sent;
  if (n > left) n = left;
  memcpy(buf, c->out.p + c->sent, n);
  c->sent += n;
  if (c->sent < c->out.n) return (ssize_t)n;
  if (c->stream && !n) return NGHTTP2_ERR_DEFERRED;
  if (!c->stream) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return (ssize_t)n;
}

static nghttp2_nv header(const char *name, const char *value) {
  return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static int submit(etcd_call_t *c) {
  etcd_t *e = c->etcd;
  const etcd_endpoint_t *p = &e->endpoints[e->at];
  char authority[300], timeout[32];
  int64_t left = c->due_ms - kg_now_ms(e->ctx);
  snprintf(authority, sizeof authority, strchr(p->host, ':') ? "[%s]:%d" : "%s:%d", p->host, p->port);
  snprintf(timeout, sizeof timeout, "%lldm", (long long)(left > 1 ? left : 1));
  /* A stream asks to be ended when the member loses its leader: it would be silent for ever otherwise. */
  nghttp2_nv nv[] = {header(":method", "POST"),
                     header(":scheme", p->tls ? "https" : "http"),
                     header(":path", c->path),
                     header(":authority", authority),
                     header("content-type", "application/grpc"),
                     header("user-agent", "kogge"),
                     header("te", "trailers"),
                     c->stream ? header("hasleader", "true") : header("grpc-timeout", timeout)};
  nghttp2_data_provider body = {.source = {.ptr = c}, .read_callback = read_request};
  int32_t id = nghttp2_submit_request(e->session, NULL, nv, sizeof nv / sizeof *nv, &body, c);
  if (id <= 0) return -1;
  list_take(&e->waiting, c);
  c->id = id;
  list_add(&e->running, c);
  return 0;
}

/* Calls whose time is over. One that a member had and did not answer speaks against the member. */
static void on_due(kg_ctx_t *ctx, void *self, void *arg);

static void arm_due(etcd_t *e, int64_t delay) {
  if (!e->due_timer) e->due_timer = kg_timer(e->ctx, delay > DUE_STEP_MS ? delay : DUE_STEP_MS, 0, on_due, e);
}

static bool fail_due(etcd_list_t *l, int64_t now, int64_t *next) {
  bool silent = false;
  for (etcd_call_t *c = l->first, *after; c; c = after) {
    after = c->next;
    if (c->stream) continue;
    if (c->due_ms > now) {
      if (!*next || c->due_ms < *next) *next = c->due_ms;
      continue;
    }
    silent |= c->id != 0;
    reset_stream(c);
    if (c->id)
      fail(c, KG_EDEADLINE, "etcd did not answer in time; what was asked for may still happen");
    else
      fail(c, KG_EUNAVAILABLE, "no etcd can be reached: %s", c->etcd->why);
    after = l->first; /* the callback may have changed the list */
  }
  return silent;
}

static void on_due(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self;
  etcd_t *e = arg;
  int64_t now = kg_now_ms(ctx), next = 0;
  e->due_timer = 0;
  fail_due(&e->waiting, now, &next);
  bool silent = fail_due(&e->running, now, &next);
  if (next) arm_due(e, next - now);
  if (silent) etcd_conn_lost(e, "it does not answer");
  etcd_flush(e);
}

int etcd_begin(etcd_call_t *c) {
  etcd_t *e = c->etcd;
  if (c->out.failed || e->closing) {
    call_free(c);
    return -1;
  }
  if (!c->due_ms) c->due_ms = kg_now_ms(e->ctx) + e->timeout_ms;
  list_add(&e->waiting, c);
  if (!c->stream) arm_due(e, c->due_ms - kg_now_ms(e->ctx));
  if (e->state != CONN_UP || (!e->good && !c->early)) return 0;
  if (submit(c) < 0) etcd_conn_lost(e, "HTTP/2 takes no more requests");
  etcd_flush(e);
  return 0;
}

void etcd_calls_go(etcd_t *e) {
  while (e->state == CONN_UP && !e->broken && e->waiting.first)
    if (submit(e->waiting.first) < 0) etcd_conn_lost(e, "HTTP/2 takes no more requests");
  etcd_flush(e);
}

/* Reads go again; of others nobody knows whether they were done. */
void etcd_calls_lost(etcd_t *e, const char *why) {
  etcd_list_t lost = e->running;
  e->running = (etcd_list_t){0};
  for (etcd_call_t *c; (c = lost.first);) {
    list_take(&lost, c);
    c->id = 0;
    list_add(&e->waiting, c);
    c->sent = c->in.n = c->unread = 0;
    c->http = c->status = -1;
    c->held = false;
    if (c->again) continue;
    if (c->stream)
      fail(c, KG_EUNAVAILABLE, "%s", why);
    else
      fail(c, KG_EDEADLINE, "the connection was lost before etcd answered (%s); what was asked for may have happened",
           why);
  }
}

void etcd_calls_end(etcd_t *e) {
  etcd_calls_lost(e, "the store ends");
  while (e->waiting.first) fail(e->waiting.first, KG_EUNAVAILABLE, "the store ends");
}
