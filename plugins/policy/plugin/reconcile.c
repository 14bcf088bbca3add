/* `policy test` of a controller's script: one pass over objects from a file, instead of those of a cluster. */
#include <stdio.h>
#include <string.h>

#include "kube/values.h"
#include "scripts.h"

static kg_str_t text(kg_view_t v, const char *key) {
  return kg_view_str(kg_view_get(v, key));
}

/* Its collection as scripts name it: "group/version/resource". */
static bool is_of(kg_view_t object, const char *collection) {
  kg_str_t api = text(object, "apiVersion");
  const char *slash = api.n ? memchr(api.p, '/', api.n) : NULL;
  kg_str_t group = slash ? (kg_str_t){api.p, (size_t)(slash - api.p)} : KG_STR("");
  kg_str_t version = slash ? (kg_str_t){slash + 1, api.n - group.n - 1} : api;
  const kube_resource_t *r = kube_resource_by_kind(group, version, text(object, "kind"));
  char own[300];
  snprintf(own, sizeof own, KG_STR_FMT "/%s", KG_STR_ARG(api), r ? r->resource : "");
  return r && strcmp(own, collection) == 0;
}

/* Any collection may be asked for: those the file has no objects of are empty. */
static int find(void *arg, kg_str_t collection) {
  stock_t *s = arg;
  int i = 0;
  while (i < s->n && !kg_str_is(collection, s->names[i])) i++;
  if (i == STOCK_NAMES) return -1;
  if (i == s->n) snprintf(s->names[s->n++], sizeof s->names[0], KG_STR_FMT, KG_STR_ARG(collection));
  return i;
}

static bool at(void *arg, int collection, kg_str_t ns, size_t i, kg_view_t *out) {
  const stock_t *s = arg;
  for (kg_iter_t it = kg_iter(kg_view_get(s->input, "objects")); kg_iter_next(&it);) {
    if (!is_of(it.value, s->names[collection]) || (ns.n && !kg_str_eq(ns, kube_namespace(it.value))) || i--) continue;
    *out = it.value;
    return true;
  }
  return false;
}

static kg_view_t get(void *arg, int collection, kg_str_t ns, kg_str_t name) {
  kg_view_t v;
  for (size_t i = 0; at(arg, collection, ns, i, &v); i++)
    if (kg_str_eq(name, kube_name(v))) return v;
  return (kg_view_t){0};
}

void stock_open(stock_t *s, kg_view_t input) {
  *s = (stock_t){.input = input, .documents = {find, get, at, s}};
}

int script_reconcile(kg_ctx_t *ctx, script_t *s, kg_view_t input, policy_result_t *r, kg_error_t *err) {
  kg_view_t object = kg_view_there(kg_view_get(input, "kind")) ? input : kg_view_get(input, "object");
  kg_str_t ns = kube_namespace(object), name = kube_name(object);
  char key[600];
  snprintf(key, sizeof key, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(ns), KG_STR_ARG(name));
  policy_arg_t args[] = {POLICY_FIELD_STR("key", kg_str(key)), POLICY_FIELD_STR("namespace", ns.p ? ns : KG_STR("")),
                         POLICY_FIELD_STR("name", name), POLICY_FIELD_VIEW("object", object),
                         POLICY_FIELD_NUMBER("now", (double)kg_wall_us(ctx) / 1e6)};
  return script_call(s, s->fn[FN_RECONCILE], args, sizeof args / sizeof *args, r, err);
}
