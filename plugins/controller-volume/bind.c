/* A binding: the volume names the claim, then says so, the claim names the volume, then says so. Whoever is stopped on
 * the way goes on from there, since each of these is only written where it is missing. */
#include "volume.h"

kube_node_t *claim_ref(kube_arena_t *a, kg_view_t claim) {
  static const char *const kept[] = {"namespace", "name", "uid", "resourceVersion"};
  kube_node_t *ref = kube_map(a);
  kube_set(a, ref, "apiVersion", kube_str(a, "v1"));
  kube_set(a, ref, "kind", kube_str(a, "PersistentVolumeClaim"));
  for (int i = 0; i < 4; i++)
    kube_set(a, ref, kept[i], kube_strn(a, kg_view_str(kg_view_path(claim, "metadata", kept[i], NULL))));
  return ref;
}

static kube_node_t *note(pass_t *p, kube_node_t *patch, const char *key) {
  kube_arena_t *a = p->arena;
  kube_node_t *notes = kube_sub(a, kube_sub(a, patch, "metadata"), "annotations");
  kube_set(a, notes, key, kube_str(a, "yes"));
  return patch;
}

static bool point_volume(pass_t *p) {
  kube_arena_t *a = p->arena;
  kg_view_t ref = kg_view_path(p->volume, "spec", "claimRef", NULL);
  bool ours = kube_volume_is_of(p->volume, p->claim);
  if (ours && kg_str_eq(kg_view_str(kg_view_get(ref, "uid")), kube_uid(p->claim))) return false;
  kube_node_t *patch = kube_map(a);
  kube_set(a, kube_sub(a, patch, "spec"), "claimRef", claim_ref(a, p->claim));
  if (!ours) note(p, patch, KUBE_BOUND_BY_CONTROLLER);
  pass_patch(p, GVR_VOLUMES, p->volume, NULL, patch, took_volume);
  return true;
}

bool volume_phase(pass_t *p, const char *phase, const char *message) {
  kube_arena_t *a = p->arena;
  kg_view_t status = kg_view_get(p->volume, "status");
  kg_str_t had = kg_view_str(kg_view_get(status, "message"));
  if (kg_str_is(kg_view_str(kg_view_get(status, "phase")), phase) && kg_str_eq(had, kg_str(message))) return false;
  kube_node_t *patch = kube_map(a), *to = kube_sub(a, patch, "status");
  kube_set(a, to, "phase", kube_str(a, phase));
  if (message || had.n) kube_set(a, to, "message", message ? kube_str(a, message) : kube_nil(a));
  pass_patch(p, GVR_VOLUMES, p->volume, "status", patch, took_volume);
  return true;
}

static bool mark_volume(pass_t *p) {
  return volume_phase(p, "Bound", NULL);
}

static bool point_claim(pass_t *p) {
  kube_arena_t *a = p->arena;
  kg_str_t had = kg_view_str(kg_view_path(p->claim, "spec", "volumeName", NULL));
  bool named = kg_str_eq(had, kube_name(p->volume));
  if (named && kg_view_there(kube_annotation(p->claim, KUBE_BIND_COMPLETED))) return false;
  kube_node_t *patch = note(p, kube_map(a), KUBE_BIND_COMPLETED);
  if (!named) {
    note(p, patch, KUBE_BOUND_BY_CONTROLLER);
    kube_set(a, kube_sub(a, patch, "spec"), "volumeName", kube_strn(a, kube_name(p->volume)));
  }
  pass_patch(p, GVR_CLAIMS, p->claim, NULL, patch, took_claim);
  return true;
}

bool claim_phase(pass_t *p, const char *phase, bool bound) {
  static const char *const shown[] = {"accessModes", "capacity"};
  kube_arena_t *a = p->arena;
  kg_view_t status = kg_view_get(p->claim, "status");
  kube_node_t *patch = kube_map(a), *to = kube_map(a);
  bool same = kg_str_is(kg_view_str(kg_view_get(status, "phase")), phase);
  if (!same) kube_set(a, to, "phase", kube_str(a, phase));
  for (int i = 0; i < 2; i++) {
    kg_view_t had = kg_view_get(status, shown[i]),
              is = bound ? kg_view_path(p->volume, "spec", shown[i], NULL) : (kg_view_t){0};
    bool grown = i && bound && same; /* the size of a bound claim is for who resizes it */
    if (grown || kg_view_there(had) != kg_view_there(is) || (kg_view_there(is) && !kg_view_equal(had, is)))
      if (!grown) kube_set(a, to, shown[i], kg_view_there(is) ? kube_tree_parse(a, is) : kube_nil(a));
  }
  if (!to->c.n) return false;
  kube_set(a, patch, "status", to);
  pass_patch(p, GVR_CLAIMS, p->claim, "status", patch, took_claim);
  return true;
}

static bool mark_claim(pass_t *p) {
  return claim_phase(p, "Bound", true);
}

static void step(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *arg) {
  (void)ctx, (void)self;
  static bool (*const steps[])(pass_t * p) = {point_volume, mark_volume, point_claim, mark_claim};
  pass_t *p = arg;
  while (p->step < sizeof steps / sizeof steps[0])
    if (steps[p->step++](p)) return ctl_sync_then(s, step, p);
}

void bind(pass_t *p) {
  p->step = 0;
  ctl_sync_then(p->sync, step, p);
}
