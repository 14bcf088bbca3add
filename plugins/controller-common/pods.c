#include <stdlib.h>
#include <string.h>

#include "control.h"

bool ctl_pod_active(kg_view_t pod) {
  kg_str_t phase = kg_view_str(kg_view_path(pod, "status", "phase", NULL));
  return !kg_str_is(phase, "Succeeded") && !kg_str_is(phase, "Failed") && !kube_deleting(pod);
}

bool ctl_pod_ready(kg_view_t pod, int64_t *since_us) {
  kg_view_t ready = kube_condition_of(pod, "Ready");
  if (since_us) *since_us = 0;
  if (since_us) kube_time_parse(kg_view_str(kg_view_get(ready, "lastTransitionTime")), since_us);
  return kg_str_is(kg_view_str(kg_view_get(ready, "status")), "True");
}

bool ctl_pod_available(kg_view_t pod, int64_t min_ready_s, int64_t now_us, int64_t *wait_ms) {
  int64_t since;
  if (!ctl_pod_ready(pod, &since)) return false;
  if (min_ready_s == 0) return true;
  int64_t left_ms = (since + min_ready_s * 1000000 - now_us) / 1000 + 1;
  if (since && left_ms <= 1) return true;
  if (wait_ms && left_ms < *wait_ms) *wait_ms = left_ms;
  return false;
}

static void copy(kube_arena_t *a, kube_node_t *to, kg_view_t from, const char *key) {
  kg_view_t v = kg_view_get(from, key);
  if (kg_view_count(v)) kube_set(a, to, key, kube_tree_clone(a, kube_tree_parse(a, v)));
}

kube_node_t *ctl_pod_from_template(kube_arena_t *a, kg_view_t tmpl, const ctl_owner_t *owner) {
  kube_node_t *pod = kube_map(a), *refs = kube_array(a);
  kg_view_t meta = kg_view_get(tmpl, "metadata");
  kube_set(a, pod, "apiVersion", kube_str(a, "v1"));
  kube_set(a, pod, "kind", kube_str(a, "Pod"));
  kube_node_t *m = kube_sub(a, pod, "metadata");
  kube_set(a, m, "generateName", kube_strf(a, KG_STR_FMT "-", KG_STR_ARG(kube_name(owner->object))));
  kube_set(a, m, "namespace", kube_strn(a, kube_namespace(owner->object)));
  copy(a, m, meta, "labels");
  copy(a, m, meta, "annotations");
  copy(a, m, meta, "finalizers");
  kube_push(a, refs, ctl_owner_ref(a, owner->object, owner->api_version, owner->kind));
  kube_set(a, m, "ownerReferences", refs);
  copy(a, pod, tmpl, "spec");
  return pod;
}

void ctl_mark_pod(kg_ctx_t *ctx, ctl_sync_t *s, kg_view_t pod, const char *type, const char *status, const char *reason,
                  const char *message) {
  kube_arena_t *a = ctl_arena(s);
  kube_node_t *patch = kube_map(a), *list = kube_array(a);
  ctl_condition_set(a, list, type, status, reason ? reason : "", message ? message : "", kg_wall_us(ctx), false);
  if (!reason) kube_set(a, list->c.items[0], "reason", kube_nil(a));
  if (!message) kube_set(a, list->c.items[0], "message", kube_nil(a));
  kube_set(a, kube_sub(a, patch, "metadata"), "uid", kube_strn(a, kube_uid(pod)));
  kube_set(a, kube_sub(a, patch, "status"), "conditions", list);
  kg_doc_t *doc = kube_tree_doc(patch);
  ctl_send(ctx, s, CTL_PATCH,
           &(kube_call_t){.gvr = {"", "v1", "pods"},
                          .ns = ctl_text(a, kube_namespace(pod)),
                          .name = ctl_text(a, kube_name(pod)),
                          .sub = "status",
                          .object = doc,
                          .patch_type = "strategic",
                          .grace_seconds = -1},
           NULL, NULL);
  kg_doc_unref(doc);
}

int64_t ctl_resolve(kg_view_t v, int64_t n, bool round_up, int64_t fallback_percent) {
  kg_str_t s = kg_view_str(v);
  char text[16] = "";
  if (kg_view_type(v) == KG_V_INT) return kg_view_int(v, 0);
  if (s.n && s.n < sizeof text) memcpy(text, s.p, s.n);
  int64_t percent = *text ? strtoll(text, NULL, 10) : fallback_percent;
  return (percent * n + (round_up ? 99 : 0)) / 100;
}
