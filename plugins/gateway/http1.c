/*
 * HTTP/1.1 on llhttp 8.1. That version takes a lone CR for the end of a header line (CVE-2023-30589), so heads are
 * checked before the parser sees them: every line ends in CRLF and holds no other CR. Trailers are refused for the same
 * reason.
 */
#include <strings.h>

#include "gateway.h"

enum { IDLE_MS = 180000 };

static int refuse(gw_conn_t *c, int code) {
  c->parse_code = code;
  return -1;
}

static int on_begin(llhttp_t *p) {
  gw_conn_t *c = p->data;
  c->reading = gw_ex_new(c, 0);
  c->continued = false;
  return c->reading ? 0 : -1;
}

static int add(gw_conn_t *c, const char *at, size_t n) {
  kube_buf_add(&c->reading->head, at, n);
  return c->reading->head.n > GW_MAX_HEAD ? refuse(c, 431) : 0;
}

static int end_piece(llhttp_t *p) {
  return add(p->data, "", 1);
}

static int on_url(llhttp_t *p, const char *at, size_t n) {
  return add(p->data, at, n);
}

static int on_url_complete(llhttp_t *p) {
  gw_conn_t *c = p->data;
  if (add(c, "", 1)) return -1;
  c->reading->headers = c->reading->head.n;
  return 0;
}

static int on_field(llhttp_t *p, const char *at, size_t n) {
  gw_conn_t *c = p->data;
  if (!c->in_head) return refuse(c, 400); /* a trailer */
  size_t from = c->reading->head.n;
  if (add(c, at, n) || c->reading->head.failed) return -1;
  for (char *s = c->reading->head.p + from; n--; s++)
    if (*s >= 'A' && *s <= 'Z') *s += 'a' - 'A';
  return 0;
}

/* llhttp 8.1.0 takes a header without a name: then what is there ends with the piece before. */
static int end_field(llhttp_t *p) {
  gw_conn_t *c = p->data;
  const kube_buf_t *head = &c->reading->head;
  return head->n && !head->p[head->n - 1] ? refuse(c, 400) : end_piece(p);
}

static int on_value(llhttp_t *p, const char *at, size_t n) {
  return add(p->data, at, n);
}

static bool has_token(const char *list, const char *token) {
  size_t n = strlen(token);
  for (const char *s = list; s && *s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL) {
    s += strspn(s, " \t");
    size_t len = strcspn(s, ", \t");
    if (len == n && !strncasecmp(s, token, n)) return true;
  }
  return false;
}

static int on_headers(llhttp_t *p) {
  gw_conn_t *c = p->data;
  gw_ex_t *ex = c->reading;
  ex->method = llhttp_method_name(p->method);
  ex->is_head = p->method == HTTP_HEAD;
  ex->http10 = p->http_major == 1 && p->http_minor == 0;
  ex->keep_alive = llhttp_should_keep_alive(p);
  if (p->http_major != 1) return refuse(c, 505);
  if (p->method == HTTP_CONNECT) return refuse(c, 405);
  const char *upgrade = gw_header(ex, "upgrade");
  ex->upgrade = upgrade && has_token(gw_header(ex, "connection"), "upgrade");
  int code = p->content_length || (p->flags & F_CHUNKED) ? gw_admit(ex) : 0; /* nobody's body is read */
  if (code) return refuse(c, code);
  const char *expect = gw_header(ex, "expect");
  if (expect && !ex->http10 && has_token(expect, "100-continue") && !c->continued) {
    c->continued = true;
    gw_blob_t *b = gw_blob_copy("HTTP/1.1 100 Continue\r\n\r\n", 25);
    gw_queue_add(&c->out, b);
    gw_blob_unref(b);
    gw_conn_dirty(c);
  }
  return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n) {
  gw_conn_t *c = p->data;
  int code = gw_body_add(c->reading, at, n);
  return code ? refuse(c, code) : 0;
}

