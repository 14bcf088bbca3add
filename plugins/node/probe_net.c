/* Probes over the network: HTTP, HTTPS, TCP, gRPC. One socket a turn, never waited for. */
#include <ctype.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "node.h"
#include "wire.h"

enum { MOST_HEAD = 65536, MOST_BODY = 10240, MOST_REDIRECTS = 10 };

typedef enum { NET_HTTP, NET_TCP, NET_GRPC } how_t;

struct probe_net {
  probe_t *pr;
  how_t how;
  bool https, connected;
  wire_t wire;
  kube_buf_t out, in;
  size_t sent;
  char *host, *path;
  int port;
  unsigned redirects;
  int64_t timeout_ms;
  grpc_check_t *grpc;
};

static kg_ctx_t *ctx_of(const probe_net_t *n) {
  return n->pr->box->pod->agent->ctx;
}

static void close_socket(probe_net_t *n) {
  wire_close(&n->wire, ctx_of(n));
  kube_buf_free(&n->out);
  kube_buf_free(&n->in);
  n->out = n->in = (kube_buf_t){0};
  n->sent = 0;
  n->connected = false;
}

void probe_net_free(probe_t *pr) {
  probe_net_t *n = pr->net;
  if (!n) return;
  close_socket(n);
  grpc_check_free(n->grpc);
  free(n->host);
  free(n->path);
  free(n);
  pr->net = NULL;
}

/* --- words, as Go's libraries say them
 * --------------------------------------------------------------------------------------- */

static char *address(const probe_net_t *n) {
  return format(strchr(n->host, ':') ? "[%s]:%d" : "%s:%d", n->host, n->port);
}

/* Fails the turn; text is what went wrong. The connection is gone after it. */
static void fail(probe_net_t *n, const char *text) {
  char *at = address(n);
  char *whole = n->how == NET_HTTP ? format("Get \"%s://%s%s\": %s", n->https ? "https" : "http", at, n->path, text)
                                   : strdup(text);
  probe_done(n->pr, false, whole ? whole : text);
  free(whole);
  free(at);
}

static void fail_dial(probe_net_t *n, int why) {
  char *at = address(n), *reason = strdup(strerror(why));
  if (reason) *reason = (char)tolower((unsigned char)*reason);
  char *text = n->how == NET_GRPC ? format("error: failed to connect service at \"%s\": %s", at, reason)
                                  : format("dial tcp %s: connect: %s", at, reason);
  fail(n, text ? text : "");
  free(text);
  free(reason);
  free(at);
}

