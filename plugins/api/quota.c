/*
 * ResourceQuotas: what a new object would use is added to what is in its namespace, on the cache and on its way there.
 * So the limit holds however many are made at once.
 */
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "kube/quota.h"

static kube_amounts_t used(write_t *w, kg_view_t spec) {
  const kube_resource_t *r = w->q.c->r;
  kube_amounts_t sum = {0};
  selection_t s = {.ns = w->q.ns, .r = r};
  sorted_pos_t pos = selection_seek(&s, &w->q.c->objects);
  for (object_t *o; (o = sorted_at(&w->q.c->objects, &pos)) && !selection_ends(&s, o);)
    if (kube_quota_chooses(spec, r->group, r->resource, object_view(o)))
      kube_quota_count(w->arena, &sum, r->group, r->resource, object_view(o));
  for (write_t *x = w->q.api->charged; x; x = x->charged_next) {
    bool ours = x != w && x->doc && x->q.c == w->q.c && kg_str_eq(x->q.ns, w->q.ns);
    if (!ours || sorted_get(&w->q.c->objects, kg_str(x->key))) continue;
    if (kube_quota_chooses(spec, r->group, r->resource, kg_view_of(x->doc)))
      kube_quota_count(w->arena, &sum, r->group, r->resource, kg_view_of(x->doc));
  }
  return sum;
}

static int by_name(const void *x, const void *y) {
  return kg_str_cmp(((const kube_amount_t *)x)->name, ((const kube_amount_t *)y)->name);
}

static void tell(kube_arena_t *a, char **text, kg_str_t name, int64_t milli, bool binary) {
  *text = kube_arena_fmt(a, "%s%s" KG_STR_FMT "=%s", *text, **text ? "," : "", KG_STR_ARG(name),
                         kube_amount_text(a, milli, binary));
}

/* False: the quota would be exceeded. */
static bool fits(write_t *w, kg_view_t quota, const kube_amounts_t *wanted) {
  kube_arena_t *a = w->arena;
  kg_view_t spec = kg_view_get(quota, "spec");
  kube_amounts_t now = used(w, spec);
  char *requested = "", *in_use = "", *limited = "";
  for (size_t i = 0; i < wanted->n; i++) {
    const kube_amount_t *x = &wanted->list[i], *u = kube_amounts_find(&now, x->name);
    kg_view_t hard = kg_view_get_str(kg_view_get(spec, "hard"), x->name);
    bool binary;
    int64_t limit = kube_amount_milli(hard, &binary), before = u ? u->milli : 0;
    if (!kg_view_there(hard) || x->milli <= 0 || before + x->milli <= limit) continue;
    tell(a, &requested, x->name, x->milli, x->binary);
    tell(a, &in_use, x->name, before, u && u->binary);
    tell(a, &limited, x->name, limit, binary);
  }
  if (!*requested) return true;
  return fault_forbidden(&w->fault, w->q.r, w->q.name,
                         "exceeded quota: " KG_STR_FMT ", requested: %s, used: %s, limited: %s",
                         KG_STR_ARG(kube_name(quota)), requested, in_use, limited);
}

static bool judge(write_t *w, kg_view_t quota, kg_view_t object, const kube_amounts_t *wanted, bool creates) {
  const kube_resource_t *r = w->q.c->r;
  kg_view_t spec = kg_view_get(quota, "spec");
  if (!kube_quota_chooses(spec, r->group, r->resource, object)) return true;
  bool pod = creates && is_resource(r, "", "pods");
  const char *unsaid = pod ? kube_quota_unsaid(w->arena, kg_view_get(spec, "hard"), object) : NULL;
  if (unsaid)
    return fault_forbidden(&w->fault, w->q.r, w->q.name, "failed quota: " KG_STR_FMT ": must specify %s",
                           KG_STR_ARG(kube_name(quota)), unsaid);
  return fits(w, quota, wanted);
}

static void charge(write_t *w) {
  if (w->charged_at) return;
  w->charged_next = w->q.api->charged;
  w->charged_at = &w->q.api->charged;
  if (w->charged_next) w->charged_next->charged_at = &w->charged_next;
  *w->charged_at = w;
}

void quota_discharge(write_t *w) {
  if (!w->charged_at) return;
  *w->charged_at = w->charged_next;
  if (w->charged_next) w->charged_next->charged_at = w->charged_at;
  w->charged_at = NULL;
}

/* What it uses more than before. */
static kube_amounts_t growth(write_t *w, kg_view_t object, kg_view_t old) {
  const kube_resource_t *r = w->q.c->r;
  kube_amounts_t more = {0}, before = {0};
  kube_quota_count(w->arena, &more, r->group, r->resource, object);
  if (kg_view_there(old)) kube_quota_count(w->arena, &before, r->group, r->resource, old);
  for (size_t i = 0; i < before.n; i++)
    kube_amounts_add(w->arena, &more, before.list[i].name, -before.list[i].milli, before.list[i].binary);
  if (more.n > 1) qsort(more.list, more.n, sizeof *more.list, by_name);
  return more;
}

bool quota_admit(write_t *w, const kube_node_t *object, kg_view_t old) {
  collection_t *c = w->q.ns.n ? cache_find(w->q.api, "", "resourcequotas") : NULL;
  selection_t s = {.ns = w->q.ns, .r = c ? c->r : NULL};
  sorted_pos_t pos = c ? selection_seek(&s, &c->objects) : (sorted_pos_t){0, 0};
  kg_doc_t *doc = NULL;
  kube_amounts_t wanted = {0};
  bool good = true;
  for (object_t *o; good && c && (o = sorted_at(&c->objects, &pos)) && !selection_ends(&s, o);) {
    if (!doc) {
      doc = kube_tree_doc(object);
      wanted = growth(w, kg_view_of(doc), old);
      charge(w);
    }
    good = judge(w, object_view(o), kg_view_of(doc), &wanted, !kg_view_there(old));
  }
  kg_doc_unref(doc);
  return good;
}
