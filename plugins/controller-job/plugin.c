#include "job.h"

const kube_gvr_t GVR_JOBS = {"batch", "v1", "jobs"}, GVR_PODS = {"", "v1", "pods"};

static void on_pod(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  jobc_t *c = self;
  char key[CTL_KEY_MAX];
  if (ctl_owner_key(now, "Job", key)) {
    ctl_expect_seen(&c->ahead, key, kube_name(now), false);
    if (change == KUBE_DELETED || kube_deleting(now)) ctl_expect_seen(&c->ahead, key, kube_name(now), true);
    ctl_work_add(ctx, &c->base.work, key);
  } else if (change != KUBE_DELETED) {
    ctl_add_matching(ctx, &c->base, c->base.informers[JOBS], now);
  }
  if (change == KUBE_MODIFIED && ctl_owner_key(old, "Job", key)) ctl_work_add(ctx, &c->base.work, key);
}

/* Pods whose job went while nobody looked still have our finalizer. */
static void active(kg_ctx_t *ctx, void *self) {
  jobc_t *c = self;
  char key[CTL_KEY_MAX];
  kg_doc_t *doc;
  for (size_t i = 0; (doc = kube_informer_at(c->base.informers[PODS], i)); i++)
    if (has_finalizer(kg_view_of(doc)) && ctl_owner_key(kg_view_of(doc), "Job", key))
      ctl_work_add(ctx, &c->base.work, key);
}

static void end(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  ctl_expect_free(&((jobc_t *)self)->ahead);
}

static const ctl_spec_t spec = {.size = sizeof(jobc_t),
                                .component = "job-controller",
                                .sync = job_sync,
                                .watches = {[JOBS] = {.gvr = {"batch", "v1", "jobs"}, .fn = ctl_on_key, .keys = true},
                                            [PODS] = {.gvr = {"", "v1", "pods"}, .fn = on_pod}},
                                .active = active,
                                .end = end};

CTL_PLUGIN(spec, .name = "controller-job", .summary = "Runs the pods of Jobs to their end");
