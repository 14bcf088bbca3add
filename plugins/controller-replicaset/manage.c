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
  kg_doc_t *doc;
  kg_view_t spec;
  kube_node_t *status;
  kube_node_t *pod; /* that is made of the template */
  bool failure_told;
  kg_view_t *pods; /* active ones of it */
  size_t n;
  int64_t replicas, terminating;
  kg_view_t *related; /* active pods of all sets of its owner: those share nodes */
  size_t nrelated;
} pass_t;

static bool is_terminating(const pass_t *p, kg_view_t pod) {
  kg_str_t phase = kg_view_str(kg_view_path(pod, "status", "phase", NULL));
  return kube_deleting(pod) && !kg_str_is(phase, "Succeeded") && !kg_str_is(phase, "Failed") &&
         ctl_owned_by(pod, p->owner.object);
}

static void claim_pods(pass_t *p) {
  kg_str_t ns = kube_namespace(p->owner.object);
  size_t first, count;
  kube_informer_ns(p->c->base.informers[PODS], ns, &first, &count);
  p->pods = kube_arena_alloc(p->arena, (count + 1) * sizeof *p->pods);
  for (size_t i = first; i < first + count; i++) {
    kg_view_t pod = kg_view_of(kube_informer_at(p->c->base.informers[PODS], i));
    p->terminating += is_terminating(p, pod);
    ctl_claim_t claim = ctl_pod_active(pod) ? ctl_claim(p->ctx, p->sync, GVR_PODS, &p->owner, pod) : CTL_NOT_OURS;
    if (claim != CTL_OURS && claim != CTL_ADOPTED) continue; /* one just adopted counts at once */
    if (!ctl_expects_deletion_of(&p->c->ahead, ctl_sync_key(p->sync), kube_name(pod))) p->pods[p->n++] = pod;
  }
}

/* --- creating and deleting
 * ---------------------------------------------------------------------------------------------- */

/* Kubernetes says so in the status for as long as it is so. */
static void set_failure(pass_t *p, kube_node_t *status, const char *message) {
  kube_arena_t *a = p->arena;
  kube_node_t *list = kube_get(status, "conditions");
  if (!list || list->type != KG_V_ARRAY) list = kube_array(a);
  if (message)
    ctl_condition_set(a, list, "ReplicaFailure", "True", "FailedCreate", message, kg_wall_us(p->ctx), false);
  else
    ctl_condition_remove(list, "ReplicaFailure");
  if (list->c.n)
    kube_set(a, status, "conditions", list);
  else
    kube_del(status, "conditions");
}

static void created(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)self;
  pass_t *p = arg;
  if (kg_msg_type(m) != KG_MSG_ERROR || kg_msg_code(m) == KG_ENOTFOUND || p->failure_told) return;
  p->failure_told = true;
  set_failure(p, p->status, kg_msg_text(m));
  ctl_send_status(ctx, s, p->c->flavour->gvr, p->owner.object, p->status);
}

static kube_node_t *pod_of(void *arg, size_t i) {
  (void)i;
  return ((const pass_t *)arg)->pod;
}

static void create_pods(pass_t *p, size_t n) {
  p->pod = ctl_pod_from_template(p->arena, kg_view_get(p->spec, "template"), &p->owner);
  ctl_pods_create(p->ctx, p->sync, &p->c->base, &p->c->ahead, p->doc, n < BURST ? n : BURST, pod_of, created, p);
}

/* Whether the pod's set has the same owner as ours, a Deployment say. */
static bool is_related(const pass_t *p, kg_view_t pod, kg_str_t owner) {
  kg_view_t ref = kube_controller_ref(pod);
  if (ctl_owned_by(pod, p->owner.object)) return true;
  if (!owner.n || !kg_str_is(kg_view_str(kg_view_get(ref, "kind")), p->c->flavour->kind)) return false;
  kg_doc_t *set =
      kube_informer_get(p->c->base.informers[SETS], kube_namespace(pod), kg_view_str(kg_view_get(ref, "name")));
  return set && kg_str_eq(kg_view_str(kg_view_get(kube_controller_ref(kg_view_of(set)), "uid")), owner);
}

