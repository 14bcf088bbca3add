/*
 * Pods that nobody will end: those on nodes that are gone, those being deleted that never came to a node or whose node
 * is out of service, and the oldest of too many that have ended.
 */
#include <stdlib.h>
#include <string.h>

#include "control.h"

enum { PODS, NODES };
enum { QUARANTINE_MS = 40000, THRESHOLD = 12500 };

typedef struct pgc {
  ctl_base_t base;
  int64_t quarantine_ms, threshold;
  size_t ended;
  uint64_t deleted;
} pgc_t;

typedef struct pass {
  pgc_t *c;
  kube_arena_t *arena;
  kg_view_t pod;
  const char *message;
} pass_t;

static const kube_gvr_t GVR_PODS = {"", "v1", "pods"}, GVR_NODES = {"", "v1", "nodes"};

static bool has_ended(kg_view_t pod) {
  kg_str_t phase = kg_view_str(kg_view_path(pod, "status", "phase", NULL));
  return kg_str_is(phase, "Succeeded") || kg_str_is(phase, "Failed");
}

static kg_str_t node_of(kg_view_t pod) {
  return kg_view_str(kg_view_path(pod, "spec", "nodeName", NULL));
}

static bool has_node(const pgc_t *c, kg_view_t pod) {
  kg_str_t none = {NULL, 0};
  return kube_informer_get(c->base.informers[NODES], none, node_of(pod)) != NULL;
}

/* Somebody has said that the node is not ready and will not come back as it is. */
static bool is_out_of_service(kg_view_t node) {
  bool taint = false;
  for (kg_iter_t it = kg_iter(kg_view_path(node, "spec", "taints", NULL)); kg_iter_next(&it);)
    taint |= kg_str_is(kg_view_str(kg_view_get(it.value, "key")), "node.kubernetes.io/out-of-service");
  return taint && !kube_condition_holds(node, "Ready");
}

static bool is_stranded(const pgc_t *c, kg_view_t pod) {
  kg_str_t none = {NULL, 0};
  return kube_deleting(pod) &&
         is_out_of_service(kg_view_of(kube_informer_get(c->base.informers[NODES], none, node_of(pod))));
}

/* --- who has work ------------------------------------------------------------------------------------------------- */

static void add(kg_ctx_t *ctx, pgc_t *c, kg_view_t pod, int64_t delay_ms) {
  char key[CTL_KEY_MAX];
  ctl_work_add_after(ctx, &c->base.work, ctl_key(pod, key), delay_ms);
}

/* Key "/": too many have ended. */
static void count_ended(kg_ctx_t *ctx, pgc_t *c, kg_view_t old, kg_view_t now) {
  c->ended += (size_t)has_ended(now) - (size_t)has_ended(old);
  if ((int64_t)c->ended > c->threshold) ctl_work_add(ctx, &c->base.work, "/");
}

static void on_pod(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  pgc_t *c = self;
  kg_view_t none = {0};
  count_ended(ctx, c, old, change == KUBE_DELETED ? none : now);
  if (change == KUBE_DELETED) return;
  if (!node_of(now).n) {
    if (kube_deleting(now)) add(ctx, c, now, 0);
  } else if (!kg_str_eq(node_of(old), node_of(now)) && !has_node(c, now)) {
    add(ctx, c, now, c->quarantine_ms);
  } else if (is_stranded(c, now)) {
    add(ctx, c, now, 0);
  }
}

static void on_node(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  pgc_t *c = self;
  kg_doc_t *doc;
  bool gone = change == KUBE_DELETED;
  if (!gone && (!is_out_of_service(now) || is_out_of_service(old))) return;
  for (size_t i = 0; (doc = kube_informer_at(c->base.informers[PODS], i)); i++) {
    kg_view_t pod = kg_view_of(doc);
    if (kg_str_eq(node_of(pod), kube_name(now)) && (gone || kube_deleting(pod)))
      add(ctx, c, pod, gone ? c->quarantine_ms : 0);
  }
}

static void active(kg_ctx_t *ctx, void *self) {
  pgc_t *c = self;
  kg_doc_t *doc;
  for (size_t i = 0; (doc = kube_informer_at(c->base.informers[PODS], i)); i++) {
    kg_view_t pod = kg_view_of(doc);
    if (!node_of(pod).n && kube_deleting(pod)) add(ctx, c, pod, 0);
    if (node_of(pod).n && !has_node(c, pod)) add(ctx, c, pod, c->quarantine_ms);
    if (is_stranded(c, pod)) add(ctx, c, pod, 0);
  }
  if ((int64_t)c->ended > c->threshold) ctl_work_add(ctx, &c->base.work, "/");
}

/* --- ending ------------------------------------------------------------------------------------------------------- */

static void deleted(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)s, (void)arg;
  ((pgc_t *)self)->deleted += kg_msg_type(m) == KG_MSG_REPLY;
}

static void delete_now(kg_ctx_t *ctx, ctl_sync_t *s, kg_view_t pod) {
  ctl_send(ctx, s, CTL_DELETE,
           &(kube_call_t){.gvr = GVR_PODS,
                          .ns = ctl_text(ctl_arena(s), kube_namespace(pod)),
                          .name = ctl_text(ctl_arena(s), kube_name(pod)),
                          .precondition_uid = ctl_text(ctl_arena(s), kube_uid(pod))},
           deleted, NULL);
}

static void delete_marked(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *arg) {
  (void)self;
  delete_now(ctx, s, ((pass_t *)arg)->pod);
}

