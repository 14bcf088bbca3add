/*
 * Certificates and keys of this control plane, made at first start with OpenSSL: DATA/tls/{ca,server,admin}.{crt,key},
 * sa.key. All keys are P-256; leaf certificates live a year and are made anew when less than 30 days are left or an
 * address is missing.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway.h"

enum { CA_DAYS = 3650, LEAF_DAYS = 365, RENEW_DAYS = 30 };

static int ssl_error(kg_error_t *err, const char *what) {
  char text[160];
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  ERR_clear_error();
  return kg_error_set(err, KG_EINTERNAL, "%s: %s", what, text);
}

/* --- files
 * ------------------------------------------------------------------------------------------------------------- */

static int sync_dir(const char *path) {
  char dir[4096];
  snprintf(dir, sizeof dir, "%s", path);
  char *slash = strrchr(dir, '/');
  if (slash) *slash = 0;
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return -1;
  int r = fsync(fd);
  close(fd);
  return r;
}

int gw_write_file(const char *path, const void *p, size_t n, kg_error_t *err) {
  char tmp[4096];
  snprintf(tmp, sizeof tmp, "%s.new", path);
  unlink(tmp);
  int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return kg_error_set(err, KG_EINTERNAL, "cannot create %s: %s", tmp, strerror(errno));
  const char *s = p;
  while (n) {
    ssize_t w = write(fd, s, n);
    if (w < 0 && errno == EINTR) continue;
    if (w <= 0) break;
    s += w;
    n -= (size_t)w;
  }
  bool ok = !n && !fsync(fd);
  int e = errno;
  close(fd);
  if (ok && !rename(tmp, path) && !sync_dir(path)) return 0;
  if (ok) e = errno;
  unlink(tmp);
  return kg_error_set(err, e == ENOSPC ? KG_EFULL : KG_EINTERNAL, "cannot write %s: %s", path, strerror(e));
}

char *gw_read_file(const char *path, size_t *n, kg_error_t *err) {
  FILE *f = fopen(path, "re");
  char *text = f ? malloc(1 << 20) : NULL;
  if (!text) {
    kg_error_set(err, errno == ENOENT ? KG_ENOTFOUND : KG_EINTERNAL, "cannot read %s: %s", path, strerror(errno));
    if (f) fclose(f);
    return NULL;
  }
  size_t got = fread(text, 1, (1 << 20) - 1, f);
  fclose(f);
  text[got] = 0;
  if (n) *n = got;
  return text;
}

static char *tls_path(gw_t *gw, const char *name, char path[4096]) {
  snprintf(path, 4096, "%s/%s", gw->tls_dir, name);
  return path;
}

static int write_bio(gw_t *gw, const char *name, BIO *bio, kg_error_t *err) {
  char path[4096], *p = NULL;
  long n = BIO_get_mem_data(bio, &p);
  int r = n > 0 ? gw_write_file(tls_path(gw, name, path), p, (size_t)n, err) : ssl_error(err, "cannot encode PEM");
  BIO_free(bio);
  return r;
}

static int save_key(gw_t *gw, const char *name, EVP_PKEY *key, kg_error_t *err) {
  BIO *bio = BIO_new(BIO_s_mem());
  if (!bio || !PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)) {
    BIO_free(bio);
    return ssl_error(err, "cannot encode a key");
  }
  return write_bio(gw, name, bio, err);
}

static int save_cert(gw_t *gw, const char *name, X509 *cert, kg_error_t *err) {
  BIO *bio = BIO_new(BIO_s_mem());
  if (!bio || !PEM_write_bio_X509(bio, cert)) {
    BIO_free(bio);
    return ssl_error(err, "cannot encode a certificate");
  }
  return write_bio(gw, name, bio, err);
}

EVP_PKEY *gw_pki_key(gw_t *gw, const char *name) {
  char path[4096];
  BIO *bio = BIO_new_file(tls_path(gw, name, path), "r");
  EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
  BIO_free(bio);
  ERR_clear_error();
  return key;
}

X509 *gw_pki_cert(gw_t *gw, const char *name) {
  char path[4096];
  BIO *bio = BIO_new_file(tls_path(gw, name, path), "r");
  X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
  BIO_free(bio);
  ERR_clear_error();
  return cert;
}

