/* Admission by scripts: the policy role is asked about the writes it wants to see, after everything else agreed. */
#include <stdio.h>
#include <string.h>

#include "api.h"

enum { PATIENCE_MS = 5000 };

/* --- what is wanted -------------------------------------------------------------------------------------------------
 */

static void told(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  api_t *api = self;
  policies_known(api);
  if (kg_msg_type(m) != KG_MSG_REPLY) return; /* nobody serves it: what was wanted before still is */
  kg_doc_clear(&api->policies);
  if (kg_view_count(kg_view_get(kg_msg_args(m), "rules"))) api->policies = kg_doc_ref(kg_msg_args_doc(m));
}

void on_policy_changed(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self, (void)m;
  kg_send(ctx, &(kg_request_t){.service = "policy", .topic = "policy.wanted", .timeout_ms = PATIENCE_MS, .fn = told});
}

void policy_watch(api_t *api) {
  kg_subscribe(api->ctx, "policy.");
  on_policy_changed(api->ctx, api, NULL);
}

static bool in_list(kg_view_t list, const char *wanted) {
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);) {
    kg_str_t s = kg_view_str(it.value);
    if (kg_str_is(s, "*") || kg_str_is(s, wanted)) return true;
  }
  return false;
}

static const char *operation_of(const write_t *w) {
  return w->verb == W_CREATE ? "CREATE" : w->verb == W_DELETE ? "DELETE" : "UPDATE";
}

/* What the api writes by itself is nobody's request. */
bool policy_wanted(const write_t *w) {
  char resource[256];
  if (!w->q.api->policies || !w->q.m) return false;
  snprintf(resource, sizeof resource, "%s%s%s%s" KG_STR_FMT, w->q.r->group, w->q.r->group[0] ? "/" : "",
           w->q.r->resource, w->q.sub.n ? "/" : "", KG_STR_ARG(w->q.sub));
  for (kg_iter_t it = kg_iter(kg_view_get(kg_view_of(w->q.api->policies), "rules")); kg_iter_next(&it);)
    if (in_list(kg_view_get(it.value, "operations"), operation_of(w)) &&
        in_list(kg_view_get(it.value, "resources"), resource))
      return true;
  return false;
}

/* --- the question ---------------------------------------------------------------------------------------------------
 */

static const char *reason_of(int code) {
  static const struct {
    int code;
    const char *reason;
  } known[] = {{400, "BadRequest"},       {401, "Unauthorized"},      {403, "Forbidden"}, {404, "NotFound"},
               {405, "MethodNotAllowed"}, {409, "Conflict"},          {422, "Invalid"},   {429, "TooManyRequests"},
               {500, "InternalError"},    {503, "ServiceUnavailable"}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i].code == code) return known[i].reason;
  return "";
}

/* As other admission plugins of the api say it: "is forbidden", whatever the code; kubectl shows the cause of a 422. */
static void denied(write_t *w, kg_view_t answer) {
  kg_str_t policy = arg_str(answer, "policy"), message = arg_str(answer, "message");
  int code = (int)kg_view_int(kg_view_get(answer, "code"), KG_EDENIED);
  fault_forbidden(&w->fault, w->q.r, w->q.name, "policy \"" KG_STR_FMT "\" denied the request: " KG_STR_FMT,
                  KG_STR_ARG(policy), KG_STR_ARG(message));
  w->fault.code = code;
  w->fault.reason = reason_of(code);
  if (code != 422) return;
  kube_node_t *causes = kube_array(w->arena), *cause = kube_map(w->arena);
  kube_set(w->arena, cause, "message", kube_str(w->arena, strstr(w->fault.message, "policy \"")));
  kube_push(w->arena, causes, cause);
  w->fault.causes = causes;
}

static void changed(write_t *w, kg_doc_t *doc) {
  w->admitted = kg_doc_ref(doc);
  kube_node_t *object = doc ? kube_tree_parse(w->arena, kg_view_of(doc)) : NULL;
  if (!object || object->type != KG_V_MAP) {
    fault_other(&w->fault, 500, "InternalError", "Internal error occurred: a policy made something that is no object");
    return;
  }
  if (!body_changed(w, fields_as_shown(w, object))) return;
  kg_doc_t *now = kube_tree_doc(fields_as_stored(w, w->next_state));
  if (now) {
    kg_doc_unref(w->doc);
    w->doc = now;
  } else {
    fault_other(&w->fault, 500, "InternalError", "Internal error occurred: the object cannot be encoded");
  }
}

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  write_t *w = arg;
  kg_view_t answer = kg_msg_args(m);
  if (kg_msg_type(m) != KG_MSG_REPLY)
    fault_other(&w->fault, 500, "InternalError", "Internal error occurred: the policies were not asked: %s",
                kg_msg_text(m));
  else if (!kg_view_bool(kg_view_get(answer, "allowed"), false))
    denied(w, answer);
  else if (kg_view_bool(kg_view_get(answer, "changed"), false) && w->next_state && w->verb != W_DELETE)
    changed(w, kg_msg_doc(m, 0));
  write_admitted(w);
}

void policy_ask(write_t *w) {
  kg_pack_t p = kg_pack();
  kg_doc_t *docs[2];
  size_t n = 0;
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "operation", operation_of(w));
  kg_pack_kv_str(&p, "g", w->q.r->group);
  kg_pack_kv_str(&p, "v", w->q.r->version);
  kg_pack_kv_str(&p, "r", w->q.r->resource);
  if (w->q.sub.n) kg_pack_kv_strn(&p, "sub", w->q.sub);
  if (w->q.ns.n) kg_pack_kv_strn(&p, "ns", w->q.ns);
  if (w->q.name.n) kg_pack_kv_strn(&p, "name", w->q.name);
  if (kg_view_there(kg_view_get(w->q.args, "user"))) kg_pack_kv_view(&p, "user", kg_view_get(w->q.args, "user"));
  kg_pack_kv_bool(&p, "dryRun", w->q.dry_run);
  kg_pack_end(&p);
  if (w->verb != W_DELETE && w->doc) docs[n++] = w->doc;
  if (w->old) docs[n++] = w->old->doc;
  kg_doc_t *args = kg_pack_doc(&p);
  kg_send(w->q.ctx, &(kg_request_t){.service = "policy",
                                    .topic = "policy.admit",
                                    .args = args,
                                    .docs = docs,
                                    .ndocs = n,
                                    .timeout_ms = PATIENCE_MS,
                                    .fn = answered,
                                    .arg = w});
  kg_doc_unref(args);
}
