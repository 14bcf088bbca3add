/* The Node objects and their Leases. */
#include <stdio.h>

#include "sim.h"

enum { AT_ONCE = 32, RETRY_MS = 1000, TICK_MS = 1000 };

#define LEASE_NS "kube-node-lease"
static const kube_gvr_t NODES = {"", "v1", "nodes"}, LEASES = {"coordination.k8s.io", "v1", "leases"};

void node_name(const sim_t *s, uint32_t i, char buf[256]) {
  snprintf(buf, 256, "%s%u", s->prefix, i);
}

bool node_index(const sim_t *s, kg_str_t name, uint32_t *i) {
  size_t n = strlen(s->prefix);
  char own[256];
  if (name.n <= n || name.n > n + 9 || memcmp(name.p, s->prefix, n)) return false;
  uint64_t value = 0;
  for (size_t k = n; k < name.n; k++) {
    if (name.p[k] < '0' || name.p[k] > '9') return false;
    value = value * 10 + (unsigned)(name.p[k] - '0');
  }
  if (value >= s->count) return false;
  *i = (uint32_t)value;
  node_name(s, *i, own);
  return kg_str_is(name, own); /* not sim-007 */
}

/* Of the range for documentation and benchmarks: nothing answers there. */
void node_address(uint32_t i, char buf[20]) {
  uint32_t ip = (198u << 24 | 18u << 16) + 1 + i % 131070;
  snprintf(buf, 20, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

/* --- leases
 * -------------------------------------------------------------------------------------------------------------- */

static void lease_answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  node_t *n = arg;
  int code = kg_msg_type(m) == KG_MSG_ERROR ? kg_msg_code(m) : 0;
  n->lease_sending = false;
  if (code == 0 || code == KG_ECONFLICT) n->leased = true;
  if (code == KG_ENOTFOUND) n->leased = false;
}

static void pack_owner(kg_pack_t *p, const node_t *n, const char *name) {
  kg_pack_key(p, "ownerReferences");
  kg_pack_array(p);
  kg_pack_map(p);
  kg_pack_kv_str(p, "apiVersion", "v1");
  kg_pack_kv_str(p, "kind", "Node");
  kg_pack_kv_str(p, "name", name);
  kg_pack_kv_str(p, "uid", n->uid);
  kg_pack_end(p);
  kg_pack_end(p);
}

static kg_doc_t *lease_doc(const sim_t *s, const node_t *n, const char *name) {
  char now[32];
  kg_pack_t p = kg_pack();
  kube_time_format_micro(kg_wall_us(s->ctx), now);
  kg_pack_map(&p);
  if (!n->leased) {
    kg_pack_kv_str(&p, "apiVersion", "coordination.k8s.io/v1");
    kg_pack_kv_str(&p, "kind", "Lease");
    kg_pack_key(&p, "metadata");
    kg_pack_map(&p);
    kg_pack_kv_str(&p, "name", name);
    kg_pack_kv_str(&p, "namespace", LEASE_NS);
    pack_owner(&p, n, name);
    kg_pack_end(&p);
  }
  kg_pack_key(&p, "spec");
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "holderIdentity", name);
  kg_pack_kv_int(&p, "leaseDurationSeconds", s->lease_s);
  kg_pack_kv_str(&p, "renewTime", now);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void renew(sim_t *s, uint32_t i) {
  node_t *n = &s->nodes[i];
  char name[256];
  if (!n->there || n->lease_sending) return;
  node_name(s, i, name);
  kg_doc_t *doc = lease_doc(s, n, name);
  kube_call_t call = {.gvr = LEASES, .ns = LEASE_NS, .object = doc};
  n->lease_sending = true;
  if (n->leased) {
    call.name = name;
    call.patch_type = "merge";
    kube_api_patch(s->ctx, &call, lease_answered, n);
  } else
    kube_api_create(s->ctx, &call, lease_answered, n);
  kg_doc_unref(doc);
}

/* Each lease four times in its duration, a share of them every second. */
static void on_tick(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  sim_t *s = self;
  int64_t seconds = s->lease_s / 4 > 0 ? s->lease_s / 4 : 1;
  uint32_t share = (uint32_t)((s->count + seconds - 1) / seconds);
  for (uint32_t i = 0; i < share && s->active; i++) renew(s, s->next_lease++ % s->count);
}

/* --- registration
 * -------------------------------------------------------------------------------------------------------- */

static void pack_amounts(kg_pack_t *p, const sim_t *s, const char *key) {
  static const char *const usual[][2] = {
      {"cpu", "32"}, {"memory", "256Gi"}, {"pods", "110"}, {"ephemeral-storage", "1Ti"}};
  kg_view_t own = kg_view_get(kg_config(s->ctx), "capacity");
  kg_pack_key(p, key);
  kg_pack_map(p);
  for (size_t i = 0; i < 4; i++)
    if (!kg_view_there(kg_view_get(own, usual[i][0]))) kg_pack_kv_str(p, usual[i][0], usual[i][1]);
  for (kg_iter_t it = kg_iter(own); kg_iter_next(&it);) {
    kg_pack_view(p, it.key);
    if (kg_view_str(it.value).p)
      kg_pack_view(p, it.value);
    else
      kg_pack_fmt(p, "%lld", (long long)kg_view_int(it.value, 0));
  }
  kg_pack_end(p);
}

static void pack_condition(kg_pack_t *p, const char *type, bool on, const char *reason, const char *now) {
  kg_pack_map(p);
  kg_pack_kv_str(p, "type", type);
  kg_pack_kv_str(p, "status", on ? "True" : "False");
  kg_pack_kv_str(p, "reason", reason);
  kg_pack_kv_str(p, "message", "pretended by node-sim");
  kg_pack_kv_str(p, "lastHeartbeatTime", now);
  kg_pack_kv_str(p, "lastTransitionTime", now);
  kg_pack_end(p);
}

static void pack_info(kg_pack_t *p, uint32_t i) {
  static const char *const pairs[][2] = {{"kubeletVersion", "v1.37.0"},
                                         {"kubeProxyVersion", ""},
                                         {"operatingSystem", "linux"},
                                         {"architecture", "amd64"},
                                         {"osImage", "simulated"},
                                         {"kernelVersion", "simulated"},
                                         {"systemUUID", ""},
                                         {"bootID", ""},
                                         {"machineID", ""},
                                         {"containerRuntimeVersion", "sim://0.1.0"}};
  char address[20];
  node_address(i, address);
  kg_pack_key(p, "nodeInfo");
  kg_pack_map(p);
  for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) kg_pack_kv_str(p, pairs[k][0], pairs[k][1]);
  kg_pack_end(p);
  kg_pack_key(p, "addresses");
  kg_pack_array(p);
  kg_pack_map(p);
  kg_pack_kv_str(p, "type", "InternalIP");
  kg_pack_kv_str(p, "address", address);
  kg_pack_end(p);
  kg_pack_end(p);
}

