/* What the checks of pods need code for: containers and their parts. */
#include <string.h>

#include "kube/values.h"
#include "validate.h"

static void note_names(kube_check_t *c, const kube_node_t *list, kube_node_t *seen) {
  for (uint32_t i = 0; i < kube_count(list); i++) kube_setn(c->a, seen, kube_text(list->c.items[i], "name"), seen);
}

/* What an ephemeral container looks into is one of the others; its mounts are not of a part of a volume. */
static void ephemeral_parts(kube_check_t *c, const kube_node_t *box, const kube_node_t *others) {
  static const char *const parts[] = {"subPath", "subPathExpr"};
  const kube_node_t *mounts = kube_get(box, "volumeMounts");
  kg_str_t target = kube_text(box, "targetContainerName");
  if (target.n && !kube_getn(others, target))
    kube_not_found(c, "targetContainerName", kube_get(box, "targetContainerName"));
  for (uint32_t i = 0; i < kube_count(mounts); i++) {
    size_t n = kube_path_push(c, "volumeMounts");
    kube_path_index(c, i);
    for (int k = 0; k < 2; k++)
      if (kube_text(mounts->c.items[i], parts[k]).n)
        kube_forbidden(c, parts[k], "cannot be set for an Ephemeral Container");
    kube_path_pop(c, n);
  }
}

/* Init containers may not be called as containers are, ephemeral ones not as either. */
KUBE_CALL(container_names) {
  (void)r, (void)old;
  static const char *const later[] = {"initContainers", "ephemeralContainers"};
  kube_node_t *seen = kube_map(c->a);
  note_names(c, kube_get(v, "containers"), seen);
  for (int l = 0; l < 2; l++) {
    const kube_node_t *list = kube_get(v, later[l]);
    if (l) note_names(c, kube_get(v, "initContainers"), seen);
    for (uint32_t i = 0; i < kube_count(list); i++) {
      kg_str_t name = kube_text(list->c.items[i], "name");
      size_t n = kube_path_push(c, later[l]);
      kube_path_index(c, i);
      if (name.n && kube_getn(seen, name)) kube_duplicate(c, "name", kube_get(list->c.items[i], "name"));
      if (l) ephemeral_parts(c, list->c.items[i], seen);
      kube_path_pop(c, n);
    }
  }
}

/* --- ports ------------------------------------------------------------------------------------------------------ */

static const kube_node_t *port_at(const kube_node_t *containers, uint32_t i, uint32_t k) {
  return kube_at(kube_get(kube_at(containers, i), "ports"), k);
}

/* A port of the host can be had once in a pod. */
KUBE_CALL(host_ports) {
  (void)old;
  const kube_node_t *port;
  kube_node_t *seen = kube_map(c->a);
  for (uint32_t i = 0; i < kube_count(v); i++) {
    for (uint32_t k = 0; (port = port_at(v, i, k)); k++) {
      int64_t number = kube_node_int(kube_get(port, "hostPort"), 0);
      kg_str_t protocol = kube_text(port, "protocol"), ip = kube_text(port, "hostIP");
      const char *key = kube_arena_fmt(c->a, KG_STR_FMT "/" KG_STR_FMT "/%lld", KG_STR_ARG(protocol), KG_STR_ARG(ip),
                                       (long long)number);
      if (!number || !kube_noted(c, seen, key)) continue;
      size_t n = kube_path_push(c, r->field);
      kube_path_index(c, i);
      kube_path_push(c, "ports");
      kube_path_index(c, k);
      kube_duplicate(c, "hostPort", kube_str(c->a, key));
      kube_path_pop(c, n);
    }
  }
}

