/*
 * Cluster DNS on the node's address in the pod network. Configuration: clusterDomain (cluster.local), serviceCIDR
 * (10.43.0.0/16; Service kube-dns gets its tenth address) or clusterIP, port (53), resolvConf (/etc/resolv.conf: where
 * other names are asked).
 */
#include "dns.h"
#include "kube/services.h"
#include "kube/values.h"

enum { RETRY_MS = 1000 };

static void open_again(kg_ctx_t *ctx, void *self, void *arg);

static void listen_now(dns_t *d) {
  kg_error_t err = {0};
  if (d->udp >= 0 || !d->address[0] || !kg_active(d->ctx)) return;
  if (serve_open(d, &err) < 0) {
    kg_log(d->ctx, KG_LOG_ERROR, "names cannot be served: %s", err.text);
    kg_timer(d->ctx, RETRY_MS, 0, open_again, NULL);
    return;
  }
  kg_log(d->ctx, KG_LOG_INFO, "serving names of %s on %s port %u", d->domain, d->address, d->port);
  own_write(d);
}

static void open_again(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  listen_now(self);
}

static void see_network(dns_t *d, kg_view_t status) {
  kg_str_t address = kg_view_str(kg_view_get(status, "gateway"));
  if (!address.n || address.n >= sizeof d->address) return;
  if (!kg_str_is(address, d->address)) serve_close(d);
  snprintf(d->address, sizeof d->address, KG_STR_FMT, KG_STR_ARG(address));
  listen_now(d);
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

static void see(dns_t *d, void (*index)(kube_index_t *, kg_view_t, kg_doc_t *), const kube_informer_t *seen,
                kube_change_t change, kg_view_t old, kg_view_t now) {
  kg_str_t ns = kube_namespace(now), name = kube_name(now);
  if (change != KUBE_ADDED) index(&d->index, change == KUBE_DELETED ? now : old, NULL);
  if (change != KUBE_DELETED) index(&d->index, now, kube_informer_get(seen, ns, name));
  if (kg_str_is(name, "kube-dns") && kg_str_is(ns, "kube-system")) own_write(d);
}

static void on_service(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)ctx, (void)arg;
  dns_t *d = self;
  see(d, index_service, d->services, change, old, now);
}

static void on_slice(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)ctx, (void)arg;
  dns_t *d = self;
  see(d, index_slice, d->slices, change, old, now);
}

static void on_synced(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  own_write(self);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void destroy(kg_ctx_t *ctx, void *self) {
  dns_t *d = self;
  forwards_free(d);
  serve_close(d);
  cache_free(d);
  kube_informer_stop(ctx, d->services);
  kube_informer_stop(ctx, d->slices);
  kube_index_free(&d->index);
  resolvers_free(d);
  free(d);
}

static int read_address(dns_t *d, kg_view_t config, kg_error_t *err) {
  kg_str_t ip = kg_view_str(kg_view_get(config, "clusterIP")), cidr = kg_view_str(kg_view_get(config, "serviceCIDR"));
  uint32_t number;
  if (ip.n && kube_ipv4(ip, &number) == 0)
    snprintf(d->cluster_ip, sizeof d->cluster_ip, KG_STR_FMT, KG_STR_ARG(ip));
  else if (ip.n || kube_dns_address(cidr.n ? cidr : KG_STR("10.43.0.0/16"), d->cluster_ip) < 0)
    return kg_error_set(err, KG_EINVAL,
                        "serviceCIDR must be an IPv4 network of /28 or more, clusterIP an address in it");
  return 0;
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  dns_t *d = calloc(1, sizeof *d);
  if (!d) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  kg_view_t config = kg_config(ctx);
  kg_str_t domain = kg_view_str(kg_view_get(config, "clusterDomain"));
  kg_str_t path = kg_view_str(kg_view_get(config, "resolvConf"));
  d->ctx = ctx;
  d->udp = d->tcp = -1;
  d->want_port = (uint16_t)kg_view_int(kg_view_get(config, "port"), 53);
  snprintf(d->domain, sizeof d->domain, KG_STR_FMT, KG_STR_ARG(domain.n ? domain : KG_STR("cluster.local")));
  d->resolv_conf = path.n ? kg_str_dup(path) : strdup("/etc/resolv.conf");
  *self = d;
  if (d->resolv_conf && read_address(d, config, err) == 0) return 0;
  if (!d->resolv_conf) kg_error_set(err, KG_EINTERNAL, "out of memory");
  destroy(ctx, d);
  return -1;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  static const kube_services_config_t config = {on_service, on_slice, on_synced, on_status};
  dns_t *d = self;
  if (kube_services_start(ctx, &config, &d->services, &d->slices, err) < 0 || resolvers_start(d, err) < 0) return -1;
  kg_ready(ctx);
  return 0;
}

static void activate(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  listen_now(self);
}

/* The successor listens on the same address. Who waits asks again. */
static void drain(kg_ctx_t *ctx, void *self) {
  dns_t *d = self;
  forwards_free(d);
  serve_close(d);
  kg_drained(ctx);
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  const dns_t *d = self;
  kg_pack_kv_int(p, "questions", (int64_t)d->questions);
  kg_pack_kv_int(p, "own", (int64_t)d->own);
  kg_pack_kv_int(p, "from_cache", (int64_t)d->from_cache);
  kg_pack_kv_int(p, "forwarded", (int64_t)d->forwarded);
  kg_pack_kv_int(p, "failed", (int64_t)d->failed);
  kg_pack_kv_int(p, "refused", (int64_t)d->refused);
  kg_pack_kv_int(p, "cached", (int64_t)d->ncached);
  kg_pack_kv_int(p, "connections", (int64_t)d->nconnections);
}

static void on_status_request(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  const dns_t *d = self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_bool(&p, "ready", d->udp >= 0);
  kg_pack_kv_str(&p, "domain", d->domain);
  kg_pack_kv_str(&p, "clusterIP", d->cluster_ip);
  kg_pack_kv_str(&p, "address", d->address);
  kg_pack_kv_int(&p, "port", d->port);
  stats(ctx, self, &p);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  kg_reply(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}

static const char *const names[] = {"dns", NULL};
static const kg_handler_t handlers[] = {{"network.configured", on_configured}, {"dns.status", on_status_request}, {0}};
KG_PLUGIN(.name = "dns", .config_keys = "serviceCIDR clusterIP clusterDomain resolvConf port", .role = "dns",
          .version = "1", .summary = "Names of Services, endpoints and pods.", .services = names, .handlers = handlers,
          .create = create, .start = start, .activate = activate, .drain = drain, .resume = activate, .stats = stats,
          .destroy = destroy);
