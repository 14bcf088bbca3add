/* The defaults that need logic: what `call:NAME` in schema/defaults.txt runs. */
#include <stdlib.h>
#include <string.h>
#include <ctype.h>

#include "default_calls.h"
#include "kube/values.h"

static bool has_text(const kube_node_t *n) {
  return kube_node_str(n).n > 0;
}

/* Whether an image reference means :latest; what is no reference does not. */
static bool wants_latest(kg_str_t image) {
  const char *end = image.p + image.n, *slash = image.p;
  if (!image.n) return false;
  for (const char *p = image.p; p < end; p++) {
    if (!isalnum((unsigned char)*p) && !strchr("._:/@-", *p)) return false;
  }
  for (const char *p = image.p; p < end; p++) {
    if (*p == '@') return false;
    if (*p == '/') slash = p;
  }
  for (const char *p = slash; p < end; p++) {
    if (*p == ':') return kg_str_is((kg_str_t){p + 1, (size_t)(end - p - 1)}, "latest");
  }
  return true;
}

static void pull_policy(kube_arena_t *a, kube_node_t *n, const char *field, const char *image) {
  if (has_text(kube_get(n, field))) return;
  bool latest = wants_latest(kube_node_str(kube_get(n, image)));
  kube_set(a, n, field, kube_str(a, latest ? "Always" : "IfNotPresent"));
}

void kube_default_image_pull_policy(kube_arena_t *a, kube_node_t *n) {
  pull_policy(a, n, "imagePullPolicy", "image");
}

void kube_default_image_volume_pull_policy(kube_arena_t *a, kube_node_t *n) {
  pull_policy(a, n, "pullPolicy", "reference");
}

/* Requests that are not given are what the limits say; only for pods themselves, not for templates. */
static void requests_from_limits(kube_arena_t *a, kube_node_t *owner) {
  kube_node_t *resources = kube_get(owner, "resources"), *limits = kube_get(resources, "limits");
  if (!limits || limits->type != KG_V_MAP || !limits->c.n) return;
  kube_node_t *requests = kube_sub(a, resources, "requests");
  for (uint32_t i = 0; i < limits->c.n; i++) {
    if (!kube_getn(requests, limits->c.keys[i]))
      kube_setn(a, requests, limits->c.keys[i], kube_tree_clone(a, limits->c.items[i]));
  }
}

static void each(kube_arena_t *a, kube_node_t *list, void (*fn)(kube_arena_t *, kube_node_t *)) {
  if (!list || list->type != KG_V_ARRAY) return;
  for (uint32_t i = 0; i < list->c.n; i++) fn(a, list->c.items[i]);
}

/* Negative ones count as one second; in templates they stay. */
void kube_default_grace_period(kube_arena_t *a, kube_node_t *n) {
  kube_node_t *spec = kube_get(n, "spec");
  if (kube_node_int(kube_get(spec, "terminationGracePeriodSeconds"), 0) < 0)
    kube_set(a, spec, "terminationGracePeriodSeconds", kube_int(a, 1));
}

void kube_default_pod_resources(kube_arena_t *a, kube_node_t *n) {
  kube_node_t *spec = kube_get(n, "spec");
  each(a, kube_get(spec, "containers"), requests_from_limits);
  each(a, kube_get(spec, "initContainers"), requests_from_limits);
  if (kube_get(spec, "resources")) requests_from_limits(a, spec);
}

static void host_port(kube_arena_t *a, kube_node_t *port) {
  kube_node_t *container = kube_get(port, "containerPort");
  if (container && kube_node_int(kube_get(port, "hostPort"), 0) == 0)
    kube_set(a, port, "hostPort", kube_tree_clone(a, container));
}
static void container_host_ports(kube_arena_t *a, kube_node_t *container) {
  each(a, kube_get(container, "ports"), host_port);
}
void kube_default_host_ports(kube_arena_t *a, kube_node_t *n) {
  kube_node_t *spec = kube_get(n, "spec");
  if (!kube_node_bool(kube_get(spec, "hostNetwork"), false)) return;
  each(a, kube_get(spec, "containers"), container_host_ports);
  each(a, kube_get(spec, "initContainers"), container_host_ports);
}

/* The old name of the field always says the same. */
void kube_default_service_account(kube_arena_t *a, kube_node_t *n) {
  kube_node_t *name = kube_get(n, "serviceAccountName");
  if (has_text(name)) kube_set(a, n, "serviceAccount", kube_tree_clone(a, name));
}

/* Quantities are kept to thousandths, rounded up. */
static void round_list(kube_arena_t *a, kube_node_t *list) {
  if (!list || list->type != KG_V_MAP) return;
  for (uint32_t i = 0; i < list->c.n; i++) {
    kg_str_t s = kube_node_str(list->c.items[i]);
    int64_t milli;
    if (!s.n || !memchr("nu", s.p[s.n - 1], 2) || kube_quantity_milli(s, &milli) != 0) continue;
    char *text = kube_quantity_canonical(kg_str(kube_arena_fmt(a, "%lldm", (long long)milli)));
    if (text) list->c.items[i] = kube_str(a, text);
    free(text);
  }
}
void kube_default_container_resources(kube_arena_t *a, kube_node_t *n) {
  round_list(a, kube_get(n, "limits"));
  round_list(a, kube_get(n, "requests"));
}

