/* The agent's ties: to the runtime, whose containers it finds again, and to the pods of its node. */
#include <stdio.h>

#include "node.h"

enum { RETRY_MS = 1000, SUCCESSOR_MS = 10 };

static const kube_gvr_t PODS = {"", "v1", "pods"}, SERVICES = {"", "v1", "services"}, NODES = {"", "v1", "nodes"},
                        CONFIGMAPS = {"", "v1", "configmaps"}, SECRETS = {"", "v1", "secrets"},
                        CLASSES = {"node.k8s.io", "v1", "runtimeclasses"},
                        CLAIMS = {"", "v1", "persistentvolumeclaims"}, PERSISTENT = {"", "v1", "persistentvolumes"};

void agent_call(agent_t *a, const char *service, const char *topic, kg_doc_t *args, kg_reply_fn fn) {
  kg_send(a->ctx, &(kg_request_t){.service = service, .topic = topic, .args = args, .fn = fn});
  kg_doc_unref(args);
}

pod_t *agent_pod(agent_t *a, kg_str_t ns, kg_str_t name) {
  for (pod_t *p = a->list; p; p = p->next)
    if (p->doc && !p->gone && kg_str_is(name, p->name) && kg_str_is(ns, p->ns)) return p;
  return NULL;
}

static pod_t *pod_by_uid(agent_t *a, kg_str_t uid) {
  for (pod_t *p = a->list; p; p = p->next)
    if (kg_str_is(uid, p->uid)) return p;
  return NULL;
}

box_t *agent_box(agent_t *a, kg_str_t id) {
  for (pod_t *p = a->list; p; p = p->next)
    for (size_t i = 0; i < p->nboxes; i++)
      if (p->boxes[i]->id && kg_str_is(id, p->boxes[i]->id)) return p->boxes[i];
  return NULL;
}

static void kick_all(agent_t *a) {
  for (pod_t *p = a->list; p; p = p->next) pod_kick(p);
}

/* --- what pods refer to
 * ------------------------------------------------------------------------------------------------ */

void agent_config_changed(agent_t *a, kg_str_t ns) {
  for (pod_t *p = a->list; p; p = p->next) {
    if (p->gone || !kg_str_is(ns, p->ns) || pod_ending(p)) continue;
    if (p->volumes == 1) volumes_refresh(p);
    p->volumes_retry_ms = 0;
    for (size_t i = 0; i < p->nboxes; i++)
      if (p->boxes[i]->wait_reason && !strcmp(p->boxes[i]->wait_reason, "CreateContainerConfigError"))
        p->boxes[i]->retry_ms = 0;
    pod_kick(p);
  }
}

static void on_config(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)ctx, (void)change, (void)old, (void)arg;
  agent_t *a = self;
  if (a->active) agent_config_changed(a, kube_namespace(now));
}

static void config_synced(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  for (pod_t *p = a->list; p; p = p->next) {
    p->volumes_retry_ms = 0;
    pod_kick(p);
  }
}

/* A claim or a volume: those that could not be mounted are tried again. */
static void on_claim(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)ctx, (void)change, (void)old, (void)now, (void)arg;
  const agent_t *a = self;
  for (pod_t *p = a->active ? a->list : NULL; p; p = p->next) {
    if (p->volumes) continue;
    p->volumes_retry_ms = 0;
    pod_kick(p);
  }
}

static kube_informer_t *informer(agent_t *a, kube_informer_t **at, kube_gvr_t gvr, kube_change_fn on_change) {
  if (!*at)
    *at = kube_informer_start(
        a->ctx, &(kube_informer_config_t){.gvr = gvr, .on_change = on_change, .on_synced = config_synced});
  return *at;
}

kube_informer_t *agent_configmaps(agent_t *a) {
  return informer(a, &a->configmaps, CONFIGMAPS, on_config);
}

kube_informer_t *agent_secrets(agent_t *a) {
  return informer(a, &a->secrets, SECRETS, on_config);
}

kube_informer_t *agent_runtime_classes(agent_t *a) {
  return informer(a, &a->classes, CLASSES, on_config);
}

kube_informer_t *agent_claims(agent_t *a) {
  return informer(a, &a->claims, CLAIMS, on_claim);
}

kube_informer_t *agent_persistent_volumes(agent_t *a) {
  return informer(a, &a->persistent, PERSISTENT, on_claim);
}

/* --- the pods of this node
 * --------------------------------------------------------------------------------------------- */

