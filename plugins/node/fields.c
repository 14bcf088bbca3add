/* What the downward API shows: fields of the pod, resources of a container. */
#include "node.h"

/* "key=\"value\"" a line, sorted as the map is; values quoted as Go's %q does. */
static char *pairs(kg_view_t map) {
  kube_buf_t b = {0};
  for (kg_iter_t it = kg_iter(map); kg_iter_next(&it);) {
    kg_str_t value = kg_view_str(it.value);
    kube_buf_fmt(&b, "%s" KG_STR_FMT "=\"", b.n ? "\n" : "", KG_STR_ARG(kg_view_str(it.key)));
    for (size_t i = 0; i < value.n; i++) {
      char c = value.p[i];
      if (c == '"' || c == '\\')
        kube_buf_fmt(&b, "\\%c", c);
      else if (c == '\n')
        kube_buf_addz(&b, "\\n");
      else if (c == '\t')
        kube_buf_addz(&b, "\\t");
      else if (c == '\r')
        kube_buf_addz(&b, "\\r");
      else if ((unsigned char)c < 32)
        kube_buf_fmt(&b, "\\x%02x", (unsigned char)c);
      else
        kube_buf_add(&b, &c, 1);
    }
    kube_buf_addz(&b, "\"");
  }
  kube_buf_add(&b, "", 1);
  if (!b.failed) return b.p;
  kube_buf_free(&b);
  return NULL;
}

static char *text_of(kg_str_t s) {
  return s.p ? kg_str_dup(s) : strdup("");
}

/* metadata.labels['x'] */
static bool subscript(kg_str_t path, const char *prefix, kg_str_t *key) {
  size_t n = strlen(prefix);
  if (path.n < n + 4 || memcmp(path.p, prefix, n) || memcmp(path.p + n, "['", 2) ||
      memcmp(path.p + path.n - 2, "']", 2))
    return false;
  *key = (kg_str_t){path.p + n + 2, path.n - n - 4};
  return true;
}

static const char *pod_ip(const pod_t *p) {
  return kg_view_bool(kg_view_get(pod_spec(p), "hostNetwork"), false) ? p->agent->ip : p->ip ? p->ip : "";
}

char *field_value(pod_t *p, kg_str_t path, kg_error_t *err) {
  kg_view_t object = pod_object(p), meta = kg_view_get(object, "metadata");
  kg_str_t key;
  if (subscript(path, "metadata.labels", &key))
    return text_of(kg_view_str(kg_view_get_str(kg_view_get(meta, "labels"), key)));
  if (subscript(path, "metadata.annotations", &key))
    return text_of(kg_view_str(kg_view_get_str(kg_view_get(meta, "annotations"), key)));
  if (kg_str_is(path, "metadata.labels")) return pairs(kg_view_get(meta, "labels"));
  if (kg_str_is(path, "metadata.annotations")) return pairs(kg_view_get(meta, "annotations"));
  if (kg_str_is(path, "metadata.name")) return strdup(p->name);
  if (kg_str_is(path, "metadata.namespace")) return strdup(p->ns);
  if (kg_str_is(path, "metadata.uid")) return strdup(p->uid);
  if (kg_str_is(path, "spec.nodeName")) return strdup(p->agent->name);
  if (kg_str_is(path, "spec.serviceAccountName")) return text_of(VIEW_STR(object, "spec", "serviceAccountName"));
  if (kg_str_is(path, "status.hostIP") || kg_str_is(path, "status.hostIPs")) return strdup(p->agent->ip);
  if (kg_str_is(path, "status.podIP") || kg_str_is(path, "status.podIPs")) return strdup(pod_ip(p));
  kg_error_set(err, KG_EINVAL, "unsupported fieldPath: " KG_STR_FMT, KG_STR_ARG(path));
  return NULL;
}

char *resource_value(pod_t *p, kg_view_t ref, const box_t *b, kg_error_t *err) {
  kg_str_t what = kg_view_str(kg_view_get(ref, "resource")), from = kg_view_str(kg_view_get(ref, "containerName"));
  if (from.n) b = pod_box(p, from);
  const char *dot = what.p ? memchr(what.p, '.', what.n) : NULL;
  if (!b || !dot) {
    kg_error_set(err, KG_EINVAL, "unsupported container resource: " KG_STR_FMT, KG_STR_ARG(what));
    return NULL;
  }
  kg_str_t kind = {what.p, (size_t)(dot - what.p)}, name = {dot + 1, what.n - kind.n - 1};
  kg_view_t resources = kg_view_get(box_spec(b), "resources");
  static const char *const common[] = {"cpu", "memory", "ephemeral-storage"};
  int64_t milli = 0, divisor = 1000;
  kg_str_t value = kg_view_str(kg_view_get_str(kg_view_get_str(resources, kind), name));
  if (value.p) kube_quantity_milli(value, &milli);
  for (size_t i = 0; i < 3 && !value.p && kg_str_is(kind, "limits"); i++) /* all the node has to give */
    if (kg_str_is(name, common[i])) milli = node_allocatable(p->agent, common[i]);
  kg_str_t div = kg_view_str(kg_view_get(ref, "divisor"));
  if (div.n && !kg_str_is(div, "0")) kube_quantity_milli(div, &divisor);
  if (divisor <= 0) divisor = 1000;
  return format("%lld", (long long)(milli / divisor + (milli % divisor > 0))); /* rounded up */
}
