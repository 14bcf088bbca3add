/* Role node, N times: a cluster as big as wanted, for schedulers and controllers to be tried on. */
#include <stdio.h>

#include "sim.h"

enum { MOST_NODES = 100000, MOST_NAMES = 10000 };

static void destroy(kg_ctx_t *ctx, void *self) {
  sim_t *s = self;
  pods_free(s);
  kube_informer_stop(ctx, s->informer);
  free(s->prefix);
  free(s->nodes);
  free(s);
}

static int configure_new(sim_t *s, kg_view_t c, kg_error_t *err) {
  kg_str_t prefix = kg_view_str(kg_view_get(c, "prefix")), range = kg_view_str(kg_view_get(c, "podCIDR"));
  int64_t count = kg_view_int(kg_view_get(c, "count"), 10);
  if (count < 1 || count > MOST_NODES)
    return kg_error_set(err, KG_EINVAL, "count: between 1 and %d nodes can be pretended", MOST_NODES);
  if (prefix.n > 200) return kg_error_set(err, KG_EINVAL, "prefix: it is too long for a name");
  s->prefix = prefix.n ? kg_str_dup(prefix) : strdup("sim-");
  s->count = (uint32_t)count;
  s->nodes = calloc(s->count, sizeof *s->nodes);
  s->lease_s = kg_view_int(kg_view_get(c, "leaseSeconds"), 40);
  if (s->lease_s < 1) s->lease_s = 40;
  s->usual = (script_t){.run_time = -1, .unready_after = -1, .nexits = 1};
  script_read(&s->usual, kg_view_get(c, "defaults"), "");
  if (!s->prefix || !s->nodes) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  return kube_pod_addresses(range.n ? range : KG_STR("10.128.0.0/9"), &s->first_ip, &s->ips, err);
}

/* So that logs and exec say what this is; a crowd of names is not worth it. */
static int serve_names(sim_t *s, kg_error_t *err) {
  char name[256], service[300];
  for (uint32_t i = 0; i < s->count && i < MOST_NAMES; i++) {
    node_name(s, i, name);
    snprintf(service, sizeof service, "node/%s", name);
    if (kg_serve(s->ctx, service, err)) return -1;
  }
  return 0;
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  sim_t *s = calloc(1, sizeof *s);
  if (!s) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  s->ctx = ctx;
  if (configure_new(s, kg_config(ctx), err) || serve_names(s, err)) {
    destroy(ctx, s);
    return -1;
  }
  *self = s;
  return 0;
}

static void synced(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self, (void)arg;
  kg_ready(ctx);
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  sim_t *s = self;
  s->informer = kube_informer_start(
      ctx, &(kube_informer_config_t){.gvr = {"", "v1", "pods"}, .on_change = pods_changed, .on_synced = synced});
  return s->informer ? 0 : kg_error_set(err, KG_EINTERNAL, "out of memory");
}

static void activate(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  sim_t *s = self;
  s->active = true;
  nodes_register(s);
  pods_adopt(s);
}

static void drain(kg_ctx_t *ctx, void *self) {
  sim_t *s = self;
  s->active = false;
  pods_free(s);
  kg_drained(ctx);
}

static void logs(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  static const char text[] = "(simulated) this pod is pretended by node-sim: nothing runs\n";
  (void)self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "data");
  kg_pack_bin(&p, text, sizeof text - 1);
  kg_pack_end(&p);
  kg_doc_t *item = kg_pack_doc(&p);
  kg_stream_item(ctx, m, item, NULL, 0);
  kg_stream_end(ctx, m);
  kg_doc_unref(item);
}

static void refuse(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_fail(ctx, m, KG_EINVAL, "%s: this pod is simulated, nothing can run in it", kg_msg_topic(m));
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  const sim_t *s = self;
  kg_pack_kv_int(p, "nodes", s->count);
  kg_pack_kv_int(p, "registered", s->registered);
  kg_pack_kv_int(p, "pods", (int64_t)s->pods);
}

static const char *const services[] = {"node-sim", NULL};
static const kg_handler_t handlers[] = {{"node.logs", logs}, {"node.*", refuse}, {0}};
KG_PLUGIN(.name = "node-sim", .role = "node", .version = "0.1.0", .summary = "Nodes that only pretend, by the thousand",
          .services = services, .handlers = handlers, .create = create, .start = start, .activate = activate,
          .drain = drain, .resume = activate, .stats = stats, .destroy = destroy);