static void pod_vanished(agent_t *a, kg_view_t object) {
  pod_t *p = pod_by_uid(a, kube_uid(object));
  if (!p) return;
  p->gone = true;
  pod_kick(p);
}

static void pod_seen(agent_t *a, kg_view_t object) {
  kg_doc_t *doc = kube_informer_get(a->pods, kube_namespace(object), kube_name(object));
  pod_t *p = pod_by_uid(a, kube_uid(object));
  if (!doc) return;
  if (p)
    pod_update(p, doc);
  else if ((p = pod_new(a, object, doc)))
    pod_kick(p);
}

static void on_pod(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  if (!a->adopted) return; /* they are all looked at then */
  if (static_is_mirror(now)) return static_mirror_seen(a, now, change == KUBE_DELETED);
  if (change == KUBE_DELETED) return pod_vanished(a, now);
  if (change == KUBE_MODIFIED && !kg_str_eq(kube_uid(old), kube_uid(now))) pod_vanished(a, old);
  pod_seen(a, now);
}

static void adopt(agent_t *a) {
  kg_view_t list = kg_view_of(a->listed);
  kg_doc_t *doc;
  static_adopt(a, list);
  for (size_t i = 0; (doc = kube_informer_at(a->pods, i)); i++) {
    if (static_is_mirror(kg_view_of(doc))) {
      static_mirror_seen(a, kg_view_of(doc), false);
      continue;
    }
    pod_t *p = pod_new(a, kg_view_of(doc), doc);
    if (p) pod_adopt(p, list);
  }
  for (kg_iter_t it = kg_iter(kg_view_get(list, "sandboxes")); kg_iter_next(&it);)
    if (!pod_by_uid(a, kg_view_str(kg_view_get(it.value, "uid")))) pod_new_orphan(a, it.value);
  a->adopted = true;
  volumes_remove_strange(a);
  kg_doc_clear(&a->listed);
  kg_doc_clear(&a->handed);
  kick_all(a);
}

/* Containers see the services of their name space: these must be known, too. */
static bool synced(const agent_t *a) {
  return kube_informer_synced(a->pods) && kube_informer_synced(a->services) && kube_informer_synced(a->node);
}

static void maybe_adopt(agent_t *a) {
  if (!a->active || a->adopted || !a->listed || !synced(a)) return;
  if (a->registered) static_start(a);
  if (static_known(a)) adopt(a);
}

void static_settled(agent_t *a) {
  maybe_adopt(a);
}

static void pods_synced(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  agent_t *a = self;
  if (synced(a)) kg_ready(ctx);
  maybe_adopt(a);
}

static void on_node(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)ctx, (void)change, (void)arg;
  if (!kg_view_equal(kg_view_path(old, "status", "capacity", NULL), kg_view_path(now, "status", "capacity", NULL)))
    node_changed(self);
}

void agent_watch_pods(agent_t *a) {
  a->services = kube_informer_start(a->ctx, &(kube_informer_config_t){.gvr = SERVICES, .on_synced = pods_synced});
  char *own = format("metadata.name=%s", a->name), *selector = format("spec.nodeName=%s", a->name);
  a->node = kube_informer_start(
      a->ctx,
      &(kube_informer_config_t){.gvr = NODES, .field_selector = own, .on_change = on_node, .on_synced = pods_synced});
  free(own);
  a->pods = kube_informer_start(
      a->ctx, &(kube_informer_config_t){
                  .gvr = PODS, .field_selector = selector, .on_change = on_pod, .on_synced = pods_synced});
  free(selector);
}

/* --- what the runtime has
 * ---------------------------------------------------------------------------------------------- */

static void on_connect_timer(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  a->connect_timer = 0;
  agent_connect(a);
}

/* Something does not answer: from the start again, soon. */
static void reconnect(agent_t *a, const char *what, const char *why) {
  if (!a->active) return;
  if (a->runtime_up) kg_log(a->ctx, KG_LOG_WARN, "%s: %s", what, why);
  a->runtime_up = false;
  node_changed(a);
  if (!a->connect_timer) a->connect_timer = kg_timer(a->ctx, RETRY_MS, 0, on_connect_timer, NULL);
}

static void listed(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  a->listing = false;
  if (!a->active) return;
  if (kg_msg_type(m) != KG_MSG_REPLY) return reconnect(a, "containers could not be listed", kg_msg_text(m));
  if (!a->adopted) {
    kg_doc_unref(a->listed);
    a->listed = kg_doc_ref(kg_msg_args_doc(m));
    return maybe_adopt(a);
  }
  for (pod_t *p = a->list; p; p = p->next) pod_relisted(p, kg_msg_args(m), a->list_asked_us);
  kick_all(a);
}

