/* Resources and their amounts. */
#include <stdlib.h>
#include <string.h>

#include "kube/values.h"
#include "validate.h"

static bool starts(kg_str_t s, const char *z) {
  size_t n = strlen(z);
  return s.n >= n && !memcmp(s.p, z, n);
}

static bool among(const char *const *list, kg_str_t s) {
  for (; *list; list++)
    if (kg_str_is(s, *list)) return true;
  return false;
}

static bool native(kg_str_t name) {
  return !memchr(name.p, '/', name.n) || starts(name, "kubernetes.io/");
}

static bool huge(kg_str_t name) {
  return starts(name, "hugepages-");
}

static bool standard_container(kg_str_t name) {
  static const char *const known[] = {"cpu", "memory", "ephemeral-storage", NULL};
  return among(known, name) || huge(name);
}

static bool standard(kg_str_t name) {
  static const char *const known[] = {"cpu",
                                      "memory",
                                      "ephemeral-storage",
                                      "requests.cpu",
                                      "requests.memory",
                                      "limits.cpu",
                                      "limits.memory",
                                      "requests.ephemeral-storage",
                                      "limits.ephemeral-storage",
                                      "pods",
                                      "resourcequotas",
                                      "services",
                                      "replicationcontrollers",
                                      "secrets",
                                      "configmaps",
                                      "persistentvolumeclaims",
                                      "storage",
                                      "requests.storage",
                                      "services.nodeports",
                                      "services.loadbalancers",
                                      NULL};
  return among(known, name) || huge(name) || starts(name, "requests.hugepages-") || starts(name, "limits.hugepages-");
}

/* Whole things: pods and the like, and what others than Kubernetes count. */
static bool integer_name(kg_str_t name) {
  static const char *const known[] = {
      "pods",       "resourcequotas",         "services",           "replicationcontrollers", "secrets",
      "configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers", NULL};
  return among(known, name);
}

static bool extended(kg_str_t name) {
  return memchr(name.p, '/', name.n) && !starts(name, "kubernetes.io/") && !starts(name, "requests.");
}

static uint32_t resource_name(kube_check_t *c, kg_str_t name, bool container) {
  uint32_t before = c->causes->c.n;
  kube_check_form(c, NULL, name, kube_form_qualified_name);
  if (c->causes->c.n != before) return c->causes->c.n - before;
  bool slash = memchr(name.p, '/', name.n) != NULL;
  if (!slash && !standard(name)) kube_invalid_str(c, NULL, name, "must be a standard resource type or fully qualified");
  if (!slash && container && !standard_container(name))
    kube_invalid_str(c, NULL, name, "must be a standard resource for containers");
  else if (slash && container && native(name))
    kube_invalid_str(c, NULL, name, "doesn't follow extended resource name standard");
  return c->causes->c.n - before;
}

static void amount(kube_check_t *c, kg_str_t name, const kube_node_t *v) {
  int64_t milli = 0;
  if (kube_quantity_milli(kube_node_str(v), &milli) != 0) return;
  if (milli < 0) kube_invalid(c, NULL, v, "must be greater than or equal to 0");
  if ((integer_name(name) || extended(name)) && milli % 1000) kube_invalid(c, NULL, v, "must be an integer");
}

static void check_list(kube_check_t *c, const char *key, const kube_node_t *list, bool container) {
  size_t n = kube_path_push(c, key);
  for (uint32_t i = 0; list && list->type == KG_V_MAP && i < list->c.n; i++) {
    size_t inner = kube_path_key(c, list->c.keys[i]);
    resource_name(c, list->c.keys[i], container);
    amount(c, list->c.keys[i], list->c.items[i]);
    kube_path_pop(c, inner);
  }
  kube_path_pop(c, n);
}

static void check_request(kube_check_t *c, const kube_node_t *limits, kg_str_t name, const kube_node_t *v) {
  const kube_node_t *limit = kube_getn(limits, name);
  int64_t wanted, most;
  bool once = huge(name) || extended(name);
  if (!limit) {
    if (once) kube_required(c, "limits", "Limit must be set for non overcommitable resources");
    return;
  }
  if (kube_quantity_milli(kube_node_str(v), &wanted) != 0 || kube_quantity_milli(kube_node_str(limit), &most) != 0)
    return;
  if (once && wanted != most)
    kube_invalid(c, "requests", v,
                 kube_arena_fmt(c->a, "must be equal to " KG_STR_FMT " limit of " KG_STR_FMT, KG_STR_ARG(name),
                                KG_STR_ARG(kube_node_str(limit))));
  else if (wanted > most)
    kube_invalid(c, "requests", v,
                 kube_arena_fmt(c->a, "must be less than or equal to " KG_STR_FMT " limit of " KG_STR_FMT,
                                KG_STR_ARG(name), KG_STR_ARG(kube_node_str(limit))));
}

