/* StorageObjectInUse: volumes and claims that are in use stay, marked by a finalizer, until nobody uses them. */
#include <stdlib.h>
#include <string.h>

#include "api.h"

#define CLAIM_MARK "kubernetes.io/pvc-protection"
#define VOLUME_MARK "kubernetes.io/pv-protection"

static const char *mark_of(const kube_resource_t *r) {
  return is_resource(r, "", "persistentvolumeclaims") ? CLAIM_MARK
         : is_resource(r, "", "persistentvolumes")    ? VOLUME_MARK
                                                      : NULL;
}

void protect_created(write_t *w, kube_node_t *object) {
  const char *mark = mark_of(w->q.r);
  kube_node_t *meta = kube_sub(w->arena, object, "metadata"), *list = kube_get(meta, "finalizers");
  if (!mark) return;
  if (!list || list->type != KG_V_ARRAY) kube_set(w->arena, meta, "finalizers", list = kube_array(w->arena));
  for (uint32_t i = 0; i < list->c.n; i++)
    if (node_is(list->c.items[i], mark)) return;
  kube_push(w->arena, list, kube_str(w->arena, mark));
}

/* --- growing (PersistentVolumeClaimResize) ------------------------------------------------------------------------ */

static int64_t asked(const kube_node_t *claim) {
  int64_t milli = 0;
  kube_quantity_milli(kube_node_str(kube_path(claim, "spec", "resources", "requests", "storage", NULL)), &milli);
  return milli;
}

static kg_str_t class_name(const kube_node_t *claim) {
  kg_str_t s =
      kube_node_str(kube_path(claim, "metadata", "annotations", "volume.beta.kubernetes.io/storage-class", NULL));
  return s.n ? s : kube_node_str(kube_path(claim, "spec", "storageClassName", NULL));
}

static bool may_grow(const write_t *w, const kube_node_t *object, const kube_node_t *old) {
  kg_str_t name = class_name(object);
  collection_t *c = cache_find(w->q.api, "storage.k8s.io", "storageclasses");
  const object_t *class = name.n && c ? sorted_get(&c->objects, name) : NULL;
  return class && kg_str_eq(name, class_name(old)) &&
         kg_view_bool(kg_view_get(object_view(class), "allowVolumeExpansion"), false);
}

bool protect_grown(write_t *w, const kube_node_t *object, const kube_node_t *old) {
  if (!is_resource(w->q.r, "", "persistentvolumeclaims") || asked(object) <= asked(old)) return true;
  if (!node_is(kube_path(old, "status", "phase", NULL), "Bound"))
    return fault_forbidden(&w->fault, w->q.r, w->q.name, "Only bound persistent volume claims can be expanded");
  return may_grow(w, object, old) ||
         fault_forbidden(&w->fault, w->q.r, w->q.name,
                         "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc "
                         "must support resize");
}

/* --- when a volume's phase changed -------------------------------------------------------------------------------- */

void protect_phase(write_t *w, kube_node_t *object, const kube_node_t *old) {
  char now[32];
  const kube_node_t *phase = kube_path(object, "status", "phase", NULL);
  if (!is_resource(w->q.r, "", "persistentvolumes") || !phase ||
      kube_tree_equal(phase, kube_path(old, "status", "phase", NULL)))
    return;
  kube_time_format(kg_wall_us(w->q.ctx), now);
  kube_set(w->arena, kube_sub(w->arena, object, "status"), "lastPhaseTransitionTime", kube_str(w->arena, now));
}

/* --- who uses a claim -------------------------------------------------------------------------------------------- */

static bool runs(kg_view_t pod) {
  kg_str_t phase = kg_view_str(kg_view_path(pod, "status", "phase", NULL));
  return kg_view_str(kg_view_path(pod, "spec", "nodeName", NULL)).n && !kg_str_is(phase, "Succeeded") &&
         !kg_str_is(phase, "Failed");
}

