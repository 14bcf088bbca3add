/* Approved CertificateSigningRequests of the signers that are the cluster's own get their certificate. */
#include <stdlib.h>
#include <string.h>

#include "control.h"

typedef struct certs {
  ctl_base_t base;
} certs_t;

static const kube_gvr_t CSRS = {"certificates.k8s.io", "v1", "certificatesigningrequests"};

/* What each signer signs; the first usage is required. */
static const struct signer {
  const char *name, *usages[5];
} signers[] = {
    {"kubernetes.io/kube-apiserver-client", {"client auth", "digital signature", "key encipherment"}},
    {"kubernetes.io/kube-apiserver-client-kubelet", {"client auth", "digital signature", "key encipherment"}},
    {"kubernetes.io/kubelet-serving", {"server auth", "digital signature", "key encipherment"}}};

static const struct signer *signer_of(kg_view_t csr) {
  kg_str_t name = kg_view_str(kg_view_path(csr, "spec", "signerName", NULL));
  for (size_t i = 0; i < sizeof signers / sizeof *signers; i++)
    if (kg_str_is(name, signers[i].name)) return &signers[i];
  return NULL;
}

static bool has_condition(kg_view_t csr, const char *type) {
  return kg_view_there(kube_condition_of(csr, type));
}

static bool usages_fit(const struct signer *s, kg_view_t usages) {
  bool required = false;
  for (kg_iter_t it = kg_iter(usages); kg_iter_next(&it);) {
    bool known = false;
    for (const char *const *u = s->usages; *u; u++) known |= kg_str_is(kg_view_str(it.value), *u);
    if (!known) return false;
    required |= kg_str_is(kg_view_str(it.value), s->usages[0]);
  }
  return required;
}

static void fail(kg_ctx_t *ctx, ctl_sync_t *s, kg_view_t csr, kube_node_t *status, const char *reason,
                 const char *message) {
  kube_arena_t *a = ctl_arena(s);
  kube_node_t *list = kube_get(status, "conditions"), *c = kube_map(a);
  if (!list || list->type != KG_V_ARRAY) kube_set(a, status, "conditions", list = kube_array(a));
  kube_set(a, c, "type", kube_str(a, "Failed"));
  kube_set(a, c, "status", kube_str(a, "True"));
  kube_set(a, c, "reason", kube_str(a, reason));
  kube_set(a, c, "message", kube_str(a, message));
  kube_push(a, list, c);
  ctl_send_status(ctx, s, CSRS, csr, status);
}

static kube_node_t *status_of(ctl_sync_t *s, kg_view_t csr) {
  kube_node_t *status = kube_tree_parse(ctl_arena(s), kg_view_get(csr, "status"));
  return status && status->type == KG_V_MAP ? status : kube_map(ctl_arena(s));
}

static void signed_(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)self;
  kg_view_t csr = kg_view_of(arg);
  kube_node_t *status = status_of(s, csr);
  if (kg_msg_type(m) == KG_MSG_ERROR && kg_msg_code(m) == KG_EINVAL) {
    ctl_sync_forgive(s);
    fail(ctx, s, csr, status, "SignerValidationFailure", ctl_text(ctl_arena(s), kg_str(kg_msg_text(m))));
    return;
  }
  if (kg_msg_type(m) == KG_MSG_ERROR) return;
  ctl_keep_msg(s, m);
  kube_set(ctl_arena(s), status, "certificate",
           kube_strn(ctl_arena(s), kg_view_str(kg_view_get(kg_msg_args(m), "certificate"))));
  ctl_send_status(ctx, s, CSRS, csr, status);
}

static void ask(kg_ctx_t *ctx, ctl_sync_t *s, kg_doc_t *doc) {
  kg_view_t spec = kg_view_get(kg_view_of(doc), "spec");
  int64_t seconds = kg_view_int(kg_view_get(spec, "expirationSeconds"), 0);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_view(&p, "request", kg_view_get(spec, "request"));
  kg_pack_kv_view(&p, "usages", kg_view_get(spec, "usages"));
  if (seconds) kg_pack_kv_int(&p, "seconds", seconds);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  ctl_request(ctx, s, &(kg_request_t){.service = "gateway", .topic = "gateway.sign-request", .args = args}, signed_,
              doc);
  kg_doc_unref(args);
}

static void sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  certs_t *c = self;
  kg_doc_t *doc;
  ctl_sync_t *s = ctl_sync_object(&c->base.work, key, c->base.informers[0], &doc);
  kg_view_t csr = kg_view_of(doc);
  const struct signer *signer = doc ? signer_of(csr) : NULL;
  bool waits = signer && has_condition(csr, "Approved") && !has_condition(csr, "Failed") &&
               !kg_view_str(kg_view_path(csr, "status", "certificate", NULL)).n;
  if (waits && !usages_fit(signer, kg_view_path(csr, "spec", "usages", NULL)))
    fail(ctx, s, csr, status_of(s, csr), "SignerValidationFailure", "the usages are not those this signer signs for");
  else if (waits)
    ask(ctx, s, doc);
  ctl_sync_end(ctx, self, s);
}

static const ctl_spec_t spec = {
    .size = sizeof(certs_t),
    .component = "csrsigning-controller",
    .sync = sync,
    .watches = {{.gvr = {"certificates.k8s.io", "v1", "certificatesigningrequests"}, .fn = ctl_on_key, .keys = true}}};

CTL_PLUGIN(spec, .name = "controller-certificates",
           .summary = "Signs approved certificate requests for the cluster's own signers");
