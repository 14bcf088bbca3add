/*
 * TokenRequest (serviceaccounts/token): checked here, signed by the gateway, which holds the key. Claims as in
 * pkg/serviceaccount/claims.go of Kubernetes. And whether a token's user still holds: KEP-1205, bound tokens end with
 * the account or pod they are bound to.
 */
#include <stdlib.h>
#include <string.h>

#include "rbac.h"

enum { SHORTEST_S = 600, WARN_S = 3607, EXTENDED_S = 365 * 24 * 3600 };

typedef struct token {
  req_t q; /* q.m: own reference */
  kube_arena_t *a;
  kube_node_t *object;
  int64_t expires_us;
  kg_doc_t *body;
} token_t;

static void token_free(token_t *t) {
  kg_msg_unref((kg_msg_t *)t->q.m);
  kg_doc_unref(t->body);
  kube_arena_free(t->a);
  free(t);
}

static void on_signed(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  token_t *t = arg;
  fault_t f;
  if (kg_msg_type(m) != KG_MSG_REPLY) {
    fault_other(&f, 500, "InternalError", "failed to create token: %s", kg_msg_text(m));
    fault_answer(&t->q, &f);
    return token_free(t);
  }
  char when[32];
  kube_node_t *status = kube_map(t->a);
  kube_time_format(t->expires_us, when);
  kube_set(t->a, status, "token", kube_strn(t->a, arg_str(kg_msg_args(m), "token")));
  kube_set(t->a, status, "expirationTimestamp", kube_str(t->a, when));
  kube_set(t->a, t->object, "status", status);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "code", 201);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p), *doc = kube_tree_doc(t->object);
  kg_reply(ctx, t->q.m, args, &doc, 1);
  kg_doc_unref(args);
  kg_doc_unref(doc);
  token_free(t);
}

/* --- the claims -------------------------------------------------------------------------------------------------- */

static kube_node_t *named(kube_arena_t *a, kg_str_t name, kg_str_t uid) {
  kube_node_t *m = kube_map(a);
  kube_set(a, m, "name", kube_strn(a, name));
  if (uid.n) kube_set(a, m, "uid", kube_strn(a, uid));
  return m;
}

static object_t *find(const req_t *q, const char *resource, bool namespaced, kg_str_t name) {
  char key[600];
  req_t other = *q;
  kube_resource_t r = {.namespaced = namespaced};
  other.r = &r;
  collection_t *c = cache_find(q->api, "", resource);
  return c ? sorted_get(&c->objects, req_key(&other, name, key)) : NULL;
}

/* The object the token is bound to, put into `own`; false: answered with why not. */
static bool bind(const req_t *q, kube_arena_t *a, const kube_node_t *ref, kube_node_t *own) {
  if (!ref) return true;
  fault_t f;
  kg_str_t kind = path_str(ref, "kind", NULL), name = path_str(ref, "name", NULL), uid = path_str(ref, "uid", NULL);
  const char *resource = kg_str_is(kind, "Pod") ? "pods" : kg_str_is(kind, "Secret") ? "secrets" : "nodes";
  if (!kg_str_is(kind, "Pod") && !kg_str_is(kind, "Secret") && !kg_str_is(kind, "Node"))
    return fault_bad(&f, "cannot bind token to object of type " KG_STR_FMT, KG_STR_ARG(kind)), fault_answer(q, &f),
           false;
  object_t *o = find(q, resource, strcmp(resource, "nodes"), name);
  if (!o) {
    kube_resource_t r = {.group = "", .resource = resource, .kind = resource};
    return fault_not_found(&f, &r, name), fault_answer(q, &f), false;
  }
  kg_view_t v = object_view(o);
  if (uid.n && !kg_str_eq(uid, kube_uid(v))) {
    fault_conflict(&f, q->r, NULL, q->name,
                   "the UID in the bound object reference (" KG_STR_FMT
                   ") does not match the UID in record. The object "
                   "might have been deleted and then recreated",
                   KG_STR_ARG(uid));
    return fault_answer(q, &f), false;
  }
  char *key = kube_arena_fmt(a, "%.*s", (int)strlen(resource) - 1, resource);
  kube_set(a, own, key, named(a, name, kube_uid(v)));
  kg_str_t node = kg_view_str(kg_view_path(v, "spec", "nodeName", NULL));
  object_t *host = node.n ? find(q, "nodes", false, node) : NULL;
  if (node.n) kube_set(a, own, "node", named(a, node, host ? kube_uid(object_view(host)) : (kg_str_t){0}));
  return true;
}

