/* The store role on etcd, behind the common front. */
#include <stdlib.h>

#include "etcd.h"

enum { TIMEOUT_MS = 10000, START_MS = 20000 };

/* --- life
 * ------------------------------------------------------------------------------------------------------------- */

static void on_start_timeout(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self;
  etcd_t *e = arg;
  if (!e->ready) kg_not_ready(ctx, "no etcd can be reached: %s", e->why);
}

/* Ready is said when the watch is open. */
static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)err;
  etcd_t *e = etcd_of(self);
  kg_timer(ctx, START_MS, 0, on_start_timeout, e);
  etcd_connect(e);
  return 0;
}

static void activate(kg_ctx_t *ctx, void *self) {
  (void)ctx, (void)self;
}

/* Nothing new comes; what flies lands first. Another instance may work on the same etcd all the while. */
static void on_drain_timer(kg_ctx_t *ctx, void *self, void *arg) {
  store_front_t *f = self;
  if (!f->inflight)
    kg_drained(ctx);
  else
    kg_timer(ctx, 5, 0, on_drain_timer, arg);
}

static void drain(kg_ctx_t *ctx, void *self) {
  on_drain_timer(ctx, self, NULL);
}

static void resume(kg_ctx_t *ctx, void *self) {
  (void)ctx, (void)self;
}

static void stop(store_front_t *f) {
  (void)f; /* what was answered is durable */
}

static void stats(store_front_t *f, kg_pack_t *p) {
  etcd_t *e = etcd_of(f);
  const etcd_endpoint_t *at = &e->endpoints[e->at];
  kg_pack_key(p, "endpoint");
  kg_pack_fmt(p, "%s:%d", at->host, at->port);
  kg_pack_kv_bool(p, "connected", e->good);
  kg_pack_kv_int(p, "reconnects", (int64_t)e->reconnects);
  kg_pack_kv_int(p, "gaps", (int64_t)e->gaps);
  kg_pack_kv_int(p, "flying", (int64_t)e->flying);
}

/* Every revision is a change, and how far etcd was compacted is only known when it refuses. */
static int64_t recent(store_front_t *f, int64_t n) {
  int64_t rev = f->rev > n ? f->rev - n : 0;
  return rev > f->compacted ? rev : f->compacted;
}

static void etcd_free(etcd_t *e) {
  for (size_t i = 0; i < e->nendpoints; i++) free(e->endpoints[i].host);
  SSL_CTX_free(e->tls);
  free(e);
}

static void destroy_etcd(store_front_t *f) {
  etcd_t *e = etcd_of(f);
  e->closing = true;
  etcd_conn_close(e);
  etcd_calls_end(e);
  etcd_writes_end(e);
  etcd_free(e);
}

static const store_backend_t backend = {.name = "etcd",
                                        .ttl = true,
                                        .stop = stop,
                                        .submit = etcd_submit,
                                        .read = etcd_read,
                                        .follow = etcd_follow,
                                        .follow_on = etcd_follow_on,
                                        .unfollow = etcd_unfollow,
                                        .stats = stats,
                                        .recent = recent,
                                        .destroy = destroy_etcd};

/* --- configuration: endpoints (a list), ca, cert, key (files), requestTimeoutMs
 * ------------------------------------------ */

static int add_endpoint(etcd_t *e, kg_view_t url, kg_error_t *err) {
  kg_str_t text = kg_view_str(url);
  if (!text.n || e->nendpoints == ETCD_ENDPOINTS)
    return kg_error_set(err, KG_EINVAL, "store-etcd: `endpoints` must be 1 to %d addresses like https://HOST:2379",
                        ETCD_ENDPOINTS);
  if (etcd_endpoint_parse(&e->endpoints[e->nendpoints], text, err) < 0) return -1;
  e->nendpoints++;
  return 0;
}

static int configure(etcd_t *e, kg_view_t config, kg_error_t *err) {
  kg_view_t endpoints = kg_view_get(config, "endpoints");
  bool tls = false;
  if (kg_view_type(endpoints) != KG_V_ARRAY) {
    if (add_endpoint(e, endpoints, err) < 0) return -1;
  } else {
    for (kg_iter_t it = kg_iter(endpoints); kg_iter_next(&it);)
      if (add_endpoint(e, it.value, err) < 0) return -1;
  }
  if (!e->nendpoints) return add_endpoint(e, (kg_view_t){0}, err);
  for (size_t i = 0; i < e->nendpoints; i++) tls |= e->endpoints[i].tls;
  if (tls && !(e->tls = etcd_tls_new(config, err))) return -1;
  e->timeout_ms = kg_view_int(kg_view_get(config, "requestTimeoutMs"), TIMEOUT_MS);
  return 0;
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  etcd_t *e = calloc(1, sizeof *e);
  if (!e) return kg_error_set(err, KG_EINTERNAL, "store-etcd: out of memory");
  e->ctx = ctx;
  e->fd = -1;
  e->queue_end = &e->queue;
  if (configure(e, kg_config(ctx), err) < 0) {
    etcd_free(e);
    return -1;
  }
  *self = e->front = store_front_new(ctx, &backend, e);
  if (*self) return 0;
  etcd_free(e);
  return kg_error_set(err, KG_EINTERNAL, "store-etcd: out of memory");
}

static const char *const services[] = {"store", NULL};

KG_PLUGIN(.name = "store-etcd", .config_keys = "endpoints ca cert key requestTimeoutMs compaction", .role = "store",
          .version = "0.1.0", .summary = "Keeps the cluster's state in etcd.", .services = services,
          .handlers = store_handlers, .create = create, .start = start, .activate = activate, .drain = drain,
          .resume = resume, .stats = store_front_stats, .destroy = store_front_destroy);
