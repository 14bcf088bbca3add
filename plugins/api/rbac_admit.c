/*
 * What RBAC asks of writes of its own kinds: nobody gives away rules that he does not have himself, unless he may
 * `escalate` the role or `bind` it; and aggregated cluster roles are kept up to date.
 */
#include <stdio.h>
#include <string.h>

#include "rbac.h"

/* --- covering ---------------------------------------------------------------------------------------------------- */

typedef struct need {
  access_t a;
  bool every_name; /* the rule asked for names no object */
  bool local, found;
} need_t;

static bool covers(kg_view_t rule, bool local, kg_view_t binding, void *arg) {
  (void)binding;
  need_t *n = arg;
  if (local && n->a.path.n) return true;
  n->found = (!n->every_name || !kg_view_count(kg_view_get(rule, "resourceNames"))) && rbac_rule_allows(rule, &n->a);
  return !n->found;
}

static bool held(write_t *w, need_t *n) {
  n->found = false;
  rbac_visit(w->q.api, n->a.user, n->a.ns, covers, n);
  return n->found;
}

static void split(kg_str_t s, kg_str_t *resource, kg_str_t *sub) {
  const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
  *resource = (kg_str_t){s.p, slash ? (size_t)(slash - s.p) : s.n};
  *sub = slash ? (kg_str_t){slash + 1, s.n - resource->n - 1} : (kg_str_t){"", 0};
}

static bool names_held(write_t *w, need_t *n, kg_view_t names) {
  n->every_name = !kg_view_count(names);
  n->a.name = (kg_str_t){0};
  if (n->every_name) return held(w, n);
  for (kg_iter_t it = kg_iter(names); kg_iter_next(&it);) {
    n->a.name = kg_view_str(it.value);
    if (!held(w, n)) return false;
  }
  return true;
}

static bool resources_held(write_t *w, need_t *n, kg_view_t rule) {
  for (kg_iter_t g = kg_iter(kg_view_get(rule, "apiGroups")); kg_iter_next(&g);)
    for (kg_iter_t r = kg_iter(kg_view_get(rule, "resources")); kg_iter_next(&r);) {
      n->a.group = kg_view_str(g.value);
      split(kg_view_str(r.value), &n->a.resource, &n->a.sub);
      if (!names_held(w, n, kg_view_get(rule, "resourceNames"))) return false;
    }
  return true;
}

static bool paths_held(write_t *w, need_t *n, kg_view_t rule) {
  for (kg_iter_t it = kg_iter(kg_view_get(rule, "nonResourceURLs")); kg_iter_next(&it);) {
    n->a.path = kg_view_str(it.value);
    if (!held(w, n)) return false;
  }
  n->a.path = (kg_str_t){0};
  return true;
}

static bool rule_held(write_t *w, kg_view_t user, kg_str_t ns, kg_view_t rule) {
  need_t n = {.a = {.user = user, .ns = ns}};
  for (kg_iter_t it = kg_iter(kg_view_get(rule, "verbs")); kg_iter_next(&it);) {
    n.a.verb = kg_view_str(it.value);
    if (!paths_held(w, &n, rule) || !resources_held(w, &n, rule)) return false;
  }
  return true;
}

/* --- the refusal ------------------------------------------------------------------------------------------------- */

static void add_list(kube_buf_t *b, const char *name, kg_view_t list, bool *first) {
  if (!kg_view_count(list)) return;
  kube_buf_fmt(b, "%s%s:[", *first ? "" : ", ", name);
  *first = false;
  bool one = true;
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it); one = false)
    kube_buf_fmt(b, "%s\"" KG_STR_FMT "\"", one ? "" : ", ", KG_STR_ARG(kg_view_str(it.value)));
  kube_buf_addz(b, "]");
}

