#ifndef BENCH_RAW_H
#define BENCH_RAW_H
/*
 * The same exchange with ZeroMQ alone: DEALER to ROUTER and back, payloads by reference. Bare: nothing but the payload,
 * sent back as it came, so that nobody could say whose answer it is. With an envelope: what a program must do that has
 * more than one topic and several requests under way: the envelope of bus/PROTOCOL.md is written and read on both
 * sides, and the id of every answer is looked at. Payloads up to 256 bytes share its frame, others are frames of their
 * own.
 */
#include <stdbool.h>
#include <stddef.h>

typedef enum { SAME_LANE, ACROSS_LANES, IPC, TCP, CURVE, TRANSPORTS } transport_t;

/* Round trips per second with `window` requests under way, for `ms` milliseconds. Ends the program if it fails. */
double raw_rate(transport_t t, bool envelope, size_t size, int window, int ms, const char *dir);

#endif
