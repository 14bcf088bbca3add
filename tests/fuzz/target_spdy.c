/* Frames of SPDY/3.1, with compressed headers. */
#include "connection.h"
#include "duplex.h"

static void opened(gw_spdy_t *s, uint32_t id, void *arg) {
  (void)arg;
  const char *type = gw_spdy_header(s, "streamtype"), *port = gw_spdy_header(s, "port");
  if (type && port && !strcmp(type, port)) gw_spdy_reset(s, id);
}
static void data_of(gw_spdy_t *s, uint32_t id, const uint8_t *p, size_t n, void *arg) {
  (void)arg;
  gw_spdy_send(s, id, p, n, n & 1);
}
static void closed(gw_spdy_t *s, uint32_t id, void *arg) {
  (void)s, (void)id, (void)arg;
}
static void out(const void *p, size_t n, void *arg) {
  size_t *sum = arg;
  for (size_t i = 0; i < n; i++) *sum += ((const uint8_t *)p)[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const gw_spdy_events_t events = {opened, data_of, closed, out};
  size_t sum = 0;
  gw_spdy_t *s = gw_spdy_new(&events, &sum);
  for (size_t part; size; data += part, size -= part) {
    part = data[0] & 0x80 ? size : 1 + data[size / 2] % size;
    if (!gw_spdy_feed(s, data, part)) break;
  }
  gw_spdy_goaway(s);
  gw_spdy_free(s);
  return 0;
}
