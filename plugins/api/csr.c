/* CertificateSigningRequests: who asks, approval, and conditions that stay what they were. */
#include <string.h>

#include "api.h"

bool is_csr(const kube_resource_t *r) {
  return is_resource(r, "certificates.k8s.io", "certificatesigningrequests");
}

static void take_over(write_t *w, kube_node_t *spec, kg_view_t user, const char *from, const char *to) {
  kg_view_t v = kg_view_get(user, from);
  if (kg_view_type(v) == KG_V_STR || kg_view_count(v))
    kube_set(w->arena, spec, to, kube_tree_clone(w->arena, kube_tree_parse(w->arena, v)));
  else
    kube_del(spec, to);
}

/* Nobody asks in another's name. */
void csr_created(write_t *w, kube_node_t *object) {
  kube_node_t *spec = kube_sub(w->arena, object, "spec");
  kg_view_t user = kg_view_get(w->q.args, "user");
  take_over(w, spec, user, "name", "username");
  take_over(w, spec, user, "uid", "uid");
  take_over(w, spec, user, "groups", "groups");
  take_over(w, spec, user, "extra", "extra");
}

static kube_node_t *conditions_of(const kube_node_t *object) {
  kube_node_t *list = kube_path(object, "status", "conditions", NULL);
  return list && list->type == KG_V_ARRAY ? list : NULL;
}

static kube_node_t *condition(const kube_node_t *list, kg_str_t type) {
  for (uint32_t i = 0; list && i < list->c.n; i++)
    if (kg_str_eq(kube_node_str(kube_get(list->c.items[i], "type")), type)) return list->c.items[i];
  return NULL;
}

static void set_times(write_t *w, kube_node_t *list, const kube_node_t *before) {
  char now[32];
  kube_time_format(kg_wall_us(w->q.ctx), now);
  for (uint32_t i = 0; list && i < list->c.n; i++) {
    kube_node_t *c = list->c.items[i];
    const kube_node_t *old = condition(before, kube_node_str(kube_get(c, "type")));
    kube_node_t *since = old && kube_tree_equal(kube_get(old, "status"), kube_get(c, "status"))
                             ? kube_get(old, "lastTransitionTime")
                             : NULL;
    if (!kube_node_str(kube_get(c, "lastUpdateTime")).n)
      kube_set(w->arena, c, "lastUpdateTime", kube_str(w->arena, now));
    if (!kube_node_str(kube_get(c, "lastTransitionTime")).n)
      kube_set(w->arena, c, "lastTransitionTime", since ? since : kube_str(w->arena, now));
  }
}

typedef struct judge {
  write_t *w;
  kube_node_t *causes;
} judge_t;

static void judge_list(judge_t *j, const kube_node_t *list) {
  kube_arena_t *a = j->w->arena;
  for (uint32_t i = 0; list && i < list->c.n; i++) {
    kg_str_t type = kube_node_str(kube_get(list->c.items[i], "type")),
             status = kube_node_str(kube_get(list->c.items[i], "status"));
    bool approved = kg_str_is(type, "Approved"), denied = kg_str_is(type, "Denied");
    bool one_way = approved || denied || kg_str_is(type, "Failed");
    const char *at = kube_arena_fmt(a, "status.conditions[%u]", i);
    if (!type.n) cause_add(a, j->causes, "FieldValueRequired", kube_arena_fmt(a, "%s.type", at), "Required value");
    if ((approved || denied) && i && condition(list, approved ? KG_STR("Denied") : KG_STR("Approved")))
      cause_add(a, j->causes, "FieldValueInvalid", kube_arena_fmt(a, "%s.type", at),
                "Invalid value: \"" KG_STR_FMT "\": Approved and Denied conditions are mutually exclusive",
                KG_STR_ARG(type));
    if (!status.n)
      cause_add(a, j->causes, "FieldValueRequired", kube_arena_fmt(a, "%s.status", at), "Required value");
    else if (one_way && !kg_str_is(status, "True"))
      cause_add(a, j->causes, "FieldValueNotSupported", kube_arena_fmt(a, "%s.status", at),
                "Unsupported value: \"" KG_STR_FMT "\": supported values: \"True\"", KG_STR_ARG(status));
  }
}

static bool same_decision(const kube_node_t *a, const kube_node_t *b) {
  static const char *const keys[] = {"status", "reason", "message"};
  for (int i = 0; i < 3; i++)
    if (!kg_str_eq(kube_node_str(kube_get(a, keys[i])), kube_node_str(kube_get(b, keys[i])))) return false;
  return true;
}

/* Only the subresource approval says yes or no, and nothing that was decided is taken back. */
static void judge_decision(judge_t *j, const kube_node_t *now, const kube_node_t *before, const char *type,
                           bool may_add) {
  const kube_node_t *a = condition(now, kg_str(type)), *b = condition(before, kg_str(type));
  const char *what = b && !a                                      ? "remove"
                     : a && !b && !may_add                        ? "add"
                     : a && b && !may_add && !same_decision(a, b) ? "modify"
                                                                  : NULL;
  if (what)
    cause_add(j->w->arena, j->causes, "FieldValueForbidden", "status.conditions",
              "Forbidden: updates may not %s a condition of type \"%s\"", what, type);
}

static void judge_certificate(judge_t *j, const kube_node_t *object, const kube_node_t *old) {
  kg_str_t now = path_str(object, "status", "certificate"), before = path_str(old, "status", "certificate");
  if (before.n && !kg_str_eq(now, before))
    cause_add(j->w->arena, j->causes, "FieldValueForbidden", "status.certificate", "Forbidden: updates may not %s",
              now.n ? "modify existing certificate content" : "clear certificate content");
}

bool csr_updated(write_t *w, kube_node_t *object, const kube_node_t *old) {
  kg_str_t sub = w->q.sub;
  bool approval = kg_str_is(sub, "approval");
  kube_node_t *now = conditions_of(object);
  const kube_node_t *before = conditions_of(old);
  judge_t j = {.w = w, .causes = kube_array(w->arena)};
  set_times(w, now, before);
  judge_list(&j, now);
  judge_decision(&j, now, before, "Approved", approval);
  judge_decision(&j, now, before, "Denied", approval);
  judge_decision(&j, now, before, "Failed", true);
  judge_certificate(&j, object, old);
  return !j.causes->c.n || fault_invalid(&w->fault, w->q.r, w->q.name, j.causes);
}

/* An approval changes the conditions, and nothing else of the status. */
kube_node_t *csr_approval(write_t *w, kube_node_t *object, kube_node_t *old) {
  kube_node_t *was = kube_get(old, "status"), *status = was ? kube_tree_clone(w->arena, was) : kube_map(w->arena);
  kube_node_t *list = conditions_of(object);
  if (list)
    kube_set(w->arena, status, "conditions", list);
  else
    kube_del(status, "conditions");
  kube_set(w->arena, object, "status", status);
  return object;
}