static void rule_text(kube_buf_t *b, kg_view_t rule) {
  bool first = true;
  kube_buf_addz(b, "\n{");
  add_list(b, "APIGroups", kg_view_get(rule, "apiGroups"), &first);
  add_list(b, "Resources", kg_view_get(rule, "resources"), &first);
  add_list(b, "ResourceNames", kg_view_get(rule, "resourceNames"), &first);
  add_list(b, "NonResourceURLs", kg_view_get(rule, "nonResourceURLs"), &first);
  add_list(b, "Verbs", kg_view_get(rule, "verbs"), &first);
  kube_buf_addz(b, "}");
}

static bool rules_held(write_t *w, kg_view_t user, kg_str_t ns, kg_view_t rules) {
  kube_buf_t missing = {0}, who = {0};
  for (kg_iter_t it = kg_iter(rules); kg_iter_next(&it);)
    if (!rule_held(w, user, ns, it.value)) rule_text(&missing, it.value);
  bool ok = !missing.n;
  if (!ok) {
    kube_buf_fmt(&who, "user \"" KG_STR_FMT "\" (groups=[", KG_STR_ARG(arg_str(user, "name")));
    bool first = true;
    for (kg_iter_t it = kg_iter(kg_view_get(user, "groups")); kg_iter_next(&it); first = false)
      kube_buf_fmt(&who, "%s\"" KG_STR_FMT "\"", first ? "" : " ", KG_STR_ARG(kg_view_str(it.value)));
    kube_buf_addz(&who, "])");
    fault_forbidden(&w->fault, w->q.r, w->q.name,
                    "%.*s is attempting to grant RBAC permissions not currently held:%.*s", (int)who.n, who.p,
                    (int)missing.n, missing.p);
  }
  kube_buf_free(&missing);
  kube_buf_free(&who);
  return ok;
}

/* --- roles and bindings ------------------------------------------------------------------------------------------ */

static bool may(write_t *w, const char *verb, const char *resource, kg_str_t ns, kg_str_t name) {
  access_t a = {.user = kg_view_get(w->q.args, "user"),
                .verb = kg_str(verb),
                .group = KG_STR("rbac.authorization.k8s.io"),
                .resource = kg_str(resource),
                .ns = ns,
                .name = name};
  return rbac_allows(w->q.api, &a, NULL);
}

static bool admit_role(write_t *w, const kube_node_t *object, const kube_node_t *old) {
  kg_view_t user = kg_view_get(w->q.args, "user");
  const kube_node_t *rules = kube_get(object, "rules");
  bool aggregates = kube_get(object, "aggregationRule") &&
                    (!old || !kube_tree_equal(kube_get(object, "aggregationRule"), kube_get(old, "aggregationRule")));
  if (old && kube_tree_equal(rules, kube_get(old, "rules")) && !aggregates) return true;
  if (may(w, "escalate", w->q.r->resource, w->q.ns, w->q.name)) return true;
  if (aggregates)
    return fault_forbidden(&w->fault, w->q.r, w->q.name,
                           "must have cluster-admin privileges to use the aggregationRule");
  if (!rules) return true;
  kg_doc_t *doc = kube_tree_doc(rules);
  bool ok = rules_held(w, user, w->q.ns, kg_view_of(doc));
  kg_doc_unref(doc);
  return ok;
}

static bool admit_binding(write_t *w, const kube_node_t *object, const kube_node_t *old) {
  const kube_node_t *ref = kube_get(object, "roleRef");
  bool same = old && kube_tree_equal(ref, kube_get(old, "roleRef")) &&
              kube_tree_equal(kube_get(object, "subjects"), kube_get(old, "subjects"));
  if (same || !ref || ref->type != KG_V_MAP) return true;
  bool cluster = kg_str_is(kube_node_str(kube_get(ref, "kind")), "ClusterRole");
  if (may(w, "bind", cluster ? "clusterroles" : "roles", w->q.ns, kube_node_str(kube_get(ref, "name")))) return true;
  kg_doc_t *doc = kube_tree_doc(ref);
  kg_view_t rules = rbac_role_rules(w->q.api, kg_view_of(doc), w->q.ns);
  kg_str_t name = arg_str(kg_view_of(doc), "name");
  bool ok;
  if (!kg_view_there(rules) && !cluster)
    ok = fault_other(&w->fault, 404, "NotFound", "roles.rbac.authorization.k8s.io \"" KG_STR_FMT "\" not found",
                     KG_STR_ARG(name));
  else if (!kg_view_there(rules))
    ok = fault_other(&w->fault, 404, "NotFound", "clusterroles.rbac.authorization.k8s.io \"" KG_STR_FMT "\" not found",
                     KG_STR_ARG(name));
  else
    ok = rules_held(w, kg_view_get(w->q.args, "user"), w->q.ns, rules);
  kg_doc_unref(doc);
  return ok;
}

