/* One pass over one ReplicaSet: claim its pods, make or delete some, write its status. */
#include <stdlib.h>
#include <string.h>

#include "replicaset.h"

enum { BURST = 500 }; /* pods made or deleted in one pass, as in Kubernetes */

typedef struct pass {
  kg_ctx_t *ctx;
  rsc_t *c;
  ctl_sync_t *sync;
  kube_arena_t *arena;
  ctl_owner_t owner;
  kg_view_t spec;
  kg_view_t *pods; /* active ones of it */
  size_t n;
  int64_t replicas;
} pass_t;

static void claim_pods(pass_t *p) {
  kg_str_t ns = kube_namespace(p->owner.object);
  size_t first, count;
  kube_informer_ns(p->c->pods, ns, &first, &count);
  p->pods = kube_arena_alloc(p->arena, (count + 1) * sizeof *p->pods);
  for (size_t i = first; i < first + count; i++) {
    kg_view_t pod = kg_view_of(kube_informer_at(p->c->pods, i));
    ctl_claim_t claim = ctl_pod_active(pod) ? ctl_claim(p->ctx, p->sync, GVR_PODS, &p->owner, pod) : CTL_NOT_OURS;
    if (claim != CTL_OURS && claim != CTL_ADOPTED) continue; /* one just adopted counts at once */
    if (!ctl_expects_deletion_of(&p->c->ahead, ctl_sync_key(p->sync), kube_name(pod))) p->pods[p->n++] = pod;
  }
}

/* --- creating
 * ---------------------------------------------------------------------------------------------------------- */

static void created(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  rsc_t *c = self;
  kg_doc_t *set = arg;
  if (kg_msg_type(m) == KG_MSG_ERROR) {
    if (kg_msg_code(m) != KG_ENOTFOUND) /* a namespace that goes has no use for events */
      kube_event(ctx, c->recorder, kg_view_of(set), "Warning", "FailedCreate", "Error creating: %s", kg_msg_text(m));
  } else {
    kg_view_t pod = kg_view_of(kg_msg_doc(m, 0));
    kg_str_t name = kube_name(pod);
    if (!kube_informer_get(c->pods, kube_namespace(pod), name))
      ctl_expect(ctx, &c->ahead, ctl_sync_key(s), name, false);
    c->created++;
    kube_event(ctx, c->recorder, kg_view_of(set), "Normal", "SuccessfulCreate", "Created pod: " KG_STR_FMT,
               KG_STR_ARG(name));
  }
}

static void create_pods(pass_t *p, kg_doc_t *set, size_t n) {
  kube_node_t *pod = ctl_pod_from_template(p->arena, kg_view_get(p->spec, "template"), &p->owner);
  kg_doc_t *doc = kube_tree_doc(pod);
  for (size_t i = 0; i < n && i < BURST; i++)
    ctl_send(p->ctx, p->sync, CTL_CREATE,
             &(kube_call_t){.gvr = GVR_PODS,
                            .ns = ctl_text(p->arena, kube_namespace(p->owner.object)),
                            .object = doc,
                            .grace_seconds = -1},
             created, ctl_keep(p->sync, set));
  kg_doc_unref(doc);
}

/* --- deleting
 * ---------------------------------------------------------------------------------------------------------- */

typedef struct deletion {
  kg_doc_t *set;
  char *pod;
} deletion_t;

static void deleted(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  rsc_t *c = self;
  deletion_t *d = arg;
  if (kg_msg_type(m) == KG_MSG_ERROR) {
    ctl_expect_seen(&c->ahead, ctl_sync_key(s), kg_str(d->pod), true);
    if (kg_msg_code(m) != KG_ENOTFOUND)
      kube_event(ctx, c->recorder, kg_view_of(d->set), "Warning", "FailedDelete", "Error deleting: %s", kg_msg_text(m));
  } else {
    c->deleted++;
    kube_event(ctx, c->recorder, kg_view_of(d->set), "Normal", "SuccessfulDelete", "Deleted pod: %s", d->pod);
  }
}

static void delete_pods(pass_t *p, kg_doc_t *set, size_t n) {
  rs_rank(p->pods, p->n);
  for (size_t i = 0; i < n && i < BURST; i++) {
    deletion_t *d = kube_arena_alloc(p->arena, sizeof *d);
    *d = (deletion_t){ctl_keep(p->sync, set), ctl_text(p->arena, kube_name(p->pods[i]))};
    ctl_expect(p->ctx, &p->c->ahead, ctl_sync_key(p->sync), kube_name(p->pods[i]), true);
    ctl_send(p->ctx, p->sync, CTL_DELETE,
             &(kube_call_t){.gvr = GVR_PODS,
                            .ns = ctl_text(p->arena, kube_namespace(p->owner.object)),
                            .name = d->pod,
                            .precondition_uid = ctl_text(p->arena, kube_uid(p->pods[i])),
                            .grace_seconds = -1},
             deleted, d);
  }
}

