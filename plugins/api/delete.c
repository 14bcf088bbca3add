/* delete and deletecollection: grace, finalizers, propagation. */
#include <stdlib.h>
#include <string.h>

#include "custom.h"

static void read_options(write_t *w) {
  kg_view_t sources[2] = {w->q.args, kg_view_of(w->body)};
  for (int i = 0; i < 2; i++) {
    kg_view_t v = kg_view_get(sources[i], "gracePeriodSeconds"), pre = kg_view_get(sources[i], "preconditions");
    if (kg_view_type(v) == KG_V_INT) w->del.grace = kg_view_int(v, -1) < 0 ? 1 : kg_view_int(v, -1);
    kg_str_t s = arg_str(sources[i], "propagationPolicy");
    if (s.n) w->del.propagation = s;
    if ((s = arg_str(pre, "uid")).n) w->del.uid = s;
    if ((s = arg_str(pre, "resourceVersion")).n) w->del.rv = s;
    if (kg_view_type(kg_view_get(sources[i], "orphanDependents")) == KG_V_BOOL)
      w->del.propagation =
          kg_view_bool(kg_view_get(sources[i], "orphanDependents"), false) ? KG_STR("Orphan") : KG_STR("Background");
  }
  if (kg_view_count(kg_view_get(sources[1], "dryRun"))) w->q.dry_run = true;
}

static bool check_preconditions(write_t *w) {
  kg_view_t old = object_view(w->old);
  kg_str_t uid = kube_uid(old), rv = kg_view_str(kg_view_path(old, "metadata", "resourceVersion", NULL));
  const delete_options_t *d = &w->del;
  kube_resource_t told = *w->q.r; /* these are told of the kind, not of the resource */
  told.resource = told.kind;
  if (d->uid.n && !kg_str_eq(d->uid, uid))
    return fault_conflict(&w->fault, &told, NULL, w->q.name,
                          "the UID in the precondition (" KG_STR_FMT ") does not match the UID in record (" KG_STR_FMT
                          "). The object might have been deleted and then recreated",
                          KG_STR_ARG(d->uid), KG_STR_ARG(uid));
  if (d->rv.n && !kg_str_eq(d->rv, rv))
    return fault_conflict(&w->fault, &told, NULL, w->q.name,
                          "the ResourceVersion in the precondition (" KG_STR_FMT
                          ") does not match the ResourceVersion in record (" KG_STR_FMT
                          "). The object might have been modified",
                          KG_STR_ARG(d->rv), KG_STR_ARG(rv));
  w->unguarded = !d->rv.n;
  return true;
}

/* Seconds the object still gets: only pods that run somewhere have any. */
static int64_t grace_of(const write_t *w, const kube_node_t *object) {
  if (!is_resource(w->q.r, "", "pods")) return 0;
  kg_str_t phase = path_str(object, "status", "phase");
  if (!path_str(object, "spec", "nodeName").n || kg_str_is(phase, "Succeeded") || kg_str_is(phase, "Failed")) return 0;
  if (w->del.grace >= 0) return w->del.grace;
  return kube_node_int(kube_path(object, "spec", "terminationGracePeriodSeconds", NULL), 30);
}

/* The propagation policy becomes finalizers; the garbage collector does the rest. */
static void propagate(write_t *w, kube_node_t *object) {
  kg_str_t policy = w->del.propagation;
  if (!policy.n) return;
  const char *wanted = kg_str_is(policy, "Orphan")       ? "orphan"
                       : kg_str_is(policy, "Foreground") ? "foregroundDeletion"
                                                         : NULL;
  kube_node_t *meta = kube_sub(w->arena, object, "metadata"), *old = kube_get(meta, "finalizers"),
              *list = kube_array(w->arena);
  for (uint32_t i = 0; old && old->type == KG_V_ARRAY && i < old->c.n; i++)
    if (!node_is(old->c.items[i], "orphan") && !node_is(old->c.items[i], "foregroundDeletion"))
      kube_push(w->arena, list, old->c.items[i]);
  if (wanted) kube_push(w->arena, list, kube_str(w->arena, wanted));
  if (list->c.n)
    kube_set(w->arena, meta, "finalizers", list);
  else
    kube_del(meta, "finalizers");
}

static bool held(const kube_node_t *object) {
  const kube_node_t *own = kube_path(object, "spec", "finalizers", NULL);
  return meta_finalizers(object) ||
         (node_is(kube_get(object, "kind"), "Namespace") && own && own->type == KG_V_ARRAY && own->c.n);
}

static void mark(write_t *w, kube_node_t *object, int64_t grace) {
  kube_arena_t *a = w->arena;
  kube_node_t *meta = kube_sub(a, object, "metadata");
  char when[32];
  if (!meta_deleting(object)) {
    int64_t generation = kube_node_int(kube_get(meta, "generation"), 0);
    if (generation) kube_set(a, meta, "generation", kube_int(a, generation + 1));
  }
  kube_time_format(kg_wall_us(w->q.ctx) + grace * 1000000, when);
  kube_set(a, meta, "deletionTimestamp", kube_str(a, when));
  kube_set(a, meta, "deletionGracePeriodSeconds", kube_int(a, grace));
  if (node_is(kube_get(object, "kind"), "Namespace"))
    kube_set(a, kube_sub(a, object, "status"), "phase", kube_str(a, "Terminating"));
}

/* These answer a deletion with the object itself, all others with a Status. */
static bool answers_object(const kube_resource_t *r) {
  static const char *const names[] = {"pods",           "services",          "serviceaccounts",       "podtemplates",
                                      "resourcequotas", "persistentvolumes", "persistentvolumeclaims"};
  for (size_t i = 0; !r->group[0] && i < sizeof names / sizeof *names; i++)
    if (!strcmp(r->resource, names[i])) return true;
  return false;
}

