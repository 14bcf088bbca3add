/*
 * A Secret of the type of tokens is given one of the account that its annotation names, and goes with that account. The
 * token is bound to the Secret: it holds as long as both are there.
 */
#include <stdlib.h>

#include "kube/values.h"
#include "serviceaccount.h"

#define NOTE_NAME "kubernetes.io/service-account.name"
#define NOTE_UID "kubernetes.io/service-account.uid"

static const kube_gvr_t GVR_ACCOUNTS = {"", "v1", "serviceaccounts"}, GVR_SECRETS = {"", "v1", "secrets"};
enum { SECONDS_BIT = 32 }; /* as long as a token may hold: 136 years */

typedef struct pass {
  sac_t *c;
  kube_arena_t *arena;
  kg_view_t secret, account;
} pass_t;

void on_secret(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)old, (void)arg;
  char key[CTL_KEY_MAX];
  if (change != KUBE_DELETED) ctl_work_add(ctx, &((sac_t *)self)->base.work, ctl_key(now, key));
}

void tokens_of_account(kg_ctx_t *ctx, sac_t *c, kg_view_t account) {
  size_t first, count;
  char key[CTL_KEY_MAX];
  kube_informer_ns(c->base.informers[SECRETS], kube_namespace(account), &first, &count);
  for (size_t i = first; i < first + count; i++) {
    kg_view_t secret = kg_view_of(kube_informer_at(c->base.informers[SECRETS], i));
    if (kg_str_eq(kg_view_str(kube_annotation(secret, NOTE_NAME)), kube_name(account)))
      ctl_work_add(ctx, &c->base.work, ctl_key(secret, key));
  }
}

static kube_call_t call_of(const pass_t *p) {
  return (kube_call_t){.gvr = GVR_SECRETS,
                       .ns = ctl_text(p->arena, kube_namespace(p->secret)),
                       .name = ctl_text(p->arena, kube_name(p->secret)),
                       .grace_seconds = -1};
}

static void put_data(const pass_t *p, kube_node_t *data, const char *key, kg_str_t value) {
  char *text = kube_arena_alloc(p->arena, KUBE_BASE64_SIZE(value.n));
  kube_base64(text, value.p, value.n);
  kube_set(p->arena, data, key, kube_str(p->arena, text));
}

static void granted(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)self;
  const pass_t *p = arg;
  if (kg_msg_type(m) != KG_MSG_REPLY) return;
  kube_arena_t *a = p->arena;
  kube_node_t *patch = kube_map(a), *meta = kube_sub(a, patch, "metadata"), *data = kube_sub(a, patch, "data");
  kube_set(a, meta, "uid", kube_strn(a, kube_uid(p->secret)));
  kube_set(a, kube_sub(a, meta, "annotations"), NOTE_UID, kube_strn(a, kube_uid(p->account)));
  put_data(p, data, "token", kg_view_str(kg_view_path(kg_view_of(kg_msg_doc(m, 0)), "status", "token", NULL)));
  put_data(p, data, "ca.crt", kg_str(p->c->pem));
  put_data(p, data, "namespace", kube_namespace(p->secret));
  kube_call_t call = call_of(p);
  call.object = kube_tree_doc(patch);
  call.patch_type = "merge";
  ctl_send(ctx, s, CTL_PATCH, &call, NULL, NULL);
  kg_doc_unref(call.object);
}

static void ask_for_token(kg_ctx_t *ctx, ctl_sync_t *s, pass_t *p) {
  kube_arena_t *a = p->arena;
  kube_node_t *o = kube_map(a), *spec = kube_sub(a, o, "spec"), *ref = kube_sub(a, spec, "boundObjectRef");
  kube_set(a, o, "apiVersion", kube_str(a, "authentication.k8s.io/v1"));
  kube_set(a, o, "kind", kube_str(a, "TokenRequest"));
  kube_set(a, spec, "expirationSeconds", kube_int(a, 1LL << SECONDS_BIT));
  kube_set(a, ref, "apiVersion", kube_str(a, "v1"));
  kube_set(a, ref, "kind", kube_str(a, "Secret"));
  kube_set(a, ref, "name", kube_strn(a, kube_name(p->secret)));
  kube_set(a, ref, "uid", kube_strn(a, kube_uid(p->secret)));
  kube_call_t call = call_of(p);
  call.gvr = GVR_ACCOUNTS;
  call.name = ctl_text(a, kube_name(p->account));
  call.sub = "token";
  call.object = kube_tree_doc(o);
  ctl_send(ctx, s, CTL_CREATE, &call, granted, p);
  kg_doc_unref(call.object);
}

static bool is_complete(kg_view_t secret) {
  kg_view_t data = kg_view_get(secret, "data");
  return kg_view_there(kg_view_get(data, "token")) && kg_view_there(kg_view_get(data, "ca.crt")) &&
         kg_view_there(kg_view_get(data, "namespace"));
}

/* The account may be newer than our cache: before its Secret is deleted it is asked for. */
static void looked(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)self;
  pass_t *p = arg;
  kg_view_t there = kg_view_of(kg_msg_type(m) == KG_MSG_REPLY ? kg_msg_doc(m, 0) : NULL);
  kg_str_t uid = kg_view_str(kube_annotation(p->secret, NOTE_UID));
  if (kg_msg_type(m) != KG_MSG_REPLY && kg_msg_code(m) != KG_ENOTFOUND) return;
  if (kg_view_there(there) && (!uid.n || kg_str_eq(uid, kube_uid(there)))) return ctl_sync_failed(s); /* once more */
  kube_call_t call = call_of(p);
  call.precondition_uid = ctl_text(p->arena, kube_uid(p->secret));
  ctl_send(ctx, s, CTL_DELETE, &call, NULL, NULL);
}

void token_sync(kg_ctx_t *ctx, sac_t *c, ctl_sync_t *s) {
  kg_str_t ns, name;
  ctl_split(ctl_sync_key(s), &ns, &name);
  kg_doc_t *doc = kube_informer_get(c->base.informers[SECRETS], ns, name);
  pass_t *p = kube_arena_alloc(ctl_arena(s), sizeof *p);
  *p = (pass_t){.c = c, .arena = ctl_arena(s), .secret = kg_view_of(ctl_keep(s, doc))};
  kg_str_t of = kg_view_str(kube_annotation(p->secret, NOTE_NAME)),
           uid = kg_view_str(kube_annotation(p->secret, NOTE_UID));
  if (!doc || kube_deleting(p->secret) || !of.n || !c->pem) return;
  p->account = kg_view_of(ctl_keep(s, kube_informer_get(c->base.informers[ACCOUNTS], ns, of)));
  bool known = kg_view_there(p->account) && (!uid.n || kg_str_eq(uid, kube_uid(p->account)));
  if (known && !is_complete(p->secret)) return ask_for_token(ctx, s, p);
  if (known) return;
  kube_call_t call = call_of(p);
  call.gvr = GVR_ACCOUNTS;
  call.name = ctl_text(p->arena, of);
  ctl_send(ctx, s, CTL_GET, &call, looked, p);
}