KUBE_CALL(host_network) {
  (void)old;
  const kube_node_t *port;
  for (uint32_t i = 0; i < kube_count(v); i++) {
    for (uint32_t k = 0; (port = port_at(v, i, k)); k++) {
      const kube_node_t *on_host = kube_get(port, "hostPort");
      int64_t number = kube_node_int(on_host, 0); /* 0: in a template; its pods get the default */
      if (!number || number == kube_node_int(kube_get(port, "containerPort"), 0)) continue;
      size_t n = kube_path_push(c, r->field);
      kube_path_index(c, i);
      kube_path_push(c, "ports");
      kube_path_index(c, k);
      kube_invalid(c, "hostPort", on_host, "must match `containerPort` when `hostNetwork` is true");
      kube_path_pop(c, n);
    }
  }
}

/* --- environment ------------------------------------------------------------------------------------------------ */

static unsigned count_there(const kube_node_t *n, const char *const *keys) {
  unsigned there = 0;
  for (; *keys; keys++) {
    const kube_node_t *v = kube_get(n, *keys);
    there += v && v->type != KG_V_NIL;
  }
  return there;
}

KUBE_CALL(env_source) {
  (void)old, (void)r;
  static const char *const keys[] = {"fieldRef",     "resourceFieldRef", "configMapKeyRef",
                                     "secretKeyRef", "fileKeyRef",       NULL};
  if (!v || v->type == KG_V_NIL) return;
  unsigned n = count_there(v, keys);
  kg_str_t none = KG_STR("");
  if (!n)
    kube_invalid_str(c, "valueFrom", none,
                     "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`");
  else if (kube_text(c->self, "value").n)
    kube_invalid_str(c, "valueFrom", none, "may not be specified when `value` is not empty");
  else if (n > 1)
    kube_invalid_str(c, "valueFrom", none, "may not have more than one field specified at a time");
}

static const kube_node_t *volume_of(const kube_node_t *spec, kg_str_t name) {
  const kube_node_t *volumes = kube_get(spec, "volumes");
  for (uint32_t i = 0; i < kube_count(volumes); i++)
    if (kg_str_eq(kube_text(volumes->c.items[i], "name"), name)) return volumes->c.items[i];
  return NULL;
}

/* The files of fileKeyRef are the containers' own. */
static void file_keys_of(kube_check_t *c, const char *list) {
  const kube_node_t *containers = kube_get(c->self, list);
  size_t at_list = kube_path_push(c, list);
  for (uint32_t i = 0; i < kube_count(containers); i++) {
    const kube_node_t *env = kube_get(containers->c.items[i], "env");
    size_t at_container = kube_path_index(c, i), at_env = kube_path_push(c, "env");
    for (uint32_t k = 0; k < kube_count(env); k++) {
      const kube_node_t *name = kube_path(env->c.items[k], "valueFrom", "fileKeyRef", "volumeName", NULL);
      const kube_node_t *volume = name ? volume_of(c->self, kube_node_str(name)) : NULL;
      size_t at = kube_path_index(c, k);
      if (name && !volume) kube_not_found(c, "valueFrom.fileKeyRef.volumeName", name);
      if (volume && !kube_get(volume, "emptyDir"))
        kube_invalid(c, "valueFrom.fileKeyRef.volumeName", name, "referenced volume must be of type emptyDir");
      kube_path_pop(c, at);
    }
    kube_path_pop(c, at_env);
    kube_path_pop(c, at_container);
  }
  kube_path_pop(c, at_list);
}

KUBE_CALL(file_key_volumes) {
  (void)v, (void)old, (void)r;
  file_keys_of(c, "initContainers");
  file_keys_of(c, "containers");
  file_keys_of(c, "ephemeralContainers");
}

KUBE_CALL(hostname_override) {
  (void)v, (void)old, (void)r;
  const kube_node_t *name = kube_get(c->self, "hostnameOverride");
  if (!name || name->type == KG_V_NIL) return;
  if (kube_node_bool(kube_get(c->self, "setHostnameAsFQDN"), false))
    kube_forbidden(c, "hostnameOverride", "may not be specified when setHostnameAsFQDN is true");
  if (kube_node_bool(kube_get(c->self, "hostNetwork"), false))
    kube_forbidden(c, "hostnameOverride", "may not be specified when hostNetwork is true");
  if (kube_node_str(name).n > 64) kube_too_long(c, "hostnameOverride", 64);
}

