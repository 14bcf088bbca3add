/* A claim per pod and template, which outlives the pod unless the retention policy says otherwise. */
#include <string.h>

#include "statefulset.h"

static char *claim_name(pass_t *p, kg_view_t tmpl, int64_t ordinal) {
  return kube_arena_fmt(p->arena, KG_STR_FMT "-" KG_STR_FMT "-%lld", KG_STR_ARG(kube_name(tmpl)),
                        KG_STR_ARG(kube_name(p->object)), (long long)ordinal);
}

static kg_view_t templates(const pass_t *p) {
  return kg_view_get(p->spec, "volumeClaimTemplates");
}

void claims_mount(pass_t *p, kube_node_t *pod, int64_t ordinal) {
  kube_arena_t *a = p->arena;
  kube_node_t *spec = kube_sub(a, pod, "spec"), *old = kube_get(spec, "volumes"), *list = kube_array(a);
  if (!kg_view_count(templates(p))) return;
  for (kg_iter_t it = kg_iter(templates(p)); kg_iter_next(&it);) {
    kube_node_t *v = kube_map(a);
    kube_set(a, v, "name", kube_strn(a, kube_name(it.value)));
    kube_set(a, kube_sub(a, v, "persistentVolumeClaim"), "claimName", kube_str(a, claim_name(p, it.value, ordinal)));
    kube_push(a, list, v);
  }
  for (uint32_t i = 0, n = list->c.n; old && old->type == KG_V_ARRAY && i < old->c.n; i++) {
    bool replaced = false;
    for (uint32_t k = 0; k < n; k++)
      replaced |= kg_str_eq(kube_node_str(kube_get(list->c.items[k], "name")),
                            kube_node_str(kube_get(old->c.items[i], "name")));
    if (!replaced) kube_push(a, list, old->c.items[i]);
  }
  kube_set(a, spec, "volumes", list);
}

/* --- making ------------------------------------------------------------------------------------------------------- */

static void created(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  pass_t *p = ((void **)arg)[0];
  const char *claim = ((void **)arg)[1];
  kube_recorder_t *recorder = ((ssc_t *)self)->base.recorder;
  if (kg_msg_type(m) == KG_MSG_REPLY)
    return kube_event(ctx, recorder, p->object, "Normal", "SuccessfulCreate",
                      "create Claim %s in StatefulSet " KG_STR_FMT " success", claim, KG_STR_ARG(kube_name(p->object)));
  if (kg_msg_code(m) == KG_ECONFLICT) return ctl_sync_forgive(s);
  if (kg_msg_code(m) != KG_ENOTFOUND)
    kube_event(ctx, recorder, p->object, "Warning", "FailedCreate",
               "create Claim %s in StatefulSet " KG_STR_FMT " failed error: %s", claim,
               KG_STR_ARG(kube_name(p->object)), kg_msg_text(m));
}

static kube_node_t *claim_of(pass_t *p, kg_view_t tmpl, const char *name) {
  kube_arena_t *a = p->arena;
  kube_node_t *o = kube_tree_clone(a, kube_tree_parse(a, tmpl)), *meta = kube_sub(a, o, "metadata");
  kube_set(a, o, "apiVersion", kube_str(a, "v1"));
  kube_set(a, o, "kind", kube_str(a, "PersistentVolumeClaim"));
  kube_del(o, "status");
  kube_set(a, meta, "name", kube_str(a, name));
  kube_set(a, meta, "namespace", kube_strn(a, kube_namespace(p->object)));
  for (kg_iter_t it = kg_iter(kg_view_path(p->spec, "selector", "matchLabels", NULL)); kg_iter_next(&it);)
    kube_setn(a, kube_sub(a, meta, "labels"), kg_view_str(it.key), kube_strn(a, kg_view_str(it.value)));
  return o;
}