/* --- status
 * ------------------------------------------------------------------------------------------------------------ */

typedef struct counts {
  int64_t replicas, labeled, ready, available, wait_ms;
} counts_t;

static bool has_labels(kg_view_t pod, kg_view_t wanted) {
  kg_view_t labels = kube_labels(pod);
  for (kg_iter_t it = kg_iter(wanted); kg_iter_next(&it);)
    if (!kg_view_equal(kg_view_get_str(labels, kg_view_str(it.key)), it.value)) return false;
  return true;
}

static counts_t count(pass_t *p) {
  counts_t n = {.replicas = (int64_t)p->n, .wait_ms = INT64_MAX};
  kg_view_t labels = kg_view_path(p->spec, "template", "metadata", "labels", NULL);
  int64_t min_ready = kg_view_int(kg_view_get(p->spec, "minReadySeconds"), 0), now = kg_wall_us(p->ctx);
  for (size_t i = 0; i < p->n; i++) {
    n.labeled += has_labels(p->pods[i], labels);
    n.ready += ctl_pod_ready(p->pods[i], NULL);
    n.available += ctl_pod_available(p->pods[i], min_ready, now, &n.wait_ms);
  }
  return n;
}

static void set_count(kube_arena_t *a, kube_node_t *status, const char *key, int64_t n) {
  if (n || !strcmp(key, "replicas"))
    kube_set(a, status, key, kube_int(a, n));
  else
    kube_del(status, key);
}

static void write_status(pass_t *p) {
  kube_arena_t *a = p->arena;
  kg_view_t old = kg_view_get(p->owner.object, "status");
  kube_node_t *status = kg_view_there(old) ? kube_tree_parse(a, old) : kube_map(a);
  if (!status || status->type != KG_V_MAP) status = kube_map(a);
  counts_t n = count(p);
  set_count(a, status, "replicas", n.replicas);
  set_count(a, status, "fullyLabeledReplicas", n.labeled);
  set_count(a, status, "readyReplicas", n.ready);
  set_count(a, status, "availableReplicas", n.available);
  kube_set(a, status, "observedGeneration", kube_int(a, kube_generation(p->owner.object)));
  ctl_send_status(p->ctx, p->sync, GVR_SETS, p->owner.object, status);
  if (n.wait_ms != INT64_MAX) kube_queue_add_after(p->ctx, p->c->work.queue, ctl_sync_key(p->sync), n.wait_ms);
}

/* --- the pass
 * ---------------------------------------------------------------------------------------------------------- */

static void manage(pass_t *p, kg_doc_t *set) {
  const char *key = ctl_sync_key(p->sync);
  if (kube_deleting(p->owner.object) || ctl_expects_creation(p->ctx, &p->c->ahead, key)) return;
  if ((int64_t)p->n < p->replicas) create_pods(p, set, (size_t)(p->replicas - (int64_t)p->n));
  if ((int64_t)p->n > p->replicas) delete_pods(p, set, p->n - (size_t)p->replicas);
}

void rs_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  rsc_t *c = self;
  kg_str_t ns, name;
  ctl_split(key, &ns, &name);
  kg_doc_t *set = kube_informer_get(c->sets, ns, name);
  if (!set) {
    ctl_expect_forget(&c->ahead, key);
    kube_queue_done(ctx, c->work.queue, key, false);
    return;
  }
  kg_error_t err = {0};
  kg_view_t object = kg_view_of(set), spec = kg_view_get(object, "spec");
  kube_selector_t *selector = kube_selector_of(kg_view_get(spec, "selector"), &err);
  if (!selector) {
    kg_log(ctx, KG_LOG_WARN, "ReplicaSet %s: its selector cannot be used: %s", key, err.text);
    kube_queue_done(ctx, c->work.queue, key, false);
    return;
  }
  pass_t p = {.ctx = ctx, .c = c, .sync = ctl_sync_begin(&c->work, key), .spec = spec};
  p.arena = ctl_arena(p.sync);
  p.owner = (ctl_owner_t){object, "apps/v1", "ReplicaSet", selector};
  p.replicas = kg_view_int(kg_view_get(spec, "replicas"), 1);
  claim_pods(&p);
  write_status(&p);
  manage(&p, set);
  kube_selector_free(selector);
  ctl_sync_end(ctx, self, p.sync);
}
