/* Who asks: a client certificate of our authority, a service account's token, or nobody. */
#include <openssl/sha.h>
#include <strings.h>

#include "gateway.h"

enum { TOKENS = 256, MAX_GROUPS = 64 };

/* Tokens that were checked: the signature costs 77 us, a look here less than one. Keyed by SHA-256, so no token is
 * kept. */
struct gw_token_cache {
  struct {
    unsigned char sum[SHA256_DIGEST_LENGTH];
    gw_user_t *user;
    int64_t until_s;
  } slot[TOKENS];
};

gw_user_t *gw_user_new(const char *name, const char *const *groups, size_t ngroups, kg_view_t extra) {
  gw_user_t *u = calloc(1, sizeof *u);
  if (!u) return NULL;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", name);
  kg_pack_key(&p, "groups");
  kg_pack_array(&p);
  for (size_t i = 0; i < ngroups; i++) {
    kg_pack_str(&p, groups[i]);
    u->super |= !strcmp(groups[i], "system:masters");
  }
  kg_pack_end(&p);
  for (kg_iter_t it = kg_iter(extra); kg_iter_next(&it);) { /* uid and extra */
    kg_pack_view(&p, it.key);
    kg_pack_view(&p, it.value);
  }
  kg_pack_end(&p);
  u->refs = 1;
  u->name = strdup(name);
  u->doc = kg_pack_doc(&p);
  if (u->name && u->doc) return u;
  gw_user_unref(u);
  return NULL;
}

gw_user_t *gw_user_ref(gw_user_t *u) {
  if (u) u->refs++;
  return u;
}

void gw_user_unref(gw_user_t *u) {
  if (!u || --u->refs) return;
  free(u->name);
  kg_doc_unref(u->doc);
  free(u);
}

static char *name_part(X509_NAME *name, int nid, int *at) {
  *at = X509_NAME_get_index_by_NID(name, nid, *at);
  if (*at < 0) return NULL;
  unsigned char *utf8 = NULL;
  int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, *at)));
  char *z = n >= 0 && !memchr(utf8, 0, (size_t)n) ? strndup((char *)utf8, (size_t)n) : NULL;
  OPENSSL_free(utf8);
  return z;
}

gw_user_t *gw_user_of_cert(X509 *cert) {
  X509_NAME *subject = X509_get_subject_name(cert);
  char *groups[MAX_GROUPS + 1], *s;
  size_t n = 0;
  int at = -1;
  char *name = name_part(subject, NID_commonName, &at);
  at = -1;
  while (n < MAX_GROUPS && (s = name_part(subject, NID_organizationName, &at))) groups[n++] = s;
  groups[n] = (char *)"system:authenticated";
  gw_user_t *u = name && *name ? gw_user_new(name, (const char *const *)groups, n + 1, (kg_view_t){0}) : NULL;
  for (size_t i = 0; i < n; i++) free(groups[i]);
  free(name);
  return u;
}

static void extra_value(kg_pack_t *p, const char *key, kg_view_t value, const char *prefix) {
  kg_str_t s = kg_view_str(value);
  if (!s.n) return;
  kg_pack_key(p, key);
  kg_pack_array(p);
  kg_pack_fmt(p, "%s" KG_STR_FMT, prefix, KG_STR_ARG(s));
  kg_pack_end(p);
}

