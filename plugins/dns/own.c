/* Service kube-system/kube-dns at the tenth address of the services' network, and the slice that leads to where we
 * listen. */
#include "dns.h"
#include "kube/tree.h"
#include "kube/values.h"

enum { RETRY_MS = 2000 };

static kube_node_t *object(kube_arena_t *a) {
  kube_node_t *o = kube_map(a), *meta = kube_sub(a, o, "metadata");
  kube_set(a, meta, "name", kube_str(a, "kube-dns"));
  kube_set(a, meta, "namespace", kube_str(a, "kube-system"));
  return o;
}

static void add_port(kube_arena_t *a, kube_node_t *list, const char *name, const char *protocol, int port) {
  kube_node_t *one = kube_map(a);
  kube_set(a, one, "name", kube_str(a, name));
  kube_set(a, one, "port", kube_int(a, port));
  kube_set(a, one, "protocol", kube_str(a, protocol));
  kube_push(a, list, one);
}

static kube_node_t *ports(kube_arena_t *a, int port) {
  kube_node_t *list = kube_array(a);
  add_port(a, list, "dns", "UDP", port);
  add_port(a, list, "dns-tcp", "TCP", port);
  return list;
}

static kube_node_t *service_of(const dns_t *d, kube_arena_t *a) {
  kube_node_t *o = object(a), *labels = kube_sub(a, kube_get(o, "metadata"), "labels"), *spec = kube_sub(a, o, "spec");
  kube_set(a, labels, "k8s-app", kube_str(a, "kube-dns"));
  kube_set(a, labels, "kubernetes.io/cluster-service", kube_str(a, "true"));
  kube_set(a, labels, "kubernetes.io/name", kube_str(a, "KubeDNS"));
  kube_set(a, spec, "clusterIP", kube_str(a, d->cluster_ip));
  kube_set(a, spec, "ports", ports(a, 53));
  return o;
}

static kube_node_t *slice_of(const dns_t *d, kube_arena_t *a) {
  kube_node_t *o = object(a), *labels = kube_sub(a, kube_get(o, "metadata"), "labels"), *one = kube_map(a);
  kube_node_t *addresses = kube_array(a), *endpoints = kube_array(a);
  kube_set(a, labels, "kubernetes.io/service-name", kube_str(a, "kube-dns"));
  kube_set(a, labels, "endpointslice.kubernetes.io/managed-by", kube_str(a, "dns.kogge"));
  kube_push(a, addresses, kube_str(a, d->address));
  kube_set(a, one, "addresses", addresses);
  kube_set(a, kube_sub(a, one, "conditions"), "ready", kube_bool(a, true));
  kube_push(a, endpoints, one);
  kube_set(a, o, "addressType", kube_str(a, "IPv4"));
  kube_set(a, o, "endpoints", endpoints);
  kube_set(a, o, "ports", ports(a, d->port));
  return o;
}

static void again(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  dns_t *d = self;
  d->retry_timer = 0;
  own_write(d);
}

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  dns_t *d = self;
  d->writing = false;
  bool bad = kg_msg_type(m) == KG_MSG_ERROR && kg_msg_code(m) != KG_ECONFLICT;
  if (bad) kg_log(ctx, KG_LOG_WARN, "Service kube-dns cannot be written, trying again: %s", kg_msg_text(m));
  if (!d->retry_timer) d->retry_timer = kg_timer(ctx, bad ? RETRY_MS : 100, 0, again, NULL);
}

static void send_object(dns_t *d, bool slice, bool there) {
  kube_arena_t *a = kube_arena_new();
  if (!a) return;
  kg_doc_t *doc = kube_tree_doc(slice ? slice_of(d, a) : service_of(d, a));
  kube_call_t call = {.gvr = {"", "v1", "services"}, .ns = "kube-system", .object = doc};
  if (slice) call.gvr = (kube_gvr_t){"discovery.k8s.io", "v1", "endpointslices"};
  d->writing = true;
  if (there) {
    call.name = "kube-dns";
    call.patch_type = "merge";
    kube_api_patch(d->ctx, &call, answered, NULL);
  } else {
    kube_api_create(d->ctx, &call, answered, NULL);
  }
  kg_doc_unref(doc);
  kube_arena_free(a);
}

static bool slice_is_right(const dns_t *d, kg_view_t slice) {
  kg_view_t endpoint = kg_view_at(kg_view_get(slice, "endpoints"), 0);
  kg_view_t port = kg_view_at(kg_view_get(slice, "ports"), 0);
  return kg_str_is(kg_view_str(kg_view_at(kg_view_get(endpoint, "addresses"), 0)), d->address) &&
         kg_view_int(kg_view_get(port, "port"), 0) == d->port;
}

void own_write(dns_t *d) {
  bool synced = kube_informer_synced(d->services) && kube_informer_synced(d->slices);
  if (!synced || d->udp < 0 || d->writing || d->retry_timer || !kg_active(d->ctx)) return;
  kg_str_t ns = KG_STR("kube-system"), name = KG_STR("kube-dns");
  kg_doc_t *service = kube_informer_get(d->services, ns, name), *slice = kube_informer_get(d->slices, ns, name);
  if (!service) return send_object(d, false, false);
  if (!slice || !slice_is_right(d, kg_view_of(slice))) send_object(d, true, slice != NULL);
}
