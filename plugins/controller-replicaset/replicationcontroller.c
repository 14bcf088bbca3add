#include "replicaset.h"

static const flavour_t flavour = {{"", "v1", "replicationcontrollers"}, "v1", "ReplicationController", false};

static int begin(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)ctx, (void)err;
  ((rsc_t *)self)->flavour = &flavour;
  return 0;
}

static const ctl_spec_t spec = {
    .size = sizeof(rsc_t),
    .component = "replication-controller",
    .sync = rs_sync,
    .watches = {[SETS] = {.gvr = {"", "v1", "replicationcontrollers"}, .fn = ctl_on_key, .keys = true},
                [PODS] = {.gvr = {"", "v1", "pods"}, .fn = rs_on_pod}},
    .begin = begin,
    .end = rs_end};

CTL_PLUGIN(spec, .name = "controller-replicationcontroller",
           .summary = "Keeps as many pods as each ReplicationController asks for");
