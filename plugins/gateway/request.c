/* A complete request: who asks, what for, and the verbs on resources. */
#include <errno.h>
#include <strings.h>

#include "duplex.h"

/* --- what is asked
 * ------------------------------------------------------------------------------------------------------- */

/* Names and values go into documents, which hold UTF-8 only; a selector that cannot be read must not select everything.
 */
static bool query_ok(const char *query) {
  size_t n = strlen(query);
  char *copy = n ? malloc(n) : NULL;
  if (!copy) return !n;
  memcpy(copy, query, n);
  ssize_t m = gw_unescape(copy, n, true);
  bool ok = m >= 0 && kg_str_utf8((kg_str_t){copy, (size_t)m});
  free(copy);
  return ok;
}

/* Path and query of the request target; absolute form is allowed by HTTP. */
static int split_target(gw_ex_t *ex) {
  char *t = ex->head.p;
  if (!strncasecmp(t, "http://", 7) || !strncasecmp(t, "https://", 8)) {
    t = strstr(t, "//") + 2;
    t += strcspn(t, "/?");
  }
  size_t n = strcspn(t, "?#");
  ex->query = t[n] == '?' ? t + n + 1 : "";
  ex->path = malloc(n + 2);
  if (!ex->path) return -1;
  memcpy(ex->path, t, n);
  ssize_t m = gw_unescape(ex->path, n, false);
  if (m < 0 || !kg_str_utf8((kg_str_t){ex->path, (size_t)m}) || !query_ok(ex->query)) return -1;
  if (!m) ex->path[m++] = '/';
  ex->path[m] = 0;
  return ex->path[0] == '/' ? 0 : -1;
}

static const char *verb_of(const gw_ex_t *ex) {
  const gw_route_t *r = &ex->route;
  bool get = !strcmp(ex->method, "GET") || ex->is_head;
  if (!r->resource) return get ? "get" : ex->method;
  if (get && (r->watch || (!*r->name && gw_query_bool(ex, "watch")))) return "watch";
  if (get) return *r->name ? "get" : "list";
  if (!strcmp(ex->method, "POST")) return "create";
  if (!strcmp(ex->method, "PUT")) return "update";
  if (!strcmp(ex->method, "PATCH")) return "patch";
  if (!strcmp(ex->method, "DELETE")) return *r->name ? "delete" : "deletecollection";
  return "";
}

static bool under(const char *path, const char *prefix) {
  size_t n = strlen(prefix);
  return !strncmp(path, prefix, n) && (!path[n] || path[n] == '/');
}

static void not_acceptable(gw_ex_t *ex) {
  ex->form = GW_FORM_JSON;
  gw_status(ex, 406, "NotAcceptable", NULL,
            "only the following media types are accepted: application/json, application/yaml, "
            "application/vnd.kubernetes.protobuf");
}

static bool is_proxy(const gw_ex_t *ex) {
  const gw_route_t *r = &ex->route;
  bool spaced = !strcmp(r->resource_name, "pods") || !strcmp(r->resource_name, "services");
  return !*r->group && !strcmp(r->sub, "proxy") && (*r->ns ? spaced : !strcmp(r->resource_name, "nodes"));
}

static void dispatch(gw_ex_t *ex) {
  if (gw_wellknown(ex)) return;
  if (under(ex->path, "/openapi"))
    gw_openapi(ex);
  else if (is_proxy(ex))
    gw_authorize(ex, gw_proxy);
  else if (ex->route.resource && (ex->form == GW_FORM_NONE || ex->form == GW_FORM_OPENAPI))
    not_acceptable(ex);
  else if (ex->route.resource)
    gw_resource(ex);
  else if (under(ex->path, "/api") || under(ex->path, "/apis"))
    gw_discovery(ex);
  else
    gw_respond_text(ex, 404, "404 page not found\n");
}

/* Whether the server lives is nobody's secret, and is answered without asking whether the api role does. */
static void permitted(gw_ex_t *ex) {
  if (ex->route.resource || gw_public_path(ex->path))
    dispatch(ex);
  else
    gw_authorize(ex, dispatch);
}

