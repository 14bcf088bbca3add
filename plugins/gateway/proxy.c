/* A request carried to a pod, a service's endpoint or a node, and the answer back as it comes. */
#include <arpa/inet.h>
#include <strings.h>
#include <sys/socket.h>

#include "proxy.h"

enum { MAX_WAITING = 256 << 10 };

static void proxy_gone(gw_ex_t *ex) {
  gw_proxy_t *p = ex->op;
  gw_link_free(p->link);
  gw_html_free(p->html);
  kg_doc_unref(p->endpoints);
  kube_buf_free(&p->text);
  kube_buf_free(&p->body);
  char *const owned[] = {p->scheme, p->name, p->port, p->prepend, p->port_name};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
  free(p->parser);
  free(p);
  ex->op = NULL;
}

static void unreachable(gw_proxy_t *p, const char *why) {
  gw_status(p->ex, 503, "ServiceUnavailable", NULL, "error trying to reach service: %s", why);
}

/* --- links -------------------------------------------------------------------------------------------------------- */

/* Links to the other side's own pages lead through us; relative ones and those elsewhere stay. */
char *gw_proxy_url(const gw_proxy_t *p, kg_str_t url) {
  char *text = kg_str_dup(url), *path = text, *out = NULL;
  char *slashes = text ? strstr(text, "//") : NULL;
  const char *own = gw_header(p->ex, "host");
  kg_str_t host = {0};
  if (slashes && (slashes == text || (slashes[-1] == ':' && !memchr(text, '/', (size_t)(slashes - text))))) {
    host = (kg_str_t){slashes + 2, strcspn(slashes + 2, "/?#")};
    path = slashes + 2 + host.n;
  }
  bool ours = host.n && own && kg_str_is(host, own);
  if (text && *path == '/' && (!host.n || ours || kg_str_is(host, gw_link_peer(p->link)))) {
    size_t n = strlen(p->prepend);
    bool there = !strncmp(path, p->prepend, n) && (path[n] == '/' || !path[n]);
    if (asprintf(&out, "%.*s%s%s", ours ? (int)(path - text) : 0, text, there ? "" : p->prepend, path) < 0) out = NULL;
  }
  free(text);
  return out;
}

/* --- the request ---------------------------------------------------------------------------------------------------
 */

static bool listed(const char *list, const char *name) {
  size_t n = strlen(name);
  for (const char *s = list; s && *s; s += strcspn(s, ","), s += *s == ',') {
    s += strspn(s, " \t");
    size_t len = strcspn(s, ", \t");
    if (len == n && !strncasecmp(s, name, n)) return true;
  }
  return false;
}

/* Of one connection only; `connection` is its Connection header. */
static bool is_hop(const char *name, const char *connection) {
  return listed("connection,keep-alive,proxy-connection,proxy-authenticate,proxy-authorization,te,trailer,"
                "transfer-encoding,upgrade",
                name) ||
         listed(connection, name);
}

static bool stays_here(const char *name) {
  return listed("authorization,host,content-length,expect,accept-encoding,x-forwarded-for,x-forwarded-host,"
                "x-forwarded-proto,x-forwarded-uri",
                name) ||
         !strncmp(name, "impersonate-", 12);
}

static void add_forwarded(const gw_proxy_t *p, kube_buf_t *b) {
  char ip[INET6_ADDRSTRLEN] = "";
  struct sockaddr_storage from;
  socklen_t n = sizeof from;
  const char *before = gw_header(p->ex, "x-forwarded-for"), *host = gw_header(p->ex, "host");
  if (!getpeername(p->ex->conn->fd, (struct sockaddr *)&from, &n))
    inet_ntop(from.ss_family,
              from.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&from)->sin_addr
                                        : &((struct sockaddr_in6 *)&from)->sin6_addr,
              ip, sizeof ip);
  kube_buf_fmt(b, "X-Forwarded-For: %s%s%s\r\n", before ? before : "", before ? ", " : "", ip);
  if (host) kube_buf_fmt(b, "X-Forwarded-Host: %s\r\n", host);
  kube_buf_fmt(b, "X-Forwarded-Proto: https\r\nX-Forwarded-Uri: %s%s\r\n", p->prepend, p->path);
}