void claims_create(pass_t *p, const member_t *m) {
  for (kg_iter_t it = kg_iter(templates(p)); kg_iter_next(&it);) {
    char *name = claim_name(p, it.value, m->ordinal);
    if (kube_informer_get(p->c->base.informers[CLAIMS], kube_namespace(p->object), kg_str(name))) continue;
    void **arg = kube_arena_alloc(p->arena, 2 * sizeof *arg);
    arg[0] = p;
    arg[1] = name;
    kg_doc_t *doc = kube_tree_doc(claim_of(p, it.value, name));
    ctl_send(
        p->ctx, p->sync, CTL_CREATE,
        &(kube_call_t){
            .gvr = GVR_CLAIMS, .ns = ctl_text(p->arena, kube_namespace(p->object)), .object = doc, .grace_seconds = -1},
        created, arg);
    kg_doc_unref(doc);
  }
}

/* --- keeping or not ----------------------------------------------------------------------------------------------- */

static bool says_delete(const pass_t *p, const char *when) {
  kg_view_t policy = kg_view_get(p->spec, "persistentVolumeClaimRetentionPolicy");
  return kg_str_is(kg_view_str(kg_view_get(policy, when)), "Delete");
}

/* Its owner references as the policy wants them: ours replaced, those of others kept. If somebody else controls it we
 * do not. */
static kube_node_t *wanted_refs(pass_t *p, kg_view_t claim, const member_t *m, bool condemned) {
  kube_arena_t *a = p->arena;
  kube_node_t *list = kube_array(a);
  bool taken = false;
  for (kg_iter_t it = kg_iter(kg_view_path(claim, "metadata", "ownerReferences", NULL)); kg_iter_next(&it);) {
    kg_str_t uid = kg_view_str(kg_view_get(it.value, "uid"));
    if (kg_str_eq(uid, kube_uid(p->object)) || kg_str_eq(uid, kube_uid(m->object))) continue;
    kube_push(a, list, kube_tree_parse(a, it.value));
    taken |= kg_view_bool(kg_view_get(it.value, "controller"), false);
  }
  if (taken && (says_delete(p, "whenScaled") || says_delete(p, "whenDeleted")))
    kube_event(p->ctx, p->c->base.recorder, p->object, "Warning", "ConflictingController",
               "PersistentVolumeClaim " KG_STR_FMT
               " has a conflicting OwnerReference that acts as a managing controller, "
               "the retention policy is ignored for this claim",
               KG_STR_ARG(kube_name(claim)));
  else if (condemned && says_delete(p, "whenScaled"))
    kube_push(a, list, ctl_owner_ref(a, m->object, "v1", "Pod"));
  else if (says_delete(p, "whenDeleted"))
    kube_push(a, list, ctl_owner_ref(a, p->object, "apps/v1", "StatefulSet"));
  return list;
}

static void retain(pass_t *p, kg_doc_t *doc, const member_t *m, bool condemned) {
  kube_arena_t *a = p->arena;
  kg_view_t claim = kg_view_of(ctl_keep(p->sync, doc)), old = kg_view_path(claim, "metadata", "ownerReferences", NULL);
  kube_node_t *list = wanted_refs(p, claim, m, condemned), *patch = kube_map(a);
  if (kg_view_count(old) ? kube_tree_equal(kube_tree_parse(a, old), list) : !list->c.n) return;
  kube_set(a, kube_sub(a, patch, "metadata"), "ownerReferences", list->c.n ? list : kube_nil(a));
  kube_set(a, kube_sub(a, patch, "metadata"), "uid", kube_strn(a, kube_uid(claim)));
  kg_doc_t *body = kube_tree_doc(patch);
  ctl_send(p->ctx, p->sync, CTL_PATCH,
           &(kube_call_t){.gvr = GVR_CLAIMS,
                          .ns = ctl_text(a, kube_namespace(claim)),
                          .name = ctl_text(a, kube_name(claim)),
                          .object = body,
                          .patch_type = "merge",
                          .grace_seconds = -1},
           NULL, NULL);
  kg_doc_unref(body);
}

void claims_retain(pass_t *p, const member_t *m, bool condemned) {
  for (kg_iter_t it = kg_iter(templates(p)); kg_iter_next(&it);) {
    kg_doc_t *doc = kube_informer_get(p->c->base.informers[CLAIMS], kube_namespace(p->object),
                                      kg_str(claim_name(p, it.value, m->ordinal)));
    if (doc) retain(p, doc, m, condemned);
  }
}