static void on_timeout(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  probe_t *pr = arg;
  probe_net_t *n = pr->net;
  char duration[32], *at = address(n), *text;
  pr->timeout = 0;
  go_duration(n->timeout_ms, duration);
  if (n->how == NET_GRPC && !n->connected)
    text = format("timeout: failed to connect service \"%s\" within %s", at, duration);
  else if (n->how == NET_GRPC)
    text = format("timeout: health rpc did not complete within %s", duration);
  else if (!n->connected)
    text = format("dial tcp %s: i/o timeout%s", at,
                  n->how == NET_HTTP ? " (Client.Timeout exceeded while awaiting headers)" : "");
  else
    text = strdup("context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
  fail(n, text ? text : "");
  free(text);
  free(at);
}

/* --- HTTP
 * ---------------------------------------------------------------------------------------------------------------- */

static void open_socket(probe_net_t *n);

static bool has_header(kg_view_t headers, const char *name) {
  for (kg_iter_t it = kg_iter(headers); kg_iter_next(&it);) {
    kg_str_t own = VIEW_STR(it.value, "name");
    if (own.n == strlen(name) && !strncasecmp(own.p, name, own.n)) return true;
  }
  return false;
}

void http_get(kube_buf_t *out, kg_view_t action, const char *path, const char *at, const char *agent) {
  kg_view_t headers = kg_view_get(action, "httpHeaders");
  kube_buf_fmt(out, "GET %s HTTP/1.1\r\n", path);
  if (!has_header(headers, "Host")) kube_buf_fmt(out, "Host: %s\r\n", at);
  if (!has_header(headers, "User-Agent")) kube_buf_fmt(out, "User-Agent: %s\r\n", agent);
  if (!has_header(headers, "Accept")) kube_buf_addz(out, "Accept: */*\r\n");
  for (kg_iter_t it = kg_iter(headers); kg_iter_next(&it);) {
    kg_str_t name = VIEW_STR(it.value, "name"), value = VIEW_STR(it.value, "value");
    if (value.n || (!kg_str_is(name, "User-Agent") && !kg_str_is(name, "Accept"))) /* empty: not sent at all */
      kube_buf_fmt(out, KG_STR_FMT ": " KG_STR_FMT "\r\n", KG_STR_ARG(name), KG_STR_ARG(value));
  }
  kube_buf_addz(out, "Connection: close\r\n\r\n");
}

static void http_request(probe_net_t *n) {
  static const char *const fields[] = {"startupProbe", "livenessProbe", "readinessProbe"};
  char *at = address(n);
  http_get(&n->out, kg_view_path(box_spec(n->pr->box), fields[n->pr->kind], "httpGet", NULL), n->path, at ? at : "",
           "kube-probe/1.37");
  free(at);
}

/* Value of a header in the head of the answer; absent if there is none. */
static kg_str_t header(const char *head, const char *end, const char *name) {
  size_t len = strlen(name);
  for (const char *line = head; line && line < end; line = memchr(line, '\n', (size_t)(end - line))) {
    if (*line == '\n') line++;
    if ((size_t)(end - line) <= len || strncasecmp(line, name, len) || line[len] != ':') continue;
    const char *v = line + len + 1, *stop = memchr(v, '\r', (size_t)(end - v));
    while (v < end && (*v == ' ' || *v == '\t')) v++;
    return (kg_str_t){v, (size_t)((stop ? stop : end) - v)};
  }
  return (kg_str_t){0};
}

/* 1: another request was made of it; 0: it leads elsewhere and is not followed; -1: too many, the turn is over. */
static int redirect(probe_net_t *n, kg_str_t to) {
  char *where = kg_str_dup(to), *rest = where;
  bool https = n->https;
  int port = n->port, r = 0;
  if (!strncasecmp(rest, "http://", 7) || !strncasecmp(rest, "https://", 8)) {
    https = !strncasecmp(rest, "https://", 8);
    rest += https ? 8 : 7;
    size_t len = strcspn(rest, "/?#");
    char *colon = memchr(rest, ':', len);
    port = colon ? atoi(colon + 1) : https ? 443 : 80;
    size_t name = colon ? (size_t)(colon - rest) : len;
    if (name != strlen(n->host) || strncasecmp(rest, n->host, name)) goto done;
    rest += len;
  }
  rest[strcspn(rest, "#")] = 0;
  if (++n->redirects >= MOST_REDIRECTS) {
    fail(n, "stopped after 10 redirects");
    r = -1;
    goto done;
  }
  const char *last = strrchr(n->path, '/');
  char *path = *rest == '/'   ? strdup(rest)
               : *rest == '?' ? format("%.*s%s", (int)strcspn(n->path, "?"), n->path, rest)
                              : format("%.*s%s", last ? (int)(last - n->path) + 1 : 0, n->path, rest);
  set_str(&n->path, path);
  n->https = https;
  n->port = port;
  close_socket(n);
  open_socket(n);
  r = 1;
done:
  free(where);
  return r;
}

static void http_answered(probe_net_t *n, int code, const char *head, const char *body) {
  kg_str_t to = header(head, body, "Location");
  bool moved = code == 301 || code == 302 || code == 303 || code == 307 || code == 308;
  char text[128];
  if (moved && to.n && redirect(n, to)) return;
  if (code >= 300 && code < 400) {
    char *warning = format("Probe terminated redirects, Response body: %.*s", MOST_BODY, body);
    probe_warning(n->pr, warning ? warning : "");
    free(warning);
    return;
  }
  snprintf(text, sizeof text, "HTTP probe failed with statuscode: %d", code);
  probe_done(n->pr, code >= 200 && code < 300, text);
}

static bool body_whole(const probe_net_t *n, const char *head, const char *body) {
  size_t have = n->in.n - 1 - (size_t)(body - n->in.p);
  kg_str_t length = header(head, body, "Content-Length"), coding = header(head, body, "Transfer-Encoding");
  if (have >= MOST_BODY) return true;
  if (length.n) return have >= (size_t)atoll(length.p);
  return coding.n && have >= 5 && !memcmp(n->in.p + n->in.n - 6, "0\r\n\r\n", 5);
}

/* Looks whether the answer is complete; true if the turn is over (n may be gone). in has a NUL at its end. */
static bool http_look(probe_net_t *n, bool eof) {
  char *head = n->in.p, *body;
  int code = 0;
  for (;; head = body) { /* 1xx: more comes */
    body = strstr(head, "\r\n\r\n");
    if (!body) break;
    body += 4;
    if (sscanf(head, "HTTP/%*d.%*d %d", &code) != 1) break;
    if (code >= 200) break;
  }
  if (n->in.n >= 5 && strncmp(head, "HTTP/", 5)) {
    head[strcspn(head, "\r\n")] = 0;
    char *text = format("net/http: HTTP/1.x transport connection broken: malformed HTTP response \"%.100s\"", head);
    fail(n, text ? text : "");
    free(text);
    return true;
  }
  if (body && code >= 200 && (eof || body_whole(n, head, body))) return http_answered(n, code, head, body), true;
  if (!eof && (body || n->in.n < MOST_HEAD)) return false;
  fail(n, eof ? "EOF" : "net/http: server response headers exceeded 65536 bytes; aborted");
  return true;
}

/* --- the connection
 * ------------------------------------------------------------------------------------------------------ */

static void grpc_look(probe_net_t *n, bool eof) {
  char text[256];
  bool good;
  if (grpc_check_over(n->grpc, &good, text)) return probe_done(n->pr, good, text);
  if (eof) probe_done(n->pr, false, "error: health rpc probe failed: connection closed");
}

static void read_more(probe_net_t *n) {
  char buf[8192];
  for (;;) {
    ssize_t got = wire_read(&n->wire, buf, sizeof buf);
    if (got == WIRE_LATER) return;
    if (got == WIRE_BROKEN) return fail(n, "read: connection reset by peer");
    if (n->how == NET_GRPC) {
      if (got > 0 && grpc_check_in(n->grpc, buf, (size_t)got))
        return probe_done(n->pr, false, "error: health rpc probe failed: the server does not speak HTTP/2");
      probe_t *pr = n->pr;
      grpc_look(n, got == 0);
      if (pr->net != n || grpc_check_out(n->grpc, &n->out)) return;
      continue;
    }
    if (n->in.n) n->in.n--; /* the NUL */
    kube_buf_add(&n->in, buf, (size_t)got);
    kube_buf_add(&n->in, "", 1);
    if (n->in.failed || http_look(n, got == 0)) return;
  }
}

/* False: the turn is over. */
static bool write_more(probe_net_t *n) {
  while (n->sent < n->out.n) {
    ssize_t did = wire_write(&n->wire, n->out.p + n->sent, n->out.n - n->sent);
    if (did == WIRE_LATER) return true;
    if (did == WIRE_BROKEN) {
      fail(n, "write: broken pipe");
      return false;
    }
    n->sent += (size_t)did;
  }
  return true;
}

static bool shake(probe_net_t *n) {
  char text[WIRE_TEXT + 8], why[WIRE_TEXT];
  bool plain;
  int r = wire_shake(&n->wire, why, &plain);
  if (r >= 0) return r;
  snprintf(text, sizeof text, "tls: %s", why);
  fail(n, text);
  return false;
}

/* False: the turn is over. */
static bool connected(probe_net_t *n) {
  int why = wire_error(&n->wire);
  if (why) return fail_dial(n, why), false;
  n->connected = true;
  if (n->how == NET_TCP) return probe_done(n->pr, true, ""), false;
  if (n->how == NET_GRPC && grpc_check_out(n->grpc, &n->out))
    return probe_done(n->pr, false, "error: health rpc probe failed: out of memory"), false;
  if (n->how == NET_HTTP) http_request(n);
  if (n->https) wire_tls(&n->wire);
  return true;
}

static void on_socket(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)self, (void)events;
  probe_t *pr = arg;
  probe_net_t *n = pr->net;
  if (!n || n->wire.fd != fd || (!n->connected && !connected(n))) return;
  if (!shake(n)) {
    if (pr->net == n && n->wire.fd == fd)
      kg_fd_change(ctx, fd, EPOLLIN | (wire_wants_write(&n->wire) ? (uint32_t)EPOLLOUT : 0));
    return;
  }
  if (!write_more(n)) return;
  read_more(n);
  if (pr->net == n && n->wire.fd == fd && n->connected)
    kg_fd_change(ctx, fd, EPOLLIN | (n->sent < n->out.n ? (uint32_t)EPOLLOUT : 0));
}

