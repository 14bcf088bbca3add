#include <string.h>

#include "head.h"
#include "kogge/view.h"

static bool maps_equal(kg_view_t a, kg_view_t b) {
  kg_iter_t ia = kg_iter(a), ib = kg_iter(b);
  while (kg_iter_next(&ia)) {
    /* Keys mostly come in the same order: try the neighbour before searching. */
    kg_view_t other = {0};
    kg_str_t key = kg_view_str(ia.key);
    if (kg_iter_next(&ib) && kg_str_eq(kg_view_str(ib.key), key)) other = ib.value;
    if (!other.p) other = kg_view_get_str(b, key);
    if (!other.p || !kg_view_equal(ia.value, other)) return false;
  }
  return true;
}

static bool arrays_equal(kg_view_t a, kg_view_t b) {
  kg_iter_t ia = kg_iter(a), ib = kg_iter(b);
  while (kg_iter_next(&ia))
    if (!kg_iter_next(&ib) || !kg_view_equal(ia.value, ib.value)) return false;
  return true;
}

bool kg_view_equal(kg_view_t a, kg_view_t b) {
  kg_head_t ha = kg_head_read(a.p, a.end), hb = kg_head_read(b.p, b.end);
  if (ha.type != hb.type || ha.length != hb.length) return false;
  switch (ha.type) {
  case KG_V_NONE:
    return a.p == NULL && b.p == NULL;
  case KG_V_NIL:
    return true;
  case KG_V_BOOL:
    return *a.p == *b.p;
  case KG_V_INT:
    return kg_view_int(a, 0) == kg_view_int(b, 0);
  case KG_V_UINT:
    return kg_view_uint(a, 0) == kg_view_uint(b, 0);
  case KG_V_FLOAT:
    return kg_view_float(a, 0) == kg_view_float(b, 0);
  case KG_V_STR:
  case KG_V_BIN:
    return memcmp(a.p + ha.own, b.p + hb.own, ha.length) == 0;
  case KG_V_ARRAY:
    return arrays_equal(a, b);
  case KG_V_MAP:
    return maps_equal(a, b);
  }
  return false;
}