/* {uid, extra}: what the token is bound to (KEP-4193). */
static kg_doc_t *account_extra(kg_view_t claims) {
  kg_view_t own = kg_view_get(claims, "kubernetes.io"), uid = kg_view_path(own, "serviceaccount", "uid", NULL);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  if (kg_view_there(uid)) kg_pack_kv_view(&p, "uid", uid);
  kg_pack_key(&p, "extra");
  kg_pack_map(&p);
  extra_value(&p, "authentication.kubernetes.io/credential-id", kg_view_get(claims, "jti"), "JTI=");
  extra_value(&p, "authentication.kubernetes.io/node-name", kg_view_path(own, "node", "name", NULL), "");
  extra_value(&p, "authentication.kubernetes.io/node-uid", kg_view_path(own, "node", "uid", NULL), "");
  extra_value(&p, "authentication.kubernetes.io/pod-name", kg_view_path(own, "pod", "name", NULL), "");
  extra_value(&p, "authentication.kubernetes.io/pod-uid", kg_view_path(own, "pod", "uid", NULL), "");
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

/* system:serviceaccount:NAMESPACE:NAME */
static gw_user_t *user_of_claims(kg_view_t claims) {
  kg_str_t sub = kg_view_str(kg_view_get(claims, "sub"));
  static const char prefix[] = "system:serviceaccount:";
  size_t n = sizeof prefix - 1;
  const char *ns = sub.p && sub.n > n && !memcmp(sub.p, prefix, n) ? sub.p + n : NULL;
  const char *colon = ns ? memchr(ns, ':', (size_t)(sub.p + sub.n - ns)) : NULL;
  if (!colon || colon == ns || memchr(sub.p, 0, sub.n)) return NULL;
  char *name = kg_str_dup(sub), *group = NULL;
  if (asprintf(&group, "system:serviceaccounts:%.*s", (int)(colon - ns), ns) < 0) group = NULL;
  const char *groups[] = {"system:serviceaccounts", group, "system:authenticated"};
  kg_doc_t *extra = account_extra(claims);
  gw_user_t *u = name && group ? gw_user_new(name, groups, 3, kg_view_of(extra)) : NULL;
  kg_doc_unref(extra);
  free(name);
  free(group);
  return u;
}

gw_user_t *gw_user_of_token(gw_t *gw, const char *token, kg_error_t *err) {
  kg_doc_t *claims = gw_jwt_verify(gw, token, err);
  gw_user_t *u = claims ? user_of_claims(kg_view_of(claims)) : NULL;
  if (claims && !u) kg_error_set(err, KG_EINVAL, "the token is of no service account");
  kg_doc_unref(claims);
  return u;
}

static gw_user_t *by_token(gw_t *gw, const char *token) {
  unsigned char sum[SHA256_DIGEST_LENGTH];
  SHA256((const unsigned char *)token, strlen(token), sum);
  if (!gw->tokens) gw->tokens = calloc(1, sizeof *gw->tokens);
  size_t i = (sum[0] | (size_t)sum[1] << 8) % TOKENS;
  int64_t now = kg_wall_us(gw->ctx) / 1000000;
  if (gw->tokens && gw->tokens->slot[i].user && gw->tokens->slot[i].until_s > now &&
      !memcmp(gw->tokens->slot[i].sum, sum, sizeof sum))
    return gw_user_ref(gw->tokens->slot[i].user);
  kg_error_t err = {0};
  kg_doc_t *claims = gw_jwt_verify(gw, token, &err);
  if (!claims) {
    kg_log(gw->ctx, KG_LOG_DEBUG, "bearer token refused: %s", err.text);
    return NULL;
  }
  gw_user_t *u = user_of_claims(kg_view_of(claims));
  int64_t until = kg_view_int(kg_view_get(kg_view_of(claims), "exp"), now + 60);
  kg_doc_unref(claims);
  if (!u || !gw->tokens) return u;
  gw_user_unref(gw->tokens->slot[i].user);
  gw->tokens->slot[i].user = gw_user_ref(u);
  gw->tokens->slot[i].until_s = until;
  memcpy(gw->tokens->slot[i].sum, sum, sizeof sum);
  return u;
}

void gw_token_cache_free(gw_t *gw) {
  for (size_t i = 0; gw->tokens && i < TOKENS; i++) gw_user_unref(gw->tokens->slot[i].user);
  free(gw->tokens);
  gw->tokens = NULL;
}

gw_user_t *gw_authenticate(gw_ex_t *ex) {
  gw_conn_t *c = ex->conn;
  if (c->user) return gw_user_ref(c->user);
  const char *a = gw_header(ex, "authorization");
  if (a && !strncasecmp(a, "bearer ", 7)) {
    a += 7 + strspn(a + 7, " ");
    return by_token(c->gw, a);
  }
  if (c->bad_cert || (a && *a)) return NULL;
  return gw_user_ref(c->gw->anonymous);
}
