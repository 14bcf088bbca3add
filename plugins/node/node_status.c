/* The Node object: registered once, its status sent when something has changed, and every five minutes. */
#include <stdio.h>

#include "node.h"

enum { SOON_MS = 20, RETRY_MS = 1000, LOOK_MS = 10000, REPORT_MS = 300000 };

static const kube_gvr_t NODES = {"", "v1", "nodes"};

typedef struct words {
  const char *type, *reason[2], *message[2], *event[2]; /* [0]: False, [1]: True */
} words_t;

static const words_t words[NODE_CONDITIONS] = {
    [NODE_MEMORY] = {"MemoryPressure",
                     {"KubeletHasSufficientMemory", "KubeletHasInsufficientMemory"},
                     {"kubelet has sufficient memory available", "kubelet has insufficient memory available"},
                     {"NodeHasSufficientMemory", "NodeHasInsufficientMemory"}},
    [NODE_DISK] = {"DiskPressure",
                   {"KubeletHasNoDiskPressure", "KubeletHasDiskPressure"},
                   {"kubelet has no disk pressure", "kubelet has disk pressure"},
                   {"NodeHasNoDiskPressure", "NodeHasDiskPressure"}},
    [NODE_PID] = {"PIDPressure",
                  {"KubeletHasSufficientPID", "KubeletHasInsufficientPID"},
                  {"kubelet has sufficient PID available", "kubelet has insufficient PID available"},
                  {"NodeHasSufficientPID", "NodeHasInsufficientPID"}},
    [NODE_READY] = {"Ready",
                    {"KubeletNotReady", "KubeletReady"},
                    {NULL, "kubelet is posting ready status"},
                    {"NodeNotReady", "NodeReady"}}};

/* --- conditions
 * ---------------------------------------------------------------------------------------------------------- */

static char *not_ready_message(const agent_t *a) {
  char *network = NULL, *all;
  if (!a->network_up)
    network = format("container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
                     "message:Network plugin returns error: %s",
                     a->network_error ? a->network_error : "network plugin is not configured yet");
  if (a->runtime_up) return network;
  all = format(network ? "[container runtime is down, %s]" : "container runtime is down", network);
  free(network);
  return all;
}

/* kubelets tell of a node by its name in the place of the uid, and kubectl describe looks for that. */
static void node_event(agent_t *a, const char *type, const char *reason, const char *text) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "kind", "Node");
  kg_pack_key(&p, "metadata");
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", a->name);
  kg_pack_kv_str(&p, "uid", a->name);
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_doc_t *node = kg_pack_doc(&p);
  if (a->recorder) kube_event(a->ctx, a->recorder, kg_view_of(node), type, reason, "%s", text);
  kg_doc_unref(node);
}

static void look(agent_t *a, int i) {
  node_condition_t *c = &a->conditions[i];
  bool on = i == NODE_READY ? a->runtime_up && a->network_up : node_pressure(a, i);
  if (c->known && c->on == on) return;
  char *text = format("Node %s status is now: %s", a->name, words[i].event[on]);
  if (text && (c->known || i != NODE_READY || on)) node_event(a, "Normal", words[i].event[on], text);
  free(text);
  c->known = true;
  c->on = on;
  now_text(a, c->since);
}

static void conditions(agent_t *a, kube_arena_t *ar, kube_node_t *status) {
  kube_node_t *list = kube_array(ar);
  char now[32];
  now_text(a, now);
  for (int i = 0; i < NODE_CONDITIONS; i++) {
    look(a, i);
    const node_condition_t *c = &a->conditions[i];
    char *own = words[i].message[c->on] ? NULL : not_ready_message(a);
    kube_node_t *one = kube_map(ar);
    kube_set(ar, one, "type", kube_str(ar, words[i].type));
    kube_set(ar, one, "status", kube_str(ar, c->on ? "True" : "False"));
    kube_set(ar, one, "lastHeartbeatTime", kube_str(ar, now));
    kube_set(ar, one, "lastTransitionTime", kube_str(ar, c->since));
    kube_set(ar, one, "reason", kube_str(ar, words[i].reason[c->on]));
    kube_set(ar, one, "message", kube_str(ar, own ? own : words[i].message[c->on]));
    kube_push(ar, list, one);
    free(own);
  }
  kube_set(ar, status, "conditions", list);
}

