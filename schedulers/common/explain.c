/* Why a pod found no node: in its condition PodScheduled and in an event. */
#include "explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/values.h"

void reasons_add(reasons_t *r, const char *why) {
  size_t i = 0;
  while (i < r->n && strcmp(r->text[i], why) != 0) i++;
  if (i == REASONS_MAX) return;
  if (i == r->n) r->text[r->n++] = why;
  r->count[i]++;
}

static int by_text(const void *a, const void *b) {
  return strcmp(a, b);
}

void reasons_say(const reasons_t *r, size_t nodes, char *out, size_t size) {
  char parts[REASONS_MAX][192];
  for (size_t i = 0; i < r->n; i++) snprintf(parts[i], sizeof parts[i], "%u %s", r->count[i], r->text[i]);
  qsort(parts, r->n, sizeof parts[0], by_text);
  size_t at = (size_t)snprintf(out, size, "0/%zu nodes are available:", nodes);
  for (size_t i = 0; i < r->n && at < size; i++)
    at += (size_t)snprintf(out + at, size - at, "%s%s%s", i ? ", " : " ", parts[i], i + 1 < r->n ? "" : ".");
}

static kg_view_t scheduled(const sched_pod_t *p) {
  return kube_condition_of(kg_view_of(p->doc), "PodScheduled");
}

static void pack_condition(kg_ctx_t *ctx, kg_pack_t *p, const sched_pod_t *pod, const char *reason,
                           const char *message) {
  kg_view_t had = scheduled(pod);
  char now[32];
  kube_time_format(kg_wall_us(ctx), now);
  kg_pack_map(p);
  kg_pack_kv_str(p, "type", "PodScheduled");
  kg_pack_kv_str(p, "status", "False");
  kg_pack_kv_str(p, "reason", reason);
  kg_pack_kv_str(p, "message", message);
  kg_pack_kv_int(p, "observedGeneration", kube_generation(kg_view_of(pod->doc)));
  if (!kg_str_is(kg_view_str(kg_view_get(had, "status")), "False")) kg_pack_kv_str(p, "lastTransitionTime", now);
  kg_pack_end(p);
}

static kg_doc_t *status_patch(kg_ctx_t *ctx, const sched_pod_t *pod, const char *reason, const char *message,
                              const char *nominee) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "status");
  kg_pack_map(&p);
  if (nominee && *nominee) kg_pack_kv_str(&p, "nominatedNodeName", nominee);
  if (nominee && !*nominee) kg_pack_key(&p, "nominatedNodeName"), kg_pack_nil(&p);
  if (message) {
    kg_pack_key(&p, "conditions");
    kg_pack_array(&p);
    pack_condition(ctx, &p, pod, reason, message);
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

/* Does the pod's status say so already? */
static bool said(const sched_pod_t *p, const char *reason, const char *message, const char *nominee) {
  kg_view_t had = scheduled(p);
  kg_str_t node = kg_view_str(kg_view_path(kg_view_of(p->doc), "status", "nominatedNodeName", NULL));
  return (!nominee || kg_str_is(node, nominee)) &&
         (!message || (kg_str_is(kg_view_str(kg_view_get(had, "message")), message) &&
                       kg_str_is(kg_view_str(kg_view_get(had, "reason")), reason)));
}

void sched_explain(kg_ctx_t *ctx, sched_t *s, const sched_pod_t *p, const char *reason, const char *message,
                   const char *nominee) {
  char ns[256], name[256];
  if (message) kube_event(ctx, s->recorder, kg_view_of(p->doc), "Warning", "FailedScheduling", "%s", message);
  if (said(p, reason, message, nominee)) return;
  kube_call_t call = sched_pod_call(p->doc, ns, name, "status");
  call.patch_type = "strategic";
  call.object = status_patch(ctx, p, reason, message, nominee);
  kube_api_patch(ctx, &call, NULL, NULL);
  kg_doc_unref(call.object);
}
