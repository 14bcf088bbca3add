/* Definitions here come before those of libkogge, so the gateway under test calls these. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

struct kg_msg {
  unsigned refs; /* 0: it lies in somebody's frame */
  kg_msg_type_t type;
  kg_doc_t *args, *doc;
  kg_doc_t **docs; /* of a list */
  size_t ndocs;
  int code;
  const char *text;
};
typedef struct watch {
  kg_fd_fn fn;
  void *arg;
} watch_t;
typedef struct timer {
  uint64_t id;
  int64_t at;
  kg_timer_fn fn;
  void *arg;
} timer_entry_t;

call_t calls[256];
size_t ncalls;
gw_t *gw;
static int epoll = -1;
static watch_t watches[4096];
static timer_entry_t timers[1024];
static uint64_t next_timer;
static kg_doc_t *config;
static char dir[64];

static int64_t clock_us(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

int64_t harness_later_ms;

KG_PUBLIC int64_t kg_now_us(kg_ctx_t *c) {
  return (void)c, clock_us(CLOCK_MONOTONIC) + 1000 * harness_later_ms;
}
KG_PUBLIC int64_t kg_now_ms(kg_ctx_t *c) {
  return kg_now_us(c) / 1000;
}
KG_PUBLIC int64_t kg_wall_us(kg_ctx_t *c) {
  return (void)c, clock_us(CLOCK_REALTIME);
}
KG_PUBLIC uint64_t kg_random(kg_ctx_t *c) {
  return (void)c, 4;
}
KG_PUBLIC kg_view_t kg_config(kg_ctx_t *c) {
  return (void)c, kg_view_of(config);
}
KG_PUBLIC const char *kg_data_dir(kg_ctx_t *c) {
  return (void)c, dir;
}
KG_PUBLIC void kg_log(kg_ctx_t *c, kg_level_t l, const char *f, ...) {
  (void)c, (void)l, (void)f;
}

KG_PUBLIC uint64_t kg_timer(kg_ctx_t *c, int64_t ms, int64_t period, kg_timer_fn fn, void *arg) {
  (void)period;
  for (size_t i = 0; i < 1024; i++)
    if (!timers[i].id) {
      timers[i] = (timer_entry_t){++next_timer, kg_now_ms(c) + ms, fn, arg};
      return next_timer;
    }
  abort();
}
KG_PUBLIC void kg_timer_cancel(kg_ctx_t *c, uint64_t id) {
  (void)c;
  for (size_t i = 0; i < 1024; i++)
    if (timers[i].id == id) timers[i].id = 0;
}
KG_PUBLIC int kg_fd_watch(kg_ctx_t *c, int fd, uint32_t ev, kg_fd_fn fn, void *arg, kg_error_t *err) {
  (void)c, (void)err;
  watches[fd] = (watch_t){fn, arg};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = ev, .data.fd = fd});
}
KG_PUBLIC int kg_fd_change(kg_ctx_t *c, int fd, uint32_t ev) {
  (void)c;
  return epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &(struct epoll_event){.events = ev, .data.fd = fd});
}
KG_PUBLIC void kg_fd_forget(kg_ctx_t *c, int fd) {
  (void)c;
  epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
  watches[fd].fn = NULL;
}

KG_PUBLIC uint64_t kg_send(kg_ctx_t *c, const kg_request_t *r) {
  (void)c;
  if (ncalls == 256) abort();
  call_t *k = &calls[ncalls++];
  *k = (call_t){
      .id = ncalls, .args = kg_doc_ref(r->args), .stream = r->stream, .credit = r->credit, .fn = r->fn, .arg = r->arg};
  if (r->ndocs) k->body = kg_doc_ref(r->docs[0]);
  snprintf(k->service, sizeof k->service, "%s", r->service);
  snprintf(k->topic, sizeof k->topic, "%s", r->topic);
  return k->id;
}
KG_PUBLIC void kg_cancel(kg_ctx_t *c, uint64_t id) {
  (void)c, calls[id - 1].cancelled = true;
}
KG_PUBLIC void kg_credit(kg_ctx_t *c, uint64_t id, uint32_t n) {
  (void)c, calls[id - 1].credit += n;
}
static int items;
KG_PUBLIC int kg_call_item(kg_ctx_t *c, uint64_t id, kg_doc_t *args, kg_doc_t *const *docs, size_t n) {
  (void)c, (void)docs, (void)n;
  kg_doc_unref(calls[id - 1].body);
  calls[id - 1].body = kg_doc_ref(args);
  items++;
  return 0;
}
KG_PUBLIC void kg_call_end(kg_ctx_t *c, uint64_t id) {
  (void)c, calls[id - 1].answered = true;
}