/* Times of conditions that go on as the API has them. */
static void recall(agent_t *a, kg_view_t node) {
  for (kg_iter_t it = kg_iter(kg_view_path(node, "status", "conditions", NULL)); kg_iter_next(&it);)
    for (int i = 0; i < NODE_CONDITIONS; i++) {
      kg_str_t since = VIEW_STR(it.value, "lastTransitionTime"), state = VIEW_STR(it.value, "status");
      if (!kg_str_is(VIEW_STR(it.value, "type"), words[i].type) || !since.n || a->conditions[i].known) continue;
      if (!kg_str_is(state, "True") && !kg_str_is(state, "False")) continue;
      a->conditions[i].known = true;
      a->conditions[i].on = kg_str_is(state, "True");
      snprintf(a->conditions[i].since, sizeof a->conditions[i].since, KG_STR_FMT, KG_STR_ARG(since));
    }
}

/* --- status
 * -------------------------------------------------------------------------------------------------------------- */

static void on_node_timer(kg_ctx_t *ctx, void *self, void *arg);

static void arm(agent_t *a, int64_t ms) {
  kg_timer_cancel(a->ctx, a->node_timer);
  a->node_timer = kg_timer(a->ctx, ms, 0, on_node_timer, NULL);
}

static kg_doc_t *status_patch(kube_arena_t *ar, kube_node_t *status) {
  kube_node_t *patch = kube_map(ar);
  kube_set(ar, patch, "status", status);
  return kube_tree_doc(patch);
}

static void status_sent(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  bool again = a->node_again;
  a->node_sending = a->node_again = false;
  if (kg_msg_type(m) == KG_MSG_REPLY) return arm(a, again ? SOON_MS : LOOK_MS);
  kg_doc_clear(&a->node_sent);
  if (kg_msg_code(m) == KG_ENOTFOUND) a->registered = false; /* somebody deleted it: a kubelet makes it anew */
  arm(a, RETRY_MS);
}

/* What is the same apart from the heartbeats, is sent every five minutes only. */
static bool is_news(agent_t *a, const kube_node_t *status, kube_arena_t *ar) {
  kube_node_t *bare = kube_tree_clone(ar, status), *list = kube_get(bare, "conditions");
  for (uint32_t i = 0; list && i < list->c.n; i++) kube_del(list->c.items[i], "lastHeartbeatTime");
  kg_doc_t *doc = kube_tree_doc(bare);
  bool same = a->node_sent && kg_view_equal(kg_view_of(doc), kg_view_of(a->node_sent));
  if (same && kg_now_ms(a->ctx) - a->node_sent_ms < REPORT_MS) {
    kg_doc_unref(doc);
    return false;
  }
  kg_doc_unref(a->node_sent);
  a->node_sent = doc;
  a->node_sent_ms = kg_now_ms(a->ctx);
  return true;
}

static void send_status(agent_t *a) {
  kube_arena_t *ar = kube_arena_new();
  kube_node_t *status = node_facts(a, ar);
  conditions(a, ar, status);
  if (is_news(a, status, ar)) {
    kg_doc_t *patch = status_patch(ar, status);
    a->node_sending = true;
    kube_api_patch(
        a->ctx,
        &(kube_call_t){.gvr = NODES, .name = a->name, .sub = "status", .patch_type = "strategic", .object = patch},
        status_sent, NULL);
    kg_doc_unref(patch);
  } else
    arm(a, LOOK_MS);
  kube_arena_free(ar);
}

static void images_listed(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  a->node_sending = false;
  if (!a->active) return;
  if (kg_msg_type(m) == KG_MSG_REPLY) {
    kg_doc_unref(a->images);
    a->images = kg_doc_ref(kg_msg_args_doc(m));
  }
  send_status(a);
}

static void on_node_timer(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  a->node_timer = 0;
  if (!a->active || a->node_sending) return;
  if (!a->registered) return node_register(a);
  if (!a->runtime_up) return send_status(a);
  images_look(a);
  a->node_sending = true;
  agent_call(a, a->runtime, "image.list", NULL, images_listed);
}

void node_changed(agent_t *a) {
  if (!a->registered) return; /* will be told with the rest */
  if (a->node_sending)
    a->node_again = true;
  else
    arm(a, SOON_MS);
}

/* --- registration
 * -------------------------------------------------------------------------------------------------------- */

static void set_ranges(agent_t *a, kube_arena_t *ar, kube_node_t *spec) {
  kube_node_t *list = kube_array(ar);
  if (!a->pod_cidr) return;
  kube_push(ar, list, kube_str(ar, a->pod_cidr));
  kube_set(ar, spec, "podCIDR", kube_str(ar, a->pod_cidr));
  kube_set(ar, spec, "podCIDRs", list);
}