/* The key of that file, made when there is none. */
static EVP_PKEY *own_key(gw_t *gw, const char *name, kg_error_t *err) {
  EVP_PKEY *key = gw_pki_key(gw, name);
  if (key) return key;
  char path[4096];
  if (!access(tls_path(gw, name, path), F_OK)) {
    kg_error_set(err, KG_EINTERNAL, "%s is no private key in PEM form; remove it to have a new one made", path);
    return NULL;
  }
  key = EVP_EC_gen("P-256");
  if (!key)
    ssl_error(err, "cannot make a key");
  else if (save_key(gw, name, key, err)) {
    EVP_PKEY_free(key);
    key = NULL;
  }
  return key;
}

/* --- certificates
 * ------------------------------------------------------------------------------------------------------ */

typedef struct subject {
  const char *org, *name, *usage, *alt;
  bool ca;
  int days;
} subject_t;

int gw_pki_extend(X509 *cert, X509 *issuer, int nid, const char *value) {
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
  X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
  int ok = ext && X509_add_ext(cert, ext, -1);
  X509_EXTENSION_free(ext);
  return ok ? 0 : -1;
}

static int fill(X509 *cert, EVP_PKEY *key, X509 *issuer, const subject_t *s, int64_t now_s) {
  unsigned char serial[16];
  if (RAND_bytes(serial, sizeof serial) != 1) return -1;
  serial[0] &= 0x7f;
  BIGNUM *bn = BN_bin2bn(serial, sizeof serial, NULL);
  int ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));
  BN_free(bn);
  X509_NAME *name = X509_get_subject_name(cert);
  ok = ok && X509_set_version(cert, X509_VERSION_3) && X509_set_pubkey(cert, key) &&
       ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(now_s - 3600)) &&
       ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(now_s + 86400LL * s->days));
  if (ok && s->org) ok = X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)s->org, -1, -1, 0);
  ok = ok && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)s->name, -1, -1, 0) &&
       X509_set_issuer_name(cert, X509_get_subject_name(issuer));
  if (!ok || gw_pki_extend(cert, issuer, NID_basic_constraints, s->ca ? "critical,CA:TRUE" : "critical,CA:FALSE"))
    return -1;
  if (gw_pki_extend(cert, issuer, NID_key_usage,
                    s->ca ? "critical,digitalSignature,keyEncipherment,keyCertSign" : "critical,digitalSignature"))
    return -1;
  if (s->usage && gw_pki_extend(cert, issuer, NID_ext_key_usage, s->usage)) return -1;
  if (gw_pki_extend(cert, issuer, NID_subject_key_identifier, "hash")) return -1;
  if (!s->ca && gw_pki_extend(cert, issuer, NID_authority_key_identifier, "keyid")) return -1;
  return s->alt ? gw_pki_extend(cert, issuer, NID_subject_alt_name, s->alt) : 0;
}

/* issuer NULL: signed by itself. */
static X509 *make_cert(gw_t *gw, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, const subject_t *s,
                       kg_error_t *err) {
  X509 *cert = X509_new();
  if (cert && !fill(cert, key, issuer ? issuer : cert, s, kg_wall_us(gw->ctx) / 1000000) &&
      X509_sign(cert, issuer_key, EVP_sha256()))
    return cert;
  X509_free(cert);
  ssl_error(err, "cannot make a certificate");
  return NULL;
}

static bool still_good(gw_t *gw, X509 *cert, X509 *issuer, EVP_PKEY *key, EVP_PKEY *issuer_key) {
  time_t then = (time_t)(kg_wall_us(gw->ctx) / 1000000 + 86400LL * RENEW_DAYS);
  return cert && X509_cmp_time(X509_get0_notAfter(cert), &then) > 0 && X509_check_private_key(cert, key) == 1 &&
         X509_verify(cert, issuer_key) == 1 &&
         X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(issuer)) == 0;
}

/* Every name wanted is in the certificate. `alt` is a list as OpenSSL's configuration has it: "DNS:a,IP:b". */
static bool covers(X509 *cert, const char *alt) {
  char *list = strdup(alt), *save = NULL;
  bool all = list != NULL;
  for (char *s = list ? strtok_r(list, ",", &save) : NULL; s && all; s = strtok_r(NULL, ",", &save))
    all =
        !strncmp(s, "DNS:", 4) ? X509_check_host(cert, s + 4, 0, 0, NULL) == 1 : X509_check_ip_asc(cert, s + 3, 0) == 1;
  free(list);
  return all;
}

