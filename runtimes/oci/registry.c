#include "registry.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_MANIFEST = 4 << 20, TRIES = 4, CONNECT_S = 20, STALL_S = 60 };

#define ACCEPT                                                                                                         \
  "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "                      \
  "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"

/* --- names ------------------------------------------------------------------------------------------------------- */

static bool on_loopback(const char *host) {
  return !strncmp(host, "localhost", 9) || !strncmp(host, "127.", 4) || !strncmp(host, "[::1]", 5);
}

static bool is_insecure(const job_t *j, const char *host) {
  for (kg_iter_t it = kg_iter(kg_view_get(kg_config(j->im->ctx), "insecureRegistries")); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(it.value), host)) return true;
  return on_loopback(host);
}

static int split_name(registry_t *r, const char *full, kg_error_t *err) {
  const char *slash = strchr(full, '/'), *at = strchr(full, '@'), *colon = strrchr(full, ':');
  const char *end = at ? at : colon;
  if (!slash || !end || end < slash) return kg_error_set(err, KG_EINVAL, "%s is no image name in full", full);
  r->host = strndup(full, (size_t)(slash - full));
  r->repo = strndup(slash + 1, (size_t)(end - slash - 1));
  r->reference = strdup(end + 1);
  const char *server = r->host && !strcmp(r->host, "docker.io") ? "registry-1.docker.io" : r->host;
  bool ok = r->host && r->repo && r->reference &&
            asprintf(&r->base, "%s://%s/v2/%s", is_insecure(r->job, r->host) ? "http" : "https", server, r->repo) > 0;
  return ok ? 0 : kg_error_set(err, KG_EINTERNAL, "out of memory");
}

static char *dup_of(kg_view_t v, const char *key) {
  kg_str_t s = kg_view_str(kg_view_get(v, key));
  return s.n ? kg_str_dup(s) : NULL;
}

registry_t *registry_open(job_t *j, const char *full, kg_view_t auth, kg_error_t *err) {
  registry_t *r = calloc(1, sizeof *r);
  if (!r) return NULL;
  r->job = j;
  r->user = dup_of(auth, "username");
  r->password = dup_of(auth, "password");
  r->curl = curl_easy_init();
  if (r->curl && split_name(r, full, err) == 0) return r;
  if (!r->curl) kg_error_set(err, KG_EINTERNAL, "libcurl cannot be used");
  registry_close(r);
  return NULL;
}

void registry_close(registry_t *r) {
  char *const owned[] = {r->host,     r->repo,          r->reference, r->base, r->user,
                         r->password, r->authorization, r->challenge, r->type};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
  if (r->curl) curl_easy_cleanup(r->curl);
  free(r);
}

/* --- one request ------------------------------------------------------------------------------------------------- */

static size_t on_header(char *p, size_t size, size_t n, void *arg) {
  registry_t *r = arg;
  size_t len = size * n;
  while (len && (p[len - 1] == '\r' || p[len - 1] == '\n')) len--;
  char **to = len > 17 && !strncasecmp(p, "www-authenticate:", 17) ? &r->challenge
              : len > 13 && !strncasecmp(p, "content-type:", 13)   ? &r->type
                                                                   : NULL;
  if (to) {
    char *value = strndup(memchr(p, ':', len) + 1, len - (size_t)((char *)memchr(p, ':', len) + 1 - p));
    free(*to);
    *to = value;
  }
  return size * n;
}

static size_t into_text(char *p, size_t size, size_t n, void *arg) {
  kube_buf_t *b = arg;
  if (b->n + size * n > MAX_MANIFEST) return 0;
  kube_buf_add(b, p, size * n);
  return b->failed ? 0 : size * n;
}

static int on_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t a, curl_off_t b) {
  (void)total, (void)now, (void)a, (void)b;
  return atomic_load(&((registry_t *)arg)->job->stop);
}

static void forget_answer(registry_t *r) {
  free(r->challenge);
  free(r->type);
  r->challenge = r->type = NULL;
  r->code = 0;
}

