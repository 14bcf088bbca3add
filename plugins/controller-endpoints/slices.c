/*
 * Slices as they are to slices as they should be, with few changes: an endpoint stays in the slice it is in, new ones
 * fill slices that change anyway, then those with room, then new ones.
 */
#include <string.h>

#include "endpoints.h"

typedef struct slice {
  kg_view_t old; /* absent: it is new */
  const char *group, *family;
  kube_node_t *ports, *endpoints;
  bool changed;
} slice_t;

typedef struct slices {
  slice_t *list;
  size_t n;
} slices_t;

static kg_str_t label(kg_view_t object, const char *key) {
  return kg_view_str(kg_view_get(kube_labels(object), key));
}

/* --- labels of a slice -------------------------------------------------------------------------------------------- */

static kube_node_t *labels_of(pass_t *p, const slice_plan_t *plan) {
  kube_arena_t *a = p->arena;
  kube_node_t *labels = kube_map(a);
  for (kg_iter_t it = kg_iter(kube_labels(plan->owner)); kg_iter_next(&it);)
    kube_setn(a, labels, kg_view_str(it.key), kube_strn(a, kg_view_str(it.value)));
  kube_del(labels, LABEL_HEADLESS);
  kube_del(labels, "endpoints.kubernetes.io/managed-by");
  if (is_headless(p->service) && plan->placeholder) kube_set(a, labels, LABEL_HEADLESS, kube_str(a, ""));
  kube_set(a, labels, LABEL_SERVICE, kube_strn(a, p->name));
  kube_set(a, labels, LABEL_MANAGER, kube_str(a, plan->manager));
  return labels;
}

typedef struct marks {         /* what is said of a slice */
  kube_node_t *labels, *notes; /* notes NULL: annotations are not ours */
} marks_t;

/* A mirror shows the annotations of what it mirrors, but for those that are only about that. */
static marks_t marks_of(pass_t *p, const slice_plan_t *plan) {
  marks_t m = {0};
  if (!kg_view_there(plan->owner)) return m;
  m.labels = labels_of(p, plan);
  if (plan->placeholder) return m;
  kg_view_t notes = kg_view_path(plan->owner, "metadata", "annotations", NULL);
  m.notes = kg_view_count(notes) ? kube_tree_clone(p->arena, kube_tree_parse(p->arena, notes)) : kube_map(p->arena);
  kube_del(m.notes, "endpoints.kubernetes.io/last-change-trigger-time");
  kube_del(m.notes, "kubectl.kubernetes.io/last-applied-configuration");
  return m;
}

static bool same_marks(pass_t *p, kg_view_t slice, const marks_t *m) {
  kg_view_t notes = kg_view_path(slice, "metadata", "annotations", NULL);
  if (!kube_tree_equal(kube_tree_parse(p->arena, kube_labels(slice)), m->labels)) return false;
  if (!m->notes || (!kg_view_count(notes) && !m->notes->c.n)) return true;
  return kg_view_count(notes) && kube_tree_equal(kube_tree_parse(p->arena, notes), m->notes);
}

static void set_marks(pass_t *p, kube_node_t *meta, const marks_t *m) {
  kube_set(p->arena, meta, "labels", m->labels);
  if (m->notes && m->notes->c.n)
    kube_set(p->arena, meta, "annotations", m->notes);
  else if (m->notes)
    kube_del(meta, "annotations");
}

/* --- placing ------------------------------------------------------------------------------------------------------ */

static bool same_target(const kube_node_t *a, const kube_node_t *b) {
  kg_str_t x = kube_node_str(kube_path(a, "targetRef", "uid", NULL)),
           y = kube_node_str(kube_path(b, "targetRef", "uid", NULL));
  return kg_str_eq(x, y) && kube_tree_equal(kube_get(a, "addresses"), kube_get(b, "addresses"));
}

static endpoint_t *wanted(pass_t *p, const slice_t *s, const kube_node_t *endpoint) {
  for (size_t i = 0; i < p->n; i++)
    if (!p->list[i].placed && !strcmp(p->list[i].group, s->group) && same_target(p->list[i].slice, endpoint))
      return &p->list[i];
  return NULL;
}

/* What is in the slice and is still wanted stays there, in its new form. */
static void keep(pass_t *p, slice_t *s) {
  kg_view_t old = kg_view_get(s->old, "endpoints");
  for (kg_iter_t it = kg_iter(old); kg_iter_next(&it);) {
    kube_node_t *was = kube_tree_parse(p->arena, it.value);
    endpoint_t *e = wanted(p, s, was);
    s->changed |= !e || !kube_tree_equal(e->slice, was);
    if (!e) continue;
    e->placed = true;
    kube_push(p->arena, s->endpoints, e->slice);
  }
}

static bool fits(const slice_t *s, const endpoint_t *e) {
  return !strcmp(s->group, e->group) && s->endpoints->c.n < SLICE_MAX;
}

static slice_t *room_for(pass_t *p, slices_t *all, const endpoint_t *e) {
  for (size_t i = 0; i < all->n; i++)
    if (all->list[i].changed && fits(&all->list[i], e)) return &all->list[i];
  for (size_t i = 0; i < all->n; i++)
    if (fits(&all->list[i], e)) return &all->list[i];
  slice_t *s = &all->list[all->n++];
  *s = (slice_t){.group = e->group, .family = e->family, .ports = e->ports, .endpoints = kube_array(p->arena)};
  return s;
}