int gw_admit(gw_ex_t *ex) {
  ex->query = "";
  ex->verb = "";
  if (!ex->head.n || split_target(ex)) return 400;
  gw_route_parse(ex->path, &ex->route, &ex->route_text);
  ex->verb = verb_of(ex);
  ex->pretty = gw_query_bool(ex, "pretty");
  ex->user = gw_authenticate(ex);
  if (!ex->user) return 401;
  ex->stranger = ex->user->anonymous;
  const char *length = gw_header(ex, "content-length");
  if (length && strtoull(length, NULL, 10) > GW_MAX_BODY) return 413;
  return gw_hold(ex, ex->head.n);
}

void gw_request(gw_ex_t *ex) {
  ex->conn->gw->requests++;
  int code = ex->user ? 0 : gw_admit(ex);
  if (code) {
    gw_refuse(ex, code);
    return;
  }
  gw_negotiate(ex);
  gw_impersonate(ex, permitted);
}

/* --- calls to the api role
 * ----------------------------------------------------------------------------------------------- */

static void kv(kg_pack_t *p, const char *key, const char *value) {
  if (value && *value) kg_pack_kv_str(p, key, value);
}

kg_pack_t gw_what(gw_ex_t *ex) {
  const gw_route_t *r = &ex->route;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "g", r->group);
  kg_pack_kv_str(&p, "v", r->version);
  kg_pack_kv_str(&p, "r", r->resource_name);
  kv(&p, "ns", r->ns);
  kv(&p, "name", r->name);
  kv(&p, "sub", r->sub);
  return p;
}

kg_pack_t gw_args(gw_ex_t *ex) {
  kg_pack_t p = gw_what(ex);
  kg_pack_kv_view(&p, "user", kg_view_of(ex->user->doc));
  return p;
}

void gw_api_call(gw_ex_t *ex, const char *topic, kg_doc_t *args, kg_doc_t *body, bool stream, kg_reply_fn fn) {
  kg_request_t r = {.service = "api",
                    .topic = topic,
                    .args = args,
                    .docs = &body,
                    .ndocs = body ? 1 : 0,
                    .stream = stream,
                    .manual_credit = stream,
                    .fn = fn,
                    .arg = ex,
                    .timeout_ms = stream ? -1 : 60000};
  ex->call = kg_send(ex->conn->gw->ctx, &r);
}

static void pass(gw_ex_t *ex, kg_pack_t *p, const char *name) {
  char *v = gw_query(ex, name, NULL);
  if (v && *v) kg_pack_kv_str(p, name, v);
  free(v);
}

static void pass_int(gw_ex_t *ex, kg_pack_t *p, const char *name) {
  char *v = gw_query(ex, name, NULL), *end = NULL;
  long long i = v ? strtoll(v, &end, 10) : 0;
  if (v && *v && !*end) kg_pack_kv_int(p, name, i);
  free(v);
}

static void pass_bool(gw_ex_t *ex, kg_pack_t *p, const char *name) {
  char *v = gw_query(ex, name, NULL);
  if (v) kg_pack_kv_bool(p, name, strcmp(v, "0") && strcasecmp(v, "false"));
  free(v);
}

void gw_pass_selectors(gw_ex_t *ex, kg_pack_t *p) {
  pass(ex, p, "labelSelector");
  pass(ex, p, "fieldSelector");
}

void gw_pass_list(gw_ex_t *ex, kg_pack_t *p) {
  static const char *const names[] = {"continue", "resourceVersion", "resourceVersionMatch"};
  gw_pass_selectors(ex, p);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) pass(ex, p, names[i]);
  pass_int(ex, p, "limit");
}

/* As the API server makes a name of a user agent: what comes before the slash, printable, at most 128 bytes. */
static void pack_agent(kg_pack_t *p, const char *agent) {
  enum { MOST = 128 };
  char name[MOST];
  size_t n = 0, len = strcspn(agent, "/");
  bool text = kg_str_utf8((kg_str_t){agent, len});
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)agent[i];
    size_t room = c < 0x80 || text ? 1 : 3;
    if (c < 0x20 || c == 0x7f) continue;
    if (n + room > MOST) break;
    memcpy(name + n, room == 3 ? "\xef\xbf\xbd" : agent + i, room); /* U+FFFD for a byte that is no character */
    n += room;
  }
  while (n && !kg_str_utf8((kg_str_t){name, n})) n--; /* the last one may have been cut */
  if (!n) return;
  kg_pack_kv_strn(p, "fieldManager", (kg_str_t){name, n});
  kg_pack_kv_bool(p, "agent", true);
}

