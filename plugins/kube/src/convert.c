/* Between the version of a kind that is shown and the one that is stored. */
#include "convert.h"

static kube_node_t *renamed(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object,
                            kg_str_t (*name)(const kube_resource_t *, kg_str_t)) {
  if (!r->renamed) return object;
  kube_node_t *out = kube_map(a);
  for (uint32_t i = 0; i < object->c.n; i++) kube_setn(a, out, name(r, object->c.keys[i]), object->c.items[i]);
  return out;
}

/* What the hook makes has the fields of both versions: decoding it as `to` leaves those that this one has, in order. */
static kube_node_t *converted(kube_arena_t *a, const kube_resource_t *to, kube_node_t *object,
                              void (*hook)(kube_arena_t *a, kube_node_t *object)) {
  kg_error_t err = {0};
  kube_node_t *out = kube_tree_clone(a, object);
  hook(a, out);
  kube_decode(a, to, out, NULL, &err);
  return out;
}

kube_node_t *kube_as_shown(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object) {
  object = renamed(a, r, object, kube_shown_name);
  return r->conversion ? converted(a, r, object, r->conversion->show) : object;
}

kube_node_t *kube_as_stored(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object) {
  object = renamed(a, r, object, kube_stored_name);
  if (!r->conversion) return object;
  const kube_resource_t *stored =
      kube_resource_find(kg_str(r->storage_group), kg_str(r->storage_version), kg_str(r->resource));
  return converted(a, stored, object, r->conversion->store);
}
