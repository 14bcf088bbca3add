/* Kinds that are answered, not kept: who am I, what may I, what may they, whose token is this. And `api.authorize`. */
#include <string.h>

#include "rbac.h"

static bool is(const write_t *w, const char *group, const char *resource) {
  return is_resource(w->q.r, group, resource);
}

/* --- authentication.k8s.io --------------------------------------------------------------------------------------- */

static void set_user(kube_arena_t *a, kube_node_t *info, kg_view_t user) {
  static const char *const kept[] = {"uid", "groups", "extra"};
  kube_node_t *tree = kg_view_there(user) ? kube_tree_parse(a, user) : NULL, *name = kube_get(tree, "name");
  kube_set(a, info, "username", name ? name : kube_str(a, "system:admin"));
  for (int i = 0; i < 3; i++)
    if (kube_get(tree, kept[i])) kube_set(a, info, kept[i], kube_get(tree, kept[i]));
}

/* The gateway has read the token, for only it can: `reviewed` is the user, or `reviewError` why there is none. */
static bool token_review(write_t *w, kube_node_t *object) {
  kube_arena_t *a = w->arena;
  kube_node_t *status = kube_map(a);
  kg_view_t user = kg_view_get(w->q.args, "reviewed"), error = kg_view_get(w->q.args, "reviewError");
  kube_set(a, object, "status", status);
  if (kg_view_there(user)) {
    kube_set(a, status, "authenticated", kube_bool(a, true));
    set_user(a, kube_sub(a, status, "user"), user);
    kube_node_t *wanted = kube_path(object, "spec", "audiences", NULL);
    kube_node_t *audiences = wanted && wanted->c.n ? wanted : kube_array(a);
    if (!audiences->c.n) kube_push(a, audiences, kube_str(a, API_AUDIENCE));
    kube_set(a, status, "audiences", audiences);
  } else if (kg_view_there(error))
    kube_set(a, status, "error", kube_strn(a, kg_view_str(error)));
  return true;
}

/* --- authorization.k8s.io ---------------------------------------------------------------------------------------- */

/* The user a SubjectAccessReview asks about, as the gateway would hand him in. */
static kg_doc_t *subject_of(write_t *w, const kube_node_t *spec) {
  kube_arena_t *a = w->arena;
  kube_node_t *user = kube_map(a), *name = kube_get(spec, "user"), *groups = kube_get(spec, "groups");
  kube_set(a, user, "name", name ? name : kube_str(a, ""));
  kube_set(a, user, "groups", groups ? groups : kube_array(a));
  if (kube_get(spec, "uid")) kube_set(a, user, "uid", kube_get(spec, "uid"));
  return kube_tree_doc(user);
}

static access_t asked(const kube_node_t *spec, kg_view_t user) {
  const kube_node_t *r = kube_get(spec, "resourceAttributes"), *n = kube_get(spec, "nonResourceAttributes");
  if (n) return (access_t){.user = user, .verb = path_str(n, "verb", NULL), .path = path_str(n, "path", NULL)};
  return (access_t){.user = user,
                    .verb = path_str(r, "verb", NULL),
                    .group = path_str(r, "group", NULL),
                    .resource = path_str(r, "resource", NULL),
                    .sub = path_str(r, "subresource", NULL),
                    .ns = path_str(r, "namespace", NULL),
                    .name = path_str(r, "name", NULL)};
}

static bool need(write_t *w, const char *field, const char *why) {
  kube_node_t *causes = kube_array(w->arena);
  cause_add(w->arena, causes, "FieldValueInvalid", field, "Invalid value: \"null\": %s", why);
  return fault_invalid(&w->fault, w->q.r, (kg_str_t){0}, causes);
}

static bool access_review(write_t *w, kube_node_t *object, bool self) {
  kube_arena_t *a = w->arena;
  const kube_node_t *spec = kube_get(object, "spec");
  bool resource = kube_get(spec, "resourceAttributes"), url = kube_get(spec, "nonResourceAttributes");
  if (resource == url)
    return need(w, "spec.resourceAttributes",
                resource ? "cannot be specified in combination with nonResourceAttributes"
                         : "exactly one of nonResourceAttributes or resourceAttributes "
                           "must be specified");
  bool nobody = !path_str(spec, "user", NULL).n && !kube_get(spec, "groups");
  if (!self && nobody) return need(w, "spec.user", "at least one of user or group must be specified");
  kg_doc_t *other = self ? NULL : subject_of(w, spec);
  access_t access = asked(spec, self ? kg_view_get(w->q.args, "user") : kg_view_of(other));
  if (w->q.r->namespaced) access.ns = w->q.ns;
  kube_buf_t why = {0};
  bool allowed = rbac_allows(w->q.api, &access, &why);
  kube_node_t *status = kube_map(a);
  kube_set(a, status, "allowed", kube_bool(a, allowed));
  if (why.n) kube_set(a, status, "reason", kube_strn(a, (kg_str_t){why.p, why.n}));
  kube_set(a, object, "status", status);
  kube_buf_free(&why);
  kg_doc_unref(other);
  return true;
}

