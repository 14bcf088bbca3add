#ifndef GATEWAY_H
#define GATEWAY_H
/*
 * The gateway's own structures. Everything runs in the lane's thread. A connection carries exchanges (one request and
 * its answer): HTTP/1.1 one at a time, HTTP/2 many. Above http1.c and http2.c nobody knows which of the two it is.
 *
 * Lifetimes: writing never closes a connection from inside; a failed write marks it and the connection goes in the next
 * turn of the lane. An exchange is gone after gw_respond() or gw_stream_end(): the caller must not touch it again.
 */
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kogge/plugin.h"
#include "kube/json.h"
#include "kube/schema.h"
#include <llhttp.h>

#define GW_PROTOBUF "application/vnd.kubernetes.protobuf"
#define GW_MAX_BODY (3u << 20)
#define GW_MAX_HEAD (64u << 10)
#define GW_MAX_REST (256u << 10)   /* bytes read ahead while an exchange is worked on */
#define GW_BACKLOG_LOW (64u << 10) /* a stream is asked for more below this */
#define GW_GZIP_MIN (128u << 10)
#define GW_MAX_LISTEN 8
#define GW_RECORD (17u << 10) /* a TLS record is no longer */

typedef struct gw gw_t;
typedef struct gw_conn gw_conn_t;
typedef struct gw_ex gw_ex_t;
typedef struct gw_series gw_series_t; /* metrics.c */

/* --- bytes that several connections may be sending ------------------------------------------------------------------
 */

typedef struct gw_blob {
  unsigned refs;
  size_t n;
  size_t skip, tail; /* a framed blob carries HTTP/1.1 chunk framing around its content: these many bytes */
  char *p;
} gw_blob_t;
/* Takes over `p` (from malloc). Exits never; NULL when out of memory (p is freed then). */
gw_blob_t *gw_blob_take(char *p, size_t n);
gw_blob_t *gw_blob_copy(const void *p, size_t n);
/* Copies the content with chunk framing around it, for gw_stream_blob(). n > 0. */
gw_blob_t *gw_blob_framed(const void *p, size_t n);
gw_blob_t *gw_blob_ref(gw_blob_t *b);
void gw_blob_unref(gw_blob_t *b);

typedef struct gw_out { /* one piece of a queue: bytes [from, to) of the blob */
  struct gw_out *next;
  gw_blob_t *blob;
  size_t from, to;
} gw_out_t;
typedef struct gw_queue {
  gw_out_t *head, *tail;
  size_t bytes;
} gw_queue_t;
int gw_queue_add(gw_queue_t *q, gw_blob_t *b); /* takes its own reference; -1 out of memory */
int gw_queue_add_range(gw_queue_t *q, gw_blob_t *b, size_t from, size_t to);
size_t gw_queue_copy(const gw_queue_t *q, char *to, size_t room);
void gw_queue_drop(gw_queue_t *q, size_t n); /* forgets the first n bytes */
void gw_queue_clear(gw_queue_t *q);

/* --- users ----------------------------------------------------------------------------------------------------------
 */

typedef struct gw_user {
  unsigned refs;
  char *name;
  kg_doc_t *doc;         /* {name, uid?, groups: [...], extra?} as the api role wants it */
  bool anonymous, super; /* super: of system:masters, who may do everything */
} gw_user_t;
gw_user_t *gw_user_new(const char *name, const char *const *groups, size_t ngroups, kg_view_t extra);
gw_user_t *gw_user_ref(gw_user_t *u);
void gw_user_unref(gw_user_t *u);

/* --- exchange -------------------------------------------------------------------------------------------------------
 */

typedef enum { GW_READING, GW_WORKING, GW_STREAMING, GW_UPGRADED } gw_state_t;
typedef enum { GW_FORM_JSON, GW_FORM_TABLE, GW_FORM_META, GW_FORM_DISCOVERY, GW_FORM_OPENAPI, GW_FORM_NONE } gw_form_t;

