/* Admission: what Kubernetes' built-in plugins check and add. */
#include <stdio.h>
#include <string.h>

#include "rbac.h"

#define TOKEN_PATH "/var/run/secrets/kubernetes.io/serviceaccount"

bool is_resource(const kube_resource_t *r, const char *group, const char *resource) {
  return !strcmp(r->resource, resource) && !strcmp(r->group, group);
}

static object_t *find(const write_t *w, const char *group, const char *resource, kg_str_t ns, kg_str_t name) {
  char key[600];
  collection_t *c = cache_find(w->q.api, group, resource);
  int n = ns.n ? snprintf(key, sizeof key, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(ns), KG_STR_ARG(name))
               : snprintf(key, sizeof key, KG_STR_FMT, KG_STR_ARG(name));
  return c && n < (int)sizeof key ? sorted_get(&c->objects, (kg_str_t){key, (size_t)n}) : NULL;
}

/* --- NamespaceLifecycle ------------------------------------------------------------------------------------------ */

static bool namespace_open(write_t *w) {
  object_t *ns = find(w, "", "namespaces", (kg_str_t){0}, w->q.ns);
  if (!ns) {
    static const kube_resource_t namespaces = {.group = "", .resource = "namespaces"};
    return fault_not_found(&w->fault, &namespaces, w->q.ns);
  }
  if (!kube_deleting(object_view(ns))) return true;
  fault_forbidden(&w->fault, w->q.r, w->q.name,
                  "unable to create new content in namespace " KG_STR_FMT " because it is being terminated",
                  KG_STR_ARG(w->q.ns));
  kube_node_t *causes = kube_array(w->arena);
  cause_add(w->arena, causes, "NamespaceTerminating", "metadata.namespace",
            "namespace " KG_STR_FMT " is being terminated", KG_STR_ARG(w->q.ns));
  w->fault.causes = causes;
  return false;
}

/* --- ServiceAccount ---------------------------------------------------------------------------------------------- */

static kube_node_t *pair(kube_arena_t *a, const char *key, kube_node_t *v) {
  kube_node_t *m = kube_map(a);
  kube_set(a, m, key, v);
  return m;
}

static kube_node_t *token_source(kube_arena_t *a) {
  kube_node_t *token = kube_map(a);
  kube_set(a, token, "expirationSeconds", kube_int(a, 3607));
  kube_set(a, token, "path", kube_str(a, "token"));
  return pair(a, "serviceAccountToken", token);
}

static kube_node_t *ca_source(kube_arena_t *a) {
  kube_node_t *map = kube_map(a), *items = kube_array(a), *item = kube_map(a);
  kube_set(a, map, "name", kube_str(a, "kube-root-ca.crt"));
  kube_set(a, item, "key", kube_str(a, "ca.crt"));
  kube_set(a, item, "path", kube_str(a, "ca.crt"));
  kube_push(a, items, item);
  kube_set(a, map, "items", items);
  return pair(a, "configMap", map);
}

static kube_node_t *namespace_source(kube_arena_t *a) {
  kube_node_t *items = kube_array(a), *item = kube_map(a), *ref = kube_map(a);
  kube_set(a, ref, "apiVersion", kube_str(a, "v1"));
  kube_set(a, ref, "fieldPath", kube_str(a, "metadata.namespace"));
  kube_set(a, item, "path", kube_str(a, "namespace"));
  kube_set(a, item, "fieldRef", ref);
  kube_push(a, items, item);
  return pair(a, "downwardAPI", pair(a, "items", items));
}

static kube_node_t *token_volume(write_t *w, char name[40]) {
  static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
  kube_arena_t *a = w->arena;
  kube_node_t *volume = kube_map(a), *projected = kube_map(a), *sources = kube_array(a);
  uint64_t v = kg_random(w->q.ctx);
  int n = snprintf(name, 40, "kube-api-access-");
  for (int i = 0; i < 5; i++, v /= 27) name[n++] = alphabet[v % 27];
  name[n] = '\0';
  kube_push(a, sources, token_source(a));
  kube_push(a, sources, ca_source(a));
  kube_push(a, sources, namespace_source(a));
  kube_set(a, projected, "sources", sources);
  kube_set(a, projected, "defaultMode", kube_int(a, 420));
  kube_set(a, volume, "name", kube_str(a, name));
  kube_set(a, volume, "projected", projected);
  return volume;
}

