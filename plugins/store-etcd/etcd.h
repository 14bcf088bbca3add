#ifndef KOGGE_STORE_ETCD_H
#define KOGGE_STORE_ETCD_H
/*
 * The store role on etcd's v3 API. One HTTP/2 connection to one member carries everything: unary calls for reads and
 * writes, and one watch over the whole key space, from which the front's watchers are fed. A write is answered when
 * etcd has committed it and this watch has shown it. When the connection or the member fails, the next endpoint is
 * tried; reads and the watch go on there, and writes whose answer was lost fail, because they may have been done.
 *
 * Everything runs in the lane's thread, but for the look-up of host names (dial.c).
 */
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

#include "kube/wire.h"
#include "store.h"

enum {
  ETCD_ENDPOINTS = 16,
  ETCD_MESSAGE_MAX = 512 << 20, /* bytes of one answer */
};

typedef struct etcd etcd_t;
typedef struct etcd_call etcd_call_t;
typedef struct etcd_dial etcd_dial_t;

typedef struct etcd_endpoint {
  char *host;
  int port;
  bool tls;
} etcd_endpoint_t;

/* --- calls (call.c) ---------------------------------------------------------------------------------------------- */

struct etcd_call {
  etcd_call_t *next, *prev; /* in one of the lists of etcd_t */
  etcd_t *etcd;
  const char *path; /* "/etcdserverpb.KV/Txn"; a literal */
  kube_buf_t out;   /* framed messages that go to etcd */
  size_t sent;
  bool stream;      /* not ended by one answer; no deadline */
  bool again;       /* may be sent to another member when the connection fails */
  bool early;       /* goes out before the member was found good */
  bool held;        /* the receiver has no use for more now: etcd is held back by the window */
  bool busy, gone;  /* a callback runs; freed after it */
  int32_t id;       /* of the HTTP/2 stream; 0: waits for a connection */
  int64_t due_ms;   /* unary: deadline */
  kube_buf_t in;    /* bytes that were not taken yet */
  size_t unread;    /* bytes the window is short of while held */
  int http, status; /* HTTP's and gRPC's; -1: not said */
  char text[256];   /* gRPC's message */
  /* Streams: a message of etcd's, borrowed. false: not now, it comes again after etcd_call_resume(). */
  bool (*message)(etcd_call_t *c, wire_span_t m);
  /* It is over; unary and err->code 0: with the answer. The call is freed when this returns. */
  void (*end)(etcd_call_t *c, const kg_error_t *err, wire_span_t answer);
  void *arg;
};

typedef struct etcd_list {
  etcd_call_t *first, *last;
} etcd_list_t;

/* A call that is not begun; NULL: out of memory. Write the request between etcd_message() and etcd_begin(). */
etcd_call_t *etcd_call_new(etcd_t *e, const char *path, void *arg);
/* Opens a message in c->out; etcd_message_end(c, mark) closes it. */
size_t etcd_message(etcd_call_t *c);
void etcd_message_end(etcd_call_t *c, size_t mark);
/* Sends it now or when there is a connection. -1: out of memory, or the store ends; then it was freed. */
int etcd_begin(etcd_call_t *c);
/* Stops and frees it; `end` is not called. */
void etcd_call_drop(etcd_call_t *c);
/* A held call wants messages again. */
void etcd_call_resume(etcd_call_t *c);
/* For the connection: waiting calls go out; the connection is gone; the store ends. */
void etcd_calls_go(etcd_t *e);
void etcd_calls_lost(etcd_t *e, const char *why);
void etcd_calls_end(etcd_t *e);
nghttp2_session *etcd_session_new(etcd_t *e); /* NULL: out of memory */

/* --- the connection (conn.c, dial.c) ------------------------------------------------------------------------------ */

typedef enum { CONN_NONE, CONN_DIALING, CONN_CONNECTING, CONN_SHAKING, CONN_UP } conn_state_t;

