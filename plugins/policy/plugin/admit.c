/* Admission: which scripts an object is shown to, and what becomes of their answers. */
#include <stdio.h>
#include <string.h>

#include "scripts.h"

static kg_str_t text(kg_view_t args, const char *key) {
  return kg_view_str(kg_view_get(args, key));
}

admission_t admission_of(kg_view_t args, kg_view_t object, kg_view_t old) {
  return (admission_t){.operation = text(args, "operation"),
                       .group = text(args, "g"),
                       .version = text(args, "v"),
                       .resource = text(args, "r"),
                       .sub = text(args, "sub"),
                       .ns = text(args, "ns"),
                       .name = text(args, "name"),
                       .user = kg_view_get(args, "user"),
                       .object = object,
                       .old = old};
}

/* --- match ----------------------------------------------------------------------------------------------------------
 */

static bool in_list(kg_view_t list, const char *wanted) {
  if (!kg_view_count(list)) return true;
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);) {
    kg_str_t s = kg_view_str(it.value);
    if (kg_str_is(s, "*") || kg_str_is(s, wanted)) return true;
  }
  return false;
}

bool script_wants(const script_t *s, const admission_t *a) {
  kg_view_t match = kg_view_of(s->match);
  char operation[32], resource[256];
  snprintf(operation, sizeof operation, KG_STR_FMT, KG_STR_ARG(a->operation));
  snprintf(resource, sizeof resource, KG_STR_FMT "%s" KG_STR_FMT "%s" KG_STR_FMT, KG_STR_ARG(a->group),
           a->group.n ? "/" : "", KG_STR_ARG(a->resource), a->sub.n ? "/" : "", KG_STR_ARG(a->sub));
  return in_list(kg_view_get(match, "operations"), operation) && in_list(kg_view_get(match, "resources"), resource);
}

/* --- calling --------------------------------------------------------------------------------------------------------
 */

static int ask(script_t *s, int fn, const admission_t *a, policy_result_t *out, kg_error_t *err) {
  policy_arg_t args[] = {POLICY_FIELD_STR("operation", a->operation), POLICY_FIELD_STR("group", a->group),
                         POLICY_FIELD_STR("version", a->version),     POLICY_FIELD_STR("resource", a->resource),
                         POLICY_FIELD_STR("subresource", a->sub),     POLICY_FIELD_STR("namespace", a->ns),
                         POLICY_FIELD_STR("name", a->name),           POLICY_FIELD_VIEW("user", a->user),
                         POLICY_FIELD_VIEW("object", a->object),      POLICY_FIELD_VIEW("old", a->old)};
  return script_call(s, fn, args, sizeof args / sizeof *args, out, err);
}

static kg_doc_t *patched(const admission_t *a, kg_view_t patch, bool strategic, kg_error_t *err) {
  kube_arena_t *arena = kube_arena_new();
  kube_node_t *object = kube_tree_parse(arena, a->object), *by = kube_tree_parse(arena, patch), *now = NULL;
  const kube_resource_t *r = strategic ? kube_resource_find(a->group, a->version, a->resource) : NULL;
  if (strategic && (!r || !r->type))
    kg_error_set(err, KG_EINVAL, "there is no strategic patch for " KG_STR_FMT, KG_STR_ARG(a->resource));
  else if (!object || !by)
    kg_error_set(err, KG_EINVAL, "there is no object to change");
  else
    now = strategic ? kube_patch_strategic(arena, r->type, object, by, err) : kube_patch_merge(arena, object, by);
  kg_doc_t *doc = now && !kube_tree_equal(now, object) ? kube_tree_doc(now) : NULL;
  kube_arena_free(arena);
  return doc;
}

int script_mutate(script_t *s, const admission_t *a, kg_doc_t **out, kg_error_t *err) {
  policy_result_t r;
  *out = NULL;
  if (ask(s, s->fn[FN_MUTATE], a, &r, err) < 0) return -1;
  kg_error_t why = {0};
  bool nothing = r.type == KG_V_NIL || (r.type == KG_V_BOOL && !r.truth);
  if (r.type == KG_V_MAP)
    *out = patched(a, kg_view_of(r.doc), kg_str_is(kg_view_str(kg_view_of(r.extra)), "strategic"), &why);
  else if (!nothing)
    kg_error_set(&why, KG_EINVAL, "%s: mutate gave neither nothing nor a patch", s->name);
  policy_result_clear(&r);
  if (why.code && err) *err = why;
  return why.code ? -1 : 0;
}