static void send_request(gw_proxy_t *p) {
  gw_ex_t *ex = p->ex;
  kube_buf_t b = {0};
  const char *name, *value, *connection = gw_header(ex, "connection"), *host = gw_header(ex, "host");
  kube_buf_fmt(&b, "%s %s%s%s%s HTTP/1.1\r\n", ex->method, *p->path == '/' ? "" : "/", p->path, *ex->query ? "?" : "",
               ex->query);
  kube_buf_fmt(&b, "Host: %s\r\n", host && *host ? host : gw_link_peer(p->link));
  for (size_t at = 0; (name = gw_header_at(ex, &at, &value));)
    if (!is_hop(name, connection) && !stays_here(name)) kube_buf_fmt(&b, "%s: %s\r\n", name, value);
  add_forwarded(p, &b);
  if (ex->upgrade)
    kube_buf_fmt(&b, "Connection: Upgrade\r\nUpgrade: %s\r\n", gw_header(ex, "upgrade"));
  else
    kube_buf_addz(&b, "Connection: close\r\n");
  if (ex->body.n || !strcmp(ex->method, "POST") || !strcmp(ex->method, "PUT") || !strcmp(ex->method, "PATCH"))
    kube_buf_fmt(&b, "Content-Length: %zu\r\n", ex->body.n);
  kube_buf_addz(&b, "\r\n");
  kube_buf_add(&b, ex->body.p, ex->body.n);
  gw_link_send(p->link, b.p, b.n);
  kube_buf_free(&b);
}

/* --- the answer's head ----------------------------------------------------------------------------------------------
 */

static int on_begin(llhttp_t *parser) {
  gw_proxy_t *p = parser->data;
  p->text.n = 0;
  return 0;
}

static int on_text(llhttp_t *parser, const char *at, size_t n) {
  gw_proxy_t *p = parser->data;
  kube_buf_add(&p->text, at, n);
  return p->text.n > GW_MAX_HEAD || p->text.failed ? -1 : 0;
}

static int on_text_end(llhttp_t *parser) {
  return on_text(parser, "", 1);
}

static int on_headers(llhttp_t *parser) {
  gw_proxy_t *p = parser->data;
  if (parser->status_code < 200 && parser->status_code != 101) return 0; /* 100 Continue: the answer follows */
  if (parser->status_code == 101 && !p->ex->upgrade) return -1;          /* nobody asked */
  p->head_done = true;
  return parser->status_code == 101 ? 2 : p->ex->is_head ? 1 : 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t n) {
  gw_proxy_t *p = parser->data;
  kube_buf_add(&p->body, at, n);
  return p->body.failed ? -1 : 0;
}