/* Redirects are followed without the header: blobs often lie on another host that must not see it. */
static CURLcode perform(registry_t *r, const char *url, curl_write_callback write, void *to, curl_off_t from,
                        const char *accept) {
  struct curl_slist *headers = accept ? curl_slist_append(NULL, accept) : NULL;
  if (r->authorization) headers = curl_slist_append(headers, r->authorization);
  forget_answer(r);
  curl_easy_reset(r->curl);
  curl_easy_setopt(r->curl, CURLOPT_URL, url);
  curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(r->curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(r->curl, CURLOPT_MAXREDIRS, 8L);
  curl_easy_setopt(r->curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(r->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
  curl_easy_setopt(r->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(r->curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
  curl_easy_setopt(r->curl, CURLOPT_USERAGENT, "kogge");
  curl_easy_setopt(r->curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(r->curl, CURLOPT_HEADERDATA, r);
  curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, write);
  curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, to);
  curl_easy_setopt(r->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(r->curl, CURLOPT_XFERINFODATA, r);
  curl_easy_setopt(r->curl, CURLOPT_NOPROGRESS, 0L);
  if (from) curl_easy_setopt(r->curl, CURLOPT_RESUME_FROM_LARGE, from);
  CURLcode done = curl_easy_perform(r->curl);
  curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &r->code);
  curl_slist_free_all(headers);
  return done;
}

/* --- authentication (distribution, token specification) ---------------------------------------------------------- */

/* key="value" of a challenge; malloc'ed. */
static char *challenge_value(const char *challenge, const char *key) {
  char want[40];
  snprintf(want, sizeof want, "%s=\"", key);
  const char *at = strcasestr(challenge, want);
  if (!at) return NULL;
  at += strlen(want);
  return strndup(at, strcspn(at, "\""));
}

static int set_authorization(registry_t *r, const char *scheme, const char *value) {
  free(r->authorization);
  return asprintf(&r->authorization, "Authorization: %s %s", scheme, value) > 0 ? 0 : (r->authorization = NULL, -1);
}

static int basic(registry_t *r) {
  char pair[600], coded[900];
  if (!r->user || !r->password) return -1;
  int n = snprintf(pair, sizeof pair, "%s:%s", r->user, r->password);
  if (n >= (int)sizeof pair) return -1;
  EVP_EncodeBlock((unsigned char *)coded, (unsigned char *)pair, n);
  return set_authorization(r, "Basic", coded);
}

static int take_token(registry_t *r, const kube_buf_t *answer) {
  kg_doc_t *doc = kube_json_parse(answer->p ? answer->p : "", answer->n, NULL, NULL, NULL);
  char *token = dup_of(kg_view_of(doc), "token");
  if (!token) token = dup_of(kg_view_of(doc), "access_token");
  int done = token ? set_authorization(r, "Bearer", token) : -1;
  free(token);
  kg_doc_unref(doc);
  return done;
}

static int bearer(registry_t *r, const char *challenge) {
  char *realm = challenge_value(challenge, "realm"), *service = challenge_value(challenge, "service"), *url = NULL;
  char *known = service ? curl_easy_escape(r->curl, service, 0) : NULL;
  kube_buf_t answer = {0};
  int done = -1;
  if (realm && asprintf(&url, "%s?service=%s&scope=repository:%s:pull", realm, known ? known : "", r->repo) > 0) {
    free(r->authorization);
    r->authorization = NULL;
    basic(r); /* who has credentials shows them to the token service */
    bool ok = perform(r, url, into_text, &answer, 0, NULL) == CURLE_OK && r->code == 200;
    done = ok ? take_token(r, &answer) : -1;
  }
  kube_buf_free(&answer);
  curl_free(known);
  free(realm);
  free(service);
  free(url);
  return done;
}

/* Answers the registry's challenge; -1: it cannot be. */
static int authenticate(registry_t *r) {
  char *challenge = r->challenge ? strdup(r->challenge + strspn(r->challenge, " ")) : NULL;
  int done = !challenge                             ? -1
             : !strncasecmp(challenge, "bearer", 6) ? bearer(r, challenge)
             : !strncasecmp(challenge, "basic", 5)  ? basic(r)
                                                    : -1;
  free(challenge);
  return done;
}

/* --- what registries say no with --------------------------------------------------------------------------------- */

static int refused(const registry_t *r, const char *what, CURLcode code, kg_error_t *err) {
  if (code == CURLE_ABORTED_BY_CALLBACK) return kg_error_set(err, KG_ECANCELLED, "kogge stops");
  if (code != CURLE_OK && code != CURLE_WRITE_ERROR)
    return kg_error_set(err, KG_EUNAVAILABLE, "%s: %s", r->base, curl_easy_strerror(code));
  if (r->code == 404) return kg_error_set(err, KG_ENOTFOUND, "%s/%s:%s: not found", r->host, r->repo, what);
  if (r->code == 401 || r->code == 403)
    return kg_error_set(err, KG_EDENIED,
                        "pull access denied, repository does not exist or may require authorization: server message: "
                        "insufficient_scope: authorization failed (HTTP %ld)",
                        r->code);
  return kg_error_set(err, KG_EUNAVAILABLE, "unexpected status from GET request to %s: %ld", r->base, r->code);
}

static bool worth_another(const registry_t *r, CURLcode code) {
  if (atomic_load(&r->job->stop) || code == CURLE_ABORTED_BY_CALLBACK) return false;
  if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT) return false; /* the caller has a backoff */
  return code != CURLE_OK || r->code == 429 || r->code >= 500;
}

static void pause_before(const registry_t *r, int attempt) {
  for (int i = 0; i < (5 << attempt) && !atomic_load(&r->job->stop); i++) usleep(100000);
}

/* --- manifests, blobs -------------------------------------------------------------------------------------------- */

char *registry_manifest(registry_t *r, const char *reference, size_t *n, kg_error_t *err) {
  char *url = NULL;
  kube_buf_t text = {0};
  CURLcode code = CURLE_OK;
  if (asprintf(&url, "%s/manifests/%s", r->base, reference) < 0) return NULL;
  bool asked = false;
  for (int attempt = 0; attempt < TRIES; attempt++) {
    text.n = 0;
    code = perform(r, url, into_text, &text, 0, ACCEPT);
    if (code == CURLE_OK && r->code == 200) break;
    if (code == CURLE_OK && r->code == 401 && !asked && (asked = true) && authenticate(r) == 0) continue;
    if (!worth_another(r, code)) break;
    pause_before(r, attempt);
  }
  free(url);
  if (code == CURLE_OK && r->code == 200 && !text.failed) {
    *n = text.n;
    return text.p;
  }
  refused(r, reference, code, err);
  kube_buf_free(&text);
  return NULL;
}

static size_t into_file(char *p, size_t size, size_t n, void *arg) {
  return fwrite(p, size, n, arg) * size;
}

static CURLcode fetch(registry_t *r, const char *url, const char *file) {
  FILE *f = fopen(file, "ae");
  if (!f) return CURLE_WRITE_ERROR;
  long have = ftell(f);
  CURLcode code = perform(r, url, into_file, f, have > 0 ? have : 0, NULL);
  if (fclose(f) != 0 && code == CURLE_OK) code = CURLE_WRITE_ERROR;
  bool whole = have > 0 && r->code == 200; /* the registry began anew instead of going on */
  if (r->code >= 300 || whole || code == CURLE_RANGE_ERROR) unlink(file);
  return whole ? CURLE_PARTIAL_FILE : code;
}

int registry_blob(registry_t *r, kg_str_t digest, const char *file, kg_error_t *err) {
  char *url = NULL, hex[HEX + 1];
  CURLcode code = CURLE_OK;
  if (!image_is_digest(digest))
    return kg_error_set(err, KG_EINVAL, "the manifest names a part by \"" KG_STR_FMT "\", which is no SHA-256 digest",
                        KG_STR_ARG(digest));
  if (asprintf(&url, "%s/blobs/" KG_STR_FMT, r->base, KG_STR_ARG(digest)) < 0) return -1;
  bool asked = false, good = false;
  for (int attempt = 0; attempt < TRIES && !good; attempt++) {
    code = fetch(r, url, file);
    good = code == CURLE_OK && (r->code == 200 || r->code == 206);
    if (code == CURLE_WRITE_ERROR) break;
    if (code == CURLE_OK && r->code == 401 && !asked && (asked = true) && authenticate(r) == 0) continue;
    if (good || !worth_another(r, code)) break;
    pause_before(r, attempt);
  }
  free(url);
  if (code == CURLE_WRITE_ERROR)
    return kg_error_set(err, errno == ENOSPC ? KG_EFULL : KG_EINTERNAL, "%s cannot be written: %s", file,
                        strerror(errno));
  if (!good) return refused(r, "blob", code, err);
  if (file_digest(file, hex, err) < 0) return -1;
  if (!memcmp(hex, digest.p + 7, HEX)) return 0;
  return kg_error_set(err, KG_EUNAVAILABLE, "what came for " KG_STR_FMT " is damaged: its digest is sha256:%s",
                      KG_STR_ARG(digest), hex);
}
