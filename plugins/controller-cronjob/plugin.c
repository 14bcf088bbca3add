#include "cronjob.h"

const kube_gvr_t GVR_CRONJOBS = {"batch", "v1", "cronjobs"}, GVR_JOBS = {"batch", "v1", "jobs"};

static void on_job(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)change, (void)old, (void)arg;
  char key[CTL_KEY_MAX];
  if (ctl_owner_key(now, "CronJob", key)) ctl_work_add(ctx, &((cjc_t *)self)->base.work, key);
}

static void stats(void *self, kg_pack_t *p) {
  kg_pack_kv_int(p, "started", (int64_t)((cjc_t *)self)->started);
}

static const ctl_spec_t spec = {
    .size = sizeof(cjc_t),
    .component = "cronjob-controller",
    .sync = cronjob_sync,
    .watches = {[CRONJOBS] = {.gvr = {"batch", "v1", "cronjobs"}, .fn = ctl_on_key, .keys = true},
                [JOBS] = {.gvr = {"batch", "v1", "jobs"}, .fn = on_job}},
    .stats = stats};

CTL_PLUGIN(spec, .name = "controller-cronjob", .summary = "Makes Jobs at the times of CronJobs");