/* Without these nothing works. */
static bool immortal(const write_t *w) {
  static const char *const names[] = {"default", "kube-system", "kube-public"};
  for (size_t i = 0; is_resource(w->q.r, "", "namespaces") && i < sizeof names / sizeof *names; i++)
    if (kg_str_is(w->q.name, names[i])) return true;
  return false;
}

bool compute_delete(write_t *w) {
  if (immortal(w)) return fault_forbidden(&w->fault, w->q.r, w->q.name, "this namespace may not be deleted");
  if (!w->old) return fault_not_found(&w->fault, w->q.r, w->q.name);
  read_options(w);
  if (!check_preconditions(w)) return false;
  kube_node_t *object = kube_tree_clone(w->arena, old_as_shown(w));
  kube_del(kube_get(object, "metadata"), "resourceVersion");
  propagate(w, object);
  int64_t grace = grace_of(w, object),
          left = kube_node_int(kube_path(object, "metadata", "deletionGracePeriodSeconds", NULL), -1);
  bool definition = is_resource(w->q.r, "apiextensions.k8s.io", "customresourcedefinitions");
  if (definition) {
    w->next_state = object;
    return definition_delete(w, object);
  }
  bool deleting = meta_deleting(object), keep = held(object);
  w->next_state = object;
  if (!keep && grace == 0) {
    w->removes = true;
    w->next_state = NULL;
    if (!answers_object(w->q.r)) w->answer = success_doc(w->q.r, w->q.name, kube_uid(object_view(w->old)));
  } else if (!deleting || grace < left) {
    mark(w, object, grace);
  }
  return true;
}

/* --- deletecollection -----------------------------------------------------------------------------------------------
 */

typedef struct sweep {
  req_t q;
  size_t left, n;
  kg_doc_t **docs;
  fault_t fault;
} sweep_t;

static void sweep_end(sweep_t *s) {
  if (s->fault.code) {
    fault_answer(&s->q, &s->fault);
  } else {
    kg_pack_t p = kg_pack();
    kg_pack_map(&p);
    pack_list_head(&s->q, s->q.api->rev, &p);
    kg_pack_end(&p);
    kg_doc_t *args = kg_pack_doc(&p);
    kg_reply(s->q.ctx, s->q.m, args, s->docs, s->n);
    kg_doc_unref(args);
  }
  for (size_t i = 0; i < s->n; i++) kg_doc_unref(s->docs[i]);
  free(s->docs);
  kg_msg_unref((kg_msg_t *)s->q.m);
  free(s);
}

static void on_swept(write_t *w, void *arg) {
  sweep_t *s = arg;
  if (w->fault.code && w->fault.code != 404 && !s->fault.code) {
    s->fault = w->fault;
    s->fault.causes = NULL;
    s->fault.name = (kg_str_t){0}; /* borrowed from the write */
  }
  if (!--s->left) sweep_end(s);
}

static void sweep_one(sweep_t *s, object_t *o) {
  kg_view_t v = object_view(o);
  write_t *w =
      write_new(s->q.api, s->q.r, W_DELETE, kube_namespace(v), kube_name(v), s->q.m ? kg_msg_doc(s->q.m, 0) : NULL);
  if (!w) return on_swept(&(write_t){.fault = {.code = 500}}, s);
  w->q.args = s->q.args;
  w->q.m = kg_msg_ref(s->q.m); /* keeps the options alive; the answer goes to on_swept */
  w->q.dry_run = s->q.dry_run;
  w->then = on_swept;
  w->then_arg = s;
  write_run(w);
}

/* The objects selected, by reference: they stay while their deletions run. */
static object_t **select_all(req_t *q, size_t *n) {
  selection_t sel;
  object_t **list = NULL;
  size_t room = 0;
  if (!selection_read(q, &sel)) return NULL;
  sorted_pos_t pos = selection_seek(&sel, &q->c->objects);
  for (object_t *o; (o = sorted_at(&q->c->objects, &pos)) && !selection_ends(&sel, o);) {
    if (!selection_matches(&sel, o)) continue;
    if (*n == room) {
      object_t **more = realloc(list, (room = room ? room * 2 : 64) * sizeof *more);
      if (!more) break;
      list = more;
    }
    list[(*n)++] = object_ref(o);
  }
  selection_free(&sel);
  return list ? list : calloc(1, sizeof *list);
}

void on_deletecollection(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  req_t q;
  if (!req_read(&q, self, m, KUBE_V_DELETECOLLECTION) || !write_options(&q, "DeleteOptions")) return;
  if (!q.c) return kg_fail(ctx, m, 405, "the server does not allow this method on the requested resource");
  size_t n = 0;
  object_t **list = select_all(&q, &n);
  sweep_t *s = list ? calloc(1, sizeof *s) : NULL;
  if (!list) return;
  if (s) s->docs = calloc(n + 1, sizeof *s->docs);
  if (!s || !s->docs) {
    kg_fail(ctx, m, KG_EINTERNAL, "api.deletecollection: out of memory");
  } else {
    s->q = q;
    s->q.m = kg_msg_ref(m);
    s->left = n + 1;
    for (size_t i = 0; i < n; i++) s->docs[s->n++] = object_as(list[i], q.r, q.c);
    for (size_t i = 0; i < n; i++) sweep_one(s, list[i]);
    if (!--s->left) sweep_end(s);
  }
  for (size_t i = 0; i < n; i++) object_unref(list[i]);
  free(list);
}
