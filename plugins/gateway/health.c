/* /healthz, /livez, /readyz: each check by itself, all together, or all but those excluded. */
#include <stdio.h>

#include "gateway.h"

/* The process lives if anything is answered at all; the others ask. */
enum { PING, ETCD, INFORMER_SYNC, SHUTDOWN, CHECKS };
static const char *const names[CHECKS] = {"ping", "etcd", "informer-sync", "shutdown"};
enum { ASK_MS = 2000 };

typedef struct health {
  gw_ex_t *ex;
  const char *path, *only; /* only: "": all */
  bool wanted[CHECKS], bad[CHECKS];
  uint64_t calls[CHECKS];
  unsigned left;
} health_t;

static bool excluded(const gw_ex_t *ex, const char *name) {
  size_t at = 0;
  for (char *v; (v = gw_query(ex, "exclude", &at));) {
    bool same = !strcmp(v, name);
    free(v);
    if (same) return true;
  }
  return false;
}

static void complain_of_unknown(const gw_ex_t *ex, kube_buf_t *b) {
  size_t at = 0;
  for (char *v; (v = gw_query(ex, "exclude", &at));) {
    bool known = false;
    for (int i = 0; i < CHECKS; i++) known |= !strcmp(v, names[i]);
    if (!known) {
      kube_buf_addz(b, "warn: some health checks cannot be excluded: no matches for ");
      kube_json_string(b, kg_str(v));
      kube_buf_addz(b, "\n");
    }
    free(v);
  }
}

static void tell(health_t *h) {
  gw_ex_t *ex = h->ex;
  kube_buf_t b = {0};
  bool failed = false;
  for (int i = 0; i < CHECKS; i++) {
    if (!h->wanted[i]) continue;
    bool out = !*h->only && excluded(ex, names[i]);
    failed |= h->bad[i] && !out;
    kube_buf_fmt(&b,
                 out         ? "[+]%s excluded: ok\n"
                 : h->bad[i] ? "[-]%s failed: reason withheld\n"
                             : "[+]%s ok\n",
                 names[i]);
  }
  if (!*h->only) complain_of_unknown(ex, &b);
  kube_buf_fmt(&b, "%s check %s\n", h->path, failed ? "failed" : "passed");
  if (*h->only && failed) {
    kube_buf_free(&b);
    kube_buf_addz(&b, "internal server error: reason withheld\n");
  } else if (!failed && !(gw_query_bool(ex, "verbose") && !*h->only)) {
    kube_buf_free(&b);
    kube_buf_addz(&b, "ok");
  }
  gw_add_header(ex, "x-content-type-options", "nosniff");
  gw_respond(ex, failed ? 500 : 200, "text/plain; charset=utf-8", &b);
}

static void gone(gw_ex_t *ex) {
  health_t *h = ex->op;
  for (int i = 0; i < CHECKS; i++)
    if (h->calls[i]) kg_cancel(ex->conn->gw->ctx, h->calls[i]);
  free(h);
  ex->op = NULL;
}

static void answered(health_t *h, int check, const kg_msg_t *m) {
  h->calls[check] = 0;
  h->bad[check] = kg_msg_type(m) != KG_MSG_REPLY;
  if (!--h->left) tell(h);
}

static void on_store(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  answered(arg, ETCD, m);
}

static void on_api(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  answered(arg, INFORMER_SYNC, m);
}

/* The store answers; the api role has read it. */
static void ask(health_t *h) {
  kg_ctx_t *ctx = h->ex->conn->gw->ctx;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "g", "");
  kg_pack_kv_str(&p, "v", "v1");
  kg_pack_kv_str(&p, "r", "pods");
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  h->left = 1u + h->wanted[ETCD] + h->wanted[INFORMER_SYNC]; /* one for this function: an answer may come at once */
  if (h->wanted[ETCD])
    h->calls[ETCD] = kg_send(
        ctx,
        &(kg_request_t){.service = "store", .topic = "store.status", .timeout_ms = ASK_MS, .fn = on_store, .arg = h});
  if (h->wanted[INFORMER_SYNC])
    h->calls[INFORMER_SYNC] = kg_send(
        ctx, &(kg_request_t){
                 .service = "api", .topic = "api.resolve", .args = args, .timeout_ms = ASK_MS, .fn = on_api, .arg = h});
  kg_doc_unref(args);
  if (!--h->left) tell(h);
}

static const struct group {
  const char *path;
  unsigned checks; /* bits */
} groups[] = {{"healthz", 1 << PING | 1 << ETCD},
              {"livez", 1 << PING},
              {"readyz", 1 << PING | 1 << ETCD | 1 << INFORMER_SYNC | 1 << SHUTDOWN}};

/* "livez/ping" of "/livez/ping": the group, and what follows it. */
static const struct group *group_of(const char *path, const char **only) {
  for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
    size_t n = strlen(groups[i].path);
    if (strncmp(path + 1, groups[i].path, n) != 0 || (path[n + 1] && path[n + 1] != '/')) continue;
    *only = path[n + 1] ? path + n + 2 : "";
    return &groups[i];
  }
  return NULL;
}

static bool select_checks(health_t *h, const struct group *g) {
  bool any = false;
  for (int i = 0; i < CHECKS; i++) {
    h->wanted[i] = (g->checks >> i & 1) && (!*h->only || !strcmp(h->only, names[i]));
    any |= h->wanted[i];
  }
  h->bad[SHUTDOWN] = h->ex->conn->gw->draining;
  return any;
}

bool gw_health(gw_ex_t *ex) {
  const char *only = "";
  const struct group *g = group_of(ex->path, &only);
  if (!g) return false;
  health_t h = {.ex = ex, .path = g->path, .only = only};
  if (strcmp(ex->method, "GET") && !ex->is_head) {
    gw_status(ex, 405, "MethodNotAllowed", "{}", "the server does not allow this method on the requested resource");
  } else if (!select_checks(&h, g)) {
    gw_respond_text(ex, 404, "404 page not found\n");
  } else if (!h.wanted[ETCD] && !h.wanted[INFORMER_SYNC]) {
    tell(&h);
  } else if (!(ex->op = malloc(sizeof h))) {
    gw_status(ex, 503, "ServiceUnavailable", NULL, "out of memory");
  } else {
    *(health_t *)ex->op = h;
    ex->on_gone = gone;
    ask(ex->op);
  }
  return true;
}