static bool wants_default(const kube_node_t *audiences) {
  return audiences->c.n == 1 && node_is(audiences->c.items[0], API_AUDIENCE);
}

static kube_node_t *claims_of(token_t *t, kg_view_t account, const kube_node_t *spec, kube_node_t *own) {
  kube_arena_t *a = t->a;
  char id[40];
  int64_t now = kg_wall_us(t->q.ctx) / 1000000, life = kube_node_int(kube_get(spec, "expirationSeconds"), 3600);
  kube_node_t *claims = kube_map(a), *audiences = kube_get(spec, "audiences");
  t->expires_us = (now + life) * 1000000;
  /* Pods of clients that never read their token again: it lasts a year, and says from when on that is a mistake. */
  bool extended = life == WARN_S && kube_get(own, "pod") && wants_default(audiences);
  kube_set(a, own, "namespace", kube_strn(a, t->q.ns));
  kube_set(a, own, "serviceaccount", named(a, t->q.name, kube_uid(account)));
  if (extended) kube_set(a, own, "warnafter", kube_int(a, now + life));
  meta_uuid(t->q.ctx, id);
  kube_set(a, claims, "aud", audiences);
  kube_set(a, claims, "exp", kube_int(a, now + (extended ? EXTENDED_S : life)));
  kube_set(a, claims, "iat", kube_int(a, now));
  kube_set(a, claims, "iss", kube_str(a, API_AUDIENCE));
  kube_set(a, claims, "jti", kube_str(a, id));
  kube_set(a, claims, "kubernetes.io", own);
  kube_set(a, claims, "nbf", kube_int(a, now));
  kube_set(
      a, claims, "sub",
      kube_strf(a, "system:serviceaccount:" KG_STR_FMT ":" KG_STR_FMT, KG_STR_ARG(t->q.ns), KG_STR_ARG(t->q.name)));
  return claims;
}

/* --- the request ------------------------------------------------------------------------------------------------- */

static bool check(const req_t *q, kube_arena_t *a, const kube_node_t *spec) {
  int64_t life = kube_node_int(kube_get(spec, "expirationSeconds"), 3600);
  if (life >= SHORTEST_S && life <= (int64_t)1 << 32) return true;
  fault_t f;
  kube_node_t *causes = kube_array(a);
  cause_add(a, causes, "FieldValueInvalid", "spec.expirationSeconds", "Invalid value: %lld: %s", (long long)life,
            life < SHORTEST_S ? "may not specify a duration less than 10 minutes"
                              : "may not specify a duration larger than 2^32 seconds");
  fault_invalid(&f, &(kube_resource_t){.group = "authentication.k8s.io", .kind = "TokenRequest"}, (kg_str_t){0},
                causes);
  fault_answer(q, &f);
  return false;
}

static kube_node_t *complete(token_t *t, kube_node_t *tree) {
  kube_arena_t *a = t->a;
  kube_node_t *object = kube_map(a), *meta = kube_map(a), *spec = kube_sub(a, tree, "spec");
  char now[32];
  kube_time_format(kg_wall_us(t->q.ctx), now);
  kube_set(a, object, "kind", kube_str(a, "TokenRequest"));
  kube_set(a, object, "apiVersion", kube_str(a, "authentication.k8s.io/v1"));
  kube_set(a, meta, "name", kube_strn(a, t->q.name));
  kube_set(a, meta, "namespace", kube_strn(a, t->q.ns));
  kube_set(a, meta, "creationTimestamp", kube_str(a, now));
  kube_set(a, object, "metadata", meta);
  kube_node_t *audiences = kube_get(spec, "audiences");
  if (!audiences || audiences->type != KG_V_ARRAY || !audiences->c.n) {
    kube_set(a, spec, "audiences", audiences = kube_array(a));
    kube_push(a, audiences, kube_str(a, API_AUDIENCE));
  }
  if (!kube_get(spec, "expirationSeconds")) kube_set(a, spec, "expirationSeconds", kube_int(a, 3600));
  if (!kube_get(spec, "boundObjectRef")) kube_set(a, spec, "boundObjectRef", kube_nil(a));
  kube_set(a, object, "spec", spec);
  return object;
}