static void pack_status(kg_pack_t *p, const sim_t *s, uint32_t i) {
  char now[32];
  kube_time_format(kg_wall_us(s->ctx), now);
  kg_pack_key(p, "status");
  kg_pack_map(p);
  pack_amounts(p, s, "capacity");
  pack_amounts(p, s, "allocatable");
  pack_info(p, i);
  kg_pack_key(p, "conditions");
  kg_pack_array(p);
  pack_condition(p, "MemoryPressure", false, "KubeletHasSufficientMemory", now);
  pack_condition(p, "DiskPressure", false, "KubeletHasNoDiskPressure", now);
  pack_condition(p, "PIDPressure", false, "KubeletHasSufficientPID", now);
  pack_condition(p, "Ready", true, "KubeletReady", now);
  kg_pack_end(p);
  kg_pack_end(p);
}

static void pack_labels(kg_pack_t *p, const sim_t *s, const char *name, uint32_t i) {
  int64_t zones = kg_view_int(kg_view_get(kg_config(s->ctx), "zones"), 0);
  kg_pack_key(p, "labels");
  kg_pack_map(p);
  kg_pack_kv_str(p, "kubernetes.io/hostname", name);
  kg_pack_kv_str(p, "kubernetes.io/os", "linux");
  kg_pack_kv_str(p, "kubernetes.io/arch", "amd64");
  kg_pack_kv_str(p, "sim.kogge.dev/node", "true");
  if (zones > 0) {
    kg_pack_key(p, "topology.kubernetes.io/zone");
    kg_pack_fmt(p, "zone-%lld", (long long)(i % zones));
  }
  for (kg_iter_t it = kg_iter(kg_view_get(kg_config(s->ctx), "labels")); kg_iter_next(&it);) {
    kg_pack_view(p, it.key);
    kg_pack_view(p, it.value);
  }
  kg_pack_end(p);
}

static kg_doc_t *node_doc(const sim_t *s, uint32_t i) {
  char name[256];
  kg_pack_t p = kg_pack();
  node_name(s, i, name);
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "apiVersion", "v1");
  kg_pack_kv_str(&p, "kind", "Node");
  kg_pack_key(&p, "metadata");
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", name);
  pack_labels(&p, s, name, i);
  kg_pack_end(&p);
  kg_view_t taints = kg_view_get(kg_config(s->ctx), "taints");
  if (kg_view_count(taints)) {
    kg_pack_key(&p, "spec");
    kg_pack_map(&p);
    kg_pack_kv_view(&p, "taints", taints);
    kg_pack_end(&p);
  }
  pack_status(&p, s, i);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void more(sim_t *s);

static void on_register(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  sim_t *s = self;
  s->register_timer = 0;
  s->next_register = 0;
  more(s);
}

static void now_there(sim_t *s, node_t *n, kg_view_t node) {
  snprintf(n->uid, sizeof n->uid, KG_STR_FMT, KG_STR_ARG(kube_uid(node)));
  n->there = true;
  s->registered++;
  renew(s, (uint32_t)(n - s->nodes));
}

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  sim_t *s = self;
  node_t *n = arg;
  char name[256];
  s->in_flight--;
  if (kg_msg_type(m) == KG_MSG_REPLY)
    now_there(s, n, kg_view_of(kg_msg_doc(m, 0)));
  else if (kg_msg_code(m) == KG_ECONFLICT) { /* of an earlier time: as it is */
    s->in_flight++;
    node_name(s, (uint32_t)(n - s->nodes), name);
    kube_api_get(ctx, &(kube_call_t){.gvr = NODES, .name = name}, answered, n);
    return;
  } else if (!s->register_timer)
    s->register_timer = kg_timer(ctx, RETRY_MS, 0, on_register, NULL);
  more(s);
}

static void more(sim_t *s) {
  for (; s->active && s->next_register < s->count && s->in_flight < AT_ONCE; s->next_register++) {
    if (s->nodes[s->next_register].there) continue;
    kg_doc_t *doc = node_doc(s, s->next_register);
    s->in_flight++;
    kube_api_create(s->ctx, &(kube_call_t){.gvr = NODES, .object = doc}, answered, &s->nodes[s->next_register]);
    kg_doc_unref(doc);
  }
}

void nodes_register(sim_t *s) {
  if (!s->lease_timer) s->lease_timer = kg_timer(s->ctx, TICK_MS, TICK_MS, on_tick, NULL);
  s->next_register = 0;
  more(s);
}