KUBE_CALL(env_from) {
  (void)old, (void)r;
  static const char *const keys[] = {"configMapRef", "secretRef", NULL};
  for (uint32_t i = 0; i < kube_count(v); i++) {
    unsigned n = count_there(v->c.items[i], keys);
    if (!n) kube_invalid_str(c, "envFrom", KG_STR(""), "must specify one of: `configMapRef` or `secretRef`");
    if (n > 1) kube_invalid_str(c, "envFrom", KG_STR(""), "may not have more than one field specified at a time");
  }
}

static bool listed(const char *const *list, kg_str_t s) {
  for (; *list; list++)
    if (kg_str_is(s, *list)) return true;
  return false;
}

/* "metadata.annotations['key']": the part before the bracket, and the key. */
static kg_str_t subscript(kg_str_t path, kg_str_t *key) {
  const char *open = path.n ? memchr(path.p, '[', path.n) : NULL;
  *key = (kg_str_t){0};
  if (!open || path.p[path.n - 1] != ']' || path.p + path.n - open < 4 || open[1] != '\'') return path;
  *key = (kg_str_t){open + 2, (size_t)(path.p + path.n - 2 - (open + 2))};
  return (kg_str_t){path.p, (size_t)(open - path.p)};
}

static void check_subscript(kube_check_t *c, kg_str_t path, kg_str_t base, kg_str_t key) {
  if (kg_str_is(base, "metadata.annotations") || kg_str_is(base, "metadata.labels"))
    kube_check_form(c, "fieldPath", key, kube_form_qualified_name);
  else
    kube_invalid_str(c, "fieldPath", path, "does not support subscript");
}

/* What of a pod its containers can be told: not the same in the environment and in files. */
KUBE_CALL(field_path) {
  (void)old, (void)r;
  static const char *const known[] = {"metadata.name",
                                      "metadata.namespace",
                                      "metadata.labels",
                                      "metadata.annotations",
                                      "metadata.uid",
                                      "spec.nodeName",
                                      "spec.serviceAccountName",
                                      "spec.hostNetwork",
                                      "spec.restartPolicy",
                                      "status.phase",
                                      "spec.schedulerName",
                                      "status.hostIP",
                                      "status.hostIPs",
                                      "status.podIP",
                                      "status.podIPs",
                                      "status.nominatedNodeName",
                                      NULL};
  static const char *const env[] = {
      "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
      "status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs", NULL};
  static const char *const files[] = {"metadata.annotations", "metadata.labels", "metadata.name",
                                      "metadata.namespace",   "metadata.uid",    NULL};
  kg_str_t path = kube_node_str(v), key, base = subscript(path, &key);
  bool in_env = strstr(c->path, ".env[") != NULL;
  if (key.p) return check_subscript(c, path, base, key);
  if (!listed(known, path))
    kube_invalid_str(
        c, "fieldPath", path,
        kube_arena_fmt(c->a, "error converting fieldPath: field label not supported: " KG_STR_FMT, KG_STR_ARG(path)));
  else if (!listed(in_env ? env : files, path))
    kube_unsupported(c, "fieldPath", v,
                     in_env ? "metadata.name metadata.namespace metadata.uid spec.nodeName spec.serviceAccountName "
                              "status.hostIP status.hostIPs status.podIP status.podIPs"
                            : "metadata.annotations metadata.labels metadata.name metadata.namespace metadata.uid");
}

