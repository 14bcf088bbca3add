/* RBAC: rules, bindings, decisions. (pkg/registry/rbac/validation and plugin/pkg/auth/authorizer/rbac of Kubernetes) */
#include <stdio.h>
#include <string.h>

#include "rbac.h"

/* --- rules ------------------------------------------------------------------------------------------------------- */

static bool has(kg_view_t list, kg_str_t s) {
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);)
    if (kg_str_eq(kg_view_str(it.value), s)) return true;
  return false;
}

static bool has_or_all(kg_view_t list, kg_str_t s) {
  return has(list, KG_STR("*")) || has(list, s);
}

/* "pods/log" of the rule is exactly that subresource, "*" + "/log" that one of every resource, "pods" only the object.
 */
static bool resource_matches(kg_view_t list, const access_t *a) {
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);) {
    kg_str_t s = kg_view_str(it.value);
    if (kg_str_is(s, "*")) return true;
    const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
    kg_str_t own = {s.p, slash ? (size_t)(slash - s.p) : s.n};
    kg_str_t sub = slash ? (kg_str_t){slash + 1, s.n - own.n - 1} : (kg_str_t){"", 0};
    if (!kg_str_eq(sub, a->sub)) continue;
    if (kg_str_eq(own, a->resource) || (sub.n && kg_str_is(own, "*"))) return true;
  }
  return false;
}

static bool path_matches(kg_view_t list, kg_str_t path) {
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);) {
    kg_str_t s = kg_view_str(it.value);
    if (kg_str_eq(s, path)) return true;
    if (s.n && s.p[s.n - 1] == '*' && path.n >= s.n - 1 && !memcmp(s.p, path.p, s.n - 1)) return true;
  }
  return false;
}

bool rbac_rule_allows(kg_view_t rule, const access_t *a) {
  if (!has_or_all(kg_view_get(rule, "verbs"), a->verb)) return false;
  if (a->path.n) return path_matches(kg_view_get(rule, "nonResourceURLs"), a->path);
  kg_view_t names = kg_view_get(rule, "resourceNames");
  return has_or_all(kg_view_get(rule, "apiGroups"), a->group) && resource_matches(kg_view_get(rule, "resources"), a) &&
         (!kg_view_count(names) || has(names, a->name));
}

/* --- bindings ---------------------------------------------------------------------------------------------------- */

static bool is_account(kg_str_t user, kg_str_t ns, kg_str_t name) {
  char want[600];
  int n =
      snprintf(want, sizeof want, "system:serviceaccount:" KG_STR_FMT ":" KG_STR_FMT, KG_STR_ARG(ns), KG_STR_ARG(name));
  return n < (int)sizeof want && kg_str_is(user, want);
}

static bool subject_is(kg_view_t subject, kg_view_t user, kg_str_t binding_ns) {
  kg_str_t kind = arg_str(subject, "kind"), name = arg_str(subject, "name"), ns = arg_str(subject, "namespace");
  if (kg_str_is(kind, "Group")) return has(kg_view_get(user, "groups"), name);
  if (kg_str_is(kind, "User")) return kg_str_eq(arg_str(user, "name"), name);
  return kg_str_is(kind, "ServiceAccount") && is_account(arg_str(user, "name"), ns.n ? ns : binding_ns, name);
}

static bool applies(kg_view_t binding, kg_view_t user, kg_str_t ns) {
  for (kg_iter_t it = kg_iter(kg_view_get(binding, "subjects")); kg_iter_next(&it);)
    if (subject_is(it.value, user, ns)) return true;
  return false;
}

static collection_t *kept(const api_t *api, const char *resource) {
  return cache_find(api, "rbac.authorization.k8s.io", resource);
}

kg_view_t rbac_role_rules(api_t *api, kg_view_t ref, kg_str_t ns) {
  char key[600];
  bool cluster = kg_str_is(arg_str(ref, "kind"), "ClusterRole");
  collection_t *c = kept(api, cluster ? "clusterroles" : "roles");
  kg_str_t name = arg_str(ref, "name");
  int n = cluster ? snprintf(key, sizeof key, KG_STR_FMT, KG_STR_ARG(name))
                  : snprintf(key, sizeof key, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(ns), KG_STR_ARG(name));
  object_t *role = c && n < (int)sizeof key ? sorted_get(&c->objects, (kg_str_t){key, (size_t)n}) : NULL;
  return role ? kg_view_get(object_view(role), "rules") : (kg_view_t){0};
}

static bool visit_binding(api_t *api, kg_view_t binding, kg_str_t ns, rbac_rule_fn fn, void *arg) {
  for (kg_iter_t it = kg_iter(rbac_role_rules(api, kg_view_get(binding, "roleRef"), ns)); kg_iter_next(&it);)
    if (!fn(it.value, ns.n, binding, arg)) return false;
  return true;
}