static void tell_start(agent_t *a, kg_str_t boot_before) {
  char now[64], text[256];
  boot_id(now);
  node_event(a, "Normal", "Starting", "Starting kubelet.");
  if (!boot_before.n || kg_str_is(boot_before, now)) return;
  snprintf(text, sizeof text, "Node %s has been rebooted, boot id: %s", a->name, now);
  node_event(a, "Warning", "Rebooted", text);
}

static void is_registered(agent_t *a, kg_view_t node) {
  kg_str_t range = VIEW_STR(node, "spec", "podCIDR");
  set_str(&a->node_uid, kg_str_dup(kube_uid(node)));
  tell_start(a, VIEW_STR(node, "status", "nodeInfo", "bootID"));
  recall(a, node);
  if (range.n && a->pod_cidr && !kg_str_is(range, a->pod_cidr))
    kg_log(a->ctx, KG_LOG_WARN, "node %s: its object says podCIDR " KG_STR_FMT ", the configuration %s", a->name,
           KG_STR_ARG(range), a->pod_cidr);
  a->registered = true;
  lease_start(a);
  arm(a, 0);
  static_settled(a);
}

static void registered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg);

/* Labels that are ours are set, and the address range if it has none; all else stays as others made it. */
static bool needs_mending(agent_t *a, kg_view_t node, kube_arena_t *ar, kube_node_t *patch) {
  kube_node_t *labels = kube_sub(ar, kube_sub(ar, patch, "metadata"), "labels");
  bool differs = !VIEW_STR(node, "spec", "podCIDR").n && a->pod_cidr;
  if (differs) set_ranges(a, ar, kube_sub(ar, patch, "spec"));
  node_labels(a, ar, labels);
  for (uint32_t i = 0; i < labels->c.n; i++)
    if (!kg_str_eq(kube_node_str(labels->c.items[i]),
                   kg_view_str(kg_view_get_str(kube_labels(node), labels->c.keys[i]))))
      differs = true;
  return differs;
}

static void found(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  kg_view_t node = kg_view_of(kg_msg_doc(m, 0));
  a->registering = false;
  if (kg_msg_type(m) != KG_MSG_REPLY) return arm(a, RETRY_MS);
  for (int i = 0; i < NODE_CONDITIONS; i++) a->conditions[i].known = false; /* it says since when they are so */
  kube_arena_t *ar = kube_arena_new();
  kube_node_t *patch = kube_map(ar);
  if (needs_mending(a, node, ar, patch)) {
    kg_doc_t *doc = kube_tree_doc(patch);
    a->registering = true;
    kube_api_patch(a->ctx, &(kube_call_t){.gvr = NODES, .name = a->name, .patch_type = "merge", .object = doc},
                   registered, NULL);
    kg_doc_unref(doc);
  } else
    is_registered(a, node);
  kube_arena_free(ar);
}

static void registered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  agent_t *a = self;
  a->registering = false;
  if (kg_msg_type(m) == KG_MSG_REPLY) return is_registered(a, kg_view_of(kg_msg_doc(m, 0)));
  if (kg_msg_code(m) != KG_ECONFLICT) {
    kg_log(ctx, KG_LOG_WARN, "node %s could not be registered: %s", a->name, kg_msg_text(m));
    return arm(a, RETRY_MS);
  }
  a->registering = true;
  kube_api_get(ctx, &(kube_call_t){.gvr = NODES, .name = a->name}, found, NULL);
}

static kg_doc_t *node_object(agent_t *a) {
  kube_arena_t *ar = kube_arena_new();
  kube_node_t *node = kube_map(ar), *meta = kube_map(ar), *spec = kube_map(ar), *status = node_facts(a, ar);
  kube_set(ar, node, "kind", kube_str(ar, "Node"));
  kube_set(ar, node, "apiVersion", kube_str(ar, "v1"));
  kube_set(ar, meta, "name", kube_str(ar, a->name));
  node_labels(a, ar, kube_sub(ar, meta, "labels"));
  kube_set(ar, node, "metadata", meta);
  set_ranges(a, ar, spec);
  kube_set(ar, node, "spec", spec);
  conditions(a, ar, status);
  kube_set(ar, node, "status", status);
  kg_doc_t *doc = kube_tree_doc(node);
  kube_arena_free(ar);
  return doc;
}

void node_register(agent_t *a) {
  if (a->registered) arm(a, 0); /* it acts for the node again */
  if (a->registering || a->registered) return;
  kg_doc_t *node = node_object(a);
  a->registering = true;
  kube_api_create(a->ctx, &(kube_call_t){.gvr = NODES, .object = node}, registered, NULL);
  kg_doc_unref(node);
}