static void open_socket(probe_net_t *n) {
  kg_error_t err = {0};
  int why = wire_open(&n->wire, n->host, n->port);
  if (why > 0) return fail_dial(n, why);
  if (why < 0) {
    char *text = format("the host \"%s\" is no address: this node looks up no names for probes", n->host);
    probe_unknown(n->pr, text ? text : "");
    free(text);
    return;
  }
  if (kg_fd_watch(ctx_of(n), n->wire.fd, EPOLLOUT, on_socket, n->pr, &err)) probe_unknown(n->pr, err.text);
}

/* --- what to connect to
 * -------------------------------------------------------------------------------------------------- */

int box_port(const box_t *b, kg_view_t port) {
  kg_str_t name = kg_view_str(port);
  if (!name.p) return (int)kg_view_int(port, 0);
  kg_view_t found = kube_list_find(kg_view_get(box_spec(b), "ports"), "name", name);
  if (kg_view_there(found)) return (int)kg_view_int(kg_view_get(found, "containerPort"), 0);
  char text[16];
  snprintf(text, sizeof text, KG_STR_FMT, KG_STR_ARG(name));
  return atoi(text); /* digits in a string are a number, too */
}

char *box_host(const box_t *b, kg_view_t action) {
  const pod_t *p = b->pod;
  kg_str_t own = VIEW_STR(action, "host");
  if (own.n > 2 && own.p[0] == '[' && own.p[own.n - 1] == ']') own = (kg_str_t){own.p + 1, own.n - 2};
  if (own.n) return kg_str_dup(own);
  bool host = kg_view_bool(kg_view_get(pod_spec(p), "hostNetwork"), false);
  const char *ip = host || !p->ip ? p->agent->ip : p->ip;
  return strdup(ip ? ip : "127.0.0.1");
}

