/* One pass over a node: its conditions when it is silent, its taints, the readiness of its pods. */
#include <stdio.h>
#include <string.h>

#include "lifecycle.h"

/* --- conditions --------------------------------------------------------------------------------------------------- */

static void make_unknown(pass_t *p, kube_node_t *list, const char *type) {
  kube_arena_t *a = p->arena;
  kube_node_t *c = ctl_condition(list, type);
  char now[32];
  kube_time_format(kg_wall_us(p->ctx), now);
  if (c && kg_str_is(kube_node_str(kube_get(c, "status")), "Unknown")) return;
  if (!c) {
    kg_view_t born = kg_view_path(p->object, "metadata", "creationTimestamp", NULL);
    kube_push(a, list, c = kube_map(a));
    kube_set(a, c, "type", kube_str(a, type));
    kube_set(a, c, "lastHeartbeatTime", kube_strn(a, kg_view_str(born)));
    kube_set(a, c, "reason", kube_str(a, "NodeStatusNeverUpdated"));
    kube_set(a, c, "message", kube_str(a, "Kubelet never posted node status."));
  } else {
    kube_set(a, c, "reason", kube_str(a, "NodeStatusUnknown"));
    kube_set(a, c, "message", kube_str(a, "Kubelet stopped posting node status."));
  }
  kube_set(a, c, "status", kube_str(a, "Unknown"));
  kube_set(a, c, "lastTransitionTime", kube_str(a, now));
}

static bool write_unknown(pass_t *p) {
  static const char *const types[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};
  kube_arena_t *a = p->arena;
  kg_view_t old = kg_view_get(p->object, "status");
  kube_node_t *status = kg_view_there(old) ? kube_tree_clone(a, kube_tree_parse(a, old)) : kube_map(a);
  kube_node_t *list = kube_get(status, "conditions");
  if (!list || list->type != KG_V_ARRAY) kube_set(a, status, "conditions", list = kube_array(a));
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) make_unknown(p, list, types[i]);
  if (!ctl_send_status(p->ctx, p->sync, GVR_NODES, p->object, status)) return false;
  kg_str_t name = kube_name(p->object);
  if (kg_str_is(condition_status(p->object, "Ready"), "True"))
    kube_event(p->ctx, p->c->base.recorder, p->object, "Normal", "NodeNotReady",
               "Node " KG_STR_FMT " status is now: NodeNotReady", KG_STR_ARG(name));
  return true;
}

/* --- pods of a node that is silent -------------------------------------------------------------------------------- */

static void mark_pod(pass_t *p, kg_view_t pod) {
  kube_arena_t *a = p->arena;
  char now[32];
  kube_time_format(kg_wall_us(p->ctx), now);
  kube_node_t *patch = kube_map(a), *list = kube_array(a), *c = kube_map(a);
  kube_set(a, kube_sub(a, patch, "metadata"), "uid", kube_strn(a, kube_uid(pod)));
  kube_set(a, c, "type", kube_str(a, "Ready"));
  kube_set(a, c, "status", kube_str(a, "False"));
  kube_set(a, c, "lastTransitionTime", kube_str(a, now));
  kube_push(a, list, c);
  kube_set(a, kube_sub(a, patch, "status"), "conditions", list);
  kg_doc_t *doc = kube_tree_doc(patch);
  ctl_send(p->ctx, p->sync, CTL_PATCH,
           &(kube_call_t){.gvr = GVR_PODS,
                          .ns = ctl_text(a, kube_namespace(pod)),
                          .name = ctl_text(a, kube_name(pod)),
                          .sub = "status",
                          .object = doc,
                          .patch_type = "strategic",
                          .grace_seconds = -1},
           NULL, NULL);
  kg_doc_unref(doc);
  kube_event(p->ctx, p->c->base.recorder, pod, "Warning", "NodeNotReady", "Node is not ready");
}

static void mark_pods(pass_t *p) {
  kg_str_t name = kube_name(p->object);
  kg_doc_t *doc;
  for (size_t i = 0; (doc = kube_informer_at(p->c->base.informers[PODS], i)); i++) {
    kg_view_t pod = kg_view_of(doc);
    if (kg_str_eq(kg_view_str(kg_view_path(pod, "spec", "nodeName", NULL)), name) && ctl_pod_ready(pod, NULL))
      mark_pod(p, pod);
  }
}

