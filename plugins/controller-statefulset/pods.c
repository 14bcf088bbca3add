#include <stdlib.h>
#include <string.h>

#include "statefulset.h"

int64_t ordinal_of(kg_view_t set, kg_str_t pod) {
  kg_str_t name = kube_name(set);
  if (pod.n < name.n + 2 || memcmp(pod.p, name.p, name.n) || pod.p[name.n] != '-') return -1;
  int64_t n = 0;
  for (size_t i = name.n + 1; i < pod.n; i++) {
    if (pod.p[i] < '0' || pod.p[i] > '9' || n > INT32_MAX) return -1;
    n = n * 10 + pod.p[i] - '0';
  }
  return n;
}

static member_t read_pod(pass_t *p, kg_view_t v, int64_t ordinal) {
  kg_str_t phase = kg_view_str(kg_view_path(v, "status", "phase", NULL));
  member_t m = {.object = v, .ordinal = ordinal, .created = phase.n > 0, .deleting = kube_deleting(v)};
  m.pending = kg_str_is(phase, "Pending");
  m.ended = kg_str_is(phase, "Failed") || kg_str_is(phase, "Succeeded");
  m.ready = kg_str_is(phase, "Running") && ctl_pod_ready(v, NULL);
  m.available = m.ready && ctl_pod_available(v, p->min_ready, kg_wall_us(p->ctx), &p->wait_ms);
  m.revision = kg_view_str(kg_view_get(kube_labels(v), REVISION_LABEL));
  return m;
}

static int highest_first(const void *x, const void *y) {
  const member_t *a = x, *b = y;
  return a->ordinal > b->ordinal ? -1 : a->ordinal < b->ordinal;
}

void pods_read(pass_t *p) {
  size_t first, count;
  const kube_informer_t *pods = p->c->base.informers[PODS];
  kube_informer_ns(pods, kube_namespace(p->object), &first, &count);
  p->wait_ms = INT64_MAX;
  p->pods = kube_arena_alloc(p->arena, ((size_t)p->replicas + 1) * sizeof *p->pods);
  p->condemned = kube_arena_alloc(p->arena, (count + 1) * sizeof *p->condemned);
  for (int64_t i = 0; i < p->replicas; i++) p->pods[i].ordinal = p->start + i;
  for (size_t i = first; i < first + count; i++) {
    kg_doc_t *doc = kube_informer_at(pods, i);
    kg_view_t v = kg_view_of(doc);
    int64_t ordinal = ordinal_of(p->object, kube_name(v));
    if (ordinal < 0) continue;
    ctl_claim_t claim = ctl_claim(p->ctx, p->sync, GVR_PODS, &p->owner, v);
    if (claim != CTL_OURS && claim != CTL_ADOPTED) continue;
    ctl_keep(p->sync, doc);
    if (ordinal >= p->start && ordinal < p->start + p->replicas)
      p->pods[ordinal - p->start] = read_pod(p, v, ordinal);
    else
      p->condemned[p->ncondemned++] = read_pod(p, v, ordinal);
  }
  if (p->ncondemned > 1) qsort(p->condemned, p->ncondemned, sizeof *p->condemned, highest_first);
}

/* --- making and deleting ------------------------------------------------------------------------------------------ */

/* The template of the time before for those that the update has not reached. */
static const ctl_revision_t *revision_for(const pass_t *p, int64_t ordinal) {
  kg_view_t strategy = kg_view_get(p->spec, "updateStrategy");
  if (kg_str_is(kg_view_str(kg_view_get(strategy, "type")), "OnDelete")) return p->update;
  kg_view_t rolling = kg_view_get(strategy, "rollingUpdate");
  int64_t partition = kg_view_int(kg_view_get(rolling, "partition"), 0);
  return ordinal < p->start + partition ? p->current : p->update;
}

typedef struct made {
  pass_t *p;
  const char *pod;
} made_t;