/* `resources` of a container. */
KUBE_CALL(resources) {
  (void)old;
  const kube_node_t *limits = kube_get(v, "limits"), *requests = kube_get(v, "requests");
  if (!v) return;
  size_t n = kube_path_push(c, r->field);
  check_list(c, "limits", limits, true);
  check_list(c, "requests", requests, true);
  for (uint32_t i = 0; requests && requests->type == KG_V_MAP && i < requests->c.n; i++)
    check_request(c, limits, requests->c.keys[i], requests->c.items[i]);
  kube_path_pop(c, n);
}

/* A map of amounts: of a volume, a claim, an overhead (r->text "container"). */
KUBE_CALL(amounts) {
  (void)old;
  check_list(c, r->field, v, r->text && !strcmp(r->text, "container"));
}

KUBE_CALL(positive_amounts) {
  (void)old;
  size_t n = kube_path_push(c, r->field);
  for (uint32_t i = 0; v && v->type == KG_V_MAP && i < v->c.n; i++) {
    int64_t milli = 1;
    size_t inner = kube_path_key(c, v->c.keys[i]);
    kube_quantity_milli(kube_node_str(v->c.items[i]), &milli);
    if (milli <= 0) kube_invalid(c, NULL, v->c.items[i], "must be greater than zero");
    kube_path_pop(c, inner);
  }
  kube_path_pop(c, n);
}

KUBE_CALL(positive_storage) {
  (void)old;
  int64_t milli = 1;
  if (v) kube_quantity_milli(kube_node_str(v), &milli);
  if (milli <= 0) kube_invalid(c, r->as, v, "must be greater than zero");
}

KUBE_CALL(nonneg_amount) {
  (void)old;
  int64_t milli = 0;
  if (v) kube_quantity_milli(kube_node_str(v), &milli);
  if (milli < 0) kube_invalid(c, r->field, v, "must be greater than or equal to 0");
}

/* --- quotas and limits ------------------------------------------------------------------------------------------ */

static bool for_quota(kg_str_t name) {
  static const char *const known[] = {"cpu",
                                      "memory",
                                      "ephemeral-storage",
                                      "requests.cpu",
                                      "requests.memory",
                                      "requests.storage",
                                      "requests.ephemeral-storage",
                                      "limits.cpu",
                                      "limits.memory",
                                      "limits.ephemeral-storage",
                                      "pods",
                                      "resourcequotas",
                                      "services",
                                      "replicationcontrollers",
                                      "secrets",
                                      "persistentvolumeclaims",
                                      "configmaps",
                                      "services.nodeports",
                                      "services.loadbalancers",
                                      NULL};
  return among(known, name) || huge(name) || starts(name, "requests.hugepages-");
}

KUBE_CALL(quota) {
  (void)old;
  size_t n = kube_path_push(c, r->field);
  for (uint32_t i = 0; v && v->type == KG_V_MAP && i < v->c.n; i++) {
    kg_str_t name = v->c.keys[i];
    size_t inner = kube_path_key(c, name);
    uint32_t before = c->causes->c.n;
    kube_check_form(c, NULL, name, kube_form_qualified_name);
    if (c->causes->c.n == before && !memchr(name.p, '/', name.n) && !for_quota(name))
      kube_invalid_str(c, NULL, name, "must be a standard resource for quota");
    amount(c, name, v->c.items[i]);
    kube_path_pop(c, inner);
  }
  kube_path_pop(c, n);
}

static const char *const scopes[] = {"Terminating",
                                     "NotTerminating",
                                     "BestEffort",
                                     "NotBestEffort",
                                     "PriorityClass",
                                     "CrossNamespacePodAffinity",
                                     "VolumeAttributesClass",
                                     NULL};

static bool counts_pods(kg_str_t name) {
  static const char *const known[] = {"pods",
                                      "cpu",
                                      "memory",
                                      "requests.cpu",
                                      "requests.memory",
                                      "limits.cpu",
                                      "limits.memory",
                                      "ephemeral-storage",
                                      "requests.ephemeral-storage",
                                      "limits.ephemeral-storage",
                                      NULL};
  return among(known, name);
}