static kube_node_t *list_of(kube_arena_t *a, kube_node_t *m, const char *key) {
  kube_node_t *list = kube_get(m, key);
  if (!list || list->type != KG_V_ARRAY) kube_set(a, m, key, list = kube_array(a));
  return list;
}

/* Mounts the volume in every container that has nothing at its place. Returns how many got it. */
static int mount_token(write_t *w, kube_node_t *spec, const char *key, const char *volume) {
  kube_arena_t *a = w->arena;
  kube_node_t *list = kube_get(spec, key);
  int mounted = 0;
  for (uint32_t i = 0; list && list->type == KG_V_ARRAY && i < list->c.n; i++) {
    kube_node_t *c = list->c.items[i], *mounts = kube_get(c, "volumeMounts");
    bool taken = c->type != KG_V_MAP;
    for (uint32_t k = 0; mounts && mounts->type == KG_V_ARRAY && k < mounts->c.n; k++)
      taken |= node_is(kube_get(mounts->c.items[k], "mountPath"), TOKEN_PATH);
    if (taken) continue;
    kube_node_t *m = kube_map(a);
    kube_set(a, m, "name", kube_str(a, volume));
    kube_set(a, m, "readOnly", kube_bool(a, true));
    kube_set(a, m, "mountPath", kube_str(a, TOKEN_PATH));
    kube_push(a, list_of(a, c, "volumeMounts"), m);
    mounted++;
  }
  return mounted;
}

static bool wants_token(const kube_node_t *spec, kg_view_t account) {
  const kube_node_t *own = kube_get(spec, "automountServiceAccountToken");
  return own ? kube_node_bool(own, true) : kg_view_bool(kg_view_get(account, "automountServiceAccountToken"), true);
}

static bool service_account(write_t *w, kube_node_t *pod, kube_node_t *spec) {
  kube_arena_t *a = w->arena;
  /* A mirror shows what a node runs by itself: nothing is put in. */
  if (kube_path(pod, "metadata", "annotations", "kubernetes.io/config.mirror", NULL)) return true;
  kg_str_t name = kube_node_str(kube_get(spec, "serviceAccountName"));
  if (!name.n) name = kube_node_str(kube_get(spec, "serviceAccount"));
  if (!name.n) name = KG_STR("default");
  object_t *account = find(w, "", "serviceaccounts", w->q.ns, name);
  if (!account)
    return fault_forbidden(&w->fault, w->q.r, w->q.name,
                           "error looking up service account " KG_STR_FMT "/" KG_STR_FMT
                           ": serviceaccount \"" KG_STR_FMT "\" not found",
                           KG_STR_ARG(w->q.ns), KG_STR_ARG(name), KG_STR_ARG(name));
  kube_set(a, spec, "serviceAccountName", kube_strn(a, name));
  kube_set(a, spec, "serviceAccount", kube_strn(a, name));
  kg_view_t secrets = kg_view_get(object_view(account), "imagePullSecrets");
  kube_node_t *own = kube_get(spec, "imagePullSecrets");
  if (kg_view_count(secrets) && (!own || !own->c.n))
    kube_set(a, spec, "imagePullSecrets", kube_tree_clone(a, kube_tree_parse(a, secrets)));
  if (!wants_token(spec, object_view(account))) return true;
  char volume[40];
  kube_node_t *v = token_volume(w, volume);
  int n = mount_token(w, spec, "initContainers", volume) + mount_token(w, spec, "containers", volume);
  if (n) kube_push(a, list_of(a, spec, "volumes"), v);
  return true;
}

/* --- DefaultTolerationSeconds, Priority -------------------------------------------------------------------------- */

static bool tolerated(const kube_node_t *list, const char *key) {
  for (uint32_t i = 0; i < list->c.n; i++) {
    kg_str_t k = kube_node_str(kube_get(list->c.items[i], "key")),
             effect = kube_node_str(kube_get(list->c.items[i], "effect"));
    if ((!k.n || kg_str_is(k, key)) && (!effect.n || kg_str_is(effect, "NoExecute"))) return true;
  }
  return false;
}

