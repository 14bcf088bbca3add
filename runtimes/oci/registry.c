#include "registry.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_TEXT = 4 << 20, MAX_REFUSAL = 64 << 10, MAX_HEAD = 128 << 10, MAX_TOKEN = 64 << 10 };
enum { TRIES = 4, MAX_REDIRECTS = 8, CONNECT_S = 20, STALL_S = 60, SLOWEST = 1024 /* bytes a second, for STALL_S */ };

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

/* Where a body goes, and how much of it at most. */
typedef struct sink {
  registry_t *r;
  kube_buf_t *text; /* or */
  FILE *file;
  int64_t room;
  bool over; /* more came */
  int why;   /* errno of a write that failed */
} sink_t;

static size_t on_header(char *p, size_t size, size_t n, void *arg) {
  registry_t *r = arg;
  size_t len = size * n;
  if ((r->head += len) > MAX_HEAD) return 0;
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

static long status_now(const registry_t *r) {
  long code = 0;
  curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &code);
  return code;
}

/* What a refusal has to say is not kept. */
static size_t on_body(char *p, size_t size, size_t n, void *arg) {
  sink_t *s = arg;
  n *= size;
  if (status_now(s->r) >= 300) return n;
  if ((int64_t)n > s->room) return s->over = true, 0;
  s->room -= (int64_t)n;
  if (s->text) return kube_buf_add(s->text, p, n), s->text->failed ? 0 : n;
  if (fwrite(p, 1, n, s->file) == n) return n;
  return s->why = errno, 0;
}

/* Also sees bodies of redirects, which libcurl throws away itself: they, too, must end. */
static int on_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t a, curl_off_t b) {
  const registry_t *r = arg;
  (void)total, (void)a, (void)b;
  return atomic_load(&r->job->stop) || (now > MAX_REFUSAL && status_now(r) >= 300);
}

static long stall_seconds(const registry_t *r) {
  return (long)kg_view_int(kg_view_get(kg_config(r->job->im->ctx), "pullStallSeconds"), STALL_S);
}

static void forget_answer(registry_t *r) {
  free(r->challenge);
  free(r->type);
  r->challenge = r->type = NULL;
  r->code = 0;
  r->head = 0;
}

