#include "kube/runtime.h"

#include "kube/json.h"

enum { NAMED = 3 };

static void name_some(kube_buf_t *b, kg_view_t pods, size_t n) {
  size_t i = 0;
  for (kg_iter_t it = kg_iter(pods); i < NAMED && kg_iter_next(&it); i++) {
    kg_str_t ns = kg_view_str(kg_view_get(it.value, "namespace")), name = kg_view_str(kg_view_get(it.value, "name"));
    kube_buf_fmt(b, "%s" KG_STR_FMT "/" KG_STR_FMT, i ? ", " : "", KG_STR_ARG(ns), KG_STR_ARG(name));
  }
  if (n > NAMED) kube_buf_addz(b, ", ...");
  kube_buf_add(b, "", 1);
}

int kube_runtime_takes(kg_view_t state, const char *kind, kg_error_t *err) {
  kg_str_t from = kg_view_str(kg_view_get(state, "runtime"));
  kg_view_t pods = kg_view_get(state, "sandboxes");
  size_t n = kg_view_count(pods);
  kube_buf_t names = {0};
  if (kg_str_is(from, kind)) return 1;
  if (!n) return 0;
  name_some(&names, pods, n);
  kg_error_set(err, KG_ECONFLICT,
               "runtime %s cannot take over the %zu pod%s of runtime " KG_STR_FMT
               " (%s): drain the node first, or swap with --force, which ends them and starts them anew",
               kind, n, n == 1 ? "" : "s", KG_STR_ARG(from), names.p ? names.p : "");
  kube_buf_free(&names);
  return -1;
}
