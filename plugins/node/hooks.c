/* postStart and preStop: a command in the container, an HTTP request to it, or a sleep. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node.h"

enum { ANSWER_MAX = 16 * 1024 };

typedef struct hook {
  box_t *box;
  hook_fn done;
  uint64_t call, timer;
  int64_t exit; /* of a command; -1: not yet */
  int fd;       /* -1: none */
  size_t sent;
  kube_buf_t out, in;
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
  if (h->fd >= 0) {
    kg_fd_forget(ctx, h->fd);
    close(h->fd);
  }
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

static void on_exec(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  hook_t *h = arg;
  char text[64];
  if (kg_msg_type(m) == KG_MSG_ITEM) {
    kg_view_t exit = kg_view_get(kg_msg_args(m), "exit");
    if (kg_view_there(exit)) h->exit = kg_view_int(exit, -1);
    return;
  }
  h->call = 0;
  snprintf(text, sizeof text, "command exited with %lld", (long long)h->exit);
  finish(h, kg_msg_type(m) == KG_MSG_ERROR ? kg_msg_text(m) : h->exit ? text : NULL);
}

static void run_exec(hook_t *h, kg_view_t exec) {
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "id", h->box->id);
  kg_pack_kv_view(&k, "command", kg_view_get(exec, "command"));
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

static void http_answered(hook_t *h) {
  int status = 0;
  char text[64];
  kube_buf_add(&h->in, "", 1);
  if (h->in.failed || sscanf(h->in.p, "HTTP/1.%*d %d", &status) != 1) return finish(h, "no answer of HTTP came");
  snprintf(text, sizeof text, "HTTP status %d", status);
  finish(h, status >= 200 && status < 400 ? NULL : text);
}

static void on_socket(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)self, (void)events;
  hook_t *h = arg;
  char buf[4096];
  while (h->sent < h->out.n) {
    ssize_t n = send(fd, h->out.p + h->sent, h->out.n - h->sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) return finish(h, strerror(errno));
    h->sent += (size_t)n;
    if (h->sent == h->out.n) kg_fd_change(ctx, fd, EPOLLIN);
  }
  ssize_t n = recv(fd, buf, sizeof buf, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) return finish(h, strerror(errno));
  kube_buf_add(&h->in, buf, (size_t)n);
  if (n == 0 || h->in.n > ANSWER_MAX || memchr(h->in.p, '\n', h->in.n)) http_answered(h);
}

static int port_of(const box_t *b, kg_view_t port) {
  if (kg_view_type(port) == KG_V_INT) return (int)kg_view_int(port, 0);
  for (kg_iter_t it = kg_iter(kg_view_get(box_spec(b), "ports")); kg_iter_next(&it);)
    if (kg_str_eq(VIEW_STR(it.value, "name"), kg_view_str(port)))
      return (int)kg_view_int(kg_view_get(it.value, "containerPort"), 0);
  char *text = kg_str_dup(kg_view_str(port));
  int number = text ? atoi(text) : 0;
  free(text);
  return number;
}

static void http_request(hook_t *h, kg_view_t http, const char *host, int port) {
  kg_str_t path = VIEW_STR(http, "path");
  bool own_host = false;
  kube_buf_fmt(&h->out, "GET %s" KG_STR_FMT " HTTP/1.1\r\n", path.n && path.p[0] == '/' ? "" : "/", KG_STR_ARG(path));
  for (kg_iter_t it = kg_iter(kg_view_get(http, "httpHeaders")); kg_iter_next(&it);) {
    kg_str_t name = VIEW_STR(it.value, "name");
    own_host |= name.n == 4 && !strncasecmp(name.p, "host", 4);
    kube_buf_fmt(&h->out, KG_STR_FMT ": " KG_STR_FMT "\r\n", KG_STR_ARG(name), KG_STR_ARG(VIEW_STR(it.value, "value")));
  }
  if (!own_host) kube_buf_fmt(&h->out, "Host: %s:%d\r\n", host, port);
  kube_buf_addz(&h->out, "User-Agent: kube-lifecycle/1.35\r\nAccept: */*\r\nConnection: close\r\n\r\n");
}

static void run_http(hook_t *h, kg_view_t http) {
  const pod_t *p = h->box->pod;
  char *host = kg_str_dup(VIEW_STR(http, "host"));
  int port = port_of(h->box, kg_view_get(http, "port"));
  if (!host || !*host) set_str(&host, strdup(p->ip ? p->ip : p->agent->ip ? p->agent->ip : ""));
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, host, &to.sin_addr) != 1) {
    free(host);
    return finish(h, "its host is no IPv4 address");
  }
  http_request(h, http, host, port);
  free(host);
  h->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (h->fd < 0 || (connect(h->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS))
    return finish(h, strerror(errno));
  kg_fd_watch(agent_of(h)->ctx, h->fd, EPOLLIN | EPOLLOUT, on_socket, h, NULL);
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
  if (!h) return done(b, any ? "out of memory" : NULL);
  *h = (hook_t){.box = b, .done = done, .fd = -1};
  b->hook = h;
  int64_t slept = kg_view_int(kg_view_get(sleep, "seconds"), 0) * 1000;
  if (kg_view_there(sleep) && (timeout_ms < 0 || slept <= timeout_ms)) {
    h->timer = kg_timer(ctx, slept, 0, on_slept, h);
    return;
  }
  if (timeout_ms >= 0) h->timer = kg_timer(ctx, timeout_ms, 0, on_timeout, h);
  if (kg_view_there(exec))
    run_exec(h, exec);
  else if (kg_view_there(http))
    run_http(h, http);
}
