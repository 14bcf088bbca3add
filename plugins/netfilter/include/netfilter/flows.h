#ifndef NETFILTER_FLOWS_H
#define NETFILTER_FLOWS_H
/*
 * UDP has no connections, but the kernel remembers where it sent the packets of each pair of ports: a client that keeps
 * asking from one port would go on being sent to a backend that is gone, or nowhere. After a change such memories are
 * deleted. Lane thread.
 */
#include "kogge/plugin.h"

/* UDP that is sent to ip:port is led to to:to_port. ip 0: to an address of this node; to 0: says only that ip:port was
 * changed. All in host byte order. */
typedef struct led {
  uint32_t ip, to;
  uint16_t port, to_port;
} led_t;

typedef struct leds {
  led_t *all;
  size_t n, room;
} leds_t;
void leds_add(leds_t *l, led_t one); /* without memory it is left out */

typedef struct flows flows_t;
/* Deletes memories of packets to an ip:port of these that were led to none of its backends. Takes the list over; comes
 * back at once, the kernel is asked meanwhile. *at: NULL at first. */
void flows_check(kg_ctx_t *ctx, flows_t **at, leds_t *changed);
void flows_forget(kg_ctx_t *ctx, flows_t **at);

#endif