char *http_path(kg_view_t action) {
  kg_str_t path = VIEW_STR(action, "path");
  return format("%s" KG_STR_FMT, path.n && path.p[0] == '/' ? "" : "/", KG_STR_ARG(path));
}

void probe_connect(probe_t *pr, kg_view_t spec) {
  static const char *const keys[] = {"httpGet", "tcpSocket", "grpc"};
  kg_view_t action = {0};
  how_t how = NET_HTTP;
  for (; how <= NET_GRPC && kg_view_type(action = kg_view_get(spec, keys[how])) != KG_V_MAP; how++) {
  }
  if (how > NET_GRPC) return probe_unknown(pr, "missing probe handler");
  probe_net_t *n = pr->net = calloc(1, sizeof *n);
  if (!n) return probe_unknown(pr, "out of memory");
  n->pr = pr;
  n->how = how;
  n->wire.fd = -1;
  n->https = how == NET_HTTP && kg_str_is(VIEW_STR(action, "scheme"), "HTTPS");
  n->host = box_host(pr->box, action);
  n->path = http_path(action);
  n->port = box_port(pr->box, kg_view_get(action, "port"));
  n->timeout_ms = kg_view_int(kg_view_get(spec, "timeoutSeconds"), 1) * 1000;
  if (!n->host || !n->path || n->port < 1 || n->port > 65535) return probe_unknown(pr, "invalid port number");
  char *at = address(n);
  if (how == NET_GRPC) n->grpc = grpc_check_new(at, VIEW_STR(action, "service"));
  free(at);
  if (how == NET_GRPC && !n->grpc) return probe_unknown(pr, "out of memory");
  pr->timeout = kg_timer(ctx_of(n), n->timeout_ms, 0, on_timeout, pr);
  open_socket(n);
}
