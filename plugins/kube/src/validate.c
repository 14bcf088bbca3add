/* Validation: metadata, then the rules of schema/validate.txt on every struct of an object. */
#include <string.h>

#include "validate.h"

void kube_validate(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *object, const kube_node_t *old,
                   kube_node_t *causes) {
  kube_check_t c = {.a = a, .causes = causes, .r = r, .root = object, .old_root = old};
  bool rbac = !strcmp(r->group, "rbac.authorization.k8s.io"); /* names like system:node */
  if (!r->virtual_) kube_check_metadata(&c, rbac ? KG_STR("path_segment") : KG_STR("dns1123_subdomain"));
}