/* The manager of a write is the first part of the user agent unless it is named. */
static void pass_write(gw_ex_t *ex, kg_pack_t *p) {
  char *manager = gw_query(ex, "fieldManager", NULL), *dry = gw_query(ex, "dryRun", NULL);
  const char *agent = gw_header(ex, "user-agent");
  if (manager && *manager)
    kg_pack_kv_str(p, "fieldManager", manager);
  else if (agent && *agent)
    pack_agent(p, agent);
  if (dry && !strcmp(dry, "All")) kg_pack_kv_bool(p, "dryRun", true);
  free(manager);
  free(dry);
  pass(ex, p, "fieldValidation");
}

static const char *options_kind(const gw_ex_t *ex) {
  return !strcmp(ex->verb, "create")   ? "CreateOptions"
         : !strcmp(ex->verb, "update") ? "UpdateOptions"
         : !strcmp(ex->verb, "patch")  ? "PatchOptions"
                                       : "DeleteOptions";
}

static void refuse_dry_run(gw_ex_t *ex, const char *value) {
  kube_buf_t text = {0}, details = {0};
  kube_buf_addz(&text, "Unsupported value: [");
  kube_json_string(&text, kg_str(value));
  kube_buf_addz(&text, "]: supported values: \"All\"");
  kube_buf_fmt(
      &details,
      "{\"group\":\"meta.k8s.io\",\"kind\":\"%s\",\"causes\":[{\"reason\":\"FieldValueNotSupported\",\"message\":",
      options_kind(ex));
  kube_json_string(&details, (kg_str_t){text.p, text.n});
  kube_buf_add(&details, ",\"field\":\"dryRun\"}]}", sizeof ",\"field\":\"dryRun\"}]}");
  gw_status(ex, 422, "Invalid", details.failed ? NULL : details.p, "%s.meta.k8s.io \"\" is invalid: dryRun: %.*s",
            options_kind(ex), (int)text.n, text.p ? text.p : "");
  kube_buf_free(&text);
  kube_buf_free(&details);
}

static bool dry_run_ok(gw_ex_t *ex) {
  char *dry = gw_query(ex, "dryRun", NULL);
  bool ok = !dry || !*dry || !strcmp(dry, "All");
  if (!ok) refuse_dry_run(ex, dry);
  free(dry);
  return ok;
}

/* --- answers of the api role
 * --------------------------------------------------------------------------------------------- */

void gw_add_warnings(gw_ex_t *ex, kg_view_t args) {
  kg_view_t warnings = kg_view_get(args, "warnings");
  for (kg_iter_t it = kg_iter(warnings); kg_iter_next(&it);) {
    kube_buf_t b = {0};
    kube_buf_addz(&b, "299 - ");
    kube_json_string(&b, kg_view_str(it.value));
    kube_buf_add(&b, "", 1);
    if (!b.failed) gw_add_header(ex, "warning", b.p);
    kube_buf_free(&b);
  }
}

static void on_object(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  ex->call = 0;
  if (kg_msg_type(m) != KG_MSG_REPLY) {
    gw_status_of(ex, m);
    return;
  }
  gw_add_warnings(ex, kg_msg_args(m));
  int code = (int)kg_view_int(kg_view_get(kg_msg_args(m), "code"), 200);
  if (!kg_msg_doc(m, 0)) {
    gw_status(ex, 500, "InternalError", NULL, "the api plugin answered without a document");
    return;
  }
  gw_answer_object(ex, code, kg_msg_doc(m, 0));
}

/* --- verbs
 * --------------------------------------------------------------------------------------------------------------- */

static void verb_get(gw_ex_t *ex) {
  kg_pack_t p = gw_args(ex);
  pass(ex, &p, "resourceVersion");
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  gw_api_call(ex, "api.get", args, NULL, false, on_object);
  kg_doc_unref(args);
}