static bool mounts(kg_view_t pod, kg_str_t claim) {
  kg_str_t name = kube_name(pod);
  for (kg_iter_t it = kg_iter(kg_view_path(pod, "spec", "volumes", NULL)); kg_iter_next(&it);) {
    if (kg_str_eq(kg_view_str(kg_view_path(it.value, "persistentVolumeClaim", "claimName", NULL)), claim)) return true;
    kg_str_t volume = arg_str(it.value, "name");
    bool own = kg_view_there(kg_view_get(it.value, "ephemeral")) && claim.n == name.n + 1 + volume.n &&
               !memcmp(claim.p, name.p, name.n) && claim.p[name.n] == '-' &&
               !memcmp(claim.p + name.n + 1, volume.p, volume.n);
    if (own) return true;
  }
  return false;
}

static bool claim_used(api_t *api, kg_view_t claim) {
  collection_t *pods = cache_find(api, "", "pods");
  selection_t s = {.ns = kube_namespace(claim), .r = pods ? pods->r : NULL};
  sorted_pos_t pos = pods ? selection_seek(&s, &pods->objects) : (sorted_pos_t){0, 0};
  for (object_t *o; pods && (o = sorted_at(&pods->objects, &pos)) && !selection_ends(&s, o);)
    if (runs(object_view(o)) && mounts(object_view(o), kube_name(claim))) return true;
  return false;
}

static bool in_use(api_t *api, const collection_t *c, kg_view_t object) {
  if (!strcmp(c->r->resource, "persistentvolumeclaims")) return claim_used(api, object);
  return kg_str_is(kg_view_str(kg_view_path(object, "status", "phase", NULL)), "Bound");
}

/* --- letting go -------------------------------------------------------------------------------------------------- */

static bool marked(kg_view_t object, const char *mark) {
  for (kg_iter_t it = kg_iter(kg_view_path(object, "metadata", "finalizers", NULL)); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(it.value), mark)) return true;
  return false;
}

static void on_unmarked(write_t *w, void *arg) {
  (void)arg;
  if (w->fault.code && w->fault.code != 404)
    kg_log(w->q.ctx, KG_LOG_WARN, "a protected volume or claim could not be let go: %s", w->fault.message);
}

static void unmark(api_t *api, const collection_t *c, kg_view_t object, const char *mark) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "metadata");
  kg_pack_map(&p);
  kg_pack_key(&p, "finalizers");
  kg_pack_array(&p);
  for (kg_iter_t it = kg_iter(kg_view_path(object, "metadata", "finalizers", NULL)); kg_iter_next(&it);)
    if (!kg_str_is(kg_view_str(it.value), mark)) kg_pack_view(&p, it.value);
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_doc_t *body = kg_pack_doc(&p);
  write_t *w = write_new(api, c->r, W_PATCH, kube_namespace(object), kube_name(object), body);
  kg_doc_unref(body);
  if (w) w->then = on_unmarked;
  write_run(w);
}

static size_t let_go(api_t *api, collection_t *c) {
  const char *mark = mark_of(c->r);
  object_t **free_now = malloc((c->objects.count + 1) * sizeof *free_now);
  size_t n = 0, going = 0;
  sorted_pos_t pos = {0, 0};
  for (object_t *o; free_now && (o = sorted_at(&c->objects, &pos));) {
    if (!kube_deleting(object_view(o)) || !marked(object_view(o), mark)) continue;
    going++;
    if (!in_use(api, c, object_view(o))) free_now[n++] = object_ref(o);
  }
  for (size_t i = 0; i < n; i++) {
    unmark(api, c, object_view(free_now[i]), mark);
    object_unref(free_now[i]);
  }
  free(free_now);
  return going - n;
}

static void on_protect(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  api_t *api = self;
  api->protect_timer = 0;
  api->held = 0;
  collection_t *claims = cache_find(api, "", "persistentvolumeclaims"),
               *volumes = cache_find(api, "", "persistentvolumes");
  if (claims) api->held += let_go(api, claims);
  if (volumes) api->held += let_go(api, volumes);
}

/* A change that may let something go: looked at once, after this handler. */
void protect_seen(api_t *api, const collection_t *c, const object_t *now) {
  bool one = mark_of(c->r) && now && kube_deleting(object_view(now));
  bool user = api->held && is_resource(c->r, "", "pods") && (!now || !runs(object_view(now)));
  if ((one || user) && !api->protect_timer) api->protect_timer = kg_timer(api->ctx, 0, 0, on_protect, NULL);
}
