/*
 * One pass over one namespace: which kinds there are, what of them is in it; deletes it, pods before all else, and
 * looks again. What is left then goes by itself (waits.c); an empty namespace is let go.
 */
#include <string.h>

#include "namespace.h"

enum { ROUNDS = 4 }; /* of looking and deleting in one pass */

static void look(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *arg);

size_t found_count(const found_t *f) {
  return f->list ? kg_msg_ndocs(f->list) : 0;
}

/* --- which kinds -------------------------------------------------------------------------------------------------- */

static void add_kind(const ctl_kind_t *k, void *arg) {
  pass_t *p = arg;
  if (!k->namespaced || !k->list || !(k->delete || k->delete_all)) return;
  found_t *f = kube_arena_alloc(p->arena, sizeof *f), **at = &p->kinds;
  f->kind = *k;
  while (*at) at = &(*at)->next;
  *at = f;
}

static void discovered(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  pass_t *p = arg;
  if (kg_msg_type(m) == KG_MSG_ERROR) {
    p->discovery_error = kube_arena_fmt(p->arena, "Discovery failed for some groups: %s", kg_msg_text(m));
    ctl_sync_failed(s);
    return conditions_write(p);
  }
  ctl_kinds(kg_view_of(kg_msg_doc(m, 0)), add_kind, p);
}

static void discover(pass_t *p, const char *what) {
  kg_pack_t pack = kg_pack();
  kg_pack_map(&pack);
  kg_pack_kv_str(&pack, "what", what);
  kg_pack_end(&pack);
  kg_doc_t *args = kg_pack_doc(&pack);
  ctl_request(p->ctx, p->sync, &(kg_request_t){.service = "api", .topic = "api.discovery", .args = args}, discovered,
              p);
  kg_doc_unref(args);
}

/* --- deleting ----------------------------------------------------------------------------------------------------- */

static kube_call_t call_of(const pass_t *p, const found_t *f) {
  return (kube_call_t){.gvr = {f->kind.group, f->kind.version, f->kind.resource}, .ns = p->name, .grace_seconds = -1};
}

static void deleted(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)s;
  pass_t *p = arg;
  if (kg_msg_type(m) != KG_MSG_ERROR || kg_msg_code(m) == KG_ENOTFOUND || p->content_error) return;
  p->content_error = kube_arena_fmt(p->arena, "Failed to delete all resource types, 1 remaining: %s", kg_msg_text(m));
  conditions_write(p);
}

static void delete_kind(pass_t *p, found_t *f) {
  kube_call_t call = call_of(p, f);
  call.propagation = "Background";
  if (f->kind.delete_all) return ctl_send(p->ctx, p->sync, CTL_DELETE_ALL, &call, deleted, p);
  for (size_t i = 0; i < found_count(f); i++) {
    call.name = ctl_text(p->arena, kube_name(kg_view_of(kg_msg_doc(f->list, i))));
    ctl_send(p->ctx, p->sync, CTL_DELETE, &call, deleted, p);
  }
}

bool is_pods(const found_t *f) {
  return !f->kind.group[0] && !strcmp(f->kind.resource, "pods");
}

bool pods_left(const pass_t *p) {
  for (const found_t *f = p->kinds; f; f = f->next)
    if (is_pods(f)) return found_count(f) > 0;
  return false;
}

/* Returns whether anything had to be deleted. */
static bool delete_fresh(pass_t *p) {
  bool any = false, only_pods = pods_left(p);
  for (found_t *f = p->kinds; f; f = f->next) {
    if (!f->fresh || (only_pods && !is_pods(f))) continue;
    delete_kind(p, f);
    any = true;
  }
  return any;
}

/* --- letting go --------------------------------------------------------------------------------------------------- */

static void finalize(pass_t *p) {
  kube_node_t *o = kube_tree_parse(p->arena, kg_view_of(p->doc)), *list = kube_path(o, "spec", "finalizers", NULL);
  for (uint32_t i = 0; list && list->type == KG_V_ARRAY && i < list->c.n; i++)
    if (kg_str_is(kube_node_str(list->c.items[i]), "kubernetes")) kube_remove_at(list, i--);
  kube_del(kube_get(o, "metadata"), "resourceVersion");
  kg_doc_t *body = kube_tree_doc(o);
  ctl_send(p->ctx, p->sync, CTL_UPDATE,
           &(kube_call_t){.gvr = GVR_SPACES, .name = p->name, .sub = "finalize", .object = body, .grace_seconds = -1},
           NULL, NULL);
  kg_doc_unref(body);
  wait_forget(p->ctx, p->c, ctl_sync_key(p->sync));
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

static void listed(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  found_t *f = arg;
  if (kg_msg_type(m) != KG_MSG_REPLY) return;
  f->list = m;
  ctl_keep_msg(s, m);
  for (size_t i = 0; i < kg_msg_ndocs(m); i++) f->fresh += !kube_deleting(kg_view_of(kg_msg_doc(m, i)));
}

static void judge(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *arg) {
  (void)ctx, (void)self;
  pass_t *p = arg;
  size_t left = 0;
  for (found_t *f = p->kinds; f; f = f->next) left += found_count(f);
  if (!left) return finalize(p);
  if (p->rounds++ < ROUNDS && delete_fresh(p)) return ctl_sync_then(s, look, p);
  conditions_write(p);
  wait_for(p);
}

static void look(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *arg) {
  (void)self;
  pass_t *p = arg;
  for (found_t *f = p->kinds; f; f = f->next) {
    kube_call_t call = call_of(p, f);
    f->list = NULL;
    f->fresh = 0;
    ctl_send(ctx, s, CTL_LIST, &call, listed, f);
  }
  ctl_sync_then(s, judge, p);
}

/* --- the pass ----------------------------------------------------------------------------------------------------- */

static bool is_ours(kg_view_t space) {
  if (!kube_deleting(space)) return false;
  for (kg_iter_t it = kg_iter(kg_view_path(space, "spec", "finalizers", NULL)); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(it.value), "kubernetes")) return true;
  return false;
}

void namespace_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  nsc_t *c = self;
  kg_str_t none = {NULL, 0};
  kg_doc_t *doc = kube_informer_get(c->base.informers[0], none, kg_str(key + 1));
  ctl_sync_t *s = ctl_sync_begin(&c->base.work, key);
  if (doc && is_ours(kg_view_of(doc))) {
    pass_t *p = kube_arena_alloc(ctl_arena(s), sizeof *p);
    *p = (pass_t){.ctx = ctx, .c = c, .sync = s, .arena = ctl_arena(s), .doc = ctl_keep(s, doc)};
    p->name = kube_arena_fmt(p->arena, "%s", key + 1);
    discover(p, "aggregated-api");
    discover(p, "aggregated-apis");
    ctl_sync_then(s, look, p);
  } else {
    wait_forget(ctx, c, key);
  }
  ctl_sync_end(ctx, self, s);
}
