#include <stdio.h>

#include "control.h"

static bool has_verb(kg_view_t verbs, const char *verb) {
  for (kg_iter_t it = kg_iter(verbs); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(it.value), verb)) return true;
  return false;
}

static bool in_version(kg_view_t version, kg_str_t resource) {
  for (kg_iter_t it = kg_iter(kg_view_get(version, "resources")); kg_iter_next(&it);)
    if (kg_str_eq(kg_view_str(kg_view_get(it.value, "resource")), resource)) return true;
  return false;
}

/* Does a version before number `i` have it, too? */
static bool seen_before(kg_view_t versions, size_t i, kg_str_t resource) {
  for (kg_iter_t it = kg_iter(versions); i && kg_iter_next(&it); i--)
    if (in_version(it.value, resource)) return true;
  return false;
}

static void tell(kg_str_t group, kg_view_t version, kg_view_t r, ctl_kind_fn fn, void *arg) {
  ctl_kind_t k = {0};
  kg_view_t verbs = kg_view_get(r, "verbs");
  snprintf(k.group, sizeof k.group, KG_STR_FMT, KG_STR_ARG(group));
  snprintf(k.version, sizeof k.version, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(version, "version"))));
  snprintf(k.resource, sizeof k.resource, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(r, "resource"))));
  snprintf(k.kind, sizeof k.kind, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_path(r, "responseKind", "kind", NULL))));
  k.namespaced = kg_str_is(kg_view_str(kg_view_get(r, "scope")), "Namespaced");
  k.list = has_verb(verbs, "list");
  k.watch = has_verb(verbs, "watch");
  k.delete = has_verb(verbs, "delete");
  k.delete_all = has_verb(verbs, "deletecollection");
  fn(&k, arg);
}

void ctl_kinds(kg_view_t discovery, ctl_kind_fn fn, void *arg) {
  for (kg_iter_t group = kg_iter(kg_view_get(discovery, "items")); kg_iter_next(&group);) {
    kg_str_t name = kube_name(group.value);
    kg_view_t versions = kg_view_get(group.value, "versions");
    size_t i = 0;
    for (kg_iter_t v = kg_iter(versions); kg_iter_next(&v); i++)
      for (kg_iter_t r = kg_iter(kg_view_get(v.value, "resources")); kg_iter_next(&r);)
        if (!seen_before(versions, i, kg_view_str(kg_view_get(r.value, "resource"))))
          tell(name, v.value, r.value, fn, arg);
  }
}
