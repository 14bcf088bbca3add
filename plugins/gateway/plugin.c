/* The gateway as a plugin: its life, its configuration, what it answers on the bus. */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "gateway.h"

enum { DRAIN_MS = 3000, RENEW_MS = 12 * 3600 * 1000 };

static void add_address(gw_t *gw, kg_str_t s) {
  if (!s.n || s.n >= sizeof gw->addresses[0] || gw->naddresses == GW_MAX_LISTEN) return;
  for (size_t i = 0; i < gw->naddresses; i++)
    if (kg_str_is(s, gw->addresses[i])) return;
  memcpy(gw->addresses[gw->naddresses], s.p, s.n);
  gw->addresses[gw->naddresses++][s.n] = 0;
}

static void add_list(gw_t *gw, kg_view_t v) {
  if (kg_view_type(v) == KG_V_STR) add_address(gw, kg_view_str(v));
  for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) add_address(gw, kg_view_str(it.value));
}

static int read_config(gw_t *gw, kg_error_t *err) {
  kg_view_t c = kg_config(gw->ctx), port = kg_view_get(c, "port");
  gw->port = (int)kg_view_int(port, 6443);
  if (kg_view_type(port) == KG_V_STR) gw->port = atoi(kg_view_str(port).p); /* a flag's value */
  if (gw->port < 1 || gw->port > 65535)
    return kg_error_set(err, KG_EINVAL, "port %d is not between 1 and 65535", gw->port);
  int64_t seconds = kg_view_int(kg_view_get(c, "requestTimeoutSeconds"), 30);
  if (seconds < 1 || seconds > 3600)
    return kg_error_set(err, KG_EINVAL, "requestTimeoutSeconds %lld is not between 1 and 3600", (long long)seconds);
  gw->request_ms = (int)seconds * 1000;
  add_list(gw, kg_view_get(c, "bind"));
  if (!gw->naddresses) add_address(gw, KG_STR("127.0.0.1"));
  add_list(gw, kg_view_get(c, "extraAddresses"));
  return 0;
}

static void gateway_destroy(kg_ctx_t *ctx, void *self);

static int gateway_create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  gw_t *gw = calloc(1, sizeof *gw);
  if (!gw) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  gw->ctx = ctx;
  gw->spare_fd = -1;
  static const char *const everybody[] = {"system:unauthenticated"};
  gw->anonymous = gw_user_new("system:anonymous", everybody, 1, (kg_view_t){0});
  if (gw->anonymous) gw->anonymous->anonymous = true;
  if (!gw->anonymous || asprintf(&gw->tls_dir, "%s/tls", kg_data_dir(ctx)) < 0 || read_config(gw, err)) {
    gateway_destroy(ctx, gw);
    return -1;
  }
  *self = gw;
  return 0;
}

/* --- listening
 * ------------------------------------------------------------------------------------------------------------ */

static int listen_all(gw_t *gw, kg_error_t *err) {
  for (size_t i = 0; i < gw->naddresses; i++)
    if (gw_listen(gw, gw->addresses[i], gw->port, err)) {
      while (gw->nlisten) close(gw->listen_fd[--gw->nlisten]);
      return -1;
    }
  return 0;
}

static void watch_listeners(gw_t *gw) {
  kg_error_t err;
  for (size_t i = 0; i < gw->nlisten; i++)
    if (kg_fd_watch(gw->ctx, gw->listen_fd[i], EPOLLIN, gw_accept, NULL, &err))
      kg_log(gw->ctx, KG_LOG_ERROR, "%s", err.text);
}

static void forget_listeners(gw_t *gw) {
  for (size_t i = 0; i < gw->nlisten; i++) kg_fd_forget(gw->ctx, gw->listen_fd[i]);
}

/* The port is taken: by the gateway that this one is to replace, or by somebody else? Only the former answers on the
 * bus. */
static void on_predecessor(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  gw_t *gw = self;
  gw->probing = false;
  kg_view_t args = kg_msg_args(m);
  if (kg_msg_type(m) == KG_MSG_REPLY && kg_view_int(kg_view_get(args, "port"), 0) == gw->port)
    kg_ready(ctx);
  else
    kg_not_ready(ctx, "port %d is in use by another program", gw->port);
}