int script_validate(script_t *s, const admission_t *a, kg_error_t *err) {
  policy_result_t r;
  if (ask(s, s->fn[FN_VALIDATE], a, &r, err) < 0) return -1;
  bool denied = r.type == KG_V_STR || (r.type == KG_V_BOOL && !r.truth);
  kg_str_t why = kg_view_str(kg_view_of(r.doc));
  int64_t code = kg_view_int(kg_view_of(r.extra), KG_EDENIED);
  if (denied)
    kg_error_set(err, code >= 400 && code < 600 ? (int)code : KG_EDENIED, KG_STR_FMT,
                 KG_STR_ARG(why.n ? why : KG_STR("denied")));
  policy_result_clear(&r);
  return denied;
}

/* --- the topic ------------------------------------------------------------------------------------------------------
 */

static void deny(kg_ctx_t *ctx, const kg_msg_t *m, const script_t *s, const kg_error_t *err) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_bool(&p, "allowed", false);
  kg_pack_kv_str(&p, "policy", s->name);
  kg_pack_kv_str(&p, "message", err->text);
  kg_pack_kv_int(&p, "code", err->code);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

static void allow(kg_ctx_t *ctx, const kg_msg_t *m, kg_doc_t *changed) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_bool(&p, "allowed", true);
  kg_pack_kv_bool(&p, "changed", changed != NULL);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, &changed, changed ? 1 : 0);
  kg_doc_unref(args);
}

/* True if the failure of a script is to be passed over. */
static bool forgive(kg_ctx_t *ctx, const script_t *s, kg_error_t *err) {
  kg_log(ctx, KG_LOG_WARN, "policy %s failed: %s", s->name, err->text);
  if (s->lenient) return true;
  kg_error_t why = *err;
  kg_error_set(err, KG_EINTERNAL, "policy %s failed: %.400s", s->name, why.text);
  return false;
}

/* All changes first, then every script sees what would be stored. */
void on_admit(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  plugin_t *pl = self;
  bool deletes = kg_str_is(text(kg_msg_args(m), "operation"), "DELETE");
  kg_view_t first = kg_view_of(kg_msg_doc(m, 0)), second = kg_view_of(kg_msg_doc(m, 1)), none = {0};
  admission_t a = admission_of(kg_msg_args(m), deletes ? none : first, deletes ? first : second);
  kg_doc_t *changed = NULL, *next;
  for (script_t *s = pl->scripts; s && !deletes; s = s->next) {
    kg_error_t err = {0};
    if (!s->fn[FN_MUTATE] || !script_wants(s, &a)) continue;
    if (script_mutate(s, &a, &next, &err) < 0 && !forgive(ctx, s, &err)) {
      deny(ctx, m, s, &err);
      kg_doc_unref(changed);
      return;
    }
    if (!next) continue;
    kg_doc_unref(changed);
    changed = next;
    a.object = kg_view_of(changed);
  }
  for (script_t *s = pl->scripts; s; s = s->next) {
    kg_error_t err = {0};
    if (!s->fn[FN_VALIDATE] || !script_wants(s, &a)) continue;
    int rc = script_validate(s, &a, &err);
    if (rc == 0 || (rc < 0 && forgive(ctx, s, &err))) continue;
    deny(ctx, m, s, &err);
    kg_doc_unref(changed);
    return;
  }
  allow(ctx, m, changed);
  kg_doc_unref(changed);
}

static void pack_list(kg_pack_t *p, const char *key, kg_view_t list) {
  kg_pack_key(p, key);
  if (kg_view_count(list)) {
    kg_pack_view(p, list);
    return;
  }
  kg_pack_array(p);
  kg_pack_str(p, "*");
  kg_pack_end(p);
}

void on_wanted(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  plugin_t *pl = self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "rules");
  kg_pack_array(&p);
  for (script_t *s = pl->scripts; s; s = s->next) {
    if (!s->fn[FN_VALIDATE] && !s->fn[FN_MUTATE]) continue;
    kg_pack_map(&p);
    pack_list(&p, "operations", kg_view_get(kg_view_of(s->match), "operations"));
    pack_list(&p, "resources", kg_view_get(kg_view_of(s->match), "resources"));
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}
