/* Lookups in the generated tables. */
#include <string.h>

#include "schema_tables.h"

const kube_resource_t *kube_resource_find(kg_str_t group, kg_str_t version, kg_str_t resource) {
  for (size_t i = 0; i < kube_resource_count; i++) {
    const kube_resource_t *r = &kube_resources[i];
    if (kg_str_is(resource, r->resource) && kg_str_eq(group, kg_str(r->group)) && kg_str_is(version, r->version))
      return r;
  }
  return NULL;
}

const kube_resource_t *kube_resource_by_kind(kg_str_t group, kg_str_t version, kg_str_t kind) {
  for (size_t i = 0; i < kube_resource_count; i++) {
    const kube_resource_t *r = &kube_resources[i];
    if (kg_str_is(kind, r->kind) && kg_str_eq(group, kg_str(r->group)) && kg_str_is(version, r->version)) return r;
  }
  return NULL;
}

static kg_str_t other_name(const kube_resource_t *r, kg_str_t name, size_t from) {
  for (const char *const *n = r->renamed; n && *n; n += 2)
    if (kg_str_is(name, n[from])) return kg_str(n[1 - from]);
  return name;
}

kg_str_t kube_stored_name(const kube_resource_t *r, kg_str_t shown) {
  return other_name(r, shown, 0);
}

kg_str_t kube_shown_name(const kube_resource_t *r, kg_str_t stored) {
  return other_name(r, stored, 1);
}

const kube_resource_t *kube_resource_at(size_t i) {
  return i < kube_resource_count ? &kube_resources[i] : NULL;
}

const kube_type_t *kube_type_find(kg_str_t name) {
  size_t low = 0, high = kube_type_count;
  while (low < high) {
    size_t mid = (low + high) / 2;
    int c = kg_str_cmp(name, kg_str(kube_types[mid].name));
    if (c == 0) return &kube_types[mid];
    if (c < 0) {
      high = mid;
    } else {
      low = mid + 1;
    }
  }
  return NULL;
}

const kube_field_t *kube_field_find(const kube_type_t *t, kg_str_t name) {
  if (!t || !name.n) return NULL;
  for (const kube_field_t *f = t->fields; f->name; f++) {
    if (f->name[0] == name.p[0] && kg_str_is(name, f->name)) return f;
  }
  return NULL;
}

bool kube_resource_has_sub(const kube_resource_t *r, const char *subresource) {
  for (const char *const *s = r->subresources; s && *s; s++)
    if (!strcmp(*s, subresource)) return true;
  return false;
}
