#include <stdlib.h>
#include <string.h>

#include "daemonset.h"

enum { BURST = 250 }; /* pods made in one pass, as in Kubernetes */

/* --- what there is ------------------------------------------------------------------------------------------------ */

/* Where it is, or where its affinity wants it. */
static kg_str_t target(kg_view_t pod) {
  kg_str_t node = kg_view_str(kg_view_path(pod, "spec", "nodeName", NULL));
  kg_view_t terms = kg_view_path(pod, "spec", "affinity", "nodeAffinity",
                                 "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms", NULL);
  for (kg_iter_t t = kg_iter(terms); !node.n && kg_iter_next(&t);)
    for (kg_iter_t f = kg_iter(kg_view_get(t.value, "matchFields")); !node.n && kg_iter_next(&f);)
      if (kg_str_is(kg_view_str(kg_view_get(f.value, "key")), "metadata.name"))
        node = kg_view_str(kg_view_at(kg_view_get(f.value, "values"), 0));
  return node;
}

static place_t *place_of(const pass_t *p, kg_str_t node) {
  size_t low = 0, high = p->n; /* nodes are in order of their names */
  while (low < high) {
    size_t middle = (low + high) / 2;
    int o = kg_str_cmp(p->places[middle].name, node);
    if (o == 0) return &p->places[middle];
    if (o < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

static daemon_t read_pod(pass_t *p, kg_view_t v) {
  kg_str_t phase = kg_view_str(kg_view_path(v, "status", "phase", NULL));
  daemon_t d = {.object = v, .deleting = kube_deleting(v)};
  d.deleting |= ctl_expects_deletion_of(&p->c->ahead, ctl_sync_key(p->sync), kube_name(v));
  d.failed = kg_str_is(phase, "Failed");
  d.succeeded = kg_str_is(phase, "Succeeded");
  d.ready = ctl_pod_ready(v, NULL);
  d.available = ctl_pod_available(v, p->min_ready, kg_wall_us(p->ctx), &p->wait_ms);
  d.current = kg_str_eq(kg_view_str(kg_view_get(kube_labels(v), HASH_LABEL)), p->history.update->hash);
  return d;
}

static void put(pass_t *p, daemon_t *d) {
  kg_str_t node = target(d->object);
  place_t *at = place_of(p, node);
  if (!at) { /* its node has gone: one that ran is for the pod garbage collector, one that waits is for us */
    if (!kg_view_str(kg_view_path(d->object, "spec", "nodeName", NULL)).n) daemon_delete(p, d);
    return;
  }
  daemon_t **list = kube_arena_alloc(p->arena, (at->n + 1) * sizeof *list);
  if (at->n) memcpy(list, at->pods, at->n * sizeof *list);
  list[at->n++] = d;
  at->pods = list;
}

void pods_read(pass_t *p) {
  size_t first, count;
  const kube_informer_t *pods = p->c->base.informers[PODS];
  kube_informer_ns(pods, kube_namespace(p->object), &first, &count);
  p->pods = kube_arena_alloc(p->arena, (count + 1) * sizeof *p->pods);
  p->wait_ms = INT64_MAX;
  for (size_t i = first; i < first + count; i++) {
    kg_doc_t *doc = kube_informer_at(pods, i);
    ctl_claim_t claim = ctl_claim(p->ctx, p->sync, GVR_PODS, &p->owner, kg_view_of(doc));
    if (claim != CTL_OURS && claim != CTL_ADOPTED) continue;
    ctl_keep(p->sync, doc);
    p->pods[p->npods] = read_pod(p, kg_view_of(doc));
    put(p, &p->pods[p->npods++]);
  }
}

/* --- what is made ------------------------------------------------------------------------------------------------- */

static void tolerate(pass_t *p, kube_node_t *list, const char *key, const char *effect) {
  kube_arena_t *a = p->arena;
  for (uint32_t i = 0; i < list->c.n; i++) {
    const kube_node_t *t = list->c.items[i];
    if (kg_str_is(kube_node_str(kube_get(t, "key")), key) && kg_str_is(kube_node_str(kube_get(t, "effect")), effect) &&
        kg_str_is(kube_node_str(kube_get(t, "operator")), "Exists") && !kube_get(t, "tolerationSeconds"))
      return;
  }
  kube_node_t *t = kube_map(a);
  kube_set(a, t, "key", kube_str(a, key));
  kube_set(a, t, "operator", kube_str(a, "Exists"));
  kube_set(a, t, "effect", kube_str(a, effect));
  kube_push(a, list, t);
}

kube_node_t *daemon_tolerations(pass_t *p) {
  static const char *const taints[][2] = {
      {"node.kubernetes.io/not-ready", "NoExecute"},      {"node.kubernetes.io/unreachable", "NoExecute"},
      {"node.kubernetes.io/disk-pressure", "NoSchedule"}, {"node.kubernetes.io/memory-pressure", "NoSchedule"},
      {"node.kubernetes.io/pid-pressure", "NoSchedule"},  {"node.kubernetes.io/unschedulable", "NoSchedule"}};
  kg_view_t spec = kg_view_path(p->spec, "template", "spec", NULL), own = kg_view_get(spec, "tolerations");
  kube_node_t *list =
      kg_view_count(own) ? kube_tree_clone(p->arena, kube_tree_parse(p->arena, own)) : kube_array(p->arena);
  for (size_t i = 0; i < sizeof taints / sizeof *taints; i++) tolerate(p, list, taints[i][0], taints[i][1]);
  if (kg_view_bool(kg_view_get(spec, "hostNetwork"), false))
    tolerate(p, list, "node.kubernetes.io/network-unavailable", "NoSchedule");
  return list;
}

static void pin(pass_t *p, kube_node_t *spec, kg_str_t node) {
  kube_arena_t *a = p->arena;
  kube_node_t *field = kube_map(a), *values = kube_array(a), *fields = kube_array(a), *term = kube_map(a),
              *terms = kube_array(a);
  kube_set(a, field, "key", kube_str(a, "metadata.name"));
  kube_set(a, field, "operator", kube_str(a, "In"));
  kube_push(a, values, kube_strn(a, node));
  kube_set(a, field, "values", values);
  kube_push(a, fields, field);
  kube_set(a, term, "matchFields", fields);
  kube_push(a, terms, term);
  kube_node_t *affinity = kube_sub(a, kube_sub(a, spec, "affinity"), "nodeAffinity");
  kube_set(a, kube_sub(a, affinity, "requiredDuringSchedulingIgnoredDuringExecution"), "nodeSelectorTerms", terms);
}

static kube_node_t *pod_of(void *arg, size_t i) {
  pass_t *p = arg;
  kube_arena_t *a = p->arena;
  kube_node_t *pod = ctl_pod_from_template(a, p->history.tmpl, &p->owner), *spec = kube_sub(a, pod, "spec");
  kube_node_t *labels = kube_sub(a, kube_sub(a, pod, "metadata"), "labels");
  kg_str_t generation = kg_view_str(kube_annotation(p->object, "deprecated.daemonset.template.generation"));
  kube_set(a, labels, HASH_LABEL, kube_strn(a, p->history.update->hash));
  if (generation.n) kube_set(a, labels, "pod-template-generation", kube_strn(a, generation));
  kube_set(a, spec, "tolerations", daemon_tolerations(p));
  pin(p, spec, p->wanted[i]->name);
  return pod;
}

void daemon_create(pass_t *p, const place_t *at) {
  if (!p->wanted) p->wanted = kube_arena_alloc(p->arena, p->n * sizeof *p->wanted);
  if (p->nwanted < p->n) p->wanted[p->nwanted++] = at; /* each is asked for at most once */
}

void daemons_create(pass_t *p) {
  size_t n = p->nwanted < BURST ? p->nwanted : BURST;
  ctl_pods_create(p->ctx, p->sync, &p->c->base, &p->c->ahead, p->doc, n, pod_of, NULL, p);
}

void daemon_delete(pass_t *p, daemon_t *d) {
  if (d->deleting || d->doomed) return;
  d->doomed = true;
  ctl_pod_delete(p->ctx, p->sync, &p->c->base, &p->c->ahead, p->doc, d->object);
}