static int leaf(gw_t *gw, const char *name, X509 *ca, EVP_PKEY *ca_key, const subject_t *s, kg_error_t *err) {
  char crt[32], keyname[32];
  snprintf(crt, sizeof crt, "%s.crt", name);
  snprintf(keyname, sizeof keyname, "%s.key", name);
  EVP_PKEY *key = own_key(gw, keyname, err);
  X509 *cert = key ? gw_pki_cert(gw, crt) : NULL;
  int r = key ? 0 : -1;
  if (key && (!still_good(gw, cert, ca, key, ca_key) || (s->alt && !covers(cert, s->alt)))) {
    X509_free(cert);
    cert = make_cert(gw, key, ca, ca_key, s, err);
    r = cert ? save_cert(gw, crt, cert, err) : -1;
    if (!r) kg_log(gw->ctx, KG_LOG_INFO, "made certificate %s/%s for %s", gw->tls_dir, crt, s->name);
  }
  X509_free(cert);
  EVP_PKEY_free(key);
  return r;
}

/* --- names of the server
 * ------------------------------------------------------------------------------------------------ */

static void add_alt(kube_buf_t *b, const char *name, size_t n) {
  char z[256];
  if (!n || n >= sizeof z || memchr(name, ',', n)) return;
  memcpy(z, name, n);
  z[n] = 0;
  ASN1_OCTET_STRING *is_ip = a2i_IPADDRESS(z);
  kube_buf_fmt(b, "%s%s:%s", b->n ? "," : "", is_ip ? "IP" : "DNS", z);
  ASN1_OCTET_STRING_free(is_ip);
  ERR_clear_error();
}

static char *server_names(gw_t *gw) {
  static const char *const always[] = {"localhost",
                                       "kubernetes",
                                       "kubernetes.default",
                                       "kubernetes.default.svc",
                                       "kubernetes.default.svc.cluster.local",
                                       "127.0.0.1",
                                       "::1",
                                       "10.96.0.1",
                                       "10.42.0.1"};
  kube_buf_t b = {0};
  char host[256] = "";
  for (size_t i = 0; i < sizeof always / sizeof *always; i++) add_alt(&b, always[i], strlen(always[i]));
  gethostname(host, sizeof host - 1);
  add_alt(&b, host, strlen(host));
  for (size_t i = 0; i < gw->naddresses; i++)
    if (strcmp(gw->addresses[i], "0.0.0.0") && strcmp(gw->addresses[i], "::"))
      add_alt(&b, gw->addresses[i], strlen(gw->addresses[i]));
  for (kg_iter_t it = kg_iter(kg_view_get(kg_config(gw->ctx), "certificateNames")); kg_iter_next(&it);) {
    kg_str_t s = kg_view_str(it.value);
    if (s.p) add_alt(&b, s.p, s.n);
  }
  kube_buf_add(&b, "", 1);
  return b.p;
}

/* --- all of it
 * ----------------------------------------------------------------------------------------------------------- */

static X509 *own_ca(gw_t *gw, EVP_PKEY *key, kg_error_t *err) {
  X509 *ca = gw_pki_cert(gw, "ca.crt");
  if (ca && X509_check_private_key(ca, key) == 1) return ca;
  if (ca) {
    X509_free(ca);
    kg_error_set(err, KG_EINTERNAL, "%s/ca.crt does not belong to ca.key; remove both to have new ones made",
                 gw->tls_dir);
    return NULL;
  }
  subject_t s = {.name = "kubernetes", .ca = true, .days = CA_DAYS};
  ca = make_cert(gw, key, NULL, key, &s, err);
  if (ca && save_cert(gw, "ca.crt", ca, err)) {
    X509_free(ca);
    ca = NULL;
  }
  return ca;
}

int gw_pki_prepare(gw_t *gw, kg_error_t *err) {
  if (mkdir(gw->tls_dir, 0700) && errno != EEXIST)
    return kg_error_set(err, KG_EINTERNAL, "cannot make %s: %s", gw->tls_dir, strerror(errno));
  char *names = server_names(gw);
  EVP_PKEY *ca_key = own_key(gw, "ca.key", err);
  X509 *ca = ca_key ? own_ca(gw, ca_key, err) : NULL;
  subject_t server = {.name = "kube-apiserver", .usage = "serverAuth", .alt = names, .days = LEAF_DAYS};
  subject_t admin = {.org = "system:masters", .name = "kubernetes-admin", .usage = "clientAuth", .days = LEAF_DAYS};
  int r = ca && names ? leaf(gw, "server", ca, ca_key, &server, err) : -1;
  if (!r) r = leaf(gw, "admin", ca, ca_key, &admin, err);
  EVP_PKEY_free(gw->sa_key);
  gw->sa_key = r ? NULL : own_key(gw, "sa.key", err);
  if (!gw->sa_key || gw_jwt_key_id(gw->sa_key, gw->sa_kid)) r = -1;
  X509_free(ca);
  EVP_PKEY_free(ca_key);
  free(names);
  return r;
}

