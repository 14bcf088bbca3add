/* Field selectors. */
#include <string.h>

#include "kube/values.h"
#include "table_cell.h"

/* The numbers 000 to 999 one after the other: a value must be a string that somebody else keeps. */
#define TEN(h) h "0" h "1" h "2" h "3" h "4" h "5" h "6" h "7" h "8" h "9"
#define HUNDRED(h)                                                                                                     \
  TEN(h "0") TEN(h "1") TEN(h "2") TEN(h "3") TEN(h "4") TEN(h "5") TEN(h "6") TEN(h "7") TEN(h "8") TEN(h "9")
static const char numbers[] = HUNDRED("0") HUNDRED("1") HUNDRED("2") HUNDRED("3") HUNDRED("4") HUNDRED("5") HUNDRED("6")
    HUNDRED("7") HUNDRED("8") HUNDRED("9");

/* Text of a small number; larger ones match nothing. */
static kg_str_t number_text(int64_t n) {
  if (n < 0 || n > 999) return KG_STR("");
  size_t skip = n < 10 ? 2 : n < 100 ? 1 : 0;
  return (kg_str_t){numbers + 3 * n + skip, 3 - skip};
}

static bool supported(const kube_resource_t *r, kg_str_t field) {
  if (kg_str_is(field, "metadata.name") || (r->namespaced && kg_str_is(field, "metadata.namespace"))) return true;
  for (const char *const *s = r->selectable; s && *s; s++) {
    if (kg_str_is(field, *s)) return true;
  }
  return false;
}

/* Values that are not plain strings of the same path. */
static bool special(const kube_resource_t *r, kg_view_t o, kg_str_t field, kg_str_t *value) {
  kg_view_t v = kube_view_dots(o, field);
  if (kg_str_is(field, "spec.unschedulable") || kg_str_is(field, "spec.hostNetwork")) {
    *value = kg_view_bool(v, false) ? KG_STR("true") : KG_STR("false");
    return true;
  }
  if (kg_str_is(field, "status.podIPs")) {
    *value = kube_view_text(kg_view_at(v, 0), "ip");
    return true;
  }
  if (kg_str_is(field, "source") && strcmp(r->kind, "Event") == 0) {
    kg_str_t component = kube_view_text(o, "source.component");
    *value = component.n ? component : kube_view_text(o, "reportingComponent");
    return true;
  }
  return false;
}

/* Of custom kinds: strings, booleans and numbers. */
static bool custom(kg_view_t object, kg_str_t field, kg_str_t *value) {
  kg_view_t v = kube_view_dots(object, field);
  switch (kg_view_type(v)) {
  case KG_V_BOOL:
    *value = kg_view_bool(v, false) ? KG_STR("true") : KG_STR("false");
    break;
  case KG_V_INT:
    *value = number_text(kg_view_int(v, 0));
    break;
  default:
    *value = kg_view_str(v);
  }
  return true;
}

bool kube_selectable(const kube_resource_t *r, kg_view_t object, kg_str_t field, kg_str_t *value) {
  *value = KG_STR("");
  if (!supported(r, field)) return false;
  if (r->structural) return custom(object, field, value);
  if (special(r, object, field, value)) return true;
  if (kg_str_is(field, "status.successful") || kg_str_is(field, "status.replicas")) {
    *value = number_text(kg_view_int(kube_view_in(object, field.n == 15 ? "status.replicas" : "status.succeeded"), 0));
    return true;
  }
  const char *dot = memchr(field.p, '.', field.n);
  size_t first = dot ? (size_t)(dot - field.p) : field.n;
  kg_view_t v = kg_view_get_str(object, kube_stored_name(r, (kg_str_t){field.p, first}));
  if (dot) v = kube_view_dots(v, (kg_str_t){dot + 1, field.n - first - 1});
  if (kg_view_type(v) == KG_V_STR) *value = kg_view_str(v);
  return true;
}
