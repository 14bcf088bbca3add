/* The subresource ephemeralcontainers of pods: new ones join, and nothing else changes. */
#include "api.h"

static const kube_node_t *named(const kube_node_t *list, kg_str_t name) {
  for (uint32_t i = 0; list && i < list->c.n; i++)
    if (kg_str_eq(kube_node_str(kube_get(list->c.items[i], "name")), name)) return list->c.items[i];
  return NULL;
}

static kube_node_t *with_containers(write_t *w, const kube_node_t *old, kube_node_t *list) {
  kube_node_t *out = kube_tree_clone(w->arena, old), *spec = kube_sub(w->arena, out, "spec");
  if (list)
    kube_set(w->arena, spec, "ephemeralContainers", list);
  else
    kube_del(spec, "ephemeralContainers");
  return out;
}

bool ephemeral_update(write_t *w, kube_node_t **object, kube_node_t **old) {
  kube_node_t *list = kube_path(*object, "spec", "ephemeralContainers", NULL);
  const kube_node_t *before = kube_path(*old, "spec", "ephemeralContainers", NULL);
  kube_node_t *causes = kube_array(w->arena), *fields = kube_path(*object, "metadata", "managedFields", NULL);
  for (uint32_t i = 0; before && i < before->c.n; i++) {
    kg_str_t name = kube_node_str(kube_get(before->c.items[i], "name"));
    const kube_node_t *now = named(list, name);
    if (now && kube_tree_equal(now, before->c.items[i])) continue;
    cause_add(w->arena, causes, "FieldValueForbidden", "spec.ephemeralContainers",
              "Forbidden: existing ephemeral containers \"" KG_STR_FMT "\" may not be %s\n", KG_STR_ARG(name),
              now ? "changed" : "removed");
  }
  if (causes->c.n) return fault_invalid(&w->fault, w->q.r, w->q.name, causes);
  *object = with_containers(w, *old, list);
  if (fields) kube_set(w->arena, kube_sub(w->arena, *object, "metadata"), "managedFields", fields);
  *old = with_containers(w, *old, list); /* pods' own rules see no change */
  return true;
}
