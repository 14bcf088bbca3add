/* Where pods find the API: the endpoints of Service default/kubernetes, kept by the one who listens there. */
#include <stdio.h>

#include "gateway.h"
#include "kube/informer.h"
#include "kube/tree.h"

enum { RETRY_MS = 1000 };

static void write_one(gw_t *gw, bool slice, bool create);

static kube_node_t *ports(kube_arena_t *a, int port) {
  kube_node_t *list = kube_array(a), *one = kube_map(a);
  kube_set(a, one, "name", kube_str(a, "https"));
  kube_set(a, one, "port", kube_int(a, port));
  kube_set(a, one, "protocol", kube_str(a, "TCP"));
  kube_push(a, list, one);
  return list;
}

static kube_node_t *object(kube_arena_t *a, const char *label, const char *value) {
  kube_node_t *o = kube_map(a), *meta = kube_sub(a, o, "metadata");
  kube_set(a, meta, "name", kube_str(a, "kubernetes"));
  kube_set(a, meta, "namespace", kube_str(a, "default"));
  kube_set(a, kube_sub(a, meta, "labels"), label, kube_str(a, value));
  return o;
}

static kube_node_t *slice_of(const gw_t *gw, kube_arena_t *a) {
  kube_node_t *o = object(a, "kubernetes.io/service-name", "kubernetes"), *one = kube_map(a);
  kube_node_t *addresses = kube_array(a), *endpoints = kube_array(a);
  kube_push(a, addresses, kube_str(a, gw->pod_address));
  kube_set(a, one, "addresses", addresses);
  kube_set(a, kube_sub(a, one, "conditions"), "ready", kube_bool(a, true));
  kube_push(a, endpoints, one);
  kube_set(a, o, "addressType", kube_str(a, "IPv4"));
  kube_set(a, o, "endpoints", endpoints);
  kube_set(a, o, "ports", ports(a, gw->port));
  return o;
}

static kube_node_t *endpoints_of(const gw_t *gw, kube_arena_t *a) {
  kube_node_t *o = object(a, "endpointslice.kubernetes.io/skip-mirror", "true"), *one = kube_map(a);
  kube_node_t *addresses = kube_array(a), *subsets = kube_array(a), *address = kube_map(a);
  kube_set(a, address, "ip", kube_str(a, gw->pod_address));
  kube_push(a, addresses, address);
  kube_set(a, one, "addresses", addresses);
  kube_set(a, one, "ports", ports(a, gw->port));
  kube_push(a, subsets, one);
  kube_set(a, o, "subsets", subsets);
  return o;
}

static void again_slice(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  write_one(self, true, false);
}

static void again_endpoints(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  write_one(self, false, false);
}

static void answered(gw_t *gw, const kg_msg_t *m, bool slice) {
  int code = kg_msg_type(m) == KG_MSG_ERROR ? kg_msg_code(m) : 0;
  if (!code || !kg_active(gw->ctx)) return;
  if (code == KG_ENOTFOUND) return write_one(gw, slice, true);
  kg_log(gw->ctx, KG_LOG_WARN, "endpoints of the API cannot be written, trying again: %s", kg_msg_text(m));
  kg_timer(gw->ctx, RETRY_MS, 0, slice ? again_slice : again_endpoints, NULL);
}

static void on_slice(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  answered(self, m, true);
}

static void on_endpoints(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  answered(self, m, false);
}

static void write_one(gw_t *gw, bool slice, bool create) {
  kube_arena_t *a = kube_arena_new();
  if (!a) return;
  kg_doc_t *doc = kube_tree_doc(slice ? slice_of(gw, a) : endpoints_of(gw, a));
  kube_call_t call = {
      .gvr = {"", "v1", "endpoints"}, .ns = "default", .object = doc, .field_manager = "kube-apiserver"};
  if (slice) call.gvr = (kube_gvr_t){"discovery.k8s.io", "v1", "endpointslices"};
  kg_reply_fn fn = slice ? on_slice : on_endpoints;
  if (create) {
    kube_api_create(gw->ctx, &call, fn, NULL);
  } else {
    call.name = "kubernetes";
    call.patch_type = "merge";
    kube_api_patch(gw->ctx, &call, fn, NULL);
  }
  kg_doc_unref(doc);
  kube_arena_free(a);
}

static void on_change(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *slice) {
  (void)old, (void)now;
  if (change == KUBE_DELETED && kg_active(ctx)) write_one(self, slice != NULL, true);
}

/* Who deletes them (all of a namespace) means others. */
static void keep(gw_t *gw) {
  kube_informer_config_t config = {.gvr = {"", "v1", "endpoints"},
                                   .ns = "default",
                                   .field_selector = "metadata.name=kubernetes",
                                   .on_change = on_change};
  gw->self_endpoints = kube_informer_start(gw->ctx, &config);
  config.gvr = (kube_gvr_t){"discovery.k8s.io", "v1", "endpointslices"};
  config.arg = gw;
  gw->self_slice = kube_informer_start(gw->ctx, &config);
}

void gw_forget_self(gw_t *gw) {
  kube_informer_stop(gw->ctx, gw->self_endpoints);
  kube_informer_stop(gw->ctx, gw->self_slice);
  gw->self_endpoints = gw->self_slice = NULL;
}

void gw_publish_self(gw_t *gw, kg_str_t address) {
  if (kg_str_is(address, gw->pod_address) || address.n >= sizeof gw->pod_address) return;
  snprintf(gw->pod_address, sizeof gw->pod_address, KG_STR_FMT, KG_STR_ARG(address));
  write_one(gw, false, false);
  write_one(gw, true, false);
  if (!gw->self_slice) keep(gw);
}
