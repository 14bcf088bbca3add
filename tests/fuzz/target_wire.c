/* ZeroMQ messages of other processes as they come off the socket (PROTOCOL.md rule 1): several messages in one frame,
 * attachments in frames of their own. The first byte says where the input is cut into two frames. */
#include <zmq.h>

#include "fuzz.h"
#include "wire.h"

enum { NOW_MS = 1000 };

static void *here, *there;

static void open_sockets(void) {
  int none = 0;
  void *zmq = zmq_ctx_new();
  here = zmq_socket(zmq, ZMQ_PAIR);
  there = zmq_socket(zmq, ZMQ_PAIR);
  zmq_setsockopt(here, ZMQ_SNDHWM, &none, sizeof none);
  zmq_setsockopt(there, ZMQ_RCVHWM, &none, sizeof none);
  FUZZ_MUST(zmq_bind(there, "inproc://wire") == 0 && zmq_connect(here, "inproc://wire") == 0);
}

/* What was taken can be sent, and comes again as it was. */
static void same_again(kg_msg_t *m) {
  static kg_wire_t out, in;
  kg_error_t err = {0};
  kg_msg_t *again;
  for (size_t i = 0; i < kg_msg_ndocs(m); i++) fuzz_check(kg_msg_doc(m, i));
  FUZZ_MUST(kg_wire_send(&out, here, m, kg_msg_id(m), NOW_MS, &err) == 0);
  FUZZ_MUST(kg_wire_flush(&out, here, &err) == 0);
  FUZZ_MUST(kg_wire_recv(&in, there, NOW_MS, &again, NULL, &err) == 1);
  FUZZ_MUST(kg_msg_type(again) == kg_msg_type(m) && kg_msg_id(again) == kg_msg_id(m));
  FUZZ_MUST(!strcmp(kg_msg_topic(again), kg_msg_topic(m)) && !strcmp(kg_msg_source(again), kg_msg_source(m)));
  FUZZ_MUST(kg_msg_ndocs(again) == kg_msg_ndocs(m));
  for (size_t i = 0; i < kg_msg_ndocs(m); i++) {
    kg_doc_t *a = kg_msg_doc(m, i), *b = kg_msg_doc(again, i);
    FUZZ_MUST(kg_doc_size(a) == kg_doc_size(b) && !memcmp(kg_doc_data(a), kg_doc_data(b), kg_doc_size(a)));
  }
  kg_msg_unref(again);
  kg_wire_end(&out);
  kg_wire_end(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kg_wire_t in = {0};
  kg_error_t err = {0};
  kg_msg_t *m, *taken[64];
  int rc, n = 0;
  if (size == 0) return 0;
  if (!here) open_sockets();
  size_t cut = data[0] && data[0] < size ? data[0] : 0; /* of the second frame; 0: there is one only */
  zmq_send(here, data + 1, (cut ? cut : size) - 1, cut ? ZMQ_SNDMORE : 0);
  if (cut) zmq_send(here, data + cut, size - cut, 0);
  while ((rc = kg_wire_recv(&in, there, NOW_MS, &m, NULL, &err)) != 0) {
    FUZZ_MUST(rc > 0 ? m != NULL : err.text[0] != 0);
    if (m && n < 64)
      taken[n++] = m;
    else
      kg_msg_unref(m);
  }
  kg_wire_end(&in);
  while (n > 0) {
    same_again(taken[--n]);
    kg_msg_unref(taken[n]);
  }
  return 0;
}