/* Where a URL leads: strings lie in the exchange's head buffer, decoded and NUL-terminated; never NULL. */
typedef struct gw_route {
  bool resource; /* /api/V/... or /apis/G/V/... with a resource */
  bool watch;    /* legacy /watch/ prefix */
  const char *group, *version, *ns, *resource_name, *name, *sub;
  const char *rest; /* what follows the subresource (proxy paths) */
} gw_route_t;

struct gw_ex {
  gw_conn_t *conn;
  gw_ex_t *prev, *next; /* in conn->exchanges */
  int32_t stream;       /* HTTP/2 stream id; 0: HTTP/1.1 */
  gw_state_t state;
  const char *method;
  kube_buf_t head;   /* target\0 name\0 value\0 ...: lower-case names */
  size_t headers;    /* offset of the first name in head */
  char *path;        /* malloc'ed, decoded path */
  char *authority;   /* HTTP/2: malloc'ed; what the header host is in HTTP/1.1 */
  const char *query; /* raw, in head; "" if none */
  kube_buf_t body;
  kube_buf_t extra; /* answer headers: name\0 value\0 ... */
  gw_user_t *user;
  gw_route_t route;
  char *route_text; /* storage of the route */
  gw_form_t form;
  bool meta_one; /* metadata of one object was asked for, not of a list */
  bool protobuf; /* objects and metadata go out as protobuf; what has no such form stays JSON */
  char include_object[10];
  const char *verb; /* get, list, watch, create, ...: for metrics and 403 */
  int64_t started_us;
  bool is_head, keep_alive, http10, chunked, upgrade, pretty, ended, counted;
  bool stranger; /* says not who it is */
  int refused;   /* HTTP/2: the code to answer with when the head is complete */
  size_t held;   /* bytes of the budget for requests (admit.c) */
  size_t answer; /* HTTP/2: and of that for answers */
  uint64_t call; /* bus call that works on it, 0: none */
  uint64_t timer;
  void *op;                                              /* what the operation keeps */
  void (*on_gone)(gw_ex_t *ex);                          /* the client has gone or the exchange is over: free op */
  void (*on_drain)(gw_ex_t *ex);                         /* what was queued is mostly written */
  void (*on_data)(gw_ex_t *ex, const char *p, size_t n); /* upgraded: bytes from the client */
  gw_queue_t out;                                        /* HTTP/2: body bytes not yet framed */
  bool out_end;                                          /* HTTP/2: nothing follows `out` */
  bool deferred;
  bool patient;                              /* what waits is bounded by credit: the client may take it when it likes */
  gw_series_t *series;                       /* what it was counted in, while it streams */
  void (*allowed)(gw_ex_t *ex);              /* goes on when the user may */
  void (*found)(gw_ex_t *ex, kg_view_t pod); /* goes on when the pod is known (gw_pod_get) */
  int status;
};

/* NUL-terminated value of a request header, NULL if absent. `name` in lower case. */
const char *gw_header(const gw_ex_t *ex, const char *name);
/* Walks all headers: *at starts with 0; NULL at the end. */
const char *gw_header_at(const gw_ex_t *ex, size_t *at, const char **value);
/* Value of a query parameter, decoded and malloc'ed; NULL if absent. `from`: position to go on for repeated ones, start
 * with 0. */
char *gw_query(const gw_ex_t *ex, const char *name, size_t *from);
bool gw_query_bool(const gw_ex_t *ex, const char *name);
/* Decodes %XX (and '+' when plus) in place; returns the new length or -1 for a broken escape or a NUL. */
ssize_t gw_unescape(char *s, size_t n, bool plus);

gw_ex_t *gw_ex_new(gw_conn_t *conn, int32_t stream);
/* Frees it; cancels its call, calls on_gone. */
void gw_ex_free(gw_ex_t *ex);

