#include <stdio.h>
#include <stdlib.h>

#include "gc.h"

bool has_finalizer(kg_view_t object, const char *name) {
  for (kg_iter_t it = kg_iter(kg_view_path(object, "metadata", "finalizers", NULL)); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(it.value), name)) return true;
  return false;
}

bool in_foreground(kg_view_t object) {
  return kube_deleting(object) && has_finalizer(object, "foregroundDeletion");
}

/* The number of its kind goes before the usual key. */
void gc_enqueue(kg_ctx_t *ctx, gcc_t *c, const gc_kind_t *k, kg_view_t object) {
  char key[CTL_KEY_MAX], full[CTL_KEY_MAX + 12];
  snprintf(full, sizeof full, "%u:%s", k->number, ctl_key(object, key));
  ctl_work_add(ctx, &c->base.work, full);
}

static kg_doc_t *owner_of(const gcc_t *c, kg_view_t object, kg_view_t ref, gc_kind_t **k) {
  kg_str_t none = {NULL, 0};
  *k = kind_find(c, kg_view_str(kg_view_get(ref, "apiVersion")), kg_view_str(kg_view_get(ref, "kind")));
  kg_doc_t *doc = *k ? kube_informer_get((*k)->informer, (*k)->kind.namespaced ? kube_namespace(object) : none,
                                         kg_view_str(kg_view_get(ref, "name")))
                     : NULL;
  bool same = doc && kg_str_eq(kube_uid(kg_view_of(doc)), kg_view_str(kg_view_get(ref, "uid")));
  return same ? doc : NULL;
}

/* Is there something to find out about its owners, by what the caches show? */
static void consider(kg_ctx_t *ctx, gcc_t *c, const gc_kind_t *k, kg_view_t object) {
  gc_kind_t *owner_kind;
  for (kg_iter_t it = kg_iter(kg_view_path(object, "metadata", "ownerReferences", NULL)); kg_iter_next(&it);) {
    kg_doc_t *owner = owner_of(c, object, it.value, &owner_kind);
    if (!owner || in_foreground(kg_view_of(owner))) return gc_enqueue(ctx, c, k, object);
  }
}

/* Owners that wait may have waited for this. */
static void wake_owners(kg_ctx_t *ctx, gcc_t *c, kg_view_t object) {
  gc_kind_t *k;
  for (kg_iter_t it = kg_iter(kg_view_path(object, "metadata", "ownerReferences", NULL)); kg_iter_next(&it);) {
    kg_doc_t *owner = owner_of(c, object, it.value, &k);
    if (owner && in_foreground(kg_view_of(owner))) gc_enqueue(ctx, c, k, kg_view_of(owner));
  }
}

static void wake_dependents(kg_ctx_t *ctx, gcc_t *c, kg_view_t gone) {
  for (edge_t *e = NULL; (e = graph_next(c, kube_uid(gone), e));)
    gc_enqueue(ctx, c, c->kinds[e->kind], kg_view_of(e->doc));
}

void gc_changed(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  gcc_t *c = self;
  const gc_kind_t *k = arg;
  kg_view_t before = kg_view_path(old, "metadata", "ownerReferences", NULL),
            after = kg_view_path(now, "metadata", "ownerReferences", NULL);
  if (change != KUBE_ADDED) graph_remove(c, k, old);
  if (change != KUBE_DELETED && kg_view_there(after))
    graph_add(c, k, kube_informer_get(k->informer, kube_namespace(now), kube_name(now)));
  if (change == KUBE_DELETED || !kg_str_eq(kube_uid(old), kube_uid(now))) wake_dependents(ctx, c, old);
  if (!c->base.work.queue) return;
  if (change != KUBE_ADDED && kg_view_there(before) && (change == KUBE_DELETED || !kg_view_equal(before, after)))
    wake_owners(ctx, c, old);
  if (change == KUBE_DELETED) return;
  if (kube_deleting(now) && (has_finalizer(now, "orphan") || has_finalizer(now, "foregroundDeletion")))
    gc_enqueue(ctx, c, k, now);
  else if (kg_view_there(after) && (change == KUBE_ADDED || !kg_view_equal(before, after)))
    consider(ctx, c, k, now);
}

void gc_consider_all(kg_ctx_t *ctx, gcc_t *c) {
  kg_doc_t *doc;
  for (unsigned i = 0; i < c->nkinds; i++) {
    gc_kind_t *k = c->kinds[i];
    for (size_t d = 0; k->informer && (doc = kube_informer_at(k->informer, d)); d++) {
      kg_view_t v = kg_view_of(doc);
      if (kube_deleting(v) && (has_finalizer(v, "orphan") || has_finalizer(v, "foregroundDeletion")))
        gc_enqueue(ctx, c, k, v);
      else
        consider(ctx, c, k, v);
    }
  }
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)err;
  kinds_discover(ctx, self);
  return 0;
}

static void active(kg_ctx_t *ctx, void *self) {
  gc_consider_all(ctx, self);
}

static void stats(void *self, kg_pack_t *p) {
  const gcc_t *c = self;
  int64_t objects = 0;
  for (unsigned i = 0; i < c->nkinds; i++)
    if (c->kinds[i]->informer) objects += (int64_t)kube_informer_count(c->kinds[i]->informer);
  kg_pack_kv_int(p, "kinds", c->nkinds);
  kg_pack_kv_int(p, "objects", objects);
  kg_pack_kv_int(p, "edges", (int64_t)c->nedges);
  kg_pack_kv_int(p, "deleted", (int64_t)c->deleted);
}

static void end(kg_ctx_t *ctx, void *self) {
  kinds_free(ctx, self);
  graph_free(self);
}

static const ctl_spec_t spec = {.size = sizeof(gcc_t),
                                .component = "garbage-collector-controller",
                                .sync = gc_sync,
                                .active = active,
                                .start = start,
                                .stats = stats,
                                .end = end};

static const char *const services[] = {"controller/gc", NULL}; /* who asks whether it is well */
CTL_PLUGIN(spec, .name = "controller-gc", .services = services, .summary = "Deletes objects whose owners are gone");
