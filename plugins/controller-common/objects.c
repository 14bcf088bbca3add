#include <stdio.h>
#include <string.h>

#include "control.h"

char *ctl_join(char buf[CTL_KEY_MAX], kg_str_t ns, kg_str_t name) {
  snprintf(buf, CTL_KEY_MAX, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(ns), KG_STR_ARG(name));
  return buf;
}

char *ctl_key(kg_view_t object, char buf[CTL_KEY_MAX]) {
  return ctl_join(buf, kube_namespace(object), kube_name(object));
}

void ctl_split(const char *key, kg_str_t *ns, kg_str_t *name) {
  const char *slash = strchr(key, '/');
  *ns = (kg_str_t){key, slash ? (size_t)(slash - key) : 0};
  *name = kg_str(slash ? slash + 1 : key);
}

char *ctl_text(kube_arena_t *a, kg_str_t s) {
  return kube_arena_fmt(a, KG_STR_FMT, KG_STR_ARG(s));
}

kube_selector_t *ctl_selector_of(kg_view_t owner, kg_error_t *err) {
  kg_view_t selector = kg_view_path(owner, "spec", "selector", NULL);
  bool plain = kg_str_is(kg_view_str(kg_view_get(owner, "kind")), "ReplicationController");
  return plain ? kube_selector_of_map(selector) : kube_selector_of(selector, err);
}

bool ctl_owned_by(kg_view_t object, kg_view_t owner) {
  kg_view_t ref = kube_controller_ref(object);
  return kg_view_there(ref) && kg_str_eq(kg_view_str(kg_view_get(ref, "uid")), kube_uid(owner));
}

kube_node_t *ctl_owner_ref(kube_arena_t *a, kg_view_t owner, const char *api_version, const char *kind) {
  kube_node_t *ref = kube_map(a);
  kube_set(a, ref, "apiVersion", kube_str(a, api_version));
  kube_set(a, ref, "kind", kube_str(a, kind));
  kube_set(a, ref, "name", kube_strn(a, kube_name(owner)));
  kube_set(a, ref, "uid", kube_strn(a, kube_uid(owner)));
  kube_set(a, ref, "controller", kube_bool(a, true));
  kube_set(a, ref, "blockOwnerDeletion", kube_bool(a, true));
  return ref;
}

static void patch_owner(kg_ctx_t *ctx, ctl_sync_t *s, kube_gvr_t gvr, kg_view_t object, kube_node_t *ref) {
  kube_arena_t *a = ctl_arena(s);
  kube_node_t *patch = kube_map(a), *meta = kube_sub(a, patch, "metadata"), *refs = kube_array(a);
  kube_push(a, refs, ref);
  kube_set(a, meta, "uid", kube_strn(a, kube_uid(object)));
  kube_set(a, meta, "ownerReferences", refs);
  kg_doc_t *doc = kube_tree_doc(patch);
  ctl_send(ctx, s, CTL_PATCH,
           &(kube_call_t){.gvr = gvr,
                          .ns = ctl_text(a, kube_namespace(object)),
                          .name = ctl_text(a, kube_name(object)),
                          .object = doc,
                          .patch_type = "strategic",
                          .grace_seconds = -1},
           NULL, NULL);
  kg_doc_unref(doc);
}

ctl_claim_t ctl_claim(kg_ctx_t *ctx, ctl_sync_t *s, kube_gvr_t gvr, const ctl_owner_t *owner, kg_view_t object) {
  kube_arena_t *a = ctl_arena(s);
  bool matches = kube_selector_matches(owner->selector, kube_labels(object));
  bool owned = kg_view_there(kube_controller_ref(object));
  if (owned && !ctl_owned_by(object, owner->object)) return CTL_NOT_OURS;
  if (owned && matches) return CTL_OURS;
  if (owned == matches || kube_deleting(owner->object)) return CTL_NOT_OURS;
  if (owned) {
    kube_node_t *ref = kube_map(a);
    kube_set(a, ref, "$patch", kube_str(a, "delete"));
    kube_set(a, ref, "uid", kube_strn(a, kube_uid(owner->object)));
    patch_owner(ctx, s, gvr, object, ref);
    return CTL_RELEASED;
  }
  if (kube_deleting(object)) return CTL_NOT_OURS;
  patch_owner(ctx, s, gvr, object, ctl_owner_ref(a, owner->object, owner->api_version, owner->kind));
  return CTL_ADOPTED;
}

char *ctl_owner_key(kg_view_t object, const char *kind, char buf[CTL_KEY_MAX]) {
  kg_view_t ref = kube_controller_ref(object);
  if (!kg_view_there(ref) || !kg_str_is(kg_view_str(kg_view_get(ref, "kind")), kind)) return NULL;
  return ctl_join(buf, kube_namespace(object), kg_view_str(kg_view_get(ref, "name")));
}
