/* Equal pods and equal nodes are asked about once. */
#include <stdlib.h>
#include <string.h>

#include "kube/values.h"
#include "lua.h"

static bool listed(kg_str_t key, const char *const *keys) {
  for (; *keys; keys++)
    if (kg_str_is(key, *keys)) return true;
  return false;
}

/* Keys that tell one of many equal ones from the others do not count. */
static uint64_t hash_map(uint64_t h, kg_view_t map, const char *const *but) {
  for (kg_iter_t it = kg_iter(map); kg_iter_next(&it);)
    if (!listed(kg_view_str(it.key), but)) h = kg_hash(h, it.key.p, kg_view_span(it.key) + kg_view_span(it.value));
  return h;
}

static uint64_t hash_of_pod(kg_view_t pod) {
  static const char *const spec_but[] = {"nodeName", "hostname", "volumes", "containers", "initContainers", NULL};
  static const char *const container_but[] = {"volumeMounts", NULL}; /* the token's volume has a random name */
  kg_view_t spec = kg_view_get(pod, "spec"), meta = kg_view_get(pod, "metadata");
  kg_str_t ns = kube_namespace(pod);
  uint64_t h = kg_hash_str(KG_HASH_START, ns);
  const char *const parts[] = {"labels", "annotations"};
  for (size_t i = 0; i < 2; i++) {
    kg_view_t v = kg_view_get(meta, parts[i]);
    h = kg_hash(h, v.p, kg_view_span(v)) * 31;
  }
  h = hash_map(h, spec, spec_but);
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "containers")); kg_iter_next(&it);)
    h = hash_map(h * 31, it.value, container_but);
  return h;
}

static uint64_t hash_of_node(kg_view_t node) {
  static const char *const label_but[] = {"kubernetes.io/hostname", NULL};
  static const char *const spec_but[] = {"podCIDR", "podCIDRs", "providerID", NULL};
  static const char *const status_in[] = {"allocatable", "capacity"};
  uint64_t h = hash_map(KG_HASH_START, kube_labels(node), label_but);
  h = hash_map(h * 31, kg_view_get(node, "spec"), spec_but);
  for (size_t i = 0; i < 2; i++) {
    kg_view_t v = kg_view_path(node, "status", status_in[i], NULL);
    h = kg_hash(h * 31, v.p, kg_view_span(v));
  }
  return h;
}

static uint64_t node_class(lua_t *l, const sched_t *s, uint32_t i) {
  if (i >= l->nnodes) {
    size_t n = s->n_nodes > i ? s->n_nodes : i + 1;
    node_class_t *more = realloc(l->nodes, n * sizeof *more);
    if (!more) return 0;
    memset(more + l->nnodes, 0, (n - l->nnodes) * sizeof *more);
    l->nodes = more;
    l->nnodes = n;
  }
  node_class_t *c = &l->nodes[i];
  if (c->doc == s->nodes[i].doc) return c->hash;
  kg_doc_unref(c->doc);
  c->doc = kg_doc_ref(s->nodes[i].doc);
  c->hash = hash_of_node(kg_view_of(c->doc));
  return c->hash;
}

static uint64_t pod_class(lua_t *l, const sched_pod_t *pod) {
  if (l->pod == pod->doc) return l->pod_class;
  kg_doc_unref(l->pod);
  l->pod = kg_doc_ref(pod->doc);
  return l->pod_class = hash_of_pod(kg_view_of(pod->doc));
}

static uint64_t key_of(lua_t *l, const sched_t *s, const sched_pod_t *pod, uint32_t i) {
  const sched_node_t *n = &s->nodes[i];
  uint64_t h = pod_class(l, pod) * 31 + node_class(l, s, i);
  const int64_t state[] = {n->scored_cpu, n->scored_memory, n->pods, l->per_node ? (int64_t)i : -1};
  h = kg_hash(h ^ KG_HASH_START, state, sizeof state);
  return h ? h : 1;
}

static void drop_verdicts(lua_t *l) {
  memset(l->verdicts, 0, VERDICTS * sizeof *l->verdicts);
  l->used = 0;
}

void classes_forget(lua_t *l) {
  drop_verdicts(l);
  while (l->nreasons) free(l->reasons[--l->nreasons]);
}

void classes_free(lua_t *l) {
  for (size_t i = 0; i < l->nnodes; i++) kg_doc_unref(l->nodes[i].doc);
  free(l->nodes);
  kg_doc_unref(l->pod);
  while (l->nreasons) free(l->reasons[--l->nreasons]);
  free(l->verdicts);
}

int16_t classes_reason(lua_t *l, kg_str_t text) {
  for (size_t i = 0; i < l->nreasons; i++)
    if (kg_str_is(text, l->reasons[i])) return (int16_t)i;
  if (l->nreasons == REASONS) return REASONS - 1;
  if (!(l->reasons[l->nreasons] = kg_str_dup(text))) return 0;
  return (int16_t)l->nreasons++;
}

verdict_t *classes_verdict(kg_ctx_t *ctx, lua_t *l, const sched_t *s, const sched_pod_t *pod, uint32_t node) {
  uint64_t key = key_of(l, s, pod, node);
  size_t i = key % VERDICTS;
  while (l->verdicts[i].key && l->verdicts[i].key != key) i = (i + 1) % VERDICTS;
  verdict_t *v = &l->verdicts[i];
  if (v->key) {
    l->remembered++;
    return v;
  }
  if (++l->used > VERDICTS * 3 / 4) {
    drop_verdicts(l);
    v = &l->verdicts[key % VERDICTS];
    l->used = 1;
  }
  v->key = key;
  l->asked++;
  script_ask(ctx, l, pod, &s->nodes[node], v);
  return v;
}