/* Redirects are followed without the header: blobs often lie on another host that must not see it. */
static CURLcode perform(registry_t *r, const char *url, sink_t *to, curl_off_t from, const char *accept) {
  struct curl_slist *headers = accept ? curl_slist_append(NULL, accept) : NULL;
  if (r->authorization) headers = curl_slist_append(headers, r->authorization);
  forget_answer(r);
  curl_easy_reset(r->curl);
  curl_easy_setopt(r->curl, CURLOPT_URL, url);
  curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(r->curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(r->curl, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
  curl_easy_setopt(r->curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(r->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
  curl_easy_setopt(r->curl, CURLOPT_LOW_SPEED_LIMIT, (long)SLOWEST);
  curl_easy_setopt(r->curl, CURLOPT_LOW_SPEED_TIME, stall_seconds(r));
  if (to->text) curl_easy_setopt(r->curl, CURLOPT_TIMEOUT, 2 * stall_seconds(r));
  curl_easy_setopt(r->curl, CURLOPT_USERAGENT, "kogge");
  curl_easy_setopt(r->curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(r->curl, CURLOPT_HEADERDATA, r);
  curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, to);
  curl_easy_setopt(r->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(r->curl, CURLOPT_XFERINFODATA, r);
  curl_easy_setopt(r->curl, CURLOPT_NOPROGRESS, 0L);
  if (from) curl_easy_setopt(r->curl, CURLOPT_RESUME_FROM_LARGE, from);
  CURLcode done = curl_easy_perform(r->curl);
  r->code = status_now(r);
  curl_slist_free_all(headers);
  bool cut = done == CURLE_ABORTED_BY_CALLBACK && !atomic_load(&r->job->stop) && r->code >= 400;
  return cut ? CURLE_OK : done; /* a refusal is one without its end, too */
}

/* A text of at most MAX_TEXT bytes; out is empty before. */
static CURLcode get_text(registry_t *r, const char *url, const char *accept, kube_buf_t *out, bool *over) {
  sink_t to = {.r = r, .text = out, .room = MAX_TEXT};
  out->n = 0;
  CURLcode code = perform(r, url, &to, 0, accept);
  *over = to.over;
  return code;
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
  char *pair = NULL;
  int n = r->user && r->password ? asprintf(&pair, "%s:%s", r->user, r->password) : -1;
  if (n < 0) return -1;
  unsigned char *coded = malloc(((size_t)n + 2) / 3 * 4 + 1);
  if (coded) EVP_EncodeBlock(coded, (unsigned char *)pair, n);
  int done = coded ? set_authorization(r, "Basic", (char *)coded) : -1;
  free(coded);
  free(pair);
  return done;
}

/* It becomes part of a header's line. */
static bool token_is_good(const char *token) {
  size_t n = strlen(token);
  for (size_t i = 0; i < n; i++)
    if (token[i] <= ' ' || token[i] > '~') return false;
  return n > 0 && n <= MAX_TOKEN;
}

static int take_token(registry_t *r, const kube_buf_t *answer) {
  kg_doc_t *doc = kube_json_parse(answer->p ? answer->p : "", answer->n, NULL, NULL, NULL);
  char *token = dup_of(kg_view_of(doc), "token");
  if (!token) token = dup_of(kg_view_of(doc), "access_token");
  int done = token && token_is_good(token)
                 ? set_authorization(r, "Bearer", token)
                 : kg_error_set(&r->refusal, KG_EUNAVAILABLE, "failed to authorize: the token service gave no token");
  free(token);
  kg_doc_unref(doc);
  return done;
}

static int ask_for_token(registry_t *r, const char *url) {
  kube_buf_t answer = {0};
  bool over;
  CURLcode code = get_text(r, url, NULL, &answer, &over);
  int done = code == CURLE_OK && r->code == 200 ? take_token(r, &answer) : -1;
  if (over)
    kg_error_set(&r->refusal, KG_EUNAVAILABLE, "failed to authorize: the token service's answer is over %d MiB",
                 MAX_TEXT >> 20);
  else if (code != CURLE_OK)
    kg_error_set(&r->refusal, KG_EUNAVAILABLE, "failed to authorize: failed to fetch a token: %s",
                 curl_easy_strerror(code));
  else if (r->code != 200 && r->code != 401 && r->code != 403)
    kg_error_set(&r->refusal, KG_EUNAVAILABLE, "failed to authorize: unexpected status from GET request to %.200s: %ld",
                 url, r->code);
  kube_buf_free(&answer);
  return done;
}

static int bearer(registry_t *r, const char *challenge) {
  char *realm = challenge_value(challenge, "realm"), *service = challenge_value(challenge, "service"), *url = NULL;
  char *known = service ? curl_easy_escape(r->curl, service, 0) : NULL;
  int done = -1;
  if (realm && asprintf(&url, "%s?service=%s&scope=repository:%s:pull", realm, known ? known : "", r->repo) > 0) {
    free(r->authorization);
    r->authorization = NULL;
    basic(r); /* who has credentials shows them to the token service */
    done = ask_for_token(r, url);
  }
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
  if (atomic_load(&r->job->stop)) return kg_error_set(err, KG_ECANCELLED, "kogge stops");
  if (r->refusal.code) return *err = r->refusal, -1;
  if (code == CURLE_OPERATION_TIMEDOUT)
    return kg_error_set(err, KG_EUNAVAILABLE, "%s: the registry sent less than %d bytes a second for %ld s", r->base,
                        SLOWEST, stall_seconds(r));
  if (code == CURLE_WRITE_ERROR && r->head > MAX_HEAD)
    return kg_error_set(err, KG_EUNAVAILABLE, "%s: the headers of the answer are over %d KiB", r->base, MAX_HEAD >> 10);
  if (code != CURLE_OK && code != CURLE_ABORTED_BY_CALLBACK)
    return kg_error_set(err, KG_EUNAVAILABLE, "%s: %s", r->base, curl_easy_strerror(code));
  if (r->code == 404) return kg_error_set(err, KG_ENOTFOUND, "%s/%s:%s: not found", r->host, r->repo, what);
  if (r->code == 401 || r->code == 403)
    return kg_error_set(err, KG_EDENIED,
                        "pull access denied, repository does not exist or may require authorization: server message: "
                        "insufficient_scope: authorization failed (HTTP %ld)",
                        r->code);
  return kg_error_set(err, KG_EUNAVAILABLE, "unexpected status from GET request to %s: %ld", r->base, r->code);
}

/* Those that another try does not make better, or that the caller's backoff is for. */
static bool worth_another(const registry_t *r, CURLcode code) {
  static const CURLcode last[] = {CURLE_ABORTED_BY_CALLBACK, CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT,
                                  CURLE_WRITE_ERROR,         CURLE_TOO_MANY_REDIRECTS,   CURLE_UNSUPPORTED_PROTOCOL,
                                  CURLE_OPERATION_TIMEDOUT};
  for (size_t i = 0; i < sizeof last / sizeof *last; i++)
    if (code == last[i]) return false;
  return !atomic_load(&r->job->stop) && (code != CURLE_OK || r->code == 429 || r->code >= 500);
}

static void pause_after(const registry_t *r, int attempt) {
  for (int i = 0; attempt + 1 < TRIES && i < (5 << attempt) && !atomic_load(&r->job->stop); i++) usleep(100000);
}

/* --- manifests, blobs -------------------------------------------------------------------------------------------- */

char *registry_manifest(registry_t *r, const char *reference, size_t *n, kg_error_t *err) {
  char *url = NULL;
  kube_buf_t text = {0};
  CURLcode code = CURLE_OK;
  if (asprintf(&url, "%s/manifests/%s", r->base, reference) < 0) return NULL;
  bool asked = false, over = false, good = false;
  for (int attempt = 0; attempt < TRIES; attempt++) {
    code = get_text(r, url, ACCEPT, &text, &over);
    if ((good = code == CURLE_OK && r->code == 200 && !text.failed)) break;
    if (code == CURLE_OK && r->code == 401 && !asked && (asked = true) && authenticate(r) == 0) continue;
    if (!worth_another(r, code)) break;
    pause_after(r, attempt);
  }
  free(url);
  if (good) {
    *n = text.n;
    return text.p;
  }
  if (over)
    kg_error_set(err, KG_EUNAVAILABLE, "the manifest %.100s is over %d MiB", reference, MAX_TEXT >> 20);
  else
    refused(r, reference, code, err);
  kube_buf_free(&text);
  return NULL;
}

/* One try; a file that cannot be gone on with is removed. */
static CURLcode fetch(registry_t *r, const char *url, int64_t size, const char *file, sink_t *to) {
  FILE *f = fopen(file, "ae");
  *to = (sink_t){.r = r, .file = f, .why = f ? 0 : errno};
  if (!f) return CURLE_WRITE_ERROR;
  long have = ftell(f);
  to->room = size - (have > 0 ? have : 0);
  CURLcode code = perform(r, url, to, have > 0 ? have : 0, NULL);
  if (fclose(f) != 0 && !to->why) to->why = errno, code = CURLE_WRITE_ERROR;
  bool whole = have > 0 && r->code == 200; /* the registry began anew instead of going on */
  if (r->code >= 300 || whole || code == CURLE_RANGE_ERROR) unlink(file);
  return whole ? CURLE_PARTIAL_FILE : code;
}

static int64_t file_size(const char *file) {
  struct stat st;
  return stat(file, &st) == 0 ? st.st_size : 0;
}

static int fetch_all(registry_t *r, const char *url, kg_str_t digest, int64_t size, const char *file, kg_error_t *err) {
  CURLcode code = CURLE_OK;
  bool asked = false, good = false;
  sink_t to;
  for (int attempt = 0; attempt < TRIES && !good; attempt++) {
    int64_t before = file_size(file);
    code = fetch(r, url, size, file, &to);
    good = code == CURLE_OK && (r->code == 200 || r->code == 206);
    if (code == CURLE_OK && r->code == 401 && !asked && (asked = true) && authenticate(r) == 0) continue;
    bool slow = code == CURLE_OPERATION_TIMEDOUT && file_size(file) > before; /* it may go on */
    if (good || !(slow || worth_another(r, code))) break;
    pause_after(r, attempt);
  }
  if (good) return 0;
  if (to.why)
    return kg_error_set(err, to.why == ENOSPC ? KG_EFULL : KG_EINTERNAL, "%s cannot be written: %s", file,
                        strerror(to.why));
  if (to.over)
    return kg_error_set(err, KG_EUNAVAILABLE,
                        "what came for " KG_STR_FMT " is larger than the %lld bytes that the manifest says",
                        KG_STR_ARG(digest), (long long)size);
  return refused(r, "blob", code, err);
}

static int check_descriptor(const registry_t *r, kg_str_t digest, int64_t size, int64_t most, kg_error_t *err) {
  if (!image_is_digest(digest))
    return kg_error_set(err, KG_EINVAL, "the manifest names a part by \"%.*s\", which is no SHA-256 digest",
                        (int)(digest.n < 100 ? digest.n : 100), digest.p ? digest.p : "");
  if (size <= 0) return kg_error_set(err, KG_EINVAL, "the manifest gives no size of " KG_STR_FMT, KG_STR_ARG(digest));
  if (size > most)
    return kg_error_set(err, KG_EINVAL,
                        "the manifest gives " KG_STR_FMT " a size of %lld bytes, more than the %lld allowed",
                        KG_STR_ARG(digest), (long long)size, (long long)most);
  return space_check(r->job->im, size, err);
}

int registry_blob(registry_t *r, kg_view_t descriptor, int64_t most, const char *file, kg_error_t *err) {
  char *url = NULL, hex[HEX + 1];
  kg_str_t digest = kg_view_str(kg_view_get(descriptor, "digest"));
  int64_t size = kg_view_int(kg_view_get(descriptor, "size"), 0);
  if (check_descriptor(r, digest, size, most, err) < 0) return -1;
  if (asprintf(&url, "%s/blobs/" KG_STR_FMT, r->base, KG_STR_ARG(digest)) < 0)
    return kg_error_set(err, KG_EINTERNAL, "out of memory");
  int done = fetch_all(r, url, digest, size, file, err);
  free(url);
  if (done < 0 || file_digest(file, hex, err) < 0) return -1;
  if (!memcmp(hex, digest.p + 7, HEX)) return 0;
  return kg_error_set(err, KG_EUNAVAILABLE, "what came for " KG_STR_FMT " is damaged: its digest is sha256:%s",
                      KG_STR_ARG(digest), hex);
}
