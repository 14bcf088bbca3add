#ifndef KG_WIRE_H
#define KG_WIRE_H
/* Messages between processes: PROTOCOL.md rule 1. The thread that owns the socket. */
#include <zmq.h>

#include "msg_internal.h"

/* For the sockets: ZeroMQ messages that wait for a peer which takes none. Then, and when 16 MiB more wait here,
 * requests get 507 and events are dropped. */
#define KG_WIRE_HWM 4096
#define KG_WIRE_INLINE 4096 /* documents of so many bytes together travel in frame 0 */

/* What waits to be sent on a ZeroMQ socket, and what has come but was not yet read. All zero is empty. */
typedef struct kg_wire {
  uint8_t *out; /* messages, each as a bin value */
  size_t size, room, usual;
  unsigned count;
  zmq_msg_t held; /* was to be sent when the socket took nothing */
  bool holds;
  zmq_msg_t in; /* several messages; valid while `at` is not NULL */
  const uint8_t *at, *end;
  int source_fd;
} kg_wire_t;

/*
 * Sends `m` under the id `id`, without waiting. It joins those that wait for kg_wire_flush(), or goes at once.
 * Documents that are not in frame 0 go by reference. 0; 1 if the socket takes no more now (m is not sent); -1 and a
 * sentence.
 */
int kg_wire_send(kg_wire_t *w, void *socket, const kg_msg_t *m, uint64_t id, int64_t now_ms, kg_error_t *err);
/* Sends what waits. 0; 1 if the socket takes nothing now (it waits on); -1 and a sentence. */
int kg_wire_flush(kg_wire_t *w, void *socket, kg_error_t *err);

/*
 * Takes the next message. 1 and a checked message in *out (the caller owns one reference); 0: there is none; -1 and a
 * sentence: it was malformed and is gone. source_fd (may be NULL): descriptor of the connection it came by.
 */
int kg_wire_recv(kg_wire_t *w, void *socket, int64_t now_ms, kg_msg_t **out, int *source_fd, kg_error_t *err);

/* Forgets what waits to be sent; with kg_wire_end() also what has come. */
void kg_wire_forget(kg_wire_t *w);
void kg_wire_end(kg_wire_t *w);

#endif