/* --- taints ------------------------------------------------------------------------------------------------------- */

typedef struct wanted {
  const char *key, *effect;
  bool there;
} wanted_t;
enum { WANTED = 16 };

static size_t want(pass_t *p, wanted_t w[WANTED]) {
  static const struct {
    const char *type, *status, *key;
  } map[] = {{"Ready", "False", TAINT("not-ready")},
             {"Ready", "Unknown", TAINT("unreachable")},
             {"MemoryPressure", "True", TAINT("memory-pressure")},
             {"DiskPressure", "True", TAINT("disk-pressure")},
             {"PIDPressure", "True", TAINT("pid-pressure")},
             {"NetworkUnavailable", "True", TAINT("network-unavailable")}};
  size_t n = 0;
  for (size_t i = 0; i < sizeof map / sizeof *map; i++) {
    if (!kg_str_is(condition_status(p->object, map[i].type), map[i].status)) continue;
    w[n++] = (wanted_t){map[i].key, "NoSchedule", false};
    if (i < 2 && !all_disrupted(p->c)) w[n++] = (wanted_t){map[i].key, "NoExecute", false};
  }
  if (kg_view_bool(kg_view_path(p->object, "spec", "unschedulable", NULL), false))
    w[n++] = (wanted_t){TAINT("unschedulable"), "NoSchedule", false};
  return n;
}

/* Keys that only we set; taints of others stay as they are. */
static bool is_ours(kg_str_t key, kg_str_t effect) {
  static const char *const keys[] = {TAINT("not-ready"),     TAINT("unreachable"),  TAINT("memory-pressure"),
                                     TAINT("disk-pressure"), TAINT("pid-pressure"), TAINT("network-unavailable"),
                                     TAINT("unschedulable")};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (kg_str_is(key, keys[i])) return kg_str_is(effect, "NoSchedule") || (i < 2 && kg_str_is(effect, "NoExecute"));
  return false;
}

static void send_taints(pass_t *p, kube_node_t *taints) {
  kube_arena_t *a = p->arena;
  kube_node_t *patch = kube_map(a), *meta = kube_sub(a, patch, "metadata");
  kube_set(a, meta, "resourceVersion",
           kube_strn(a, kg_view_str(kg_view_path(p->object, "metadata", "resourceVersion", NULL))));
  kube_set(a, kube_sub(a, patch, "spec"), "taints", taints->c.n ? taints : kube_nil(a));
  kg_doc_t *doc = kube_tree_doc(patch);
  ctl_send(p->ctx, p->sync, CTL_PATCH,
           &(kube_call_t){.gvr = GVR_NODES,
                          .name = ctl_text(a, kube_name(p->object)),
                          .object = doc,
                          .patch_type = "merge",
                          .grace_seconds = -1},
           NULL, NULL);
  kg_doc_unref(doc);
}

static void write_taints(pass_t *p) {
  wanted_t w[WANTED];
  kube_arena_t *a = p->arena;
  kube_node_t *taints = kube_array(a);
  size_t n = want(p, w);
  bool changed = false;
  char now[32];
  kube_time_format(kg_wall_us(p->ctx), now);
  for (kg_iter_t it = kg_iter(kg_view_path(p->object, "spec", "taints", NULL)); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(kg_view_get(it.value, "key")), effect = kg_view_str(kg_view_get(it.value, "effect"));
    bool keep = !is_ours(key, effect);
    for (size_t i = 0; i < n; i++)
      if (kg_str_is(key, w[i].key) && kg_str_is(effect, w[i].effect)) keep = w[i].there = true;
    if (keep) kube_push(a, taints, kube_tree_parse(a, it.value));
    changed |= !keep;
  }
  for (size_t i = 0; i < n; i++) {
    if (w[i].there) continue;
    kube_node_t *t = kube_map(a);
    kube_set(a, t, "key", kube_str(a, w[i].key));
    kube_set(a, t, "effect", kube_str(a, w[i].effect));
    kube_set(a, t, "timeAdded", kube_str(a, now));
    kube_push(a, taints, t);
    changed = true;
  }
  if (changed) send_taints(p, taints);
}

void node_pass(pass_t *p) {
  const watched_t *w = watched_find(p->c, kube_name(p->object));
  if (w && w->overdue && write_unknown(p)) return; /* the change comes back and leads to the rest */
  if (w && w->overdue) mark_pods(p);
  write_taints(p);
}
