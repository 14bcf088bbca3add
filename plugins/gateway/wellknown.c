/* What is no resource: version, health, metrics, discovery, OpenAPI. */
#include <dirent.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

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

/* --- health: the process lives if this runs; it is ready when the api role answers
 * ------------------------------------------- */

static void on_ready(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  ex->call = 0;
  bool ok = kg_msg_type(m) == KG_MSG_REPLY, verbose = gw_query_bool(ex, "verbose") || !ok;
  kube_buf_t b = {0};
  if (verbose) {
    kube_buf_fmt(&b, "[+]ping ok\n%s\n", ok ? "[+]api ok" : "[-]api failed");
    kube_buf_fmt(&b, "%s check %s\n", ex->path + 1, ok ? "passed" : "failed");
  } else
    kube_buf_addz(&b, "ok");
  gw_respond(ex, ok ? 200 : 500, "text/plain; charset=utf-8", &b);
}

static void ready(gw_ex_t *ex) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "g", "");
  kg_pack_kv_str(&p, "v", "v1");
  kg_pack_kv_str(&p, "r", "pods");
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_request_t r = {
      .service = "api", .topic = "api.resolve", .args = args, .timeout_ms = 2000, .fn = on_ready, .arg = ex};
  ex->call = kg_send(ex->conn->gw->ctx, &r);
  kg_doc_unref(args);
}

static void alive(gw_ex_t *ex) {
  gw_respond_text(ex, 200, gw_query_bool(ex, "verbose") ? "[+]ping ok\nlivez check passed\n" : "ok");
}

static void root(gw_ex_t *ex) {
  kube_buf_t b = {0};
  kube_buf_addz(&b, "{\n  \"paths\": [\n    \"/api\",\n    \"/api/v1\",\n    \"/apis\",\n    \"/healthz\",\n    "
                    "\"/livez\",\n    \"/metrics\",\n"
                    "    \"/openapi/v2\",\n    \"/openapi/v3\",\n    \"/readyz\",\n    \"/version\"\n  ]\n}");
  gw_respond(ex, 200, "application/json", &b);
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
  static const struct {
    const char *path;
    void (*fn)(gw_ex_t *ex);
  } known[] = {{"/version", version},
               {"/healthz", ready},
               {"/readyz", ready},
               {"/livez", alive},
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
  bool aggregated = ex->form == GW_FORM_DISCOVERY;
  gw_add_header(ex, "vary", "Accept");
  gw_answer_json(
      ex, 200, aggregated ? "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" : "application/json",
      kg_view_of(kg_msg_doc(m, 0)));
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

static void on_openapi(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
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
  char *hash = gw_query(ex, "hash", NULL);
  if (hash && *hash)
    gw_add_header(ex, "cache-control", "public, immutable"); /* named by its content: clients may keep it */
  free(hash);
  if (ex->form == GW_FORM_OPENAPI && !strcmp(ex->path, "/openapi/v2")) {
    kube_buf_t b = {0};
    gw_openapi_protobuf(&b, kg_view_of(kg_msg_doc(m, 0)));
    gw_respond(ex, 200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", &b);
    return;
  }
  gw_answer_json(ex, 200, "application/json", kg_view_of(kg_msg_doc(m, 0)));
}

void gw_openapi(gw_ex_t *ex) {
  if (ex->form == GW_FORM_NONE) {
    gw_status(ex, 406, "NotAcceptable", NULL, "only the following media types are accepted: application/json");
    return;
  }
  size_t skip = strlen("/openapi/");
  if (strlen(ex->path) <= skip)
    gw_respond_text(ex, 404, "404 page not found\n");
  else
    ask_document(ex, "api.openapi", ex->path + skip, on_openapi);
}

/* --- metrics
 * --------------------------------------------------------------------------------------------------------------------
 */

void gw_count(gw_ex_t *ex, int code) {
  gw_t *gw = ex->conn->gw;
  const char *verb = ex->verb && *ex->verb ? ex->verb : "other";
  if (ex->counted) return;
  ex->counted = true;
  gw_metric_t *m = gw->metrics;
  size_t max = sizeof gw->metrics / sizeof *gw->metrics;
  for (; m < gw->metrics + gw->nmetrics; m++)
    if (m->code == code && !strcmp(m->verb, verb)) break;
  if (m == gw->metrics + max) return;
  if (m == gw->metrics + gw->nmetrics) {
    gw->nmetrics++;
    m->code = code;
    snprintf(m->verb, sizeof m->verb, "%s", verb);
    for (char *s = m->verb; *s; s++)
      if (*s == '"' || *s == '\\' || *s < ' ') *s = '_';
  }
  m->count++;
  m->us += (uint64_t)(kg_now_us(gw->ctx) - ex->started_us);
}

static void process_metrics(kube_buf_t *b) {
  struct rusage ru = {0};
  unsigned long pages = 0, ignored;
  getrusage(RUSAGE_SELF, &ru);
  FILE *f = fopen("/proc/self/statm", "re");
  if (f && fscanf(f, "%lu %lu", &ignored, &pages) != 2) pages = 0;
  if (f) fclose(f);
  size_t fds = 0;
  DIR *d = opendir("/proc/self/fd");
  while (d && readdir(d)) fds++;
  if (d) closedir(d);
  kube_buf_fmt(b, "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %llu\n",
               (unsigned long long)pages * (unsigned long long)sysconf(_SC_PAGESIZE));
  kube_buf_fmt(b, "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.6f\n",
               (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
                   (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6);
  kube_buf_fmt(b, "# TYPE process_open_fds gauge\nprocess_open_fds %zu\n", fds > 3 ? fds - 3 : 0);
}

void gw_metrics_page(gw_ex_t *ex) {
  gw_t *gw = ex->conn->gw;
  kube_buf_t b = {0};
  kube_buf_addz(&b, "# TYPE apiserver_request_total counter\n");
  for (const gw_metric_t *m = gw->metrics; m < gw->metrics + gw->nmetrics; m++)
    kube_buf_fmt(&b, "apiserver_request_total{verb=\"%s\",code=\"%d\"} %llu\n", m->verb, m->code,
                 (unsigned long long)m->count);
  kube_buf_addz(&b, "# TYPE kogge_request_seconds_total counter\n");
  for (const gw_metric_t *m = gw->metrics; m < gw->metrics + gw->nmetrics; m++)
    kube_buf_fmt(&b, "kogge_request_seconds_total{verb=\"%s\",code=\"%d\"} %.6f\n", m->verb, m->code,
                 (double)m->us / 1e6);
  kube_buf_fmt(&b, "# TYPE kogge_gateway_connections gauge\nkogge_gateway_connections %zu\n", gw->nconns);
  kube_buf_fmt(&b, "# TYPE kogge_gateway_exchanges gauge\nkogge_gateway_exchanges %zu\n", gw->nstreams);
  kube_buf_fmt(&b, "# TYPE kogge_gateway_bad_requests_total counter\nkogge_gateway_bad_requests_total %llu\n",
               (unsigned long long)gw->bad_requests);
  process_metrics(&b);
  gw_respond(ex, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}
