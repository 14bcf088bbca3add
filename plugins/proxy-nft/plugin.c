/*
 * The service proxy of one node. Configuration: nodeName (host name), serviceCIDR (10.43.0.0/16), clusterCIDR (pods of
 * all nodes; absent: of this node). Bridge and pod network are what the network role says.
 */
#include <stdio.h>
#include <unistd.h>

#include "kube/host.h"
#include "kube/services.h"
#include "kube/values.h"
#include "netfilter/nft.h"
#include "proxy.h"

enum { RETRY_FIRST_MS = 200, RETRY_LAST_MS = 10000 };

typedef struct proxy {
  kg_ctx_t *ctx;
  frame_t frame; /* bridge "": not known yet */
  char *node, *cluster_cidr;
  kube_informer_t *services_seen, *slices_seen;
  services_t services;
  service_t *dirty;
  bool whole;     /* the table is to be made anew */
  bool conflicts; /* two services want the same key: changes make the whole table anew */
  bool warned;    /* ... and that was said */
  bool draining;
  nft_t *nft;
  nft_watch_t *watch;
  flows_t *flows;
  leds_t udp; /* frontends of the transaction under way */
  uint64_t timer;
  int64_t retry_ms, began_us, last_us;
  uint32_t numbers;
  uint64_t transactions, failures;
} proxy_t;

/* --- transactions ------------------------------------------------------------------------------------------------- */

static void flush(kg_ctx_t *ctx, void *self, void *arg);

static void flush_soon(proxy_t *p, int64_t delay_ms) {
  if (!p->timer) p->timer = kg_timer(p->ctx, delay_ms, 0, flush, NULL);
}

static void mark(proxy_t *p, service_t *s) {
  if (s->dirty) return;
  s->dirty = true;
  s->next_dirty = p->dirty;
  p->dirty = s;
  if (!p->retry_ms) flush_soon(p, 0);
}

static void done(kg_ctx_t *ctx, void *self, const char *error) {
  proxy_t *p = self;
  p->last_us = kg_now_us(ctx) - p->began_us;
  p->transactions++;
  if (error) {
    p->failures++;
    p->whole = true;
    p->retry_ms = !p->retry_ms ? RETRY_FIRST_MS : p->retry_ms * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : p->retry_ms * 2;
    kg_log(ctx, p->retry_ms > RETRY_FIRST_MS ? KG_LOG_ERROR : KG_LOG_WARN,
           "nft refused a change, the table is made anew: %.200s", error);
  } else {
    p->retry_ms = 0;
    flows_check(ctx, &p->flows, &p->udp);
  }
  if (p->draining) {
    p->draining = false;
    return kg_drained(ctx);
  }
  if (p->whole || p->dirty) flush_soon(p, p->retry_ms);
}

static void take_udp(proxy_t *p, change_t *c) {
  free(p->udp.all);
  p->udp = c->udp;
  c->udp = (leds_t){0};
}

static void want(proxy_t *p, service_t *s, elements_t *e, affinity_t **a, size_t *n) {
  *e = (elements_t){0};
  health_follow(p->ctx, s, p->node);
  service_wants(s, p->node, &p->numbers, e, a, n);
}

static void forget_dead(proxy_t *p, service_t *s) {
  if (!s->doc && !s->nslices && !s->live.n && !s->naffinities) services_drop(&p->services, s);
}

static service_t *next_dirty(proxy_t *p) {
  service_t *s = p->dirty;
  if (s) {
    p->dirty = s->next_dirty;
    s->dirty = false;
  }
  return s;
}

static void write_whole(proxy_t *p, kube_buf_t *b) {
  change_t c = {0};
  while (next_dirty(p)) {
  }
  for (service_t *s = NULL; (s = services_next(&p->services, s));) {
    affinities_free(s->affinities, s->naffinities);
    s->affinities = NULL;
    s->naffinities = 0;
    free(s->live.all);
    want(p, s, &s->live, &s->affinities, &s->naffinities);
  }
  size_t conflicts = drop_duplicates(&p->services);
  if (conflicts && !p->warned) kg_log(p->ctx, KG_LOG_WARN, "services share addresses and ports, one of them wins");
  p->warned = p->conflicts = conflicts > 0;
  table_text(b, &p->frame);
  for (service_t *s = NULL; (s = services_next(&p->services, s));) change_fresh(&c, &p->frame, s);
  take_udp(p, &c);
  change_text(&c, &p->frame, b);
  p->whole = false;
}

