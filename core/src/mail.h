#ifndef KG_MAIL_H
#define KG_MAIL_H
/*
 * From thread to thread. ZeroMQ carries the reference of a packet; its sender goes on filling it until the receiver
 * opens it. So no parcel ever waits to be sent, and the more are under way, the fewer messages and wake-ups they cost.
 */
#include "kernel.h"

/* Sends to `lane`; for the one thread that owns the outlet. Takes the parcel over; -1: the lane cannot be reached. */
int kg_outlet_send(kg_kernel_t *k, kg_outlet_t *out, const kg_lane_t *lane, kg_parcel_t p);
void kg_outlet_close(kg_outlet_t *out);

/* The socket on which the lane receives; NULL: errno tells why. */
void *kg_inbox_open(kg_kernel_t *k, unsigned index);
/* Takes one packet off the inbox. False: there is none now, and ZMQ_FD will tell of the next one. A job with a fence
 * comes behind everything that was sent to this inbox before. */
bool kg_inbox_take(void *inbox, kg_queue_t *into);

#endif
