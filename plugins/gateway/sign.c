/* Certificates for approved requests, signed by the cluster's own authority. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "gateway.h"

enum { BACKDATED_S = 300, LONGEST_S = 365 * 86400 };

static int refuse(kg_error_t *err, const char *why) {
  return kg_error_set(err, KG_EINVAL, "%s", why);
}

/* spec.request: base64 of PEM. */
static X509_REQ *read_request(kg_str_t text) {
  BIO *raw = BIO_new_mem_buf(text.p, (int)text.n), *b64 = BIO_new(BIO_f_base64());
  if (!raw || !b64) {
    BIO_free(raw);
    BIO_free(b64);
    return NULL;
  }
  BIO_set_flags(b64, BIO_FLAGS_BASE64_NO_NL);
  BIO *chain = BIO_push(b64, raw);
  char *pem = malloc(text.n + 1);
  int n = pem ? BIO_read(chain, pem, (int)text.n) : 0;
  BIO_free_all(chain);
  BIO *mem = n > 0 ? BIO_new_mem_buf(pem, n) : NULL;
  X509_REQ *req = mem ? PEM_read_bio_X509_REQ(mem, NULL, NULL, NULL) : NULL;
  BIO_free(mem);
  free(pem);
  ERR_clear_error();
  return req;
}

/* The usages of a request in OpenSSL's words, those of keys or the extended ones. */
static void usages_of(kg_view_t usages, bool extended, char out[256]) {
  static const struct {
    const char *ours, *theirs;
    bool extended;
  } names[] = {{"signing", "digitalSignature", false},
               {"digital signature", "digitalSignature", false},
               {"content commitment", "nonRepudiation", false},
               {"key encipherment", "keyEncipherment", false},
               {"key agreement", "keyAgreement", false},
               {"data encipherment", "dataEncipherment", false},
               {"server auth", "serverAuth", true},
               {"client auth", "clientAuth", true}};
  size_t n = (size_t)snprintf(out, 256, extended ? "" : "critical"), from = n;
  for (kg_iter_t it = kg_iter(usages); kg_iter_next(&it);)
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
      if (names[i].extended == extended && kg_str_is(kg_view_str(it.value), names[i].ours) && n < 200)
        n += (size_t)snprintf(out + n, 256 - n, "%s%s", n ? "," : "", names[i].theirs);
  if (n == from) *out = 0;
}

/* Names and addresses the request asks for are taken over; nothing else of its extensions is. */
static int take_alt_names(X509 *cert, X509_REQ *req) {
  STACK_OF(X509_EXTENSION) *list = X509_REQ_get_extensions(req);
  int at = X509v3_get_ext_by_NID(list, NID_subject_alt_name, -1);
  int ok = at < 0 || X509_add_ext(cert, X509v3_get_ext(list, at), -1);
  sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
  return ok;
}

static int fill(X509 *cert, X509_REQ *req, X509 *ca, kg_view_t usages, int64_t from, int64_t seconds) {
  unsigned char serial[16];
  char key_usage[256], extended[256];
  if (RAND_bytes(serial, sizeof serial) != 1) return 0;
  serial[0] &= 0x7f;
  BIGNUM *bn = BN_bin2bn(serial, sizeof serial, NULL);
  int ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));
  BN_free(bn);
  usages_of(usages, false, key_usage);
  usages_of(usages, true, extended);
  return ok && X509_set_version(cert, X509_VERSION_3) && X509_set_pubkey(cert, X509_REQ_get0_pubkey(req)) &&
         X509_set_subject_name(cert, X509_REQ_get_subject_name(req)) &&
         X509_set_issuer_name(cert, X509_get_subject_name(ca)) &&
         ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(from - BACKDATED_S)) &&
         ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(from + seconds)) &&
         !gw_pki_extend(cert, ca, NID_basic_constraints, "critical,CA:FALSE") &&
         (!*key_usage || !gw_pki_extend(cert, ca, NID_key_usage, key_usage)) &&
         (!*extended || !gw_pki_extend(cert, ca, NID_ext_key_usage, extended)) &&
         !gw_pki_extend(cert, ca, NID_authority_key_identifier, "keyid") && take_alt_names(cert, req);
}

/* base64 of PEM, as status.certificate has it. */
static int write_pem(X509 *cert, kube_buf_t *out) {
  BIO *bio = BIO_new(BIO_s_mem());
  char *p = NULL;
  int ok = bio && PEM_write_bio_X509(bio, cert);
  long n = ok ? BIO_get_mem_data(bio, &p) : 0;
  if (n > 0) kube_buf_base64(out, p, (size_t)n);
  BIO_free(bio);
  return out->n && !out->failed;
}

/* Whoever is of that group may do everything, and nobody could take it from him: that is not for requests to ask. */
static bool asks_for_masters(X509_REQ *req) {
  X509_NAME *subject = X509_REQ_get_subject_name(req);
  static const char masters[] = "system:masters";
  for (int i = -1; (i = X509_NAME_get_index_by_NID(subject, NID_organizationName, i)) >= 0;) {
    const ASN1_STRING *s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i));
    if (ASN1_STRING_length(s) == (int)strlen(masters) && !memcmp(ASN1_STRING_get0_data(s), masters, strlen(masters)))
      return true;
  }
  return false;
}

int gw_sign_request(gw_t *gw, kg_view_t args, kube_buf_t *out, kg_error_t *err) {
  X509_REQ *req = read_request(kg_view_str(kg_view_get(args, "request")));
  if (!req) return refuse(err, "unable to parse the certificate request");
  if (asks_for_masters(req)) {
    X509_REQ_free(req);
    return refuse(err, "the group system:masters is not given by certificates");
  }
  int64_t seconds = kg_view_int(kg_view_get(args, "seconds"), LONGEST_S);
  if (seconds <= 0 || seconds > LONGEST_S) seconds = LONGEST_S;
  X509 *ca = gw_pki_cert(gw, "ca.crt"), *cert = X509_new();
  EVP_PKEY *key = gw_pki_key(gw, "ca.key");
  bool genuine = X509_REQ_verify(req, X509_REQ_get0_pubkey(req)) == 1;
  bool ok = genuine && ca && key && cert &&
            fill(cert, req, ca, kg_view_get(args, "usages"), kg_wall_us(gw->ctx) / 1000000, seconds) &&
            X509_sign(cert, key, EVP_sha256()) && write_pem(cert, out);
  X509_free(cert);
  X509_free(ca);
  EVP_PKEY_free(key);
  X509_REQ_free(req);
  ERR_clear_error();
  if (ok) return 0;
  return genuine ? kg_error_set(err, KG_EINTERNAL, "the certificate cannot be made")
                 : refuse(err, "the certificate request is not signed by its own key");
}
