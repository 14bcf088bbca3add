/* LimitRanges: defaults for what containers do not say, and bounds for what they do. */
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "kube/quota.h"

#define NOTE "kubernetes.io/limit-ranger"

typedef struct limits {
  write_t *w;
  kube_node_t *object;
  char *notes, *errors; /* "" or joined */
  unsigned nerrors;
} limits_t;

static void join(kube_arena_t *a, char **list, const char *with, const char *text) {
  *list = kube_arena_fmt(a, "%s%s%s", *list, **list ? with : "", text);
}

/* --- defaults ----------------------------------------------------------------------------------------------------- */

static int by_text(const void *x, const void *y) {
  return kg_str_cmp(*(const kg_str_t *)x, *(const kg_str_t *)y);
}

/* What was set, "cpu, memory"; NULL: nothing. */
static char *fill(kube_arena_t *a, kube_node_t *container, const char *what, kg_view_t defaults) {
  kg_str_t set[64];
  size_t n = 0;
  char *text = "";
  for (kg_iter_t it = kg_iter(defaults); kg_iter_next(&it) && n < 64;) {
    kube_node_t *list = kube_sub(a, kube_sub(a, container, "resources"), what);
    if (kube_getn(list, kg_view_str(it.key))) continue;
    kube_setn(a, list, kg_view_str(it.key), kube_tree_parse(a, it.value));
    set[n++] = kg_view_str(it.key);
  }
  if (!n) return NULL;
  qsort(set, n, sizeof *set, by_text);
  for (size_t i = 0; i < n; i++) join(a, &text, ", ", kube_arena_fmt(a, KG_STR_FMT, KG_STR_ARG(set[i])));
  return text;
}

static void fill_all(limits_t *l, const char *key, const char *kind, kg_view_t item) {
  kube_arena_t *a = l->w->arena;
  kube_node_t *list = kube_path(l->object, "spec", key, NULL);
  for (uint32_t i = 0; list && list->type == KG_V_ARRAY && i < list->c.n; i++) {
    kg_str_t name = kube_node_str(kube_get(list->c.items[i], "name"));
    char *limits = fill(a, list->c.items[i], "limits", kg_view_get(item, "default")),
         *requests = fill(a, list->c.items[i], "requests", kg_view_get(item, "defaultRequest"));
    if (requests)
      join(a, &l->notes, "; ", kube_arena_fmt(a, "%s request for %s " KG_STR_FMT, requests, kind, KG_STR_ARG(name)));
    if (limits)
      join(a, &l->notes, "; ", kube_arena_fmt(a, "%s limit for %s " KG_STR_FMT, limits, kind, KG_STR_ARG(name)));
  }
}

/* --- bounds ------------------------------------------------------------------------------------------------------- */

static void complain(limits_t *l, const char *text) {
  join(l->w->arena, &l->errors, ", ", text);
  l->nerrors++;
}

static int64_t amount(kg_view_t list, kg_str_t key, bool *said) {
  bool binary;
  kg_view_t v = kg_view_get_str(list, key);
  *said = kg_view_there(v);
  return kube_amount_milli(v, &binary);
}

static const char *shown(limits_t *l, kg_view_t list, kg_str_t key) {
  return kube_arena_fmt(l->w->arena, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get_str(list, key))));
}

static void check_bound(limits_t *l, const char *type, kg_view_t bounds, bool most, kg_view_t requests,
                        kg_view_t limits) {
  kube_arena_t *a = l->w->arena;
  for (kg_iter_t it = kg_iter(bounds); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key);
    bool asked, limited, binary;
    int64_t bound = kube_amount_milli(it.value, &binary), request = amount(requests, key, &asked),
            limit = amount(limits, key, &limited);
    char *head = kube_arena_fmt(a, "%s " KG_STR_FMT " usage per %s is " KG_STR_FMT ", but ",
                                most ? "maximum" : "minimum", KG_STR_ARG(key), type, KG_STR_ARG(kg_view_str(it.value)));
    if (!(most ? limited : asked))
      complain(l, kube_arena_fmt(a, "%sno %s is specified", head, most ? "limit" : "request"));
    else if (asked && (most ? request > bound : request < bound))
      complain(l, kube_arena_fmt(a, "%srequest is %s", head, shown(l, requests, key)));
    else if (limited && (most ? limit > bound : limit < bound))
      complain(l, kube_arena_fmt(a, "%slimit is %s", head, shown(l, limits, key)));
  }
}

static void check_ratio(limits_t *l, const char *type, kg_view_t ratios, kg_view_t requests, kg_view_t limits) {
  kube_arena_t *a = l->w->arena;
  for (kg_iter_t it = kg_iter(ratios); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key);
    bool asked, limited, binary;
    int64_t most = kube_amount_milli(it.value, &binary), request = amount(requests, key, &asked),
            limit = amount(limits, key, &limited);
    char *head = kube_arena_fmt(a, KG_STR_FMT " max limit to request ratio per %s is " KG_STR_FMT ", but ",
                                KG_STR_ARG(key), type, KG_STR_ARG(kg_view_str(it.value)));
    if (!asked || request == 0)
      complain(l, kube_arena_fmt(a, "%sno request is specified or request is 0", head));
    else if (!limited || limit == 0)
      complain(l, kube_arena_fmt(a, "%sno limit is specified or limit is 0", head));
    else if ((double)limit / (double)request * 1000 > (double)most)
      complain(l, kube_arena_fmt(a, "%sprovided ratio is %f", head, (double)limit / (double)request));
  }
}

