/*
 * One pass over one object: do its owners exist? An owner that the cache does not show is asked for before anything is
 * deleted. All writes are guarded by the state that was judged.
 */
#include <stdlib.h>
#include <string.h>

#include "gc.h"

static kube_call_t call_for(pass_t *p, const gc_kind_t *k, kg_view_t object) {
  return (kube_call_t){.gvr = {k->kind.group, k->kind.version, k->kind.resource},
                       .ns = ctl_text(p->arena, kube_namespace(object)),
                       .name = ctl_text(p->arena, kube_name(object)),
                       .grace_seconds = -1};
}

void gc_patch(pass_t *p, const gc_kind_t *k, kg_view_t object, const char *key, kube_node_t *value) {
  kube_arena_t *a = p->arena;
  kube_node_t *patch = kube_map(a), *meta = kube_sub(a, patch, "metadata");
  kube_set(a, meta, "uid", kube_strn(a, kube_uid(object)));
  kube_set(a, meta, "resourceVersion",
           kube_strn(a, kg_view_str(kg_view_path(object, "metadata", "resourceVersion", NULL))));
  kube_set(a, meta, key, value);
  kube_call_t call = call_for(p, k, object);
  call.object = kube_tree_doc(patch);
  call.patch_type = "merge";
  ctl_send(p->ctx, p->sync, CTL_PATCH, &call, NULL, NULL);
  kg_doc_unref(call.object);
}

/* --- owners ------------------------------------------------------------------------------------------------------- */

static bool is_owner(kg_view_t object, kg_view_t ref) {
  return kg_str_eq(kube_uid(object), kg_view_str(kg_view_get(ref, "uid")));
}

static void asked(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)s;
  struct owner *o = arg;
  kg_view_t object = kg_view_of(kg_msg_type(m) == KG_MSG_REPLY ? kg_msg_doc(m, 0) : NULL);
  if (kg_msg_type(m) == KG_MSG_REPLY && is_owner(object, o->ref))
    o->state = in_foreground(object) ? OWNER_WAITING : OWNER_SOLID;
  else if (kg_msg_type(m) == KG_MSG_REPLY || kg_msg_code(m) == KG_ENOTFOUND)
    o->state = OWNER_DANGLING;
}

/* A cluster-scoped object cannot be owned by something in a namespace: nobody can tell which is meant. */
static void refuse(pass_t *p, kg_view_t ref) {
  kube_event(p->ctx, p->c->base.recorder, p->object, "Warning", "OwnerRefInvalidNamespace",
             "ownerRef [" KG_STR_FMT "/" KG_STR_FMT ", namespace: , name: " KG_STR_FMT ", uid: " KG_STR_FMT
             "] does not exist in namespace \"\"",
             KG_STR_ARG(kg_view_str(kg_view_get(ref, "apiVersion"))), KG_STR_ARG(kg_view_str(kg_view_get(ref, "kind"))),
             KG_STR_ARG(kg_view_str(kg_view_get(ref, "name"))), KG_STR_ARG(kg_view_str(kg_view_get(ref, "uid"))));
}

static void look_at(pass_t *p, struct owner *o) {
  kg_str_t none = {NULL, 0}, ns = kube_namespace(p->object), name = kg_view_str(kg_view_get(o->ref, "name"));
  const gc_kind_t *k =
      kind_find(p->c, kg_view_str(kg_view_get(o->ref, "apiVersion")), kg_view_str(kg_view_get(o->ref, "kind")));
  o->state = OWNER_UNKNOWN;
  if (!k) return; /* of a kind that is not served: it stays as it is */
  if (k->kind.namespaced && !ns.n) return refuse(p, o->ref);
  kg_doc_t *doc = kube_informer_get(k->informer, k->kind.namespaced ? ns : none, name);
  if (doc && is_owner(kg_view_of(doc), o->ref)) {
    o->state = in_foreground(kg_view_of(doc)) ? OWNER_WAITING : OWNER_SOLID;
    return;
  }
  kube_call_t call = {.gvr = {k->kind.group, k->kind.version, k->kind.resource},
                      .ns = k->kind.namespaced ? ctl_text(p->arena, ns) : NULL,
                      .name = ctl_text(p->arena, name),
                      .grace_seconds = -1};
  ctl_send(p->ctx, p->sync, CTL_GET, &call, asked, o);
}

/* --- what follows ------------------------------------------------------------------------------------------------- */

static void deleted(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)s, (void)arg;
  ((gcc_t *)self)->deleted += kg_msg_type(m) == KG_MSG_REPLY;
}

