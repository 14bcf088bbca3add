#include "statefulset.h"

const kube_gvr_t GVR_SETS = {"apps", "v1", "statefulsets"}, GVR_PODS = {"", "v1", "pods"},
                 GVR_CLAIMS = {"", "v1", "persistentvolumeclaims"};

static void on_owned(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  ssc_t *c = self;
  char key[CTL_KEY_MAX];
  if (ctl_owner_key(now, "StatefulSet", key))
    ctl_work_add(ctx, &c->base.work, key);
  else if (change != KUBE_DELETED && !kg_view_there(kube_controller_ref(now)))
    ctl_add_matching(ctx, &c->base, c->base.informers[SETS], now);
  if (change == KUBE_MODIFIED && ctl_owner_key(old, "StatefulSet", key)) ctl_work_add(ctx, &c->base.work, key);
}

static const ctl_spec_t spec = {
    .size = sizeof(ssc_t),
    .component = "statefulset-controller",
    .sync = statefulset_sync,
    .watches = {[SETS] = {.gvr = {"apps", "v1", "statefulsets"}, .fn = ctl_on_key, .keys = true},
                [PODS] = {.gvr = {"", "v1", "pods"}, .fn = on_owned},
                [REVISIONS] = {.gvr = {"apps", "v1", "controllerrevisions"}, .fn = on_owned},
                [CLAIMS] = {.gvr = {"", "v1", "persistentvolumeclaims"}}}};

CTL_PLUGIN(spec, .name = "controller-statefulset", .summary = "Pods with names and claims of their own, in order");