static void tolerations(kube_arena_t *a, kube_node_t *spec) {
  static const char *const keys[] = {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"};
  kube_node_t *list = list_of(a, spec, "tolerations");
  for (int i = 0; i < 2; i++) {
    if (tolerated(list, keys[i])) continue;
    kube_node_t *t = kube_map(a);
    kube_set(a, t, "key", kube_str(a, keys[i]));
    kube_set(a, t, "operator", kube_str(a, "Exists"));
    kube_set(a, t, "effect", kube_str(a, "NoExecute"));
    kube_set(a, t, "tolerationSeconds", kube_int(a, 300));
    kube_push(a, list, t);
  }
}

static object_t *default_class(const write_t *w) {
  collection_t *c = cache_find(w->q.api, "scheduling.k8s.io", "priorityclasses");
  sorted_pos_t pos = {0, 0};
  for (object_t *o; c && (o = sorted_at(&c->objects, &pos));)
    if (kg_view_bool(kg_view_get(object_view(o), "globalDefault"), false)) return o;
  return NULL;
}

static bool priority(write_t *w, kube_node_t *spec) {
  kube_arena_t *a = w->arena;
  kg_str_t name = kube_node_str(kube_get(spec, "priorityClassName"));
  object_t *class = name.n ? find(w, "scheduling.k8s.io", "priorityclasses", (kg_str_t){0}, name) : default_class(w);
  if (name.n && !class)
    return fault_forbidden(&w->fault, w->q.r, w->q.name, "no PriorityClass with name " KG_STR_FMT " was found",
                           KG_STR_ARG(name));
  kg_view_t v = class ? object_view(class) : (kg_view_t){0};
  int64_t value = kg_view_int(kg_view_get(v, "value"), 0);
  const kube_node_t *own = kube_get(spec, "priority");
  if (own && kube_node_int(own, value) != value)
    return fault_forbidden(&w->fault, w->q.r, w->q.name,
                           "the integer value of priority (%lld) must not be provided in pod spec; priority admission "
                           "controller computed %lld "
                           "from the given PriorityClass name",
                           (long long)kube_node_int(own, 0), (long long)value);
  if (class && !name.n) kube_set(a, spec, "priorityClassName", kube_strn(a, object_key(class)));
  kube_set(a, spec, "priority", kube_int(a, value));
  if (!kube_get(spec, "preemptionPolicy")) {
    kg_str_t policy = arg_str(v, "preemptionPolicy");
    kube_set(a, spec, "preemptionPolicy", policy.n ? kube_strn(a, policy) : kube_str(a, "PreemptLowerPriority"));
  }
  return true;
}

/* --- RuntimeClass (KEP-585, KEP-688): what the class says of the pods that name it -------------------------------- */

static bool class_overhead(write_t *w, kube_node_t *spec, kg_view_t class) {
  kg_view_t fixed = kg_view_path(class, "overhead", "podFixed", NULL);
  const kube_node_t *own = kube_get(spec, "overhead");
  if (!kg_view_count(fixed))
    return !own ||
           fault_forbidden(&w->fault, w->q.r, w->q.name,
                           "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
  kube_node_t *theirs = kube_tree_parse(w->arena, fixed);
  if (own && !kube_tree_equal(own, theirs))
    return fault_forbidden(&w->fault, w->q.r, w->q.name,
                           "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
  kube_set(w->arena, spec, "overhead", theirs);
  return true;
}

static bool class_selector(write_t *w, kube_node_t *spec, kg_view_t selector) {
  kube_arena_t *a = w->arena;
  for (kg_iter_t it = kg_iter(selector); kg_iter_next(&it);) {
    kube_node_t *map = kube_sub(a, spec, "nodeSelector");
    kg_str_t key = kube_arena_str(a, kg_view_str(it.key)), want = kg_view_str(it.value);
    kg_str_t own = kube_node_str(kube_getn(map, key));
    if (own.p && !kg_str_eq(own, want))
      return fault_forbidden(&w->fault, w->q.r, w->q.name,
                             "conflict: runtimeClass.Scheduling.NodeSelector[" KG_STR_FMT "] = " KG_STR_FMT
                             "; pod.Spec.NodeSelector[" KG_STR_FMT "] = " KG_STR_FMT,
                             KG_STR_ARG(key), KG_STR_ARG(want), KG_STR_ARG(key), KG_STR_ARG(own));
    kube_setn(a, map, key, kube_strn(a, want));
  }
  return true;
}

static void class_tolerations(write_t *w, kube_node_t *spec, kg_view_t more) {
  if (!kg_view_count(more)) return;
  kube_node_t *list = list_of(w->arena, spec, "tolerations");
  for (kg_iter_t it = kg_iter(more); kg_iter_next(&it);) {
    kube_node_t *toleration = kube_tree_parse(w->arena, it.value);
    bool there = false;
    for (uint32_t i = 0; i < list->c.n && !there; i++) there = kube_tree_equal(list->c.items[i], toleration);
    if (!there) kube_push(w->arena, list, toleration);
  }
}

static bool runtime_class(write_t *w, kube_node_t *spec) {
  kg_str_t name = kube_node_str(kube_get(spec, "runtimeClassName"));
  const object_t *class = name.n ? find(w, "node.k8s.io", "runtimeclasses", (kg_str_t){0}, name) : NULL;
  if (name.n && !class)
    return fault_forbidden(&w->fault, w->q.r, w->q.name, "pod rejected: RuntimeClass \"" KG_STR_FMT "\" not found",
                           KG_STR_ARG(name));
  kg_view_t v = class ? object_view(class) : (kg_view_t){0}, scheduling = kg_view_get(v, "scheduling");
  if (!class_overhead(w, spec, v) || !class_selector(w, spec, kg_view_get(scheduling, "nodeSelector"))) return false;
  class_tolerations(w, spec, kg_view_get(scheduling, "tolerations"));
  return true;
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

static bool admit_pod(write_t *w, kube_node_t *object) {
  kube_node_t *spec = kube_sub(w->arena, object, "spec");
  if (!service_account(w, object, spec) || !priority(w, spec) || !runtime_class(w, spec)) return false;
  tolerations(w->arena, spec);
  return limits_admit(w, object);
}

/* --- TaintNodesByCondition: nothing runs on a node before it has said that it is ready --------------------------- */

static bool not_ready(write_t *w, kube_node_t *object) {
  static const char key[] = "node.kubernetes.io/not-ready";
  kube_arena_t *a = w->arena;
  kube_node_t *list = list_of(a, kube_sub(a, object, "spec"), "taints"), *taint = kube_map(a);
  for (uint32_t i = 0; i < list->c.n; i++)
    if (node_is(kube_get(list->c.items[i], "key"), key) && node_is(kube_get(list->c.items[i], "effect"), "NoSchedule"))
      return true;
  kube_set(a, taint, "key", kube_str(a, key));
  kube_set(a, taint, "effect", kube_str(a, "NoSchedule"));
  kube_push(a, list, taint);
  return true;
}

/* --- DefaultStorageClass: the newest of those that say they are the default, the first by name of equals ---------- */

static kg_str_t default_storage_class(const write_t *w) {
  collection_t *c = cache_find(w->q.api, "storage.k8s.io", "storageclasses");
  sorted_pos_t pos = {0, 0};
  kg_view_t class = {0};
  for (object_t *o; c && (o = sorted_at(&c->objects, &pos));) class = kube_default_class(class, object_view(o));
  return kube_name(class);
}

static bool admit_claim(write_t *w, kube_node_t *object) {
  kube_node_t *spec = kube_sub(w->arena, object, "spec");
  bool told = kube_get(spec, "storageClassName") ||
              kube_path(object, "metadata", "annotations", "volume.beta.kubernetes.io/storage-class", NULL);
  kg_str_t class = told ? (kg_str_t){0} : default_storage_class(w);
  if (class.n) kube_set(w->arena, spec, "storageClassName", kube_strn(w->arena, class));
  return limits_admit(w, object);
}

bool admit_create(write_t *w, kube_node_t *object) {
  const kube_resource_t *r = w->q.r;
  if (r->namespaced && !namespace_open(w)) return false;
  if (!rbac_admit(w, object, NULL)) return false;
  if (is_resource(r, "", "pods")) return admit_pod(w, object);
  if (is_resource(r, "", "nodes")) return not_ready(w, object);
  if (is_resource(r, "", "services")) return service_create(w, object);
  if (is_resource(r, "", "persistentvolumeclaims")) return admit_claim(w, object);
  return true;
}

bool admit_update(write_t *w, kube_node_t *object, const kube_node_t *old) {
  if (!rbac_admit(w, object, old)) return false;
  if (is_resource(w->q.r, "", "pods") && !w->q.sub.n) tolerations(w->arena, kube_sub(w->arena, object, "spec"));
  if (is_resource(w->q.r, "", "services")) return service_update(w, object, old);
  if (is_resource(w->q.r, "", "namespaces") && !w->finalizes) {
    kube_node_t *kept = kube_path(old, "spec", "finalizers", NULL), *spec = kube_sub(w->arena, object, "spec");
    if (kept)
      kube_set(w->arena, spec, "finalizers", kept);
    else
      kube_del(spec, "finalizers");
  }
  return true;
}
