/* Pod network of one node over a bridge. Configuration: bridge (kogge0), podCIDR (what the node agent says counts
 * more), clusterCIDR (further pod networks that are reached without masquerade), mtu (0: the uplink's). */
#include <ctype.h>
#include <stdio.h>

#include "network.h"

void network_give(network_t *n, job_t *j) {
  memcpy(j->bridge, n->bridge, sizeof j->bridge);
  j->cidr = n->cidr;
  worker_give(n, n->worker, j);
}

/* --- life -------------------------------------------------------------------------------------------------------- */

/* It names a link and an nft table. */
static bool bridge_name_is_safe(kg_str_t s) {
  if (!s.n || s.n >= IFNAMSIZ || !isalpha((unsigned char)s.p[0])) return false;
  for (size_t i = 0; i < s.n; i++)
    if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '-' && s.p[i] != '_') return false;
  return true;
}

static int read_config(network_t *n, kg_view_t config, kg_error_t *err) {
  kg_str_t bridge = kg_view_str(kg_view_get(config, "bridge")),
           cluster = kg_view_str(kg_view_get(config, "clusterCIDR"));
  if (!bridge.n) bridge = KG_STR("kogge0");
  if (!bridge_name_is_safe(bridge))
    return kg_error_set(err, KG_EINVAL, "bridge: a name of 1 to 15 letters, digits, '-' and '_' is needed");
  snprintf(n->bridge, sizeof n->bridge, KG_STR_FMT, KG_STR_ARG(bridge));
  n->mtu = (unsigned)kg_view_int(kg_view_get(config, "mtu"), 0);
  if (n->mtu && (n->mtu < 576 || n->mtu > 65535)) return kg_error_set(err, KG_EINVAL, "mtu must be 576 to 65535");
  return cluster.n ? cidr_parse(cluster, &n->cluster, err) : 0;
}

static void destroy(kg_ctx_t *ctx, void *self) {
  network_t *n = self;
  worker_stop(n, n->worker);
  nft_unwatch(n->watch);
  flows_forget(ctx, &n->flows);
  for (pod_t *p = n->pods, *next; p; p = next) {
    next = p->next;
    pod_free(p);
  }
  addresses_free(&n->addresses);
  free(n->leaving);
  free(n->dir);
  free(n);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  network_t *n = calloc(1, sizeof *n);
  if (!n) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  n->ctx = ctx;
  if (asprintf(&n->dir, "%s/network", kg_data_dir(ctx)) < 0) n->dir = NULL;
  if (n->dir && read_config(n, kg_config(ctx), err) == 0) {
    *self = n;
    return 0;
  }
  if (!n->dir) kg_error_set(err, KG_EINTERNAL, "out of memory");
  destroy(ctx, n);
  return -1;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  network_t *n = self;
  if (worker_start(n, &n->worker, err) < 0) return -1;
  kg_ready(ctx);
  return 0;
}

static void drain(kg_ctx_t *ctx, void *self) {
  network_t *n = self;
  if (!worker_waiting(n->worker)) return kg_drained(ctx);
  n->draining = true;
}

/* --- the bridge -------------------------------------------------------------------------------------------------- */

static kg_doc_t *status_doc(const network_t *n) {
  char gateway[16], net[16];
  ip_text(cidr_gateway(&n->cidr), gateway);
  ip_text(n->cidr.net, net);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "bridge", n->bridge);
  kg_pack_kv_bool(&p, "ready", n->ready);
  if (n->cidr.bits) {
    kg_pack_kv_str(&p, "gateway", gateway);
    kg_pack_key(&p, "podCIDR");
    kg_pack_fmt(&p, "%s/%u", net, n->cidr.bits);
    kg_pack_kv_int(&p, "mtu", n->mtu);
  }
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void table_made(network_t *n, job_t *j) {
  if (j->err.code)
    kg_log(n->ctx, KG_LOG_ERROR, "the rules of table %s could not be made anew: %s", n->bridge, j->err.text);
}

static void on_lost(kg_ctx_t *ctx, void *self) {
  network_t *n = self;
  job_t *j = kg_active(ctx) && n->ready ? job_new(JOB_RULES, NULL, table_made) : NULL;
  if (!j) return;
  kg_log(ctx, KG_LOG_WARN, "somebody deleted the rules of table %s, they are made anew", n->bridge);
  j->rules = rules_table(n);
  network_give(n, j);
}

static void watch_table(network_t *n) {
  kg_error_t err;
  if (n->watch) return;
  n->watch = nft_watch(n->ctx, n->bridge, "prerouting", on_lost, &err);
  if (!n->watch) kg_log(n->ctx, KG_LOG_WARN, "rules that somebody deletes stay away: %s", err.text);
}

static void bridge_made(network_t *n, job_t *j) {
  if (j->err.code) {
    kg_log(n->ctx, KG_LOG_ERROR, "the bridge %s could not be set up: %s", n->bridge, j->err.text);
    if (j->request) kg_fail(n->ctx, j->request, j->err.code, "network.configure: %s", j->err.text);
    return;
  }
  n->mtu = j->mtu;
  n->ready = true;
  watch_table(n);
  kg_doc_t *doc = status_doc(n);
  kg_publish(n->ctx, "network.configured", doc, NULL, 0);
  if (j->request) kg_reply(n->ctx, j->request, doc, NULL, 0);
  kg_doc_unref(doc);
}