/* Nobody will write its phase any more: Failed, so that what waits for its end goes on. */
static void mark_failed(kg_ctx_t *ctx, ctl_sync_t *s, pass_t *p) {
  kube_arena_t *a = p->arena;
  kube_node_t *patch = kube_map(a), *status = kube_sub(a, patch, "status");
  kube_set(a, kube_sub(a, patch, "metadata"), "uid", kube_strn(a, kube_uid(p->pod)));
  kube_set(a, status, "phase", kube_str(a, "Failed"));
  if (p->message) {
    kube_node_t *list = kube_array(a);
    ctl_condition_set(a, list, "DisruptionTarget", "True", "DeletionByPodGC", p->message, kg_wall_us(ctx), false);
    kube_set(a, status, "conditions", list);
  }
  kg_doc_t *doc = kube_tree_doc(patch);
  ctl_send(ctx, s, CTL_PATCH,
           &(kube_call_t){.gvr = GVR_PODS,
                          .ns = ctl_text(a, kube_namespace(p->pod)),
                          .name = ctl_text(a, kube_name(p->pod)),
                          .sub = "status",
                          .object = doc,
                          .patch_type = "strategic",
                          .grace_seconds = -1},
           NULL, NULL);
  kg_doc_unref(doc);
}

static void end_pod(kg_ctx_t *ctx, ctl_sync_t *s, pass_t *p) {
  if (!has_ended(p->pod)) mark_failed(ctx, s, p);
  ctl_sync_then(s, delete_marked, p);
}

/* The cache may be behind: ask before the pods of a node are killed. */
static void asked(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)self;
  pass_t *p = arg;
  p->message = "PodGC: node no longer exists";
  if (kg_msg_type(m) == KG_MSG_ERROR && kg_msg_code(m) == KG_ENOTFOUND) end_pod(ctx, s, p);
}

static void look_at(kg_ctx_t *ctx, ctl_sync_t *s, pass_t *p) {
  kg_str_t node = node_of(p->pod);
  if (!node.n) {
    if (kube_deleting(p->pod) && !has_ended(p->pod)) end_pod(ctx, s, p);
    return;
  }
  if (is_stranded(p->c, p->pod)) return end_pod(ctx, s, p);
  if (has_node(p->c, p->pod)) return;
  ctl_send(ctx, s, CTL_GET, &(kube_call_t){.gvr = GVR_NODES, .name = ctl_text(p->arena, node), .grace_seconds = -1},
           asked, p);
}

/* --- too many ----------------------------------------------------------------------------------------------------- */

static int by_age(const void *x, const void *y) {
  const kg_view_t *a = x, *b = y;
  int o = kg_str_cmp(kg_view_str(kg_view_path(*a, "metadata", "creationTimestamp", NULL)),
                     kg_view_str(kg_view_path(*b, "metadata", "creationTimestamp", NULL)));
  return o ? o : kg_str_cmp(kube_name(*a), kube_name(*b));
}

static void thin_out(kg_ctx_t *ctx, pgc_t *c, ctl_sync_t *s) {
  kg_doc_t *doc;
  size_t n = 0;
  kg_view_t *ended = kube_arena_alloc(ctl_arena(s), (c->ended + 1) * sizeof *ended);
  for (size_t i = 0; (doc = kube_informer_at(c->base.informers[PODS], i)) && n < c->ended; i++)
    if (has_ended(kg_view_of(doc))) ended[n++] = kg_view_of(ctl_keep(s, doc));
  if (n > 1) qsort(ended, n, sizeof *ended, by_age);
  for (size_t i = 0; i + (size_t)c->threshold < n; i++) delete_now(ctx, s, ended[i]);
}

static void sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  pgc_t *c = self;
  kg_str_t ns, name;
  ctl_sync_t *s = ctl_sync_begin(&c->base.work, key);
  ctl_split(key, &ns, &name);
  kg_doc_t *doc = name.n ? kube_informer_get(c->base.informers[PODS], ns, name) : NULL;
  if (!name.n) thin_out(ctx, c, s);
  if (doc) {
    pass_t *p = kube_arena_alloc(ctl_arena(s), sizeof *p);
    *p = (pass_t){.c = c, .arena = ctl_arena(s), .pod = kg_view_of(ctl_keep(s, doc))};
    look_at(ctx, s, p);
  }
  ctl_sync_end(ctx, self, s);
}

static int begin(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  pgc_t *c = self;
  c->quarantine_ms = kg_view_int(kg_view_get(kg_config(ctx), "quarantineMs"), QUARANTINE_MS);
  c->threshold = kg_view_int(kg_view_get(kg_config(ctx), "terminatedPodThreshold"), THRESHOLD);
  if (c->quarantine_ms >= 0 && c->threshold > 0) return 0;
  return kg_error_set(err, KG_EINVAL, "quarantineMs must not be negative and terminatedPodThreshold above zero");
}

static void stats(void *self, kg_pack_t *p) {
  const pgc_t *c = self;
  kg_pack_kv_int(p, "ended", (int64_t)c->ended);
  kg_pack_kv_int(p, "deleted", (int64_t)c->deleted);
}

static const ctl_spec_t spec = {
    .size = sizeof(pgc_t),
    .component = "pod-garbage-collector",
    .sync = sync,
    .watches =
        {[PODS] = {.gvr = {"", "v1", "pods"}, .fn = on_pod}, [NODES] = {.gvr = {"", "v1", "nodes"}, .fn = on_node}},
    .begin = begin,
    .active = active,
    .stats = stats};

CTL_PLUGIN(spec, .name = "controller-podgc", .summary = "Clears away pods that nobody will end");
