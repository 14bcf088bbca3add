#ifndef HARNESS_H
#define HARNESS_H
/* A kernel of the test's own: one epoll, timers, and calls that the test answers by hand. */
#include "gateway.h"

typedef struct call {
  uint64_t id;
  char service[64], topic[64];
  kg_doc_t *args;
  kg_doc_t *body;
  bool stream, cancelled, answered;
  uint32_t credit;
  kg_reply_fn fn;
  void *arg;
} call_t;

typedef struct client {
  int fd;
  SSL_CTX *ctx;
  SSL *ssl;
  char *in;
  size_t n, room;
  bool eof;
} client_t;

extern call_t calls[256];
extern size_t ncalls;
extern gw_t *gw;

extern int64_t harness_later_ms; /* how far the gateway's clock is ahead */

void harness_start(void);
void harness_stop(void);
/* Lets the gateway run until nothing happens for `ms`. */
void harness_run(int ms);
/* "admin": our certificate; "": none; "foreign": one of another authority. alpn NULL: none. */
client_t *client_open(const char *who, const char *alpn);
void client_close(client_t *c);
void client_send(client_t *c, const char *text);
void client_sendn(client_t *c, const char *p, size_t n);
/* Runs the gateway and reads until `want` shows up in what was received (or 2 s passed); returns what came,
 * NUL-terminated. */
const char *client_expect(client_t *c, const char *want);
void client_reset(client_t *c);
call_t *find_call(const char *topic); /* the last unanswered one */
kg_doc_t *json(const char *text);     /* caller owns */
void answer(call_t *c, kg_msg_type_t type, const char *args, const char *doc, int code, const char *text);
void answer_args(call_t *c, kg_msg_type_t type, kg_doc_t *args);
void answer_doc(call_t *c, kg_msg_type_t type, const char *args, kg_doc_t *doc);
void answer_list(call_t *c, const char *args, kg_doc_t *const *docs, size_t n); /* takes its own references */

#endif
