/* HTTP/1.1 from the first byte to the request on the bus, and through upgrades to WebSocket and SPDY. */
#include "connection.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  gw_conn_t *c = fuzz_connection();
  gw_http1_open(c);
  fuzz_feed(c, data, size, gw_http1_feed);
  fuzz_turn(c);
  fuzz_disconnect(c);
  return 0;
}
