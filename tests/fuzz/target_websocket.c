/* Frames of a WebSocket. */
#include "connection.h"
#include "duplex.h"

static void on_message(gw_ex_t *ex, const uint8_t *p, size_t n, void *arg) {
  (void)ex;
  size_t *sum = arg;
  for (size_t i = 0; i < n; i++) *sum += p[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  gw_conn_t *c = fuzz_connection();
  gw_ex_t *ex = gw_ex_new(c, 0);
  size_t sum = 0;
  gw_ws_t *w = gw_ws_new(ex, on_message, &sum);
  for (size_t part; size; data += part, size -= part) {
    part = data[0] & 1 ? size : 1 + data[size / 2] % size;
    if (!gw_ws_feed(w, (const char *)data, part)) break;
    gw_ws_send(w, data, part);
  }
  gw_ws_close(w);
  gw_ws_free(w);
  fuzz_disconnect(c);
  return 0;
}
