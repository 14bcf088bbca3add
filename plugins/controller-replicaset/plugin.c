#include <stdlib.h>

#include "replicaset.h"

const kube_gvr_t GVR_SETS = {"apps", "v1", "replicasets"};
const kube_gvr_t GVR_PODS = {"", "v1", "pods"};

static void on_set(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)change, (void)old, (void)arg;
  char key[CTL_KEY_MAX];
  ctl_work_add(ctx, &((rsc_t *)self)->work, ctl_key(now, key));
}

/* A pod without an owner may be wanted by any ReplicaSet whose selector matches it. */
static void add_adopters(kg_ctx_t *ctx, rsc_t *c, kg_view_t pod) {
  size_t first, count;
  char key[CTL_KEY_MAX];
  if (!kg_view_count(kube_labels(pod))) return;
  kube_informer_ns(c->sets, kube_namespace(pod), &first, &count);
  for (size_t i = first; i < first + count; i++) {
    kg_view_t set = kg_view_of(kube_informer_at(c->sets, i));
    kube_selector_t *selector = kube_selector_of(kg_view_path(set, "spec", "selector", NULL), NULL);
    if (selector && kube_selector_matches(selector, kube_labels(pod))) ctl_work_add(ctx, &c->work, ctl_key(set, key));
    kube_selector_free(selector);
  }
}

static void on_pod(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  rsc_t *c = self;
  char key[CTL_KEY_MAX];
  if (ctl_owner_key(now, "ReplicaSet", key)) {
    ctl_expect_seen(&c->ahead, key, kube_name(now), false);
    if (change == KUBE_DELETED || kube_deleting(now)) ctl_expect_seen(&c->ahead, key, kube_name(now), true);
    ctl_work_add(ctx, &c->work, key);
  } else if (change != KUBE_DELETED) {
    add_adopters(ctx, c, now);
  }
  if (change == KUBE_MODIFIED && ctl_owner_key(old, "ReplicaSet", key)) ctl_work_add(ctx, &c->work, key);
}

static void on_synced(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  if (++((rsc_t *)self)->synced == 2) kg_ready(ctx);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx;
  rsc_t *c = calloc(1, sizeof *c);
  if (!c) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  c->recorder = kube_recorder_new("replicaset-controller", NULL);
  *self = c;
  return 0;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)err;
  rsc_t *c = self;
  c->sets =
      kube_informer_start(ctx, &(kube_informer_config_t){.gvr = GVR_SETS, .on_change = on_set, .on_synced = on_synced});
  c->pods =
      kube_informer_start(ctx, &(kube_informer_config_t){.gvr = GVR_PODS, .on_change = on_pod, .on_synced = on_synced});
  return 0;
}

static void activate(kg_ctx_t *ctx, void *self) {
  rsc_t *c = self;
  ctl_work_begin(ctx, &c->work, rs_sync, 64);
  ctl_work_add_all(ctx, &c->work, c->sets);
}

static void drain(kg_ctx_t *ctx, void *self) {
  ctl_work_drain(ctx, &((rsc_t *)self)->work);
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  const rsc_t *c = self;
  kg_pack_kv_int(p, "replicasets", (int64_t)kube_informer_count(c->sets));
  kg_pack_kv_int(p, "created", (int64_t)c->created);
  kg_pack_kv_int(p, "deleted", (int64_t)c->deleted);
  ctl_work_stats(&c->work, p);
}

static void destroy(kg_ctx_t *ctx, void *self) {
  rsc_t *c = self;
  ctl_work_free(ctx, &c->work);
  kube_informer_stop(ctx, c->sets);
  kube_informer_stop(ctx, c->pods);
  kube_recorder_free(c->recorder);
  ctl_expect_free(&c->ahead);
  free(c);
}

KG_PLUGIN(.name = "controller-replicaset", .role = "controller", .version = "0.1.0",
          .summary = "Keeps as many pods as each ReplicaSet asks for", .create = create, .start = start,
          .activate = activate, .drain = drain, .resume = activate, .stats = stats, .destroy = destroy);