/* Adds an answer header. `name` in lower case. */
void gw_add_header(gw_ex_t *ex, const char *name, const char *value);
/* The whole answer; takes over body's memory (may be NULL). The exchange is gone afterwards. */
void gw_respond(gw_ex_t *ex, int code, const char *type, kube_buf_t *body);
void gw_respond_json(gw_ex_t *ex, int code, const char *type, kube_buf_t *body); /* pretty, if it was asked for */
bool gw_wants_gzip(const gw_ex_t *ex);
void gw_respond_text(gw_ex_t *ex, int code, const char *text);
/* A metav1.Status; details is JSON text or NULL. Gone afterwards. */
void gw_status(gw_ex_t *ex, int code, const char *reason, const char *details, const char *fmt, ...) KG_PRINTF(5, 6);
/* A Status from the bus: its own document if it brought one. Gone afterwards. */
void gw_status_of(gw_ex_t *ex, const kg_msg_t *error);
const char *gw_reason(int code);
void gw_add_warnings(gw_ex_t *ex, kg_view_t args); /* the "warnings" of an answer of the api role become headers */
void gw_status_json(kube_buf_t *b, int code, const char *reason, const char *details, const char *message);

enum { GW_LENGTH_UNKNOWN = -1, GW_LENGTH_NONE = -2 }; /* NONE: the answer has no body, whatever it says */
void gw_stream_begin(gw_ex_t *ex, int code, const char *type);
/* The same when the length of the body is known; exactly so many bytes must follow (none for HEAD). */
void gw_stream_begin_sized(gw_ex_t *ex, int code, const char *type, ssize_t length);
void gw_stream_abort(gw_ex_t *ex); /* the client sees that the answer is not whole; gone in the next turn */
/* Queues one framed piece (reference taken); it leaves with the next turn of the lane. */
void gw_stream_blob(gw_ex_t *ex, gw_blob_t *b);
void gw_stream_add(gw_ex_t *ex, gw_blob_t *b); /* the same, for callers who flush the connection themselves */
void gw_stream_end(gw_ex_t *ex);               /* gone afterwards */
size_t gw_backlog(const gw_ex_t *ex);
/* HTTP/1.1 only: answers 101 with the headers added before; from then on bytes go raw, to on_data and through gw_raw().
 */
void gw_upgrade(gw_ex_t *ex);
void gw_raw(gw_ex_t *ex, const void *p, size_t n);
void gw_raw_end(gw_ex_t *ex); /* closes after what is queued; gone afterwards */

/* --- connection -----------------------------------------------------------------------------------------------------
 */

struct gw_conn {
  gw_t *gw;
  gw_conn_t *prev, *next; /* in gw->conns */
  gw_conn_t *dirty_next;
  int fd;
  SSL *ssl;
  bool dirty, broken, shaken, eof, half_closed, close_after, lingering, no_read, read_again, running, is_h2;
  bool patient;        /* the last exchange was */
  uint32_t events;     /* watched now */
  int64_t deadline_ms; /* 0: none */
  gw_queue_t out;
  char *left; /* TLS records that the socket did not take yet: nleft bytes from left_from on */
  size_t nleft, left_from;
  gw_user_t *user; /* by client certificate; NULL: none; */
  bool bad_cert;
  gw_ex_t *exchanges;
  /* HTTP/1.1 */
  llhttp_t *parser;
  gw_ex_t *reading; /* the exchange whose request is being read; HTTP/2: its head */
  kube_buf_t rest;  /* read ahead */
  bool in_head, last_cr;
  size_t line, head_bytes;
  int parse_code;    /* answer code when a callback refused the request */
  bool continued;    /* 100 Continue was sent */
  bool message_done; /* the parser stopped because a request is complete */
  /* HTTP/2 */
  void *h2;
  int64_t calm_ms; /* when frames that ask for nothing were last counted, and how many more may come */
  int calm;
  size_t held;    /* by its exchanges */
  size_t answers; /* bytes of large answers that the client has not taken yet (admit.c) */
};

