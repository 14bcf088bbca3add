#include "replicaset.h"

const kube_gvr_t GVR_PODS = {"", "v1", "pods"};

void rs_on_pod(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  rsc_t *c = self;
  char key[CTL_KEY_MAX];
  if (ctl_owner_key(now, c->flavour->kind, key)) {
    ctl_expect_seen(&c->ahead, key, kube_name(now), false);
    if (change == KUBE_DELETED || kube_deleting(now)) ctl_expect_seen(&c->ahead, key, kube_name(now), true);
    ctl_work_add(ctx, &c->base.work, key);
  } else if (change != KUBE_DELETED && !kg_view_there(kube_controller_ref(now))) {
    ctl_add_matching(ctx, &c->base, c->base.informers[SETS], now);
  }
  if (change == KUBE_MODIFIED && ctl_owner_key(old, c->flavour->kind, key)) ctl_work_add(ctx, &c->base.work, key);
}

void rs_end(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  ctl_expect_free(&((rsc_t *)self)->ahead);
}
