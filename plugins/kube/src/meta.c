#include "kube/values.h"

static kg_view_t meta(kg_view_t object, const char *key) {
  return kg_view_path(object, "metadata", key, NULL);
}

kg_str_t kube_name(kg_view_t object) {
  return kg_view_str(meta(object, "name"));
}
kg_str_t kube_namespace(kg_view_t object) {
  return kg_view_str(meta(object, "namespace"));
}
kg_str_t kube_uid(kg_view_t object) {
  return kg_view_str(meta(object, "uid"));
}
kg_view_t kube_labels(kg_view_t object) {
  return meta(object, "labels");
}
kg_view_t kube_annotation(kg_view_t object, const char *key) {
  return kg_view_get(meta(object, "annotations"), key);
}
int64_t kube_generation(kg_view_t object) {
  return kg_view_int(meta(object, "generation"), 0);
}
bool kube_deleting(kg_view_t object) {
  return kg_view_str(meta(object, "deletionTimestamp")).p != NULL;
}

kg_view_t kube_controller_ref(kg_view_t object) {
  kg_iter_t it = kg_iter(meta(object, "ownerReferences"));
  while (kg_iter_next(&it))
    if (kg_view_bool(kg_view_get(it.value, "controller"), false)) return it.value;
  return (kg_view_t){0};
}

kg_view_t kube_list_find(kg_view_t list, const char *key, kg_str_t text) {
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);)
    if (kg_str_eq(kg_view_str(kg_view_get(it.value, key)), text)) return it.value;
  return (kg_view_t){0};
}
kg_view_t kube_condition_of(kg_view_t object, const char *type) {
  return kube_list_find(kg_view_path(object, "status", "conditions", NULL), "type", kg_str(type));
}
bool kube_condition_holds(kg_view_t object, const char *type) {
  return kg_str_is(kg_view_str(kg_view_get(kube_condition_of(object, type), "status")), "True");
}

static bool is_default_class(kg_view_t class) {
  return kg_str_is(kg_view_str(kube_annotation(class, "storageclass.kubernetes.io/is-default-class")), "true") ||
         kg_str_is(kg_view_str(kube_annotation(class, "storageclass.beta.kubernetes.io/is-default-class")), "true");
}

static kg_str_t made_at(kg_view_t object) {
  return kg_view_str(kg_view_path(object, "metadata", "creationTimestamp", NULL));
}

kg_view_t kube_default_class(kg_view_t best, kg_view_t other) {
  if (!is_default_class(best)) best = (kg_view_t){0};
  if (!is_default_class(other)) return best;
  return kg_view_there(best) && kg_str_cmp(made_at(other), made_at(best)) <= 0 ? best : other;
}