/* wire_out.c: records of one connection are gathered between begin and end. */
typedef struct gw_wire {
  BIO_METHOD *method;
  gw_conn_t *conn; /* whose records are gathered now */
  size_t n;
  char p[12 * GW_RECORD];
} gw_wire_t;
int gw_wire_open(gw_conn_t *c);        /* after SSL_set_fd: what it writes goes this way */
int gw_wire_begin(gw_conn_t *c);       /* 1: write; 0: the socket takes nothing now; -1: the connection is broken */
bool gw_wire_has_room(const gw_t *gw); /* for a record */
int gw_wire_end(gw_conn_t *c);         /* sends; -1: the connection is broken */
void gw_wire_free(gw_t *gw);

int gw_listen(gw_t *gw, const char *address, int port, kg_error_t *err);
/* self.c: Endpoints and EndpointSlice of Service default/kubernetes lead to this address. */
void gw_publish_self(gw_t *gw, kg_str_t address);
void gw_forget_self(gw_t *gw);
void gw_conn_dirty(gw_conn_t *c);                   /* write in the next turn */
void gw_conn_flush_all(gw_t *gw);                   /* all dirty ones: only from top-level handlers */
void gw_conn_flush(gw_conn_t *c);                   /* write what the socket takes; marks broken on failure */
void gw_conn_close(gw_conn_t *c);                   /* frees: only from top-level handlers */
void gw_conn_deadline(gw_conn_t *c, int64_t in_ms); /* 0: none */
void gw_conn_interest(gw_conn_t *c);
void gw_conn_read_again(gw_conn_t *c);
void gw_conn_break(gw_conn_t *c); /* close in the next turn */
void gw_accept(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg);

void gw_http1_open(gw_conn_t *c);
void gw_http1_feed(gw_conn_t *c, const char *p, size_t n);
void gw_http1_next(gw_conn_t *c); /* goes on with bytes read ahead */
void gw_http1_close(gw_conn_t *c);
/* Answer head and body pieces in HTTP/1.1 form. */
void gw_http1_head(gw_ex_t *ex, int code, const char *type, ssize_t length);

int gw_http2_open(gw_conn_t *c);
void gw_http2_feed(gw_conn_t *c, const char *p, size_t n);
void gw_http2_close(gw_conn_t *c);
void gw_http2_head(gw_ex_t *ex, int code, const char *type, ssize_t length, bool has_body);
void gw_http2_resume(gw_ex_t *ex);
void gw_http2_pump(gw_conn_t *c); /* frames into c->out while there is room */
void gw_http2_drain(gw_conn_t *c);
void gw_http2_forget(gw_ex_t *ex);
void gw_http2_reset(gw_ex_t *ex); /* ends the stream with an error */

/* --- the plugin -----------------------------------------------------------------------------------------------------
 */

struct gw_watch_cache;
struct gw_hubs;
struct gw_runs;
struct gw_token_cache;
struct gw {
  kg_ctx_t *ctx;
  int port;
  char addresses[GW_MAX_LISTEN][64];
  size_t naddresses;
  int listen_fd[GW_MAX_LISTEN];
  size_t nlisten;
  char pod_address[64];                              /* where pods reach us; "": not known */
  struct kube_informer *self_endpoints, *self_slice; /* NULL: not published yet */
  int spare_fd;                                      /* kept for accept() when descriptors run out */
  char *tls_dir;
  kg_doc_t *config;
  SSL_CTX *tls;
  EVP_PKEY *sa_key;
  char sa_kid[48];
  X509_STORE *clients;
  gw_conn_t *conns;
  size_t nconns, nstreams;
  gw_conn_t *dirty;
  uint64_t flush_timer, sweep_timer, renew_timer;
  size_t ndeadlines;
  bool draining, probing;
  uint64_t drain_timer;
  gw_user_t *anonymous;
  struct gw_watch_cache *watches;
  struct gw_hubs *hubs;
  struct gw_runs *runs;
  struct gw_token_cache *tokens;
  char date[40];
  int64_t date_s;
  gw_series_t **series; /* hash table of what is counted */
  size_t nseries;
  uint64_t accepted, requests, refused, handshake_failures, bad_requests, tls_errors;
  size_t held, held_by_strangers, answers; /* admit.c */
  int request_ms;                          /* a request is to be complete after these */
  gw_wire_t wire;
  char scratch[32 << 10]; /* reading and gathering */
  char gather[16 << 10];
};