static void delete (pass_t *p, const char *propagation) {
  kube_call_t call = call_for(p, p->kind, p->object);
  call.precondition_uid = ctl_text(p->arena, kube_uid(p->object));
  call.resource_version = ctl_text(p->arena, kg_view_str(kg_view_path(p->object, "metadata", "resourceVersion", NULL)));
  call.propagation = propagation;
  ctl_send(p->ctx, p->sync, CTL_DELETE, &call, deleted, NULL);
}

/* It stays, for the sake of one owner: the others are taken off its list. */
static void keep_solid(pass_t *p) {
  kube_node_t *refs = kube_array(p->arena);
  for (size_t i = 0; i < p->n; i++)
    if (p->owners[i].state == OWNER_SOLID || p->owners[i].state == OWNER_UNKNOWN)
      kube_push(p->arena, refs, kube_tree_parse(p->arena, p->owners[i].ref));
  gc_patch(p, p->kind, p->object, "ownerReferences", refs);
}

/* In a circle of objects that wait for each other none blocks its owner any more. */
static void unblock(pass_t *p) {
  kube_node_t *refs = kube_array(p->arena);
  for (size_t i = 0; i < p->n; i++) {
    kube_node_t *ref = kube_tree_parse(p->arena, p->owners[i].ref);
    kube_del(ref, "blockOwnerDeletion");
    kube_push(p->arena, refs, ref);
  }
  gc_patch(p, p->kind, p->object, "ownerReferences", refs);
}

static void delete_in_foreground(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *arg) {
  (void)ctx, (void)self, (void)s;
  pass_t *p = arg;
  kube_call_t call = call_for(p, p->kind, p->object);
  call.precondition_uid = ctl_text(p->arena, kube_uid(p->object));
  call.propagation = "Foreground";
  ctl_send(p->ctx, p->sync, CTL_DELETE, &call, deleted, NULL);
}

static void judge(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *arg) {
  (void)ctx, (void)self;
  pass_t *p = arg;
  size_t states[4] = {0};
  for (size_t i = 0; i < p->n; i++) states[p->owners[i].state]++;
  if (states[OWNER_SOLID] + states[OWNER_UNKNOWN]) {
    if (states[OWNER_SOLID] && states[OWNER_DANGLING] + states[OWNER_WAITING]) keep_solid(p);
  } else if (states[OWNER_WAITING] && graph_next(p->c, kube_uid(p->object), NULL)) {
    if (dependents_wait(p->c, p->object)) unblock(p);
    ctl_sync_then(s, delete_in_foreground, p);
  } else {
    delete (p, has_finalizer(p->object, "orphan")               ? "Orphan"
               : has_finalizer(p->object, "foregroundDeletion") ? "Foreground"
                                                                : "Background");
  }
}

static void run(pass_t *p) {
  kg_view_t refs = kg_view_path(p->object, "metadata", "ownerReferences", NULL);
  if (kube_deleting(p->object) && has_finalizer(p->object, "orphan")) return orphan_dependents(p);
  if (in_foreground(p->object)) return wait_for_dependents(p);
  if (kube_deleting(p->object) || !kg_view_count(refs)) return;
  p->owners = kube_arena_alloc(p->arena, kg_view_count(refs) * sizeof *p->owners);
  for (kg_iter_t it = kg_iter(refs); kg_iter_next(&it);) p->owners[p->n++].ref = it.value;
  for (size_t i = 0; i < p->n; i++) look_at(p, &p->owners[i]);
  ctl_sync_then(p->sync, judge, p);
}

void gc_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  gcc_t *c = self;
  char *rest;
  kg_str_t ns, name;
  ctl_sync_t *s = ctl_sync_begin(&c->base.work, key);
  unsigned long number = strtoul(key, &rest, 10);
  const gc_kind_t *k = number < c->nkinds ? c->kinds[number] : NULL;
  ctl_split(rest + 1, &ns, &name);
  kg_doc_t *doc = k && k->informer ? kube_informer_get(k->informer, ns, name) : NULL;
  if (doc) {
    pass_t *p = kube_arena_alloc(ctl_arena(s), sizeof *p);
    *p = (pass_t){.ctx = ctx, .c = c, .sync = s, .arena = ctl_arena(s), .kind = k, .doc = ctl_keep(s, doc)};
    p->object = kg_view_of(doc);
    run(p);
  }
  ctl_sync_end(ctx, self, s);
}
