/* Which addresses of the pod network are taken. */
#include <arpa/inet.h>
#include <stdio.h>

#include "network.h"

enum { FIRST = 2 }; /* the network's own and the gateway's come before */

int cidr_parse(kg_str_t text, cidr_t *c, kg_error_t *err) {
  if (kube_ipv4_range(text, &c->net, &c->bits) < 0 || c->bits < 8 || c->bits > 29)
    return kg_error_set(err, KG_EINVAL, "\"" KG_STR_FMT "\" is no IPv4 network of /8 to /29", KG_STR_ARG(text));
  return 0;
}

uint32_t cidr_gateway(const cidr_t *c) {
  return c->net + 1;
}

bool cidr_holds(const cidr_t *c, uint32_t ip) {
  return c->bits && (ip & ~((1u << (32 - c->bits)) - 1)) == c->net;
}

void ip_text(uint32_t ip, char text[16]) {
  struct in_addr addr = {htonl(ip)};
  inet_ntop(AF_INET, &addr, text, 16);
}

int addresses_init(addresses_t *a, const cidr_t *c, kg_error_t *err) {
  addresses_free(a);
  a->size = 1u << (32 - c->bits);
  a->taken = calloc(1, a->size / 8);
  a->cidr = *c;
  a->last = FIRST - 1;
  return a->taken ? 0 : kg_error_set(err, KG_EINTERNAL, "out of memory");
}

void addresses_free(addresses_t *a) {
  free(a->taken);
  *a = (addresses_t){0};
}

uint32_t addresses_take(addresses_t *a) {
  uint32_t usable = a->size > FIRST + 1 ? a->size - FIRST - 1 : 0; /* the last one is the broadcast address */
  for (uint32_t k = 0, i = a->last; k < usable; k++) {
    i = i + 1 < a->size - 1 ? i + 1 : FIRST;
    if (a->taken[i / 8] >> (i % 8) & 1) continue;
    a->taken[i / 8] |= (uint8_t)(1 << (i % 8));
    a->last = i;
    return a->cidr.net + i;
  }
  return 0;
}

void addresses_keep(addresses_t *a, uint32_t ip) {
  uint32_t i = ip - a->cidr.net;
  if (i >= a->size) return;
  a->taken[i / 8] |= (uint8_t)(1 << (i % 8));
  a->last = i;
}

void addresses_give(addresses_t *a, uint32_t ip) {
  uint32_t i = ip - a->cidr.net;
  if (i < a->size) a->taken[i / 8] &= (uint8_t) ~(1 << (i % 8));
}