KUBE_CALL(resource_field) {
  (void)old, (void)r;
  static const char *const known[] = {"limits.cpu",
                                      "limits.ephemeral-storage",
                                      "limits.memory",
                                      "requests.cpu",
                                      "requests.ephemeral-storage",
                                      "requests.memory",
                                      NULL};
  kg_str_t name = kube_node_str(v);
  bool pages = name.n > 16 && (strstr(kube_arena_fmt(c->a, KG_STR_FMT, KG_STR_ARG(name)), "s.hugepages-"));
  if (!listed(known, name) && !pages)
    kube_unsupported(c, "resource", v,
                     "limits.cpu limits.ephemeral-storage limits.memory requests.cpu requests.ephemeral-storage "
                     "requests.memory");
}

KUBE_CALL(downward_source) {
  (void)old, (void)r;
  const kube_node_t *field = kube_get(v, "fieldRef"), *resource = kube_get(v, "resourceFieldRef");
  if (field && resource)
    kube_invalid(c, "resource", resource, "fieldRef and resourceFieldRef can not be specified simultaneously");
  else if (!field && !resource)
    kube_required(c, NULL, "one of fieldRef and resourceFieldRef is required");
  if (resource && !kube_text(resource, "containerName").n) kube_required(c, "resourceFieldRef.containerName", NULL);
}

/* --- mounts ----------------------------------------------------------------------------------------------------- */

static const kube_node_t *pod_spec(const kube_check_t *c) {
  static const char *const paths[] = {"spec", "template.spec", "spec.template.spec",
                                      "spec.jobTemplate.spec.template.spec"};
  for (int i = 0; i < 4; i++) {
    const kube_node_t *n = kube_node_look(c->root, paths[i]);
    if (kube_get(n, "containers")) return n;
  }
  return NULL;
}

/* A mount needs a volume; a StatefulSet's may come from its claims. */
static bool has_volume(kube_check_t *c, kg_str_t name) {
  const kube_node_t *claims = kube_path(c->root, "spec", "volumeClaimTemplates", NULL);
  if (!c->volumes) {
    c->volumes = kube_map(c->a);
    for (uint32_t i = 0; i < kube_count(claims); i++)
      kube_setn(c->a, c->volumes, kube_node_str(kube_path(claims->c.items[i], "metadata", "name", NULL)), c->volumes);
    note_names(c, kube_get(pod_spec(c), "volumes"), c->volumes);
  }
  return kube_getn(c->volumes, name) != NULL;
}

KUBE_CALL(mounts) {
  (void)r, (void)old;
  const kube_node_t *list = kube_get(v, "volumeMounts");
  kube_node_t *devices = kube_map(c->a);
  note_names(c, kube_get(v, "volumeDevices"), devices);
  for (uint32_t i = 0; i < kube_count(list); i++) {
    const kube_node_t *m = list->c.items[i];
    size_t n = kube_path_push(c, "volumeMounts");
    kube_path_index(c, i);
    kg_str_t name = kube_text(m, "name");
    kube_node_t empty = {.type = KG_V_STR, .s = KG_STR("")};
    if (!has_volume(c, name)) kube_not_found(c, "name", name.n ? kube_get(m, "name") : &empty);
    if (name.n && kube_getn(devices, name))
      kube_invalid(c, "name", kube_get(m, "name"), "must not already exist in volumeDevices");
    if (kube_text(m, "subPath").n && kube_text(m, "subPathExpr").n)
      kube_invalid(c, "subPathExpr", kube_get(m, "subPathExpr"), "subPathExpr and subPath are mutually exclusive");
    kube_path_pop(c, n);
  }
}

static bool has_backstep(kg_str_t s) {
  for (size_t i = 0, start = 0; i <= s.n; i++) {
    if (i < s.n && s.p[i] != '/') continue;
    if (i - start == 2 && !memcmp(s.p + start, "..", 2)) return true;
    start = i + 1;
  }
  return false;
}

KUBE_CALL(no_backsteps) {
  (void)old;
  kg_str_t s = kube_node_str(v);
  if (has_backstep(s)) kube_invalid_str(c, r->field, s, "must not contain '..'");
}

