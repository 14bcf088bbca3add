/* Messages between processes, byte by byte: PROTOCOL.md rules 1 to 3. */
#include <zmq.h>

#include "harness.h"
#include "wire.h"

enum { NOW_MS = 1000 };

typedef struct pair {
  void *zmq, *from, *to;
  kg_wire_t out, in;
} pair_t;

static pair_t open_pair(int hwm) {
  pair_t p = {.zmq = zmq_ctx_new()};
  p.from = zmq_socket(p.zmq, ZMQ_PAIR);
  p.to = zmq_socket(p.zmq, ZMQ_PAIR);
  for (int i = 0; i < 2; i++) {
    zmq_setsockopt(i ? p.to : p.from, ZMQ_SNDHWM, &hwm, sizeof hwm);
    zmq_setsockopt(i ? p.to : p.from, ZMQ_RCVHWM, &hwm, sizeof hwm);
  }
  cr_assert_eq(zmq_bind(p.to, "inproc://wire"), 0);
  cr_assert_eq(zmq_connect(p.from, "inproc://wire"), 0);
  return p;
}

static void close_pair(pair_t *p) {
  kg_wire_end(&p->out);
  kg_wire_end(&p->in);
  zmq_close(p->from);
  zmq_close(p->to);
  zmq_ctx_term(p->zmq);
}

static kg_doc_t *bytes_doc(size_t size) {
  uint8_t *bytes = calloc(1, size);
  kg_pack_t p = kg_pack();
  kg_pack_bin(&p, bytes, size);
  free(bytes);
  return kg_pack_doc(&p);
}

static int send_one(pair_t *p, uint64_t id, size_t attached) {
  kg_error_t err = {0};
  kg_doc_t *args = int_args("n", (int64_t)id), *doc = attached ? bytes_doc(attached) : NULL;
  kg_msg_t *m = kg_msg_new(&(kg_msg_init_t){.type = KG_MSG_REQUEST,
                                            .topic = "a.b",
                                            .source = "me",
                                            .service = "you",
                                            .deadline_ms = NOW_MS + 70,
                                            .args = args,
                                            .docs = &doc,
                                            .ndocs = doc ? 1 : 0});
  int rc = kg_wire_send(&p->out, p->from, m, id, NOW_MS, &err);
  cr_assert_geq(rc, 0, "%s", err.text);
  kg_msg_unref(m);
  kg_doc_unref(args);
  kg_doc_unref(doc);
  return rc;
}

/* The id of the next message, after a look at the rest of it; 0: there is none. */
static uint64_t take_one(pair_t *p) {
  kg_error_t err = {0};
  kg_msg_t *m;
  int rc = kg_wire_recv(&p->in, p->to, NOW_MS, &m, NULL, &err);
  cr_assert_geq(rc, 0, "%s", err.text);
  if (rc == 0) return 0;
  uint64_t id = kg_msg_id(m);
  cr_assert_str_eq(kg_msg_topic(m), "a.b");
  cr_assert_str_eq(kg_msg_source(m), "me");
  cr_assert_str_eq(kg_msg_service(m), "you");
  cr_assert_eq(kg_msg_deadline_ms(m), NOW_MS + 70);
  cr_assert_eq(int_of(m, "n"), (int64_t)id);
  kg_msg_unref(m);
  return id;
}

static void flush(pair_t *p) {
  kg_error_t err = {0};
  cr_assert_eq(kg_wire_flush(&p->out, p->from, &err), 0, "%s", err.text);
}

static int frames(pair_t *p) {
  int n = 0;
  zmq_msg_t z;
  zmq_msg_init(&z);
  while (zmq_msg_recv(&z, p->to, ZMQ_DONTWAIT) >= 0) n++;
  zmq_msg_close(&z);
  return n;
}

Test(wire, small_messages_wait_for_the_flush_and_travel_together) {
  pair_t p = open_pair(100);
  for (uint64_t id = 1; id <= 5; id++) send_one(&p, id, id % 2 ? 0 : 100);
  cr_assert_eq(take_one(&p), 0);
  flush(&p);
  for (uint64_t id = 1; id <= 5; id++) cr_assert_eq(take_one(&p), id);
  cr_assert_eq(take_one(&p), 0);
  for (uint64_t id = 1; id <= 5; id++) send_one(&p, id, 0);
  flush(&p);
  cr_assert_eq(frames(&p), 1);
  close_pair(&p);
}

