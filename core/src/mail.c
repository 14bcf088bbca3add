#include "mail.h"

#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

#include "handed.h"
#include "lane.h"
#include "refs.h"

#define OPENED UINT32_MAX

/* Of a size that the allocator still keeps in a thread's own store. */
struct kg_packet {
  atomic_uint refs;  /* its sender's, and ZeroMQ's */
  atomic_uint count; /* of the parcels in it; OPENED: they were taken out, nothing can be added */
  kg_parcel_t parcels[30];
};

enum { ROOM = sizeof((kg_packet_t *)NULL)->parcels / sizeof(kg_parcel_t) };

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void drop(kg_packet_t *k) {
  if (!kg_refs_drop(&k->refs)) return;
  unsigned n = atomic_exchange_explicit(&k->count, OPENED, memory_order_acquire);
  for (unsigned i = 0; n != OPENED && i < n; i++) kg_parcel_free(&k->parcels[i]);
  free(k);
}

static void packet_release(void *packet, void *hint) {
  (void)hint;
  KG_TAKEN(packet);
  drop(packet);
}

static bool add(kg_packet_t *k, const kg_parcel_t *p) {
  unsigned n = atomic_load_explicit(&k->count, memory_order_relaxed);
  if (n >= ROOM) return false; /* full, or OPENED */
  k->parcels[n] = *p;
  return atomic_compare_exchange_strong_explicit(&k->count, &n, n + 1, memory_order_release, memory_order_relaxed);
}

/* With one parcel in it: the last one again if its receiver is done with it. */
static kg_packet_t *begin(kg_outlet_t *out, const kg_parcel_t *p) {
  kg_packet_t *k = out->packet;
  if (k && atomic_load_explicit(&k->refs, memory_order_acquire) != 1) {
    drop(k);
    k = NULL;
  }
  if (!k) k = malloc(sizeof *k);
  out->packet = k;
  if (!k) return NULL;
  k->parcels[0] = *p;
  atomic_store_explicit(&k->refs, 2, memory_order_relaxed);
  atomic_store_explicit(&k->count, 1, memory_order_release);
  return k;
}

static void *connect_to(kg_kernel_t *k, unsigned index) {
  char address[64];
  int none = 0;
  snprintf(address, sizeof address, "inproc://lane-%u", index);
  void *s = zmq_socket(k->zmq, ZMQ_PUSH);
  if (!s) return NULL;
  zmq_setsockopt(s, ZMQ_SNDHWM, &none, sizeof none);
  zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none);
  if (zmq_connect(s, address) == 0) return s;
  zmq_close(s);
  return NULL;
}

int kg_outlet_send(kg_kernel_t *k, kg_outlet_t *out, const kg_lane_t *lane, kg_parcel_t p) {
  zmq_msg_t z;
  if (out->packet && add(out->packet, &p)) return 0;
  if (!out->socket) out->socket = connect_to(k, lane->index);
  kg_packet_t *packet = out->socket ? begin(out, &p) : NULL;
  if (!packet) {
    kg_parcel_free(&p);
    return -1;
  }
  if (zmq_msg_init_data(&z, packet, sizeof *packet, packet_release, NULL) < 0) {
    drop(packet); /* ZeroMQ's reference; the parcel goes with the outlet's */
    drop(packet);
    out->packet = NULL;
    return -1;
  }
  KG_HANDED(packet);
  if (zmq_msg_send(&z, out->socket, ZMQ_DONTWAIT) >= 0) return 0;
  zmq_msg_close(&z);
  drop(packet);
  out->packet = NULL;
  return -1;
}

void kg_outlet_close(kg_outlet_t *out) {
  if (out->socket) zmq_close(out->socket);
  if (out->packet) drop(out->packet);
  *out = (kg_outlet_t){0};
}

/* --- receiving ---------------------------------------------------------------------------------------------------- */

void *kg_inbox_open(kg_kernel_t *k, unsigned index) {
  char address[64];
  int none = 0;
  snprintf(address, sizeof address, "inproc://lane-%u", index);
  void *s = zmq_socket(k->zmq, ZMQ_PULL);
  if (!s) return NULL;
  zmq_setsockopt(s, ZMQ_RCVHWM, &none, sizeof none);
  if (zmq_bind(s, address) == 0) return s;
  zmq_close(s);
  return NULL;
}

static void unpack(void *inbox, kg_packet_t *k, kg_queue_t *into) {
  KG_TAKEN(k);
  unsigned n = atomic_exchange_explicit(&k->count, OPENED, memory_order_acquire);
  for (unsigned i = 0; n != OPENED && i < n; i++) {
    bool fence = k->parcels[i].job && k->parcels[i].job->fence;
    while (fence && kg_inbox_take(inbox, into)) continue;
    kg_queue_push(into, k->parcels[i]);
  }
}

bool kg_inbox_take(void *inbox, kg_queue_t *into) {
  zmq_msg_t z;
  zmq_msg_init(&z);
  int n = zmq_msg_recv(&z, inbox, ZMQ_DONTWAIT);
  if (n == (int)sizeof(kg_packet_t)) unpack(inbox, zmq_msg_data(&z), into);
  zmq_msg_close(&z);
  return n >= 0;
}
