/* The Endpoints object of a service: addresses with the same ports make a subset. */
#include <stdlib.h>
#include <string.h>

#include "endpoints.h"

#define NOTE_CAPACITY "endpoints.kubernetes.io/over-capacity"
#define LABEL_LEGACY "endpoints.kubernetes.io/managed-by"

static kube_node_t *legacy_ports(kube_arena_t *a, const kube_node_t *ports) {
  kube_node_t *out = kube_tree_clone(a, ports);
  for (uint32_t i = 0; i < out->c.n; i++)
    if (!kube_node_str(kube_get(out->c.items[i], "name")).n) kube_del(out->c.items[i], "name");
  return out;
}

static void add(kube_arena_t *a, kube_node_t *subset, const char *key, kube_node_t *address) {
  kube_node_t *list = kube_get(subset, key);
  if (!list) kube_set(a, subset, key, list = kube_array(a));
  kube_push(a, list, address);
}

static int by_group_and_ip(const void *x, const void *y) {
  const endpoint_t *a = *(endpoint_t *const *)x, *b = *(endpoint_t *const *)y;
  int o = strcmp(a->group, b->group);
  return o ? o : kg_str_cmp(kube_node_str(kube_get(a->legacy, "ip")), kube_node_str(kube_get(b->legacy, "ip")));
}

static bool has_room(size_t taken, bool *full) {
  *full |= taken >= ENDPOINTS_MAX;
  return taken < ENDPOINTS_MAX;
}

static kube_node_t *subsets(pass_t *p, bool *full) {
  kube_arena_t *a = p->arena;
  kube_node_t *out = kube_array(a), *subset = NULL;
  endpoint_t **order = kube_arena_alloc(a, (p->n + 1) * sizeof *order);
  const char *group = NULL;
  size_t n = 0;
  bool portless = kg_view_count(kg_view_path(p->service, "spec", "ports", NULL)) == 0;
  for (size_t i = 0; i < p->n; i++)
    if (p->list[i].legacy && (portless || p->list[i].ports->c.n)) order[n++] = &p->list[i];
  qsort(order, n, sizeof *order, by_group_and_ip);
  for (size_t i = 0; i < n && has_room(i, full); i++) {
    if (!group || strcmp(group, order[i]->group)) {
      kube_push(a, out, subset = kube_map(a));
      if (order[i]->ports->c.n) kube_set(a, subset, "ports", legacy_ports(a, order[i]->ports));
      group = order[i]->group;
    }
    add(a, subset, order[i]->ready ? "addresses" : "notReadyAddresses", order[i]->legacy);
  }
  return out;
}

static kube_node_t *labels_of(pass_t *p) {
  kube_arena_t *a = p->arena;
  kube_node_t *labels = kube_map(a);
  for (kg_iter_t it = kg_iter(kube_labels(p->service)); kg_iter_next(&it);)
    kube_setn(a, labels, kg_view_str(it.key), kube_strn(a, kg_view_str(it.value)));
  kube_set(a, labels, LABEL_LEGACY, kube_str(a, "endpoint-controller"));
  if (is_headless(p->service))
    kube_set(a, labels, LABEL_HEADLESS, kube_str(a, ""));
  else
    kube_del(labels, LABEL_HEADLESS);
  return labels;
}

static kube_node_t *object_of(pass_t *p, kg_view_t old) {
  kube_arena_t *a = p->arena;
  kube_node_t *o = kg_view_there(old) ? kube_tree_clone(a, kube_tree_parse(a, old)) : kube_map(a);
  kube_node_t *meta = kube_sub(a, o, "metadata"), *notes = kube_get(meta, "annotations");
  bool full = false;
  kube_set(a, o, "apiVersion", kube_str(a, "v1"));
  kube_set(a, o, "kind", kube_str(a, "Endpoints"));
  kube_set(a, meta, "name", kube_strn(a, p->name));
  kube_set(a, meta, "namespace", kube_strn(a, p->ns));
  kube_set(a, meta, "labels", labels_of(p));
  kube_node_t *sets = subsets(p, &full);
  if (sets->c.n)
    kube_set(a, o, "subsets", sets);
  else
    kube_del(o, "subsets");
  if (full)
    kube_set(a, kube_sub(a, meta, "annotations"), NOTE_CAPACITY, kube_str(a, "truncated"));
  else if (notes && kube_del(notes, NOTE_CAPACITY) && !notes->c.n)
    kube_del(meta, "annotations");
  return o;
}

static void written(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)arg;
  int code = kg_msg_type(m) == KG_MSG_ERROR ? kg_msg_code(m) : 0;
  if (code == KG_EDENIED || code == KG_ENOTFOUND) ctl_sync_forgive(s); /* the namespace goes */
}

void legacy_sync(pass_t *p) {
  kg_doc_t *was = kube_informer_get(p->c->base.informers[ENDPOINTS], p->ns, p->name);
  kg_view_t old = kg_view_of(was ? ctl_keep(p->sync, was) : NULL);
  kube_node_t *o = object_of(p, old);
  if (was && kube_tree_equal(o, kube_tree_parse(p->arena, old))) return;
  kg_doc_t *doc = kube_tree_doc(o);
  ctl_send(p->ctx, p->sync, was ? CTL_UPDATE : CTL_CREATE,
           &(kube_call_t){.gvr = GVR_ENDPOINTS,
                          .ns = ctl_text(p->arena, p->ns),
                          .name = was ? ctl_text(p->arena, p->name) : NULL,
                          .object = doc,
                          .grace_seconds = -1},
           written, NULL);
  kg_doc_unref(doc);
}
