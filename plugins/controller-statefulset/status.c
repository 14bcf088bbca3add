#include "statefulset.h"

typedef struct counts {
  int64_t replicas, ready, available, current, updated;
} counts_t;

static void count(const pass_t *p, const member_t *m, counts_t *n) {
  if (!kg_view_there(m->object) || !m->created) return;
  n->replicas++;
  n->ready += m->ready;
  n->available += m->available;
  if (m->deleting) return;
  n->current += kg_str_eq(m->revision, p->current->name);
  n->updated += kg_str_eq(m->revision, p->update->name);
}

static void set_count(pass_t *p, kube_node_t *status, const char *key, int64_t n, bool always) {
  if (n || always)
    kube_set(p->arena, status, key, kube_int(p->arena, n));
  else
    kube_del(status, key);
}

void status_write(pass_t *p) {
  kube_arena_t *a = p->arena;
  counts_t n = {0};
  kg_view_t old = kg_view_get(p->object, "status");
  kube_node_t *status = kg_view_count(old) ? kube_tree_clone(a, kube_tree_parse(a, old)) : kube_map(a);
  for (int64_t i = 0; i < p->replicas; i++) count(p, &p->pods[i], &n);
  for (size_t i = 0; i < p->ncondemned; i++) count(p, &p->condemned[i], &n);
  kg_str_t current = p->current->name;
  bool rolls = !kg_str_is(kg_view_str(kg_view_path(p->spec, "updateStrategy", "type", NULL)), "OnDelete");
  if (rolls && n.updated == n.replicas && n.ready == n.replicas && n.replicas == p->replicas) {
    n.current = n.updated;
    current = p->update->name;
  }
  set_count(p, status, "replicas", n.replicas, true);
  set_count(p, status, "readyReplicas", n.ready, false);
  set_count(p, status, "availableReplicas", n.available, true);
  set_count(p, status, "currentReplicas", n.current, false);
  set_count(p, status, "updatedReplicas", n.updated, false);
  set_count(p, status, "collisionCount", p->history.collisions, true);
  kube_set(a, status, "currentRevision", kube_strn(a, current));
  kube_set(a, status, "updateRevision", kube_strn(a, p->update->name));
  kube_set(a, status, "observedGeneration", kube_int(a, kube_generation(p->object)));
  ctl_send_status(p->ctx, p->sync, GVR_SETS, p->object, status);
}