static void find_related(pass_t *p) {
  size_t first, count;
  const kube_informer_t *pods = p->c->base.informers[PODS];
  kg_str_t owner = kg_view_str(kg_view_get(kube_controller_ref(p->owner.object), "uid"));
  kube_informer_ns(pods, kube_namespace(p->owner.object), &first, &count);
  p->related = kube_arena_alloc(p->arena, (count + 1) * sizeof *p->related);
  for (size_t i = first; i < first + count; i++) {
    kg_view_t pod = kg_view_of(kube_informer_at(pods, i));
    if (ctl_pod_active(pod) && is_related(p, pod, owner)) p->related[p->nrelated++] = pod;
  }
}

static void delete_pods(pass_t *p, size_t n) {
  find_related(p);
  rs_rank(p->pods, p->n, p->related, p->nrelated);
  for (size_t i = 0; i < n && i < BURST; i++)
    ctl_pod_delete(p->ctx, p->sync, &p->c->base, &p->c->ahead, p->doc, p->pods[i]);
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
  kube_node_t *status = kg_view_there(old) ? kube_tree_clone(a, kube_tree_parse(a, old)) : kube_map(a);
  if (!status || status->type != KG_V_MAP) status = kube_map(a);
  counts_t n = count(p);
  set_count(a, status, "replicas", n.replicas);
  set_count(a, status, "fullyLabeledReplicas", n.labeled);
  set_count(a, status, "readyReplicas", n.ready);
  set_count(a, status, "availableReplicas", n.available);
  kube_set(a, status, "observedGeneration", kube_int(a, kube_generation(p->owner.object)));
  if (p->c->flavour->tells_terminating) kube_set(a, status, "terminatingReplicas", kube_int(a, p->terminating));
  p->status = status;
  if ((int64_t)p->n == p->replicas) set_failure(p, status, NULL);
  ctl_send_status(p->ctx, p->sync, p->c->flavour->gvr, p->owner.object, status);
  if (n.wait_ms != INT64_MAX) kube_queue_add_after(p->ctx, p->c->base.work.queue, ctl_sync_key(p->sync), n.wait_ms);
}

/* --- the pass
 * ---------------------------------------------------------------------------------------------------------- */

static void manage(pass_t *p) {
  const char *key = ctl_sync_key(p->sync);
  if (kube_deleting(p->owner.object) || ctl_expects_creation(p->ctx, &p->c->ahead, key)) return;
  if ((int64_t)p->n < p->replicas) create_pods(p, (size_t)(p->replicas - (int64_t)p->n));
  if ((int64_t)p->n > p->replicas) delete_pods(p, p->n - (size_t)p->replicas);
}

static void run(pass_t *p, kube_selector_t *selector) {
  kg_view_t object = kg_view_of(p->doc);
  p->arena = ctl_arena(p->sync);
  p->spec = kg_view_get(object, "spec");
  p->owner = (ctl_owner_t){object, p->c->flavour->api_version, p->c->flavour->kind, selector};
  p->replicas = kg_view_int(kg_view_get(p->spec, "replicas"), 1);
  claim_pods(p);
  write_status(p);
  manage(p);
}

void rs_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  rsc_t *c = self;
  kg_error_t err = {0};
  kg_doc_t *doc;
  ctl_sync_t *s = ctl_sync_object(&c->base.work, key, c->base.informers[SETS], &doc);
  kube_selector_t *selector = doc ? ctl_selector_of(kg_view_of(doc), &err) : NULL;
  if (!doc) ctl_expect_forget(&c->ahead, key);
  if (selector) {
    pass_t *p = kube_arena_alloc(ctl_arena(s), sizeof *p);
    *p = (pass_t){.ctx = ctx, .c = c, .sync = s, .doc = doc};
    run(p, selector);
    kube_selector_free(selector);
  } else if (doc) {
    kg_log(ctx, KG_LOG_WARN, "%s %s: its selector cannot be used: %s", c->flavour->kind, key, err.text);
  }
  ctl_sync_end(ctx, self, s);
}