static void check(limits_t *l, kg_view_t item, const char *type, kg_view_t requests, kg_view_t limits) {
  check_bound(l, type, kg_view_get(item, "min"), false, requests, limits);
  check_bound(l, type, kg_view_get(item, "max"), true, requests, limits);
  check_ratio(l, type, kg_view_get(item, "maxLimitRequestRatio"), requests, limits);
}

/* --- objects ------------------------------------------------------------------------------------------------------ */

static kg_doc_t *sum_of(kube_arena_t *a, kg_view_t spec, const char *what) {
  kube_amounts_t sum = kube_pod_amounts(a, spec, what);
  kube_node_t *m = kube_map(a);
  for (size_t i = 0; i < sum.n; i++)
    kube_setn(a, m, sum.list[i].name, kube_str(a, kube_amount_text(a, sum.list[i].milli, sum.list[i].binary)));
  return kube_tree_doc(m);
}

static void check_pod(limits_t *l, kg_view_t item, kg_view_t spec) {
  kg_doc_t *requests = sum_of(l->w->arena, spec, "requests"), *limits = sum_of(l->w->arena, spec, "limits");
  check(l, item, "Pod", kg_view_of(requests), kg_view_of(limits));
  kg_doc_unref(requests);
  kg_doc_unref(limits);
}

static void check_containers(limits_t *l, kg_view_t item, kg_view_t list) {
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);)
    check(l, item, "Container", kg_view_path(it.value, "resources", "requests", NULL),
          kg_view_path(it.value, "resources", "limits", NULL));
}

static void check_item(limits_t *l, kg_view_t item, kg_view_t object) {
  kg_str_t type = arg_str(item, "type");
  kg_view_t spec = kg_view_get(object, "spec");
  bool pod = is_resource(l->w->q.r, "", "pods");
  if (pod && kg_str_is(type, "Container")) {
    check_containers(l, item, kg_view_get(spec, "initContainers"));
    check_containers(l, item, kg_view_get(spec, "containers"));
  } else if (pod && kg_str_is(type, "Pod")) {
    check_pod(l, item, spec);
  } else if (!pod && kg_str_is(type, "PersistentVolumeClaim")) {
    kg_view_t requests = kg_view_path(spec, "resources", "requests", NULL);
    check_bound(l, "PersistentVolumeClaim", kg_view_get(item, "min"), false, requests, (kg_view_t){0});
    check_bound(l, "PersistentVolumeClaim", kg_view_get(item, "max"), true, requests, requests);
  }
}

typedef void (*item_fn)(limits_t *l, kg_view_t item, kg_view_t object);

static void each(limits_t *l, kg_view_t object, item_fn fn) {
  collection_t *c = cache_find(l->w->q.api, "", "limitranges");
  selection_t s = {.ns = l->w->q.ns, .r = c ? c->r : NULL};
  sorted_pos_t pos = c ? selection_seek(&s, &c->objects) : (sorted_pos_t){0, 0};
  for (object_t *o; c && (o = sorted_at(&c->objects, &pos)) && !selection_ends(&s, o);)
    for (kg_iter_t it = kg_iter(kg_view_path(object_view(o), "spec", "limits", NULL)); kg_iter_next(&it);)
      fn(l, it.value, object);
}

static void fill_item(limits_t *l, kg_view_t item, kg_view_t object) {
  (void)object;
  if (!kg_str_is(arg_str(item, "type"), "Container")) return;
  fill_all(l, "initContainers", "init container", item);
  fill_all(l, "containers", "container", item);
}

bool limits_admit(write_t *w, kube_node_t *object) {
  limits_t l = {.w = w, .object = object, .notes = "", .errors = ""};
  kube_arena_t *a = w->arena;
  bool pod = is_resource(w->q.r, "", "pods");
  if (pod) each(&l, (kg_view_t){0}, fill_item);
  if (*l.notes) {
    kube_node_t *notes = kube_sub(a, kube_sub(a, object, "metadata"), "annotations");
    kube_set(a, notes, NOTE, kube_strf(a, "LimitRanger plugin set: %s", l.notes));
    kind_set_qos(a, object);
  }
  kg_doc_t *doc = kube_tree_doc(object);
  each(&l, kg_view_of(doc), check_item);
  kg_doc_unref(doc);
  if (!l.nerrors) return true;
  return fault_forbidden(&w->fault, w->q.r, w->q.name, l.nerrors > 1 ? "[%s]" : "%s", l.errors);
}
