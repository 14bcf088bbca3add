/* An owner that is being deleted: its dependents go before it, or stay without it. */
#include "gc.h"

/* The list without one entry; NULL if nothing is left. */
static kube_node_t *without(kube_arena_t *a, kg_view_t list, const char *key, kg_str_t value) {
  kube_node_t *out = kube_array(a);
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);)
    if (!kg_str_eq(kg_view_str(key ? kg_view_get(it.value, key) : it.value), value))
      kube_push(a, out, kube_tree_parse(a, it.value));
  return out->c.n ? out : kube_nil(a);
}

static void remove_finalizer(pass_t *p, const char *name) {
  kg_view_t list = kg_view_path(p->object, "metadata", "finalizers", NULL);
  gc_patch(p, p->kind, p->object, "finalizers", without(p->arena, list, NULL, kg_str(name)));
}

static void orphaned(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *arg) {
  (void)ctx, (void)self, (void)s;
  remove_finalizer(arg, "orphan");
}

void orphan_dependents(pass_t *p) {
  kg_str_t uid = kube_uid(p->object);
  for (edge_t *e = NULL; (e = graph_next(p->c, uid, e));) {
    kg_view_t v = kg_view_of(ctl_keep(p->sync, e->doc));
    kg_view_t refs = kg_view_path(v, "metadata", "ownerReferences", NULL);
    gc_patch(p, p->c->kinds[e->kind], v, "ownerReferences", without(p->arena, refs, "uid", uid));
  }
  ctl_sync_then(p->sync, orphaned, p);
}

void wait_for_dependents(pass_t *p) {
  kg_str_t uid = kube_uid(p->object);
  bool blocked = false;
  for (edge_t *e = NULL; (e = graph_next(p->c, uid, e));) {
    kg_view_t v = kg_view_of(e->doc);
    blocked |= kg_view_bool(kg_view_get(ref_to(v, uid), "blockOwnerDeletion"), false);
  }
  if (!blocked) return remove_finalizer(p, "foregroundDeletion");
  for (edge_t *e = NULL; (e = graph_next(p->c, uid, e));)
    if (!in_foreground(kg_view_of(e->doc))) gc_enqueue(p->ctx, p->c, p->c->kinds[e->kind], kg_view_of(e->doc));
}

bool dependents_wait(const gcc_t *c, kg_view_t object) {
  for (edge_t *e = NULL; (e = graph_next(c, kube_uid(object), e));)
    if (in_foreground(kg_view_of(e->doc))) return true;
  return false;
}
