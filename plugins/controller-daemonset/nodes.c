#include "kube/placement.h"

#include "daemonset.h"

bool node_changed(kg_view_t old, kg_view_t now) {
  return !kg_view_equal(kube_labels(old), kube_labels(now)) ||
         !kg_view_equal(kg_view_path(old, "spec", "taints", NULL), kg_view_path(now, "spec", "taints", NULL));
}

static void judge(kg_view_t spec, kg_view_t tolerations, place_t *at) {
  kg_view_t labels = kube_labels(at->node);
  kg_str_t pinned = kg_view_str(kg_view_get(spec, "nodeName"));
  if (pinned.n && !kg_str_eq(pinned, at->name)) return;
  if (!kube_selects_node(spec, labels) || !kube_affine_to_node(spec, labels, at->name)) return;
  at->should_run = at->may_stay = true;
  for (kg_iter_t it = kg_iter(kg_view_path(at->node, "spec", "taints", NULL)); kg_iter_next(&it);) {
    kg_str_t effect = kg_view_str(kg_view_get(it.value, "effect"));
    if (kg_str_is(effect, "PreferNoSchedule") || kube_tolerated(tolerations, it.value)) continue;
    at->should_run = false;
    if (kg_str_is(effect, "NoExecute")) at->may_stay = false;
  }
}

void places_read(pass_t *p) {
  const kube_informer_t *nodes = p->c->base.informers[NODES];
  kg_view_t spec = kg_view_path(p->spec, "template", "spec", NULL);
  kg_doc_t *tolerations = kube_tree_doc(daemon_tolerations(p)), *doc;
  ctl_keep(p->sync, tolerations);
  kg_doc_unref(tolerations);
  p->places = kube_arena_alloc(p->arena, (kube_informer_count(nodes) + 1) * sizeof *p->places);
  for (size_t i = 0; (doc = kube_informer_at(nodes, i)); i++) {
    place_t *at = &p->places[p->n++];
    at->node = kg_view_of(ctl_keep(p->sync, doc));
    at->name = kube_name(at->node);
    judge(spec, kg_view_of(tolerations), at);
    p->desired += at->should_run;
  }
}
