/* Credentials for a registry from the pod's imagePullSecrets (kubernetes.io/dockerconfigjson and dockercfg). */
#include "node.h"

static kg_str_t registry_of(kg_str_t image) {
  const char *slash = image.n ? memchr(image.p, '/', image.n) : NULL;
  kg_str_t first = {image.p, slash ? (size_t)(slash - image.p) : 0};
  bool host =
      first.n && (memchr(first.p, '.', first.n) || memchr(first.p, ':', first.n) || kg_str_is(first, "localhost"));
  return host ? first : KG_STR("docker.io");
}

/* "https://index.docker.io/v1/" and "docker.io" are the same registry. */
static bool same_registry(kg_str_t key, kg_str_t host) {
  const char *scheme = key.n > 3 ? memmem(key.p, key.n, "://", 3) : NULL;
  if (scheme) key = (kg_str_t){scheme + 3, key.n - (size_t)(scheme + 3 - key.p)};
  const char *slash = key.n ? memchr(key.p, '/', key.n) : NULL;
  if (slash) key.n = (size_t)(slash - key.p);
  if (kg_str_eq(key, host)) return true;
  return kg_str_is(host, "docker.io") && (kg_str_is(key, "index.docker.io") || kg_str_is(key, "registry-1.docker.io"));
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

static kg_doc_t *search(kg_view_t secret, kg_str_t host) {
  size_t n = 0;
  char *text = config_key(secret, true, KG_STR(".dockerconfigjson"), &n);
  bool legacy = !text;
  if (legacy) text = config_key(secret, true, KG_STR(".dockercfg"), &n);
  kg_doc_t *doc = text ? kube_json_parse(text, n, NULL, NULL, NULL) : NULL, *auth = NULL;
  kg_view_t all = legacy ? kg_view_of(doc) : kg_view_get(kg_view_of(doc), "auths");
  for (kg_iter_t it = kg_iter(all); !auth && kg_iter_next(&it);)
    if (same_registry(kg_view_str(it.key), host)) auth = auth_of(it.value);
  kg_doc_unref(doc);
  free(text);
  return auth;
}

int pull_auth(pod_t *p, kg_str_t image, kg_doc_t **auth) {
  *auth = NULL;
  for (kg_iter_t it = kg_iter(kg_view_get(pod_spec(p), "imagePullSecrets")); !*auth && kg_iter_next(&it);) {
    kg_error_t err = {0};
    kg_view_t secret = config_object(p, true, VIEW_STR(it.value, "name"), &err);
    if (!kg_view_there(secret) && err.code == KG_EUNAVAILABLE) return 1;
    if (kg_view_there(secret)) *auth = search(secret, registry_of(image));
  }
  return 0;
}
