/*
 * What a request may take before it is answered. Who asks is known when its head is there, so nobody's body is read
 * before; and all that is read and not yet answered shares one budget, of which one connection and those who say not
 * who they are have a part only.
 */
#include "gateway.h"

enum {
  TOTAL = 64 << 20,
  RESERVE = 16 << 20, /* of the total, for requests that are small: nodes go on reporting while others send much */
  SMALL = 64 << 10,
  PER_CONNECTION = 16 << 20,
  STRANGERS = 8 << 20,
  ANSWERS = 192 << 20, /* large ones that wait for their clients; beyond it there are no more */
  ANSWERS_OF_ONE = 48 << 20
};

/* What it holds becomes n, in all three accounts. */
static void set_held(gw_ex_t *ex, size_t n) {
  gw_conn_t *c = ex->conn;
  c->held = c->held - ex->held + n;
  c->gw->held = c->gw->held - ex->held + n;
  if (ex->stranger) c->gw->held_by_strangers = c->gw->held_by_strangers - ex->held + n;
  ex->held = n;
}

int gw_hold(gw_ex_t *ex, size_t n) {
  gw_conn_t *c = ex->conn;
  gw_t *gw = c->gw;
  size_t most = ex->held + n > SMALL ? TOTAL - RESERVE : TOTAL;
  if (gw->held + n > most || c->held + n > PER_CONNECTION || (ex->stranger && gw->held_by_strangers + n > STRANGERS))
    return 429;
  set_held(ex, ex->held + n);
  return 0;
}

void gw_release(gw_ex_t *ex) {
  set_held(ex, 0);
}

bool gw_answers_full(const gw_ex_t *ex) {
  return ex->conn->answers > ANSWERS_OF_ONE || ex->conn->gw->answers > ANSWERS;
}

bool gw_hold_answer(gw_ex_t *ex, size_t n) {
  gw_conn_t *c = ex->conn;
  if (n <= SMALL) return true;
  if (gw_answers_full(ex)) return false;
  c->answers += n;
  c->gw->answers += n;
  if (ex->stream) ex->answer = n;
  return true;
}

void gw_release_answers(gw_conn_t *c, size_t n) {
  c->answers -= n;
  c->gw->answers -= n;
}

int gw_body_add(gw_ex_t *ex, const void *p, size_t n) {
  if (ex->body.n + n > GW_MAX_BODY) return 413;
  size_t room = ex->body.room; /* what it takes, which is up to twice of what is in it */
  kube_buf_add(&ex->body, p, n);
  return ex->body.failed ? 503 : gw_hold(ex, ex->body.room - room);
}

void gw_refuse(gw_ex_t *ex, int code) {
  const char *reason = gw_reason(code);
  if (!ex->method) ex->method = "GET";
  ex->conn->gw->refused++;
  switch (code) {
  case 401:
    gw_status(ex, code, reason, NULL, "Unauthorized");
    break;
  case 405:
    gw_status(ex, code, reason, NULL, "the server does not allow this method on the requested resource");
    break;
  case 408:
    gw_status(ex, code, reason, NULL, "the request did not come to its end in time");
    break;
  case 413:
    gw_status(ex, code, reason, NULL, "Request entity too large: limit is %u", GW_MAX_BODY);
    break;
  case 429:
    gw_add_header(ex, "retry-after", "1");
    gw_status(ex, code, reason, "{\"retryAfterSeconds\":1}", "Too many requests, please try again later.");
    break;
  case 431:
    gw_status(ex, code, reason, NULL, "the head of the request is larger than %u bytes", GW_MAX_HEAD);
    break;
  case 503:
    gw_status(ex, code, reason, NULL, "out of memory");
    break;
  case 505:
    gw_status(ex, code, reason, NULL, "this version of HTTP is not spoken here");
    break;
  default:
    gw_status(ex, 400, "BadRequest", NULL, "the request is no HTTP, or its URL cannot be read");
  }
}
