/* What the server does to an object's metadata. */
#include <stdio.h>
#include <string.h>

#include "api.h"

bool node_is(const kube_node_t *n, const char *z) {
  return kg_str_is(kube_node_str(n), z);
}

kg_str_t path_str(const kube_node_t *object, const char *a, const char *b) {
  return kube_node_str(kube_path(object, a, b, NULL));
}

void meta_uuid(kg_ctx_t *ctx, char buf[40]) {
  uint64_t a = kg_random(ctx), b = kg_random(ctx);
  a = (a & ~0xf000ull) | 0x4000;                            /* version 4 */
  b = (b & ~0xc000000000000000ull) | 0x8000000000000000ull; /* variant */
  snprintf(buf, 40, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff),
           (unsigned)(a & 0xffff), (unsigned)(b >> 48), (unsigned long long)(b & 0xffffffffffffull));
}

static void random_suffix(kg_ctx_t *ctx, char buf[6]) {
  static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789"; /* no vowels: no words by chance */
  uint64_t v = kg_random(ctx);
  for (int i = 0; i < 5; i++, v /= 27) buf[i] = alphabet[v % 27];
  buf[5] = '\0';
}

bool meta_name(write_t *w, kube_node_t *object) {
  kube_arena_t *a = w->arena;
  kube_node_t *meta = kube_sub(a, object, "metadata");
  kg_str_t ns = kube_node_str(kube_get(meta, "namespace")), name = kube_node_str(kube_get(meta, "name"));
  kg_str_t base = kube_node_str(kube_get(meta, "generateName"));
  if (!w->q.r->namespaced) kube_del(meta, "namespace");
  if (w->q.r->namespaced && ns.n && !kg_str_eq(ns, w->q.ns))
    return fault_bad(&w->fault,
                     "the namespace of the provided object does not match the namespace sent on the request");
  if (w->q.name.n && name.n && !kg_str_eq(name, w->q.name))
    return fault_bad(&w->fault,
                     "the name of the object (" KG_STR_FMT ") does not match the name on the URL (" KG_STR_FMT ")",
                     KG_STR_ARG(name), KG_STR_ARG(w->q.name));
  if (w->q.r->namespaced) kube_set(a, meta, "namespace", kube_strn(a, w->q.ns));
  if (!name.n && w->q.name.n) {
    name = w->q.name;
    kube_set(a, meta, "name", kube_strn(a, name));
  }
  if (!name.n && base.n) {
    char suffix[6];
    random_suffix(w->q.ctx, suffix);
    kube_node_t *full = kube_strf(a, KG_STR_FMT "%s", (int)(base.n > 58 ? 58 : base.n), base.p, suffix);
    kube_set(a, meta, "name", full);
    name = kube_node_str(full);
    w->generated = true;
  }
  if (!name.n && is_resource(w->q.r, "", "limitranges")) {
    char uid[40];
    meta_uuid(w->q.ctx, uid);
    kube_set(a, meta, "name", kube_str(a, uid));
    name = kube_node_str(kube_get(meta, "name"));
  }
  w->q.name = name;
  return true;
}

bool meta_matches(write_t *w, kube_node_t *object) {
  kube_node_t *meta = kube_sub(w->arena, object, "metadata");
  kg_str_t name = kube_node_str(kube_get(meta, "name")), ns = kube_node_str(kube_get(meta, "namespace"));
  if (name.n && !kg_str_eq(name, w->q.name))
    return fault_bad(&w->fault,
                     "the name of the object (" KG_STR_FMT ") does not match the name on the URL (" KG_STR_FMT ")",
                     KG_STR_ARG(name), KG_STR_ARG(w->q.name));
  if (!name.n) kube_set(w->arena, meta, "name", kube_strn(w->arena, w->q.name));
  if (w->q.r->namespaced && ns.n && !kg_str_eq(ns, w->q.ns))
    return w->verb == W_UPDATE
               ? fault_bad(&w->fault,
                           "the namespace of the object (" KG_STR_FMT
                           ") does not match the namespace on the request (" KG_STR_FMT ")",
                           KG_STR_ARG(ns), KG_STR_ARG(w->q.ns))
               : fault_bad(&w->fault,
                           "the namespace of the provided object does not match the namespace sent on the request");
  if (w->q.r->namespaced)
    kube_set(w->arena, meta, "namespace", kube_strn(w->arena, w->q.ns));
  else
    kube_del(meta, "namespace");
  return true;
}

