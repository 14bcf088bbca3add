#include "curve.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#define Z85 41 /* 40 characters and NUL */

typedef struct keys {
  char public[Z85], secret[Z85], server[Z85]; /* server: whom to trust, in a client's file */
} keys_t;

/* --- files
 * ---------------------------------------------------------------------------------------------------------------------
 */

static int write_file(const char *path, const char *text, kg_error_t *err) {
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  size_t n = strlen(text);
  bool ok = fd >= 0 && write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
  int why = errno;
  if (fd >= 0) close(fd);
  return ok ? 0 : kg_error_set(err, KG_EINVAL, "key file %s cannot be written: %s", path, strerror(why));
}

static bool field(const char *text, const char *name, char out[Z85]) {
  const char *at = strstr(text, name);
  if (!at) return false;
  at += strlen(name);
  at += strspn(at, " ");
  size_t n = strcspn(at, "\n");
  if (n != Z85 - 1) return false;
  memcpy(out, at, n);
  out[n] = 0;
  uint8_t raw[32];
  return zmq_z85_decode(raw, out) != NULL;
}

static int read_keys(const char *path, bool secret, keys_t *k, kg_error_t *err) {
  char text[1024];
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 && fstat(fd, &st) == 0 ? read(fd, text, sizeof text - 1) : -1;
  int why = errno;
  if (fd >= 0) close(fd);
  if (n < 0) return kg_error_set(err, KG_ENOTFOUND, "key file %s cannot be read: %s", path, strerror(why));
  text[n] = 0;
  if (secret && (st.st_mode & 077))
    return kg_error_set(err, KG_EDENIED, "key file %s can be read by others: its mode must be 0600", path);
  *k = (keys_t){0};
  field(text, "server:", k->server);
  if (!field(text, "public:", k->public) || (secret && !field(text, "secret:", k->secret)))
    return kg_error_set(err, KG_EINVAL, "%s is no key file", path);
  return 0;
}

static int make_dirs(const char *data_dir, kg_error_t *err) {
  char path[PATH_MAX];
  for (const char *const *d = (const char *const[]){"bus", "bus/clients", NULL}; *d; d++) {
    snprintf(path, sizeof path, "%s/%s", data_dir, *d);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
      return kg_error_set(err, KG_EINVAL, "directory %s cannot be made: %s", path, strerror(errno));
  }
  return 0;
}

/* The kernel's own pair, made at first use. */
static int server_keys(const char *data_dir, keys_t *k, kg_error_t *err) {
  char path[PATH_MAX], text[256];
  if (make_dirs(data_dir, err) < 0) return -1;
  snprintf(path, sizeof path, "%s/bus/server.key", data_dir);
  if (access(path, F_OK) == 0) return read_keys(path, true, k, err);
  if (zmq_curve_keypair(k->public, k->secret) < 0)
    return kg_error_set(err, KG_EINTERNAL, "this ZeroMQ was built without CURVE");
  snprintf(text, sizeof text, "public: %s\nsecret: %s\n", k->public, k->secret);
  return write_file(path, text, err);
}

int kg_bus_key(const char *data_dir, const char *name, char *path, size_t room, kg_error_t *err) {
  keys_t server, own;
  char text[256], public[PATH_MAX];
  if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != strlen(name) || !*name || strlen(name) > 63)
    return kg_error_set(err, KG_EINVAL, "a key's name has letters a-z, digits and dashes, not %s", name);
  if (server_keys(data_dir, &server, err) < 0) return -1;
  if (zmq_curve_keypair(own.public, own.secret) < 0)
    return kg_error_set(err, KG_EINTERNAL, "this ZeroMQ was built without CURVE");
  snprintf(path, room, "%s/bus/clients/%s.key", data_dir, name);
  snprintf(public, sizeof public, "%s/bus/clients/%s.pub", data_dir, name);
  snprintf(text, sizeof text, "public: %s\nsecret: %s\nserver: %s\n", own.public, own.secret, server.public);
  if (write_file(path, text, err) < 0) return -1;
  snprintf(text, sizeof text, "public: %s\n", own.public);
  return write_file(public, text, err);
}

/* --- who may come: ZeroMQ asks at inproc://zeromq.zap.01 (RFC 27)
 * ----------------------------------------------------------------- */

