/* What is no resource: version, health, metrics, discovery, OpenAPI. */
#include <sys/utsname.h>

#include "gateway.h"

static const char *const public_paths[] = {"/healthz", "/livez", "/readyz", "/version", NULL};

static bool is_path(const char *path, const char *want) {
  size_t n = strlen(want);
  return !strncmp(path, want, n) && (!path[n] || (path[n] == '/' && !path[n + 1]));
}

bool gw_public_path(const char *path) {
  for (size_t i = 0; public_paths[i]; i++)
    if (is_path(path, public_paths[i])) return true;
  return false;
}

static void version(gw_ex_t *ex) {
  struct utsname u = {0};
  uname(&u);
  const char *arch = !strcmp(u.machine, "x86_64") ? "amd64" : !strcmp(u.machine, "aarch64") ? "arm64" : u.machine;
  kube_buf_t b = {0};
  kube_buf_fmt(
      &b,
      "{\n  \"major\": \"1\",\n  \"minor\": \"37\",\n  \"gitVersion\": \"v1.37.0+kogge\",\n  \"gitCommit\": \"\",\n"
      "  \"gitTreeState\": \"\",\n  \"buildDate\": \"\",\n  \"goVersion\": \"\",\n  \"compiler\": \"gcc\",\n"
      "  \"platform\": \"linux/%s\"\n}",
      arch);
  gw_respond(ex, 200, "application/json", &b);
}

/* "/": the paths there are, those of the groups as discovery tells them. */
static void add_path(kube_buf_t *b, const char *prefix, kg_str_t path) {
  kube_buf_fmt(b, "%s\n    \"%s" KG_STR_FMT "\"", b->n > 20 ? "," : "", prefix, KG_STR_ARG(path));
}

static void on_groups(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  static const char *const rest[] = {"/healthz",
                                     "/healthz/ping",
                                     "/livez",
                                     "/livez/ping",
                                     "/metrics",
                                     "/openapi/v2",
                                     "/openapi/v3",
                                     "/openid/v1/jwks",
                                     "/readyz",
                                     "/readyz/etcd",
                                     "/readyz/informer-sync",
                                     "/readyz/ping",
                                     "/readyz/shutdown",
                                     "/version"};
  gw_ex_t *ex = arg;
  kube_buf_t b = {0};
  ex->call = 0;
  if (kg_msg_type(m) != KG_MSG_REPLY || !kg_msg_doc(m, 0)) {
    gw_status_of(ex, m);
    return;
  }
  kube_buf_addz(&b, "{\n  \"paths\": [");
  add_path(&b, "/.well-known/openid-configuration", (kg_str_t){0});
  add_path(&b, "/api", (kg_str_t){0});
  add_path(&b, "/api/v1", (kg_str_t){0});
  add_path(&b, "/apis", (kg_str_t){0});
  for (kg_iter_t g = kg_iter(kg_view_get(kg_view_of(kg_msg_doc(m, 0)), "groups")); kg_iter_next(&g);) {
    add_path(&b, "/apis/", kg_view_str(kg_view_get(g.value, "name")));
    for (kg_iter_t v = kg_iter(kg_view_get(g.value, "versions")); kg_iter_next(&v);)
      add_path(&b, "/apis/", kg_view_str(kg_view_get(v.value, "groupVersion")));
  }
  for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) add_path(&b, rest[i], (kg_str_t){0});
  kube_buf_addz(&b, "\n  ]\n}");
  gw_respond(ex, 200, "application/json", &b);
}

static void ask_document(gw_ex_t *ex, const char *topic, const char *what, kg_reply_fn fn);

static void root(gw_ex_t *ex) {
  ask_document(ex, "api.discovery", "/apis", on_groups);
}

/* OpenID Connect discovery of service account tokens (KEP-1393). */
static void openid(gw_ex_t *ex) {
  kube_buf_t b = {0};
  kube_buf_addz(&b, "{\"issuer\":\"https://kubernetes.default.svc.cluster.local\","
                    "\"jwks_uri\":\"https://kubernetes.default.svc.cluster.local/openid/v1/jwks\","
                    "\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":[\"public\"],"
                    "\"id_token_signing_alg_values_supported\":[\"");
  kube_buf_addz(&b, EVP_PKEY_get_base_id(ex->conn->gw->sa_key) == EVP_PKEY_EC ? "ES256\"]}" : "RS256\"]}");
  gw_add_header(ex, "cache-control", "public, max-age=3600");
  gw_respond(ex, 200, "application/json", &b);
}

static void keys(gw_ex_t *ex) {
  kube_buf_t b = {0};
  gw_jwt_keys(ex->conn->gw, &b);
  gw_add_header(ex, "cache-control", "public, max-age=3600");
  gw_respond(ex, 200, "application/jwk-set+json", &b);
}

bool gw_wellknown(gw_ex_t *ex) {
  if (gw_health(ex)) return true;
  static const struct {
    const char *path;
    void (*fn)(gw_ex_t *ex);
  } known[] = {{"/version", version},
               {"/metrics", gw_metrics_page},
               {"/", root},
               {"/.well-known/openid-configuration", openid},
               {"/openid/v1/jwks", keys}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    bool same = known[i].path[1] ? is_path(ex->path, known[i].path) : !strcmp(ex->path, "/");
    if (!same) continue;
    if (strcmp(ex->method, "GET") && !ex->is_head)
      gw_status(ex, 405, "MethodNotAllowed", "{}", "the server does not allow this method on the requested resource");
    else
      known[i].fn(ex);
    return true;
  }
  return false;
}

/* --- discovery and OpenAPI
 * ----------------------------------------------------------------------------------------------------- */

static void ask_document(gw_ex_t *ex, const char *topic, const char *what, kg_reply_fn fn) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "what", what);
  kg_pack_kv_view(&p, "user", kg_view_of(ex->user->doc));
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  gw_api_call(ex, topic, args, NULL, false, fn);
  kg_doc_unref(args);
}