void kube_default_volume_source(kube_arena_t *a, kube_node_t *n) {
  for (uint32_t i = 0; i < n->c.n; i++) {
    if (!kg_str_is(n->c.keys[i], "name") && n->c.items[i]->type != KG_V_NIL) return;
  }
  kube_set(a, n, "emptyDir", kube_map(a));
}

static char *to_base64(kube_arena_t *a, kg_str_t s) {
  char *out = kube_arena_alloc(a, KUBE_BASE64_SIZE(s.n));
  kube_base64(out, s.p, s.n);
  return out;
}

/* stringData is written only: it becomes data. */
void kube_default_string_data(kube_arena_t *a, kube_node_t *n) {
  kube_node_t *from = kube_get(n, "stringData");
  if (!from) return;
  if (from->type == KG_V_MAP && from->c.n) {
    kube_node_t *data = kube_sub(a, n, "data");
    for (uint32_t i = 0; i < from->c.n; i++) {
      kube_setn(a, data, from->c.keys[i], kube_str(a, to_base64(a, kube_node_str(from->c.items[i]))));
    }
  }
  kube_del(n, "stringData");
}

void kube_default_namespace_label(kube_arena_t *a, kube_node_t *n) {
  kube_node_t *meta = kube_sub(a, n, "metadata"), *name = kube_get(meta, "name");
  if (has_text(name)) kube_set(a, kube_sub(a, meta, "labels"), "kubernetes.io/metadata.name", kube_tree_clone(a, name));
}

void kube_default_labels_from_template(kube_arena_t *a, kube_node_t *n) {
  kube_node_t *labels = kube_path(n, "spec", "template", "metadata", "labels", NULL),
              *meta = kube_sub(a, n, "metadata");
  kube_node_t *own = kube_get(meta, "labels");
  if (labels && labels->type == KG_V_MAP && labels->c.n && (!own || own->type != KG_V_MAP || !own->c.n)) {
    kube_set(a, meta, "labels", kube_tree_clone(a, labels));
  }
}

static void fill(kube_arena_t *a, kube_node_t *n, const char *to, const char *from) {
  kube_node_t *source = kube_get(n, from);
  if (!source || source->type != KG_V_MAP || !source->c.n) return;
  kube_node_t *target = kube_sub(a, n, to);
  for (uint32_t i = 0; i < source->c.n; i++) {
    if (!kube_getn(target, source->c.keys[i]))
      kube_setn(a, target, source->c.keys[i], kube_tree_clone(a, source->c.items[i]));
  }
}
void kube_default_limit_range(kube_arena_t *a, kube_node_t *n) {
  if (!kg_str_is(kube_node_str(kube_get(n, "type")), "Container")) return;
  fill(a, n, "default", "max");
  fill(a, n, "defaultRequest", "default");
  fill(a, n, "defaultRequest", "min");
}

void kube_default_crd_names(kube_arena_t *a, kube_node_t *n) {
  kube_node_t *names = kube_sub(a, n, "names");
  kg_str_t kind = kube_node_str(kube_get(names, "kind"));
  if (!kind.n) return;
  if (!has_text(kube_get(names, "singular"))) {
    char *low = kube_arena_fmt(a, KG_STR_FMT, KG_STR_ARG(kind));
    for (char *p = low; *p; p++) *p = (char)tolower((unsigned char)*p);
    kube_set(a, names, "singular", kube_str(a, low));
  }
  if (!has_text(kube_get(names, "listKind")))
    kube_set(a, names, "listKind", kube_strf(a, KG_STR_FMT "List", KG_STR_ARG(kind)));
}

/* podCIDR is the first of podCIDRs. */
void kube_default_pod_cidrs(kube_arena_t *a, kube_node_t *n) {
  kube_node_t *one = kube_get(n, "podCIDR"), *list = kube_get(n, "podCIDRs");
  if (has_text(one) && (!list || list->type != KG_V_ARRAY || !list->c.n)) {
    kube_set(a, n, "podCIDRs", list = kube_array(a));
    kube_push(a, list, kube_tree_clone(a, one));
  } else if (!has_text(one) && list && list->type == KG_V_ARRAY && list->c.n) {
    kube_set(a, n, "podCIDR", kube_tree_clone(a, list->c.items[0]));
  }
}

static void claim_kind(kube_arena_t *a, kube_node_t *claim) {
  kube_set(a, claim, "kind", kube_str(a, "PersistentVolumeClaim"));
  kube_set(a, claim, "apiVersion", kube_str(a, "v1"));
}
void kube_default_claim_templates(kube_arena_t *a, kube_node_t *n) {
  each(a, kube_get(n, "volumeClaimTemplates"), claim_kind);
}

/* How long a client stays with its pod, where clients do. */
void kube_default_session_affinity(kube_arena_t *a, kube_node_t *n) {
  if (!kg_str_is(kube_node_str(kube_get(n, "sessionAffinity")), "ClientIP")) {
    if (kg_str_is(kube_node_str(kube_get(n, "sessionAffinity")), "None")) kube_del(n, "sessionAffinityConfig");
    return;
  }
  kube_node_t *client = kube_sub(a, kube_sub(a, n, "sessionAffinityConfig"), "clientIP");
  if (!kube_get(client, "timeoutSeconds")) kube_set(a, client, "timeoutSeconds", kube_int(a, 10800));
}
