#include "registry.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_REFUSAL = 64 << 10, MAX_HEAD = 128 << 10 };
enum { TRIES = 4, MAX_REDIRECTS = 8, CONNECT_S = 20, STALL_S = 60, SLOWEST = 1024 /* bytes a second */, SAY_MS = 2000 };

#define ACCEPT                                                                                                         \
  "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "                      \
  "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"

/* --- open, close ------------------------------------------------------------------------------------------------- */

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t setting(const registry_t *r, const char *key, int64_t usual) {
  return kg_view_int(kg_view_get(kg_config(r->job->im->ctx), key), usual);
}

static int split_name(registry_t *r, const char *full, kg_error_t *err) {
  const char *slash = strchr(full, '/'), *at = strchr(full, '@'), *colon = strrchr(full, ':');
  const char *end = at ? at : colon;
  if (!slash || !end || end < slash) return kg_error_set(err, KG_EINVAL, "%s is no image name in full", full);
  r->host = strndup(full, (size_t)(slash - full));
  r->repo = strndup(slash + 1, (size_t)(end - slash - 1));
  r->reference = strdup(end + 1);
  return r->host && r->repo && r->reference ? 0 : kg_error_set(err, KG_EINTERNAL, "out of memory");
}

registry_t *registry_open(job_t *j, const char *full, kg_error_t *err) {
  registry_t *r = calloc(1, sizeof *r);
  if (!r) {
    kg_error_set(err, KG_EINTERNAL, "out of memory");
    return NULL;
  }
  r->job = j;
  r->curl = curl_easy_init();
  int64_t most = setting(r, "pullTimeoutSeconds", 0);
  if (most > 0) r->end_ms = now_ms() + most * 1000;
  if (r->curl && split_name(r, full, err) == 0 && registry_hosts(r, err) == 0) return r;
  if (!r->curl) kg_error_set(err, KG_EINTERNAL, "libcurl cannot be used");
  registry_close(r);
  return NULL;
}

void registry_close(registry_t *r) {
  char *const owned[] = {r->host, r->repo, r->reference, r->user, r->password, r->authorization, r->challenge, r->type};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
  registry_hosts_free(r);
  if (r->curl) curl_easy_cleanup(r->curl);
  free(r);
}

static const char *base_of(const registry_t *r) {
  return r->endpoints[r->at].base;
}

/* BASE/WHAT/NAME of the endpoint that is asked; malloc'ed. */
static char *url_of(const registry_t *r, const char *what, kg_str_t name) {
  char *url = NULL;
  int n = asprintf(&url, "%s/%s/" KG_STR_FMT "%s", base_of(r), what, KG_STR_ARG(name), r->endpoints[r->at].query);
  return n < 0 ? NULL : url;
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

static bool is_late(const registry_t *r) {
  return r->end_ms && now_ms() > r->end_ms;
}

static void say_progress(registry_t *r, int64_t have) {
  char now[24], all[24];
  if (!r->part || now_ms() < r->said_ms + SAY_MS) return;
  r->said_ms = now_ms();
  human_size(have, now);
  human_size(r->part_size, all);
  job_say(r->job, "%.12s: %s of %s", r->part, now, all);
}

/* Also sees bodies of redirects, which libcurl throws away itself: they, too, must end. */
static int on_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t a, curl_off_t b) {
  registry_t *r = arg;
  (void)total, (void)a, (void)b;
  if (status_now(r) < 300) say_progress(r, r->part_had + now);
  return atomic_load(&r->job->stop) || is_late(r) || (now > MAX_REFUSAL && status_now(r) >= 300);
}

static long stall_seconds(const registry_t *r) {
  return (long)setting(r, "pullStallSeconds", STALL_S);
}

