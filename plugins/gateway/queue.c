/* Bytes on their way out: reference-counted pieces, shared by all who send the same, and queues of them. */
#include "gateway.h"

gw_blob_t *gw_blob_take(char *p, size_t n) {
  gw_blob_t *b = malloc(sizeof *b);
  if (!b) {
    free(p);
    return NULL;
  }
  *b = (gw_blob_t){.refs = 1, .n = n, .p = p};
  return b;
}

gw_blob_t *gw_blob_copy(const void *p, size_t n) {
  gw_blob_t *b = malloc(sizeof *b + n); /* one piece: header and bytes */
  if (!b) return NULL;
  *b = (gw_blob_t){.refs = 1, .n = n, .p = (char *)(b + 1)};
  memcpy(b->p, p, n);
  return b;
}

gw_blob_t *gw_blob_ref(gw_blob_t *b) {
  if (b) b->refs++;
  return b;
}

void gw_blob_unref(gw_blob_t *b) {
  if (!b || --b->refs) return;
  if (b->p != (char *)(b + 1)) free(b->p);
  free(b);
}

gw_blob_t *gw_blob_framed(const void *p, size_t n) {
  char size[24];
  int skip = snprintf(size, sizeof size, "%zx\r\n", n);
  gw_blob_t *b = malloc(sizeof *b + (size_t)skip + n + 2);
  if (!b) return NULL;
  *b = (gw_blob_t){.refs = 1, .n = (size_t)skip + n + 2, .skip = (size_t)skip, .tail = 2, .p = (char *)(b + 1)};
  memcpy(b->p, size, (size_t)skip);
  memcpy(b->p + skip, p, n);
  memcpy(b->p + skip + n, "\r\n", 2);
  return b;
}

int gw_queue_add_range(gw_queue_t *q, gw_blob_t *b, size_t from, size_t to) {
  if (!b) return -1;
  if (from >= to) return 0;
  gw_out_t *o = malloc(sizeof *o);
  if (!o) return -1;
  *o = (gw_out_t){.blob = gw_blob_ref(b), .from = from, .to = to};
  if (q->tail)
    q->tail->next = o;
  else
    q->head = o;
  q->tail = o;
  q->bytes += to - from;
  return 0;
}

int gw_queue_add(gw_queue_t *q, gw_blob_t *b) {
  return gw_queue_add_range(q, b, 0, b ? b->n : 0);
}

size_t gw_queue_copy(const gw_queue_t *q, char *to, size_t room) {
  size_t n = 0;
  for (const gw_out_t *o = q->head; o && n < room; o = o->next) {
    size_t take = o->to - o->from;
    if (take > room - n) take = room - n;
    memcpy(to + n, o->blob->p + o->from, take);
    n += take;
  }
  return n;
}

void gw_queue_drop(gw_queue_t *q, size_t n) {
  q->bytes -= n;
  while (n) {
    gw_out_t *o = q->head;
    size_t left = o->to - o->from;
    if (n < left) {
      o->from += n;
      return;
    }
    n -= left;
    q->head = o->next;
    if (!q->head) q->tail = NULL;
    gw_blob_unref(o->blob);
    free(o);
  }
}

void gw_queue_clear(gw_queue_t *q) {
  gw_queue_drop(q, q->bytes);
}
