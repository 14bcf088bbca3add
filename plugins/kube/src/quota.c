#include "kube/quota.h"

#include <string.h>

static const char CLASS_MARK[] = ".storageclass.storage.k8s.io/";

/* --- amounts ------------------------------------------------------------------------------------------------------ */

void kube_amounts_add(kube_arena_t *a, kube_amounts_t *sum, kg_str_t name, int64_t milli, bool binary) {
  for (size_t i = 0; i < sum->n; i++) {
    if (!kg_str_eq(sum->list[i].name, name)) continue;
    sum->list[i].milli += milli;
    sum->list[i].binary |= binary;
    return;
  }
  if (sum->n == sum->room) {
    kube_amount_t *list = kube_arena_alloc(a, (sum->room = sum->room ? sum->room * 2 : 16) * sizeof *list);
    if (sum->n) memcpy(list, sum->list, sum->n * sizeof *list);
    sum->list = list;
  }
  sum->list[sum->n++] = (kube_amount_t){kube_arena_str(a, name), milli, binary};
}

const kube_amount_t *kube_amounts_find(const kube_amounts_t *sum, kg_str_t name) {
  for (size_t i = 0; i < sum->n; i++)
    if (kg_str_eq(sum->list[i].name, name)) return &sum->list[i];
  return NULL;
}

char *kube_amount_text(kube_arena_t *a, int64_t milli, bool binary) {
  static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi"};
  int64_t v = milli / 1000;
  size_t u = 0;
  if (milli % 1000) return kube_arena_fmt(a, "%lldm", (long long)milli);
  while (binary && v && v % 1024 == 0 && u < 5) v /= 1024, u++;
  if (binary) return kube_arena_fmt(a, "%lld%s", (long long)v, units[u]);
  static const char *const decimal[] = {"", "k", "M", "G", "T", "P"};
  while (v && v % 1000 == 0 && u < 5) v /= 1000, u++;
  return kube_arena_fmt(a, "%lld%s", (long long)v, decimal[u]);
}

int64_t kube_amount_milli(kg_view_t quantity, bool *binary) {
  kg_str_t s = kg_view_str(quantity);
  int64_t milli = 0;
  *binary = s.n && s.p[s.n - 1] == 'i';
  if (!s.p) return kg_view_int(quantity, 0) * 1000;
  return kube_quantity_milli(s, &milli) ? 0 : milli;
}

/* --- pods --------------------------------------------------------------------------------------------------------- */

static void add_list(kube_arena_t *a, kube_amounts_t *sum, kg_view_t list) {
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);) {
    bool binary;
    int64_t milli = kube_amount_milli(it.value, &binary);
    kube_amounts_add(a, sum, kg_view_str(it.key), milli, binary);
  }
}

static void at_least(kube_arena_t *a, kube_amounts_t *max, const kube_amounts_t *x) {
  for (size_t i = 0; i < x->n; i++) {
    const kube_amount_t *m = kube_amounts_find(max, x->list[i].name);
    int64_t more = x->list[i].milli - (m ? m->milli : 0);
    if (more > 0) kube_amounts_add(a, max, x->list[i].name, more, x->list[i].binary);
  }
}

/* Init containers run before the others, one at a time, but for those that stay beside them. */
kube_amounts_t kube_pod_amounts(kube_arena_t *a, kg_view_t spec, const char *what) {
  kube_amounts_t sum = {0}, before = {0}, stay = {0};
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "containers")); kg_iter_next(&it);)
    add_list(a, &sum, kg_view_path(it.value, "resources", what, NULL));
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "initContainers")); kg_iter_next(&it);) {
    kg_view_t list = kg_view_path(it.value, "resources", what, NULL);
    bool stays = kg_str_is(kg_view_str(kg_view_get(it.value, "restartPolicy")), "Always");
    kube_amounts_t now = {0};
    for (size_t i = 0; i < stay.n; i++)
      kube_amounts_add(a, &now, stay.list[i].name, stay.list[i].milli, stay.list[i].binary);
    add_list(a, &now, list);
    at_least(a, &before, &now);
    if (stays) add_list(a, &stay, list);
  }
  for (size_t i = 0; i < stay.n; i++)
    kube_amounts_add(a, &sum, stay.list[i].name, stay.list[i].milli, stay.list[i].binary);
  at_least(a, &sum, &before);
  add_list(a, &sum, kg_view_get(spec, "overhead"));
  return sum;
}

