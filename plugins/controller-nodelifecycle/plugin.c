#include "lifecycle.h"

enum { GRACE_MS = 40000 };

const kube_gvr_t GVR_NODES = {"", "v1", "nodes"}, GVR_PODS = {"", "v1", "pods"};

static void sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  nlc_t *c = self;
  kg_str_t ns, name;
  ctl_split(key, &ns, &name);
  ctl_sync_t *s = ctl_sync_begin(&c->base.work, key);
  kg_doc_t *doc = kube_informer_get(c->base.informers[ns.n ? PODS : NODES], ns, name);
  if (doc) {
    pass_t *p = kube_arena_alloc(ctl_arena(s), sizeof *p);
    *p = (pass_t){ctx, c, s, ctl_arena(s), ctl_keep(s, doc), kg_view_of(doc)};
    (ns.n ? pod_pass : node_pass)(p);
  } else {
    due_forget(c, key);
  }
  ctl_sync_end(ctx, self, s);
}

static int begin(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  nlc_t *c = self;
  c->grace_ms = kg_view_int(kg_view_get(kg_config(ctx), "nodeMonitorGracePeriodMs"), GRACE_MS);
  if (c->grace_ms <= 0) return kg_error_set(err, KG_EINVAL, "nodeMonitorGracePeriodMs must be above zero");
  c->evictor = kube_recorder_new("taint-eviction-controller", NULL);
  return c->evictor ? 0 : kg_error_set(err, KG_EINTERNAL, "out of memory");
}

static void active(kg_ctx_t *ctx, void *self) {
  nlc_t *c = self;
  kg_doc_t *node;
  for (size_t i = 0; (node = kube_informer_at(c->base.informers[NODES], i)); i++)
    if (has_no_execute(kg_view_of(node))) add_pods_of(ctx, c, kube_name(kg_view_of(node)));
}

static void stats(void *self, kg_pack_t *p) {
  const nlc_t *c = self;
  kg_pack_kv_int(p, "ready", (int64_t)c->nready);
  kg_pack_kv_int(p, "evicted", (int64_t)c->evicted);
}

static void end(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  nlc_t *c = self;
  watched_free(c);
  due_free(c);
  kube_recorder_free(c->evictor);
}

static const ctl_spec_t spec = {
    .size = sizeof(nlc_t),
    .component = "node-controller",
    .sync = sync,
    .watches = {[NODES] = {.gvr = {"", "v1", "nodes"}, .fn = on_node, .keys = true},
                [LEASES] = {.gvr = {"coordination.k8s.io", "v1", "leases"}, .fn = on_lease, .ns = "kube-node-lease"},
                [PODS] = {.gvr = {"", "v1", "pods"}, .fn = on_pod}},
    .begin = begin,
    .active = active,
    .stats = stats,
    .end = end};

CTL_PLUGIN(spec, .name = "controller-nodelifecycle",
           .summary = "Tells silent nodes, taints what is not well, evicts pods from there");