static void place_new(pass_t *p, slices_t *all) {
  for (size_t i = 0; i < p->n; i++) {
    if (p->list[i].placed) continue;
    slice_t *s = room_for(p, all, &p->list[i]);
    kube_push(p->arena, s->endpoints, p->list[i].slice);
    s->changed = true;
  }
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void created(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)arg;
  epc_t *c = self;
  if (kg_msg_type(m) != KG_MSG_REPLY) {
    if (kg_msg_code(m) == KG_EDENIED || kg_msg_code(m) == KG_ENOTFOUND) ctl_sync_forgive(s); /* the namespace goes */
    return;
  }
  kg_view_t v = kg_view_of(kg_msg_doc(m, 0));
  if (!kube_informer_get(c->base.informers[SLICES], kube_namespace(v), kube_name(v)))
    ctl_expect(ctx, &c->ahead, ctl_sync_key(s), kube_name(v), false);
}

static void send(pass_t *p, ctl_verb_t verb, kg_view_t old, kube_node_t *object) {
  kg_doc_t *doc = object ? kube_tree_doc(object) : NULL;
  ctl_send(p->ctx, p->sync, verb,
           &(kube_call_t){.gvr = GVR_SLICES,
                          .ns = ctl_text(p->arena, p->ns),
                          .name = verb == CTL_CREATE ? NULL : ctl_text(p->arena, kube_name(old)),
                          .object = doc,
                          .grace_seconds = -1},
           verb == CTL_CREATE ? created : NULL, NULL);
  kg_doc_unref(doc);
}

static void create(pass_t *p, const slice_plan_t *plan, const slice_t *s, const marks_t *marks) {
  kube_arena_t *a = p->arena;
  kube_node_t *o = kube_map(a), *refs = kube_array(a);
  kube_set(a, o, "apiVersion", kube_str(a, "discovery.k8s.io/v1"));
  kube_set(a, o, "kind", kube_str(a, "EndpointSlice"));
  kube_node_t *meta = kube_sub(a, o, "metadata");
  kube_set(a, meta, "generateName", kube_strf(a, KG_STR_FMT "-", KG_STR_ARG(p->name)));
  kube_set(a, meta, "namespace", kube_strn(a, p->ns));
  set_marks(p, meta, marks);
  kube_push(a, refs, ctl_owner_ref(a, plan->owner, plan->owner_version, plan->owner_kind));
  kube_set(a, meta, "ownerReferences", refs);
  kube_set(a, o, "addressType", kube_str(a, s->family));
  kube_set(a, o, "endpoints", s->endpoints);
  kube_set(a, o, "ports", s->ports);
  send(p, CTL_CREATE, (kg_view_t){0}, o);
}

static void update(pass_t *p, const slice_t *s, const marks_t *marks) {
  kube_node_t *o = kube_tree_parse(p->arena, s->old);
  set_marks(p, kube_sub(p->arena, o, "metadata"), marks);
  kube_set(p->arena, o, "endpoints", s->endpoints);
  send(p, CTL_UPDATE, s->old, o);
}

static void write(pass_t *p, const slice_plan_t *plan, const slices_t *all) {
  marks_t marks = marks_of(p, plan);
  bool one = false;
  for (size_t i = 0; i < all->n; i++) one |= all->list[i].endpoints->c.n > 0;
  for (size_t i = 0; i < all->n; i++) {
    const slice_t *s = &all->list[i];
    bool spare = plan->placeholder && !one && !s->ports->c.n && !strcmp(s->family, service_family(p));
    if (!kg_view_there(s->old)) {
      create(p, plan, s, &marks);
    } else if (!s->endpoints->c.n && !spare) {
      send(p, CTL_DELETE, s->old, NULL);
    } else if (s->changed || !same_marks(p, s->old, &marks)) {
      update(p, s, &marks);
    }
    one |= spare;
  }
  if (one || !plan->placeholder) return;
  create(p, plan,
         &(slice_t){.family = service_family(p), .ports = kube_array(p->arena), .endpoints = kube_array(p->arena)},
         &marks);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static bool is_ours(const pass_t *p, const slice_plan_t *plan, kg_view_t slice) {
  return kg_str_eq(label(slice, LABEL_SERVICE), p->name) && kg_str_eq(kube_namespace(slice), p->ns) &&
         kg_str_is(label(slice, LABEL_MANAGER), plan->manager) && !kube_deleting(slice);
}

static void add_existing(pass_t *p, slices_t *all, kg_doc_t *doc) {
  kg_view_t v = kg_view_of(ctl_keep(p->sync, doc)), ports = kg_view_get(v, "ports");
  slice_t *s = &all->list[all->n++];
  *s = (slice_t){.old = v, .family = ctl_text(p->arena, kg_view_str(kg_view_get(v, "addressType")))};
  s->ports = kg_view_count(ports) ? kube_tree_parse(p->arena, ports) : kube_array(p->arena);
  s->endpoints = kube_array(p->arena);
  s->group = ports_group(p->arena, s->family, s->ports);
  keep(p, s);
}

void slices_sync(pass_t *p, const slice_plan_t *plan) {
  const kube_index_t *slices = &p->c->slices;
  uint64_t key = kube_index_key(p->ns, p->name);
  slices_t all = {0};
  size_t count = 0;
  kg_doc_t *doc;
  for (const kube_indexed_t *at = NULL; kube_index_next(slices, key, &at);) count++;
  all.list = kube_arena_alloc(p->arena, (count + p->n + 1) * sizeof *all.list);
  for (const kube_indexed_t *at = NULL; (doc = kube_index_next(slices, key, &at));)
    if (is_ours(p, plan, kg_view_of(doc))) add_existing(p, &all, doc);
  place_new(p, &all);
  write(p, plan, &all);
}
