/*
 * SPDY/3.1 as kubectl and client-go speak it for exec, attach and port forwarding (through moby/spdystream): streams
 * opened by the client, no flow control beyond answering pings.
 */
#include <strings.h>
#include <zlib.h>

#include "duplex.h"

enum {
  SYN_STREAM = 1,
  SYN_REPLY = 2,
  RST_STREAM = 3,
  PING = 6,
  GOAWAY = 7,
  FLAG_FIN = 1,
  HEAD = 8,
  MAX_FRAME = 1 << 20,
  MAX_HEADERS = 16 << 10,
  CHUNK = 32 << 10
};

struct gw_spdy {
  const gw_spdy_events_t *events;
  void *arg;
  kube_buf_t in; /* the beginning of a frame that has not come whole */
  z_stream inflate, deflate;
  bool broken, inflating, deflating;
  kube_buf_t headers; /* name\0value\0... of the stream being opened */
};

/* The dictionary of draft-mbelshe-httpbis-spdy-00, 2.6.10.1: names with their length in four bytes, then plain text. */
static const char *const words[] = {"options",
                                    "head",
                                    "post",
                                    "put",
                                    "delete",
                                    "trace",
                                    "accept",
                                    "accept-charset",
                                    "accept-encoding",
                                    "accept-language",
                                    "accept-ranges",
                                    "age",
                                    "allow",
                                    "authorization",
                                    "cache-control",
                                    "connection",
                                    "content-base",
                                    "content-encoding",
                                    "content-language",
                                    "content-length",
                                    "content-location",
                                    "content-md5",
                                    "content-range",
                                    "content-type",
                                    "date",
                                    "etag",
                                    "expect",
                                    "expires",
                                    "from",
                                    "host",
                                    "if-match",
                                    "if-modified-since",
                                    "if-none-match",
                                    "if-range",
                                    "if-unmodified-since",
                                    "last-modified",
                                    "location",
                                    "max-forwards",
                                    "pragma",
                                    "proxy-authenticate",
                                    "proxy-authorization",
                                    "range",
                                    "referer",
                                    "retry-after",
                                    "server",
                                    "te",
                                    "trailer",
                                    "transfer-encoding",
                                    "upgrade",
                                    "user-agent",
                                    "vary",
                                    "via",
                                    "warning",
                                    "www-authenticate",
                                    "method",
                                    "get",
                                    "status",
                                    "200 OK",
                                    "version",
                                    "HTTP/1.1",
                                    "url",
                                    "public",
                                    "set-cookie",
                                    "keep-alive",
                                    "origin"};
static const char tail[] =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
    "Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 "
    "Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec "
    "00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-"
    "8859-1,utf-,*,enq=0.";

static size_t dictionary(unsigned char out[2048]) {
  size_t n = 0;
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    size_t len = strlen(words[i]);
    memcpy(out + n, (unsigned char[]){0, 0, 0, (unsigned char)len}, 4);
    memcpy(out + n + 4, words[i], len);
    n += 4 + len;
  }
  memcpy(out + n, tail, sizeof tail - 1);
  return n + sizeof tail - 1;
}

gw_spdy_t *gw_spdy_new(const gw_spdy_events_t *events, void *arg) {
  unsigned char dict[2048];
  gw_spdy_t *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->events = events;
  s->arg = arg;
  s->inflating = inflateInit(&s->inflate) == Z_OK;
  s->deflating = deflateInit(&s->deflate, Z_BEST_SPEED) == Z_OK;
  if (s->inflating && s->deflating && deflateSetDictionary(&s->deflate, dict, (uInt)dictionary(dict)) == Z_OK) return s;
  gw_spdy_free(s);
  return NULL;
}

void gw_spdy_free(gw_spdy_t *s) {
  if (!s) return;
  if (s->inflating) inflateEnd(&s->inflate);
  if (s->deflating) deflateEnd(&s->deflate);
  kube_buf_free(&s->in);
  kube_buf_free(&s->headers);
  free(s);
}

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)(v >> 24), p[1] = (uint8_t)(v >> 16), p[2] = (uint8_t)(v >> 8), p[3] = (uint8_t)v;
}

/* --- out --------------------------------------------------------------------------------------------------------- */

static void control(gw_spdy_t *s, uint16_t type, const uint8_t *body, size_t n) {
  uint8_t frame[HEAD + 64] = {0x80, 3, (uint8_t)(type >> 8), (uint8_t)type};
  put32(frame + 4, (uint32_t)n);
  memcpy(frame + HEAD, body, n);
  s->events->out(frame, HEAD + n, s->arg);
}

/* No headers: a count of 0, compressed in the one stream that all of the connection's headers share. */
static void reply(gw_spdy_t *s, uint32_t id) {
  uint8_t none[4] = {0}, body[64];
  put32(body, id);
  s->deflate.next_in = none;
  s->deflate.avail_in = sizeof none;
  s->deflate.next_out = body + 4;
  s->deflate.avail_out = sizeof body - 4;
  if (deflate(&s->deflate, Z_SYNC_FLUSH) != Z_OK) s->broken = true;
  control(s, SYN_REPLY, body, sizeof body - s->deflate.avail_out);
}

void gw_spdy_send(gw_spdy_t *s, uint32_t id, const void *data, size_t n, bool last) {
  const uint8_t *p = data;
  do {
    uint8_t head[HEAD];
    size_t part = n < CHUNK ? n : CHUNK;
    n -= part;
    put32(head, id);
    put32(head + 4, (uint32_t)part);
    head[4] = last && !n ? FLAG_FIN : 0;
    s->events->out(head, HEAD, s->arg);
    if (part) s->events->out(p, part, s->arg);
    p += part;
  } while (n);
}