static int put_file64(gw_t *gw, kube_buf_t *b, const char *key, const char *file, kg_error_t *err) {
  char path[4096];
  size_t n = 0;
  char *text = gw_read_file(tls_path(gw, file, path), &n, err);
  if (!text) return -1;
  kube_buf_fmt(b, "    %s: ", key);
  kube_buf_base64(b, text, n);
  kube_buf_addz(b, "\n");
  OPENSSL_cleanse(text, n);
  free(text);
  return b->failed ? kg_error_set(err, KG_EINTERNAL, "out of memory") : 0;
}

int gw_kubeconfig_text(gw_t *gw, kube_buf_t *b, kg_error_t *err) {
  const char *host = gw->naddresses ? gw->addresses[0] : "127.0.0.1";
  if (!strcmp(host, "0.0.0.0")) host = "127.0.0.1";
  if (!strcmp(host, "::")) host = "::1";
  bool six = strchr(host, ':') != NULL;
  kube_buf_fmt(b, "apiVersion: v1\nkind: Config\nclusters:\n- name: kogge\n  cluster:\n    server: https://%s%s%s:%d\n",
               six ? "[" : "", host, six ? "]" : "", gw->port);
  if (put_file64(gw, b, "certificate-authority-data", "ca.crt", err)) return -1;
  kube_buf_addz(
      b,
      "contexts:\n- name: kogge\n  context:\n    cluster: kogge\n    user: kubernetes-admin\ncurrent-context: kogge\n"
      "users:\n- name: kubernetes-admin\n  user:\n");
  if (put_file64(gw, b, "client-certificate-data", "admin.crt", err)) return -1;
  return put_file64(gw, b, "client-key-data", "admin.key", err);
}

/* --- TLS
 * ----------------------------------------------------------------------------------------------------------------- */

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *in,
                           unsigned in_n, void *arg) {
  (void)ssl, (void)arg;
  static const unsigned char ours[] = "\x02h2\x08http/1.1";
  int r = SSL_select_next_proto((unsigned char **)out, n, ours, sizeof ours - 1, in, in_n);
  return r == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* A client certificate that does not verify is not the end of the connection: its requests are answered with 401. */
static int accept_any(int ok, X509_STORE_CTX *ctx) {
  (void)ok, (void)ctx;
  return 1;
}

int gw_tls_open(gw_t *gw, kg_error_t *err) {
  char crt[4096], key[4096], ca[4096];
  tls_path(gw, "server.crt", crt);
  tls_path(gw, "server.key", key);
  tls_path(gw, "ca.crt", ca);
  SSL_CTX *t = SSL_CTX_new(TLS_server_method());
  if (!t) return ssl_error(err, "cannot make a TLS context");
  SSL_CTX_set_min_proto_version(t, TLS1_2_VERSION);
  SSL_CTX_set_mode(t, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_options(t, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                             SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CIPHER_SERVER_PREFERENCE);
  /* The cheapest first: on a loaded server encryption is most of what a long answer costs. */
  SSL_CTX_set_ciphersuites(t, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
  SSL_CTX_set_session_cache_mode(t, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(t, 0);
  SSL_CTX_set_read_ahead(t, 1);
  SSL_CTX_set_alpn_select_cb(t, choose_protocol, NULL);
  SSL_CTX_set_verify(t, SSL_VERIFY_PEER, accept_any);
  STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(ca);
  if (names) SSL_CTX_set_client_CA_list(t, names);
  if (!names || SSL_CTX_use_certificate_chain_file(t, crt) != 1 ||
      SSL_CTX_use_PrivateKey_file(t, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_load_verify_locations(t, ca, NULL) != 1) {
    SSL_CTX_free(t);
    return ssl_error(err, "cannot use the server certificate");
  }
  X509_VERIFY_PARAM_set_purpose(SSL_CTX_get0_param(t), X509_PURPOSE_SSL_CLIENT);
  SSL_CTX_free(gw->tls);
  gw->tls = t;
  return 0;
}