static void created(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  const made_t *x = arg;
  kube_recorder_t *recorder = ((ssc_t *)self)->base.recorder;
  kg_view_t set = x->p->object;
  if (kg_msg_type(m) == KG_MSG_REPLY)
    return kube_event(ctx, recorder, set, "Normal", "SuccessfulCreate",
                      "create Pod %s in StatefulSet " KG_STR_FMT " successful", x->pod, KG_STR_ARG(kube_name(set)));
  if (kg_msg_code(m) == KG_ECONFLICT) return ctl_sync_forgive(s); /* it is there; the cache will show it */
  if (kg_msg_code(m) != KG_ENOTFOUND)
    kube_event(ctx, recorder, set, "Warning", "FailedCreate",
               "create Pod %s in StatefulSet " KG_STR_FMT " failed error: %s", x->pod, KG_STR_ARG(kube_name(set)),
               kg_msg_text(m));
}

static kube_node_t *pod_of(pass_t *p, const member_t *m, const char *name) {
  kube_arena_t *a = p->arena;
  const ctl_revision_t *r = revision_for(p, m->ordinal);
  kube_node_t *pod = ctl_pod_from_template(a, r->tmpl, &p->owner), *meta = kube_sub(a, pod, "metadata");
  kube_node_t *labels = kube_sub(a, meta, "labels"), *spec = kube_sub(a, pod, "spec");
  kg_str_t service = kg_view_str(kg_view_get(p->spec, "serviceName"));
  kube_del(meta, "generateName");
  kube_set(a, meta, "name", kube_str(a, name));
  kube_set(a, labels, NAME_LABEL, kube_str(a, name));
  kube_set(a, labels, INDEX_LABEL, kube_strf(a, "%lld", (long long)m->ordinal));
  kube_set(a, labels, REVISION_LABEL, kube_strn(a, r->name));
  kube_set(a, spec, "hostname", kube_str(a, name));
  if (service.n) kube_set(a, spec, "subdomain", kube_strn(a, service));
  claims_mount(p, pod, m->ordinal);
  return pod;
}

void pod_create(pass_t *p, const member_t *m) {
  made_t *x = kube_arena_alloc(p->arena, sizeof *x);
  x->p = p;
  x->pod = kube_arena_fmt(p->arena, KG_STR_FMT "-%lld", KG_STR_ARG(kube_name(p->object)), (long long)m->ordinal);
  claims_create(p, m);
  kg_doc_t *doc = kube_tree_doc(pod_of(p, m, x->pod));
  ctl_send(
      p->ctx, p->sync, CTL_CREATE,
      &(kube_call_t){
          .gvr = GVR_PODS, .ns = ctl_text(p->arena, kube_namespace(p->object)), .object = doc, .grace_seconds = -1},
      created, x);
  kg_doc_unref(doc);
}

static void deleted(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)s;
  const made_t *x = arg;
  kg_view_t set = x->p->object;
  bool good = kg_msg_type(m) == KG_MSG_REPLY;
  if (!good && kg_msg_code(m) == KG_ENOTFOUND) return;
  kube_event(ctx, ((ssc_t *)self)->base.recorder, set, good ? "Normal" : "Warning",
             good ? "SuccessfulDelete" : "FailedDelete", "delete Pod %s in StatefulSet " KG_STR_FMT " %s%s", x->pod,
             KG_STR_ARG(kube_name(set)), good ? "successful" : "failed error: ", good ? "" : kg_msg_text(m));
}

void pod_delete(pass_t *p, const member_t *m) {
  made_t *x = kube_arena_alloc(p->arena, sizeof *x);
  *x = (made_t){p, ctl_text(p->arena, kube_name(m->object))};
  ctl_send(p->ctx, p->sync, CTL_DELETE,
           &(kube_call_t){.gvr = GVR_PODS,
                          .ns = ctl_text(p->arena, kube_namespace(p->object)),
                          .name = x->pod,
                          .precondition_uid = ctl_text(p->arena, kube_uid(m->object)),
                          .grace_seconds = -1},
           deleted, x);
}