/* Reads the body or answers why not. */
static kg_doc_t *body_or_refuse(gw_ex_t *ex, const char *patch, kg_pack_t *p) {
  kg_error_t err = {0};
  kg_pack_t dup = kg_pack();
  kg_pack_array(&dup);
  kg_doc_t *body = gw_body(ex, patch, &dup, &err);
  kg_pack_end(&dup);
  kg_doc_t *names = kg_pack_doc(&dup);
  if (body && names && kg_view_count(kg_view_of(names))) kg_pack_kv_view(p, "duplicates", kg_view_of(names));
  kg_doc_unref(names);
  if (body) return body;
  kg_pack_free(p);
  if (err.code == 415)
    gw_status(ex, 415, "UnsupportedMediaType", NULL, "%s", err.text);
  else if (patch)
    gw_status(ex, 400, "BadRequest", NULL, "error decoding patch: %s", err.text);
  else
    gw_status(ex, 400, "BadRequest", NULL, "the object provided is unrecognized: couldn't get version/kind; %s",
              err.text);
  return NULL;
}

/* Only the gateway can read tokens: a TokenReview goes to the api role with what it found. */
static void review_token(gw_ex_t *ex, kg_doc_t *body, kg_pack_t *p) {
  kg_error_t err = {0};
  char *token = kg_str_dup(kg_view_str(kg_view_path(kg_view_of(body), "spec", "token", NULL)));
  gw_user_t *u = token && *token ? gw_user_of_token(ex->conn->gw, token, &err) : NULL;
  if (u)
    kg_pack_kv_view(p, "reviewed", kg_view_of(u->doc));
  else
    kg_pack_kv_str(p, "reviewError", err.text);
  gw_user_unref(u);
  free(token);
}

static void verb_write(gw_ex_t *ex, const char *topic, const char *patch) {
  if (!dry_run_ok(ex)) return;
  kg_pack_t p = gw_args(ex);
  pass_write(ex, &p);
  if (patch) kg_pack_kv_str(&p, "patch", patch);
  if (patch) pass_bool(ex, &p, "force");
  kg_doc_t *body = body_or_refuse(ex, patch, &p);
  if (!body) return;
  if (!strcmp(ex->route.resource_name, "tokenreviews")) review_token(ex, body, &p);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kube_buf_free(&ex->body);
  gw_api_call(ex, topic, args, body, false, on_object);
  kg_doc_unref(args);
  kg_doc_unref(body);
}

static void verb_patch(gw_ex_t *ex) {
  static const char *const kinds[][2] = {{"application/json-patch+json", "json"},
                                         {"application/merge-patch+json", "merge"},
                                         {"application/strategic-merge-patch+json", "strategic"},
                                         {"application/apply-patch+yaml", "apply"}};
  const char *type = gw_header(ex, "content-type");
  size_t n = type ? strcspn(type, "; ") : 0;
  for (size_t i = 0; i < 4; i++)
    if (strlen(kinds[i][0]) == n && !strncasecmp(type, kinds[i][0], n)) {
      verb_write(ex, "api.patch", kinds[i][1]);
      return;
    }
  gw_status(
      ex, 415, "UnsupportedMediaType", NULL,
      "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
      "application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml");
}

static void verb_delete(gw_ex_t *ex, bool many) {
  if (!dry_run_ok(ex)) return;
  kg_pack_t p = gw_args(ex);
  if (many) gw_pass_list(ex, &p);
  pass(ex, &p, "propagationPolicy");
  pass_int(ex, &p, "gracePeriodSeconds");
  pass_bool(ex, &p, "orphanDependents");
  kg_doc_t *body = NULL;
  if (ex->body.n && !(body = body_or_refuse(ex, NULL, &p))) return;
  char *dry = gw_query(ex, "dryRun", NULL);
  if ((dry && *dry) || kg_view_count(kg_view_get(kg_view_of(body), "dryRun"))) kg_pack_kv_bool(&p, "dryRun", true);
  free(dry);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  gw_api_call(ex, many ? "api.deletecollection" : "api.delete", args, body, false, many ? gw_on_list : on_object);
  kg_doc_unref(args);
  kg_doc_unref(body);
}

