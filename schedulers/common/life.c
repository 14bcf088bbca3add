#include <stdlib.h>
#include <string.h>

#include "kube/values.h"
#include "preempt.h"

int sched_create(kg_ctx_t *ctx, void **self, sched_pick_fn pick, kg_error_t *err) {
  sched_t *s = calloc(1, sizeof *s);
  if (!s) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  kg_str_t name = kg_view_str(kg_view_get(kg_config(ctx), "schedulerName"));
  s->pick = pick;
  s->scheduler_name = kg_str_dup(name.n ? name : KG_STR("default-scheduler"));
  s->recorder = s->scheduler_name ? kube_recorder_new(s->scheduler_name, NULL) : NULL;
  if (!s->recorder) {
    free(s->scheduler_name);
    free(s);
    return kg_error_set(err, KG_EINTERNAL, "out of memory");
  }
  sched_resource_index(s, KG_STR("cpu"));
  sched_resource_index(s, KG_STR("memory"));
  sched_resource_index(s, KG_STR("ephemeral-storage"));
  *self = s;
  return 0;
}

static void synced(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  sched_t *s = self;
  if (kube_informer_synced(s->node_informer) && kube_informer_synced(s->pod_informer) &&
      kube_informer_synced(s->ns_informer) && kube_informer_synced(s->budget_informer))
    kg_ready(ctx);
}

int sched_start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  sched_t *s = self;
  s->node_informer = kube_informer_start(
      ctx, &(kube_informer_config_t){.gvr = {"", "v1", "nodes"}, .on_change = sched_node_changed, .on_synced = synced});
  s->pod_informer = kube_informer_start(
      ctx, &(kube_informer_config_t){.gvr = {"", "v1", "pods"}, .on_change = sched_pod_changed, .on_synced = synced});
  s->ns_informer = kube_informer_start(
      ctx,
      &(kube_informer_config_t){.gvr = {"", "v1", "namespaces"}, .on_change = sched_ns_changed, .on_synced = synced});
  s->budget_informer = kube_informer_start(
      ctx, &(kube_informer_config_t){.gvr = {"policy", "v1", "poddisruptionbudgets"}, .on_synced = synced});
  return s->node_informer && s->pod_informer && s->ns_informer && s->budget_informer
             ? 0
             : kg_error_set(err, KG_EINTERNAL, "out of memory");
}

void sched_activate(kg_ctx_t *ctx, void *self) {
  sched_kick(ctx, self);
}

void sched_maybe_drained(kg_ctx_t *ctx, sched_t *s) {
  if (s->draining && !s->binding && !s->evicting) kg_drained(ctx);
}

void sched_drain(kg_ctx_t *ctx, void *self) {
  sched_t *s = self;
  s->draining = true;
  sched_volumes_release(ctx, s);
  sched_maybe_drained(ctx, s);
}

void sched_resume(kg_ctx_t *ctx, void *self) {
  sched_t *s = self;
  s->draining = false;
  sched_kick(ctx, s);
}

static void pack_pod(kg_pack_t *p, const sched_t *s, const sched_pod_t *pod, int32_t node) {
  kg_view_t v = kg_view_of(pod->doc);
  kg_pack_map(p);
  kg_pack_kv_strn(p, "ns", kube_namespace(v));
  kg_pack_kv_strn(p, "name", kube_name(v));
  kg_pack_kv_strn(p, "uid", kube_uid(v));
  if (node >= 0) kg_pack_kv_str(p, "node", s->nodes[node].name);
  kg_pack_end(p);
}

/* What a pod's document may not say yet. */
typedef enum { PLACED, PROMISED, TOLD, LISTS } list_t;
static const char *const lists[LISTS] = {"placed", "promised", "told"};

static bool listed(list_t list, const sched_pod_t *pod) {
  if (list == PROMISED) return pod->nominee >= 0;
  if (list == TOLD) return pod->told;
  return pod->node >= 0 && !kg_view_str(kg_view_get(pod->spec, "nodeName")).n;
}

