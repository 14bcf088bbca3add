#ifndef BENCH_RAW_H
#define BENCH_RAW_H
/* The same exchange with ZeroMQ alone: DEALER to ROUTER and back, payloads by reference. */
#include <stddef.h>

typedef enum { SAME_LANE, ACROSS_LANES, IPC, TCP, CURVE, TRANSPORTS } transport_t;

/* Round trips per second with `window` requests under way, for `ms` milliseconds. Ends the program if it fails. */
double raw_rate(transport_t t, size_t size, int window, int ms, const char *dir);

#endif