const char *gw_date(gw_t *gw);
/* metrics.c */
void gw_count(gw_ex_t *ex, int code); /* an answer begins: once for each exchange */
void gw_uncount(gw_ex_t *ex);         /* the exchange is over */
void gw_series_free(gw_t *gw);
bool gw_health(gw_ex_t *ex); /* health.c: false: not of its paths */

/* pki.c: files under tls_dir are made when absent, renewed when within 30 days of their end. */
int gw_pki_prepare(gw_t *gw, kg_error_t *err);
int gw_kubeconfig_text(gw_t *gw, kube_buf_t *b, kg_error_t *err);
int gw_tls_open(gw_t *gw, kg_error_t *err);
/* Writes a file of mode 0600 so that it is there whole or not at all. */
int gw_write_file(const char *path, const void *p, size_t n, kg_error_t *err);
char *gw_read_file(const char *path, size_t *n, kg_error_t *err);

/* Of a file under tls_dir; caller owns; NULL: there is none. */
EVP_PKEY *gw_pki_key(gw_t *gw, const char *name);
X509 *gw_pki_cert(gw_t *gw, const char *name);
/* Adds an extension in OpenSSL's words. -1: it cannot be. */
int gw_pki_extend(X509 *cert, X509 *issuer, int nid, const char *value);
/* sign.c: a certificate for {request, usages, seconds}, appended to out; request and certificate: base64 of PEM. */
int gw_sign_request(gw_t *gw, kg_view_t args, kube_buf_t *out, kg_error_t *err);

/* jwt.c */
char *gw_jwt_sign(gw_t *gw, kg_view_t claims, kg_error_t *err); /* malloc'ed compact JWS */
/* Claims of a token whose signature and times are right; caller owns. NULL with a sentence. */
kg_doc_t *gw_jwt_verify(gw_t *gw, const char *token, kg_error_t *err);
int gw_jwt_key_id(EVP_PKEY *key, char kid[48]);
void gw_jwt_keys(gw_t *gw, kube_buf_t *b); /* the public key as a JSON Web Key Set (RFC 7517) */

/* auth.c */
/* Who asks: reference for the caller; NULL: refuse with 401. */
gw_user_t *gw_authenticate(gw_ex_t *ex);
gw_user_t *gw_user_of_cert(X509 *cert);
void gw_token_cache_free(gw_t *gw);

/* access.c. Both go on with the function given, or answer why not; superusers pass at once. */
void gw_authorize(gw_ex_t *ex, void (*allowed)(gw_ex_t *ex)); /* the exchange's own verb on its resource or URL */
void gw_impersonate(gw_ex_t *ex, void (*next)(gw_ex_t *ex));  /* Impersonate-* headers change ex->user */
/* The user of a token, for TokenReview; NULL with a sentence. Caller owns. */
gw_user_t *gw_user_of_token(gw_t *gw, const char *token, kg_error_t *err);

/* admit.c: bytes of requests that are not answered yet. Codes: 0, or what to give to gw_refuse(). */
int gw_hold(gw_ex_t *ex, size_t n); /* counts n more for this exchange; 429: there is no room */
void gw_release(gw_ex_t *ex);       /* all that it held */
/* An answer of so many bytes will wait for its client. False: too much waits already. Given back by its exchange's end
 * (HTTP/2), or when the connection has sent all (HTTP/1.1). */