KUBE_CALL(local_path) {
  (void)old;
  kg_str_t s = kube_node_str(v);
  if (s.n && s.p[0] == '/') kube_invalid_str(c, r->field, s, "must be a relative path");
  if (has_backstep(s)) kube_invalid_str(c, r->field, s, "must not contain '..'");
}

/* The same, for names that volumes keep for themselves. */
KUBE_CALL(local_file) {
  kube_call_local_path(c, r, v, old);
  kg_str_t s = kube_node_str(v);
  if (s.n > 2 && !memcmp(s.p, "..", 2) && s.p[2] != '/') kube_invalid_str(c, r->field, s, "must not start with '..'");
}

/* --- unions ----------------------------------------------------------------------------------------------------- */

KUBE_CALL(one_handler) {
  (void)r, (void)old;
  static const char *const keys[] = {"exec", "httpGet", "tcpSocket", "grpc", "sleep"};
  unsigned n = 0;
  for (int i = 0; i < 5; i++) {
    const kube_node_t *h = kube_get(v, keys[i]);
    if (!h || h->type == KG_V_NIL) continue;
    if (n++) kube_forbidden(c, keys[i], "may not specify more than 1 handler type");
  }
  if (!n) kube_required(c, NULL, "must specify a handler type");
}

/* Exactly one of the volume's members besides its name. r->text: how many other members there are to leave out. */
KUBE_CALL(one_volume) {
  (void)r, (void)old;
  unsigned n = 0;
  for (uint32_t i = 0; i < kube_count(v); i++) {
    if (kg_str_is(v->c.keys[i], "name") || v->c.items[i]->type == KG_V_NIL) continue;
    if (!n++) continue;
    kube_forbidden(c, kube_arena_fmt(c->a, KG_STR_FMT, KG_STR_ARG(v->c.keys[i])),
                   "may not specify more than 1 volume type");
  }
  if (!n) kube_required(c, NULL, "must specify a volume type");
}

/* --- spreading, taints, affinity -------------------------------------------------------------------------------- */

KUBE_CALL(spread_pairs) {
  (void)r, (void)old;
  uint32_t count = kube_count(v);
  const char **texts = kube_arena_alloc(c->a, (count + 1) * sizeof *texts); /* NULL: no later one is the same */
  kube_node_t *seen = kube_map(c->a);
  for (uint32_t i = count; i-- > 0;) {
    kg_str_t key = kube_text(v->c.items[i], "topologyKey"), when = kube_text(v->c.items[i], "whenUnsatisfiable");
    const char *text = kube_arena_fmt(c->a, "{" KG_STR_FMT ", " KG_STR_FMT "}", KG_STR_ARG(key), KG_STR_ARG(when));
    texts[i] = kube_noted(c, seen, text) ? text : NULL;
  }
  for (uint32_t i = 0; i < count; i++) {
    if (!texts[i]) continue;
    size_t n = kube_path_push(c, "topologySpreadConstraints");
    kube_path_index(c, i);
    kube_duplicate(c, "{topologyKey, whenUnsatisfiable}", kube_str(c->a, texts[i]));
    kube_path_pop(c, n);
  }
}

KUBE_CALL(positive) {
  (void)old;
  if (kube_node_int(v, 0) < 1) kube_invalid(c, r->field, v ? v : kube_int(c->a, 0), "must be greater than zero");
}

KUBE_CALL(search_domain) {
  (void)r, (void)old;
  kg_str_t s = kube_node_str(v);
  if (kg_str_is(s, ".")) return;
  if (s.n && s.p[s.n - 1] == '.') s.n--;
  kube_check_form(c, NULL, s, kube_form_search_domain);
}

