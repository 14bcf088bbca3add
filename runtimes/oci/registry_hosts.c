/*
 * Where an image is asked for, and how: mirrors, credentials and certificates as k3s' registries.yaml says them
 *   mirrors: {HOST or "*": {endpoint: [URL, ...], rewrite: {REGEX: TEXT}}}
 *   configs: {HOST or "*": {auth: {username, password, auth}, tls: {ca_file, cert_file, key_file,
 * insecure_skip_verify}}} Mirrors are tried in their order, the registry itself last. Read anew for each pull.
 */
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <unistd.h>

#include "kogge/yaml.h"
#include "kube/values.h"
#include "oci.h"
#include "registry.h"

#define USUAL_FILE "/etc/kogge/registries.yaml"
enum { MAX_FILE = 1 << 20, GROUPS = 10 };

static bool on_loopback(const char *host) {
  return !strncmp(host, "localhost", 9) || !strncmp(host, "127.", 4) || !strncmp(host, "[::1]", 5);
}

static bool is_insecure(const job_t *j, const char *host) {
  for (kg_iter_t it = kg_iter(kg_view_get(kg_config(j->im->ctx), "insecureRegistries")); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(it.value), host)) return true;
  return on_loopback(host);
}

/* --- the file ---------------------------------------------------------------------------------------------------- */

static kg_doc_t *read_file(const char *path, kg_error_t *err) {
  size_t n;
  char *text = read_whole(path, MAX_FILE, &n);
  kg_doc_t *doc = text ? kg_yaml_doc(path, text, n, err) : NULL;
  if (!text) kg_error_set(err, KG_EINVAL, "%s cannot be read: %s", path, strerror(errno));
  free(text);
  return doc;
}

/* -1: what is said cannot be used. *doc NULL: nothing is said. */
static int read_settings(const images_t *im, kg_doc_t **doc, kg_error_t *err) {
  kg_view_t said = kg_view_get(kg_config(im->ctx), "registries");
  char *path = kg_view_type(said) == KG_V_STR ? kg_str_dup(kg_view_str(said)) : NULL;
  *doc = NULL;
  if (kg_view_type(said) == KG_V_MAP)
    *doc = kg_doc_copy(said.p, kg_view_span(said));
  else if (path || access(USUAL_FILE, F_OK) == 0)
    *doc = read_file(path ? path : USUAL_FILE, err);
  else
    return 0;
  free(path);
  return *doc ? 0 : -1;
}

/* What stands under the host, or else under "*". */
static kg_view_t entry_of(kg_view_t map, const char *host) {
  kg_view_t v = kg_view_get(map, host);
  return kg_view_there(v) ? v : kg_view_get(map, "*");
}

/* --- names of the repository at a mirror -------------------------------------------------------------------------- */

/* `text` with $1 ... $9 replaced by what the groups matched in `repo`. */
static void substitute(kube_buf_t *out, const char *repo, const regmatch_t *m, kg_str_t text) {
  kube_buf_add(out, repo, (size_t)m[0].rm_so);
  for (size_t i = 0; i < text.n; i++) {
    int group = text.p[i] == '$' && i + 1 < text.n ? text.p[i + 1] - '0' : -1;
    if (group < 0 || group >= GROUPS)
      kube_buf_add(out, text.p + i, 1);
    else if (i++, m[group].rm_so >= 0)
      kube_buf_add(out, repo + m[group].rm_so, (size_t)(m[group].rm_eo - m[group].rm_so));
  }
  kube_buf_addz(out, repo + m[0].rm_eo);
}

