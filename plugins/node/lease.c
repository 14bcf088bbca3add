/* The node's Lease: the sign of life that the node life cycle controller waits for. The store need not keep it safe. */
#include "node.h"

enum { DURATION_S = 40, RENEW_MS = 10000, RETRY_MS = 1000 };

#define LEASE_NS "kube-node-lease"
static const kube_gvr_t LEASES = {"coordination.k8s.io", "v1", "leases"};

static void renew(agent_t *a);

static void on_lease_timer(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  a->lease_timer = 0;
  if (a->active) renew(a);
}

static void again(agent_t *a, int64_t ms) {
  kg_timer_cancel(a->ctx, a->lease_timer);
  a->lease_timer = kg_timer(a->ctx, ms, 0, on_lease_timer, NULL);
}

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  int code = kg_msg_type(m) == KG_MSG_ERROR ? kg_msg_code(m) : 0;
  a->lease_call = 0;
  bool missing = code == KG_ENOTFOUND && a->lease_there, made = code == KG_ECONFLICT && !a->lease_there;
  a->lease_there = !missing && (code == 0 || made || a->lease_there);
  if (missing || made) return renew(a);
  again(a, code ? RETRY_MS : RENEW_MS);
}

static kg_doc_t *lease_object(agent_t *a, bool whole) {
  char now[32];
  kube_arena_t *ar = kube_arena_new();
  kube_node_t *lease = kube_map(ar), *meta = kube_map(ar), *spec = kube_map(ar), *owner = kube_map(ar);
  kube_time_format_micro(kg_wall_us(a->ctx), now);
  kube_set(ar, spec, "renewTime", kube_str(ar, now));
  if (whole) {
    kube_node_t *owners = kube_array(ar);
    kube_set(ar, lease, "kind", kube_str(ar, "Lease"));
    kube_set(ar, lease, "apiVersion", kube_str(ar, "coordination.k8s.io/v1"));
    kube_set(ar, owner, "apiVersion", kube_str(ar, "v1"));
    kube_set(ar, owner, "kind", kube_str(ar, "Node"));
    kube_set(ar, owner, "name", kube_str(ar, a->name));
    kube_set(ar, owner, "uid", kube_str(ar, a->node_uid ? a->node_uid : ""));
    kube_push(ar, owners, owner);
    kube_set(ar, meta, "name", kube_str(ar, a->name));
    kube_set(ar, meta, "namespace", kube_str(ar, LEASE_NS));
    kube_set(ar, meta, "ownerReferences", owners);
    kube_set(ar, lease, "metadata", meta);
    kube_set(ar, spec, "holderIdentity", kube_str(ar, a->name));
    kube_set(ar, spec, "leaseDurationSeconds", kube_int(ar, DURATION_S));
  }
  kube_set(ar, lease, "spec", spec);
  kg_doc_t *doc = kube_tree_doc(lease);
  kube_arena_free(ar);
  return doc;
}

static void renew(agent_t *a) {
  if (a->lease_call) return;
  kg_doc_t *object = lease_object(a, !a->lease_there);
  kube_call_t call = {.gvr = LEASES, .ns = LEASE_NS, .object = object};
  if (a->lease_there) {
    call.name = a->name;
    call.patch_type = "merge";
    a->lease_call = kube_api_patch(a->ctx, &call, answered, NULL);
  } else
    a->lease_call = kube_api_create(a->ctx, &call, answered, NULL);
  kg_doc_unref(object);
}

void lease_start(agent_t *a) {
  if (a->registered) renew(a); /* its owner is known then */
}