static bool has_ended(kg_view_t pod) {
  kg_str_t phase = kg_view_str(kg_view_path(pod, "status", "phase", NULL));
  return kg_str_is(phase, "Succeeded") || kg_str_is(phase, "Failed");
}

static void add_prefixed(kube_arena_t *a, kube_amounts_t *sum, const char *prefix, const kube_amount_t *x) {
  kube_amounts_add(a, sum, kg_str(kube_arena_fmt(a, "%s" KG_STR_FMT, prefix, KG_STR_ARG(x->name))), x->milli,
                   x->binary);
}

static void count_pod(kube_arena_t *a, kube_amounts_t *sum, kg_view_t pod) {
  kg_view_t spec = kg_view_get(pod, "spec");
  if (has_ended(pod)) return;
  kube_amounts_add(a, sum, KG_STR("pods"), 1000, false);
  kube_amounts_t requests = kube_pod_amounts(a, spec, "requests"), limits = kube_pod_amounts(a, spec, "limits");
  for (size_t i = 0; i < requests.n; i++) {
    const kube_amount_t *x = &requests.list[i];
    bool bare = !memchr(x->name.p, '/', x->name.n); /* of extended resources only requests count */
    if (bare) kube_amounts_add(a, sum, x->name, x->milli, x->binary);
    add_prefixed(a, sum, "requests.", x);
  }
  for (size_t i = 0; i < limits.n; i++)
    if (!memchr(limits.list[i].name.p, '/', limits.list[i].name.n)) add_prefixed(a, sum, "limits.", &limits.list[i]);
}

/* --- other kinds -------------------------------------------------------------------------------------------------- */

static void count_service(kube_arena_t *a, kube_amounts_t *sum, kg_view_t service) {
  kg_view_t spec = kg_view_get(service, "spec");
  kg_str_t type = kg_view_str(kg_view_get(spec, "type"));
  bool balanced = kg_str_is(type, "LoadBalancer");
  int64_t ports = (int64_t)kg_view_count(kg_view_get(spec, "ports"));
  kube_amounts_add(a, sum, KG_STR("services"), 1000, false);
  if (balanced) kube_amounts_add(a, sum, KG_STR("services.loadbalancers"), 1000, false);
  if (kg_str_is(type, "NodePort") ||
      (balanced && kg_view_bool(kg_view_get(spec, "allocateLoadBalancerNodePorts"), true)))
    kube_amounts_add(a, sum, KG_STR("services.nodeports"), ports * 1000, false);
}

static void count_claim(kube_arena_t *a, kube_amounts_t *sum, kg_view_t claim) {
  kg_view_t spec = kg_view_get(claim, "spec");
  kg_str_t class = kg_view_str(kg_view_get(spec, "storageClassName"));
  bool binary;
  int64_t milli = kube_amount_milli(kg_view_path(spec, "resources", "requests", "storage", NULL), &binary);
  kube_amounts_add(a, sum, KG_STR("persistentvolumeclaims"), 1000, false);
  kube_amounts_add(a, sum, KG_STR("requests.storage"), milli, binary);
  if (!class.n) return;
  const char *prefix = kube_arena_fmt(a, KG_STR_FMT "%s", KG_STR_ARG(class), CLASS_MARK);
  kube_amounts_add(a, sum, kg_str(kube_arena_fmt(a, "%spersistentvolumeclaims", prefix)), 1000, false);
  kube_amounts_add(a, sum, kg_str(kube_arena_fmt(a, "%srequests.storage", prefix)), milli, binary);
}

static bool counts_by_name(const char *resource) {
  static const char *const names[] = {"secrets", "configmaps", "replicationcontrollers", "resourcequotas"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(resource, names[i])) return true;
  return false;
}