static void write_changes(proxy_t *p, kube_buf_t *b) {
  change_t c = {0};
  for (service_t *s; (s = next_dirty(p));) {
    elements_t wanted;
    affinity_t *affinities;
    size_t n;
    want(p, s, &wanted, &affinities, &n);
    change_service(&c, &p->frame, s, wanted, affinities, n);
    forget_dead(p, s);
  }
  take_udp(p, &c);
  if (change_empty(&c))
    change_free(&c);
  else
    change_text(&c, &p->frame, b);
}

static bool able(const proxy_t *p) {
  return kg_active(p->ctx) && !p->nft && p->frame.bridge[0] && kube_informer_synced(p->services_seen) &&
         kube_informer_synced(p->slices_seen);
}

static void flush(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  proxy_t *p = self;
  kube_buf_t b = {0};
  kg_error_t err;
  p->timer = 0;
  if (!able(p)) return;
  p->began_us = kg_now_us(ctx);
  if (p->whole || (p->dirty && p->conflicts))
    write_whole(p, &b);
  else
    write_changes(p, &b);
  if (b.failed)
    done(ctx, p, "out of memory");
  else if (b.n && nft_run(ctx, &p->nft, b.p, b.n, done, &err) < 0)
    done(ctx, p, err.text);
  kube_buf_free(&b);
}

/* --- what there is -------------------------------------------------------------------------------------------------
 */

static void on_service(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)ctx, (void)old, (void)arg;
  proxy_t *p = self;
  kg_str_t ns = kube_namespace(now), name = kube_name(now);
  service_t *s = services_get(&p->services, ns, name, change != KUBE_DELETED);
  if (!s) return;
  kg_doc_t *doc = change == KUBE_DELETED ? NULL : kg_doc_ref(kube_informer_get(p->services_seen, ns, name));
  kg_doc_unref(s->doc);
  s->doc = doc;
  mark(p, s);
}

static void on_slice(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)ctx, (void)arg;
  static const char label[] = "kubernetes.io/service-name";
  proxy_t *p = self;
  kg_str_t ns = kube_namespace(now), name = kube_name(now);
  kg_str_t before = kg_view_str(kg_view_get(kube_labels(old), label));
  kg_str_t after = kg_view_str(kg_view_get(kube_labels(now), label));
  service_t *s = before.n && !kg_str_eq(before, after) ? services_get(&p->services, ns, before, false) : NULL;
  if (s) {
    service_slice(s, name, NULL);
    mark(p, s);
  }
  s = services_get(&p->services, ns, after, change != KUBE_DELETED);
  if (!s) return;
  service_slice(s, name, change == KUBE_DELETED ? NULL : kube_informer_get(p->slices_seen, ns, name));
  mark(p, s);
}

static void on_synced(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  flush_soon(self, 0);
}

/* While a transaction is under way its end does the same. */
static void on_lost(kg_ctx_t *ctx, void *self) {
  proxy_t *p = self;
  if (!kg_active(ctx) || !p->transactions) return;
  kg_log(ctx, KG_LOG_WARN, "somebody deleted the rules of table %s, they are made anew", p->frame.table);
  p->whole = true;
  if (!p->nft) flush_soon(p, 0);
}

static void watch_table(proxy_t *p, const char *table) {
  kg_error_t err;
  nft_unwatch(p->watch);
  p->watch = nft_watch(p->ctx, table, "prerouting", on_lost, &err);
  if (!p->watch) kg_log(p->ctx, KG_LOG_WARN, "rules that somebody deletes stay away: %s", err.text);
}

static void see_network(proxy_t *p, kg_view_t status) {
  frame_t f = p->frame;
  kg_str_t bridge = kg_view_str(kg_view_get(status, "bridge")), pods = kg_view_str(kg_view_get(status, "podCIDR"));
  if (!bridge.n || bridge.n >= sizeof f.bridge || !pods.n || pods.n >= sizeof f.pods) return;
  snprintf(f.bridge, sizeof f.bridge, KG_STR_FMT, KG_STR_ARG(bridge));
  snprintf(f.table, sizeof f.table, "%s-proxy", f.bridge);
  snprintf(f.pods, sizeof f.pods, KG_STR_FMT, KG_STR_ARG(pods));
  if (kube_ipv4_range(pods, &f.pod_net, &f.pod_bits) < 0) return;
  if (p->cluster_cidr) snprintf(f.pods, sizeof f.pods, "%s", p->cluster_cidr);
  if (!p->watch || strcmp(f.table, p->frame.table) != 0) watch_table(p, f.table);
  p->frame = f;
  p->whole = true;
  flush_soon(p, 0);
}

