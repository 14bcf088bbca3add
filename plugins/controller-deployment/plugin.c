#include <stdlib.h>

#include "deployment.h"

const kube_gvr_t GVR_DEPLOYMENTS = {"apps", "v1", "deployments"};
const kube_gvr_t GVR_SETS = {"apps", "v1", "replicasets"};
const kube_gvr_t GVR_PODS = {"", "v1", "pods"};

static void on_deployment(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)change, (void)old, (void)arg;
  char key[CTL_KEY_MAX];
  ctl_work_add(ctx, &((dc_t *)self)->work, ctl_key(now, key));
}

/* A set without an owner may be wanted by any deployment whose selector matches it. */
static void add_adopters(kg_ctx_t *ctx, dc_t *c, kg_view_t set) {
  size_t first, count;
  char key[CTL_KEY_MAX];
  kube_informer_ns(c->deployments, kube_namespace(set), &first, &count);
  for (size_t i = first; i < first + count; i++) {
    kg_view_t d = kg_view_of(kube_informer_at(c->deployments, i));
    kube_selector_t *selector = kube_selector_of(kg_view_path(d, "spec", "selector", NULL), NULL);
    if (selector && kube_selector_matches(selector, kube_labels(set))) ctl_work_add(ctx, &c->work, ctl_key(d, key));
    kube_selector_free(selector);
  }
}

static void on_set(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  dc_t *c = self;
  char key[CTL_KEY_MAX];
  if (ctl_owner_key(now, "Deployment", key))
    ctl_work_add(ctx, &c->work, key);
  else if (change != KUBE_DELETED)
    add_adopters(ctx, c, now);
  if (change == KUBE_MODIFIED && ctl_owner_key(old, "Deployment", key)) ctl_work_add(ctx, &c->work, key);
}

/* Recreate waits until the last pod of the old template is gone. */
static void on_pod(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)old, (void)arg;
  dc_t *c = self;
  char key[CTL_KEY_MAX];
  kg_str_t ns, name;
  if (change != KUBE_DELETED || !ctl_owner_key(now, "ReplicaSet", key)) return;
  ctl_split(key, &ns, &name);
  kg_doc_t *set = kube_informer_get(c->sets, ns, name);
  if (set && ctl_owner_key(kg_view_of(set), "Deployment", key)) ctl_work_add(ctx, &c->work, key);
}

static void on_synced(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  if (++((dc_t *)self)->synced == 3) kg_ready(ctx);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx;
  dc_t *c = calloc(1, sizeof *c);
  if (!c) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  c->recorder = kube_recorder_new("deployment-controller", NULL);
  *self = c;
  return 0;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)err;
  dc_t *c = self;
  c->deployments = kube_informer_start(
      ctx, &(kube_informer_config_t){.gvr = GVR_DEPLOYMENTS, .on_change = on_deployment, .on_synced = on_synced});
  c->sets =
      kube_informer_start(ctx, &(kube_informer_config_t){.gvr = GVR_SETS, .on_change = on_set, .on_synced = on_synced});
  c->pods =
      kube_informer_start(ctx, &(kube_informer_config_t){.gvr = GVR_PODS, .on_change = on_pod, .on_synced = on_synced});
  return 0;
}

static void activate(kg_ctx_t *ctx, void *self) {
  dc_t *c = self;
  ctl_work_begin(ctx, &c->work, deployment_sync, 64);
  ctl_work_add_all(ctx, &c->work, c->deployments);
}

static void drain(kg_ctx_t *ctx, void *self) {
  ctl_work_drain(ctx, &((dc_t *)self)->work);
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  const dc_t *c = self;
  kg_pack_kv_int(p, "deployments", (int64_t)kube_informer_count(c->deployments));
  ctl_work_stats(&c->work, p);
}

static void destroy(kg_ctx_t *ctx, void *self) {
  dc_t *c = self;
  ctl_work_free(ctx, &c->work);
  kube_informer_stop(ctx, c->deployments);
  kube_informer_stop(ctx, c->sets);
  kube_informer_stop(ctx, c->pods);
  kube_recorder_free(c->recorder);
  free(c);
}

static const char *const services[] = {"controller/deployment", NULL}; /* who asks whether it is well */
KG_PLUGIN(.name = "controller-deployment", .config_keys = "", .services = services, .role = "controller",
          .version = "0.1.0", .summary = "Rolls ReplicaSets from one pod template to the next", .create = create,
          .start = start, .activate = activate, .drain = drain, .resume = activate, .stats = stats, .destroy = destroy);
