/* HTTP/2 on libnghttp2: streams become exchanges, answers become frames as far as the socket takes them. */
#include <nghttp2/nghttp2.h>

#include "gateway.h"

enum { MAX_STREAMS = 1000, WINDOW = 1 << 20, IDLE_MS = 180000 };
enum { CALM_BURST = 1000, CALM_PER_S = 100 }; /* frames that ask for nothing: PING, SETTINGS, empty DATA, ... */

static gw_ex_t *exchange_of(nghttp2_session *s, int32_t id) {
  return nghttp2_session_get_stream_user_data(s, id);
}

static int on_begin(nghttp2_session *s, const nghttp2_frame *f, void *user) {
  gw_conn_t *c = user;
  if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  gw_ex_t *ex = gw_ex_new(c, f->hd.stream_id);
  if (!ex) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  ex->keep_alive = true;
  nghttp2_session_set_stream_user_data(s, f->hd.stream_id, ex);
  c->reading = ex; /* the only one: no frame of another stream comes between a head's */
  gw_conn_deadline(c, c->gw->request_ms);
  return 0;
}

/* Method names live as long as the program. */
static const char *method_name(const uint8_t *p, size_t n) {
  static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strlen(names[i]) == n && !memcmp(names[i], p, n)) return names[i];
  return "UNKNOWN";
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t nn, const uint8_t *value,
                     size_t vn, uint8_t flags, void *user) {
  (void)flags, (void)user;
  gw_ex_t *ex = exchange_of(s, f->hd.stream_id);
  if (!ex || ex->state != GW_READING || ex->refused || f->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  if (nn == 7 && !memcmp(name, ":method", 7)) {
    ex->method = method_name(value, vn);
    ex->is_head = !strcmp(ex->method, "HEAD");
  } else if (nn == 10 && !memcmp(name, ":authority", 10)) {
    free(ex->authority);
    ex->authority = strndup((const char *)value, vn);
  } else if (nn == 5 && !memcmp(name, ":path", 5)) {
    kube_buf_add(&ex->head, value, vn);
    kube_buf_add(&ex->head, "", 1);
    ex->headers = ex->head.n;
  } else if (name[0] != ':' && ex->headers) {
    kube_buf_add(&ex->head, name, nn);
    kube_buf_add(&ex->head, "", 1);
    kube_buf_add(&ex->head, value, vn);
    kube_buf_add(&ex->head, "", 1);
  }
  if (ex->head.failed) ex->refused = 503;
  if (ex->head.n > GW_MAX_HEAD) ex->refused = 431;
  return 0;
}

static void refuse(gw_ex_t *ex, int code) {
  ex->state = GW_WORKING;
  gw_refuse(ex, code);
}

static int on_chunk(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user) {
  (void)flags, (void)user;
  gw_ex_t *ex = exchange_of(s, id);
  if (!ex || ex->state != GW_READING) return 0;
  int code = gw_body_add(ex, p, n);
  if (code) refuse(ex, code);
  return 0;
}

static void on_late(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  ex->timer = 0;
  refuse(ex, 408);
}

/* The head is complete; a body that follows has its own time, whatever other streams do. */
static void headed(gw_ex_t *ex, bool body) {
  gw_conn_t *c = ex->conn;
  c->reading = NULL;
  gw_conn_deadline(c, 0);
  int code = ex->refused ? ex->refused : !ex->method || !ex->headers ? 400 : body ? gw_admit(ex) : 0;
  if (code)
    refuse(ex, code);
  else if (body)
    ex->timer = kg_timer(c->gw->ctx, c->gw->request_ms, 0, on_late, ex);
}

static bool asks_nothing(const nghttp2_frame *f) {
  switch (f->hd.type) {
  case NGHTTP2_DATA:
    return !f->hd.length && !(f->hd.flags & NGHTTP2_FLAG_END_STREAM);
  case NGHTTP2_PING:
  case NGHTTP2_SETTINGS:
  case NGHTTP2_PRIORITY:
    return true;
  }
  return false;
}

/* Such frames are cheap to send and cost an answer or a look: a client that sends nothing else is let go. */
static void calm(gw_conn_t *c) {
  int64_t now = kg_now_ms(c->gw->ctx), more = (now - c->calm_ms) * CALM_PER_S / 1000;
  if (more > 0) {
    c->calm = more > CALM_BURST - c->calm ? CALM_BURST : c->calm + (int)more;
    c->calm_ms = now;
  }
  if (c->calm-- > 0) return;
  c->calm = 0;
  c->gw->refused++;
  nghttp2_session_terminate_session(c->h2, NGHTTP2_ENHANCE_YOUR_CALM);
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *user) {
  if (asks_nothing(f)) calm(user);
  if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA) return 0;
  bool end = f->hd.flags & NGHTTP2_FLAG_END_STREAM;
  gw_ex_t *ex = exchange_of(s, f->hd.stream_id);
  if (!ex || ex->state != GW_READING) return 0;
  if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST) headed(ex, !end);
  if (!end || ex->state != GW_READING) return 0;
  ex->state = GW_WORKING;
  kg_timer_cancel(ex->conn->gw->ctx, ex->timer);
  ex->timer = 0;
  gw_request(ex);
  return 0;
}