KG_PUBLIC kg_msg_type_t kg_msg_type(const kg_msg_t *m) {
  return m->type;
}
KG_PUBLIC kg_view_t kg_msg_args(const kg_msg_t *m) {
  return kg_view_of(m->args);
}
KG_PUBLIC kg_doc_t *kg_msg_doc(const kg_msg_t *m, size_t i) {
  return m->docs ? (i < m->ndocs ? m->docs[i] : NULL) : i ? NULL : m->doc;
}
KG_PUBLIC size_t kg_msg_ndocs(const kg_msg_t *m) {
  return m->docs ? m->ndocs : m->doc ? 1 : 0;
}
KG_PUBLIC kg_msg_t *kg_msg_ref(const kg_msg_t *m) {
  if (!m->refs) abort();
  ((kg_msg_t *)m)->refs++;
  return (kg_msg_t *)m;
}
KG_PUBLIC void kg_msg_unref(kg_msg_t *m) {
  if (!m || --m->refs) return;
  kg_doc_unref(m->args);
  for (size_t i = 0; i < m->ndocs; i++) kg_doc_unref(m->docs[i]);
  free(m->docs);
  free(m);
}
KG_PUBLIC int kg_msg_code(const kg_msg_t *m) {
  return m->code;
}
KG_PUBLIC const char *kg_msg_text(const kg_msg_t *m) {
  return m->text ? m->text : "";
}

/* --- the loop
 * ---------------------------------------------------------------------------------------------------------- */

static bool run_timers(void) {
  bool any = false;
  int64_t now = kg_now_ms(NULL);
  for (size_t i = 0; i < 1024; i++)
    if (timers[i].id && timers[i].at <= now) {
      timer_entry_t t = timers[i];
      timers[i].id = 0;
      t.fn(NULL, gw, t.arg);
      any = true;
    }
  return any;
}

static bool step(int ms) {
  struct epoll_event ev[64];
  bool any = run_timers();
  int n = epoll_wait(epoll, ev, 64, any ? 0 : ms);
  for (int i = 0; i < n; i++) {
    watch_t *w = &watches[ev[i].data.fd];
    if (w->fn) w->fn(NULL, gw, ev[i].data.fd, ev[i].events, w->arg);
  }
  return any || n > 0;
}

void harness_run(int ms) {
  for (int i = 0; i < 10000 && step(ms); i++) {
  }
}

void harness_start(void) {
  static const char *const groups[] = {"system:unauthenticated"};
  kg_error_t err = {0};
  memset(timers, 0, sizeof timers);
  memset(calls, 0, sizeof calls);
  ncalls = 0;
  snprintf(dir, sizeof dir, "/tmp/kogge-unit-gateway-XXXXXX");
  if (!mkdtemp(dir)) abort();
  epoll = epoll_create1(EPOLL_CLOEXEC);
  gw = calloc(1, sizeof *gw);
  gw->spare_fd = -1;
  gw->request_ms = 30000;
  gw->anonymous = gw_user_new("system:anonymous", groups, 1, (kg_view_t){0});
  gw->anonymous->anonymous = true;
  if (asprintf(&gw->tls_dir, "%s/tls", dir) < 0 || gw_pki_prepare(gw, &err) || gw_tls_open(gw, &err) ||
      gw_listen(gw, "127.0.0.1", 0, &err)) {
    fprintf(stderr, "%s\n", err.text);
    abort();
  }
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  getsockname(gw->listen_fd[0], (struct sockaddr *)&a, &n);
  gw->port = ntohs(a.sin_port);
  kg_fd_watch(NULL, gw->listen_fd[0], EPOLLIN, gw_accept, NULL, NULL);
}

void harness_stop(void) {
  while (gw->conns) gw_conn_close(gw->conns);
  close(gw->listen_fd[0]);
  gw_watch_cache_free(gw);
  gw_hubs_free(gw);
  gw_runs_free(gw);
  gw_wire_free(gw);
  gw_series_free(gw);
  gw_token_cache_free(gw);
  gw_user_unref(gw->anonymous);
  SSL_CTX_free(gw->tls);
  EVP_PKEY_free(gw->sa_key);
  free(gw->tls_dir);
  free(gw);
  for (size_t i = 0; i < ncalls; i++) {
    kg_doc_unref(calls[i].args);
    kg_doc_unref(calls[i].body);
  }
  close(epoll);
  char cmd[128];
  snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
  if (system(cmd)) abort();
}

/* --- clients
 * ------------------------------------------------------------------------------------------------------------ */

static void use_foreign(SSL_CTX *ctx) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *x = X509_new();
  X509_set_pubkey(x, key);
  X509_gmtime_adj(X509_getm_notBefore(x), -60);
  X509_gmtime_adj(X509_getm_notAfter(x), 3600);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "O", MBSTRING_UTF8, (const unsigned char *)"system:masters", -1,
                             -1, 0);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, (const unsigned char *)"kubernetes", -1, -1,
                             0);
  X509_set_issuer_name(x, X509_get_subject_name(x));
  X509_sign(x, key, EVP_sha256());
  SSL_CTX_use_certificate(ctx, x);
  SSL_CTX_use_PrivateKey(ctx, key);
  X509_free(x);
  EVP_PKEY_free(key);
}

