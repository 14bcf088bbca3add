#include <stdlib.h>

#include "kernel.h"

void kg_parcel_free(kg_parcel_t *p) {
  kg_ctx_unref(p->to);
  kg_ctx_unref(p->from);
  kg_msg_unref(p->m);
  kg_job_unref(p->job);
  *p = (kg_parcel_t){0};
}

static int grow(kg_queue_t *q) {
  size_t room = q->room ? q->room * 2 : 64;
  kg_parcel_t *ring = malloc(room * sizeof *ring);
  if (!ring) return -1;
  for (size_t i = 0; i < q->count; i++) ring[i] = q->ring[(q->head + i) & (q->room - 1)];
  free(q->ring);
  *q = (kg_queue_t){.ring = ring, .count = q->count, .room = room};
  return 0;
}

int kg_queue_push(kg_queue_t *q, kg_parcel_t p) {
  if (q->count == q->room && grow(q) < 0) {
    kg_parcel_free(&p);
    return -1;
  }
  q->ring[(q->head + q->count++) & (q->room - 1)] = p;
  return 0;
}

bool kg_queue_pop(kg_queue_t *q, kg_parcel_t *p) {
  if (!q->count) return false;
  *p = q->ring[q->head];
  q->head = (q->head + 1) & (q->room - 1);
  q->count--;
  return true;
}

void kg_queue_free(kg_queue_t *q) {
  for (kg_parcel_t p; kg_queue_pop(q, &p);) kg_parcel_free(&p);
  free(q->ring);
  *q = (kg_queue_t){0};
}