/* Answered before the request was at its end: the rest of it is not wanted. */
static int on_sent(nghttp2_session *s, const nghttp2_frame *f, void *user) {
  (void)user;
  bool answer = f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA;
  if (answer && (f->hd.flags & NGHTTP2_FLAG_END_STREAM) && !nghttp2_session_get_stream_remote_close(s, f->hd.stream_id))
    nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, f->hd.stream_id, NGHTTP2_NO_ERROR);
  return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *user) {
  (void)code;
  gw_conn_t *c = user;
  gw_ex_t *ex = exchange_of(s, id);
  if (ex) gw_ex_free(ex);
  if (!c->exchanges) gw_conn_deadline(c, IDLE_MS);
  return 0;
}

int gw_http2_open(gw_conn_t *c) {
  nghttp2_session_callbacks *cb = NULL;
  nghttp2_session *s = NULL;
  if (nghttp2_session_callbacks_new(&cb)) return -1;
  nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin);
  nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
  nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
  nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
  nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
  int r = nghttp2_session_server_new(&s, cb, c);
  nghttp2_session_callbacks_del(cb);
  if (r) return -1;
  c->h2 = s;
  c->calm = CALM_BURST;
  c->calm_ms = kg_now_ms(c->gw->ctx);
  nghttp2_settings_entry set[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_STREAMS},
                                  {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
                                  {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, GW_MAX_HEAD}};
  if (nghttp2_submit_settings(s, NGHTTP2_FLAG_NONE, set, sizeof set / sizeof *set)) return -1;
  nghttp2_session_set_local_window_size(s, NGHTTP2_FLAG_NONE, 0, 4 * WINDOW);
  gw_conn_dirty(c);
  return 0;
}

void gw_http2_close(gw_conn_t *c) {
  nghttp2_session_del(c->h2);
  c->h2 = NULL;
}

void gw_http2_forget(gw_ex_t *ex) {
  if (ex->conn->h2) nghttp2_session_set_stream_user_data(ex->conn->h2, ex->stream, NULL);
}

void gw_http2_feed(gw_conn_t *c, const char *p, size_t n) {
  if (c->close_after) return;
  ssize_t took = nghttp2_session_mem_recv(c->h2, (const uint8_t *)p, n);
  if (took < 0) {
    bool flood = took == NGHTTP2_ERR_FLOODED || took == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
    c->gw->bad_requests++;
    if (nghttp2_session_terminate_session(c->h2, flood ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR))
      gw_conn_break(c);
    c->close_after = true;
  }
  gw_conn_dirty(c);
}

void gw_http2_pump(gw_conn_t *c) {
  while (c->out.bytes < GW_BACKLOG_LOW) {
    const uint8_t *p = NULL;
    ssize_t n = nghttp2_session_mem_send(c->h2, &p);
    if (n < 0) gw_conn_break(c);
    if (n <= 0) break;
    gw_blob_t *b = gw_blob_copy(p, (size_t)n);
    if (gw_queue_add(&c->out, b)) gw_conn_break(c);
    gw_blob_unref(b);
  }
  if (!nghttp2_session_want_read(c->h2) && !nghttp2_session_want_write(c->h2)) c->close_after = true;
}

static ssize_t read_body(nghttp2_session *s, int32_t id, uint8_t *buf, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user) {
  (void)source, (void)user;
  gw_ex_t *ex = exchange_of(s, id);
  if (!ex) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  size_t n = gw_queue_copy(&ex->out, (char *)buf, room);
  gw_queue_drop(&ex->out, n);
  if (!ex->out.bytes && ex->out_end)
    *flags |= NGHTTP2_DATA_FLAG_EOF;
  else if (!n) {
    ex->deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  return (ssize_t)n;
}

void gw_http2_resume(gw_ex_t *ex) {
  if (!ex->deferred) return;
  ex->deferred = false;
  nghttp2_session_resume_data(ex->conn->h2, ex->stream);
}

enum { MAX_NV = 96 };

static void put(nghttp2_nv *nv, size_t *n, const char *name, const char *value) {
  if (*n == MAX_NV) return;
  nv[(*n)++] = (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

void gw_http2_head(gw_ex_t *ex, int code, const char *type, ssize_t length, bool has_body) {
  nghttp2_nv nv[MAX_NV];
  size_t n = 0;
  char status[16], size[24];
  snprintf(status, sizeof status, "%d", code);
  snprintf(size, sizeof size, "%zd", length);
  put(nv, &n, ":status", status);
  if (type) put(nv, &n, "content-type", type);
  put(nv, &n, "date", gw_date(ex->conn->gw));
  if (length >= 0 && code != 304) put(nv, &n, "content-length", size);
  for (const char *s = ex->extra.p; s && s < ex->extra.p + ex->extra.n;) {
    const char *value = s + strlen(s) + 1;
    put(nv, &n, s, value);
    s = value + strlen(value) + 1;
  }
  nghttp2_data_provider body = {.read_callback = read_body};
  if (nghttp2_submit_response(ex->conn->h2, ex->stream, nv, n, has_body && !ex->is_head ? &body : NULL))
    gw_conn_break(ex->conn);
}

void gw_http2_reset(gw_ex_t *ex) {
  nghttp2_submit_rst_stream(ex->conn->h2, NGHTTP2_FLAG_NONE, ex->stream, NGHTTP2_INTERNAL_ERROR);
  gw_conn_dirty(ex->conn);
}

void gw_http2_drain(gw_conn_t *c) {
  nghttp2_submit_goaway(c->h2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(c->h2), NGHTTP2_NO_ERROR,
                        NULL, 0);
  gw_conn_dirty(c);
}
