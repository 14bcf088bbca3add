/* The environment of a container: services, envFrom, env, with $(NAME) filled in. */
#include <ctype.h>

#include "node.h"

static int find(const env_t *e, kg_str_t name) {
  for (size_t i = 0; i < e->n; i++)
    if (kg_str_is(name, e->names[i])) return (int)i;
  return -1;
}

void env_set(env_t *e, kg_str_t name, const char *value) {
  int i = find(e, name);
  if (i >= 0) {
    set_str(&e->values[i], strdup(value));
    return;
  }
  if (e->n == e->room) {
    size_t room = e->room ? 2 * e->room : 32;
    char **names = realloc(e->names, room * sizeof *names);
    if (names) e->names = names;
    char **values = realloc(e->values, room * sizeof *values);
    if (values) e->values = values;
    if (!names || !values) return;
    e->room = room;
  }
  e->names[e->n] = kg_str_dup(name);
  e->values[e->n++] = strdup(value);
}

const char *env_get(const env_t *e, kg_str_t name) {
  int i = find(e, name);
  return i < 0 ? NULL : e->values[i];
}

void env_free(env_t *e) {
  for (size_t i = 0; i < e->n; i++) free(e->names[i]), free(e->values[i]);
  free(e->names);
  free(e->values);
  *e = (env_t){0};
}

char *env_expand(const env_t *e, kg_str_t text) {
  kube_buf_t b = {0};
  for (size_t i = 0; i < text.n; i++) {
    const char *p = text.p + i, *close = NULL;
    if (*p != '$' || i + 1 == text.n) {
      kube_buf_add(&b, p, 1);
      continue;
    }
    if (p[1] == '(') close = memchr(p, ')', text.n - i);
    const char *value = close ? env_get(e, (kg_str_t){p + 2, (size_t)(close - p - 2)}) : NULL;
    if (value)
      kube_buf_addz(&b, value);
    else if (p[1] == '$')
      kube_buf_add(&b, "$", 1);
    else if (close)
      kube_buf_add(&b, p, (size_t)(close - p + 1));
    else
      kube_buf_add(&b, p, 2);
    i = close ? (size_t)(close - text.p) : i + 1;
  }
  kube_buf_add(&b, "", 1);
  if (!b.failed) return b.p;
  kube_buf_free(&b);
  return NULL;
}

/* --- services
 * --------------------------------------------------------------------------------------------------------- */

static void set_named(env_t *e, const char *prefix, const char *suffix, const char *value) {
  char *name = format("%s%s", prefix, suffix);
  if (name && value) env_set(e, kg_str(name), value);
  free(name);
}

static char *upper(kg_str_t name) {
  char *s = kg_str_dup(name);
  for (char *c = s; c && *c; c++) *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
  return s;
}

static void port_env(env_t *e, const char *prefix, kg_str_t ip, kg_view_t port, bool first) {
  int64_t number = kg_view_int(kg_view_get(port, "port"), 0);
  kg_str_t proto = kg_view_str(kg_view_get(port, "protocol")), name = kg_view_str(kg_view_get(port, "name"));
  char *up = upper(proto.n ? proto : KG_STR("TCP")), *low = strdup(up);
  for (char *c = low; c && *c; c++) *c = (char)tolower((unsigned char)*c);
  char *text = format("%lld", (long long)number);
  char *url = format("%s://" KG_STR_FMT ":%lld", low, KG_STR_ARG(ip), (long long)number);
  char *base = format("%s_PORT_%lld_%s", prefix, (long long)number, up);
  char *address = kg_str_dup(ip);
  if (first) set_named(e, prefix, "_SERVICE_PORT", text), set_named(e, prefix, "_PORT", url);
  if (name.n) {
    char *part = upper(name), *full = format("%s_SERVICE_PORT_%s", prefix, part);
    set_named(e, full, "", text);
    free(part), free(full);
  }
  set_named(e, base, "", url);
  set_named(e, base, "_PROTO", low);
  set_named(e, base, "_PORT", text);
  set_named(e, base, "_ADDR", address);
  free(up), free(low), free(text), free(url), free(base), free(address);
}

static void service_env(env_t *e, kg_view_t service) {
  kg_str_t ip = VIEW_STR(service, "spec", "clusterIP");
  if (!ip.n || kg_str_is(ip, "None")) return;
  char *prefix = upper(kube_name(service)), *address = kg_str_dup(ip);
  set_named(e, prefix, "_SERVICE_HOST", address);
  bool first = true;
  for (kg_iter_t it = kg_iter(kg_view_path(service, "spec", "ports", NULL)); kg_iter_next(&it); first = false)
    port_env(e, prefix, ip, it.value, first);
  free(prefix);
  free(address);
}

static void services_env(pod_t *p, env_t *e) {
  kube_informer_t *inf = p->agent->services;
  if (!inf) return;
  kg_doc_t *api = kube_informer_get(inf, KG_STR("default"), KG_STR("kubernetes"));
  if (api) service_env(e, kg_view_of(api));
  if (!kg_view_bool(kg_view_get(pod_spec(p), "enableServiceLinks"), true)) return;
  size_t first, count;
  kube_informer_ns(inf, kg_str(p->ns), &first, &count);
  for (size_t i = first; i < first + count; i++) service_env(e, kg_view_of(kube_informer_at(inf, i)));
}

/* --- values from elsewhere
 * ---------------------------------------------------------------------------------------------- */