bool gw_hold_answer(gw_ex_t *ex, size_t n);
bool gw_answers_full(const gw_ex_t *ex); /* a large one would be refused */
bool gw_answers_refuse(gw_ex_t *ex);     /* true: it is, and was answered with 429 before anything was encoded */
void gw_release_answers(gw_conn_t *c, size_t n);
int gw_body_add(gw_ex_t *ex, const void *p, size_t n);
void gw_refuse(gw_ex_t *ex,
               int code); /* answers with the Status of a request that is not worked on. Gone afterwards. */

/* route.c, request.c, body.c, ... */
int gw_admit(gw_ex_t *ex);    /* its head is complete: who asks, and for what. A code as above. */
void gw_request(gw_ex_t *ex); /* the request is complete */
int gw_route_parse(const char *path, gw_route_t *r, char **text); /* 0: r filled; -1: no such path */
kg_doc_t *gw_body(gw_ex_t *ex, const char *type, kg_pack_t *duplicates, kg_error_t *err);
kg_doc_t *gw_protobuf_parse(const char *p, size_t n, kg_error_t *err);
/* protobuf_write.c. Each appends to b; false: the kind has no protobuf form, b holds nothing of use then. */
const kube_type_t *gw_protobuf_type(kg_str_t api_version, kg_str_t kind); /* NULL: none */
bool gw_protobuf_object(kube_buf_t *b, kg_view_t object);
void gw_protobuf_meta(kube_buf_t *b, kg_view_t object);             /* PartialObjectMetadata */
bool gw_protobuf_list(kube_buf_t *b, const kg_msg_t *m, bool meta); /* m: the answer of api.list */
void gw_openapi_protobuf(kube_buf_t *b, kg_view_t document);        /* openapi_protobuf.c: of the v2 document */
bool gw_protobuf_event(kube_buf_t *b, const char *type, bool meta, kg_view_t object);
/* twice (may be NULL) gets a line for each key that comes twice in a mapping; the last one counts. */
kg_doc_t *gw_yaml_parse(const char *text, size_t n, kube_buf_t *twice, kg_error_t *err);
void gw_negotiate(gw_ex_t *ex);
void gw_api_call(gw_ex_t *ex, const char *topic, kg_doc_t *args, kg_doc_t *body, bool stream, kg_reply_fn fn);
kg_pack_t gw_what(gw_ex_t *ex); /* an open map with g, v, r, sub, ns, name */
kg_pack_t gw_args(gw_ex_t *ex); /* the same with user */
void gw_resource(gw_ex_t *ex);
void gw_answer_object(gw_ex_t *ex, int code, kg_doc_t *doc);
void gw_answer_json(gw_ex_t *ex, int code, const char *type, kg_view_t v);
void gw_meta_only(kube_buf_t *b, kg_view_t object); /* PartialObjectMetadata */
void gw_pass_selectors(gw_ex_t *ex, kg_pack_t *p);
void gw_pass_list(gw_ex_t *ex, kg_pack_t *p); /* query parameters of list and watch */
void gw_on_list(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg);
kg_doc_t *gw_table_args(gw_ex_t *ex, kg_view_t list, bool headers);
void gw_watch(gw_ex_t *ex);
void gw_watch_cache_free(gw_t *gw);
/* listing.c: the answer of api.list as JSON, metadata or protobuf. */
void gw_answer_list(gw_ex_t *ex, const kg_msg_t *m);
void gw_runs_free(gw_t *gw);
void gw_hubs_free(gw_t *gw);    /* hub.c */
bool gw_wellknown(gw_ex_t *ex); /* true: it was one of those and is answered */
bool gw_public_path(const char *path);
void gw_discovery(gw_ex_t *ex);
void gw_openapi(gw_ex_t *ex);
void gw_metrics_page(gw_ex_t *ex);
void gw_logs(gw_ex_t *ex);
void gw_proxy(gw_ex_t *ex); /* pods, services, nodes: what is under their subresource proxy */

#endif
