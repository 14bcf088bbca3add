/* Arguments of requests, and what a list or watch selects. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rbac.h"

kg_str_t arg_str(kg_view_t args, const char *key) {
  return kg_view_str(kg_view_get(args, key));
}

static bool refuse(req_t *q, int code, const char *reason, const char *text) {
  fault_t f;
  fault_other(&f, code, reason, "%s", text);
  fault_answer(q, &f);
  return false;
}

/* The topic names the verb: "api.deletecollection". */
static bool authorized(req_t *q) {
  access_t access = access_of(q->args, kg_str(kg_msg_topic(q->m) + strlen("api.")));
  if (access_is_super(access.user)) return true;
  fault_t f;
  if (!rbac_user_holds(q->api, access.user))
    fault_other(&f, 401, "Unauthorized", "Unauthorized");
  else if (rbac_allows(q->api, &access, NULL))
    return true;
  else
    fault_access(&f, &access);
  fault_answer(q, &f);
  return false;
}

bool req_read(req_t *q, api_t *api, const kg_msg_t *m, unsigned verb) {
  kg_view_t a = kg_msg_args(m);
  *q = (req_t){.api = api, .ctx = api->ctx, .m = m, .args = a};
  if (!api->loaded)
    return refuse(q, 503, "ServiceUnavailable", "the api has not read the store yet, please try again later");
  if (verb && !authorized(q)) return false;
  q->r = resource_find(api, arg_str(a, "g"), arg_str(a, "v"), arg_str(a, "r"));
  q->c = q->r ? cache_of(api, q->r) : NULL;
  if (!q->r) return refuse(q, 404, "NotFound", "the server could not find the requested resource");
  q->sub = arg_str(a, "sub");
  q->ns = arg_str(a, "ns");
  q->name = arg_str(a, "name");
  q->dry_run = kg_view_bool(kg_view_get(a, "dryRun"), false);
  bool outside = kg_view_there(kg_view_get(a, "user")); /* who came by a URL: it must be one of the resource's */
  if (outside && (q->r->namespaced ? q->name.n && !q->ns.n : q->ns.n > 0))
    return refuse(q, 404, "NotFound", "the server could not find the requested resource");
  if (!q->r->namespaced) q->ns = (kg_str_t){0};
  if (verb && !(q->r->verbs & verb) && !q->sub.n)
    return refuse(q, 405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
  return true;
}

kg_str_t req_key(const req_t *q, kg_str_t name, char buf[600]) {
  int n = q->r->namespaced ? snprintf(buf, 600, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(q->ns), KG_STR_ARG(name))
                           : snprintf(buf, 600, KG_STR_FMT, KG_STR_ARG(name));
  return (kg_str_t){buf, n < 600 ? (size_t)n : 0};
}

/* --- options ----------------------------------------------------------------------------------------------------- */

static bool bad_revision(const req_t *q, kg_str_t rv) {
  fault_t f;
  fault_other(&f, 500, "",
              "resourceVersion: Invalid value: \"" KG_STR_FMT "\": strconv.ParseUint: parsing \"" KG_STR_FMT
              "\": invalid syntax",
              KG_STR_ARG(rv), KG_STR_ARG(rv));
  fault_answer(q, &f);
  return false;
}

static bool too_large(const req_t *q, int64_t rev) {
  fault_t f;
  kube_arena_t *a = kube_arena_new();
  kube_node_t *causes = kube_array(a);
  fault_other(&f, 504, "Timeout", "Too large resource version: %lld, current: %lld", (long long)rev,
              (long long)q->api->rev);
  cause_add(a, causes, "ResourceVersionTooLarge", NULL, "Too large resource version");
  f.causes = causes;
  f.retry_after = 1;
  fault_answer(q, &f);
  kube_arena_free(a);
  return false;
}

bool revision_read(req_t *q, int64_t *rev) {
  kg_str_t rv = arg_str(q->args, "resourceVersion");
  *rev = 0;
  for (size_t i = 0; i < rv.n; i++) {
    if (rv.p[i] < '0' || rv.p[i] > '9' || i > 17) return bad_revision(q, rv);
    *rev = *rev * 10 + (rv.p[i] - '0');
  }
  return *rev <= q->api->rev || too_large(q, *rev);
}

static bool refuse_options(req_t *q, const char *kind, const kube_node_t *causes) {
  fault_t f = {0};
  if (!causes->c.n) return true;
  fault_invalid(&f, &(kube_resource_t){.group = "meta.k8s.io", .kind = kind}, (kg_str_t){0}, causes);
  fault_answer(q, &f);
  return false;
}

static void judge_match(req_t *q, kube_arena_t *a, kube_node_t *causes, bool watch) {
  kg_str_t match = arg_str(q->args, "resourceVersionMatch"), rv = arg_str(q->args, "resourceVersion");
  bool initial = kg_view_there(kg_view_get(q->args, "sendInitialEvents"));
  const char *at = "resourceVersionMatch";
  if (watch && initial && !kg_str_is(match, "NotOlderThan"))
    cause_add(a, causes, "FieldValueForbidden", at,
              "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
  if (!watch && initial)
    cause_add(a, causes, "FieldValueForbidden", "sendInitialEvents",
              "Forbidden: sendInitialEvents is forbidden for list");
  if (!match.n || (watch && initial)) return;
  if (watch)
    cause_add(a, causes, "FieldValueForbidden", at,
              "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
  else if (!rv.n)
    cause_add(a, causes, "FieldValueForbidden", at,
              "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided");
  if (!watch && arg_str(q->args, "continue").n)
    cause_add(a, causes, "FieldValueForbidden", at,
              "Forbidden: resourceVersionMatch is forbidden when continue is provided");
  bool exact = kg_str_is(match, "Exact");
  if (watch ? !kg_str_is(match, "NotOlderThan") : !exact && !kg_str_is(match, "NotOlderThan"))
    cause_add(a, causes, "FieldValueNotSupported", at, "Unsupported value: \"" KG_STR_FMT "\": supported values: %s",
              KG_STR_ARG(match), watch ? "\"NotOlderThan\"" : "\"Exact\", \"NotOlderThan\", \"\"");
  else if (exact && kg_str_is(rv, "0"))
    cause_add(a, causes, "FieldValueForbidden", at,
              "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
}

bool list_options(req_t *q, bool watch) {
  kg_view_t args = q->args;
  if (!arg_str(args, "resourceVersionMatch").n && !kg_view_there(kg_view_get(args, "sendInitialEvents"))) return true;
  kube_arena_t *a = kube_arena_new();
  kube_node_t *causes = kube_array(a);
  judge_match(q, a, causes, watch);
  bool good = refuse_options(q, "ListOptions", causes);
  kube_arena_free(a);
  return good;
}

static bool one_of(kg_str_t s, const char *const *names) {
  for (; *names; names++)
    if (kg_str_is(s, *names)) return true;
  return false;
}

static void judge_manager(const req_t *q, kube_arena_t *a, kube_node_t *causes) {
  kg_str_t patch = arg_str(q->args, "patch");
  bool named = !kg_view_bool(kg_view_get(q->args, "agent"), false);
  if (patch.n && !kg_str_is(patch, "apply") && kg_view_there(kg_view_get(q->args, "force")))
    cause_add(a, causes, "FieldValueForbidden", "force", "Forbidden: may not be specified for non-apply patch");
  if (named && arg_str(q->args, "fieldManager").n > 128)
    cause_add(a, causes, "FieldValueTooLong", "fieldManager", "Too long: may not be more than 128 bytes");
}

/* The options of a deletion are its body, or its query if it has no body. */
static void judge_deletion(const req_t *q, kube_arena_t *a, kube_node_t *causes) {
  static const char *const policies[] = {"Background", "Foreground", "Orphan", NULL};
  kg_doc_t *body = kg_msg_doc(q->m, 0);
  kg_view_t from = body ? kg_view_of(body) : q->args;
  kg_str_t policy = arg_str(from, "propagationPolicy");
  if (policy.n && kg_view_type(kg_view_get(from, "orphanDependents")) == KG_V_BOOL)
    cause_add(a, causes, "FieldValueInvalid", "propagationPolicy",
              "Invalid value: \"" KG_STR_FMT "\": orphanDependents and deletionPropagation cannot be both set",
              KG_STR_ARG(policy));
  else if (policy.n && !one_of(policy, policies))
    cause_add(a, causes, "FieldValueNotSupported", "propagationPolicy",
              "Unsupported value: \"" KG_STR_FMT
              "\": supported values: \"Background\", \"Foreground\", \"Orphan\", \"nil\"",
              KG_STR_ARG(policy));
}

bool write_options(req_t *q, const char *kind) {
  static const char *const known[] = {"", "Ignore", "Strict", "Warn", NULL};
  kg_str_t mode = arg_str(q->args, "fieldValidation");
  kube_arena_t *a = kube_arena_new();
  kube_node_t *causes = kube_array(a);
  if (mode.n && !one_of(mode, known))
    cause_add(a, causes, "FieldValueNotSupported", "fieldValidation",
              "Unsupported value: \"" KG_STR_FMT "\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
              KG_STR_ARG(mode));
  if (!strcmp(kind, "DeleteOptions"))
    judge_deletion(q, a, causes);
  else
    judge_manager(q, a, causes);
  bool good = refuse_options(q, kind, causes);
  kube_arena_free(a);
  return good;
}

/* --- selections -------------------------------------------------------------------------------------------------- */

static bool bad_field(req_t *q, kg_str_t field) {
  fault_t f;
  if (q->r->selectable)
    fault_bad(&f, "field label not supported: " KG_STR_FMT, KG_STR_ARG(field));
  else
    fault_bad(&f, "\"" KG_STR_FMT "\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
              KG_STR_ARG(field));
  fault_answer(q, &f);
  return false;
}

static bool known_field(const kube_resource_t *r, kg_str_t field) {
  if (kg_str_is(field, "metadata.name")) return true;
  if (kg_str_is(field, "metadata.namespace")) return r->namespaced;
  for (const char *const *s = r->selectable; s && *s; s++)
    if (kg_str_is(field, *s)) return true;
  return false;
}

static kg_str_t trim(kg_str_t s) {
  while (s.n && s.p[0] == ' ') s.p++, s.n--;
  while (s.n && s.p[s.n - 1] == ' ') s.n--;
  return s;
}

/* One `a=b`, `a==b` or `a!=b`. */
static bool add_term(req_t *q, selection_t *s, kg_str_t term) {
  const char *eq = memchr(term.p, '=', term.n);
  if (!eq) {
    fault_t f;
    fault_bad(&f, "invalid selector: '" KG_STR_FMT "'; can't understand '" KG_STR_FMT "'", KG_STR_ARG(term),
              KG_STR_ARG(term));
    fault_answer(q, &f);
    return false;
  }
  bool negated = eq > term.p && eq[-1] == '!';
  kg_str_t field = trim((kg_str_t){term.p, (size_t)(eq - term.p) - negated});
  const char *value = eq + 1, *end = term.p + term.n;
  if (!negated && value < end && *value == '=') value++;
  if (!known_field(q->r, field)) return bad_field(q, field);
  struct field_term *more = realloc(s->fields, (s->nfields + 1) * sizeof *more);
  if (!more) return refuse(q, 500, "InternalError", "out of memory");
  s->fields = more;
  s->fields[s->nfields++] = (struct field_term){field, trim((kg_str_t){value, (size_t)(end - value)}), negated};
  if (!negated && kg_str_is(field, "metadata.name")) s->name = s->fields[s->nfields - 1].value;
  return true;
}

static bool read_fields(req_t *q, selection_t *s) {
  kg_str_t text = arg_str(q->args, "fieldSelector");
  while (text.n) {
    const char *comma = memchr(text.p, ',', text.n);
    size_t n = comma ? (size_t)(comma - text.p) : text.n;
    kg_str_t term = trim((kg_str_t){text.p, n});
    if (term.n && !add_term(q, s, term)) return false;
    text.p += comma ? n + 1 : n;
    text.n -= comma ? n + 1 : n;
  }
  return true;
}

bool selection_read(req_t *q, selection_t *s) {
  *s = (selection_t){.ns = q->ns, .name = q->name, .r = q->r};
  kg_str_t labels = arg_str(q->args, "labelSelector");
  kg_error_t err = {0};
  if (labels.n && !(s->labels = kube_selector_parse(labels, &err))) {
    fault_t f;
    fault_bad(&f, "%s", err.text);
    fault_answer(q, &f);
    return false;
  }
  if (read_fields(q, s)) return true;
  selection_free(s);
  return false;
}

void selection_free(selection_t *s) {
  kube_selector_free(s->labels);
  free(s->fields);
  s->labels = NULL;
  s->fields = NULL;
}

static kg_str_t key_name(const selection_t *s, const object_t *o) {
  const char *slash = s->r->namespaced ? memchr(o->key, '/', o->nkey) : NULL;
  return slash ? (kg_str_t){slash + 1, o->nkey - (size_t)(slash + 1 - o->key)} : object_key(o);
}

static bool field_matches(const selection_t *s, const struct field_term *t, const object_t *o) {
  kg_str_t value = {0};
  if (kg_str_is(t->field, "metadata.name"))
    value = key_name(s, o);
  else if (kg_str_is(t->field, "metadata.namespace"))
    value = (kg_str_t){o->key, o->nkey - key_name(s, o).n - 1};
  else
    kube_selectable(s->r, object_view(o), t->field, &value);
  return kg_str_eq(value, t->value) != t->negated;
}

static bool in_namespace(const selection_t *s, const object_t *o) {
  return !s->ns.n || (o->nkey > s->ns.n && o->key[s->ns.n] == '/' && !memcmp(o->key, s->ns.p, s->ns.n));
}

bool selection_matches(const selection_t *s, const object_t *o) {
  if (!in_namespace(s, o)) return false;
  if (s->name.n && !kg_str_eq(key_name(s, o), s->name)) return false;
  for (size_t i = 0; i < s->nfields; i++)
    if (!field_matches(s, &s->fields[i], o)) return false;
  return !s->labels || kube_selector_matches(s->labels, kube_labels(object_view(o)));
}

kg_str_t selection_start(const selection_t *s, char key[600]) {
  int n = 0;
  if (s->ns.n)
    n = snprintf(key, 600, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(s->ns), KG_STR_ARG(s->name));
  else if (s->name.n && !s->r->namespaced)
    n = snprintf(key, 600, KG_STR_FMT, KG_STR_ARG(s->name));
  return (kg_str_t){key, n < 600 ? (size_t)n : 0};
}

sorted_pos_t selection_seek(const selection_t *s, const sorted_t *objects) {
  char key[600];
  return sorted_seek(objects, selection_start(s, key));
}

bool selection_ends(const selection_t *s, const object_t *o) {
  if (s->ns.n && !in_namespace(s, o)) return true;
  if (!s->name.n || (s->r->namespaced && !s->ns.n)) return false;
  return kg_str_cmp(key_name(s, o), s->name) > 0;
}