/* The configMap or secret `name` of the pod's name space: absent with a sentence if there is none. */
kg_view_t config_object(pod_t *p, bool secret, kg_str_t name, kg_error_t *err) {
  kube_informer_t *inf = secret ? agent_secrets(p->agent) : agent_configmaps(p->agent);
  kg_doc_t *doc = inf ? kube_informer_get(inf, kg_str(p->ns), name) : NULL;
  if (!doc && inf && !kube_informer_synced(inf))
    kg_error_set(err, KG_EUNAVAILABLE, "failed to sync %s cache: timed out waiting for the condition",
                 secret ? "secret" : "configmap");
  else if (!doc)
    kg_error_set(err, KG_ENOTFOUND, "%s \"" KG_STR_FMT "\" not found", secret ? "secret" : "configmap",
                 KG_STR_ARG(name));
  return kg_view_of(doc);
}

/* Value of one key, decoded; malloc'ed; NULL if there is no such key. */
char *config_key(kg_view_t object, bool secret, kg_str_t key, size_t *n) {
  kg_view_t v = kg_view_get_str(kg_view_get(object, "data"), key);
  if (!kg_view_there(v) && !secret) {
    v = kg_view_get_str(kg_view_get(object, "binaryData"), key);
    secret = true;
  }
  if (!kg_view_there(v)) return NULL;
  kg_str_t s = kg_view_str(v);
  if (secret) return kube_base64_decode(s, n);
  *n = s.n;
  return s.p ? kg_str_dup(s) : strdup("");
}

/* 0 with *value (NULL: optional and absent), or -1. */
static int key_ref(pod_t *p, kg_view_t ref, bool secret, char **value, kg_error_t *err) {
  bool optional = kg_view_bool(kg_view_get(ref, "optional"), false);
  kg_str_t key = kg_view_str(kg_view_get(ref, "key"));
  kg_view_t object = config_object(p, secret, kg_view_str(kg_view_get(ref, "name")), err);
  *value = NULL;
  if (!kg_view_there(object)) return optional && (!err || err->code == KG_ENOTFOUND) ? 0 : -1;
  size_t n;
  *value = config_key(object, secret, key, &n);
  if (*value || optional) return 0;
  return kg_error_set(err, KG_ENOTFOUND, "couldn't find key " KG_STR_FMT " in %s %s/" KG_STR_FMT, KG_STR_ARG(key),
                      secret ? "Secret" : "ConfigMap", p->ns, KG_STR_ARG(VIEW_STR(ref, "name")));
}

static int env_from(pod_t *p, env_t *e, kg_view_t from, kg_error_t *err) {
  bool secret = kg_view_there(kg_view_get(from, "secretRef"));
  kg_view_t ref = kg_view_get(from, secret ? "secretRef" : "configMapRef");
  kg_view_t object = config_object(p, secret, kg_view_str(kg_view_get(ref, "name")), err);
  if (!kg_view_there(object))
    return kg_view_bool(kg_view_get(ref, "optional"), false) && (!err || err->code == KG_ENOTFOUND) ? 0 : -1;
  for (kg_iter_t it = kg_iter(kg_view_get(object, "data")); kg_iter_next(&it);) {
    size_t n;
    char *value = config_key(object, secret, kg_view_str(it.key), &n);
    char *name = format(KG_STR_FMT KG_STR_FMT, KG_STR_ARG(VIEW_STR(from, "prefix")), KG_STR_ARG(kg_view_str(it.key)));
    if (name && value && *name && !strchr(name, '=')) env_set(e, kg_str(name), value);
    free(name);
    free(value);
  }
  return 0;
}

static int one_env(box_t *b, env_t *e, kg_view_t var, kg_error_t *err) {
  kg_view_t from = kg_view_get(var, "valueFrom"), ref;
  pod_t *p = b->pod;
  char *value = NULL;
  int r = 0;
  if (!kg_view_there(from) || kg_view_type(from) == KG_V_NIL)
    value = env_expand(e, kg_view_str(kg_view_get(var, "value")));
  else if (kg_view_there(ref = kg_view_get(from, "configMapKeyRef")))
    r = key_ref(p, ref, false, &value, err);
  else if (kg_view_there(ref = kg_view_get(from, "secretKeyRef")))
    r = key_ref(p, ref, true, &value, err);
  else if (kg_view_there(ref = kg_view_get(from, "fileKeyRef")))
    r = file_key(p, ref, &value, err);
  else if (kg_view_there(ref = kg_view_get(from, "fieldRef")))
    r = (value = field_value(p, kg_view_str(kg_view_get(ref, "fieldPath")), err)) ? 0 : -1;
  else if (kg_view_there(ref = kg_view_get(from, "resourceFieldRef")))
    r = (value = resource_value(p, ref, b, err)) ? 0 : -1;
  else
    r = kg_error_set(err, KG_EINVAL, "environment variable \"" KG_STR_FMT "\" has a source that is not supported",
                     KG_STR_ARG(VIEW_STR(var, "name")));
  if (value) env_set(e, kg_view_str(kg_view_get(var, "name")), value);
  free(value);
  return r;
}

int env_build(box_t *b, env_t *e, kg_error_t *err) {
  kg_view_t spec = box_spec(b);
  services_env(b->pod, e);
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "envFrom")); kg_iter_next(&it);)
    if (env_from(b->pod, e, it.value, err)) return -1;
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "env")); kg_iter_next(&it);)
    if (one_env(b, e, it.value, err)) return -1;
  return 0;
}
