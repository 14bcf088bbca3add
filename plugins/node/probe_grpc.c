/* One call of grpc.health.v1.Health/Check in HTTP/2 frames; whoever uses it moves the bytes. */
#include <nghttp2/nghttp2.h>
#include <stdio.h>

#include "node.h"

enum { GRPC_UNIMPLEMENTED = 12, MOST_ANSWER = 4096 };

struct grpc_check {
  nghttp2_session *session;
  int32_t stream;
  bool over;
  int http, status; /* HTTP's and gRPC's; -1: not said */
  char message[128];
  uint8_t answer[MOST_ANSWER];
  size_t nanswer;
  uint8_t request[264];
  size_t nrequest, nread;
};

static ssize_t read_request(nghttp2_session *s, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
                            nghttp2_data_source *source, void *user) {
  (void)s, (void)id, (void)user;
  grpc_check_t *g = source->ptr;
  size_t left = g->nrequest - g->nread;
  if (n > left) n = left;
  memcpy(buf, g->request + g->nread, n);
  g->nread += n;
  if (g->nread == g->nrequest) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return (ssize_t)n;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t nname,
                     const uint8_t *value, size_t nvalue, uint8_t flags, void *user) {
  (void)s, (void)f, (void)flags;
  grpc_check_t *g = user;
  char text[sizeof g->message];
  kg_str_t key = {(const char *)name, nname};
  snprintf(text, sizeof text, "%.*s", (int)nvalue, (const char *)value);
  if (kg_str_is(key, ":status")) g->http = atoi(text);
  if (kg_str_is(key, "grpc-status")) g->status = atoi(text);
  if (kg_str_is(key, "grpc-message")) memcpy(g->message, text, sizeof text);
  return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *user) {
  (void)s, (void)flags, (void)id;
  grpc_check_t *g = user;
  if (n > MOST_ANSWER - g->nanswer) n = MOST_ANSWER - g->nanswer;
  memcpy(g->answer + g->nanswer, data, n);
  g->nanswer += n;
  return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *user) {
  (void)s, (void)id, (void)code;
  grpc_check_t *g = user;
  g->over = true;
  return 0;
}

/* A length-prefixed HealthCheckRequest: field 1, the service's name. */
static void pack_request(grpc_check_t *g, kg_str_t service) {
  size_t n = service.n > 120 ? 120 : service.n, body = n ? n + 2 : 0;
  g->request[4] = (uint8_t)body;
  if (n) {
    g->request[5] = 0x0a;
    g->request[6] = (uint8_t)n;
    memcpy(g->request + 7, service.p, n);
  }
  g->nrequest = 5 + body;
}

static bool open_session(grpc_check_t *g) {
  nghttp2_session_callbacks *cb = NULL;
  if (nghttp2_session_callbacks_new(&cb)) return false;
  nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
  int r = nghttp2_session_client_new(&g->session, cb, g);
  nghttp2_session_callbacks_del(cb);
  return !r && !nghttp2_submit_settings(g->session, NGHTTP2_FLAG_NONE, NULL, 0);
}

grpc_check_t *grpc_check_new(const char *authority, kg_str_t service) {
  const char *const pairs[][2] = {{":method", "POST"},
                                  {":scheme", "http"},
                                  {":path", "/grpc.health.v1.Health/Check"},
                                  {":authority", authority},
                                  {"content-type", "application/grpc"},
                                  {"user-agent", "kube-probe/1.37"},
                                  {"te", "trailers"}};
  nghttp2_nv nv[sizeof pairs / sizeof *pairs];
  grpc_check_t *g = calloc(1, sizeof *g);
  if (!g) return NULL;
  g->status = -1;
  pack_request(g, service);
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
    nv[i] = (nghttp2_nv){.name = (uint8_t *)pairs[i][0],
                         .value = (uint8_t *)pairs[i][1],
                         .namelen = strlen(pairs[i][0]),
                         .valuelen = strlen(pairs[i][1])};
  nghttp2_data_provider body = {.source = {.ptr = g}, .read_callback = read_request};
  if (open_session(g)) g->stream = nghttp2_submit_request(g->session, NULL, nv, sizeof nv / sizeof *nv, &body, NULL);
  if (g->stream > 0) return g;
  grpc_check_free(g);
  return NULL;
}

void grpc_check_free(grpc_check_t *g) {
  if (!g) return;
  if (g->session) nghttp2_session_del(g->session);
  free(g);
}

int grpc_check_in(grpc_check_t *g, const void *data, size_t n) {
  return nghttp2_session_mem_recv(g->session, data, n) < 0 ? -1 : 0;
}

int grpc_check_out(grpc_check_t *g, kube_buf_t *out) {
  const uint8_t *data;
  ssize_t n;
  while ((n = nghttp2_session_mem_send(g->session, &data)) > 0) kube_buf_add(out, data, (size_t)n);
  return n < 0 || out->failed ? -1 : 0;
}

/* Field 1 of the HealthCheckResponse: the serving status. */
static int serving(const grpc_check_t *g) {
  return g->nanswer >= 7 && g->answer[5] == 0x08 ? g->answer[6] : 0;
}

bool grpc_check_over(const grpc_check_t *g, bool *good, char text[256]) {
  static const char *const states[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  int state = serving(g);
  *good = false;
  if (!g->over) return false;
  if (g->status == GRPC_UNIMPLEMENTED)
    snprintf(text, 256, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %s",
             g->message);
  else if (g->status)
    snprintf(text, 256, "error: health rpc probe failed: rpc error: code %d (HTTP %d) desc = %s", g->status, g->http,
             g->message);
  else if (state != 1)
    snprintf(text, 256, "service unhealthy (responded with \"%s\")", state >= 0 && state < 4 ? states[state] : "?");
  else {
    *good = true;
    snprintf(text, 256, "service healthy");
  }
  return true;
}