static int gateway_start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  gw_t *gw = self;
  gw->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (gw_pki_prepare(gw, err) || gw_tls_open(gw, err)) return -1;
  kg_error_t why;
  if (!listen_all(gw, &why)) {
    kg_ready(ctx);
    return 0;
  }
  if (why.code != KG_ECONFLICT) {
    *err = why;
    return -1;
  }
  gw->probing = true;
  kg_request_t r = {.service = "gateway", .topic = "gateway.status", .timeout_ms = 5000, .fn = on_predecessor};
  kg_send(ctx, &r);
  return 0;
}

static int write_kubeconfig(gw_t *gw, kg_error_t *err) {
  char path[4096];
  kube_buf_t b = {0};
  snprintf(path, sizeof path, "%s/admin.kubeconfig", kg_data_dir(gw->ctx));
  int r = gw_kubeconfig_text(gw, &b, err);
  if (!r && b.failed) r = kg_error_set(err, KG_EINTERNAL, "out of memory");
  if (!r) r = gw_write_file(path, b.p, b.n, err);
  kube_buf_free(&b);
  return r;
}

static void renew(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  gw_t *gw = self;
  kg_error_t err = {0};
  if (gw_pki_prepare(gw, &err) || gw_tls_open(gw, &err) || write_kubeconfig(gw, &err))
    kg_log(ctx, KG_LOG_ERROR, "cannot renew the certificates: %s", err.text);
}

static void try_listen(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  gw_t *gw = self;
  kg_error_t err = {0};
  if (!gw->nlisten && listen_all(gw, &err)) {
    kg_log(ctx, KG_LOG_ERROR, "%s", err.text);
    kg_timer(ctx, 1000, 0, try_listen, NULL);
    return;
  }
  watch_listeners(gw);
  kg_log(ctx, KG_LOG_INFO, "listening on %s port %d", gw->addresses[0], gw->port);
}

static bool has_address(const gw_t *gw, kg_str_t s) {
  for (size_t i = 0; i < gw->naddresses; i++)
    if (kg_str_is(s, gw->addresses[i]) || !strcmp(gw->addresses[i], "0.0.0.0")) return true;
  return false;
}

static bool listen_for_pods(gw_t *gw, kg_str_t address) {
  kg_error_t err = {0};
  add_address(gw, address);
  const char *added = gw->addresses[gw->naddresses - 1];
  if (!kg_str_is(address, added)) return false;
  if (gw_pki_prepare(gw, &err) || gw_tls_open(gw, &err) || gw_listen(gw, added, gw->port, &err)) {
    gw->naddresses--;
    kg_log(gw->ctx, KG_LOG_ERROR, "pods cannot reach the API: %s", err.text);
    return false;
  }
  if (kg_fd_watch(gw->ctx, gw->listen_fd[gw->nlisten - 1], EPOLLIN, gw_accept, NULL, &err))
    kg_log(gw->ctx, KG_LOG_ERROR, "%s", err.text);
  kg_log(gw->ctx, KG_LOG_INFO, "listening on %s port %d for pods", added, gw->port);
  return true;
}

/* The node's own address in the pod network: pods reach the API there. Named in the certificate, listened on. */
static void on_network(kg_ctx_t *ctx, void *self, kg_view_t status) {
  gw_t *gw = self;
  kg_str_t address = kg_view_str(kg_view_get(status, "gateway"));
  if (!address.n || !kg_active(ctx) || !gw->nlisten) return;
  if (has_address(gw, address) || listen_for_pods(gw, address)) gw_publish_self(gw, address);
}

static void on_network_event(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  on_network(ctx, self, kg_msg_args(m));
}

static void on_network_status(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  if (kg_msg_type(m) == KG_MSG_REPLY) on_network(ctx, self, kg_msg_args(m));
}

static void gateway_activate(kg_ctx_t *ctx, void *self) {
  gw_t *gw = self;
  kg_error_t err = {0};
  try_listen(ctx, gw, NULL);
  kg_subscribe(ctx, "network.configured");
  kg_send(ctx, &(kg_request_t){.service = "network", .topic = "network.status", .fn = on_network_status});
  if (write_kubeconfig(gw, &err))
    kg_log(ctx, KG_LOG_ERROR, "cannot write the administrator's kubeconfig: %s", err.text);
  gw->renew_timer = kg_timer(ctx, RENEW_MS, RENEW_MS, renew, NULL);
}