static int make_bridge(network_t *n, const kg_msg_t *request, kg_error_t *err) {
  job_t *j = job_new(JOB_BRIDGE, request, bridge_made);
  size_t count = 0;
  for (const pod_t *p = n->pods; p; p = p->next) count++;
  if (j) {
    j->mtu = n->mtu;
    j->rules = rules_table(n);
    j->links = calloc(count + 1, IFNAMSIZ);
  }
  if (!j || !j->rules || !j->links) {
    if (j) job_free(j);
    return kg_error_set(err, KG_EINTERNAL, "out of memory");
  }
  for (const pod_t *p = n->pods; p; p = p->next) memcpy(j->links[j->nlinks++], p->link, IFNAMSIZ);
  network_give(n, j);
  return 0;
}

static int by_number(const void *a, const void *b) {
  const pod_t *const *x = a, *const *y = b;
  return (*x)->number < (*y)->number ? -1 : (*x)->number > (*y)->number;
}

/* In the order they came, so that the address given next is the one after the last. */
static int keep_addresses(network_t *n, kg_error_t *err) {
  size_t count = 0, i = 0;
  for (pod_t *p = n->pods; p; p = p->next) count++;
  pod_t **all = calloc(count + 1, sizeof(pod_t *));
  if (!all) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  for (pod_t *p = n->pods; p; p = p->next) all[i++] = p;
  qsort(all, count, sizeof(pod_t *), by_number);
  for (i = 0; i < count; i++) addresses_keep(&n->addresses, all[i]->ip);
  free(all);
  return 0;
}

/* A bridge of another instance would lose its pods to us. What this one made before is noted. */
static int bridge_is_ours(network_t *n, const cidr_t *cidr, kg_error_t *err) {
  char *noted = note_read(n, "bridge");
  bool ours = noted && !strcmp(noted, n->bridge);
  free(noted);
  if (ours || !bridge_is_used(n->bridge, cidr_gateway(cidr))) return 0;
  return kg_error_set(err, KG_ECONFLICT,
                      "the bridge %s is in use by another: give this instance one of its own (--bridge)", n->bridge);
}

static int use_cidr(network_t *n, kg_str_t text, kg_error_t *err) {
  cidr_t cidr;
  char note[64];
  if (cidr_parse(text, &cidr, err) < 0) return -1;
  if (cidr.net == n->cidr.net && cidr.bits == n->cidr.bits) return 0;
  for (const pod_t *p = n->pods; p; p = p->next)
    if (!cidr_holds(&cidr, p->ip))
      return kg_error_set(err, KG_ECONFLICT, "pod %s has an address outside of " KG_STR_FMT, p->id, KG_STR_ARG(text));
  if (bridge_is_ours(n, &cidr, err) < 0) return -1;
  snprintf(note, sizeof note, KG_STR_FMT, KG_STR_ARG(text));
  if (note_write(n, "cidr", note, err) < 0 || note_write(n, "bridge", n->bridge, err) < 0) return -1;
  if (addresses_init(&n->addresses, &cidr, err) < 0) return -1;
  n->cidr = cidr;
  n->ready = false;
  return keep_addresses(n, err);
}

static void activate(kg_ctx_t *ctx, void *self) {
  network_t *n = self;
  kg_error_t err = {0};
  if (records_read(n, &err) < 0) return kg_log(ctx, KG_LOG_ERROR, "%s", err.text);
  char *noted = note_read(n, "cidr");
  kg_str_t cidr = noted ? kg_str(noted) : kg_view_str(kg_view_get(kg_config(ctx), "podCIDR"));
  if (cidr.n && (use_cidr(n, cidr, &err) < 0 || make_bridge(n, NULL, &err) < 0))
    kg_log(ctx, KG_LOG_ERROR, "%s", err.text);
  free(noted);
}

static void on_configure(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  network_t *n = self;
  kg_error_t err;
  kg_str_t cidr = kg_view_str(kg_view_get(kg_msg_args(m), "podCIDR"));
  if (use_cidr(n, cidr, &err) < 0) return kg_fail(ctx, m, err.code, "network.configure: podCIDR: %s", err.text);
  if (n->ready) {
    kg_doc_t *doc = status_doc(n);
    kg_reply(ctx, m, doc, NULL, 0);
    return kg_doc_unref(doc);
  }
  if (make_bridge(n, m, &err) < 0) kg_fail(ctx, m, err.code, "network.configure: %s", err.text);
}

static void on_status(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_doc_t *doc = status_doc(self);
  kg_reply(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  const network_t *n = self;
  int64_t count = 0;
  for (const pod_t *pod = n->pods; pod; pod = pod->next) count++;
  kg_pack_kv_int(p, "pods", count);
  kg_pack_kv_int(p, "jobs_waiting", (int64_t)worker_waiting(n->worker));
}

static const char *const services[] = {"network", NULL};
static const kg_handler_t handlers[] = {{"network.attach", pods_attach}, {"network.detach", pods_detach},
                                        {"network.list", pods_list},     {"network.configure", on_configure},
                                        {"network.status", on_status},   {0}};
KG_PLUGIN(.name = "network-bridge", .config_keys = "bridge podCIDR clusterCIDR mtu", .role = "network", .version = "1",
          .summary = "Pod addresses over a bridge, masquerade and host ports.", .services = services,
          .handlers = handlers, .create = create, .start = start, .activate = activate, .drain = drain, .stats = stats,
          .destroy = destroy);