/* What cannot be a list is refused before anybody makes one. */
static bool number_ok(gw_ex_t *ex, const char *name) {
  char *text = gw_query(ex, name, NULL), *end = NULL;
  errno = 0;
  bool number = !text || !*text || (strtoll(text, &end, 10), !*end), fits = errno != ERANGE;
  if (!number || !fits)
    gw_status(ex, 400, "BadRequest", NULL, "strconv.ParseInt: parsing \"%s\": %s", text,
              number ? "value out of range" : "invalid syntax");
  free(text);
  return number && fits;
}

static bool list_ok(gw_ex_t *ex) {
  if (!number_ok(ex, "limit") || !number_ok(ex, "timeoutSeconds")) return false;
  if (ex->form != GW_FORM_META || !ex->meta_one) return true;
  const gw_route_t *r = &ex->route;
  const kube_resource_t *known = kube_resource_find(kg_str(r->group), kg_str(r->version), kg_str(r->resource_name));
  gw_status(ex, 406, "NotAcceptable", NULL,
            "you requested PartialObjectMetadata, but the requested object is a list (*%s)",
            known ? known->list_kind : "unstructured.UnstructuredList");
  return false;
}

static void verb_list(gw_ex_t *ex) {
  if (!list_ok(ex)) return;
  kg_pack_t p = gw_args(ex);
  gw_pass_list(ex, &p);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  gw_api_call(ex, "api.list", args, NULL, false, gw_on_list);
  kg_doc_unref(args);
}

/* metrics.k8s.io is nobody's store: the metrics role answers. */
static void measured(gw_ex_t *ex) {
  bool one = !strcmp(ex->verb, "get");
  if (!one && strcmp(ex->verb, "list")) {
    gw_status(ex, 405, "MethodNotAllowed", "{}", "the server does not allow this method on the requested resource");
    return;
  }
  kg_pack_t p = gw_args(ex);
  gw_pass_list(ex, &p);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_request_t r = {.service = "metrics",
                    .topic = one ? "metrics.get" : "metrics.list",
                    .args = args,
                    .fn = one ? on_object : gw_on_list,
                    .arg = ex};
  ex->call = kg_send(ex->conn->gw->ctx, &r);
  kg_doc_unref(args);
}

static bool pod_sub(const gw_ex_t *ex, const char *sub) {
  return !*ex->route.group && !strcmp(ex->route.resource_name, "pods") && !strcmp(ex->route.sub, sub);
}

static void exec(gw_ex_t *ex) {
  gw_exec(ex, false);
}

static void attach(gw_ex_t *ex) {
  gw_exec(ex, true);
}

void gw_resource(gw_ex_t *ex) {
  const char *verb = ex->verb;
  bool read = !strcmp(verb, "get");
  if (!strcmp(ex->route.group, "metrics.k8s.io"))
    gw_authorize(ex, measured);
  else if (pod_sub(ex, "log") && read)
    gw_authorize(ex, gw_logs);
  else if (pod_sub(ex, "exec") && (read || !strcmp(verb, "create")))
    gw_authorize(ex, exec);
  else if (pod_sub(ex, "attach") && (read || !strcmp(verb, "create")))
    gw_authorize(ex, attach);
  else if (pod_sub(ex, "portforward") && (read || !strcmp(verb, "create")))
    gw_authorize(ex, gw_forward);
  else if (read)
    verb_get(ex);
  else if (!strcmp(verb, "list"))
    verb_list(ex);
  else if (!strcmp(verb, "watch")) {
    if (number_ok(ex, "limit") && number_ok(ex, "timeoutSeconds")) gw_watch(ex);
  } else if (!strcmp(verb, "create"))
    verb_write(ex, "api.create", NULL);
  else if (!strcmp(verb, "update") && *ex->route.name)
    verb_write(ex, "api.update", NULL);
  else if (!strcmp(verb, "patch") && *ex->route.name)
    verb_patch(ex);
  else if (!strcmp(verb, "delete") || !strcmp(verb, "deletecollection"))
    verb_delete(ex, !*ex->route.name);
  else
    gw_status(ex, 405, "MethodNotAllowed", "{}", "the server does not allow this method on the requested resource");
}