static void list_now(agent_t *a) {
  if (a->listing) return;
  a->listing = true;
  a->list_asked_us = kg_wall_us(a->ctx);
  agent_call(a, a->runtime, "runtime.list", NULL, listed);
}

static void on_relist(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  a->relist_timer = 0;
  list_now(a);
}

void agent_relist(agent_t *a, int64_t delay_ms) {
  if (!a->relist_timer && a->active) a->relist_timer = kg_timer(a->ctx, delay_ms, 0, on_relist, NULL);
}

static void container_changed(agent_t *a, kg_view_t item) {
  kg_str_t type = kg_view_str(kg_view_get(item, "type"));
  box_t *b = agent_box(a, kg_view_str(kg_view_get(item, "id")));
  if (!b) return;
  if (kg_str_is(type, "started"))
    box_is_running(b, kg_view_int(kg_view_get(item, "started"), 0));
  else if (kg_str_is(type, "exited") && b->state != BOX_EXITED)
    box_exited(b, kg_view_int(kg_view_get(item, "exitCode"), 0), kg_view_bool(kg_view_get(item, "oom"), false),
               kg_view_int(kg_view_get(item, "started"), 0), kg_view_int(kg_view_get(item, "finished"), 0), true);
}

static void watched(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  agent_t *a = self;
  if (kg_msg_type(m) == KG_MSG_ITEM) return container_changed(a, kg_msg_args(m));
  a->watch_call = 0;
  if (!a->active) return;
  /* Another one took its place, mostly: the node is no less ready for it. If none is there, its version is not told. */
  if (!a->connect_timer) a->connect_timer = kg_timer(ctx, SUCCESSOR_MS, 0, on_connect_timer, NULL);
}

static void network_answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  bool up = kg_msg_type(m) == KG_MSG_REPLY;
  set_str(&a->network_error, up ? NULL : strdup(kg_msg_text(m)));
  if (!up) reconnect(a, "the network is not ready", kg_msg_text(m));
  if (up != a->network_up) node_changed(a);
  a->network_up = up;
}

static void configure_network(agent_t *a) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "podCIDR", a->pod_cidr);
  kg_pack_end(&p);
  agent_call(a, a->network, "network.configure", kg_pack_doc(&p), network_answered);
}

/* Watched before it is listed: nothing is missed in between. */
static void runtime_answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  agent_t *a = self;
  kg_view_t args = kg_msg_args(m);
  if (!a->active) return;
  if (kg_msg_type(m) != KG_MSG_REPLY) return reconnect(a, "the runtime does not answer", kg_msg_text(m));
  set_str(&a->runtime_name, kg_str_dup(kg_view_str(kg_view_get(args, "name"))));
  set_str(&a->runtime_version, kg_str_dup(kg_view_str(kg_view_get(args, "version"))));
  kg_view_t features = kg_view_get(args, "features");
  a->mounts_recursively = kg_view_bool(kg_view_get(features, "recursiveReadOnlyMounts"), false);
  a->strict_groups = kg_view_bool(kg_view_get(features, "supplementalGroupsPolicy"), false);
  a->runtime_up = true;
  node_changed(a);
  if (!a->watch_call)
    a->watch_call = kg_send(ctx, &(kg_request_t){.service = a->runtime,
                                                 .topic = "runtime.watch",
                                                 .stream = true,
                                                 .credit = 1024,
                                                 .timeout_ms = -1,
                                                 .fn = watched});
  list_now(a);
}

void agent_connect(agent_t *a) {
  if (!a->network_up) configure_network(a);
  if (!a->runtime_up || !a->watch_call) agent_call(a, a->runtime, "runtime.version", NULL, runtime_answered);
}

void agent_stop(agent_t *a) {
  a->active = a->adopted = a->runtime_up = a->network_up = false;
  stats_stop(a);
  static_stop(a);
  if (a->watch_call) kg_cancel(a->ctx, a->watch_call);
  uint64_t *const timers[] = {&a->relist_timer, &a->connect_timer, &a->node_timer,
                              &a->lease_timer,  &a->rotate_timer,  &a->storage_timer};
  for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++) {
    kg_timer_cancel(a->ctx, *timers[i]);
    *timers[i] = 0;
  }
  a->watch_call = 0;
  a->listing = false;
  while (a->list) pod_free(a->list);
  kg_doc_clear(&a->listed);
}