static void on_configured(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  see_network(self, kg_msg_args(m));
}

/* Not there yet: its event will come. */
static void on_status(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  if (kg_msg_type(m) == KG_MSG_REPLY && kg_view_bool(kg_view_get(kg_msg_args(m), "ready"), false))
    see_network(self, kg_msg_args(m));
}

/* --- life ----------------------------------------------------------------------------------------------------------
 */

static void destroy(kg_ctx_t *ctx, void *self) {
  proxy_t *p = self;
  nft_forget(ctx, &p->nft);
  nft_unwatch(p->watch);
  flows_forget(ctx, &p->flows);
  free(p->udp.all);
  kube_informer_stop(ctx, p->services_seen);
  kube_informer_stop(ctx, p->slices_seen);
  services_free(&p->services);
  free(p->cluster_cidr);
  free(p->node);
  free(p);
}

static char *text_or(kg_view_t config, const char *key, const char *fallback) {
  kg_str_t s = kg_view_str(kg_view_get(config, key));
  return s.n ? kg_str_dup(s) : fallback ? strdup(fallback) : NULL;
}

/* It becomes part of nft's input. */
static bool network_is_safe(const char *text) {
  uint32_t first;
  unsigned bits;
  return kube_ipv4_range(kg_str(text), &first, &bits) == 0;
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  char host[KUBE_HOST_NAME_SIZE];
  proxy_t *p = calloc(1, sizeof *p);
  if (!p) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  kg_view_t config = kg_config(ctx);
  char *services = text_or(config, "serviceCIDR", "10.43.0.0/16");
  p->ctx = ctx;
  p->whole = true;
  p->node = text_or(config, "nodeName", kube_host_name(host));
  p->cluster_cidr = text_or(config, "clusterCIDR", NULL);
  bool fine = services && network_is_safe(services) && (!p->cluster_cidr || network_is_safe(p->cluster_cidr));
  snprintf(p->frame.services, sizeof p->frame.services, "%s", services ? services : "");
  free(services);
  *self = p;
  if (fine && p->node) return 0;
  destroy(ctx, p);
  return kg_error_set(err, KG_EINVAL, "serviceCIDR and clusterCIDR must be IPv4 networks");
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  static const kube_services_config_t config = {on_service, on_slice, on_synced, on_status};
  proxy_t *p = self;
  if (kube_services_start(ctx, &config, &p->services_seen, &p->slices_seen, err) < 0) return -1;
  kg_ready(ctx);
  return 0;
}

static void activate(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  flush_soon(self, 0);
}

static void resume(kg_ctx_t *ctx, void *self) {
  proxy_t *p = self;
  p->whole = true; /* the other one may have begun */
  activate(ctx, p);
}

static void drain(kg_ctx_t *ctx, void *self) {
  proxy_t *p = self;
  for (service_t *s = NULL; (s = services_next(&p->services, s));) health_close(s);
  if (!p->nft) return kg_drained(ctx);
  p->draining = true;
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *k) {
  (void)ctx;
  const proxy_t *p = self;
  kg_pack_kv_int(k, "services", (int64_t)kube_informer_count(p->services_seen));
  kg_pack_kv_int(k, "slices", (int64_t)kube_informer_count(p->slices_seen));
  kg_pack_kv_int(k, "transactions", (int64_t)p->transactions);
  kg_pack_kv_int(k, "failures", (int64_t)p->failures);
  kg_pack_kv_int(k, "last_transaction_us", p->last_us);
  kg_pack_kv_bool(k, "idle", !p->nft && !p->dirty && !p->whole);
}

/* In step: what was seen so far is in the kernel. */
static void on_status_request(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  const proxy_t *p = self;
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  stats(ctx, self, &k);
  kg_pack_kv_bool(&k, "ready", p->frame.bridge[0] && !p->nft && !p->dirty && !p->whole);
  kg_pack_kv_str(&k, "table", p->frame.table);
  kg_pack_end(&k);
  kg_doc_t *doc = kg_pack_doc(&k);
  kg_reply(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}

static const char *const services[] = {"proxy", NULL};
static const kg_handler_t handlers[] = {
    {"network.configured", on_configured}, {"proxy.status", on_status_request}, {0}};
KG_PLUGIN(.name = "proxy-nft", .config_keys = "serviceCIDR clusterCIDR nodeName", .role = "proxy", .version = "1",
          .summary = "Services of the cluster as nft maps on this node.", .services = services, .handlers = handlers,
          .create = create, .start = start, .activate = activate, .drain = drain, .resume = resume, .stats = stats,
          .destroy = destroy);
