#include "kube/claims.h"

#include <stdio.h>

#include "kube/placement.h"
#include "kube/values.h"

static kg_str_t text(kg_view_t object, const char *part, const char *key) {
  return kg_view_str(kg_view_path(object, part, key, NULL));
}

bool kube_claim_of(kg_view_t pod, kg_view_t volume, char name[KUBE_CLAIM_NAME]) {
  kg_view_t claim = kg_view_get(volume, "persistentVolumeClaim");
  if (kg_view_type(claim) == KG_V_MAP) {
    snprintf(name, KUBE_CLAIM_NAME, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(claim, "claimName"))));
    return true;
  }
  if (kg_view_type(kg_view_get(volume, "ephemeral")) != KG_V_MAP) return false;
  kg_str_t own = kg_view_str(kg_view_get(volume, "name"));
  snprintf(name, KUBE_CLAIM_NAME, KG_STR_FMT "-" KG_STR_FMT, KG_STR_ARG(kube_name(pod)), KG_STR_ARG(own));
  return true;
}

bool kube_claim_is_of_pod(kg_view_t claim, kg_view_t pod) {
  return kg_str_eq(kg_view_str(kg_view_get(kube_controller_ref(claim), "uid")), kube_uid(pod));
}

kg_str_t kube_storage_class_of(kg_view_t object) {
  kg_str_t old = kg_view_str(kube_annotation(object, "volume.beta.kubernetes.io/storage-class"));
  return old.p ? old : text(object, "spec", "storageClassName");
}

static int64_t bytes(kg_view_t quantity) {
  int64_t n;
  return kube_quantity_value(kg_view_str(quantity), &n) ? 0 : n;
}

int64_t kube_storage_bytes(kg_view_t claim) {
  return bytes(kg_view_path(claim, "spec", "resources", "requests", "storage", NULL));
}

int64_t kube_volume_bytes(kg_view_t volume) {
  return bytes(kg_view_path(volume, "spec", "capacity", "storage", NULL));
}

bool kube_claim_is_bound(kg_view_t claim) {
  return text(claim, "spec", "volumeName").n && kg_view_there(kube_annotation(claim, KUBE_BIND_COMPLETED));
}

bool kube_volume_is_of(kg_view_t volume, kg_view_t claim) {
  kg_view_t ref = kg_view_path(volume, "spec", "claimRef", NULL);
  kg_str_t uid = kg_view_str(kg_view_get(ref, "uid"));
  return kg_view_type(ref) == KG_V_MAP && kg_str_eq(kg_view_str(kg_view_get(ref, "name")), kube_name(claim)) &&
         kg_str_eq(kg_view_str(kg_view_get(ref, "namespace")), kube_namespace(claim)) &&
         (!uid.n || kg_str_eq(uid, kube_uid(claim)));
}

/* --- what a claim asks for ---------------------------------------------------------------------------------------- */

static kg_str_t mode_of(kg_view_t object) {
  kg_str_t mode = text(object, "spec", "volumeMode");
  return mode.n ? mode : KG_STR("Filesystem");
}

static bool has_modes(kg_view_t volume, kg_view_t claim) {
  kg_view_t have = kg_view_path(volume, "spec", "accessModes", NULL);
  for (kg_iter_t it = kg_iter(kg_view_path(claim, "spec", "accessModes", NULL)); kg_iter_next(&it);) {
    bool in = false;
    for (kg_iter_t h = kg_iter(have); kg_iter_next(&h);) in |= kg_str_eq(kg_view_str(h.value), kg_view_str(it.value));
    if (!in) return false;
  }
  return true;
}

static bool selected(kg_view_t volume, kg_view_t claim) {
  kg_view_t wish = kg_view_path(claim, "spec", "selector", NULL);
  if (kg_view_type(wish) != KG_V_MAP) return true;
  kube_selector_t *s = kube_selector_of(wish, NULL);
  bool yes = s && kube_selector_matches(s, kube_labels(volume));
  kube_selector_free(s);
  return yes;
}

static bool free_for(kg_view_t volume, kg_view_t claim) {
  if (kg_view_type(kg_view_path(volume, "spec", "claimRef", NULL)) == KG_V_MAP) return kube_volume_is_of(volume, claim);
  return kg_str_is(text(volume, "status", "phase"), "Available");
}

static bool is_same(kg_view_t volume, kg_view_t claim, const char *key) {
  return kg_str_eq(text(volume, "spec", key), text(claim, "spec", key));
}

const char *kube_volume_lacks(kg_view_t volume, kg_view_t claim) {
  if (kube_volume_bytes(volume) < kube_storage_bytes(claim)) return "requested PV is too small";
  if (!kg_str_eq(kube_storage_class_of(volume), kube_storage_class_of(claim))) return "storageClassName does not match";
  if (!is_same(volume, claim, "volumeAttributesClassName")) return "volumeAttributesClassName does not match";
  if (!kg_str_eq(mode_of(volume), mode_of(claim))) return "incompatible volumeMode";
  return has_modes(volume, claim) ? NULL : "incompatible accessMode";
}

bool kube_volume_suits(kg_view_t volume, kg_view_t claim) {
  if (kube_deleting(volume) || !free_for(volume, claim)) return false;
  if (!kube_volume_is_of(volume, claim)) return !kube_volume_lacks(volume, claim) && selected(volume, claim);
  return kg_str_eq(mode_of(volume), mode_of(claim)) && kube_volume_bytes(volume) >= kube_storage_bytes(claim) &&
         is_same(volume, claim, "volumeAttributesClassName");
}

bool kube_volume_reaches(kg_view_t volume, kg_view_t node_labels) {
  kg_view_t required = kg_view_path(volume, "spec", "nodeAffinity", "required", NULL);
  if (kg_view_type(required) != KG_V_MAP) return true;
  for (kg_iter_t it = kg_iter(kg_view_get(required, "nodeSelectorTerms")); kg_iter_next(&it);)
    if (kube_node_term_matches(it.value, node_labels, KG_STR(""))) return true;
  return false;
}