bool rbac_admit(write_t *w, const kube_node_t *object, const kube_node_t *old) {
  if (strcmp(w->q.r->group, "rbac.authorization.k8s.io") || access_is_super(kg_view_get(w->q.args, "user")))
    return true;
  bool role = !strcmp(w->q.r->resource, "roles") || !strcmp(w->q.r->resource, "clusterroles");
  return role ? admit_role(w, object, old) : admit_binding(w, object, old);
}

/* --- aggregation ------------------------------------------------------------------------------------------------- */

static bool selected(kg_view_t rule, kg_view_t labels) {
  bool any = false;
  for (kg_iter_t it = kg_iter(kg_view_get(rule, "clusterRoleSelectors")); !any && kg_iter_next(&it);) {
    kube_selector_t *s = kube_selector_of(it.value, NULL);
    any = s && kube_selector_matches(s, labels);
    kube_selector_free(s);
  }
  return any;
}

static bool has_rule(const kube_node_t *rules, const kube_node_t *rule) {
  for (uint32_t i = 0; i < rules->c.n; i++)
    if (kube_tree_equal(rules->c.items[i], rule)) return true;
  return false;
}

/* The rules of all roles that the aggregated one selects, in order of their names, each once. */
static kube_node_t *gathered(kube_arena_t *a, const collection_t *c, object_t *role) {
  kube_node_t *rules = kube_array(a);
  kg_view_t rule = kg_view_get(object_view(role), "aggregationRule");
  sorted_pos_t pos = {0, 0};
  for (object_t *o; (o = sorted_at(&c->objects, &pos));) {
    if (o == role || !selected(rule, kube_labels(object_view(o)))) continue;
    for (kg_iter_t it = kg_iter(kg_view_get(object_view(o), "rules")); kg_iter_next(&it);) {
      kube_node_t *one = kube_tree_parse(a, it.value);
      if (!has_rule(rules, one)) kube_push(a, rules, one);
    }
  }
  return rules;
}

static void aggregate(api_t *api, const collection_t *c, object_t *role) {
  kube_arena_t *a = kube_arena_new();
  kube_node_t *rules = gathered(a, c, role), *patch = kube_map(a);
  kg_view_t now = kg_view_get(object_view(role), "rules");
  kube_node_t *before = kg_view_there(now) ? kube_tree_parse(a, now) : kube_array(a);
  if (!kube_tree_equal(rules, before)) {
    kube_set(a, patch, "rules", rules);
    kg_doc_t *doc = kube_tree_doc(patch);
    write_t *w = write_new(api, c->r, W_PATCH, (kg_str_t){0}, object_key(role), doc);
    kg_doc_unref(doc);
    write_run(w);
  }
  kube_arena_free(a);
}

static void on_aggregate(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  api_t *api = self;
  collection_t *c = cache_find(api, "rbac.authorization.k8s.io", "clusterroles");
  sorted_pos_t pos = {0, 0};
  api->aggregate_timer = 0;
  for (object_t *o; c && (o = sorted_at(&c->objects, &pos));)
    if (kg_view_there(kg_view_get(object_view(o), "aggregationRule"))) aggregate(api, c, o);
}

void rbac_role_seen(api_t *api) {
  if (api->aggregate_timer || !api->loaded) return;
  api->aggregate_timer = kg_timer(api->ctx, 0, 0, on_aggregate, NULL);
}