static int on_complete(llhttp_t *p) {
  gw_conn_t *c = p->data;
  c->message_done = true;
  return HPE_PAUSED; /* one request at a time: go on when this one is answered */
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_header_field = on_field,
    .on_header_field_complete = end_field,
    .on_header_value = on_value,
    .on_header_value_complete = end_piece,
    .on_headers_complete = on_headers,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

void gw_http1_open(gw_conn_t *c) {
  c->parser = malloc(sizeof *c->parser);
  if (!c->parser) return;
  llhttp_init(c->parser, HTTP_REQUEST, &settings);
  c->parser->data = c;
  c->in_head = true;
}

void gw_http1_close(gw_conn_t *c) {
  free(c->parser);
  c->parser = NULL;
  kube_buf_free(&c->rest);
}

/* How many bytes of p still belong to the head; -1: a line that does not end in CRLF, or a CR elsewhere. *end: the head
 * is over. */
static ssize_t check_head(gw_conn_t *c, const char *p, size_t n, bool *end) {
  *end = false;
  for (size_t i = 0; i < n; i++) {
    if (c->last_cr != (p[i] == '\n')) return -1;
    if (c->last_cr) {
      c->last_cr = false;
      bool empty = c->line == 0, leading = c->head_bytes == 0;
      c->line = 0;
      if (empty && !leading) {
        *end = true;
        return (ssize_t)(i + 1);
      }
    } else if (p[i] == '\r') {
      c->last_cr = true;
    } else {
      c->line++;
      if (++c->head_bytes > GW_MAX_HEAD) return -1;
    }
  }
  return (ssize_t)n;
}

static void broken_request(gw_conn_t *c) {
  gw_ex_t *ex = c->reading ? c->reading : gw_ex_new(c, 0);
  int code = c->parse_code ? c->parse_code : c->head_bytes > GW_MAX_HEAD ? 431 : 400;
  if (code == 400) c->gw->bad_requests++;
  c->reading = NULL;
  c->no_read = true;
  c->close_after = true; /* what follows cannot be trusted to be a request */
  if (!ex) {
    gw_conn_break(c);
    return;
  }
  ex->keep_alive = false;
  ex->is_head = false;
  gw_refuse(ex, code);
}

static void complete(gw_conn_t *c) {
  gw_ex_t *ex = c->reading;
  c->reading = NULL;
  c->in_head = true;
  c->line = c->head_bytes = 0;
  gw_conn_deadline(c, 0);
  ex->state = GW_WORKING;
  gw_request(ex);
}

/* Feeds the parser with one run of bytes; returns how many it took (all, or up to the end of a request). */
static size_t parse(gw_conn_t *c, const char *p, size_t n) {
  bool end = false;
  size_t give = n;
  if (c->in_head) {
    ssize_t head = check_head(c, p, n, &end);
    if (head < 0) {
      broken_request(c);
      return n;
    }
    give = (size_t)head;
  }
  c->message_done = false;
  llhttp_errno_t e = llhttp_execute(c->parser, p, give);
  if (e == HPE_PAUSED_UPGRADE && !c->message_done) { /* the last request asked for an upgrade that was not granted */
    llhttp_resume_after_upgrade(c->parser);
    e = llhttp_execute(c->parser, p, give);
  }
  if (end) c->in_head = false;
  if (e == HPE_OK) return give;
  if (!c->message_done) {
    broken_request(c);
    return n;
  }
  size_t took = (size_t)(llhttp_get_error_pos(c->parser) - p);
  if (e == HPE_PAUSED)
    llhttp_resume(c->parser);
  else
    llhttp_resume_after_upgrade(c->parser);
  complete(c);
  return took > give ? give : took;
}

static void keep_rest(gw_conn_t *c, const char *p, size_t n) {
  kube_buf_add(&c->rest, p, n);
  if (c->rest.failed) gw_conn_break(c);
  if (c->rest.n > GW_MAX_REST) c->no_read = true;
}

void gw_http1_feed(gw_conn_t *c, const char *p, size_t n) {
  gw_ex_t *up = c->exchanges;
  if (up && up->state == GW_UPGRADED) {
    if (up->on_data) up->on_data(up, p, n);
    return;
  }
  if (c->rest.n || (c->exchanges && !c->reading)) {
    keep_rest(c, p, n);
    return;
  }
  if (!c->exchanges && n) gw_conn_deadline(c, c->gw->request_ms);
  while (n && !c->broken && !c->close_after) {
    size_t took = parse(c, p, n);
    p += took;
    n -= took;
    if (!n) break;
    up = c->exchanges;
    if (up && up->state == GW_UPGRADED) {
      if (up->on_data) up->on_data(up, p, n);
      return;
    }
    if (c->exchanges && !c->reading) {
      keep_rest(c, p, n);
      return;
    }
  }
}

/* An exchange is over: the next pipelined request, if its bytes are here. */
void gw_http1_next(gw_conn_t *c) {
  if (c->broken || c->close_after) return;
  gw_conn_deadline(c, IDLE_MS);
  if (c->running && !c->rest.n) return; /* the feeding loop goes on by itself */
  if (!c->rest.n) return;
  kube_buf_t rest = c->rest;
  c->rest = (kube_buf_t){0};
  if (c->no_read) gw_conn_read_again(c);
  c->no_read = false;
  gw_http1_feed(c, rest.p, rest.n);
  kube_buf_free(&rest);
  gw_conn_interest(c);
}

/* The reason phrase is for people only; codes that are not listed go without. */
static const char *status_text(int code) {
  switch (code) {
  case 101:
    return "Switching Protocols";
  case 200:
    return "OK";
  case 201:
    return "Created";
  case 204:
    return "No Content";
  case 301:
    return "Moved Permanently";
  case 302:
    return "Found";
  case 304:
    return "Not Modified";
  case 400:
    return "Bad Request";
  case 401:
    return "Unauthorized";
  case 403:
    return "Forbidden";
  case 404:
    return "Not Found";
  case 405:
    return "Method Not Allowed";
  case 406:
    return "Not Acceptable";
  case 408:
    return "Request Timeout";
  case 409:
    return "Conflict";
  case 410:
    return "Gone";
  case 413:
    return "Request Entity Too Large";
  case 415:
    return "Unsupported Media Type";
  case 422:
    return "Unprocessable Entity";
  case 429:
    return "Too Many Requests";
  case 500:
    return "Internal Server Error";
  case 503:
    return "Service Unavailable";
  case 431:
    return "Request Header Fields Too Large";
  case 504:
    return "Gateway Timeout";
  case 505:
    return "HTTP Version Not Supported";
  }
  return "";
}

static void put_name(kube_buf_t *b, const char *name) {
  size_t at = b->n, n = strlen(name);
  kube_buf_add(b, name, n);
  if (b->failed) return;
  for (size_t i = 0; i < n; i++)
    if ((i == 0 || name[i - 1] == '-') && b->p[at + i] >= 'a' && b->p[at + i] <= 'z') b->p[at + i] -= 'a' - 'A';
}

void gw_http1_head(gw_ex_t *ex, int code, const char *type, ssize_t length) {
  gw_conn_t *c = ex->conn;
  kube_buf_t b = {0};
  kube_buf_fmt(&b, "HTTP/1.1 %d %s\r\n", code, status_text(code));
  for (const char *s = ex->extra.p; s && s < ex->extra.p + ex->extra.n;) {
    put_name(&b, s);
    kube_buf_addz(&b, ": ");
    s += strlen(s) + 1;
    kube_buf_addz(&b, s);
    kube_buf_addz(&b, "\r\n");
    s += strlen(s) + 1;
  }
  if (code != 101) {
    if (type) kube_buf_fmt(&b, "Content-Type: %s\r\n", type);
    kube_buf_fmt(&b, "Date: %s\r\n", gw_date(c->gw));
    ex->chunked = length == GW_LENGTH_UNKNOWN && !ex->http10;
    if (length >= 0 && code != 304)
      kube_buf_fmt(&b, "Content-Length: %zd\r\n", length);
    else if (ex->chunked)
      kube_buf_addz(&b, "Transfer-Encoding: chunked\r\n");
    if (length == GW_LENGTH_UNKNOWN && ex->http10) ex->keep_alive = false;
    if (!ex->keep_alive)
      kube_buf_addz(&b, "Connection: close\r\n");
    else if (ex->http10)
      kube_buf_addz(&b, "Connection: keep-alive\r\n");
  }
  kube_buf_addz(&b, "\r\n");
  gw_blob_t *blob = b.failed ? NULL : gw_blob_take(b.p, b.n);
  if (gw_queue_add(&c->out, blob)) gw_conn_break(c);
  gw_blob_unref(blob);
}