void kube_quota_count(kube_arena_t *a, kube_amounts_t *sum, const char *group, const char *resource, kg_view_t object) {
  kube_amounts_add(a, sum, kg_str(kube_arena_fmt(a, "count/%s%s%s", resource, *group ? "." : "", group)), 1000, false);
  if (*group) return;
  if (!strcmp(resource, "pods"))
    count_pod(a, sum, object);
  else if (!strcmp(resource, "services"))
    count_service(a, sum, object);
  else if (!strcmp(resource, "persistentvolumeclaims"))
    count_claim(a, sum, object);
  else if (counts_by_name(resource))
    kube_amounts_add(a, sum, kg_str(resource), 1000, false);
}

void kube_quota_resource(kube_arena_t *a, kg_str_t name, const char **group, const char **resource) {
  char *text = kube_arena_fmt(a, KG_STR_FMT, KG_STR_ARG(name));
  *group = "";
  if (!strncmp(text, "count/", 6)) {
    char *dot = strchr(text + 6, '.');
    if (dot) *dot = '\0';
    if (dot) *group = dot + 1;
    *resource = text + 6;
  } else if (!strncmp(text, "services", 8)) {
    *resource = "services";
  } else if (strstr(text, CLASS_MARK) || !strcmp(text, "requests.storage") || !strcmp(text, "persistentvolumeclaims")) {
    *resource = "persistentvolumeclaims";
  } else {
    *resource = counts_by_name(text) ? text : "pods";
  }
}

/* --- scopes ------------------------------------------------------------------------------------------------------- */

static bool term_looks_abroad(kg_view_t term) {
  return kg_view_count(kg_view_get(term, "namespaces")) || kg_view_there(kg_view_get(term, "namespaceSelector"));
}

/* A term of the pod's affinity or anti-affinity looks into other name spaces. */
static bool looks_abroad(kg_view_t affinity) {
  for (kg_iter_t it = kg_iter(kg_view_get(affinity, "requiredDuringSchedulingIgnoredDuringExecution"));
       kg_iter_next(&it);)
    if (term_looks_abroad(it.value)) return true;
  for (kg_iter_t it = kg_iter(kg_view_get(affinity, "preferredDuringSchedulingIgnoredDuringExecution"));
       kg_iter_next(&it);)
    if (term_looks_abroad(kg_view_get(it.value, "podAffinityTerm"))) return true;
  return false;
}

static bool in_scope(kg_str_t scope, kg_view_t pod) {
  kg_view_t spec = kg_view_get(pod, "spec"), status = kg_view_get(pod, "status"), near = kg_view_get(spec, "affinity");
  bool best_effort = kg_str_is(kg_view_str(kg_view_get(status, "qosClass")), "BestEffort"),
       deadline = kg_view_type(kg_view_get(spec, "activeDeadlineSeconds")) == KG_V_INT;
  if (kg_str_is(scope, "Terminating")) return deadline;
  if (kg_str_is(scope, "NotTerminating")) return !deadline;
  if (kg_str_is(scope, "BestEffort")) return best_effort;
  if (kg_str_is(scope, "NotBestEffort")) return !best_effort;
  if (kg_str_is(scope, "PriorityClass")) return kg_view_str(kg_view_get(spec, "priorityClassName")).n > 0;
  if (kg_str_is(scope, "CrossNamespacePodAffinity"))
    return looks_abroad(kg_view_get(near, "podAffinity")) || looks_abroad(kg_view_get(near, "podAntiAffinity"));
  return false;
}

static bool has_value(kg_view_t values, kg_str_t v) {
  for (kg_iter_t it = kg_iter(values); kg_iter_next(&it);)
    if (kg_str_eq(kg_view_str(it.value), v)) return true;
  return false;
}