/* The first rule that matches. malloc'ed; NULL with a sentence. */
static char *rewritten(kg_view_t rules, const char *repo, kg_error_t *err) {
  for (kg_iter_t it = kg_iter(rules); kg_iter_next(&it);) {
    regex_t re;
    regmatch_t m[GROUPS];
    kube_buf_t out = {0};
    char *rule = kg_str_dup(kg_view_str(it.key));
    int bad = rule ? regcomp(&re, rule, REG_EXTENDED) : -1;
    if (bad) kg_error_set(err, KG_EINVAL, "registries: rewrite: \"%.200s\" is no regular expression", rule);
    free(rule);
    if (bad) return NULL;
    bool matches = regexec(&re, repo, GROUPS, m, 0) == 0;
    if (matches) substitute(&out, repo, m, kg_view_str(it.value));
    regfree(&re);
    if (!matches) continue;
    kube_buf_add(&out, "", 1);
    return out.p;
  }
  return strdup(repo);
}

/* --- endpoints ---------------------------------------------------------------------------------------------------- */

static int no_memory(kg_error_t *err) {
  return kg_error_set(err, KG_EINTERNAL, "out of memory");
}

static endpoint_t *endpoint_new(registry_t *r) {
  endpoint_t *grown = realloc(r->endpoints, (r->nendpoints + 1) * sizeof *grown);
  if (!grown) return NULL;
  r->endpoints = grown;
  return memset(&grown[r->nendpoints++], 0, sizeof *grown);
}

/* "https://host:port/path": without a path the registry's usual one. */
static int add_mirror(registry_t *r, kg_str_t url, kg_view_t rules, kg_error_t *err) {
  const char *scheme = url.n > 3 ? memmem(url.p, url.n, "://", 3) : NULL;
  kg_str_t rest = scheme ? (kg_str_t){scheme + 3, url.n - (size_t)(scheme + 3 - url.p)} : url;
  while (rest.n && rest.p[rest.n - 1] == '/') rest.n--;
  const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
  size_t nhost = slash ? (size_t)(slash - rest.p) : rest.n;
  bool http = scheme && scheme - url.p == 4 && !memcmp(url.p, "http", 4);
  if (!nhost || (scheme && !http && !(scheme - url.p == 5 && !memcmp(url.p, "https", 5))))
    return kg_error_set(err, KG_EINVAL, "registries: endpoint: \"%.*s\" is no address of a registry", CUT_ARG(url));
  char *repo = rewritten(rules, r->repo, err);
  endpoint_t *e = repo ? endpoint_new(r) : NULL;
  if (!e) {
    if (repo) no_memory(err);
    free(repo);
    return -1;
  }
  e->host = strndup(rest.p, nhost);
  e->repo = repo;
  if (!scheme) http = e->host && is_insecure(r->job, e->host);
  int n = asprintf(&e->base, "http%s://%.*s%s/%s", http ? "" : "s", (int)rest.n, rest.p, slash ? "" : "/v2", repo);
  if (asprintf(&e->query, "?ns=%s", r->host) < 0) e->query = NULL;
  if (n < 0) e->base = NULL;
  return e->host && e->base && e->query ? 0 : no_memory(err);
}

static int add_registry(registry_t *r, kg_error_t *err) {
  bool hub = !strcmp(r->host, "docker.io");
  endpoint_t *e = endpoint_new(r);
  if (!e) return no_memory(err);
  const char *scheme = is_insecure(r->job, r->host) ? "http" : "https", *host = hub ? "registry-1.docker.io" : r->host;
  *e = (endpoint_t){.host = strdup(r->host), .repo = strdup(r->repo), .query = strdup(""), .own = true};
  if (asprintf(&e->base, "%s://%s/v2/%s", scheme, host, r->repo) < 0) e->base = NULL;
  return e->host && e->repo && e->query && e->base ? 0 : no_memory(err);
}

int registry_hosts(registry_t *r, kg_error_t *err) {
  if (read_settings(r->job->im, &r->settings, err) < 0) return -1;
  kg_view_t mirror = entry_of(kg_view_get(kg_view_of(r->settings), "mirrors"), r->host);
  for (kg_iter_t it = kg_iter(kg_view_get(mirror, "endpoint")); kg_iter_next(&it);)
    if (add_mirror(r, kg_view_str(it.value), kg_view_get(mirror, "rewrite"), err) < 0) return -1;
  if (add_registry(r, err) < 0) return -1;
  registry_at(r, 0);
  return 0;
}