/* --- swap: the sockets that listen go to the successor, so no connection is refused in between
 * --------------------------------- */

static bool quiet(gw_t *gw) {
  for (gw_conn_t *c = gw->conns; c; c = c->next)
    for (gw_ex_t *ex = c->exchanges; ex; ex = ex->next)
      if (ex->state == GW_WORKING || ex->state == GW_READING) return false;
  return true;
}

static void drain_check(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  gw_t *gw = self;
  if (!quiet(gw) && kg_now_ms(ctx) < (int64_t)gw->drain_timer) {
    kg_timer(ctx, 5, 0, drain_check, NULL);
    return;
  }
  gw->draining = false;
  kg_drained(ctx);
}

static void gateway_drain(kg_ctx_t *ctx, void *self) {
  gw_t *gw = self;
  gw->draining = true;
  forget_listeners(gw);
  for (gw_conn_t *c = gw->conns; c; c = c->next)
    if (c->is_h2) gw_http2_drain(c);
  gw->drain_timer = (uint64_t)(kg_now_ms(ctx) + DRAIN_MS);
  drain_check(ctx, gw, NULL);
}

static void gateway_resume(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  watch_listeners(self);
}

static int gateway_hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)ctx;
  gw_t *gw = self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "pid", getpid());
  kg_pack_kv_int(&p, "port", gw->port);
  kg_pack_key(&p, "listeners");
  kg_pack_array(&p);
  for (size_t i = 0; i < gw->nlisten; i++) kg_pack_int(&p, gw->listen_fd[i]);
  kg_pack_end(&p);
  kg_pack_key(&p, "addresses");
  kg_pack_array(&p);
  for (size_t i = 0; i < gw->naddresses; i++) kg_pack_str(&p, gw->addresses[i]);
  kg_pack_end(&p);
  kg_pack_end(&p);
  *state = kg_pack_doc(&p);
  return *state ? 0 : kg_error_set(err, KG_EINTERNAL, "out of memory");
}

static int gateway_accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx;
  gw_t *gw = self;
  if (gw->nlisten || !kg_view_there(state)) return 0;
  bool ours =
      kg_view_int(kg_view_get(state, "pid"), 0) == getpid() && kg_view_int(kg_view_get(state, "port"), 0) == gw->port;
  if (!ours) return 0; /* try_listen() waits for the port */
  for (kg_iter_t it = kg_iter(kg_view_get(state, "listeners")); kg_iter_next(&it) && gw->nlisten < GW_MAX_LISTEN;) {
    int fd = fcntl((int)kg_view_int(it.value, -1), F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
      while (gw->nlisten) close(gw->listen_fd[--gw->nlisten]);
      return kg_error_set(err, KG_EINTERNAL, "cannot take over a listening socket: %s", strerror(errno));
    }
    gw->listen_fd[gw->nlisten++] = fd;
  }
  add_list(gw, kg_view_get(state, "addresses"));
  return 0;
}

static void gateway_destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  gw_t *gw = self;
  while (gw->conns) gw_conn_close(gw->conns);
  while (gw->nlisten) close(gw->listen_fd[--gw->nlisten]);
  if (gw->spare_fd >= 0) close(gw->spare_fd);
  gw_forget_self(gw);
  gw_watch_cache_free(gw);
  gw_hubs_free(gw);
  gw_runs_free(gw);
  gw_wire_free(gw);
  gw_token_cache_free(gw);
  gw_series_free(gw);
  gw_user_unref(gw->anonymous);
  SSL_CTX_free(gw->tls);
  EVP_PKEY_free(gw->sa_key);
  free(gw->tls_dir);
  free(gw);
}

/* --- what others may ask
 * ---------------------------------------------------------------------------------------------------- */

static void on_status(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  gw_t *gw = self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "port", gw->port);
  kg_pack_key(&p, "addresses");
  kg_pack_array(&p);
  for (size_t i = 0; i < gw->naddresses; i++) kg_pack_str(&p, gw->addresses[i]);
  kg_pack_end(&p);
  kg_pack_kv_int(&p, "connections", (int64_t)gw->nconns);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

