/* Field ownership of writes, and server-side apply. */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "kube/apply.h"

typedef struct stamp_text {
  char now[32], version[256];
} stamp_text_t;

/* Who writes: the manager the request names, or for the kernel's own plugins the one that asks. */
static kube_manager_t manager_of(const write_t *w, stamp_text_t *t) {
  kg_str_t name = arg_str(w->q.args, "fieldManager");
  const kube_resource_t *r = w->q.r;
  kube_time_format(kg_wall_us(w->q.ctx), t->now);
  snprintf(t->version, sizeof t->version, "%s%s%s", r->group, r->group[0] ? "/" : "", r->version);
  if (w->manager) name = kg_str(w->manager);
  if (!name.n) name = kg_str(w->q.m ? kg_msg_source(w->q.m) : kg_name(w->q.ctx));
  return (kube_manager_t){
      .name = name, .api_version = kg_str(t->version), .subresource = w->q.sub, .apply = false, .time = t->now};
}

static kube_node_t *nothing(const write_t *w) {
  return w->q.r->structural ? kube_map(w->arena) : kube_empty(w->arena, w->q.r->type);
}

void track(write_t *w, const kube_node_t *old, kube_node_t *object) {
  stamp_text_t t;
  kube_manager_t m = manager_of(w, &t);
  kube_track(w->arena, w->q.r, old ? old : nothing(w), object, &m);
}

/* --- apply ------------------------------------------------------------------------------------------------------- */

static bool fault_options(write_t *w, const char *reason, const char *field, const char *message) {
  kube_node_t *causes = kube_array(w->arena);
  cause_add(w->arena, causes, reason, field, "%s", message);
  return fault_invalid(&w->fault, &(kube_resource_t){.group = "meta.k8s.io", .kind = "PatchOptions"}, (kg_str_t){0},
                       causes);
}

static bool fault_conflicts(write_t *w, const kube_node_t *conflicts) {
  kube_arena_t *a = w->arena;
  kube_node_t *causes = kube_array(a);
  char text[1300];
  size_t n = 0;
  uint32_t count = conflicts->c.n;
  kg_str_t last = {0};
  n += (size_t)snprintf(text, sizeof text, "Apply failed with %u conflict%s: ", count, count == 1 ? "" : "s");
  for (uint32_t i = 0; i < count; i++) {
    kg_str_t who = kube_node_str(kube_get(conflicts->c.items[i], "manager")),
             field = kube_node_str(kube_get(conflicts->c.items[i], "field"));
    char *path = kube_arena_fmt(a, KG_STR_FMT, KG_STR_ARG(field));
    cause_add(a, causes, "FieldManagerConflict", path, "conflict with " KG_STR_FMT, KG_STR_ARG(who));
    if (n >= sizeof text) continue;
    if (count == 1)
      n += (size_t)snprintf(text + n, sizeof text - n, "conflict with " KG_STR_FMT ": %s", KG_STR_ARG(who), path);
    else if (kg_str_eq(who, last))
      n += (size_t)snprintf(text + n, sizeof text - n, "\n- %s", path);
    else
      n += (size_t)snprintf(text + n, sizeof text - n, "%sconflicts with " KG_STR_FMT ":\n- %s", i ? "\n" : "",
                            KG_STR_ARG(who), path);
    last = who;
  }
  fault_other(&w->fault, 409, "Conflict", "%s", text);
  w->fault.causes = causes;
  return false;
}

static bool check_config(write_t *w, const kube_node_t *config) {
  kg_str_t version = kube_node_str(kube_get(config, "apiVersion")), kind = kube_node_str(kube_get(config, "kind"));
  const kube_node_t *managed = kube_path(config, "metadata", "managedFields", NULL);
  if (!kg_view_there(kg_view_get(w->q.args, "fieldManager")) || kg_view_bool(kg_view_get(w->q.args, "agent"), false))
    return fault_options(w, "FieldValueRequired", "fieldManager", "Required value: is required for apply patch");
  if (!config || config->type != KG_V_MAP)
    return fault_bad(&w->fault, "error decoding YAML: the applied configuration must be an object");
  if (!version.n || !kind.n)
    return fault_bad(&w->fault, "invalid object type: /, Kind=: apiVersion and kind must be given");
  if (managed && managed->type != KG_V_NIL) return fault_bad(&w->fault, "metadata.managedFields must be nil");
  return true;
}

/* The configuration as it was sent: known fields in their forms, without defaults. */
static bool read_config(write_t *w, kube_node_t **config) {
  *config = w->body ? kube_tree_parse(w->arena, kg_view_of(w->body)) : NULL;
  if (!check_config(w, *config)) return false;
  kg_str_t rv = kube_node_str(kube_path(*config, "metadata", "resourceVersion", NULL));
  if (rv.n && w->old &&
      !kg_str_eq(rv, kg_view_str(kg_view_path(object_view(w->old), "metadata", "resourceVersion", NULL))))
    return fault_modified(&w->fault, w->q.r, w->q.name);
  return config_read(w, config);
}

/* An update is computed from what was there and what is applied; an object that is not there is created. */
bool compute_apply(write_t *w) {
  kube_node_t *config, *old = NULL;
  stamp_text_t t;
  bool force = kg_view_bool(kg_view_get(w->q.args, "force"), false);
  if (!w->old && w->q.sub.n) return fault_not_found(&w->fault, w->q.r, w->q.name);
  if (!read_config(w, &config)) return false;
  if (w->old) {
    w->base = object_as(w->old, w->q.r, w->q.c);
    old = kube_tree_parse(w->arena, kg_view_of(w->base));
  }
  kube_manager_t m = manager_of(w, &t);
  m.apply = true;
  kube_applied_t out = kube_apply(w->arena, w->q.r, old ? old : nothing(w), config, &m, force);
  if (!out.object) return fault_conflicts(w, out.conflicts);
  w->unguarded = true;
  if (!w->old) {
    kg_str_t uid = path_str(out.object, "metadata", "uid");
    if (uid.n)
      return fault_conflict(&w->fault, w->q.r, NULL, w->q.name,
                            "uid mismatch: the provided object specified uid " KG_STR_FMT
                            ", and no existing object was found",
                            KG_STR_ARG(uid));
    w->verb = W_CREATE;
    return create_from(w, out.object);
  }
  return applied(w, out.object);
}
