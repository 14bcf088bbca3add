/* What a script wants done, as requests to the api. */
#include <stdio.h>
#include <string.h>

#include "controller.h"
#include "kube/schema.h"

enum { MOST = 64 };

typedef struct action {
  ctl_verb_t verb;
  bool event, namespaced;
  kube_gvr_t gvr;
  kg_str_t ns, name;
  const char *patch_type;
  kg_view_t body, all;
} action_t;

static kg_str_t text(kg_view_t v, const char *key) {
  return kg_view_str(kg_view_get(v, key));
}

/* Of an object the kind says it; others must be named. */
static int collection(kube_arena_t *a, kg_view_t all, kg_view_t object, action_t *out, kg_error_t *err) {
  kg_str_t named = text(all, "resource"), api = text(object, "apiVersion"), kind = text(object, "kind");
  const kube_resource_t *r = NULL;
  if (named.n) {
    if (gvr_read(a, named, &out->gvr, err) < 0) return -1;
    r = kube_resource_find(kg_str(out->gvr.group), kg_str(out->gvr.version), kg_str(out->gvr.resource));
  } else {
    const char *slash = api.n ? memchr(api.p, '/', api.n) : NULL;
    kg_str_t group = slash ? (kg_str_t){api.p, (size_t)(slash - api.p)} : KG_STR("");
    kg_str_t version = slash ? (kg_str_t){slash + 1, api.n - group.n - 1} : api;
    r = kube_resource_by_kind(group, version, kind);
    if (!r)
      return kg_error_set(err, KG_EINVAL,
                          "an action needs resource = \"group/version/resource\": kind " KG_STR_FMT " of " KG_STR_FMT
                          " is not known",
                          KG_STR_ARG(kind), KG_STR_ARG(api));
    out->gvr = (kube_gvr_t){r->group, r->version, r->resource};
  }
  out->namespaced = !r || r->namespaced;
  return 0;
}

static int read_one(kube_arena_t *a, kg_view_t v, kg_str_t ns, action_t *out, kg_error_t *err) {
  static const struct {
    const char *key;
    ctl_verb_t verb;
  } verbs[] = {{"apply", CTL_PATCH}, {"create", CTL_CREATE}, {"patch", CTL_PATCH}, {"delete", CTL_DELETE}};
  *out = (action_t){.all = v, .event = text(v, "event").n > 0};
  if (out->event) return 0;
  size_t i = 0;
  while (i < 4 && !kg_view_there(kg_view_get(v, verbs[i].key))) i++;
  if (i == 4) return kg_error_set(err, KG_EINVAL, "an action is one of apply, create, patch, delete, event");
  out->verb = verbs[i].verb;
  out->body = kg_view_get(v, verbs[i].key);
  kg_view_t meta = kg_view_get(out->body, "metadata");
  kg_str_t type = text(v, "type");
  bool list = i == 2 && kg_str_is(type, "json");
  if (kg_view_type(out->body) != (list ? KG_V_ARRAY : KG_V_MAP))
    return kg_error_set(err, KG_EINVAL, "%s needs a %s", verbs[i].key, list ? "list" : "map");
  out->patch_type = i == 0 ? "apply" : ctl_text(a, type.n ? type : KG_STR("merge"));
  if (collection(a, v, out->body, out, err) < 0) return -1;
  out->name = text(v, "name").n ? text(v, "name") : text(meta, "name");
  out->ns = text(v, "namespace").n ? text(v, "namespace") : text(meta, "namespace");
  if (!out->ns.n) out->ns = ns;
  if (!out->namespaced) out->ns = KG_STR("");
  if (out->name.n || out->verb == CTL_CREATE) return 0;
  return kg_error_set(err, KG_EINVAL, "%s needs a name", verbs[i].key);
}

static void tell(kg_ctx_t *ctx, lua_controller_t *c, kg_view_t object, kg_view_t v) {
  char type[32], reason[128];
  kg_str_t t = text(v, "type"), message = text(v, "message");
  if (!kg_view_there(object)) return;
  snprintf(type, sizeof type, KG_STR_FMT, KG_STR_ARG(t.n ? t : KG_STR("Normal")));
  snprintf(reason, sizeof reason, KG_STR_FMT, KG_STR_ARG(text(v, "event")));
  kube_event(ctx, c->base.recorder, object, type, reason, KG_STR_FMT, KG_STR_ARG(message));
}

static void send(kg_ctx_t *ctx, lua_controller_t *c, ctl_sync_t *s, const action_t *a) {
  kube_arena_t *arena = ctl_arena(s);
  kg_str_t sub = text(a->all, "sub"), uid = text(kg_view_get(a->body, "metadata"), "uid");
  bool deletes = a->verb == CTL_DELETE;
  kg_doc_t *body = deletes ? NULL : kg_doc_copy(a->body.p, kg_view_span(a->body));
  ctl_send(ctx, s, a->verb,
           &(kube_call_t){.gvr = a->gvr,
                          .ns = ctl_text(arena, a->ns),
                          .name = a->verb == CTL_CREATE ? NULL : ctl_text(arena, a->name),
                          .sub = sub.n ? ctl_text(arena, sub) : NULL,
                          .object = body,
                          .patch_type = a->verb == CTL_PATCH ? a->patch_type : NULL,
                          .precondition_uid = deletes && uid.n ? ctl_text(arena, uid) : NULL,
                          .field_manager = c->manager,
                          .force = a->verb == CTL_PATCH && strcmp(a->patch_type, "apply") == 0,
                          .grace_seconds = -1},
           NULL, NULL);
  kg_doc_unref(body);
}

int actions_send(kg_ctx_t *ctx, lua_controller_t *c, ctl_sync_t *s, kg_view_t object, kg_view_t actions,
                 kg_error_t *err) {
  kg_str_t ns, name;
  size_t n = kg_view_count(actions);
  ctl_split(ctl_sync_key(s), &ns, &name);
  if (n > MOST) return kg_error_set(err, KG_EINVAL, "%zu actions at once, at most %d", n, MOST);
  action_t *list = kube_arena_alloc(ctl_arena(s), (n + 1) * sizeof *list);
  for (size_t i = 0; i < n; i++)
    if (read_one(ctl_arena(s), kg_view_at(actions, i), ns, &list[i], err) < 0) return -1;
  for (size_t i = 0; i < n; i++) {
    c->actions++;
    if (list[i].event)
      tell(ctx, c, object, list[i].all);
    else
      send(ctx, c, s, &list[i]);
  }
  return 0;
}
