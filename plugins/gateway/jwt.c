/* Service account tokens: compact JWS, ES256 (or RS256 when the key is RSA), made and checked with OpenSSL's EVP. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <openssl/core_names.h>

#include "gateway.h"

static void put64(kube_buf_t *b, const void *p, size_t n) {
  size_t before = b->n;
  kube_buf_base64(b, p, n);
  if (b->failed) return;
  while (b->n > before && b->p[b->n - 1] == '=') b->n--;
  for (char *c = b->p + before; c < b->p + b->n; c++) *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
}

static int digit64(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Base64url without padding; malloc'ed, NULL if it is none. */
static unsigned char *get64(const char *s, size_t n, size_t *out) {
  unsigned char *p = malloc(n / 4 * 3 + 3);
  unsigned bits = 0, have = 0;
  size_t m = 0;
  for (size_t i = 0; p && i < n; i++) {
    int d = digit64(s[i]);
    if (d < 0) {
      free(p);
      return NULL;
    }
    bits = bits << 6 | (unsigned)d;
    if ((have += 6) >= 8) p[m++] = (unsigned char)(bits >> (have -= 8));
  }
  *out = m;
  return p;
}

/* The key's name: SHA-256 of its public half, as Kubernetes names them. */
int gw_jwt_key_id(EVP_PKEY *key, char kid[48]) {
  unsigned char *der = NULL, sum[32];
  int n = i2d_PUBKEY(key, &der);
  if (n <= 0) return -1;
  unsigned len = sizeof sum;
  int ok = EVP_Digest(der, (size_t)n, sum, &len, EVP_sha256(), NULL);
  OPENSSL_free(der);
  kube_buf_t b = {0};
  put64(&b, sum, sizeof sum);
  if (!ok || b.failed || b.n >= 48) {
    kube_buf_free(&b);
    return -1;
  }
  memcpy(kid, b.p, b.n);
  kid[b.n] = 0;
  kube_buf_free(&b);
  return 0;
}

static bool is_ec(EVP_PKEY *key) {
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC;
}

/* JWS wants r and s side by side, OpenSSL speaks DER. */
static int der_to_raw(const unsigned char *der, size_t n, unsigned char raw[64]) {
  ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
  int ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32) == 32 &&
           BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32) == 32;
  ECDSA_SIG_free(sig);
  return ok ? 0 : -1;
}

static int raw_to_der(const unsigned char raw[64], unsigned char **der) {
  ECDSA_SIG *sig = ECDSA_SIG_new();
  BIGNUM *r = BN_bin2bn(raw, 32, NULL), *s = BN_bin2bn(raw + 32, 32, NULL);
  int n = -1;
  if (sig && r && s && ECDSA_SIG_set0(sig, r, s)) {
    r = s = NULL;
    n = i2d_ECDSA_SIG(sig, der);
  }
  BN_free(r);
  BN_free(s);
  ECDSA_SIG_free(sig);
  return n;
}

static int sign(EVP_PKEY *key, kube_buf_t *b) {
  unsigned char sig[512], raw[64];
  size_t n = sizeof sig;
  EVP_MD_CTX *md = EVP_MD_CTX_new();
  int ok = md && EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
           EVP_DigestSign(md, sig, &n, (unsigned char *)b->p, b->n) == 1;
  EVP_MD_CTX_free(md);
  if (!ok || (is_ec(key) && der_to_raw(sig, n, raw))) return -1;
  kube_buf_addz(b, ".");
  if (is_ec(key))
    put64(b, raw, sizeof raw);
  else
    put64(b, sig, n);
  return 0;
}

static void put_number(kube_buf_t *b, EVP_PKEY *key, const char *param, const char *name, int width) {
  BIGNUM *n = NULL;
  unsigned char bytes[1024];
  if (EVP_PKEY_get_bn_param(key, param, &n) != 1) return;
  int size = width ? width : BN_num_bytes(n);
  kube_buf_fmt(b, ",\"%s\":\"", name);
  if (size <= (int)sizeof bytes && BN_bn2binpad(n, bytes, size) == size) put64(b, bytes, (size_t)size);
  kube_buf_addz(b, "\"");
  BN_free(n);
}

