#include "daemonset.h"

const kube_gvr_t GVR_SETS = {"apps", "v1", "daemonsets"}, GVR_PODS = {"", "v1", "pods"};

static void on_owned(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  dsc_t *c = self;
  char key[CTL_KEY_MAX];
  if (ctl_owner_key(now, "DaemonSet", key)) {
    ctl_expect_seen(&c->ahead, key, kube_name(now), false);
    if (change == KUBE_DELETED || kube_deleting(now)) ctl_expect_seen(&c->ahead, key, kube_name(now), true);
    ctl_work_add(ctx, &c->base.work, key);
  } else if (change != KUBE_DELETED && !kg_view_there(kube_controller_ref(now))) {
    ctl_add_matching(ctx, &c->base, c->base.informers[SETS], now);
  }
  if (change == KUBE_MODIFIED && ctl_owner_key(old, "DaemonSet", key)) ctl_work_add(ctx, &c->base.work, key);
}

static void on_node(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  dsc_t *c = self;
  if (change != KUBE_MODIFIED || node_changed(old, now)) ctl_work_add_all(ctx, &c->base.work, c->base.informers[SETS]);
}

static void end(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  ctl_expect_free(&((dsc_t *)self)->ahead);
}

static const ctl_spec_t spec = {
    .size = sizeof(dsc_t),
    .component = "daemonset-controller",
    .sync = daemonset_sync,
    .watches = {[SETS] = {.gvr = {"apps", "v1", "daemonsets"}, .fn = ctl_on_key, .keys = true},
                [PODS] = {.gvr = {"", "v1", "pods"}, .fn = on_owned},
                [NODES] = {.gvr = {"", "v1", "nodes"}, .fn = on_node},
                [REVISIONS] = {.gvr = {"apps", "v1", "controllerrevisions"}, .fn = on_owned}},
    .end = end};

CTL_PLUGIN(spec, .name = "controller-daemonset", .summary = "A pod on each node that fits");