static void put_first(kube_arena_t *a, kube_node_t *meta, const char *const *keys) {
  kube_node_t *old = kube_map(a);
  *old = *meta;
  kube_node_t *sorted = kube_map(a);
  for (; *keys; keys++) {
    kube_node_t *v = kube_get(old, *keys);
    if (v) kube_set(a, sorted, *keys, v);
  }
  for (uint32_t i = 0; i < old->c.n; i++)
    if (!kube_getn(sorted, old->c.keys[i])) kube_setn(a, sorted, old->c.keys[i], old->c.items[i]);
  *meta = *sorted;
}

static const char *const meta_order[] = {"name",       "generateName",      "namespace", "uid",
                                         "generation", "creationTimestamp", NULL};

void meta_created(write_t *w, kube_node_t *object) {
  kube_arena_t *a = w->arena;
  kube_node_t *meta = kube_sub(a, object, "metadata");
  char uid[40], now[32];
  meta_uuid(w->q.ctx, uid);
  kube_time_format(kg_wall_us(w->q.ctx), now);
  static const char *const server_owned[] = {"resourceVersion", "selfLink", "deletionTimestamp",
                                             "deletionGracePeriodSeconds", "generation"};
  for (size_t i = 0; i < sizeof server_owned / sizeof *server_owned; i++) kube_del(meta, server_owned[i]);
  kube_set(a, meta, "uid", kube_str(a, uid));
  if (w->q.r->has_spec) kube_set(a, meta, "generation", kube_int(a, 1));
  kube_set(a, meta, "creationTimestamp", kube_str(a, now));
  put_first(a, meta, meta_order);
}

void meta_carry(write_t *w, kube_node_t *object, const kube_node_t *old) {
  static const char *const kept[] = {"creationTimestamp", "generation"}, *const once[] = {"uid", "deletionTimestamp",
                                                                                          "deletionGracePeriodSeconds"};
  kube_node_t *meta = kube_sub(w->arena, object, "metadata"), *v;
  const kube_node_t *before = kube_get(old, "metadata");
  for (size_t i = 0; i < 2; i++) {
    if ((v = kube_get(before, kept[i])))
      kube_set(w->arena, meta, kept[i], v);
    else
      kube_del(meta, kept[i]);
  }
  for (size_t i = 0; i < 3; i++) {
    if (i == 0 && kube_node_str(kube_get(meta, "uid")).n) continue; /* validation says whether it is the right one */
    if ((v = kube_get(before, once[i]))) kube_set(w->arena, meta, once[i], v);
  }
  kube_del(meta, "selfLink");
  kube_del(meta, "resourceVersion");
  put_first(w->arena, meta, meta_order);
}

static bool counts(kg_str_t key, bool status) {
  static const char *const not_counted[] = {"metadata", "kind", "apiVersion", "status"};
  for (size_t i = 0; i < (status ? 3 : 4); i++)
    if (kg_str_is(key, not_counted[i])) return false;
  return true;
}

static bool spec_differs(const kube_node_t *x, const kube_node_t *y, bool status) {
  for (uint32_t i = 0; i < x->c.n; i++)
    if (counts(x->c.keys[i], status) && !kube_tree_equal(x->c.items[i], kube_getn(y, x->c.keys[i]))) return true;
  return false;
}

void meta_generation(write_t *w, kube_node_t *object, const kube_node_t *old) {
  if (!w->q.r->has_spec) return;
  int64_t generation = kube_node_int(kube_path(old, "metadata", "generation", NULL), 0);
  bool status = w->q.r->structural && !w->q.r->has_status; /* then the status is like anything else */
  if (spec_differs(object, old, status) || spec_differs(old, object, status)) generation++;
  if (generation)
    kube_set(w->arena, kube_sub(w->arena, object, "metadata"), "generation", kube_int(w->arena, generation));
}

size_t meta_finalizers(const kube_node_t *object) {
  const kube_node_t *list = kube_path(object, "metadata", "finalizers", NULL);
  return list && list->type == KG_V_ARRAY ? list->c.n : 0;
}

bool meta_deleting(const kube_node_t *object) {
  return kube_path(object, "metadata", "deletionTimestamp", NULL) != NULL;
}