static void on_sign(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_error_t err = {0};
  kg_view_t claims = kg_view_get(kg_msg_args(m), "claims");
  if (kg_view_type(claims) != KG_V_MAP) {
    kg_fail(ctx, m, KG_EINVAL, "gateway.sign-token needs a map \"claims\"");
    return;
  }
  char *token = gw_jwt_sign(self, claims, &err);
  if (!token) {
    kg_fail(ctx, m, err.code, "%s", err.text);
    return;
  }
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "token", token);
  kg_pack_kv_str(&p, "keyID", ((gw_t *)self)->sa_kid);
  kg_pack_end(&p);
  free(token);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

/* A certificate for an approved request (controller-certificates). */
static void on_sign_request(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_error_t err = {0};
  kube_buf_t out = {0};
  if (gw_sign_request(self, kg_msg_args(m), &out, &err)) {
    kg_fail(ctx, m, err.code, "%s", err.text);
    kube_buf_free(&out);
    return;
  }
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_strn(&p, "certificate", (kg_str_t){out.p, out.n});
  kg_pack_end(&p);
  kube_buf_free(&out);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

/* The root certificate, for the kube-root-ca.crt config maps. */
static void on_ca(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  gw_t *gw = self;
  char path[4096];
  kg_error_t err = {0};
  snprintf(path, sizeof path, "%s/ca.crt", gw->tls_dir);
  char *text = gw_read_file(path, NULL, &err);
  if (!text) {
    kg_fail(ctx, m, err.code, "%s", err.text);
    return;
  }
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "pem", text);
  kg_pack_end(&p);
  free(text);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

static void say(kg_ctx_t *ctx, const kg_msg_t *m, const char *key, const void *data, size_t n) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, key);
  kg_pack_bin(&p, data, n);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_stream_item(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

static const char usage[] = "usage: kogge kubeconfig\n  prints the administrator's kubeconfig\n";

/* `kogge kubeconfig` */
static void on_cli(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kube_buf_t b = {0};
  kg_error_t err = {0};
  int code = 0;
  kg_view_t argv = kg_view_get(kg_msg_args(m), "argv");
  if (kg_view_count(argv)) {
    code = kg_str_is(kg_view_str(kg_view_at(argv, 0)), "--help") ? 0 : 2;
    kube_buf_addz(&b, usage);
  } else if (gw_kubeconfig_text(self, &b, &err) < 0 || b.failed) {
    code = 1;
    kube_buf_free(&b);
    kube_buf_fmt(&b, "kogge: %s\n", err.code ? err.text : "out of memory");
  }
  say(ctx, m, code ? "err" : "out", b.p, b.n);
  kube_buf_free(&b);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "exit", code);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_stream_item(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
  kg_stream_end(ctx, m);
}

/* Nothing comes after it. */
static void on_complete(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_reply(ctx, m, NULL, NULL, 0);
}

static void gateway_stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  gw_t *gw = self;
  kg_pack_kv_int(p, "connections", (int64_t)gw->nconns);
  kg_pack_kv_int(p, "exchanges", (int64_t)gw->nstreams);
  kg_pack_kv_int(p, "accepted", (int64_t)gw->accepted);
  kg_pack_kv_int(p, "requests", (int64_t)gw->requests);
  kg_pack_kv_int(p, "badRequests", (int64_t)gw->bad_requests);
  kg_pack_kv_int(p, "refused", (int64_t)gw->refused);
  kg_pack_kv_int(p, "requestBytes", (int64_t)gw->held);
  kg_pack_kv_int(p, "handshakeFailures", (int64_t)gw->handshake_failures);
}

static const char *const services[] = {"gateway", "cli/kubeconfig", NULL};
static const kg_handler_t handlers[] = {{"gateway.status", on_status},
                                        {"gateway.sign-token", on_sign},
                                        {"gateway.sign-request", on_sign_request},
                                        {"gateway.ca", on_ca},
                                        {"cli.run", on_cli},
                                        {"cli.complete", on_complete},
                                        {"network.configured", on_network_event},
                                        {0}};

KG_PLUGIN(.name = "gateway", .config_keys = "port bind extraAddresses certificateNames requestTimeoutSeconds",
          .role = "gateway", .version = "0.1", .summary = "HTTPS front of the API: HTTP/1.1, HTTP/2, WebSocket.",
          .services = services, .handlers = handlers, .create = gateway_create, .start = gateway_start,
          .activate = gateway_activate, .drain = gateway_drain, .hand_over = gateway_hand_over,
          .accept = gateway_accept, .resume = gateway_resume, .stats = gateway_stats, .destroy = gateway_destroy);
