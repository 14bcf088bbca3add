/* Volumes and claims. */
#include <string.h>

#include "kube/values.h"
#include "validate.h"

/* The members of a volume's union that are there. */
static unsigned sources_of(const kube_node_t *v, const kube_type_t *t, kg_str_t *second) {
  unsigned n = 0;
  for (uint32_t i = 0; i < kube_count(v); i++) {
    if (v->c.items[i]->type == KG_V_NIL || !kube_field_find(t, v->c.keys[i])) continue;
    if (n++) *second = v->c.keys[i];
  }
  return n;
}

KUBE_CALL(one_persistent_volume) {
  (void)r, (void)old;
  kg_str_t second = {0};
  const kube_type_t *t = kube_type_find(KG_STR("core.v1.PersistentVolumeSource"));
  unsigned n = sources_of(v, t, &second);
  if (!n) kube_required(c, NULL, "must specify a volume type");
  if (n > 1)
    kube_forbidden(c, kube_arena_fmt(c->a, KG_STR_FMT, KG_STR_ARG(second)), "may not specify more than 1 volume type");
  if (kube_is(kube_get(v, "hostPath"), "path", "/") && kube_is(v, "persistentVolumeReclaimPolicy", "Recycle"))
    kube_forbidden(c, "persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'");
}

/* Where the data is does not change. */
KUBE_CALL(volume_source_kept) {
  (void)r;
  const kube_type_t *t = kube_type_find(KG_STR("core.v1.PersistentVolumeSource"));
  if (!c->old_root) return;
  for (const kube_field_t *f = t->fields; f->name; f++) {
    if (kube_tree_equal(kube_get(v, f->name), kube_get(old, f->name))) continue;
    return kube_forbidden(c, "persistentvolumesource", "spec.persistentvolumesource is immutable after creation");
  }
}

KUBE_CALL(volume_capacity) {
  (void)old;
  if (!kube_count(v)) kube_required(c, r->field, NULL);
  if (kube_count(v) != 1 || !kube_get(v, "storage")) kube_unsupported(c, r->field, v ? v : kube_nil(c->a), "storage");
}

/* Errors of these name the field alone, without what it is in. */
static void told_at_root(kube_check_t *c, const char *field, const kube_node_t *v) {
  char whole[sizeof c->path];
  size_t n = c->n;
  memcpy(whole, c->path, sizeof whole);
  c->n = 0;
  c->path[0] = 0;
  kube_invalid(c, field, v ? v : kube_nil(c->a), "field is immutable");
  memcpy(c->path, whole, sizeof whole);
  c->n = n;
}

KUBE_CALL(kept_once_set) {
  if (c->old_root && !kube_node_empty(old) && !kube_tree_equal(v, old)) told_at_root(c, r->field, v);
}

static void strip_requests(kube_node_t *spec) {
  kube_del(kube_path(spec, "resources", "requests", NULL), "storage");
  kube_del(spec, "volumeAttributesClassName");
}

static bool has_class(const kube_node_t *spec, const kube_node_t *claim) {
  return kube_get(spec, "storageClassName") ||
         kube_path(claim, "metadata", "annotations", "volume.beta.kubernetes.io/storage-class", NULL);
}

/* A claim may ask for more, be given its volume, and a class if it had none, nothing else. */
KUBE_CALL(claim_update) {
  (void)r;
  if (!c->old_root || !old) return;
  kube_node_t *now = kube_tree_clone(c->a, v), *was = kube_tree_clone(c->a, old);
  bool bound = kube_is(kube_get(c->root, "status"), "phase", "Bound");
  const kube_node_t *wanted = kube_node_look(v, "resources.requests.storage"),
                    *had = kube_node_look(old, "resources.requests.storage");
  int64_t a = 0, b = 0, given = 0;
  if (!kube_text(old, "volumeName").n) kube_del(now, "volumeName"), kube_del(was, "volumeName");
  if (!has_class(old, c->old_root)) kube_del(now, "storageClassName");
  if (bound) strip_requests(now), strip_requests(was);
  if (!kube_tree_equal(now, was))
    kube_forbidden(c, NULL,
                   "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
                   "bound claims");
  kube_quantity_milli(kube_node_str(wanted), &a);
  kube_quantity_milli(kube_node_str(had), &b);
  kube_quantity_milli(kube_node_str(kube_node_look(c->old_root, "status.capacity.storage")), &given);
  if (a < b && a <= given) /* what could not grow may be asked for less again */
    kube_forbidden(c, "resources.requests.storage", "field can not be less than status.capacity");
}

KUBE_CALL(qualified_lower) {
  (void)old;
  kg_str_t s = kube_node_str(v);
  char *low = kube_arena_fmt(c->a, KG_STR_FMT, KG_STR_ARG(s));
  for (char *p = low; *p; p++)
    if (*p >= 'A' && *p <= 'Z') *p |= 0x20;
  if (s.n) kube_check_form(c, r->field, kg_str(low), kube_form_qualified_name);
}

enum { MOST_PARAMETERS = 512, MOST_PARAMETER_BYTES = 256 * 1024 };

KUBE_CALL(parameters) {
  (void)r, (void)old;
  size_t bytes = 0;
  if (kube_count(v) > MOST_PARAMETERS) kube_too_long(c, "Provisioner Parameters Length", MOST_PARAMETERS);
  for (uint32_t i = 0; i < kube_count(v); i++) {
    if (!v->c.keys[i].n) kube_invalid_str(c, "parameters", KG_STR(""), "field can not be empty.");
    bytes += v->c.keys[i].n + kube_node_str(v->c.items[i]).n;
  }
  if (bytes > MOST_PARAMETER_BYTES) kube_too_long(c, "parameters", MOST_PARAMETER_BYTES);
}

/* Of an attachment: the driver and the volume once more, in the words of names. */
KUBE_CALL(csi_driver_name) {
  (void)r, (void)old;
  kube_rule_required_form(c, &(kube_check_rule_t){.field = "attacher", .form = kube_form_dns1123_subdomain},
                          kube_get(v, "attacher"), NULL);
}

KUBE_CALL(volume_name) {
  (void)r, (void)old;
  const kube_node_t *name = kube_path(v, "source", "persistentVolumeName", NULL);
  if (name) kube_check_form(c, "source.persistentVolumeName", kube_node_str(name), kube_form_dns1123_subdomain);
}
