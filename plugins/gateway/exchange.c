/* One request and its answer, whatever HTTP carries it. */
#include <ctype.h>
#include <stdarg.h>
#include <strings.h>
#include <time.h>
#include <zlib.h>

#include "gateway.h"

gw_ex_t *gw_ex_new(gw_conn_t *c, int32_t stream) {
  gw_ex_t *ex = calloc(1, sizeof *ex);
  if (!ex) return NULL;
  ex->conn = c;
  ex->stream = stream;
  ex->started_us = kg_now_us(c->gw->ctx);
  ex->next = c->exchanges;
  if (ex->next) ex->next->prev = ex;
  c->exchanges = ex;
  c->gw->nstreams++;
  return ex;
}

/* Ends what works on the exchange: nothing calls back any more. */
static void detach(gw_ex_t *ex) {
  gw_t *gw = ex->conn->gw;
  void (*gone)(gw_ex_t *) = ex->on_gone;
  ex->on_gone = ex->on_drain = NULL;
  ex->on_data = NULL;
  if (ex->call) kg_cancel(gw->ctx, ex->call);
  if (ex->timer) kg_timer_cancel(gw->ctx, ex->timer);
  ex->call = ex->timer = 0;
  if (gone) gone(ex);
}

void gw_ex_free(gw_ex_t *ex) {
  gw_conn_t *c = ex->conn;
  gw_t *gw = c->gw;
  c->patient = ex->patient;
  detach(ex);
  gw_release(ex);
  gw_release_answers(c, ex->answer);
  gw_uncount(ex);
  if (ex->stream) gw_http2_forget(ex);
  if (c->reading == ex) c->reading = NULL;
  if (ex->prev)
    ex->prev->next = ex->next;
  else
    c->exchanges = ex->next;
  if (ex->next) ex->next->prev = ex->prev;
  gw->nstreams--;
  kube_buf_free(&ex->head);
  kube_buf_free(&ex->body);
  kube_buf_free(&ex->extra);
  free(ex->path);
  free(ex->authority);
  free(ex->route_text);
  gw_queue_clear(&ex->out);
  gw_user_unref(ex->user);
  free(ex);
}

/* --- reading the request
 * ----------------------------------------------------------------------------------------------- */

const char *gw_header_at(const gw_ex_t *ex, size_t *at, const char **value) {
  const char *s = ex->head.p, *end = s + ex->head.n;
  if (!s || !ex->headers) return NULL;
  s += *at ? *at : ex->headers;
  *value = s < end ? s + strlen(s) + 1 : end;
  if (*value >= end) return NULL;
  *at = (size_t)(*value + strlen(*value) + 1 - ex->head.p);
  return s;
}

const char *gw_header(const gw_ex_t *ex, const char *name) {
  const char *own, *value;
  for (size_t at = 0; (own = gw_header_at(ex, &at, &value));)
    if (!strcmp(own, name)) return value;
  return ex->authority && !strcmp(name, "host") ? ex->authority : NULL;
}

static int hex(char c) {
  return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10 : -1;
}

ssize_t gw_unescape(char *s, size_t n, bool plus) {
  size_t to = 0;
  for (size_t i = 0; i < n; i++) {
    char c = s[i];
    if (c == '+' && plus) c = ' ';
    if (c == '%') {
      if (n - i < 3) return -1;
      int hi = hex(s[i + 1]), lo = hex(s[i + 2]);
      if (hi < 0 || lo < 0 || !(hi | lo)) return -1;
      c = (char)(hi << 4 | lo);
      i += 2;
    }
    s[to++] = c;
  }
  return (ssize_t)to;
}