static bool fits_scope(kg_str_t scope, kg_str_t name) {
  if (kg_str_is(scope, "BestEffort")) return kg_str_is(name, "pods");
  return counts_pods(name) || (memchr(name.p, '/', name.n) && !starts(name, "count/"));
}

/* Scopes that say the opposite of each other, and scopes of things that are not limited. */
KUBE_CALL(quota_scopes) {
  (void)r, (void)old;
  static const char *const pairs[][2] = {{"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"}};
  const kube_node_t *list = kube_get(v, "scopes"), *hard = kube_get(v, "hard");
  bool has[4] = {0};
  for (uint32_t i = 0; i < kube_count(list); i++) {
    kg_str_t s = kube_node_str(list->c.items[i]);
    if (!among(scopes, s)) {
      kube_invalid(c, "scopes", list, "unsupported scope");
      continue;
    }
    for (uint32_t k = 0; hard && hard->type == KG_V_MAP && k < hard->c.n; k++)
      if (for_quota(hard->c.keys[k]) && !fits_scope(s, hard->c.keys[k])) {
        kube_invalid(
            c, "scopes", list,
            kube_arena_fmt(c->a, "unsupported scope applied to resource: " KG_STR_FMT, KG_STR_ARG(hard->c.keys[k])));
      }
    for (int p = 0; p < 4; p++) has[p] |= kg_str_is(s, pairs[p / 2][p % 2]);
  }
  for (int p = 0; p < 2; p++)
    if (has[2 * p] && has[2 * p + 1]) kube_invalid(c, "scopes", list, "conflicting scopes");
}