static kube_node_t *there(kube_node_t *n) {
  return n && n->type == KG_V_MAP ? n : NULL;
}

/* The request as its kind has it, a document that is the caller's: t outlives what it was read with. NULL: answered
 * with why not. */
static kg_doc_t *read_request(token_t *t, kg_doc_t *body) {
  kube_resource_t r = {.group = "authentication.k8s.io", .version = "v1", .kind = "TokenRequest"};
  r.type = kube_type_find(KG_STR("authentication.v1.TokenRequest"));
  if (!body) return kube_tree_doc(kube_map(t->a));
  write_t *w = write_of(&t->q, W_CREATE, body);
  kube_node_t *object = NULL;
  kg_doc_t *own = NULL;
  if (!w) return NULL;
  w->arena = kube_arena_new();
  if (body_read(w, body, &r, &object))
    own = kube_tree_doc(object);
  else
    fault_answer(&t->q, &w->fault);
  write_free(w);
  return own;
}

void token_request(const req_t *q, kg_doc_t *body) {
  char key[600];
  fault_t f;
  object_t *account = q->c ? sorted_get(&q->c->objects, req_key(q, q->name, key)) : NULL;
  if (!account) {
    fault_not_found(&f, q->r, q->name);
    return fault_answer(q, &f);
  }
  token_t *t = calloc(1, sizeof *t);
  if (!t) return kg_fail(q->ctx, q->m, KG_EINTERNAL, "api: out of memory");
  *t = (token_t){.q = *q, .a = kube_arena_new()};
  t->q.m = kg_msg_ref(q->m);
  t->body = read_request(t, body);
  if (!t->body) return token_free(t);
  kube_node_t *own = kube_map(t->a);
  t->object = complete(t, kube_tree_parse(t->a, kg_view_of(t->body)));
  kube_node_t *spec = kube_get(t->object, "spec");
  if (!check(q, t->a, spec) || !bind(q, t->a, there(kube_get(spec, "boundObjectRef")), own)) return token_free(t);
  kube_node_t *args = kube_map(t->a);
  kube_set(t->a, args, "claims", claims_of(t, object_view(account), spec, own));
  kg_doc_t *doc = kube_tree_doc(args);
  kg_request_t r = {.service = "gateway", .topic = "gateway.sign-token", .args = doc, .fn = on_signed, .arg = t};
  kg_send(q->ctx, &r);
  kg_doc_unref(doc);
}

/* --- does a token still hold? ------------------------------------------------------------------------------------ */

static bool same(const api_t *api, const char *resource, kg_str_t ns, kg_str_t name, kg_str_t uid) {
  kube_resource_t r = {.namespaced = true};
  req_t q = {.r = &r, .ns = ns};
  char key[600];
  collection_t *c = cache_find(api, "", resource);
  object_t *o = c ? sorted_get(&c->objects, req_key(&q, name, key)) : NULL;
  return o && kg_str_eq(kube_uid(object_view(o)), uid);
}

bool rbac_user_holds(const api_t *api, kg_view_t user) {
  static const char prefix[] = "system:serviceaccount:";
  kg_str_t name = arg_str(user, "name"), uid = arg_str(user, "uid");
  size_t n = sizeof prefix - 1;
  if (!uid.n || name.n <= n || memcmp(name.p, prefix, n)) return true;
  const char *ns = name.p + n, *colon = memchr(ns, ':', name.n - n);
  if (!colon) return true;
  kg_str_t space = {ns, (size_t)(colon - ns)}, own = {colon + 1, name.n - n - space.n - 1};
  if (!same(api, "serviceaccounts", space, own, uid)) return false;
  kg_view_t extra = kg_view_get(user, "extra");
  kg_str_t pod = kg_view_str(kg_view_at(kg_view_get(extra, "authentication.kubernetes.io/pod-name"), 0));
  kg_str_t pod_uid = kg_view_str(kg_view_at(kg_view_get(extra, "authentication.kubernetes.io/pod-uid"), 0));
  return !pod.n || same(api, "pods", space, pod, pod_uid);
}
