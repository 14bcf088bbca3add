/* postStart and preStop: a command in the container, an HTTP request to it, or a sleep. */
#include <stdio.h>
#include <sys/epoll.h>

#include "node.h"
#include "wire.h"

enum { AGAIN_MS = 50 };

typedef struct hook {
  box_t *box;
  hook_fn done;
  const char *name; /* literal */
  uint64_t call, timer, again;
  int64_t exit; /* of a command; -1: not yet */
  wire_t wire;
  bool https, connected, fell_back; /* it was to be HTTPS, and nobody spoke that */
  char *host;
  int port;
  kube_buf_t out, in;
  size_t sent;
} hook_t;

static agent_t *agent_of(const hook_t *h) {
  return h->box->pod->agent;
}

void hook_cancel(box_t *b) {
  hook_t *h = b->hook;
  if (!h) return;
  kg_ctx_t *ctx = agent_of(h)->ctx;
  b->hook = NULL;
  b->hook_running = false;
  if (h->call) kg_cancel(ctx, h->call);
  kg_timer_cancel(ctx, h->timer);
  kg_timer_cancel(ctx, h->again);
  wire_close(&h->wire, ctx);
  free(h->host);
  kube_buf_free(&h->out);
  kube_buf_free(&h->in);
  free(h);
}

static void finish(hook_t *h, const char *error) {
  box_t *b = h->box;
  hook_fn done = h->done;
  hook_cancel(b);
  done(b, error);
}

static void on_timeout(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  hook_t *h = arg;
  h->timer = 0;
  finish(h, "it took longer than the grace period");
}

/* --- exec
 * -------------------------------------------------------------------------------------------------------------- */

static kg_view_t action_of(const hook_t *h, const char *kind) {
  return kg_view_path(box_spec(h->box), "lifecycle", h->name, kind, NULL);
}

static void run_exec(hook_t *h);

static void on_again(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  hook_t *h = arg;
  h->again = 0;
  run_exec(h);
}

static void on_exec(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  hook_t *h = arg;
  char text[64];
  if (kg_msg_type(m) == KG_MSG_ITEM) {
    kg_view_t exit = kg_view_get(kg_msg_args(m), "exit");
    if (kg_view_there(exit)) h->exit = kg_view_int(exit, -1);
    return;
  }
  h->call = 0;
  if (kg_msg_code(m) == KG_EUNAVAILABLE) { /* the runtime was replaced: hooks run once, or once more */
    h->again = kg_timer(ctx, AGAIN_MS, 0, on_again, h);
    return;
  }
  snprintf(text, sizeof text, "command exited with %lld", (long long)h->exit);
  finish(h, kg_msg_type(m) == KG_MSG_ERROR ? kg_msg_text(m) : h->exit ? text : NULL);
}

static void run_exec(hook_t *h) {
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "id", h->box->id);
  kg_pack_kv_view(&k, "command", kg_view_get(action_of(h, "exec"), "command"));
  kg_pack_kv_bool(&k, "stdout", true);
  kg_pack_kv_bool(&k, "stderr", true);
  kg_pack_end(&k);
  kg_doc_t *args = kg_pack_doc(&k);
  h->exit = -1;
  h->call = kg_send(agent_of(h)->ctx, &(kg_request_t){.service = agent_of(h)->runtime,
                                                      .topic = "runtime.exec",
                                                      .args = args,
                                                      .stream = true,
                                                      .timeout_ms = -1,
                                                      .fn = on_exec,
                                                      .arg = h});
  kg_doc_unref(args);
}

/* --- httpGet
 * ----------------------------------------------------------------------------------------------------------- */

static void open_socket(hook_t *h);

/* Whatever the answer is, it is one: a kubelet does not ask for its code. */
static void http_answered(hook_t *h) {
  if (h->fell_back)
    pod_event(h->box->pod, "Warning", "LifecycleHTTPFallback",
              "request to HTTPS lifecycle hook %s:%d got HTTP response, retry with HTTP succeeded", h->host, h->port);
  finish(h, NULL);
}

static void fall_back(hook_t *h) {
  h->https = h->connected = false;
  h->fell_back = true;
  wire_close(&h->wire, agent_of(h)->ctx);
  open_socket(h);
}

