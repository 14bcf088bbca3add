#include <stdlib.h>
#include <string.h>

#include "control.h"

static const kube_gvr_t GVR_REVISIONS = {"apps", "v1", "controllerrevisions"};

static int by_number(const void *x, const void *y) {
  const ctl_revision_t *a = x, *b = y;
  return a->number != b->number ? (a->number < b->number ? -1 : 1) : kg_str_cmp(a->name, b->name);
}

static void read_all(kg_ctx_t *ctx, ctl_sync_t *s, ctl_history_t *h) {
  size_t first, count;
  kube_informer_ns(h->informer, kube_namespace(h->owner->object), &first, &count);
  h->list = kube_arena_alloc(ctl_arena(s), (count + 1) * sizeof *h->list);
  for (size_t i = first; i < first + count; i++) {
    kg_doc_t *doc = kube_informer_at(h->informer, i);
    kg_view_t v = kg_view_of(doc);
    if (ctl_claim(ctx, s, GVR_REVISIONS, h->owner, v) != CTL_OURS) continue;
    ctl_keep(s, doc);
    h->list[h->n++] = (ctl_revision_t){.object = v,
                                       .tmpl = kg_view_path(v, "data", "spec", "template", NULL),
                                       .name = kube_name(v),
                                       .hash = kg_view_str(kg_view_get(kube_labels(v), h->hash_label)),
                                       .number = kg_view_int(kg_view_get(v, "revision"), 0)};
  }
  if (h->n > 1) qsort(h->list, h->n, sizeof *h->list, by_number);
}

static bool same_template(kube_arena_t *a, const ctl_revision_t *r, const kube_node_t *tmpl) {
  kube_node_t *t = kube_tree_parse(a, r->tmpl);
  if (!t || t->type != KG_V_MAP) return false;
  kube_del(t, "$patch");
  return kube_tree_equal(t, tmpl);
}

static kube_node_t *new_revision(ctl_sync_t *s, const ctl_history_t *h, kube_node_t *tmpl, int64_t number) {
  kube_arena_t *a = ctl_arena(s);
  kube_node_t *o = kube_map(a), *meta = kube_sub(a, o, "metadata"), *refs = kube_array(a);
  kg_view_t labels = kg_view_path(h->tmpl, "metadata", "labels", NULL);
  char hash[16];
  ctl_template_hash(a, h->tmpl, h->collisions, hash);
  kube_set(a, o, "apiVersion", kube_str(a, "apps/v1"));
  kube_set(a, o, "kind", kube_str(a, "ControllerRevision"));
  kube_set(a, meta, "name", kube_strf(a, KG_STR_FMT "-%s", KG_STR_ARG(kube_name(h->owner->object)), hash));
  kube_set(a, meta, "namespace", kube_strn(a, kube_namespace(h->owner->object)));
  kg_view_t notes = kg_view_path(h->owner->object, "metadata", "annotations", NULL);
  if (kg_view_count(labels)) kube_set(a, meta, "labels", kube_tree_clone(a, kube_tree_parse(a, labels)));
  if (kg_view_count(notes)) kube_set(a, meta, "annotations", kube_tree_parse(a, notes));
  kube_set(a, kube_sub(a, meta, "labels"), h->hash_label, kube_str(a, hash));
  kube_push(a, refs, ctl_owner_ref(a, h->owner->object, h->owner->api_version, h->owner->kind));
  kube_set(a, meta, "ownerReferences", refs);
  kube_node_t *t = kube_tree_clone(a, tmpl);
  kube_set(a, t, "$patch", kube_str(a, "replace"));
  kube_sort_keys(a, t, true); /* clients compare the text with the one they make from the owner */
  kube_set(a, kube_sub(a, kube_sub(a, o, "data"), "spec"), "template", t);
  kube_set(a, o, "revision", kube_int(a, number));
  return o;
}

static void send(kg_ctx_t *ctx, ctl_sync_t *s, ctl_verb_t verb, const ctl_history_t *h, kg_str_t name,
                 kube_node_t *object, const char *patch) {
  kg_doc_t *doc = object ? kube_tree_doc(object) : NULL;
  ctl_send(ctx, s, verb,
           &(kube_call_t){.gvr = GVR_REVISIONS,
                          .ns = ctl_text(ctl_arena(s), kube_namespace(h->owner->object)),
                          .name = name.n ? ctl_text(ctl_arena(s), name) : NULL,
                          .object = doc,
                          .patch_type = patch,
                          .grace_seconds = -1},
           NULL, NULL);
  kg_doc_unref(doc);
}

/* A template that comes back becomes the newest. */
static void renumber(kg_ctx_t *ctx, ctl_sync_t *s, ctl_history_t *h, const ctl_revision_t *r, int64_t number) {
  kube_node_t *patch = kube_map(ctl_arena(s));
  kube_set(ctl_arena(s), patch, "revision", kube_int(ctl_arena(s), number));
  send(ctx, s, CTL_PATCH, h, r->name, patch, "merge");
}

void ctl_history_sync(kg_ctx_t *ctx, ctl_sync_t *s, ctl_history_t *h) {
  kube_arena_t *a = ctl_arena(s);
  read_all(ctx, s, h);
  kube_node_t *tmpl = kube_tree_clone(a, kube_tree_parse(a, h->tmpl));
  int64_t last = h->n ? h->list[h->n - 1].number : 0;
  for (size_t i = h->n; i-- > 0;) {
    if (!same_template(a, &h->list[i], tmpl)) continue;
    if (h->list[i].number < last) renumber(ctx, s, h, &h->list[i], last + 1);
    h->update = &h->list[i];
    return;
  }
  if (kube_deleting(h->owner->object)) return;
  kube_node_t *o = new_revision(s, h, tmpl, last + 1);
  while (ctl_revision_find(h, kube_node_str(kube_path(o, "metadata", "name", NULL)))) {
    h->collisions++;
    o = new_revision(s, h, tmpl, last + 1);
  }
  send(ctx, s, CTL_CREATE, h, (kg_str_t){NULL, 0}, o, NULL);
}

const ctl_revision_t *ctl_revision_find(const ctl_history_t *h, kg_str_t name) {
  for (size_t i = 0; i < h->n; i++)
    if (kg_str_eq(h->list[i].name, name)) return &h->list[i];
  return NULL;
}

void ctl_history_trim(kg_ctx_t *ctx, ctl_sync_t *s, const ctl_history_t *h, int64_t limit,
                      bool (*live)(const ctl_revision_t *r, void *arg), void *arg) {
  int64_t spare = 0;
  for (size_t i = 0; i < h->n; i++) spare += !live(&h->list[i], arg);
  for (size_t i = 0; i < h->n && spare > limit; i++) {
    if (live(&h->list[i], arg)) continue;
    send(ctx, s, CTL_DELETE, h, h->list[i].name, NULL, NULL);
    spare--;
  }
}
