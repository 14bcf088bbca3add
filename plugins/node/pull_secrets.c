/*
 * Credentials for a registry from the pod's imagePullSecrets (kubernetes.io/dockerconfigjson and dockercfg): those
 * whose key says most of where the image is.
 */
#include <fnmatch.h>
#include <stdio.h>

#include "node.h"

/* An image's registry, and its repository there without tag and digest. */
typedef struct repository {
  kg_str_t host, path;
} repository_t;

static repository_t repository_of(kg_str_t image) {
  const char *slash = image.n ? memchr(image.p, '/', image.n) : NULL;
  kg_str_t first = {image.p, slash ? (size_t)(slash - image.p) : 0}, path = image;
  bool host =
      first.n && (memchr(first.p, '.', first.n) || memchr(first.p, ':', first.n) || kg_str_is(first, "localhost"));
  if (host) path = (kg_str_t){slash + 1, image.n - first.n - 1};
  for (size_t i = 0; i < path.n; i++)
    if (path.p[i] == ':' || path.p[i] == '@') path.n = i;
  return (repository_t){host ? first : KG_STR("docker.io"), path};
}

/* Each part of a name between dots by itself, "*" for any of its characters; ports must be the same. */
static bool same_host(kg_str_t pattern, kg_str_t host) {
  char a[256], b[256];
  if (pattern.n >= sizeof a || host.n >= sizeof b) return false;
  if (kg_str_is(host, "docker.io") &&
      (kg_str_is(pattern, "index.docker.io") || kg_str_is(pattern, "registry-1.docker.io")))
    return true;
  snprintf(a, sizeof a, KG_STR_FMT, KG_STR_ARG(pattern));
  snprintf(b, sizeof b, KG_STR_FMT, KG_STR_ARG(host));
  for (char *p = a; *p; p++) *p = *p == '.' ? '/' : *p;
  for (char *p = b; *p; p++) *p = *p == '.' ? '/' : *p;
  return fnmatch(a, b, FNM_PATHNAME | FNM_NOESCAPE) == 0;
}

/* How much of the repository a secret's key ("https://host/v1/path", "*.host", ...) speaks of; 0: nothing. */
static size_t speaks_of(kg_str_t key, const repository_t *r) {
  const char *scheme = key.n > 3 ? memmem(key.p, key.n, "://", 3) : NULL;
  if (scheme) key = (kg_str_t){scheme + 3, key.n - (size_t)(scheme + 3 - key.p)};
  const char *slash = key.n ? memchr(key.p, '/', key.n) : NULL;
  kg_str_t host = {key.p, slash ? (size_t)(slash - key.p) : key.n}, path = {NULL, 0};
  if (slash) path = (kg_str_t){slash, key.n - host.n};
  if (path.n >= 4 && (!memcmp(path.p, "/v1/", 4) || !memcmp(path.p, "/v2/", 4)))
    path = (kg_str_t){path.p + 3, path.n - 3};
  if (path.n) path = (kg_str_t){path.p + 1, path.n - 1};
  bool all = same_host(host, r->host) && path.n <= r->path.n && (!path.n || !memcmp(path.p, r->path.p, path.n));
  return all ? 1 + path.n : 0;
}

static kg_doc_t *pack_auth(kg_str_t user, kg_str_t password) {
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_strn(&k, "username", user);
  kg_pack_kv_strn(&k, "password", password);
  kg_pack_end(&k);
  return kg_pack_doc(&k);
}

/* {username, password}, or {auth: base64 of "user:password"}. */
static kg_doc_t *auth_of(kg_view_t entry) {
  kg_str_t user = VIEW_STR(entry, "username"), password = VIEW_STR(entry, "password");
  if (user.n) return pack_auth(user, password);
  size_t n = 0;
  char *pair = kube_base64_decode(VIEW_STR(entry, "auth"), &n), *colon = pair ? memchr(pair, ':', n) : NULL;
  kg_doc_t *auth =
      colon ? pack_auth((kg_str_t){pair, (size_t)(colon - pair)}, (kg_str_t){colon + 1, n - (size_t)(colon + 1 - pair)})
            : NULL;
  free(pair);
  return auth;
}

/* The entry that speaks of most of it, if of more than *most. */
static kg_doc_t *search(kg_view_t secret, const repository_t *r, size_t *most) {
  size_t n = 0;
  char *text = config_key(secret, true, KG_STR(".dockerconfigjson"), &n);
  bool legacy = !text;
  if (legacy) text = config_key(secret, true, KG_STR(".dockercfg"), &n);
  kg_doc_t *doc = text ? kube_json_parse(text, n, NULL, NULL, NULL) : NULL, *auth = NULL;
  kg_view_t all = legacy ? kg_view_of(doc) : kg_view_get(kg_view_of(doc), "auths");
  for (kg_iter_t it = kg_iter(all); kg_iter_next(&it);) {
    size_t much = speaks_of(kg_view_str(it.key), r);
    if (much <= *most) continue;
    *most = much;
    kg_doc_unref(auth);
    auth = auth_of(it.value);
  }
  kg_doc_unref(doc);
  free(text);
  return auth;
}

int pull_auth(pod_t *p, kg_str_t image, kg_doc_t **auth) {
  repository_t r = repository_of(image);
  size_t most = 0;
  *auth = NULL;
  for (kg_iter_t it = kg_iter(kg_view_get(pod_spec(p), "imagePullSecrets")); kg_iter_next(&it);) {
    kg_error_t err = {0};
    kg_view_t secret = config_object(p, true, VIEW_STR(it.value, "name"), &err);
    if (!kg_view_there(secret) && err.code == KG_EUNAVAILABLE) {
      kg_doc_unref(*auth);
      *auth = NULL;
      return 1;
    }
    kg_doc_t *better = kg_view_there(secret) ? search(secret, &r, &most) : NULL;
    if (!better) continue;
    kg_doc_unref(*auth);
    *auth = better;
  }
  return 0;
}