/* The answer with a tag made of its bytes, or 304 if the client has just these. Takes over b's memory. */
static void answer_tagged(gw_ex_t *ex, const char *type, kube_buf_t *b) {
  unsigned char digest[32];
  char tag[70] = "\"";
  unsigned n = 0;
  const char *known = gw_header(ex, "if-none-match");
  if (b->failed || !EVP_Digest(b->p, b->n, digest, &n, EVP_sha256(), NULL)) {
    gw_respond(ex, 200, type, b);
    return;
  }
  for (unsigned i = 0; i < n; i++) snprintf(tag + 1 + 2 * i, 3, "%02X", digest[i]);
  strcat(tag, "\"");
  gw_add_header(ex, "etag", tag);
  if (known && !strcmp(known, tag)) {
    kube_buf_free(b);
    gw_respond(ex, 304, NULL, NULL);
    return;
  }
  gw_respond(ex, 200, type, b);
}

static void on_discovery(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  ex->call = 0;
  if (kg_msg_type(m) != KG_MSG_REPLY || !kg_msg_doc(m, 0)) {
    if (kg_msg_code(m) == 404)
      gw_respond_text(ex, 404, "404 page not found\n");
    else
      gw_status_of(ex, m);
    return;
  }
  kg_view_t v = kg_view_of(kg_msg_doc(m, 0));
  gw_add_header(ex, "vary", "Accept");
  if (ex->form != GW_FORM_DISCOVERY) {
    gw_answer_json(ex, 200, "application/json", v);
    return;
  }
  kube_buf_t b = {0};
  kube_json_write(&b, v);
  gw_add_header(ex, "cache-control", "public");
  answer_tagged(ex, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", &b);
}

void gw_discovery(gw_ex_t *ex) {
  if (strcmp(ex->method, "GET") && !ex->is_head) {
    gw_status(ex, 405, "MethodNotAllowed", "{}", "the server does not allow this method on the requested resource");
    return;
  }
  size_t n = strlen(ex->path);
  while (n > 1 && ex->path[n - 1] == '/') ex->path[--n] = 0;
  bool top = !strcmp(ex->path, "/api") || !strcmp(ex->path, "/apis");
  if (ex->form == GW_FORM_DISCOVERY && !top) ex->form = GW_FORM_JSON;
  const char *what = ex->form != GW_FORM_DISCOVERY ? ex->path
                     : !strcmp(ex->path, "/api")   ? "aggregated-api"
                                                   : "aggregated-apis";
  if (ex->form == GW_FORM_NONE)
    gw_status(ex, 406, "NotAcceptable", NULL, "only the following media types are accepted: application/json");
  else
    ask_document(ex, "api.discovery", what, on_discovery);
}

/* A URL with a hash names one content, which clients may keep for ever. False: it is another one by now, and the answer
 * said where. */
static bool hash_holds(gw_ex_t *ex, kg_str_t now) {
  char *hash = gw_query(ex, "hash", NULL), to[400];
  bool asked = hash && *hash, same = asked && kg_str_is(now, hash);
  free(hash);
  if (!asked || !now.n) return true;
  if (same) {
    gw_add_header(ex, "cache-control", "public, immutable");
    return true;
  }
  snprintf(to, sizeof to, "%s?hash=" KG_STR_FMT, ex->path, KG_STR_ARG(now));
  gw_add_header(ex, "location", to);
  gw_respond(ex, 301, NULL, NULL);
  return false;
}

static void on_openapi(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  ex->call = 0;
  if (gw_answers_refuse(ex)) return;
  if (kg_msg_type(m) != KG_MSG_REPLY || !kg_msg_doc(m, 0)) {
    if (kg_msg_code(m) == 404)
      gw_respond_text(ex, 404, "404 page not found\n");
    else
      gw_status_of(ex, m);
    return;
  }
  kube_buf_t b = {0};
  if (ex->form == GW_FORM_OPENAPI && !strcmp(ex->path, "/openapi/v2")) {
    gw_openapi_protobuf(&b, kg_view_of(kg_msg_doc(m, 0)));
    answer_tagged(ex, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", &b);
    return;
  }
  if (!hash_holds(ex, kg_view_str(kg_view_get(kg_msg_args(m), "hash")))) return;
  kube_json_write(&b, kg_view_of(kg_msg_doc(m, 0)));
  answer_tagged(ex, "application/json", &b);
}

void gw_openapi(gw_ex_t *ex) {
  if (ex->form == GW_FORM_NONE) {
    gw_status(ex, 406, "NotAcceptable", NULL, "only the following media types are accepted: application/json");
    return;
  }
  if (gw_answers_refuse(ex)) return;
  size_t skip = strlen("/openapi/");
  if (strlen(ex->path) <= skip)
    gw_respond_text(ex, 404, "404 page not found\n");
  else
    ask_document(ex, "api.openapi", ex->path + skip, on_openapi);
}
