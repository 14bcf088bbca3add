/* What a registry wants to see of its clients (distribution, token specification). */
#include <stdio.h>
#include <strings.h>

#include "oci.h"
#include "registry.h"

enum { MAX_TOKEN = 64 << 10 };

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
  kube_buf_t pair = {0}, coded = {0};
  if (!r->user || !r->password) return -1;
  kube_buf_fmt(&pair, "%s:%s", r->user, r->password);
  kube_buf_base64(&coded, pair.p, pair.n);
  kube_buf_add(&coded, "", 1);
  int done = coded.failed ? -1 : set_authorization(r, "Basic", coded.p);
  kube_buf_free(&coded);
  kube_buf_free(&pair);
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
  char *token = text_of(kg_view_of(doc), "token");
  if (!token) token = text_of(kg_view_of(doc), "access_token");
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
  CURLcode code = registry_text(r, url, NULL, &answer, &over);
  int done = code == CURLE_OK && r->code == 200 ? take_token(r, &answer) : -1;
  if (over)
    kg_error_set(&r->refusal, KG_EUNAVAILABLE, "failed to authorize: the token service's answer is over %d MiB",
                 REGISTRY_TEXT >> 20);
  else if (code != CURLE_OK)
    kg_error_set(&r->refusal, KG_EUNAVAILABLE, "failed to authorize: failed to fetch a token: %s",
                 *r->why ? r->why : curl_easy_strerror(code));
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
  if (realm && asprintf(&url, "%s?service=%s&scope=repository:%s:pull", realm, known ? known : "",
                        r->endpoints[r->at].repo) > 0) {
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

int registry_authenticate(registry_t *r) {
  char *challenge = r->challenge ? strdup(r->challenge + strspn(r->challenge, " ")) : NULL;
  int done = !challenge                             ? -1
             : !strncasecmp(challenge, "bearer", 6) ? bearer(r, challenge)
             : !strncasecmp(challenge, "basic", 5)  ? basic(r)
                                                    : -1;
  free(challenge);
  return done;
}
