/* The scale subresource: how many there are and should be, of kinds built in and custom. */
#include <string.h>

#include "api.h"

static const kube_scale_paths_t usual = {"spec.replicas", "status.replicas", NULL};

static const kube_scale_paths_t *paths_of(const kube_resource_t *r) {
  return r->scale ? r->scale : &usual;
}

/* "spec.replicas" in an object. */
static kg_view_t at(kg_view_t v, const char *path) {
  while (*path) {
    size_t n = strcspn(path, ".");
    kg_view_t next = {0};
    for (kg_iter_t it = kg_iter(v); kg_view_type(v) == KG_V_MAP && kg_iter_next(&it);)
      if (kg_str_eq(kg_view_str(it.key), (kg_str_t){path, n})) next = it.value;
    v = next;
    path += n + (path[n] == '.');
  }
  return v;
}

static void put(kube_arena_t *a, kube_node_t *object, const char *path, kube_node_t *v) {
  const char *dot;
  while ((dot = strchr(path, '.'))) {
    object = kube_sub(a, object, kube_arena_fmt(a, "%.*s", (int)(dot - path), path));
    path = dot + 1;
  }
  kube_set(a, object, path, v);
}

static void add_requirement(kube_buf_t *b, kg_view_t r) {
  kg_str_t key = arg_str(r, "key"), op = arg_str(r, "operator");
  if (b->n) kube_buf_addz(b, ",");
  if (kg_str_is(op, "DoesNotExist")) kube_buf_addz(b, "!");
  kube_buf_add(b, key.p, key.n);
  if (!kg_str_is(op, "In") && !kg_str_is(op, "NotIn")) return;
  kube_buf_addz(b, kg_str_is(op, "In") ? " in (" : " notin (");
  bool first = true;
  for (kg_iter_t it = kg_iter(kg_view_get(r, "values")); kg_iter_next(&it); first = false)
    kube_buf_fmt(b, "%s" KG_STR_FMT, first ? "" : ",", KG_STR_ARG(kg_view_str(it.value)));
  kube_buf_addz(b, ")");
}

/* A label selector as the text kubectl and the autoscaler read. */
static void selector_text(kube_buf_t *b, kg_view_t selector) {
  kg_view_t labels = kg_view_get(selector, "matchLabels"), more = kg_view_get(selector, "matchExpressions");
  if (!kg_view_there(labels) && !kg_view_there(more)) labels = selector;
  for (kg_iter_t it = kg_iter(labels); kg_iter_next(&it);)
    kube_buf_fmt(b, "%s" KG_STR_FMT "=" KG_STR_FMT, b->n ? "," : "", KG_STR_ARG(kg_view_str(it.key)),
                 KG_STR_ARG(kg_view_str(it.value)));
  for (kg_iter_t it = kg_iter(more); kg_iter_next(&it);) add_requirement(b, it.value);
}

static void pack_meta(kg_pack_t *p, kg_view_t meta) {
  static const char *const kept[] = {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"};
  kg_pack_key(p, "metadata");
  kg_pack_map(p);
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
    if (kg_view_there(kg_view_get(meta, kept[i]))) kg_pack_kv_view(p, kept[i], kg_view_get(meta, kept[i]));
  kg_pack_end(p);
}

static kg_doc_t *scale_of(write_t *w, kg_doc_t *object) {
  const kube_scale_paths_t *paths = paths_of(w->q.r);
  kg_view_t o = kg_view_of(object);
  kg_pack_t p = kg_pack();
  kube_buf_t b = {0};
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "kind", "Scale");
  kg_pack_kv_str(&p, "apiVersion", "autoscaling/v1");
  pack_meta(&p, kg_view_get(o, "metadata"));
  kg_pack_key(&p, "spec");
  kg_pack_map(&p);
  int64_t wanted = kg_view_int(at(o, paths->spec), 0);
  if (wanted) kg_pack_kv_int(&p, "replicas", wanted);
  kg_pack_end(&p);
  kg_pack_key(&p, "status");
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "replicas", kg_view_int(at(o, paths->status), 0));
  if (!w->q.r->scale) selector_text(&b, kg_view_path(o, "spec", "selector", NULL));
  if (b.n) kg_pack_kv_strn(&p, "selector", (kg_str_t){b.p, b.n});
  if (paths->selector && kg_view_str(at(o, paths->selector)).n)
    kg_pack_kv_strn(&p, "selector", kg_view_str(at(o, paths->selector)));
  kube_buf_free(&b);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

/* The Scale the client wants: its body, or the present one patched. */
static kube_node_t *wanted_scale(write_t *w) {
  kube_node_t *body = w->body ? kube_tree_parse(w->arena, kg_view_of(w->body)) : NULL, *out = body;
  if (w->verb == W_PATCH && body) {
    kg_error_t err = {0};
    w->base = scale_of(w, w->old->doc);
    kube_node_t *now = kube_tree_parse(w->arena, kg_view_of(w->base));
    out = kg_str_is(arg_str(w->q.args, "patch"), "json") ? kube_patch_json(w->arena, now, body, &err)
                                                         : kube_patch_merge(w->arena, now, body);
    if (!out) fault_other(&w->fault, err.code ? err.code : 400, "BadRequest", "%s", err.text);
  }
  if ((!out || out->type != KG_V_MAP) && !w->fault.code) fault_bad(&w->fault, "the body of a scale must be a Scale");
  return w->fault.code ? NULL : out;
}

/* Of a built-in kind; a custom one's own schema has its say with the object. */
static bool check_replicas(write_t *w, int64_t replicas) {
  if (w->q.r->structural || (replicas >= 0 && replicas <= INT32_MAX)) return true;
  kube_node_t *causes = kube_array(w->arena);
  cause_add(w->arena, causes, "FieldValueInvalid", "spec.replicas",
            "Invalid value: %lld: must be greater than or equal to 0", (long long)replicas);
  return fault_invalid(&w->fault, &(kube_resource_t){.group = "autoscaling", .kind = "Scale"}, w->q.name, causes);
}

bool compute_scale(write_t *w) {
  w->show = scale_of;
  if (w->reads) return true;
  if (w->verb != W_UPDATE && w->verb != W_PATCH) return fault_method(&w->fault);
  kube_node_t *wanted = wanted_scale(w);
  if (!wanted) return false;
  kube_node_t *n = kube_path(wanted, "spec", "replicas", NULL);
  int64_t replicas = n ? kube_node_int(n, -1) : 0;
  if (!check_replicas(w, replicas)) return false;
  kube_node_t *object = sub_current(w), *rv = kube_path(wanted, "metadata", "resourceVersion", NULL);
  if (rv) kube_set(w->arena, kube_sub(w->arena, object, "metadata"), "resourceVersion", rv);
  put(w->arena, object, paths_of(w->q.r)->spec, kube_int(w->arena, replicas));
  if (!update_to(w, object, false)) return false;
  w->unguarded |= w->verb == W_PATCH;
  return true;
}
