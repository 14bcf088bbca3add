/* Objects of custom kinds: decoding, defaults, validation. */
#include <string.h>

#include "structural.h"
#include "validate.h"

/* The metadata is that of any object; unknown fields in it are told as the rest's are. */
int kube_custom_metadata(kube_arena_t *a, kube_node_t *object, kube_node_t *unknown, kg_error_t *err) {
  static const kube_resource_t any = {0};
  kube_resource_t r = any;
  kube_node_t *meta = kube_get(object, "metadata"), *own = kube_map(a);
  r.type = kube_type_find(KG_STR("meta.v1.PartialObjectMetadata"));
  r.kind = "";
  if (!meta || meta->type == KG_V_NIL) return 0;
  kube_set(a, own, "metadata", meta);
  if (kube_decode_given(a, &r, own, unknown, err) < 0) return -1;
  kube_node_t *decoded = kube_get(own, "metadata");
  for (uint32_t i = decoded ? decoded->c.n : 0; i-- > 0;)
    if (decoded->c.items[i]->type == KG_V_NIL ||
        (kube_count(decoded->c.items[i]) == 0 &&
         (decoded->c.items[i]->type == KG_V_MAP || decoded->c.items[i]->type == KG_V_ARRAY) &&
         !kg_str_is(decoded->c.keys[i], "managedFields")))
      kube_deln(decoded, decoded->c.keys[i]);
  if (decoded) kube_set(a, object, "metadata", decoded);
  return 0;
}

int kube_custom_decode(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object, kube_node_t *unknown, bool given,
                       kg_error_t *err) {
  kube_node_t *extra = kube_array(a);
  if (object->type != KG_V_MAP) return kg_error_set(err, KG_EINVAL, "the body must be an object");
  if (kube_custom_metadata(a, object, extra, err) < 0) return -1;
  if (kube_structural_prune(a, r->structural, object, unknown, extra, err) < 0) return -1;
  for (uint32_t i = 0; unknown && i < extra->c.n; i++) kube_push(a, unknown, extra->c.items[i]);
  (void)given;
  return 0;
}

static const kube_node_t *number_at(const kube_node_t *object, const char *path) {
  const kube_node_t *n = path ? kube_node_look(object, path) : NULL;
  return n && n->type == KG_V_INT ? n : NULL;
}

static void check_replicas(kube_check_t *c, const char *path) {
  const kube_node_t *n = number_at(c->root, path);
  char *field = n ? kube_arena_fmt(c->a, ".%s", path) : NULL;
  if (n && n->i < 0) kube_invalid(c, field, n, "should be a non-negative integer");
  if (n && n->i > INT32_MAX) kube_invalid(c, field, n, "should be less than or equal to 2147483647");
}

void kube_custom_validate(kube_check_t *c) {
  static const kube_passes_t passes = {.update = 1, .whole = 0, .spec = 1, .create = 1, .generic = true};
  kube_check_metadata(c, kube_form_dns1123_subdomain, &passes);
  kube_structural_validate(c->a, c->r->structural, c->root, c->causes);
  if (!c->r->scale) return;
  check_replicas(c, c->r->scale->spec);
  check_replicas(c, c->r->scale->status);
}