static bool is_known(const char *data_dir, const uint8_t raw[32]) {
  char dir[PATH_MAX], path[PATH_MAX + NAME_MAX], key[Z85];
  keys_t k;
  bool found = false;
  zmq_z85_encode(key, raw, 32);
  snprintf(dir, sizeof dir, "%s/bus/clients", data_dir);
  DIR *d = opendir(dir);
  for (struct dirent *e; d && !found && (e = readdir(d)) != NULL;) {
    const char *dot = strrchr(e->d_name, '.');
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    found = dot && strcmp(dot, ".pub") == 0 && read_keys(path, false, &k, NULL) == 0 && strcmp(k.public, key) == 0;
  }
  if (d) closedir(d);
  return found;
}

/* Frames: version, request id, domain, address, identity, mechanism, credentials. */
static int read_question(void *zap, char id[64], size_t *id_size, uint8_t key[32], bool *curve) {
  int n = 0, more = 1;
  for (size_t size = sizeof more; more; n++) {
    uint8_t frame[256];
    int got = zmq_recv(zap, frame, sizeof frame, 0);
    if (got < 0) return -1;
    if (n == 1) memcpy(id, frame, *id_size = got > 64 ? 64 : (size_t)got);
    if (n == 5) *curve = got == 5 && memcmp(frame, "CURVE", 5) == 0;
    if (n == 6 && got == 32)
      memcpy(key, frame, 32);
    else if (n == 6)
      *curve = false;
    if (zmq_getsockopt(zap, ZMQ_RCVMORE, &more, &size) < 0) return -1;
  }
  return n == 7 ? 0 : 1;
}

static void *guard(void *arg) {
  kg_kernel_t *k = arg;
  pthread_setname_np(pthread_self(), "bus-guard");
  for (;;) {
    char id[64];
    size_t id_size = 0;
    uint8_t key[32] = {0};
    bool curve = false;
    int rc = read_question(k->zap, id, &id_size, key, &curve);
    if (rc < 0) break; /* the context ends */
    bool known = rc == 0 && curve && is_known(k->data_dir, key);
    zmq_send(k->zap, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(k->zap, id, id_size, ZMQ_SNDMORE);
    zmq_send(k->zap, known ? "200" : "400", 3, ZMQ_SNDMORE);
    zmq_send(k->zap, known ? "OK" : "unknown key", known ? 2 : 11, ZMQ_SNDMORE);
    zmq_send(k->zap, "", 0, ZMQ_SNDMORE);
    zmq_send(k->zap, "", 0, 0);
  }
  zmq_close(k->zap);
  return NULL;
}

static int start_guard(kg_kernel_t *k, kg_error_t *err) {
  if (k->zap) return 0;
  k->zap = zmq_socket(k->net, ZMQ_REP);
  if (k->zap && zmq_bind(k->zap, "inproc://zeromq.zap.01") == 0 && pthread_create(&k->guard, NULL, guard, k) == 0)
    return 0;
  if (k->zap) zmq_close(k->zap);
  k->zap = NULL;
  return kg_error_set(err, KG_EINTERNAL, "the guard of the bus cannot be started: %s", zmq_strerror(errno));
}

int kg_curve_server(kg_kernel_t *k, void *socket, kg_error_t *err) {
  keys_t keys;
  int on = 1;
  if (server_keys(k->data_dir, &keys, err) < 0 || start_guard(k, err) < 0) return -1;
  if (zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &on, sizeof on) == 0 &&
      zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, keys.secret, Z85) == 0 &&
      zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, "kogge", 5) == 0)
    return 0;
  return kg_error_set(err, KG_EINTERNAL, "CURVE cannot be set up: %s", zmq_strerror(errno));
}

int kg_curve_client(void *socket, const char *key_file, kg_error_t *err) {
  keys_t keys;
  int on = 1;
  if (!key_file) return kg_error_set(err, KG_EINVAL, "another machine is reached with a key file only");
  if (read_keys(key_file, true, &keys, err) < 0) return -1;
  if (!*keys.server) return kg_error_set(err, KG_EINVAL, "%s does not say which server to trust", key_file);
  zmq_setsockopt(socket, ZMQ_TCP_KEEPALIVE, &on, sizeof on);
  if (zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, keys.server, Z85) == 0 &&
      zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, keys.public, Z85) == 0 &&
      zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, keys.secret, Z85) == 0)
    return 0;
  return kg_error_set(err, KG_EINTERNAL, "CURVE cannot be set up: %s", zmq_strerror(errno));
}