static void scope_requirement(kube_check_t *c, const kube_node_t *v) {
  kg_str_t name = kube_text(v, "scopeName"), op = kube_text(v, "operator");
  uint32_t n = kube_count(kube_get(v, "values"));
  bool set = kg_str_is(op, "In") || kg_str_is(op, "NotIn"),
       plain = kg_str_is(op, "Exists") || kg_str_is(op, "DoesNotExist");
  if (!among(scopes, name)) kube_invalid_str(c, "scopeName", name, "unsupported scope");
  bool only_exists = kg_str_is(name, "BestEffort") || kg_str_is(name, "NotBestEffort") ||
                     kg_str_is(name, "Terminating") || kg_str_is(name, "NotTerminating") ||
                     kg_str_is(name, "CrossNamespacePodAffinity");
  if (only_exists && !kg_str_is(op, "Exists"))
    kube_invalid_str(
        c, "operator", op,
        "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
        "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity");
  if (set && !n)
    kube_required(c, "values", "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
  if (plain && n)
    kube_invalid(c, "values", kube_get(v, "values"),
                 "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
  if (!set && !plain) kube_invalid_str(c, "operator", op, "not a valid selector operator");
}

/* Errors do not say which of the requirements. */
KUBE_CALL(scope_selector) {
  (void)r, (void)old;
  size_t n = kube_path_push(c, "matchExpressions");
  for (uint32_t i = 0; i < kube_count(v); i++) scope_requirement(c, v->c.items[i]);
  kube_path_pop(c, n);
}

/* --- LimitRange ------------------------------------------------------------------------------------------------- */

static bool both(const kube_node_t *a, const kube_node_t *b, kg_str_t key, int64_t *x, int64_t *y) {
  const kube_node_t *p = kube_getn(a, key), *q = kube_getn(b, key);
  return p && q && !kube_quantity_milli(kube_node_str(p), x) && !kube_quantity_milli(kube_node_str(q), y);
}

typedef struct limits {
  const kube_node_t *min, *max, *dflt, *request, *ratio;
} limits_t;

static void check_order(kube_check_t *c, const char *key, kg_str_t name, const kube_node_t *low, const char *low_name,
                        const kube_node_t *high, const char *high_name) {
  int64_t x, y;
  if (!both(low, high, name, &x, &y) || x <= y) return;
  kg_str_t a = kube_node_str(kube_getn(low, name)), b = kube_node_str(kube_getn(high, name));
  kube_invalid(c, kube_arena_fmt(c->a, "%s[" KG_STR_FMT "]", key, KG_STR_ARG(name)), kube_getn(low, name),
               kube_arena_fmt(c->a, "%s value " KG_STR_FMT " is greater than %s value " KG_STR_FMT, low_name,
                              KG_STR_ARG(a), high_name, KG_STR_ARG(b)));
}

static void check_ratio(kube_check_t *c, const limits_t *l, kg_str_t name) {
  const kube_node_t *v = kube_getn(l->ratio, name);
  int64_t ratio, low, high;
  if (!v || kube_quantity_milli(kube_node_str(v), &ratio)) return;
  char *field = kube_arena_fmt(c->a, "maxLimitRequestRatio[" KG_STR_FMT "]", KG_STR_ARG(name));
  if (ratio < 1000)
    kube_invalid(c, field, v,
                 kube_arena_fmt(c->a, "ratio " KG_STR_FMT " is less than 1", KG_STR_ARG(kube_node_str(v))));
  if (both(l->min, l->max, name, &low, &high) && low > 0 && ratio > high * 1000 / low)
    kube_invalid(c, field, v,
                 kube_arena_fmt(c->a, "ratio " KG_STR_FMT " is greater than max/min = %f", KG_STR_ARG(kube_node_str(v)),
                                (double)high / (double)low));
}

static void limit_names(kube_check_t *c, const char *key, const kube_node_t *list, bool container) {
  size_t n = kube_path_push(c, key);
  for (uint32_t i = 0; list && list->type == KG_V_MAP && i < list->c.n; i++) {
    size_t inner = kube_path_key(c, list->c.keys[i]);
    resource_name(c, list->c.keys[i], container);
    kube_path_pop(c, inner);
  }
  kube_path_pop(c, n);
}

KUBE_CALL(limit_range) {
  (void)r, (void)old;
  limits_t l = {kube_get(v, "min"), kube_get(v, "max"), kube_get(v, "default"), kube_get(v, "defaultRequest"),
                kube_get(v, "maxLimitRequestRatio")};
  static const char *const keys[] = {"max", "min", "default", "defaultRequest", "maxLimitRequestRatio"};
  bool pod = kube_is(v, "type", "Pod"), claim = kube_is(v, "type", "PersistentVolumeClaim");
  if (pod && kube_count(l.dflt)) kube_forbidden(c, "default", "may not be specified when `type` is 'Pod'");
  if (pod && kube_count(l.request)) kube_forbidden(c, "defaultRequest", "may not be specified when `type` is 'Pod'");
  if (claim && !kube_getn(l.min, KG_STR("storage")) && !kube_getn(l.max, KG_STR("storage")))
    kube_required(c, NULL, "either minimum or maximum storage value is required, but neither was provided");
  kube_node_t *all = kube_map(c->a);
  for (int i = 0; i < 5; i++) {
    const kube_node_t *list = kube_get(v, keys[i]);
    if (i < 4) limit_names(c, keys[i], list, kube_is(v, "type", "Container"));
    for (uint32_t k = 0; list && list->type == KG_V_MAP && k < list->c.n; k++)
      kube_setn(c->a, all, list->c.keys[k], kube_nil(c->a));
  }
  for (uint32_t i = 0; i < all->c.n; i++) {
    kg_str_t name = all->c.keys[i];
    check_order(c, "min", name, l.min, "min", l.max, "max");
    check_order(c, "defaultRequest", name, l.min, "min", l.request, "default request");
    check_order(c, "defaultRequest", name, l.request, "default request", l.max, "max");
    check_order(c, "defaultRequest", name, l.request, "default request", l.dflt, "default limit");
    check_order(c, "default", name, l.min, "min", l.dflt, "default");
    check_order(c, "default", name, l.dflt, "default", l.max, "max");
    check_ratio(c, &l, name);
    if (kube_getn(l.dflt, name) && huge(name) && !kube_getn(l.request, name))
      kube_required(c, kube_arena_fmt(c->a, "defaultRequest[" KG_STR_FMT "]", KG_STR_ARG(name)), NULL);
  }
}

KUBE_CALL(limit_type) {
  (void)old;
  kg_str_t s = kube_node_str(v);
  uint32_t before = c->causes->c.n;
  kube_check_form(c, r->field, s, kube_form_qualified_name);
  bool known = kg_str_is(s, "Pod") || kg_str_is(s, "Container") || kg_str_is(s, "PersistentVolumeClaim");
  if (c->causes->c.n == before && !known && !memchr(s.p, '/', s.n))
    kube_invalid_str(c, r->field, s, "must be a standard limit type or fully qualified");
}

/* One entry for each type of thing. */
KUBE_CALL(limit_types) {
  (void)r, (void)old;
  kube_node_t *seen = kube_map(c->a);
  for (uint32_t i = 0; i < kube_count(v); i++) {
    const kube_node_t *type = kube_get(v->c.items[i], "type");
    if (!kube_noted(c, seen, kube_value_text(c, type))) continue;
    size_t n = kube_path_push(c, "limits");
    kube_path_index(c, i);
    kube_duplicate(c, "type", type);
    kube_path_pop(c, n);
  }
}