typedef struct rules {
  kube_arena_t *a;
  kube_node_t *resource, *url;
} rules_t;

static bool collect(kg_view_t rule, bool local, kg_view_t binding, void *arg) {
  (void)binding;
  rules_t *r = arg;
  bool url = kg_view_there(kg_view_get(rule, "nonResourceURLs"));
  static const char *const keys[2][4] = {{"verbs", "apiGroups", "resources", "resourceNames"},
                                         {"verbs", "nonResourceURLs", NULL, NULL}};
  if (url && local) return true;
  kube_node_t *out = kube_map(r->a), *tree = kube_tree_parse(r->a, rule);
  for (int i = 0; i < 4 && keys[url][i]; i++)
    if (kube_get(tree, keys[url][i])) kube_set(r->a, out, keys[url][i], kube_get(tree, keys[url][i]));
  kube_push(r->a, url ? r->url : r->resource, out);
  return true;
}

static kube_node_t *all_of(kube_arena_t *a, const char *const *keys) {
  kube_node_t *rule = kube_map(a);
  for (; *keys; keys++) {
    kube_node_t *list = kube_array(a);
    kube_push(a, list, kube_str(a, "*"));
    kube_set(a, rule, *keys, list);
  }
  return rule;
}

static bool rules_review(write_t *w, kube_node_t *object) {
  kube_arena_t *a = w->arena;
  kg_str_t ns = path_str(object, "spec", "namespace");
  kg_view_t user = kg_view_get(w->q.args, "user");
  rules_t r = {a, kube_array(a), kube_array(a)};
  if (!ns.n) return fault_bad(&w->fault, "no namespace on request");
  static const char *const everything[] = {"verbs", "apiGroups", "resources", NULL}, *const urls[] = {"verbs",
                                                                                                      "nonResourceURLs",
                                                                                                      NULL};
  if (kg_view_there(user)) {
    rbac_visit(w->q.api, user, ns, collect, &r); /* of system:masters, too: what their binding says */
  } else {
    kube_push(a, r.resource, all_of(a, everything));
    kube_push(a, r.url, all_of(a, urls));
  }
  kube_node_t *status = kube_map(a);
  kube_set(a, status, "resourceRules", r.resource);
  kube_set(a, status, "nonResourceRules", r.url);
  kube_set(a, status, "incomplete", kube_bool(a, false));
  kube_set(a, object, "status", status);
  return true;
}

/* --- all of them ------------------------------------------------------------------------------------------------- */

static bool answer(write_t *w, kube_node_t *object) {
  static const char authn[] = "authentication.k8s.io", authz[] = "authorization.k8s.io";
  if (is(w, authn, "selfsubjectreviews")) {
    kube_node_t *status = kube_map(w->arena);
    kube_set(w->arena, object, "status", status);
    set_user(w->arena, kube_sub(w->arena, status, "userInfo"), kg_view_get(w->q.args, "user"));
    return true;
  }
  if (is(w, authn, "tokenreviews")) return token_review(w, object);
  if (is(w, authz, "selfsubjectaccessreviews")) return access_review(w, object, true);
  if (is(w, authz, "subjectaccessreviews") || is(w, authz, "localsubjectaccessreviews"))
    return access_review(w, object, false);
  if (is(w, authz, "selfsubjectrulesreviews")) return rules_review(w, object);
  return fault_method(&w->fault);
}

bool compute_review(write_t *w) {
  kube_node_t *object;
  char now[32];
  if (!body_read(w, w->body, w->q.r, &object)) return false;
  kube_time_format(kg_wall_us(w->q.ctx), now);
  kube_set(w->arena, kube_sub(w->arena, object, "metadata"), "creationTimestamp", kube_str(w->arena, now));
  if (!answer(w, object)) return false;
  w->reads = true;
  w->code = 201;
  w->answer = kube_tree_doc(object);
  return w->answer != NULL;
}

/* For what the gateway does without the api role: logs, exec, URLs, impersonation. */
void on_authorize(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  api_t *api = self;
  req_t q = {.api = api, .ctx = ctx, .m = m, .args = kg_msg_args(m)};
  fault_t f;
  access_t a = access_of(q.args, (kg_str_t){0});
  if (!api->loaded)
    fault_other(&f, 503, "ServiceUnavailable", "the api has not read the store yet, please try again later");
  else if (!rbac_user_holds(api, a.user))
    fault_other(&f, 401, "Unauthorized", "Unauthorized");
  else if (rbac_allows(api, &a, NULL))
    return kg_reply(ctx, m, NULL, NULL, 0);
  else
    fault_access(&f, &a);
  fault_answer(&q, &f);
}
