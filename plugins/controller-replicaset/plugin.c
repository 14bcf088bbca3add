#include "replicaset.h"

static const flavour_t flavour = {{"apps", "v1", "replicasets"}, "apps/v1", "ReplicaSet", true};

static int begin(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)ctx, (void)err;
  ((rsc_t *)self)->flavour = &flavour;
  return 0;
}

static const ctl_spec_t spec = {
    .size = sizeof(rsc_t),
    .component = "replicaset-controller",
    .sync = rs_sync,
    .watches = {[SETS] = {.gvr = {"apps", "v1", "replicasets"}, .fn = ctl_on_key, .keys = true},
                [PODS] = {.gvr = {"", "v1", "pods"}, .fn = rs_on_pod}},
    .begin = begin,
    .end = rs_end};

static const char *const services[] = {"controller/replicaset", NULL}; /* who asks whether it is well */
CTL_PLUGIN(spec, .name = "controller-replicaset", .services = services,
           .summary = "Keeps as many pods as each ReplicaSet asks for");