void rbac_visit(api_t *api, kg_view_t user, kg_str_t ns, rbac_rule_fn fn, void *arg) {
  collection_t *c = kept(api, "clusterrolebindings");
  sorted_pos_t pos = {0, 0};
  for (object_t *o; c && (o = sorted_at(&c->objects, &pos));) {
    kg_view_t b = object_view(o);
    if (applies(b, user, (kg_str_t){0}) && !visit_binding(api, b, (kg_str_t){0}, fn, arg)) return;
  }
  c = ns.n ? kept(api, "rolebindings") : NULL;
  selection_t s = {.ns = ns, .r = c ? c->r : NULL};
  if (c) pos = selection_seek(&s, &c->objects);
  for (object_t *o; c && (o = sorted_at(&c->objects, &pos)) && !selection_ends(&s, o);) {
    kg_view_t b = object_view(o);
    if (applies(b, user, ns) && !visit_binding(api, b, ns, fn, arg)) return;
  }
}

/* --- decisions --------------------------------------------------------------------------------------------------- */

bool access_is_super(kg_view_t user) {
  return !kg_view_there(user) || has(kg_view_get(user, "groups"), KG_STR("system:masters"));
}

typedef struct search {
  const access_t *a;
  kg_view_t binding;
  bool found;
} search_t;

static bool try_rule(kg_view_t rule, bool local, kg_view_t binding, void *arg) {
  search_t *s = arg;
  if (local && s->a->path.n) return true;
  s->found = rbac_rule_allows(rule, s->a);
  s->binding = binding;
  return !s->found;
}

static void explain(kube_buf_t *why, kg_view_t binding) {
  kg_view_t ref = kg_view_get(binding, "roleRef");
  kg_str_t ns = kube_namespace(binding);
  kube_buf_fmt(why, "RBAC: allowed by %s \"" KG_STR_FMT "%s" KG_STR_FMT "\" of " KG_STR_FMT " \"" KG_STR_FMT "\"",
               ns.n ? "RoleBinding" : "ClusterRoleBinding", KG_STR_ARG(kube_name(binding)), ns.n ? "/" : "",
               KG_STR_ARG(ns), KG_STR_ARG(arg_str(ref, "kind")), KG_STR_ARG(arg_str(ref, "name")));
}

bool rbac_allows(api_t *api, const access_t *a, kube_buf_t *why) {
  if (access_is_super(a->user)) return true;
  search_t s = {.a = a};
  rbac_visit(api, a->user, a->path.n ? (kg_str_t){0} : a->ns, try_rule, &s);
  if (s.found && why) explain(why, s.binding);
  return s.found;
}

access_t access_of(kg_view_t args, kg_str_t verb) {
  return (access_t){.user = kg_view_get(args, "user"),
                    .verb = verb.n ? verb : arg_str(args, "verb"),
                    .group = arg_str(args, "g"),
                    .resource = arg_str(args, "r"),
                    .sub = arg_str(args, "sub"),
                    .ns = arg_str(args, "ns"),
                    .name = arg_str(args, "name"),
                    .path = arg_str(args, "path")};
}

bool fault_access(fault_t *f, const access_t *a) {
  kg_str_t who = arg_str(a->user, "name");
  if (a->path.n)
    return fault_other(f, 403, "Forbidden",
                       "forbidden: User \"" KG_STR_FMT "\" cannot " KG_STR_FMT " path \"" KG_STR_FMT "\"",
                       KG_STR_ARG(who), KG_STR_ARG(a->verb), KG_STR_ARG(a->path));
  char name[300] = "";
  if (a->name.n) snprintf(name, sizeof name, " \"" KG_STR_FMT "\"", KG_STR_ARG(a->name));
  fault_other(
      f, 403, "Forbidden",
      KG_STR_FMT "%s" KG_STR_FMT "%s is forbidden: User \"" KG_STR_FMT "\" cannot " KG_STR_FMT " resource \"" KG_STR_FMT
                 "%s" KG_STR_FMT "\" in API group \"" KG_STR_FMT "\" %s" KG_STR_FMT "%s",
      KG_STR_ARG(a->resource), a->group.n ? "." : "", KG_STR_ARG(a->group), name, KG_STR_ARG(who), KG_STR_ARG(a->verb),
      KG_STR_ARG(a->resource), a->sub.n ? "/" : "", KG_STR_ARG(a->sub), KG_STR_ARG(a->group),
      a->ns.n ? "in the namespace \"" : "at the cluster scope", KG_STR_ARG(a->ns), a->ns.n ? "\"" : "");
  f->name = a->name;
  f->group = a->group;
  f->kind = a->resource;
  return false;
}