static void pack_list(kg_pack_t *p, const sched_t *s, list_t list) {
  kg_pack_key(p, lists[list]);
  kg_pack_array(p);
  for (size_t b = 0; b < SCHED_BUCKETS; b++)
    for (const sched_pod_t *pod = s->pods[b]; pod; pod = pod->next)
      if (listed(list, pod)) pack_pod(p, s, pod, list == PLACED ? pod->node : list == PROMISED ? pod->nominee : -1);
  kg_pack_end(p);
}

/* Pods that were bound by the old one and are not yet seen bound here must not be placed again, nor others told to make
 * room for those who have a promise. */
int sched_hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)ctx;
  sched_t *s = self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  for (list_t list = 0; list < LISTS; list++) pack_list(&p, s, list);
  kg_pack_kv_int(&p, "bound", (int64_t)s->bound);
  kg_pack_kv_int(&p, "failed", (int64_t)s->failed);
  kg_pack_kv_int(&p, "preempted", (int64_t)s->preempted);
  kg_pack_end(&p);
  *state = kg_pack_doc(&p);
  return *state ? 0 : kg_error_set(err, KG_EINTERNAL, "out of memory");
}

static void accept_pod(sched_t *s, list_t list, kg_view_t v) {
  sched_pod_t *p = sched_pod_of(s, kg_view_str(kg_view_get(v, "ns")), kg_view_str(kg_view_get(v, "name")), false);
  sched_node_t *n = sched_node_named(s, kg_view_str(kg_view_get(v, "node")));
  if (!p || !kg_str_eq(kube_uid(kg_view_of(p->doc)), kg_view_str(kg_view_get(v, "uid")))) return;
  if (list == TOLD) p->told = true;
  if (!n || p->node >= 0) return;
  if (list == PROMISED) sched_nominate(s, p, (int32_t)(n - s->nodes));
  if (list == PLACED) sched_dequeue(s, p), sched_count(s, p, (int32_t)(n - s->nodes));
}

int sched_accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx;
  sched_t *s = self;
  if (kg_view_there(state) && kg_view_type(state) != KG_V_MAP && kg_view_type(state) != KG_V_NIL)
    return kg_error_set(err, KG_EINVAL, "the predecessor's state is no map");
  for (list_t list = 0; list < LISTS; list++)
    for (kg_iter_t it = kg_iter(kg_view_get(state, lists[list])); kg_iter_next(&it);) accept_pod(s, list, it.value);
  s->bound = (uint64_t)kg_view_int(kg_view_get(state, "bound"), 0);
  s->failed = (uint64_t)kg_view_int(kg_view_get(state, "failed"), 0);
  s->preempted = (uint64_t)kg_view_int(kg_view_get(state, "preempted"), 0);
  return 0;
}

void sched_stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  const sched_t *s = self;
  kg_pack_kv_int(p, "nodes", (int64_t)s->n_nodes);
  kg_pack_kv_int(p, "pending", (int64_t)(s->queue.n + s->parked.n));
  kg_pack_kv_int(p, "binding", (int64_t)s->binding);
  kg_pack_kv_int(p, "bound", (int64_t)s->bound);
  kg_pack_kv_int(p, "failed", (int64_t)s->failed);
  kg_pack_kv_int(p, "conflicts", (int64_t)s->conflicts);
  kg_pack_kv_int(p, "preempted", (int64_t)s->preempted);
}

void sched_status(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  sched_stats(ctx, self, &p);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

void sched_destroy(kg_ctx_t *ctx, void *self) {
  sched_t *s = self;
  kube_informer_stop(ctx, s->node_informer);
  kube_informer_stop(ctx, s->pod_informer);
  sched_free_relations(s);
  sched_free_cluster(s);
  sched_free_volumes(ctx, s);
  kube_informer_stop(ctx, s->ns_informer);
  kube_informer_stop(ctx, s->budget_informer);
  sched_free_flights(s);
  sched_free_evictions(s);
  kube_recorder_free(s->recorder);
  for (int i = 0; i < SCHED_RESOURCES; i++) free(s->resource[i]), free(s->lack[i]);
  free(s->scheduler_name);
  free(s);
}
