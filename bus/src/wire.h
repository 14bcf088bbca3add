#ifndef KG_WIRE_H
#define KG_WIRE_H
/* Messages between processes: PROTOCOL.md rule 1. The thread that owns the socket. */
#include "msg_internal.h"

#define KG_WIRE_INLINE 4096 /* documents of so many bytes together travel in frame 0 */

/*
 * Sends `m` under the id `id` on a ZeroMQ socket, without waiting. Documents that are not in frame 0 go by reference.
 * 0; 1 if the socket takes nothing now (nothing was sent); -1 and a sentence.
 */
int kg_wire_send(void *socket, const kg_msg_t *m, uint64_t id, int64_t now_ms, kg_error_t *err);

/*
 * Takes one message off the socket. 1 and a checked message in *out (the caller owns one reference); 0: there is none;
 * -1 and a sentence: it was malformed and is gone. source_fd (may be NULL): descriptor of the connection it came by.
 */
int kg_wire_recv(void *socket, int64_t now_ms, kg_msg_t **out, int *source_fd, kg_error_t *err);

#endif