Test(wire, one_alone_begins_with_its_envelope) {
  pair_t p = open_pair(100);
  uint8_t bytes[200] = {0};
  send_one(&p, 7, 0);
  flush(&p);
  cr_assert_gt(zmq_recv(p.to, bytes, sizeof bytes, ZMQ_DONTWAIT), 0);
  cr_assert_eq(bytes[0], 0x9b); /* an array of 11 */
  close_pair(&p);
}

Test(wire, a_big_document_is_sent_behind_what_waits_and_by_reference) {
  pair_t p = open_pair(100);
  send_one(&p, 1, 0);
  send_one(&p, 2, 100000);
  send_one(&p, 3, 0);
  flush(&p);
  for (uint64_t id = 1; id <= 3; id++) cr_assert_eq(take_one(&p), id);

  kg_doc_t *doc = bytes_doc(100000);
  kg_msg_t *m = kg_msg_new(&(kg_msg_init_t){.type = KG_MSG_EVENT, .topic = "a.b", .docs = &doc, .ndocs = 1}), *got;
  kg_error_t err = {0};
  cr_assert_eq(kg_wire_send(&p.out, p.from, m, 4, NOW_MS, &err), 0);
  cr_assert_eq(kg_doc_refs(doc), 3, "ours, the message's, ZeroMQ's");
  cr_assert_eq(kg_wire_recv(&p.in, p.to, NOW_MS, &got, NULL, &err), 1);
  cr_assert_eq(kg_doc_data(kg_msg_doc(got, 0)), kg_doc_data(doc), "the very same bytes");
  kg_msg_unref(got);
  kg_msg_unref(m);
  cr_assert_eq(kg_doc_refs(doc), 1);
  kg_doc_unref(doc);
  close_pair(&p);
}

Test(wire, what_the_socket_does_not_take_waits_in_order_and_within_bounds) {
  pair_t p = open_pair(1);
  uint64_t sent = 0, taken = 0;
  while (sent < 1000000 && send_one(&p, sent + 1, 2000) == 0) sent++;
  cr_assert_gt(sent, 5000);
  cr_assert_lt(sent, 10000, "16 MiB may wait, not more");
  while (taken < sent) {
    uint64_t id = take_one(&p);
    if (id)
      cr_assert_eq(id, ++taken);
    else
      kg_wire_flush(&p.out, p.from, NULL);
  }
  cr_assert_eq(take_one(&p), 0);
  cr_assert_eq(send_one(&p, 1, 0), 0);
  close_pair(&p);
}

/* --- what others may send --- */

static void send_bytes(pair_t *p, const void *bytes, size_t n) {
  cr_assert_eq(zmq_send(p->from, bytes, n, ZMQ_DONTWAIT), (int)n);
}

static void is_refused(pair_t *p, const char *why) {
  kg_error_t err = {0};
  kg_msg_t *m = NULL;
  cr_assert_eq(kg_wire_recv(&p->in, p->to, NOW_MS, &m, NULL, &err), -1, "it should be refused: %s", why);
  cr_assert(strstr(err.text, why), "\"%s\" does not say \"%s\"", err.text, why);
  cr_assert_null(m);
}

Test(wire, one_malformed_message_does_not_spoil_its_neighbours) {
  pair_t p = open_pair(100);
  uint8_t bytes[1000];
  send_one(&p, 1, 0);
  send_one(&p, 2, 0);
  send_one(&p, 3, 0);
  flush(&p);
  int n = zmq_recv(p.to, bytes, sizeof bytes, ZMQ_DONTWAIT);
  cr_assert_gt(n, 0);
  bytes[n / 3 + 7] = 9; /* the type of the second: bin head, array head, version, type */
  send_bytes(&p, bytes, (size_t)n);
  cr_assert_eq(take_one(&p), 1);
  is_refused(&p, "type");
  cr_assert_eq(take_one(&p), 3);
  cr_assert_eq(take_one(&p), 0);
  close_pair(&p);
}

Test(wire, malformed_sequences_are_refused) {
  pair_t p = open_pair(100);
  send_bytes(&p, "\xc4\x09\x9b", 3); /* longer than the frame */
  is_refused(&p, "rule 2");
  send_bytes(&p, "\xc4\x01\x9b\x01", 4); /* too short for an envelope, and then no bin */
  is_refused(&p, "");
  is_refused(&p, "no sequence");
  send_bytes(&p, "\xc4\x00", 2);
  is_refused(&p, "rule 2");
  send_one(&p, 5, 0);
  flush(&p);
  cr_assert_eq(take_one(&p), 5);
  close_pair(&p);
}
