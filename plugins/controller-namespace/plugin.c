#include "namespace.h"

const kube_gvr_t GVR_SPACES = {"", "v1", "namespaces"};

/* A client that deletes a whole stack names the namespace first and then what is in it: it shall still find that.
 * Kubernetes' controller waits for 5 s (namespaceDeletionGracePeriod). */
enum { GRACE_MS = 1000 };

static void on_space(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  bool begins = change == KUBE_MODIFIED && kube_deleting(now) && !kube_deleting(old);
  char key[CTL_KEY_MAX];
  if (begins)
    ctl_work_add_after(ctx, &((ctl_base_t *)self)->work, ctl_key(now, key), GRACE_MS);
  else if (change == KUBE_DELETED || kube_deleting(now))
    ctl_on_key(ctx, self, change, old, now, arg);
}

static void stats(void *self, kg_pack_t *p) {
  int64_t n = 0;
  for (const wait_t *w = ((const nsc_t *)self)->waits; w; w = w->next) n++;
  kg_pack_kv_int(p, "waiting", n);
}

static void end(kg_ctx_t *ctx, void *self) {
  wait_free(ctx, self);
}

static const ctl_spec_t spec = {.size = sizeof(nsc_t),
                                .component = "namespace-controller",
                                .sync = namespace_sync,
                                .parallel = 10,
                                .watches = {{.gvr = {"", "v1", "namespaces"}, .fn = on_space, .keys = true}},
                                .stats = stats,
                                .end = end};

CTL_PLUGIN(spec, .name = "controller-namespace", .summary = "Empties namespaces that are being deleted");