static long slowest(const registry_t *r) {
  return (long)setting(r, "pullMinBytesPerSecond", SLOWEST);
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
  *r->why = '\0';
  curl_easy_reset(r->curl);
  curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, r->why);
  curl_easy_setopt(r->curl, CURLOPT_URL, url);
  curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(r->curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(r->curl, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
  curl_easy_setopt(r->curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(r->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
  curl_easy_setopt(r->curl, CURLOPT_LOW_SPEED_LIMIT, slowest(r));
  curl_easy_setopt(r->curl, CURLOPT_LOW_SPEED_TIME, stall_seconds(r));
  if (to->text) curl_easy_setopt(r->curl, CURLOPT_TIMEOUT, 2 * stall_seconds(r));
  curl_easy_setopt(r->curl, CURLOPT_USERAGENT, "kogge");
  registry_tls(r);
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
  bool cut_off = done == CURLE_ABORTED_BY_CALLBACK && !atomic_load(&r->job->stop) && !is_late(r) && r->code >= 400;
  return cut_off ? CURLE_OK : done; /* a refusal is one without its end, too */
}

CURLcode registry_text(registry_t *r, const char *url, const char *accept, kube_buf_t *out, bool *over) {
  sink_t to = {.r = r, .text = out, .room = REGISTRY_TEXT};
  out->n = 0;
  CURLcode code = perform(r, url, &to, 0, accept);
  *over = to.over;
  return code;
}

/* --- what registries say no with --------------------------------------------------------------------------------- */

static int refused(const registry_t *r, const char *what, CURLcode code, kg_error_t *err) {
  if (atomic_load(&r->job->stop)) return kg_error_set(err, KG_ECANCELLED, "the runtime stops");
  if (is_late(r))
    return kg_error_set(err, KG_EDEADLINE,
                        "the pull takes longer than the %lld s that config.pullTimeoutSeconds allows",
                        (long long)setting(r, "pullTimeoutSeconds", 0));
  if (r->refusal.code) return *err = r->refusal, -1;
  if (code == CURLE_OPERATION_TIMEDOUT)
    return kg_error_set(err, KG_EUNAVAILABLE, "%s: the registry sent less than %ld bytes a second for %ld s",
                        base_of(r), slowest(r), stall_seconds(r));
  if (code == CURLE_WRITE_ERROR && r->head > MAX_HEAD)
    return kg_error_set(err, KG_EUNAVAILABLE, "%s: the headers of the answer are over %d KiB", base_of(r),
                        MAX_HEAD >> 10);
  if (code != CURLE_OK && code != CURLE_ABORTED_BY_CALLBACK)
    return kg_error_set(err, KG_EUNAVAILABLE, "%s: %s", base_of(r), *r->why ? r->why : curl_easy_strerror(code));
  const endpoint_t *e = &r->endpoints[r->at];
  if (r->code == 404) return kg_error_set(err, KG_ENOTFOUND, "%s/%s:%s: not found", e->host, e->repo, what);
  if (r->code == 401 || r->code == 403)
    return kg_error_set(err, KG_EDENIED,
                        "pull access denied, repository does not exist or may require authorization: server message: "
                        "insufficient_scope: authorization failed (HTTP %ld)",
                        r->code);
  return kg_error_set(err, KG_EUNAVAILABLE, "unexpected status from GET request to %s: %ld", base_of(r), r->code);
}

/* Those that another try does not make better, or that the caller's backoff is for. */
static bool worth_another(const registry_t *r, CURLcode code) {
  static const CURLcode last[] = {CURLE_ABORTED_BY_CALLBACK, CURLE_COULDNT_RESOLVE_HOST,     CURLE_COULDNT_CONNECT,
                                  CURLE_WRITE_ERROR,         CURLE_TOO_MANY_REDIRECTS,       CURLE_UNSUPPORTED_PROTOCOL,
                                  CURLE_OPERATION_TIMEDOUT,  CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE,
                                  CURLE_SSL_CERTPROBLEM,     CURLE_SSL_CONNECT_ERROR};
  for (size_t i = 0; i < sizeof last / sizeof *last; i++)
    if (code == last[i]) return false;
  return !atomic_load(&r->job->stop) && !is_late(r) && (code != CURLE_OK || r->code == 429 || r->code >= 500);
}

static void pause_after(const registry_t *r, int attempt) {
  for (int i = 0; attempt + 1 < TRIES && i < (5 << attempt) && !atomic_load(&r->job->stop) && !is_late(r); i++)
    usleep(100000);
}

/* --- manifests, blobs -------------------------------------------------------------------------------------------- */

static char *manifest_at(registry_t *r, const char *reference, size_t *n, kg_error_t *err) {
  char *url = url_of(r, "manifests", kg_str(reference));
  kube_buf_t text = {0};
  CURLcode code = CURLE_OK;
  bool asked = false, over = false, good = false;
  for (int attempt = 0; url && attempt < TRIES; attempt++) {
    code = registry_text(r, url, ACCEPT, &text, &over);
    if ((good = code == CURLE_OK && r->code == 200 && !text.failed)) break;
    if (code == CURLE_OK && r->code == 401 && !asked && (asked = true) && registry_authenticate(r) == 0) continue;
    if (!worth_another(r, code)) break;
    pause_after(r, attempt);
  }
  free(url);
  if (good) {
    *n = text.n;
    return text.p;
  }
  if (over)
    kg_error_set(err, KG_EUNAVAILABLE, "the manifest %.100s is over %d MiB", reference, REGISTRY_TEXT >> 20);
  else
    refused(r, reference, code, err);
  kube_buf_free(&text);
  return NULL;
}

char *registry_manifest(registry_t *r, const char *reference, size_t *n, kg_error_t *err) {
  char *text;
  do text = manifest_at(r, reference, n, err);
  while (!text && registry_next(r, err));
  return text;
}

/* One try; a file that cannot be gone on with is removed. */
static CURLcode fetch(registry_t *r, const char *url, int64_t size, const char *file, sink_t *to) {
  FILE *f = fopen(file, "ae");
  *to = (sink_t){.r = r, .file = f, .why = f ? 0 : errno};
  if (!f) return CURLE_WRITE_ERROR;
  long have = ftell(f);
  to->room = size - (have > 0 ? have : 0);
  r->part_had = have > 0 ? have : 0;
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
    if (code == CURLE_OK && r->code == 401 && !asked && (asked = true) && registry_authenticate(r) == 0) continue;
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
                        CUT_ARG(digest));
  if (size <= 0) return kg_error_set(err, KG_EINVAL, "the manifest gives no size of " KG_STR_FMT, KG_STR_ARG(digest));
  if (size > most)
    return kg_error_set(err, KG_EINVAL,
                        "the manifest gives " KG_STR_FMT " a size of %lld bytes, more than the %lld allowed",
                        KG_STR_ARG(digest), (long long)size, (long long)most);
  return space_check(r->job->im, size, err);
}

static int blob_at(registry_t *r, kg_str_t digest, int64_t size, const char *file, kg_error_t *err) {
  char hex[HEX + 1], *url = url_of(r, "blobs", digest);
  if (!url) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  int done = fetch_all(r, url, digest, size, file, err);
  free(url);
  if (done < 0 || file_digest(file, hex, err) < 0) return -1;
  if (!memcmp(hex, digest.p + 7, HEX)) return 0;
  unlink(file); /* another endpoint does not go on with it */
  return kg_error_set(err, KG_EUNAVAILABLE, "what came for " KG_STR_FMT " is damaged: its digest is sha256:%s",
                      KG_STR_ARG(digest), hex);
}

int registry_blob(registry_t *r, kg_view_t descriptor, int64_t most, const char *file, kg_error_t *err) {
  kg_str_t digest = kg_view_str(kg_view_get(descriptor, "digest"));
  int64_t size = kg_view_int(kg_view_get(descriptor, "size"), 0);
  int done;
  if (check_descriptor(r, digest, size, most, err) < 0) return -1;
  r->part = digest.p + strlen("sha256:");
  r->part_size = size;
  r->said_ms = now_ms();
  do done = blob_at(r, digest, size, file, err);
  while (done < 0 && registry_next(r, err));
  r->part = NULL;
  return done;
}