char *gw_query(const gw_ex_t *ex, const char *name, size_t *from) {
  size_t at = from ? *from : 0, n = strlen(name), len = strlen(ex->query);
  while (at < len) {
    const char *s = ex->query + at;
    size_t part = strcspn(s, "&");
    at += part + 1;
    size_t key = strcspn(s, "=&");
    if (key != n || memcmp(s, name, n)) continue;
    if (from) *from = at;
    const char *value = key < part ? s + key + 1 : s + part;
    size_t vn = (size_t)(s + part - value);
    char *out = malloc(vn + 1);
    if (!out) return NULL;
    memcpy(out, value, vn);
    ssize_t m = gw_unescape(out, vn, true);
    out[m < 0 ? 0 : m] = 0;
    return out;
  }
  if (from) *from = len;
  return NULL;
}

bool gw_query_bool(const gw_ex_t *ex, const char *name) {
  char *v = gw_query(ex, name, NULL);
  bool yes = v && strcmp(v, "0") && strcasecmp(v, "false");
  free(v);
  return yes;
}

/* --- answering
 * --------------------------------------------------------------------------------------------------------- */

const char *gw_date(gw_t *gw) {
  int64_t now = kg_wall_us(gw->ctx) / 1000000;
  if (now != gw->date_s) {
    time_t t = (time_t)now;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(gw->date, sizeof gw->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    gw->date_s = now;
  }
  return gw->date;
}

void gw_add_header(gw_ex_t *ex, const char *name, const char *value) {
  kube_buf_add(&ex->extra, name, strlen(name) + 1);
  size_t at = ex->extra.n;
  kube_buf_add(&ex->extra, value, strlen(value) + 1);
  if (ex->extra.failed) return;
  for (char *s = ex->extra.p + at; *s; s++) /* nothing foreign may end a header line */
    if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = ' ';
}

static void finish(gw_ex_t *ex) {
  gw_conn_t *c = ex->conn;
  bool http1 = !ex->stream, keep = ex->keep_alive;
  gw_ex_free(ex);
  if (!http1) return;
  if (!keep) {
    c->close_after = true;
    c->no_read = true;
  }
  gw_http1_next(c);
}

bool gw_wants_gzip(const gw_ex_t *ex) {
  const char *accept = gw_header(ex, "accept-encoding");
  return accept && strstr(accept, "gzip") && !strstr(accept, "gzip;q=0");
}

static bool gzip(kube_buf_t *b) {
  z_stream z = {0};
  if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return false;
  size_t room = deflateBound(&z, b->n);
  char *out = malloc(room);
  if (!out) {
    deflateEnd(&z);
    return false;
  }
  z.next_in = (Bytef *)b->p;
  z.avail_in = (uInt)b->n;
  z.next_out = (Bytef *)out;
  z.avail_out = (uInt)room;
  bool ok = deflate(&z, Z_FINISH) == Z_STREAM_END;
  size_t n = z.total_out;
  deflateEnd(&z);
  if (!ok) {
    free(out);
    return false;
  }
  kube_buf_free(b);
  *b = (kube_buf_t){.p = out, .n = n, .room = room};
  return true;
}

static void common_headers(gw_ex_t *ex) {
  for (const char *s = ex->extra.p; s && s < ex->extra.p + ex->extra.n; s += strlen(s) + 1)
    if (!strcmp(s, "cache-control")) return;
  gw_add_header(ex, "cache-control", "no-cache, private");
}

static int too_many_answers(gw_ex_t *ex, kube_buf_t *body) {
  gw_add_header(ex, "retry-after", "1");
  gw_status_json(body, 429, gw_reason(429), "{\"retryAfterSeconds\":1}",
                 "Too many answers wait to be taken, please try again later.");
  return 429;
}

bool gw_answers_refuse(gw_ex_t *ex) {
  if (!gw_answers_full(ex)) return false;
  kube_buf_t b = {0};
  int code = too_many_answers(ex, &b);
  gw_respond(ex, code, "application/json", &b);
  return true;
}

void gw_respond(gw_ex_t *ex, int code, const char *type, kube_buf_t *body) {
  gw_conn_t *c = ex->conn;
  kube_buf_t none = {0};
  if (!body) body = &none;
  if (body->failed) {
    kube_buf_free(body);
    *body = none;
    code = 503;
  }
  /* What was written is said in any case. */
  if (ex->method && !strcmp(ex->method, "GET") && !gw_hold_answer(ex, body->n)) {
    kube_buf_free(body);
    *body = none;
    code = too_many_answers(ex, body);
    type = "application/json";
  }
  gw_count(ex, code);
  common_headers(ex);
  if (body->n > GW_GZIP_MIN && gw_wants_gzip(ex) && gzip(body)) gw_add_header(ex, "content-encoding", "gzip");
  gw_blob_t *blob = body->n && !ex->is_head ? gw_blob_take(body->p, body->n) : NULL;
  if (ex->stream) {
    gw_http2_head(ex, code, type, (ssize_t)body->n, blob != NULL);
    if (blob) gw_queue_add(&ex->out, blob);
    ex->out_end = true;
    ex->state = GW_STREAMING;
    ex->ended = true;
    detach(ex);
    gw_release(ex); /* the stream stays until the client has read the answer: the request need not */
    kube_buf_free(&ex->head);
    kube_buf_free(&ex->body);
    ex->query = "";
    if (blob) gw_http2_resume(ex);
    gw_conn_dirty(c);
  } else {
    gw_http1_head(ex, code, type, (ssize_t)body->n);
    if (blob) gw_queue_add(&c->out, blob);
    gw_conn_dirty(c);
    finish(ex);
  }
  if (blob)
    gw_blob_unref(blob);
  else
    kube_buf_free(body);
  *body = none;
}

void gw_respond_text(gw_ex_t *ex, int code, const char *text) {
  kube_buf_t b = {0};
  kube_buf_addz(&b, text);
  gw_add_header(ex, "x-content-type-options", "nosniff");
  gw_respond(ex, code, "text/plain; charset=utf-8", &b);
}

const char *gw_reason(int code) {
  switch (code) {
  case 400:
    return "BadRequest";
  case 401:
    return "Unauthorized";
  case 403:
    return "Forbidden";
  case 404:
    return "NotFound";
  case 405:
    return "MethodNotAllowed";
  case 406:
    return "NotAcceptable";
  case 408:
    return "Timeout";
  case 409:
    return "Conflict";
  case 410:
    return "Expired";
  case 413:
    return "RequestEntityTooLarge";
  case 415:
    return "UnsupportedMediaType";
  case 422:
    return "Invalid";
  case 429:
    return "TooManyRequests";
  case 500:
    return "InternalError";
  case 503:
    return "ServiceUnavailable";
  case 504:
    return "Timeout";
  }
  return "";
}

void gw_status_json(kube_buf_t *b, int code, const char *reason, const char *details, const char *message) {
  kube_buf_addz(b, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":");
  kube_json_string(b, kg_str(message));
  if (reason && *reason) kube_buf_fmt(b, ",\"reason\":\"%s\"", reason);
  if (details) kube_buf_fmt(b, ",\"details\":%s", details);
  kube_buf_fmt(b, ",\"code\":%d}", code);
}

void gw_status(gw_ex_t *ex, int code, const char *reason, const char *details, const char *fmt, ...) {
  char text[2048];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  kg_str_mend(text);
  kube_buf_t b = {0};
  gw_status_json(&b, code, reason, details, text);
  gw_respond(ex, code, "application/json", &b);
}

void gw_status_of(gw_ex_t *ex, const kg_msg_t *error) {
  int code = kg_msg_code(error);
  kg_doc_t *doc = kg_msg_doc(error, 0);
  if (code < 400 || code > 599) code = 500;
  if (doc && code == 404 && !kg_view_there(kg_view_get(kg_view_of(doc), "details"))) {
    gw_respond_text(ex, 404, "404 page not found\n"); /* not the object, the URL is unknown */
    return;
  }
  if (doc) {
    kube_buf_t b = {0};
    kube_json_write(&b, kg_view_of(doc));
    gw_respond(ex, code, "application/json", &b);
    return;
  }
  if (code == KG_ECANCELLED || code == KG_EFULL) code = 500;
  gw_status(ex, code, gw_reason(code), NULL, "%s", kg_msg_text(error));
}

/* --- streams
 * ----------------------------------------------------------------------------------------------------------- */

void gw_stream_begin(gw_ex_t *ex, int code, const char *type) {
  gw_stream_begin_sized(ex, code, type, GW_LENGTH_UNKNOWN);
}

void gw_stream_begin_sized(gw_ex_t *ex, int code, const char *type, ssize_t length) {
  ex->state = GW_STREAMING;
  ex->status = code;
  gw_count(ex, code);
  common_headers(ex);
  if (ex->stream)
    gw_http2_head(ex, code, type, length, length != GW_LENGTH_NONE);
  else
    gw_http1_head(ex, code, type, length);
  gw_conn_dirty(ex->conn);
  /* An idle stream keeps no request. */
  gw_release(ex);
  kube_buf_free(&ex->body);
  kube_buf_free(&ex->extra);
}

void gw_stream_add(gw_ex_t *ex, gw_blob_t *b) {
  gw_conn_t *c = ex->conn;
  if (ex->is_head || ex->ended) return;
  int bad;
  if (ex->stream)
    bad = gw_queue_add_range(&ex->out, b, b ? b->skip : 0, b ? b->n - b->tail : 0);
  else if (ex->chunked)
    bad = gw_queue_add(&c->out, b);
  else
    bad = gw_queue_add_range(&c->out, b, b ? b->skip : 0, b ? b->n - b->tail : 0);
  if (bad) {
    gw_conn_break(c);
    return;
  }
  if (ex->stream) gw_http2_resume(ex);
}

void gw_stream_blob(gw_ex_t *ex, gw_blob_t *b) {
  gw_stream_add(ex, b);
  gw_conn_dirty(ex->conn);
}

void gw_stream_end(gw_ex_t *ex) {
  gw_conn_t *c = ex->conn;
  if (ex->ended) return;
  ex->ended = true;
  if (ex->stream) {
    ex->out_end = true;
    detach(ex);
    gw_http2_resume(ex);
    gw_conn_dirty(c);
    return;
  }
  if (ex->chunked && !ex->is_head) {
    gw_blob_t *b = gw_blob_copy("0\r\n\r\n", 5);
    if (gw_queue_add(&c->out, b)) gw_conn_break(c);
    gw_blob_unref(b);
  }
  gw_conn_dirty(c);
  finish(ex);
}

void gw_stream_abort(gw_ex_t *ex) {
  if (ex->stream)
    gw_http2_reset(ex);
  else
    gw_conn_break(ex->conn);
  detach(ex);
}

size_t gw_backlog(const gw_ex_t *ex) {
  size_t waiting = ex->conn->out.bytes + ex->conn->nleft;
  return ex->stream ? ex->out.bytes + waiting / 4 : waiting;
}

/* --- upgraded connections
 * ------------------------------------------------------------------------------------------------ */

void gw_upgrade(gw_ex_t *ex) {
  gw_count(ex, 101);
  gw_http1_head(ex, 101, NULL, -1);
  ex->state = GW_UPGRADED;
  ex->keep_alive = false;
  gw_conn_dirty(ex->conn);
  gw_release(ex);
  kube_buf_free(&ex->body);
  kube_buf_free(&ex->extra);
}

void gw_raw(gw_ex_t *ex, const void *p, size_t n) {
  gw_blob_t *b = gw_blob_copy(p, n);
  if (gw_queue_add(&ex->conn->out, b)) gw_conn_break(ex->conn);
  gw_blob_unref(b);
  gw_conn_dirty(ex->conn);
}

void gw_raw_end(gw_ex_t *ex) {
  gw_conn_t *c = ex->conn;
  c->close_after = true;
  c->no_read = true;
  gw_conn_dirty(c);
  gw_ex_free(ex);
}
