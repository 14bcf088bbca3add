/* Just enough of HTTP/1.1 to know where an answer ends. */
#include <stdlib.h>
#include <string.h>

#include "load.h"

void http_expect(conn_t *c, bool watching) {
  c->nhead = 0;
  c->in_body = c->chunked = false;
  c->status = 0;
  c->left = 0;
  c->tail = 0;
  c->last = 0;
  c->watching = watching;
}

static int read_head(conn_t *c) {
  c->head[c->nhead] = 0;
  if (strncmp(c->head, "HTTP/1.1 ", 9)) return -1;
  c->status = atoi(c->head + 9);
  c->chunked = strcasestr(c->head, "transfer-encoding: chunked") != NULL;
  const char *length = strcasestr(c->head, "content-length:");
  if (!c->chunked && !length) return -1;
  c->left = length ? strtol(length + 15, NULL, 10) : 0;
  c->in_body = true;
  return 0;
}

/* Takes head bytes up to its end; returns how many were taken, -1 if the head is too long or no HTTP. */
static long take_head(conn_t *c, const char *p, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (c->nhead + 1 >= sizeof c->head) return -1;
    c->head[c->nhead++] = p[i];
    if (p[i] == '\n' && c->nhead >= 4 && !memcmp(c->head + c->nhead - 4, "\r\n\r\n", 4))
      return read_head(c) ? -1 : (long)i + 1;
  }
  return (long)n;
}

static void count_events(conn_t *c, const char *p, size_t n, const sink_t *sink) {
  const char *end = p + n;
  for (const char *at = p; (at = memchr(at, '\n', (size_t)(end - at))); at++)
    if ((at > p ? at[-1] : c->last) == '}') sink->event(c, sink->arg);
  c->last = end[-1];
}

/* The last chunk is "0\r\n\r\n"; JSON holds no raw line ends, so these five bytes come nowhere else. */
static bool chunks_end(conn_t *c, const char *p, size_t n) {
  for (size_t i = n > 5 ? n - 5 : 0; i < n; i++) {
    c->tail = c->tail << 8 | (unsigned char)p[i];
    if (c->tail == 0x0d0a0d0a && i + 1 == n) return true;
  }
  return false;
}

int http_feed(conn_t *c, const char *p, size_t n, const sink_t *sink) {
  if (!c->in_body) {
    long used = take_head(c, p, n);
    if (used < 0) return -1;
    p += used;
    n -= (size_t)used;
    if (!c->in_body) return 0;
    if (!c->chunked && !c->left) {
      sink->done(c, sink->arg);
      return 0;
    }
  }
  if (!n) return 0;
  if (c->watching && c->chunked) {
    count_events(c, p, n, sink);
    return 0;
  }
  bool over = c->chunked ? chunks_end(c, p, n) : (c->left -= (long)n) <= 0;
  if (over) sink->done(c, sink->arg);
  return 0;
}