/* --- credentials, certificates ------------------------------------------------------------------------------------ */

static void take_auth(registry_t *r, kg_view_t auth) {
  kg_str_t user = kg_view_str(kg_view_get(auth, "username")), password = kg_view_str(kg_view_get(auth, "password"));
  kg_str_t coded = kg_view_str(kg_view_get(auth, "auth"));
  size_t n = 0;
  char *pair = !user.n && coded.n ? kube_base64_decode(coded, &n) : NULL, *colon = pair ? memchr(pair, ':', n) : NULL;
  if (colon) {
    user = (kg_str_t){pair, (size_t)(colon - pair)};
    password = (kg_str_t){colon + 1, n - (size_t)(colon + 1 - pair)};
  }
  if (user.n) r->user = kg_str_dup(user);
  if (user.n) r->password = password.n ? kg_str_dup(password) : strdup("");
  free(pair);
}

/* What a pod brings is for the registry that its image names, not for mirrors of it. */
void registry_at(registry_t *r, size_t i) {
  const endpoint_t *e = &r->endpoints[i];
  kg_view_t own = kg_view_of(r->job->auth);
  kg_view_t config = entry_of(kg_view_get(kg_view_of(r->settings), "configs"), e->host);
  free(r->user);
  free(r->password);
  free(r->authorization);
  r->user = r->password = r->authorization = NULL;
  r->refusal = (kg_error_t){0};
  r->at = i;
  r->tls = kg_view_get(config, "tls");
  if (e->own) take_auth(r, own);
  if (!r->user) take_auth(r, kg_view_get(config, "auth"));
}

static void set_file(registry_t *r, CURLoption option, const char *key) {
  char *path = text_of(r->tls, key);
  if (path) curl_easy_setopt(r->curl, option, path); /* which copies it */
  free(path);
}

void registry_tls(registry_t *r) {
  bool trusting = kg_view_bool(kg_view_get(r->tls, "insecure_skip_verify"), false);
  set_file(r, CURLOPT_CAINFO, "ca_file");
  set_file(r, CURLOPT_SSLCERT, "cert_file");
  set_file(r, CURLOPT_SSLKEY, "key_file");
  if (!trusting) return;
  curl_easy_setopt(r->curl, CURLOPT_SSL_VERIFYPEER, 0L);
  curl_easy_setopt(r->curl, CURLOPT_SSL_VERIFYHOST, 0L);
}

bool registry_next(registry_t *r, kg_error_t *err) {
  static const int ours[] = {KG_ECANCELLED, KG_EDEADLINE, KG_EFULL, KG_EINTERNAL}; /* not better elsewhere */
  for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
    if (err->code == ours[i]) return false;
  if (r->at + 1 >= r->nendpoints) {
    kg_error_t last = *err;
    if (r->before.code) kg_error_set(err, last.code, "%s (before: %s)", last.text, r->before.text);
    return false;
  }
  job_say(r->job, "%s; %s is asked", err->text, r->endpoints[r->at + 1].host);
  kg_error_t before = r->before;
  kg_error_set(&r->before, err->code, "%s%s%s", before.text, before.code ? "; " : "", err->text);
  registry_at(r, r->at + 1);
  *err = (kg_error_t){0};
  return true;
}

void registry_hosts_free(registry_t *r) {
  for (size_t i = 0; i < r->nendpoints; i++) {
    free(r->endpoints[i].host);
    free(r->endpoints[i].repo);
    free(r->endpoints[i].base);
    free(r->endpoints[i].query);
  }
  free(r->endpoints);
  kg_doc_unref(r->settings);
}
