/* The pods of a job, and what has become of each. */
#include <stdlib.h>
#include <string.h>

#include "job.h"

bool has_finalizer(kg_view_t pod) {
  for (kg_iter_t it = kg_iter(kg_view_path(pod, "metadata", "finalizers", NULL)); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(it.value), FINALIZER)) return true;
  return false;
}

void remove_finalizer(kg_ctx_t *ctx, ctl_sync_t *s, kg_view_t pod, ctl_answer_fn fn, void *arg) {
  kube_arena_t *a = ctl_arena(s);
  kube_node_t *patch = kube_map(a), *meta = kube_sub(a, patch, "metadata"), *list = kube_array(a);
  kube_push(a, list, kube_str(a, FINALIZER));
  kube_set(a, meta, "uid", kube_strn(a, kube_uid(pod)));
  kube_set(a, meta, "$deleteFromPrimitiveList/finalizers", list);
  kg_doc_t *doc = kube_tree_doc(patch);
  ctl_send(ctx, s, CTL_PATCH,
           &(kube_call_t){.gvr = GVR_PODS,
                          .ns = ctl_text(a, kube_namespace(pod)),
                          .name = ctl_text(a, kube_name(pod)),
                          .object = doc,
                          .patch_type = "strategic",
                          .grace_seconds = -1},
           fn, arg);
  kg_doc_unref(doc);
}

int64_t note_int(kg_view_t pod, const char *key, int64_t fallback) {
  char text[24] = "";
  kg_str_t s = kg_view_str(kube_annotation(pod, key));
  if (!s.n || s.n >= sizeof text) return fallback;
  memcpy(text, s.p, s.n);
  return strtoll(text, NULL, 10);
}

/* When its last container ended; else when it was deleted or stopped being ready. */
static int64_t ended_at(kg_view_t pod) {
  int64_t latest = 0, t;
  for (kg_iter_t it = kg_iter(kg_view_path(pod, "status", "containerStatuses", NULL)); kg_iter_next(&it);) {
    kg_view_t at = kg_view_path(it.value, "state", "terminated", "finishedAt", NULL);
    if (kube_time_parse(kg_view_str(at), &t) == 0 && t > latest) latest = t;
  }
  if (latest) return latest;
  if (kube_time_parse(kg_view_str(kg_view_path(pod, "metadata", "deletionTimestamp", NULL)), &t) == 0) return t;
  if (!ctl_pod_ready(pod, &t) && t) return t;
  return kube_time_parse(kg_view_str(kg_view_path(pod, "metadata", "creationTimestamp", NULL)), &t) == 0 ? t : 0;
}

static jobpod_t read_pod(const pass_t *p, kg_view_t v) {
  kg_str_t phase = kg_view_str(kg_view_path(v, "status", "phase", NULL));
  jobpod_t pod = {.object = v, .uid = kube_uid(v), .tracked = has_finalizer(v), .index = -1};
  pod.succeeded = kg_str_is(phase, "Succeeded");
  pod.failed = kg_str_is(phase, "Failed");
  bool deleting = kube_deleting(v), ended = pod.succeeded || pod.failed;
  pod.terminating = deleting && !ended;
  pod.active = !deleting && !ended;
  pod.ready = pod.active && ctl_pod_ready(v, NULL);
  pod.failed |= deleting && pod.tracked && !p->only_failed && !pod.succeeded;
  pod.ended_us = pod.active ? 0 : ended_at(v);
  if (p->indexed) pod.index = note_int(v, INDEX_NOTE, -1);
  return pod;
}

void pods_read(pass_t *p) {
  size_t first, count;
  const kube_informer_t *pods = p->c->base.informers[PODS];
  kube_selector_t *selector = kube_selector_of(kg_view_get(p->spec, "selector"), NULL);
  ctl_owner_t owner = {p->object, "batch/v1", "Job", selector};
  kube_informer_ns(pods, kube_namespace(p->object), &first, &count);
  p->pods = kube_arena_alloc(p->arena, (count + 1) * sizeof *p->pods);
  for (size_t i = first; selector && i < first + count; i++) {
    kg_doc_t *doc = kube_informer_at(pods, i);
    kg_view_t v = kg_view_of(doc);
    ctl_claim_t claim = ctl_claim(p->ctx, p->sync, GVR_PODS, &owner, v);
    if (claim == CTL_RELEASED && has_finalizer(v))
      remove_finalizer(p->ctx, p->sync, v, NULL, NULL); /* it counts for nobody */
    if (claim != CTL_OURS && claim != CTL_ADOPTED) continue;
    jobpod_t pod = read_pod(p, v);
    if (pod.active && ctl_expects_deletion_of(&p->c->ahead, ctl_sync_key(p->sync), kube_name(v))) {
      pod.active = pod.ready = false;
      pod.terminating = true;
    }
    ctl_keep(p->sync, doc);
    p->pods[p->n++] = pod;
    p->active += pod.active;
    p->ready += pod.ready;
    p->terminating += pod.terminating;
  }
  kube_selector_free(selector);
}