static void taint(kube_check_t *c, const kube_node_t *t) {
  static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
  kg_str_t value = kube_text(t, "value"), effect = kube_text(t, "effect");
  kube_check_form(c, "key", kube_text(t, "key"), kube_form_qualified_name);
  if (value.n) kube_check_form(c, "value", value, kube_form_label_value);
  if (!effect.n)
    kube_required(c, "effect", NULL);
  else if (!listed(effects, effect))
    kube_unsupported(c, "effect", kube_get(t, "effect"), "NoSchedule PreferNoSchedule NoExecute");
}

/* Errors call a node's taints metadata.taints. */
KUBE_CALL(taints) {
  (void)r, (void)old;
  kube_node_t *seen = kube_map(c->a);
  for (uint32_t i = 0; i < kube_count(v); i++) {
    const kube_node_t *a = v->c.items[i];
    kg_str_t key = kube_text(a, "key"), effect = kube_text(a, "effect");
    size_t n = kube_path_push(c, "metadata.taints");
    kube_path_index(c, i);
    taint(c, a);
    if (kube_noted(c, seen, kube_arena_fmt(c->a, KG_STR_FMT "=" KG_STR_FMT, KG_STR_ARG(key), KG_STR_ARG(effect))))
      kube_duplicate(c, NULL, a);
    kube_path_pop(c, n);
  }
}