/* Begins to connect to the current endpoint. */
void etcd_connect(etcd_t *e);
/* Sends what the session has to say. */
void etcd_flush(etcd_t *e);
/* Gives the connection up, tells the calls on it, and tries the next endpoint. */
void etcd_conn_lost(etcd_t *e, const char *fmt, ...) KG_PRINTF(2, 3);
void etcd_conn_close(etcd_t *e); /* at the end: no calls are told */
/* "https://HOST:PORT" */
int etcd_endpoint_parse(etcd_endpoint_t *p, kg_str_t url, kg_error_t *err);
/* A TLS context with the files of the configuration; NULL and a sentence. */
SSL_CTX *etcd_tls_new(kg_view_t config, kg_error_t *err);
/* Looks a name up in a thread of its own; `done` runs in the lane: fd of a socket that is connecting, or -1 and why. */
typedef void (*etcd_dialed_fn)(etcd_t *e, int fd, const char *why);
etcd_dial_t *etcd_dial(etcd_t *e, const etcd_endpoint_t *p, etcd_dialed_fn done);
void etcd_dial_drop(etcd_dial_t *d); /* NULL is allowed; `done` is not called */

/* --- messages (message.c) ----------------------------------------------------------------------------------------- */

typedef struct etcd_kv {
  kg_str_t key, value;
  int64_t create, mod, version;
} etcd_kv_t;

void etcd_range_keys(kube_buf_t *b, kg_str_t from, kg_str_t to); /* fields 1 and 2 of RangeRequest and its like */
void etcd_kv_read(wire_span_t m, etcd_kv_t *kv);
int64_t etcd_header_rev(wire_span_t m); /* of a ResponseHeader */
/* First field `number` of a message that is a message or bytes; p NULL: absent. */
wire_span_t etcd_field(wire_span_t m, uint32_t number);
kg_str_t etcd_text(wire_span_t s);
/* The document that a value holds; what is no document is shown as bytes. Caller owns it; NULL: out of memory. */
kg_doc_t *etcd_doc(kg_str_t value);
/* What etcd refused, in the store's codes. */
void etcd_refusal(kg_error_t *err, int status, const char *text);

/* --- the backend ---------------------------------------------------------------------------------------------------
 */

typedef struct etcd_write etcd_write_t;

struct etcd {
  store_front_t *front;
  kg_ctx_t *ctx;
  etcd_endpoint_t endpoints[ETCD_ENDPOINTS];
  size_t nendpoints, at;
  SSL_CTX *tls;
  int64_t timeout_ms; /* of a unary call */

  bool closing;
  conn_state_t state;
  bool good; /* the member answered a read that needs the cluster's agreement */
  int fd;
  uint32_t events; /* the descriptor is watched for */
  SSL *ssl;
  etcd_dial_t *dial;
  nghttp2_session *session;
  bool feeding, broken;
  kube_buf_t out;
  size_t out_sent;
  unsigned failures; /* since the last good connection */
  uint64_t retry_timer, connect_timer, due_timer;
  char why[256]; /* the last failure, for the log and for those who wait */

  etcd_list_t waiting, running;

  /* write.c */
  etcd_write_t *keys[1024];             /* writes by key: those to one key go one after the other */
  etcd_write_t *queue, **queue_end;     /* not sent yet */
  etcd_write_t *unshown, *unshown_last; /* committed, not shown by the watch yet; in order of revisions */
  size_t flying;

  /* watch.c */
  etcd_call_t *watch;
  bool ready, draining;
  bool gap; /* the place where the watch was is compacted */
  uint64_t reconnects, gaps;
};

static inline etcd_t *etcd_of(store_front_t *f) {
  return f->backend;
}

/* write.c */
void etcd_submit(store_front_t *f, store_op_t *op);
void etcd_shown(etcd_t *e);      /* the watch has come to front->rev */
void etcd_writes_end(etcd_t *e); /* the calls have ended before */
/* read.c */
void etcd_read(store_front_t *f, store_read_t *r);
/* watch.c */
void etcd_watch_start(etcd_t *e); /* the connection is up */
void *etcd_follow(store_front_t *f, store_watcher_t *w, int64_t after);
void etcd_follow_on(store_front_t *f, void *source);
void etcd_unfollow(store_front_t *f, void *source);

#endif
