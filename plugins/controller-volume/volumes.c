/* A volume: free, promised, bound, or released by a claim that went, and then reclaimed. */
#include "volume.h"

static kg_str_t phase(kg_view_t volume) {
  return kg_view_str(kg_view_path(volume, "status", "phase", NULL));
}

/* --- reclaiming --------------------------------------------------------------------------------------------------- */

static void fail(pass_t *p, const char *reason, const char *text) {
  if (volume_phase(p, "Failed", text)) volume_event(p, "Warning", reason, "%s", text);
}

static void reclaim(pass_t *p) {
  kg_str_t policy = kg_view_str(kg_view_path(p->volume, "spec", "persistentVolumeReclaimPolicy", NULL)),
           by = kg_view_str(kube_annotation(p->volume, NOTE_PROVISIONED_BY));
  if (kg_str_is(policy, "Recycle"))
    fail(p, "VolumeFailedRecycle", "No recycler plugin found for the volume!");
  else if (!kg_str_is(policy, "Delete"))
    return;
  else if (kg_str_is(by, LOCAL_PROVISIONER))
    local_reclaim(p);
  else if (!by.n || is_in_tree(by)) /* else who provided it deletes it */
    fail(p, "VolumeFailedDelete",
         kube_arena_fmt(p->arena,
                        "error getting deleter volume plugin for volume \"" KG_STR_FMT
                        "\": no deletable volume plugin matched",
                        KG_STR_ARG(kube_name(p->volume))));
}

static void released(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *arg) {
  (void)ctx, (void)self, (void)s;
  reclaim(arg);
}

/* A volume that failed says so until somebody sees it. */
static void release(pass_t *p) {
  bool told = kg_str_is(phase(p->volume), "Released") || kg_str_is(phase(p->volume), "Failed");
  if (!told) volume_phase(p, "Released", NULL);
  ctl_sync_then(p->sync, released, p);
}

/* The cache may not know of the claim yet. */
static void looked(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  pass_t *p = arg;
  kg_view_t ref = kg_view_path(p->volume, "spec", "claimRef", NULL);
  kg_view_t there = kg_view_of(kg_msg_type(m) == KG_MSG_REPLY ? kg_msg_doc(m, 0) : NULL);
  if (kg_msg_type(m) != KG_MSG_REPLY && kg_msg_code(m) != KG_ENOTFOUND) return;
  if (kg_view_there(there) && kg_str_eq(kube_uid(there), kg_view_str(kg_view_get(ref, "uid"))))
    return ctl_sync_failed(s);
  release(p);
}

static void look_for_claim(pass_t *p, kg_view_t ref) {
  ctl_send(p->ctx, p->sync, CTL_GET,
           &(kube_call_t){.gvr = GVR_CLAIMS,
                          .ns = ctl_text(p->arena, kg_view_str(kg_view_get(ref, "namespace"))),
                          .name = ctl_text(p->arena, kg_view_str(kg_view_get(ref, "name")))},
           looked, p);
}

/* --- a claim that went elsewhere ---------------------------------------------------------------------------------- */

static void freed(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *arg) {
  (void)ctx, (void)self, (void)s;
  volume_phase(arg, "Available", NULL);
}

/* What we promised is free again; what somebody else promised to that name stays promised to it. */
static void unbind(pass_t *p) {
  kube_arena_t *a = p->arena;
  kube_node_t *patch = kube_map(a), *spec = kube_sub(a, patch, "spec");
  if (kg_view_there(kube_annotation(p->volume, KUBE_BOUND_BY_CONTROLLER))) {
    kube_set(a, spec, "claimRef", kube_nil(a));
    kube_set(a, kube_sub(a, kube_sub(a, patch, "metadata"), "annotations"), KUBE_BOUND_BY_CONTROLLER, kube_nil(a));
  } else {
    kube_set(a, kube_sub(a, spec, "claimRef"), "uid", kube_nil(a));
  }
  pass_patch(p, GVR_VOLUMES, p->volume, NULL, patch, took_volume);
  ctl_sync_then(p->sync, freed, p);
}

static bool is_superfluous(kg_view_t volume) {
  return kg_view_there(kube_annotation(volume, NOTE_PROVISIONED_BY)) &&
         kg_str_is(kg_view_str(kg_view_path(volume, "spec", "persistentVolumeReclaimPolicy", NULL)), "Delete");
}

/* ------------------------------------------------------------------------------------------------------------------ */

void volume_sync(pass_t *p, kg_str_t name) {
  kg_doc_t *doc = kube_informer_get(p->c->base.informers[VOLUMES], (kg_str_t){0}, name);
  if (!doc) return;
  p->volume = kg_view_of(ctl_keep(p->sync, doc));
  kg_view_t ref = kg_view_path(p->volume, "spec", "claimRef", NULL);
  kg_str_t uid = kg_view_str(kg_view_get(ref, "uid"));
  if (!uid.n) {
    volume_phase(p, "Available", NULL);
    return;
  }
  doc = kube_informer_get(p->c->base.informers[CLAIMS], kg_view_str(kg_view_get(ref, "namespace")),
                          kg_view_str(kg_view_get(ref, "name")));
  p->claim = kg_view_of(ctl_keep(p->sync, doc));
  if (!doc || !kg_str_eq(kube_uid(p->claim), uid)) return look_for_claim(p, ref);
  kg_str_t chosen = kg_view_str(kg_view_path(p->claim, "spec", "volumeName", NULL));
  if (!chosen.n) return; /* on its way: the claim's own pass goes on with it */
  if (kg_str_eq(chosen, name))
    volume_phase(p, "Bound", NULL);
  else if (is_superfluous(p->volume))
    release(p);
  else
    unbind(p);
}