client_t *client_open(const char *who, const char *alpn) {
  client_t *c = calloc(1, sizeof *c);
  struct sockaddr_in a = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)gw->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  char crt[128], key[128];
  c->ctx = SSL_CTX_new(TLS_client_method());
  snprintf(crt, sizeof crt, "%s/admin.crt", gw->tls_dir);
  snprintf(key, sizeof key, "%s/admin.key", gw->tls_dir);
  if (!strcmp(who, "admin")) {
    SSL_CTX_use_certificate_file(c->ctx, crt, SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(c->ctx, key, SSL_FILETYPE_PEM);
  } else if (!strcmp(who, "foreign"))
    use_foreign(c->ctx);
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(c->fd, (struct sockaddr *)&a, sizeof a)) abort();
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* else a request waits 40 ms for an acknowledgement */
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  c->ssl = SSL_new(c->ctx);
  if (alpn) SSL_set_alpn_protos(c->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
  SSL_set_fd(c->ssl, c->fd);
  SSL_set_connect_state(c->ssl);
  for (int i = 0; i < 200 && SSL_do_handshake(c->ssl) != 1; i++) harness_run(5);
  harness_run(2);
  return c;
}

void client_close(client_t *c) {
  SSL_free(c->ssl);
  SSL_CTX_free(c->ctx);
  close(c->fd);
  free(c->in);
  free(c);
  harness_run(5);
}

void client_sendn(client_t *c, const char *p, size_t n) {
  for (int i = 0; n && i < 10000; i++) {
    size_t done = 0;
    ERR_clear_error();
    if (SSL_write_ex(c->ssl, p, n, &done))
      p += done, n -= done;
    else {
      int e = SSL_get_error(c->ssl, 0);
      if (e != SSL_ERROR_WANT_WRITE && e != SSL_ERROR_WANT_READ) return;
      harness_run(1);
    }
  }
}

void client_send(client_t *c, const char *text) {
  client_sendn(c, text, strlen(text));
}

static void client_read(client_t *c) {
  for (;;) {
    if (c->room - c->n < 65536) c->in = realloc(c->in, c->room += 131072);
    size_t got = 0;
    ERR_clear_error();
    if (!SSL_read_ex(c->ssl, c->in + c->n, 65000, &got)) {
      int e = SSL_get_error(c->ssl, 0);
      if (e != SSL_ERROR_WANT_READ) c->eof = true;
      break;
    }
    c->n += got;
  }
  c->in[c->n] = 0;
}

const char *client_expect(client_t *c, const char *want) {
  for (int i = 0; i < 400; i++) {
    harness_run(3);
    client_read(c);
    if (want && memmem(c->in, c->n, want, strlen(want))) break;
    if (c->eof || !want) break;
  }
  return c->in;
}

void client_reset(client_t *c) {
  c->n = 0;
  if (c->in) c->in[0] = 0;
}

/* --- the other side of the bus
 * ---------------------------------------------------------------------------------------------- */

call_t *find_call(const char *topic) {
  for (size_t i = ncalls; i--;)
    if (!strcmp(calls[i].topic, topic) && !calls[i].answered && !calls[i].cancelled) return &calls[i];
  return NULL;
}

kg_doc_t *json(const char *text) {
  kg_error_t err = {0};
  kg_doc_t *d = kube_json_parse(text, strlen(text), NULL, NULL, &err);
  if (!d) abort();
  return d;
}

void answer_args(call_t *c, kg_msg_type_t type, kg_doc_t *args) {
  struct kg_msg m = {.type = type, .args = args};
  if (type != KG_MSG_ITEM) c->answered = true;
  if (type == KG_MSG_ITEM && c->credit) c->credit--;
  c->fn(NULL, gw, &m, c->arg);
}

void answer_doc(call_t *c, kg_msg_type_t type, const char *args, kg_doc_t *doc) {
  struct kg_msg m = {.type = type, .args = args ? json(args) : NULL, .doc = doc};
  if (type != KG_MSG_ITEM) c->answered = true;
  if (type == KG_MSG_ITEM && c->credit) c->credit--;
  c->fn(NULL, gw, &m, c->arg);
  kg_doc_unref(m.args);
}

void answer(call_t *c, kg_msg_type_t type, const char *args, const char *doc, int code, const char *text) {
  struct kg_msg m = {
      .type = type, .args = args ? json(args) : NULL, .doc = doc ? json(doc) : NULL, .code = code, .text = text};
  if (type != KG_MSG_ITEM) c->answered = true;
  if (type == KG_MSG_ITEM && c->credit) c->credit--;
  c->fn(NULL, gw, &m, c->arg);
  kg_doc_unref(m.args);
  kg_doc_unref(m.doc);
}

void answer_list(call_t *c, const char *args, kg_doc_t *const *docs, size_t n) {
  kg_msg_t *m = calloc(1, sizeof *m);
  *m = (kg_msg_t){.refs = 1, .type = KG_MSG_REPLY, .args = json(args), .docs = malloc(n * sizeof *docs), .ndocs = n};
  for (size_t i = 0; i < n; i++) m->docs[i] = kg_doc_ref(docs[i]);
  c->answered = true;
  c->fn(NULL, gw, m, c->arg);
  kg_msg_unref(m);
}