void gw_jwt_keys(gw_t *gw, kube_buf_t *b) {
  bool ec = is_ec(gw->sa_key);
  kube_buf_fmt(b, "{\"keys\":[{\"use\":\"sig\",\"kty\":\"%s\",\"kid\":\"%s\",\"alg\":\"%s\"", ec ? "EC" : "RSA",
               gw->sa_kid, ec ? "ES256" : "RS256");
  if (ec) {
    kube_buf_addz(b, ",\"crv\":\"P-256\"");
    put_number(b, gw->sa_key, OSSL_PKEY_PARAM_EC_PUB_X, "x", 32);
    put_number(b, gw->sa_key, OSSL_PKEY_PARAM_EC_PUB_Y, "y", 32);
  } else {
    put_number(b, gw->sa_key, OSSL_PKEY_PARAM_RSA_N, "n", 0);
    put_number(b, gw->sa_key, OSSL_PKEY_PARAM_RSA_E, "e", 0);
  }
  kube_buf_addz(b, "}]}");
}

char *gw_jwt_sign(gw_t *gw, kg_view_t claims, kg_error_t *err) {
  kube_buf_t b = {0}, part = {0};
  kube_buf_fmt(&part, "{\"alg\":\"%s\",\"kid\":\"%s\"}", is_ec(gw->sa_key) ? "ES256" : "RS256", gw->sa_kid);
  put64(&b, part.p, part.n);
  kube_buf_free(&part);
  part = (kube_buf_t){0};
  kube_json_write(&part, claims);
  kube_buf_addz(&b, ".");
  put64(&b, part.p, part.n);
  kube_buf_free(&part);
  bool bad = b.failed || sign(gw->sa_key, &b);
  kube_buf_add(&b, "", 1);
  if (!bad && !b.failed) return b.p;
  ERR_clear_error();
  kube_buf_free(&b);
  kg_error_set(err, KG_EINTERNAL, "cannot sign a token");
  return NULL;
}

static bool signature_ok(EVP_PKEY *key, const char *text, size_t n, const unsigned char *sig, size_t sig_n) {
  unsigned char *der = NULL;
  if (is_ec(key)) {
    int m = sig_n == 64 ? raw_to_der(sig, &der) : -1;
    if (m <= 0) return false;
    sig = der;
    sig_n = (size_t)m;
  }
  EVP_MD_CTX *md = EVP_MD_CTX_new();
  bool ok = md && EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
            EVP_DigestVerify(md, sig, sig_n, (const unsigned char *)text, n) == 1;
  EVP_MD_CTX_free(md);
  OPENSSL_free(der);
  ERR_clear_error();
  return ok;
}

static kg_doc_t *json_part(const char *s, size_t n, kg_error_t *err) {
  size_t m = 0;
  unsigned char *p = get64(s, n, &m);
  kg_doc_t *doc = p ? kube_json_parse((char *)p, m, NULL, NULL, err) : NULL;
  if (!p) kg_error_set(err, 401, "the token is not base64url");
  free(p);
  return doc;
}

static int times_ok(gw_t *gw, kg_view_t claims, kg_error_t *err) {
  int64_t now = kg_wall_us(gw->ctx) / 1000000;
  if (kg_view_int(kg_view_get(claims, "exp"), INT64_MAX) < now) return kg_error_set(err, 401, "the token has expired");
  if (kg_view_int(kg_view_get(claims, "nbf"), 0) > now + 10)
    return kg_error_set(err, 401, "the token is not valid yet");
  return 0;
}

kg_doc_t *gw_jwt_verify(gw_t *gw, const char *token, kg_error_t *err) {
  const char *dot1 = strchr(token, '.'), *dot2 = dot1 ? strchr(dot1 + 1, '.') : NULL;
  if (!dot2 || strchr(dot2 + 1, '.')) {
    kg_error_set(err, 401, "the token is no JSON web token");
    return NULL;
  }
  kg_doc_t *head = json_part(token, (size_t)(dot1 - token), err);
  bool known =
      head && kg_str_is(kg_view_str(kg_view_get(kg_view_of(head), "alg")), is_ec(gw->sa_key) ? "ES256" : "RS256");
  kg_doc_unref(head);
  size_t n = 0;
  unsigned char *sig = get64(dot2 + 1, strlen(dot2 + 1), &n);
  bool ok = known && sig && signature_ok(gw->sa_key, token, (size_t)(dot2 - token), sig, n);
  free(sig);
  if (!ok) {
    kg_error_set(err, 401, "the token was not signed by this server");
    return NULL;
  }
  kg_doc_t *claims = json_part(dot1 + 1, (size_t)(dot2 - dot1 - 1), err);
  if (claims && times_ok(gw, kg_view_of(claims), err)) kg_doc_clear(&claims);
  return claims;
}