static int on_complete(llhttp_t *parser) {
  gw_proxy_t *p = parser->data;
  if (p->head_done) p->message_done = true;
  return 0;
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_begin,
    .on_header_field = on_text,
    .on_header_field_complete = on_text_end,
    .on_header_value = on_text,
    .on_header_value_complete = on_text_end,
    .on_headers_complete = on_headers,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

static const char *answer_header(const gw_proxy_t *p, const char *name) {
  for (const char *s = p->text.p; s && s < p->text.p + p->text.n;) {
    const char *value = s + strlen(s) + 1;
    if (!strcasecmp(s, name)) return value;
    s = value + strlen(value) + 1;
  }
  return NULL;
}

static void pass_location(gw_proxy_t *p, const char *value) {
  char *ours = gw_proxy_url(p, kg_str(value));
  gw_add_header(p->ex, "location", ours ? ours : value);
  free(ours);
}

static void pass_headers(gw_proxy_t *p, bool upgrade) {
  const char *connection = answer_header(p, "connection");
  for (char *s = p->text.p; s && s < p->text.p + p->text.n;) {
    char *name = s, *value = s + strlen(s) + 1;
    s = value + strlen(value) + 1;
    for (char *c = name; *c; c++)
      if (*c >= 'A' && *c <= 'Z') *c |= 32;
    if (!strcmp(name, "location"))
      pass_location(p, value);
    else if (upgrade && (!strcmp(name, "connection") || !strcmp(name, "upgrade")))
      gw_add_header(p->ex, name, value);
    else if (!is_hop(name, connection) && !listed("content-length,content-type,date", name) &&
             strncmp(name, "access-control-", 15) != 0)
      gw_add_header(p->ex, name, value);
  }
}

static bool is_page(const char *type) {
  return type && !strncasecmp(type, "text/html", 9) && (!type[9] || type[9] == ';' || type[9] == ' ');
}

static void begin_answer(gw_proxy_t *p) {
  gw_ex_t *ex = p->ex;
  int code = p->parser->status_code;
  const char *length = answer_header(p, "content-length"), *type = answer_header(p, "content-type");
  ssize_t n = length && !answer_header(p, "transfer-encoding") ? (ssize_t)strtoll(length, NULL, 10) : GW_LENGTH_UNKNOWN;
  p->begun = true;
  if (code == 204 || code == 304) n = GW_LENGTH_NONE;
  if (is_page(type) && !answer_header(p, "content-encoding") && !ex->is_head && (p->html = gw_html_new(p)))
    n = GW_LENGTH_UNKNOWN;
  pass_headers(p, false);
  gw_stream_begin_sized(ex, code, type, n);
}

/* --- the answer's body
 * ------------------------------------------------------------------------------------------------ */

/* The client has it in part already: it must not take it for all. */
static void break_off(gw_proxy_t *p, const char *why) {
  if (p->begun)
    gw_stream_abort(p->ex);
  else
    unreachable(p, why);
}

static void pass_body(gw_proxy_t *p) {
  kube_buf_t page = {0}, *from = &p->body;
  if (p->html) {
    gw_html_feed(p->html, p->body.p, p->body.n, &page);
    if (p->message_done) gw_html_end(p->html, &page);
    from = &page;
  }
  gw_blob_t *b = from->n ? gw_blob_framed(from->p, from->n) : NULL;
  if (from->n) gw_stream_blob(p->ex, b);
  gw_blob_unref(b);
  kube_buf_free(&page);
  p->body.n = 0;
}

/* What the parser made of the last bytes. p may be gone afterwards. */
static void pass_on(gw_proxy_t *p) {
  gw_ex_t *ex = p->ex;
  if (p->head_done && !p->begun) begin_answer(p);
  if (p->begun && (p->body.n || p->message_done)) pass_body(p);
  if (p->message_done)
    gw_stream_end(ex);
  else
    gw_link_hold(p->link, gw_backlog(ex) >= GW_BACKLOG_LOW);
}

/* --- an upgraded connection: bytes both ways -------------------------------------------------------------------------
 */

static void on_client(gw_ex_t *ex, const char *bytes, size_t n) {
  gw_proxy_t *p = ex->op;
  gw_link_send(p->link, bytes, n);
  if (gw_link_waiting(p->link) <= MAX_WAITING) return;
  ex->conn->no_read = true;
  gw_conn_interest(ex->conn);
}

static void on_written(gw_link_t *l, void *arg) {
  (void)l;
  gw_conn_t *c = ((gw_proxy_t *)arg)->ex->conn;
  if (!((gw_proxy_t *)arg)->upgraded || !c->no_read) return;
  c->no_read = false;
  gw_conn_read_again(c);
  gw_conn_interest(c);
}

static void upgrade(gw_proxy_t *p, const char *rest, size_t n) {
  p->upgraded = p->begun = true;
  pass_headers(p, true);
  p->ex->on_data = on_client;
  gw_upgrade(p->ex);
  if (n) gw_raw(p->ex, rest, n);
}

/* --- the link
 * ---------------------------------------------------------------------------------------------------------- */

static void on_data(gw_link_t *l, const char *bytes, size_t n, void *arg) {
  gw_proxy_t *p = arg;
  if (p->upgraded) {
    gw_raw(p->ex, bytes, n);
    return gw_link_hold(l, gw_backlog(p->ex) >= GW_BACKLOG_LOW);
  }
  llhttp_errno_t e = llhttp_execute(p->parser, bytes, n);
  if (e == HPE_PAUSED_UPGRADE && p->parser->status_code == 101 && p->ex->upgrade) {
    const char *rest = llhttp_get_error_pos(p->parser);
    return upgrade(p, rest, (size_t)(bytes + n - rest));
  }
  if (e != HPE_OK && !p->message_done) return break_off(p, "malformed HTTP response");
  pass_on(p);
}

static void on_end(gw_link_t *l, const char *error, void *arg) {
  (void)l;
  gw_proxy_t *p = arg;
  if (p->upgraded) return gw_raw_end(p->ex);
  if (p->head_done && !error) llhttp_finish(p->parser);
  if (p->message_done)
    pass_on(p);
  else
    break_off(p, error ? error : "EOF");
}

static void on_drain(gw_ex_t *ex) {
  gw_proxy_t *p = ex->op;
  if (p->link) gw_link_hold(p->link, false);
}

void gw_proxy_dial(gw_proxy_t *p, const char *address, int port, bool tls) {
  static const gw_link_events_t events = {on_data, on_written, on_end};
  kg_error_t err = {0};
  p->parser = malloc(sizeof *p->parser);
  if (p->parser) p->link = gw_link_open(p->ex->conn->gw, address, port, tls, &events, p, &err);
  if (!p->link) return unreachable(p, err.text);
  llhttp_init(p->parser, HTTP_RESPONSE, &settings);
  p->parser->data = p;
  p->ex->on_drain = on_drain;
  p->ex->patient = true;
  send_request(p);
}

/* --- what is asked for
 * --------------------------------------------------------------------------------------------------- */

/* [SCHEME:]NAME[:PORT] */
static bool split_name(gw_proxy_t *p, const char *text) {
  const char *colon = strchr(text, ':'), *second = colon ? strchr(colon + 1, ':') : NULL;
  const char *name = second ? colon + 1 : text, *end = second ? second : colon;
  p->scheme = second ? strndup(text, (size_t)(colon - text)) : strdup("");
  p->name = end ? strndup(name, (size_t)(end - name)) : strdup(name);
  p->port = strdup(end ? end + 1 : "");
  if (!p->scheme || !p->name || !p->port) return false;
  bool known = !*p->scheme || !strcmp(p->scheme, "http") || !strcmp(p->scheme, "https");
  return *p->name && known && !strchr(p->port, ':');
}

/* Our own path up to `proxy`, and what is behind it, with its escapes. */
static bool split_path(gw_proxy_t *p) {
  gw_ex_t *ex = p->ex;
  const char *t = ex->head.p;
  if (*t != '/') t = strstr(t, "//") + 2 + strcspn(strstr(t, "//") + 2, "/?");
  size_t all = strcspn(t, "?#"), at = 0;
  for (int parts = *ex->route.ns ? 7 : 5; parts; parts--) {
    while (at < all && t[at] == '/') at++;
    while (at < all && t[at] != '/') at++;
  }
  p->prepend = malloc(all + 2);
  if (!p->prepend) return false;
  memcpy(p->prepend, t, at);
  p->prepend[at] = 0;
  memcpy(p->prepend + at + 1, t + at, all - at);
  p->prepend[all + 1] = 0;
  p->path = p->prepend + at + 1;
  return true;
}

/* Pages refer to what is beside them: a path without a slash at its end would be one level too high. */
static void redirect(gw_ex_t *ex) {
  kube_buf_t to = {0};
  kube_buf_fmt(&to, "%s/%s%s", ex->path, *ex->query ? "?" : "", ex->query);
  kube_buf_add(&to, "", 1);
  gw_add_header(ex, "location", to.failed ? "/" : to.p);
  kube_buf_free(&to);
  gw_respond(ex, 301, NULL, NULL);
}

void gw_proxy(gw_ex_t *ex) {
  const char *what = ex->route.resource_name;
  gw_proxy_t *p = calloc(1, sizeof *p);
  if (!p) return gw_status(ex, 503, "ServiceUnavailable", NULL, "out of memory");
  p->ex = ex;
  ex->op = p;
  ex->on_gone = proxy_gone;
  bool good = split_name(p, ex->route.name);
  if (!good || !split_path(p))
    return gw_status(ex, 400, "BadRequest", NULL, "invalid %.*s request \"%s\"", (int)strlen(what) - 1, what,
                     ex->route.name);
  bool reads = !strcmp(ex->method, "GET") || !strcmp(ex->method, "HEAD");
  if (!*p->path && reads && !ex->upgrade) return redirect(ex);
  if (!strcmp(what, "pods"))
    gw_proxy_pod(p);
  else if (!strcmp(what, "services"))
    gw_proxy_service(p);
  else
    gw_proxy_node(p);
}
