#include <stdio.h>
#include <string.h>

#include "oracle.h"

const kube_resource_t *oracle_resource(kg_str_t path) {
  kg_str_t part[8];
  size_t n = 0;
  for (size_t i = 1, start = 1; i <= path.n && n < 8; i++) {
    if (i < path.n && path.p[i] != '/') continue;
    part[n++] = (kg_str_t){path.p + start, i - start};
    start = i + 1;
  }
  size_t at = n && kg_str_is(part[0], "apis") ? 3 : 2;
  if (n <= at) return NULL;
  kg_str_t group = at == 3 ? part[1] : KG_STR(""), version = part[at - 1];
  if (kg_str_is(part[at], "namespaces") && n > at + 2) at += 2;
  return n == at + 1 ? kube_resource_find(group, version, part[at]) : NULL;
}

int64_t oracle_create(kube_arena_t *a, const kube_resource_t *r, kube_node_t *body, kube_node_t *causes,
                      kg_error_t *err) {
  kg_str_t kind = kube_node_str(kube_get(body, "kind")), api = kube_node_str(kube_get(body, "apiVersion"));
  char want[128];
  snprintf(want, sizeof want, "%s%s%s", r->group, *r->group ? "/" : "", r->version);
  if (kind.n && (!kg_str_is(kind, r->kind) || !kg_str_is(api, want))) return 400;
  if (kube_decode(a, r, body, NULL, err) != 0) return 400;
  kg_str_t ns = kube_node_str(kube_path(body, "metadata", "namespace", NULL));
  if (r->namespaced && ns.n && !kg_str_is(ns, "oracle")) return 400;
  if (r->namespaced) kube_set(a, kube_sub(a, body, "metadata"), "namespace", kube_str(a, "oracle"));
  kube_set(a, body, "kind", kube_str(a, r->kind));
  kube_set(a, body, "apiVersion", kube_str(a, want));
  kube_node_t *meta = kube_sub(a, body, "metadata");
  kg_str_t name = kube_node_str(kube_get(meta, "name")), prefix = kube_node_str(kube_get(meta, "generateName"));
  if (!name.n && prefix.n) kube_set(a, meta, "name", kube_strf(a, KG_STR_FMT "x1x1x", KG_STR_ARG(prefix)));
  kube_default(a, r, body);
  kube_validate(a, r, body, NULL, false, causes);
  return causes->c.n ? 422 : 201;
}

static bool chosen_by_server(kg_str_t key) {
  static const char *const names[] = {"uid",
                                      "creationTimestamp",
                                      "resourceVersion",
                                      "selfLink",
                                      "managedFields",
                                      "generation",
                                      "clusterIPs",
                                      "ipFamilies",
                                      "ipFamilyPolicy",
                                      "nodePort",
                                      "healthCheckNodePort",
                                      "token",
                                      "expirationTimestamp",
                                      "controller-uid",
                                      "job-name",
                                      "batch.kubernetes.io/controller-uid",
                                      "batch.kubernetes.io/job-name"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (kg_str_is(key, names[i])) return true;
  }
  return false;
}

void oracle_clean(kube_arena_t *a, kube_node_t *n) {
  if (n->type == KG_V_ARRAY) {
    for (uint32_t i = 0; i < n->c.n; i++) oracle_clean(a, n->c.items[i]);
  }
  if (n->type != KG_V_MAP) return;
  for (uint32_t i = n->c.n; i-- > 0;) {
    if (chosen_by_server(n->c.keys[i])) {
      kube_deln(n, n->c.keys[i]);
    } else {
      oracle_clean(a, n->c.items[i]);
    }
  }
}

static bool falsy(const kube_node_t *n) {
  switch (n->type) {
  case KG_V_NIL:
    return true;
  case KG_V_BOOL:
    return !n->b;
  case KG_V_INT:
    return n->i == 0;
  case KG_V_STR:
    return n->s.n == 0;
  case KG_V_ARRAY:
  case KG_V_MAP:
    return n->c.n == 0;
  default:
    return false;
  }
}

bool oracle_covers(const kube_node_t *want, const kube_node_t *got) {
  if (!want || !got) return want == got;
  if (want->type == KG_V_MAP) {
    if (got->type != KG_V_MAP) return false;
    for (uint32_t i = 0; i < want->c.n; i++) {
      const kube_node_t *v = kube_getn(got, want->c.keys[i]);
      if (!v && falsy(want->c.items[i])) continue;
      if (kg_str_is(want->c.keys[i], "clusterIP")) continue; /* "<ip>" in the recording */
      if (!oracle_covers(want->c.items[i], v)) return false;
    }
    return true;
  }
  if (want->type == KG_V_ARRAY) {
    if (got->type != KG_V_ARRAY || got->c.n != want->c.n) return false;
    for (uint32_t i = 0; i < want->c.n; i++) {
      if (!oracle_covers(want->c.items[i], got->c.items[i])) return false;
    }
    return true;
  }
  return kube_tree_equal(want, got);
}

static bool has_cause(const kube_node_t *list, const kube_node_t *cause) {
  for (uint32_t i = 0; list && list->type == KG_V_ARRAY && i < list->c.n; i++) {
    const kube_node_t *c = list->c.items[i];
    if (kg_str_eq(kube_node_str(kube_get(c, "field")), kube_node_str(kube_get(cause, "field"))) &&
        kg_str_eq(kube_node_str(kube_get(c, "reason")), kube_node_str(kube_get(cause, "reason")))) {
      return true;
    }
  }
  return false;
}

bool oracle_same_fields(const kube_node_t *want, const kube_node_t *got) {
  uint32_t n = want && want->type == KG_V_ARRAY ? want->c.n : 0;
  if (n != got->c.n) return false;
  for (uint32_t i = 0; i < n; i++) {
    if (!has_cause(got, want->c.items[i]) || !has_cause(want, got->c.items[i])) return false;
  }
  return true;
}
