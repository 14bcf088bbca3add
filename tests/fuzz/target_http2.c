/* HTTP/2 from the connection preface on. */
#include "connection.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  gw_conn_t *c = fuzz_connection();
  c->is_h2 = true;
  FUZZ_MUST(gw_http2_open(c) == 0);
  fuzz_feed(c, data, size, gw_http2_feed);
  fuzz_turn(c);
  fuzz_disconnect(c);
  return 0;
}
