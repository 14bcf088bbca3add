/* Pods made and deleted for a workload, with the events everybody knows. */
#include "control.h"

typedef struct podwrite {
  ctl_base_t *c;
  ctl_ahead_t *ahead;
  kg_doc_t *object;
  char *name;
  ctl_answer_fn also;
  void *arg;
} podwrite_t;

static podwrite_t *podwrite(ctl_sync_t *s, ctl_base_t *c, ctl_ahead_t *ahead, kg_doc_t *object, char *name) {
  podwrite_t *w = kube_arena_alloc(ctl_arena(s), sizeof *w);
  *w = (podwrite_t){.c = c, .ahead = ahead, .object = ctl_keep(s, object), .name = name};
  return w;
}

/* The namespace is on its way out, and the owner with it: to try again would be of no use. */
static bool namespace_ends(const kg_msg_t *m) {
  kg_view_t causes = kg_view_path(kg_view_of(kg_msg_doc(m, 0)), "details", "causes", NULL);
  for (kg_iter_t it = kg_iter(causes); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(kg_view_get(it.value, "reason")), "NamespaceTerminating")) return true;
  return false;
}

static void created(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  const podwrite_t *w = arg;
  if (w->also) w->also(ctx, self, s, m, w->arg);
  if (kg_msg_type(m) == KG_MSG_ERROR && namespace_ends(m)) return ctl_sync_forgive(s);
  if (kg_msg_type(m) == KG_MSG_ERROR) {
    if (kg_msg_code(m) != KG_ENOTFOUND) /* a namespace that goes has no use for events */
      kube_event(ctx, w->c->recorder, kg_view_of(w->object), "Warning", "FailedCreate", "Error creating: %s",
                 kg_msg_text(m));
    return;
  }
  kg_str_t name = kube_name(kg_view_of(kg_msg_doc(m, 0)));
  if (w->ahead && !ctl_seen_pod(w->c, kg_view_of(kg_msg_doc(m, 0))))
    ctl_expect(ctx, w->ahead, ctl_sync_key(s), name, false);
  kube_event(ctx, w->c->recorder, kg_view_of(w->object), "Normal", "SuccessfulCreate", "Created pod: " KG_STR_FMT,
             KG_STR_ARG(name));
}

void ctl_pod_create(kg_ctx_t *ctx, ctl_sync_t *s, ctl_base_t *c, ctl_ahead_t *ahead, kg_doc_t *object, kube_node_t *pod,
                    ctl_answer_fn also, void *arg) {
  kg_doc_t *doc = kube_tree_doc(pod);
  podwrite_t *w = podwrite(s, c, ahead, object, NULL);
  w->also = also;
  w->arg = arg;
  ctl_send(ctx, s, CTL_CREATE,
           &(kube_call_t){.gvr = {"", "v1", "pods"},
                          .ns = ctl_text(ctl_arena(s), kube_namespace(kg_view_of(object))),
                          .object = doc,
                          .grace_seconds = -1},
           created, w);
  kg_doc_unref(doc);
}

typedef struct batch {
  ctl_base_t *c;
  ctl_ahead_t *ahead;
  kg_doc_t *object;
  size_t n, sent, answered, size;
  bool refused;
  ctl_pod_fn pod;
  ctl_answer_fn also;
  void *arg;
} batch_t;

static void one_answered(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg);

static void send_batch(kg_ctx_t *ctx, ctl_sync_t *s, batch_t *b) {
  size_t end = b->sent + b->size < b->n ? b->sent + b->size : b->n;
  while (b->sent < end) ctl_pod_create(ctx, s, b->c, b->ahead, b->object, b->pod(b->arg, b->sent++), one_answered, b);
}

static void one_answered(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  batch_t *b = arg;
  b->refused |= kg_msg_type(m) == KG_MSG_ERROR;
  if (b->also) b->also(ctx, self, s, m, b->arg);
  if (++b->answered < b->sent || b->refused) return;
  b->size *= 2;
  send_batch(ctx, s, b);
}

void ctl_pods_create(kg_ctx_t *ctx, ctl_sync_t *s, ctl_base_t *c, ctl_ahead_t *ahead, kg_doc_t *object, size_t n,
                     ctl_pod_fn pod, ctl_answer_fn also, void *arg) {
  batch_t *b = kube_arena_alloc(ctl_arena(s), sizeof *b);
  *b = (batch_t){.c = c, .ahead = ahead, .object = object, .n = n, .size = 1, .pod = pod, .also = also, .arg = arg};
  send_batch(ctx, s, b);
}

static void deleted(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)self;
  const podwrite_t *w = arg;
  if (kg_msg_type(m) != KG_MSG_ERROR) {
    kube_event(ctx, w->c->recorder, kg_view_of(w->object), "Normal", "SuccessfulDelete", "Deleted pod: %s", w->name);
    return;
  }
  if (w->ahead) ctl_expect_seen(w->ahead, ctl_sync_key(s), kg_str(w->name), true);
  if (kg_msg_code(m) != KG_ENOTFOUND)
    kube_event(ctx, w->c->recorder, kg_view_of(w->object), "Warning", "FailedDelete", "Error deleting: %s",
               kg_msg_text(m));
}

void ctl_pod_delete(kg_ctx_t *ctx, ctl_sync_t *s, ctl_base_t *c, ctl_ahead_t *ahead, kg_doc_t *object, kg_view_t pod) {
  char *name = ctl_text(ctl_arena(s), kube_name(pod));
  if (ahead) ctl_expect(ctx, ahead, ctl_sync_key(s), kg_str(name), true);
  ctl_send(ctx, s, CTL_DELETE,
           &(kube_call_t){.gvr = {"", "v1", "pods"},
                          .ns = ctl_text(ctl_arena(s), kube_namespace(pod)),
                          .name = name,
                          .precondition_uid = ctl_text(ctl_arena(s), kube_uid(pod)),
                          .grace_seconds = -1},
           deleted, podwrite(s, c, ahead, object, name));
}