/* An expression of the scope selector against the class that the object names, if any. */
static bool class_fits(kg_view_t e, kg_str_t class) {
  kg_str_t op = kg_view_str(kg_view_get(e, "operator"));
  if (kg_str_is(op, "In")) return class.n && has_value(kg_view_get(e, "values"), class);
  if (kg_str_is(op, "NotIn")) return !class.n || !has_value(kg_view_get(e, "values"), class);
  return kg_str_is(op, "Exists") ? class.n > 0 : class.n == 0;
}

static bool pod_fits(kg_view_t e, kg_view_t pod) {
  kg_str_t scope = kg_view_str(kg_view_get(e, "scopeName"));
  if (!kg_str_is(scope, "PriorityClass")) return in_scope(scope, pod);
  return class_fits(e, kg_view_str(kg_view_path(pod, "spec", "priorityClassName", NULL)));
}

/* A claim may have one class, change to another and want a third: any of them counts. */
static bool claim_fits(kg_view_t e, kg_view_t claim) {
  kg_view_t status = kg_view_get(claim, "status");
  const kg_str_t classes[] = {
      kg_view_str(kg_view_path(claim, "spec", "volumeAttributesClassName", NULL)),
      kg_view_str(kg_view_get(status, "currentVolumeAttributesClassName")),
      kg_view_str(kg_view_path(status, "modifyVolumeStatus", "targetVolumeAttributesClassName", NULL))};
  bool any = false;
  if (!kg_str_is(kg_view_str(kg_view_get(e, "scopeName")), "VolumeAttributesClass")) return false;
  for (size_t i = 0; i < 3; i++) {
    if (classes[i].n && class_fits(e, classes[i])) return true;
    any |= classes[i].n > 0;
  }
  return !any && class_fits(e, (kg_str_t){NULL, 0});
}

bool kube_quota_chooses(kg_view_t spec, const char *group, const char *resource, kg_view_t object) {
  kg_view_t scopes = kg_view_get(spec, "scopes"), more = kg_view_path(spec, "scopeSelector", "matchExpressions", NULL);
  bool pod = !*group && !strcmp(resource, "pods"), claim = !*group && !strcmp(resource, "persistentvolumeclaims");
  if (!kg_view_count(scopes) && !kg_view_count(more)) return true;
  if (!pod && !claim) return false;
  for (kg_iter_t it = kg_iter(scopes); kg_iter_next(&it);)
    if (!pod || !in_scope(kg_view_str(it.value), object)) return false;
  for (kg_iter_t it = kg_iter(more); kg_iter_next(&it);)
    if (!(pod ? pod_fits : claim_fits)(it.value, object)) return false;
  return true;
}

/* --- what must be said -------------------------------------------------------------------------------------------- */

static char *unsaid(kube_arena_t *a, char *so_far, kg_str_t name, kg_view_t containers, const char *what,
                    kg_str_t key) {
  char *who = NULL;
  for (kg_iter_t it = kg_iter(containers); kg_iter_next(&it);) {
    kg_str_t c = kg_view_str(kg_view_get(it.value, "name"));
    if (kg_view_there(kg_view_get_str(kg_view_path(it.value, "resources", what, NULL), key))) continue;
    who = kube_arena_fmt(a, "%s%s" KG_STR_FMT, who ? who : "", who ? "," : "", KG_STR_ARG(c));
  }
  if (!who) return so_far;
  return kube_arena_fmt(a, "%s%s" KG_STR_FMT " for: %s", so_far ? so_far : "", so_far ? "; " : "", KG_STR_ARG(name),
                        who);
}

char *kube_quota_unsaid(kube_arena_t *a, kg_view_t hard, kg_view_t pod) {
  static const char *const names[][3] = {
      {"cpu", "requests", "cpu"},       {"limits.cpu", "limits", "cpu"},     {"limits.memory", "limits", "memory"},
      {"memory", "requests", "memory"}, {"requests.cpu", "requests", "cpu"}, {"requests.memory", "requests", "memory"}};
  char *out = NULL;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (kg_view_there(kg_view_get(hard, names[i][0])))
      out = unsaid(a, out, kg_str(names[i][0]), kg_view_path(pod, "spec", "containers", NULL), names[i][1],
                   kg_str(names[i][2]));
  return out;
}
