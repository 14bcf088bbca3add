/* Generic ephemeral volumes (KEP-1698): a claim per volume that lives and goes with its pod. */
#include "volume.h"

static kg_view_t template_of(kg_view_t volume) {
  return kg_view_path(volume, "ephemeral", "volumeClaimTemplate", NULL);
}

bool pod_wants_claims(kg_view_t pod) {
  for (kg_iter_t it = kg_iter(kg_view_path(pod, "spec", "volumes", NULL)); kg_iter_next(&it);)
    if (kg_view_there(template_of(it.value))) return true;
  return false;
}

typedef struct {
  pass_t *pass;
  kg_view_t pod;
  kg_str_t volume;
} order_t;

static void complain(order_t *o, const char *text) {
  kube_event(o->pass->ctx, o->pass->c->base.recorder, o->pod, "Warning", "FailedBinding",
             "ephemeral volume " KG_STR_FMT ": %s", KG_STR_ARG(o->volume), text);
}

static void created(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)s;
  order_t *o = arg;
  if (kg_msg_type(m) != KG_MSG_ERROR || kg_msg_code(m) == KG_ECONFLICT) return; /* the cache was behind: once more */
  complain(o, kube_arena_fmt(o->pass->arena, "create PVC: %s", kg_msg_text(m)));
}

static void create(order_t *o, kg_view_t tmpl, const char *name) {
  static const char *const copied[] = {"labels", "annotations"};
  pass_t *p = o->pass;
  kube_arena_t *a = p->arena;
  kube_node_t *claim = kube_map(a), *meta = kube_sub(a, claim, "metadata"), *owners = kube_array(a);
  kube_set(a, claim, "apiVersion", kube_str(a, "v1"));
  kube_set(a, claim, "kind", kube_str(a, "PersistentVolumeClaim"));
  kube_set(a, meta, "name", kube_str(a, name));
  kube_set(a, meta, "namespace", kube_strn(a, kube_namespace(o->pod)));
  for (int i = 0; i < 2; i++) {
    kg_view_t v = kg_view_path(tmpl, "metadata", copied[i], NULL);
    if (kg_view_there(v)) kube_set(a, meta, copied[i], kube_tree_parse(a, v));
  }
  kube_push(a, owners, ctl_owner_ref(a, o->pod, "v1", "Pod"));
  kube_set(a, meta, "ownerReferences", owners);
  kube_set(a, claim, "spec", kube_tree_parse(a, kg_view_get(tmpl, "spec")));
  kg_doc_t *doc = kube_tree_doc(claim);
  ctl_send(
      p->ctx, p->sync, CTL_CREATE,
      &(kube_call_t){.gvr = GVR_CLAIMS, .ns = ctl_text(a, kube_namespace(o->pod)), .object = doc, .grace_seconds = -1},
      created, o);
  kg_doc_unref(doc);
}

static void provide(pass_t *p, kg_view_t pod, kg_view_t volume) {
  order_t *o = kube_arena_alloc(p->arena, sizeof *o);
  kg_str_t ns = kube_namespace(pod);
  *o = (order_t){p, pod, kg_view_str(kg_view_get(volume, "name"))};
  char name[KUBE_CLAIM_NAME];
  kube_claim_of(pod, volume, name);
  kg_doc_t *there = kube_informer_get(p->c->base.informers[CLAIMS], ns, kg_str(name));
  if (!there) return create(o, template_of(volume), name);
  if (kube_claim_is_of_pod(kg_view_of(there), pod)) return;
  complain(o, kube_arena_fmt(p->arena,
                             "PVC " KG_STR_FMT "/%s was not created for pod " KG_STR_FMT "/" KG_STR_FMT
                             " (pod is not owner)",
                             KG_STR_ARG(ns), name, KG_STR_ARG(ns), KG_STR_ARG(kube_name(pod))));
}

void pod_sync(pass_t *p, const char *key) {
  kg_str_t ns, name;
  ctl_split(key, &ns, &name);
  kg_doc_t *doc = ctl_keep(p->sync, kube_informer_get(p->c->base.informers[PODS], ns, name));
  kg_view_t pod = kg_view_of(doc);
  if (!doc || kube_deleting(pod)) return;
  for (kg_iter_t it = kg_iter(kg_view_path(pod, "spec", "volumes", NULL)); kg_iter_next(&it);)
    if (kg_view_there(template_of(it.value))) provide(p, pod, it.value);
}