/* True: bytes may go both ways. Otherwise h may be gone. */
static bool established(hook_t *h) {
  char why[WIRE_TEXT];
  bool plain = false;
  int e = h->connected ? 0 : wire_error(&h->wire), r;
  if (e) return finish(h, strerror(e)), false;
  if (!h->connected && h->https) wire_tls(&h->wire);
  h->connected = true;
  r = wire_shake(&h->wire, why, &plain);
  if (r > 0) return true;
  if (r < 0 && plain)
    fall_back(h);
  else if (r < 0)
    finish(h, why);
  else
    kg_fd_change(agent_of(h)->ctx, h->wire.fd, EPOLLIN | (wire_wants_write(&h->wire) ? (uint32_t)EPOLLOUT : 0));
  return false;
}

static void on_socket(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)self, (void)events;
  hook_t *h = arg;
  char buf[4096];
  if (!established(h)) return;
  while (h->sent < h->out.n) {
    ssize_t n = wire_write(&h->wire, h->out.p + h->sent, h->out.n - h->sent);
    if (n == WIRE_LATER) return (void)kg_fd_change(ctx, fd, EPOLLIN | EPOLLOUT);
    if (n == WIRE_BROKEN) return finish(h, "write: broken pipe");
    h->sent += (size_t)n;
  }
  kg_fd_change(ctx, fd, EPOLLIN);
  ssize_t n = wire_read(&h->wire, buf, sizeof buf);
  if (n == WIRE_LATER) return;
  if (n > 0) kube_buf_add(&h->in, buf, (size_t)n);
  bool good = h->in.n >= 5 && !h->in.failed && !memcmp(h->in.p, "HTTP/", 5);
  if (good) return http_answered(h);
  if (n <= 0 || h->in.n >= 5) finish(h, "no answer of HTTP came");
}

static void open_socket(hook_t *h) {
  kg_error_t err = {0};
  int why = wire_open(&h->wire, h->host, h->port);
  if (why) return finish(h, why > 0 ? strerror(why) : "its host is no address: this node looks up no names for hooks");
  if (kg_fd_watch(agent_of(h)->ctx, h->wire.fd, EPOLLOUT, on_socket, h, &err)) finish(h, err.text);
}

static void run_http(hook_t *h, kg_view_t http) {
  char *path = http_path(http);
  h->host = box_host(h->box, http);
  h->port = box_port(h->box, kg_view_get(http, "port"));
  h->https = kg_str_is(VIEW_STR(http, "scheme"), "HTTPS");
  char *at = h->host ? format("%s:%d", h->host, h->port) : NULL;
  if (path && at) http_get(&h->out, http, path, at, "kube-lifecycle/1.37");
  free(path);
  free(at);
  if (!h->out.n || h->out.failed) return finish(h, "out of memory");
  open_socket(h);
}

/* --- which one
 * --------------------------------------------------------------------------------------------------------- */

static void on_slept(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  hook_t *h = arg;
  h->timer = 0;
  finish(h, NULL);
}

void box_run_hook(box_t *b, const char *name, int64_t timeout_ms, hook_fn done) {
  kg_view_t spec = kg_view_path(box_spec(b), "lifecycle", name, NULL), exec = kg_view_get(spec, "exec");
  kg_view_t http = kg_view_get(spec, "httpGet"), sleep = kg_view_get(spec, "sleep");
  kg_ctx_t *ctx = b->pod->agent->ctx;
  bool any = kg_view_there(exec) || kg_view_there(http) || kg_view_there(sleep);
  hook_t *h = any ? calloc(1, sizeof *h) : NULL;
  if (!any && kg_view_count(spec)) return done(b, "invalid handler"); /* tcpSocket: it never was one */
  if (!h) return done(b, any ? "out of memory" : NULL);
  *h = (hook_t){.box = b, .done = done, .name = name, .wire = {.fd = -1}};
  b->hook = h;
  int64_t slept = kg_view_int(kg_view_get(sleep, "seconds"), 0) * 1000;
  if (kg_view_there(sleep) && (timeout_ms < 0 || slept <= timeout_ms)) {
    h->timer = kg_timer(ctx, slept, 0, on_slept, h);
    return;
  }
  if (timeout_ms >= 0) h->timer = kg_timer(ctx, timeout_ms, 0, on_timeout, h);
  if (kg_view_there(exec))
    run_exec(h);
  else if (kg_view_there(http))
    run_http(h, http);
}
