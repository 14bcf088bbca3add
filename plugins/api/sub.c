/* Subresources: status, scale, binding, finalize, eviction and those that are a whole object. */
#include <stdio.h>
#include <string.h>

#include "api.h"

bool fault_method(fault_t *f) {
  return fault_other(f, 405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
}

bool fault_resource(fault_t *f) {
  return fault_other(f, 404, "NotFound", "the server could not find the requested resource");
}

/* A copy of the object as it is, to be changed. */
kube_node_t *sub_current(write_t *w) {
  kube_node_t *object = kube_tree_clone(w->arena, old_as_shown(w));
  kube_del(kube_get(object, "metadata"), "resourceVersion");
  return object;
}

/* --- binding ----------------------------------------------------------------------------------------------------- */

static void set_scheduled(write_t *w, kube_node_t *object) {
  kube_arena_t *a = w->arena;
  kube_node_t *status = kube_sub(a, object, "status"), *list = kube_get(status, "conditions"), *c = kube_map(a);
  char now[32];
  if (!list || list->type != KG_V_ARRAY) kube_set(a, status, "conditions", list = kube_array(a));
  for (uint32_t i = 0; i < list->c.n; i++)
    if (node_is(kube_get(list->c.items[i], "type"), "PodScheduled")) kube_remove_at(list, i--);
  kube_time_format(kg_wall_us(w->q.ctx), now);
  kube_set(a, c, "type", kube_str(a, "PodScheduled"));
  kube_set(a, c, "status", kube_str(a, "True"));
  kube_set(a, c, "observedGeneration", kube_int(a, kube_generation(object_view(w->old))));
  kube_set(a, c, "lastProbeTime", kube_nil(a));
  kube_set(a, c, "lastTransitionTime", kube_str(a, now));
  kube_push(a, list, c);
  kube_del(status, "nominatedNodeName"); /* it has what was promised (KEP-5278) */
}

static bool binding(write_t *w) {
  if (w->verb != W_CREATE) return fault_method(&w->fault);
  kg_view_t body = kg_view_of(w->body);
  kg_str_t node = kg_view_str(kg_view_path(body, "target", "name", NULL)), uid = kube_uid(body);
  kube_node_t *object = sub_current(w);
  if (!node.n) {
    kube_node_t *causes = kube_array(w->arena);
    cause_add(w->arena, causes, "FieldValueRequired", "target.name", "Required value");
    return fault_invalid(&w->fault, &(kube_resource_t){.group = "", .kind = "Binding"}, w->q.name, causes);
  }
  if (uid.n && !kg_str_eq(uid, kube_uid(object_view(w->old))))
    return fault_conflict(&w->fault, w->q.r, "binding", w->q.name,
                          "Precondition failed: UID in precondition: " KG_STR_FMT ", UID in object meta: " KG_STR_FMT,
                          KG_STR_ARG(uid), KG_STR_ARG(kube_uid(object_view(w->old))));
  if (meta_deleting(object))
    return fault_conflict(&w->fault, w->q.r, "binding", w->q.name,
                          "pod " KG_STR_FMT " is being deleted, cannot be assigned to a host", KG_STR_ARG(w->q.name));
  kg_str_t bound = path_str(object, "spec", "nodeName");
  if (bound.n)
    return fault_conflict(&w->fault, w->q.r, "binding", w->q.name,
                          "pod " KG_STR_FMT " is already assigned to node \"" KG_STR_FMT "\"", KG_STR_ARG(w->q.name),
                          KG_STR_ARG(bound));
  kube_set(w->arena, kube_sub(w->arena, object, "spec"), "nodeName", kube_strn(w->arena, node));
  for (kg_iter_t it = kg_iter(kg_view_path(body, "metadata", "annotations", NULL)); kg_iter_next(&it);)
    kube_setn(w->arena, kube_sub(w->arena, kube_sub(w->arena, object, "metadata"), "annotations"), kg_view_str(it.key),
              kube_strn(w->arena, kg_view_str(it.value)));
  set_scheduled(w, object);
  w->next_state = object;
  w->unguarded = true;
  w->code = 201;
  w->answer = success_doc(NULL, w->q.name, (kg_str_t){0});
  return w->answer != NULL;
}

/* --- finalize ---------------------------------------------------------------------------------------------------- */

/* Namespaces: the one way to change spec.finalizers. */
static bool finalize(write_t *w) {
  kube_node_t *body;
  if (w->verb != W_UPDATE) return fault_method(&w->fault);
  if (!body_read(w, w->body, w->q.r, &body)) return false;
  kube_node_t *object = sub_current(w), *list = kube_path(body, "spec", "finalizers", NULL), *rv;
  if ((rv = kube_path(body, "metadata", "resourceVersion", NULL)))
    kube_set(w->arena, kube_sub(w->arena, object, "metadata"), "resourceVersion", rv);
  if (list && list->type == KG_V_ARRAY && list->c.n)
    kube_set(w->arena, kube_sub(w->arena, object, "spec"), "finalizers", list);
  else
    kube_del(kube_sub(w->arena, object, "spec"), "finalizers");
  w->finalizes = true;
  return update_to(w, object, false);
}

static bool known(const kube_resource_t *r, kg_str_t sub) {
  for (const char *const *s = r->subresources; *s; s++)
    if (kg_str_is(sub, *s)) return true;
  return false;
}

bool compute_sub(write_t *w) {
  kg_str_t sub = w->q.sub;
  if (!known(w->q.r, sub))
    return w->q.r->structural ? fault_not_found(&w->fault, w->q.r, w->q.name) : fault_resource(&w->fault);
  if (!w->old) return fault_not_found(&w->fault, w->q.r, w->q.name);
  if (kg_str_is(sub, "scale")) return compute_scale(w);
  if (kg_str_is(sub, "binding") && !w->reads) return binding(w);
  if (kg_str_is(sub, "finalize") && !w->reads) return finalize(w);
  if (kg_str_is(sub, "eviction") && !w->reads) return compute_eviction(w);
  bool whole = kg_str_is(sub, "status") || kg_str_is(sub, "ephemeralcontainers") || kg_str_is(sub, "resize") ||
               kg_str_is(sub, "approval");
  if (!whole) return fault_method(&w->fault);
  if (w->reads) return true;
  if (w->verb == W_UPDATE) return compute_update(w);
  if (w->verb == W_PATCH) return compute_patch(w);
  return fault_method(&w->fault);
}
