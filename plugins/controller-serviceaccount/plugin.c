/* Every namespace gets the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`; Secrets get tokens. */
#include <stdlib.h>
#include <string.h>

#include "serviceaccount.h"

#define ACCOUNT "default"
#define ROOT_CA "kube-root-ca.crt"
#define ROOT_CA_NOTE "kubernetes.io/description"
#define ROOT_CA_TEXT                                                                                                   \
  "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "      \
  "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "    \
  "clusters."

enum { RETRY_MS = 2000 };

static const kube_gvr_t GVR_ACCOUNTS = {"", "v1", "serviceaccounts"}, GVR_MAPS = {"", "v1", "configmaps"};

/* What happens to either object is work for its namespace. */
static void on_object(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)change, (void)old, (void)arg;
  kg_str_t ns = kube_namespace(now);
  char key[CTL_KEY_MAX] = "/";
  if (ns.n + 2 > sizeof key) return;
  memcpy(key + 1, ns.p, ns.n);
  ctl_work_add(ctx, &((sac_t *)self)->base.work, key);
}

static void on_account(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  if (kg_str_is(kube_name(now), ACCOUNT)) on_object(ctx, self, change, old, now, arg);
  tokens_of_account(ctx, self, now);
}

static kube_node_t *object_of(kube_arena_t *a, kg_str_t ns, const char *kind, const char *name) {
  kube_node_t *o = kube_map(a);
  kube_set(a, o, "apiVersion", kube_str(a, "v1"));
  kube_set(a, o, "kind", kube_str(a, kind));
  kube_node_t *meta = kube_sub(a, o, "metadata");
  kube_set(a, meta, "name", kube_str(a, name));
  kube_set(a, meta, "namespace", kube_strn(a, ns));
  return o;
}

/* A namespace that goes refuses new objects, and one that was faster is as good as we. */
static void made(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)arg;
  if (kg_msg_type(m) != KG_MSG_ERROR) return;
  if (kg_msg_code(m) == KG_ECONFLICT || kg_msg_code(m) == KG_EDENIED || kg_msg_code(m) == KG_ENOTFOUND)
    ctl_sync_forgive(s);
}

static void send(kg_ctx_t *ctx, ctl_sync_t *s, ctl_verb_t verb, kube_gvr_t gvr, kg_str_t ns, const char *name,
                 kube_node_t *object) {
  kg_doc_t *doc = kube_tree_doc(object);
  ctl_send(ctx, s, verb,
           &(kube_call_t){.gvr = gvr,
                          .ns = ctl_text(ctl_arena(s), ns),
                          .name = verb == CTL_CREATE ? NULL : name,
                          .object = doc,
                          .grace_seconds = -1},
           made, NULL);
  kg_doc_unref(doc);
}

static void sync_map(kg_ctx_t *ctx, sac_t *c, ctl_sync_t *s, kg_str_t ns) {
  kube_arena_t *a = ctl_arena(s);
  kg_doc_t *old = kube_informer_get(c->base.informers[MAPS], ns, KG_STR(ROOT_CA));
  kg_view_t data = kg_view_get(kg_view_of(old), "data");
  if (!c->pem || (old && kube_deleting(kg_view_of(old)))) return;
  if (kg_view_count(data) == 1 && kg_str_is(kg_view_str(kg_view_get(data, "ca.crt")), c->pem)) return;
  kube_node_t *o = old ? kube_tree_parse(a, kg_view_of(old)) : object_of(a, ns, "ConfigMap", ROOT_CA), *d = kube_map(a);
  kube_set(a, kube_sub(a, kube_sub(a, o, "metadata"), "annotations"), ROOT_CA_NOTE, kube_str(a, ROOT_CA_TEXT));
  kube_set(a, d, "ca.crt", kube_str(a, c->pem));
  kube_set(a, o, "data", d);
  kube_del(o, "binaryData");
  send(ctx, s, old ? CTL_UPDATE : CTL_CREATE, GVR_MAPS, ns, ROOT_CA, o);
}

static void sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  sac_t *c = self;
  kg_str_t ns = kg_str(key + 1), none = {NULL, 0};
  ctl_sync_t *s = ctl_sync_begin(&c->base.work, key);
  if (*key != '/') {
    token_sync(ctx, c, s);
    return ctl_sync_end(ctx, self, s);
  }
  kg_doc_t *space = kube_informer_get(c->base.informers[SPACES], none, ns);
  if (space && !kube_deleting(kg_view_of(space))) {
    if (!kube_informer_get(c->base.informers[ACCOUNTS], ns, KG_STR(ACCOUNT)))
      send(ctx, s, CTL_CREATE, GVR_ACCOUNTS, ns, ACCOUNT, object_of(ctl_arena(s), ns, "ServiceAccount", ACCOUNT));
    sync_map(ctx, c, s, ns);
  }
  ctl_sync_end(ctx, self, s);
}

/* --- the root certificate: the gateway knows it, and starts after some of us ------------------------------------- */

static void ask(kg_ctx_t *ctx, void *self, void *arg);

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  sac_t *c = self;
  char *pem = kg_msg_type(m) == KG_MSG_REPLY ? kg_str_dup(kg_view_str(kg_view_get(kg_msg_args(m), "pem"))) : NULL;
  if (!pem) {
    c->retry = kg_timer(ctx, RETRY_MS, 0, ask, NULL);
    return;
  }
  free(c->pem);
  c->pem = pem;
  ctl_work_add_all(ctx, &c->base.work, c->base.informers[SPACES]);
  ctl_work_add_all(ctx, &c->base.work, c->base.informers[SECRETS]);
}

static void ask(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  ((sac_t *)self)->retry = 0;
  kg_send(ctx, &(kg_request_t){.service = "gateway", .topic = "gateway.ca", .fn = answered});
}

static void active(kg_ctx_t *ctx, void *self) {
  ask(ctx, self, NULL);
}

static void end(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  free(((sac_t *)self)->pem);
}

static const ctl_spec_t spec = {
    .size = sizeof(sac_t),
    .component = "serviceaccount-controller",
    .sync = sync,
    .watches = {[SPACES] = {.gvr = {"", "v1", "namespaces"}, .fn = ctl_on_key, .keys = true},
                [ACCOUNTS] = {.gvr = {"", "v1", "serviceaccounts"}, .fn = on_account},
                [MAPS] = {.gvr = {"", "v1", "configmaps"}, .fn = on_object, .field_selector = "metadata.name=" ROOT_CA},
                [SECRETS] = {.gvr = {"", "v1", "secrets"}, .fn = on_secret, .field_selector = "type=" TOKEN_TYPE}},
    .active = active,
    .end = end};

CTL_PLUGIN(spec, .name = "controller-serviceaccount",
           .summary = "Gives each namespace its default ServiceAccount and the root certificate, Secrets their tokens");
