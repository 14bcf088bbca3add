/* Bearer tokens and client certificates. The first byte chooses: claims that we sign, a whole token, a certificate. */
#include <openssl/x509.h>

#include "connection.h"

static void own_token(gw_t *gw, kg_str_t text) {
  kg_error_t err = {0};
  kg_doc_t *claims = kube_json_parse(text.p, text.n, NULL, NULL, NULL);
  char *token = claims ? gw_jwt_sign(gw, kg_view_of(claims), &err) : NULL;
  gw_user_t *u = token ? gw_user_of_token(gw, token, &err) : NULL;
  FUZZ_MUST(u || !token || err.text[0]);
  if (u) fuzz_check(u->doc);
  gw_user_unref(u);
  free(token);
  kg_doc_unref(claims);
}

static void foreign_token(gw_t *gw, kg_str_t text) {
  kg_error_t err = {0};
  char *token = kg_str_dup(text);
  gw_user_t *u = gw_user_of_token(gw, token, &err);
  FUZZ_MUST(!u && err.text[0]); /* nobody else has the key */
  free(token);
}

static void certificate(kg_str_t text) {
  const unsigned char *p = (const unsigned char *)text.p;
  X509 *x = d2i_X509(NULL, &p, (long)text.n);
  gw_user_t *u = x ? gw_user_of_cert(x) : NULL;
  if (u) fuzz_check(u->doc);
  gw_user_unref(u);
  X509_free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_in_t in = {data, data + size};
  uint8_t what = fuzz_byte(&in) % 3;
  kg_str_t text = {(const char *)in.p, (size_t)(in.end - in.p)};
  if (what == 0)
    own_token(fuzz_gateway(), text);
  else if (what == 1)
    foreign_token(fuzz_gateway(), text);
  else
    certificate(text);
  return 0;
}