void gw_spdy_reset(gw_spdy_t *s, uint32_t id) {
  uint8_t body[8];
  put32(body, id);
  put32(body + 4, 5); /* CANCEL */
  control(s, RST_STREAM, body, sizeof body);
}

void gw_spdy_goaway(gw_spdy_t *s) {
  uint8_t body[8] = {0};
  control(s, GOAWAY, body, sizeof body);
}

/* --- headers ----------------------------------------------------------------------------------------------------- */

static bool inflate_block(gw_spdy_t *s, const uint8_t *p, size_t n, kube_buf_t *out) {
  unsigned char dict[2048], block[4096];
  s->inflate.next_in = (Bytef *)p;
  s->inflate.avail_in = (uInt)n;
  do {
    s->inflate.next_out = block;
    s->inflate.avail_out = sizeof block;
    int r = inflate(&s->inflate, Z_SYNC_FLUSH);
    if (r == Z_NEED_DICT && inflateSetDictionary(&s->inflate, dict, (uInt)dictionary(dict)) == Z_OK) continue;
    if (r != Z_OK && r != Z_BUF_ERROR) return false;
    kube_buf_add(out, block, sizeof block - s->inflate.avail_out);
    if (out->n > MAX_HEADERS) return false;
    if (r == Z_BUF_ERROR) break;
  } while (s->inflate.avail_in || !s->inflate.avail_out);
  return !out->failed;
}

static bool take_text(const uint8_t **p, const uint8_t *end, kube_buf_t *to) {
  if (end - *p < 4) return false;
  uint32_t n = get32(*p);
  if (n > (size_t)(end - *p) - 4 || memchr(*p + 4, 0, n)) return false;
  kube_buf_add(to, *p + 4, n);
  kube_buf_add(to, "", 1);
  *p += 4 + n;
  return true;
}

static bool read_headers(gw_spdy_t *s, const uint8_t *p, size_t n) {
  kube_buf_t block = {0};
  bool ok = inflate_block(s, p, n, &block) && block.n >= 4;
  s->headers.n = 0;
  if (ok) {
    const uint8_t *at = (const uint8_t *)block.p + 4, *end = (const uint8_t *)block.p + block.n;
    for (uint32_t left = get32((const uint8_t *)block.p); ok && left; left--)
      ok = take_text(&at, end, &s->headers) && take_text(&at, end, &s->headers);
  }
  kube_buf_free(&block);
  return ok && !s->headers.failed;
}

const char *gw_spdy_header(const gw_spdy_t *s, const char *name) {
  const char *p = s->headers.p, *end = p + s->headers.n;
  while (p && p < end) {
    const char *value = p + strlen(p) + 1;
    if (!strcasecmp(p, name)) return value;
    p = value + strlen(value) + 1;
  }
  return NULL;
}

/* --- in ---------------------------------------------------------------------------------------------------------- */

static bool open_stream(gw_spdy_t *s, const uint8_t *p, size_t n, bool fin) {
  if (n < 10 || !read_headers(s, p + 10, n - 10)) return false;
  uint32_t id = get32(p) & 0x7fffffff;
  reply(s, id);
  s->events->opened(s, id, s->arg);
  if (fin) s->events->closed(s, id, s->arg);
  return !s->broken;
}

static bool frame(gw_spdy_t *s, const uint8_t *head, const uint8_t *p, size_t n) {
  uint32_t first = get32(head);
  bool fin = head[4] & FLAG_FIN;
  if (!(first & 0x80000000)) {
    if (n) s->events->data(s, first, p, n, s->arg);
    if (fin) s->events->closed(s, first, s->arg);
    return !s->broken;
  }
  if ((first >> 16 & 0x7fff) != 3) return false;
  switch (first & 0xffff) {
  case SYN_STREAM:
    return open_stream(s, p, n, fin);
  case RST_STREAM:
    if (n >= 4) s->events->closed(s, get32(p) & 0x7fffffff, s->arg);
    return true;
  case PING:
    if (n == 4) control(s, PING, p, n);
    return n == 4;
  case GOAWAY:
    return true;
  default:
    return true; /* settings, headers and window updates ask nothing of us */
  }
}

bool gw_spdy_feed(gw_spdy_t *s, const uint8_t *p, size_t n) {
  kube_buf_add(&s->in, p, n);
  size_t used = 0;
  while (!s->broken && !s->in.failed && s->in.n - used >= HEAD) {
    const uint8_t *head = (const uint8_t *)s->in.p + used;
    size_t len = get32(head + 4) & 0xffffff;
    if (len > MAX_FRAME) return false;
    if (s->in.n - used < HEAD + len) break;
    if (!frame(s, head, head + HEAD, len)) return false;
    used += HEAD + len;
  }
  if (used) memmove(s->in.p, s->in.p + used, s->in.n - used);
  s->in.n -= used;
  return !s->broken && !s->in.failed;
}

/* --- the upgrade -------------------------------------------------------------------------------------------------- */

bool gw_spdy_asked(const gw_ex_t *ex, const char *const *ours, const char **protocol) {
  const char *up = gw_header(ex, "upgrade"), *name, *value;
  if (!ex->upgrade || ex->stream || !up || strcasecmp(up, "SPDY/3.1")) return false;
  *protocol = NULL;
  for (; *ours && !*protocol; ours++)
    for (size_t at = 0; (name = gw_header_at(ex, &at, &value));)
      if (!strcmp(name, "x-stream-protocol-version") && strstr(value, *ours)) *protocol = *ours;
  return true;
}

void gw_spdy_accept(gw_ex_t *ex, const char *protocol) {
  gw_add_header(ex, "upgrade", "SPDY/3.1");
  gw_add_header(ex, "connection", "Upgrade");
  gw_add_header(ex, "x-stream-protocol-version", protocol);
  gw_upgrade(ex);
}