KUBE_CALL(node_selector_requirement) {
  (void)r, (void)old;
  kg_str_t op = kube_text(v, "operator");
  const kube_node_t *values = kube_get(v, "values");
  bool set = kg_str_is(op, "In") || kg_str_is(op, "NotIn"), order = kg_str_is(op, "Gt") || kg_str_is(op, "Lt"),
       plain = kg_str_is(op, "Exists") || kg_str_is(op, "DoesNotExist");
  if (set && !kube_count(values))
    kube_required(c, "values", "must be specified when `operator` is 'In' or 'NotIn'");
  else if (plain && kube_count(values))
    kube_forbidden(c, "values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
  else if (order && kube_count(values) != 1)
    kube_required(c, "values", "must be specified single value when `operator` is 'Lt' or 'Gt'");
  else if (!set && !plain && !order)
    kube_invalid_str(c, "operator", op, "not a valid selector operator");
}

KUBE_CALL(selector_operator) {
  (void)r, (void)old;
  static const char *const known[] = {"In", "NotIn", "Exists", "DoesNotExist", NULL};
  if (!listed(known, kube_node_str(v)))
    kube_invalid_str(c, "operator", kube_node_str(v), "not a valid selector operator");
}

/* "kernel.shm_rmid_forced", or with slashes. */
KUBE_CALL(sysctl_name) {
  (void)r, (void)old;
  kg_str_t s = kube_node_str(v);
  bool good = s.n && s.n <= 253, edge = true;
  for (size_t i = 0; i < s.n; i++) {
    bool plain = (s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9');
    bool dot = s.p[i] == '.' || s.p[i] == '/', inner = s.p[i] == '-' || s.p[i] == '_';
    good = good && (plain || ((dot || inner) && !edge && i + 1 < s.n));
    if (dot && i && (s.p[i - 1] == '-' || s.p[i - 1] == '_')) good = false;
    edge = dot;
  }
  if (!good)
    kube_invalid_str(c, "name", s,
                     "must have at most 253 characters and match regex "
                     "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*([a-z0-9][-_a-z0-9]*)?[a-z0-9]$");
}

KUBE_CALL(headers) {
  (void)old;
  for (uint32_t i = 0; i < kube_count(v); i++)
    kube_check_form(c, r->field, kube_text(v->c.items[i], "name"), kube_form_header_name);
}

KUBE_CALL(message_policy) {
  (void)r, (void)old;
  kg_str_t s = kube_node_str(v);
  if (!s.n)
    kube_required(c, r->field, NULL);
  else if (!kg_str_is(s, "File") && !kg_str_is(s, "FallbackToLogsOnError"))
    kube_invalid_str(c, r->field, s, "must be 'File' or 'FallbackToLogsOnError'");
}

KUBE_CALL(unique_tolerations) {
  (void)old;
  kube_node_t *seen = kube_map(c->a);
  for (uint32_t i = 0; i < kube_count(v); i++) {
    if (!kube_noted(c, seen, kube_value_text(c, v->c.items[i]))) continue;
    size_t n = kube_path_push(c, r->field);
    kube_path_index(c, i);
    kube_duplicate(c, NULL, v->c.items[i]);
    kube_path_pop(c, n);
  }
}

/* What a toleration says wrong is told at a path that says its list twice. */
KUBE_CALL(class_tolerations) {
  (void)old;
  const kube_type_t *t = kube_type_find(KG_STR("core.v1.Toleration"));
  kube_call_unique_tolerations(c, r, v, old);
  for (uint32_t i = 0; i < kube_count(v); i++) {
    size_t n = kube_path_push(c, "tolerations.tolerations");
    kube_path_index(c, i);
    kube_check_struct(c, t, v->c.items[i]);
    kube_path_pop(c, n);
  }
}

/* --- projected volumes: errors do not say which of the sources' items ------------------------------------------- */

/* The path as it is up to, and with, the last ".NAME". */
static size_t cut_after(kube_check_t *c, const char *name) {
  char *at = NULL;
  size_t before = c->n;
  for (char *p = c->path; (p = strstr(p, name)); p++) at = p;
  if (at) c->n = (size_t)(at - c->path) + strlen(name);
  return before;
}

KUBE_CALL(account_token) {
  (void)r, (void)old;
  char whole[sizeof c->path];
  int64_t seconds = kube_node_int(kube_get(v, "expirationSeconds"), 3600);
  kg_str_t path = kube_text(v, "path");
  if (seconds < 600)
    kube_invalid(c, "expirationSeconds", kube_get(v, "expirationSeconds"),
                 "may not specify a duration less than 10 minutes");
  if (seconds > INT64_C(1) << 32)
    kube_invalid(c, "expirationSeconds", kube_get(v, "expirationSeconds"),
                 "may not specify a duration larger than 2^32 seconds");
  memcpy(whole, c->path, sizeof whole);
  size_t n = cut_after(c, ".projected");
  c->path[c->n] = 0;
  if (!path.n)
    kube_required(c, "path", NULL);
  else
    kube_call_local_file(c, &(kube_check_rule_t){.field = "path"}, kube_get(v, "path"), NULL);
  memcpy(c->path, whole, sizeof whole);
  c->n = n;
}

KUBE_CALL(projected_items) {
  (void)r, (void)old;
  const kube_type_t *t = kube_type_find(KG_STR("core.v1.DownwardAPIVolumeFile"));
  for (uint32_t i = 0; i < kube_count(v); i++) kube_check_struct(c, t, v->c.items[i]);
}

static bool add_path(kube_check_t *c, kube_node_t *seen, const kube_node_t *item) {
  kg_str_t path = kube_text(item, "path");
  if (!path.n) return true;
  if (kube_getn(seen, path)) {
    kube_invalid_str(c, NULL, path, "conflicting duplicate paths");
    return false;
  }
  kube_setn(c->a, seen, path, kube_bool(c->a, true));
  return true;
}

/* Two sources may not give the same file. */
KUBE_CALL(projected_paths) {
  (void)r, (void)old;
  static const char *const lists[] = {"secret", "configMap", "downwardAPI"};
  const kube_node_t *sources = kube_get(v, "sources");
  kube_node_t *seen = kube_map(c->a);
  for (uint32_t i = 0; i < kube_count(sources); i++) {
    const kube_node_t *s = sources->c.items[i];
    for (int l = 0; l < 3; l++) {
      const kube_node_t *items = kube_get(kube_get(s, lists[l]), "items");
      for (uint32_t k = 0; k < kube_count(items); k++) add_path(c, seen, items->c.items[k]);
    }
    if (kube_get(s, "serviceAccountToken")) add_path(c, seen, kube_get(s, "serviceAccountToken"));
  }
}
