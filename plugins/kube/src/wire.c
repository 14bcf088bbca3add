/* The wire form of protobuf messages. */
#include "kube/wire.h"

#include <string.h>

void wire_varint(kube_buf_t *b, uint64_t v) {
  unsigned char out[10];
  size_t n = 0;
  do {
    out[n] = (unsigned char)(v & 0x7f) | (v > 0x7f ? 0x80 : 0);
    v >>= 7;
    n++;
  } while (v);
  kube_buf_add(b, out, n);
}

void wire_tag(kube_buf_t *b, uint32_t number, unsigned wire) {
  wire_varint(b, (uint64_t)number << 3 | wire);
}

void wire_number(kube_buf_t *b, uint32_t number, int64_t v) {
  wire_tag(b, number, WIRE_VARINT);
  wire_varint(b, (uint64_t)v);
}

void wire_bytes(kube_buf_t *b, uint32_t number, const void *p, size_t n) {
  wire_tag(b, number, WIRE_BYTES);
  wire_varint(b, n);
  kube_buf_add(b, p, n);
}

/* A message's length is known when it is written: one byte is kept for it, and what follows moves if it needs more. */
size_t wire_open(kube_buf_t *b, uint32_t number) {
  wire_tag(b, number, WIRE_BYTES);
  kube_buf_add(b, "", 1);
  return b->n;
}

void wire_close(kube_buf_t *b, size_t start) {
  if (b->failed) return;
  size_t n = b->n - start, more = 0;
  for (size_t v = n; v > 0x7f; v >>= 7) more++;
  kube_buf_add(b, "\0\0\0\0\0\0\0\0\0", more);
  if (b->failed) return;
  unsigned char *at = (unsigned char *)b->p + start;
  memmove(at + more, at, n);
  at--;
  for (size_t v = n;; v >>= 7) {
    *at++ = (unsigned char)(v & 0x7f) | (v > 0x7f ? 0x80 : 0);
    if (v <= 0x7f) break;
  }
}

int wire_read_varint(wire_span_t *s, uint64_t *v) {
  *v = 0;
  for (unsigned shift = 0; s->p < s->end && shift < 64; shift += 7) {
    uint8_t b = *s->p++;
    *v |= (uint64_t)(b & 0x7f) << shift;
    if (!(b & 0x80)) return 0;
  }
  return -1;
}

int wire_read_fixed(wire_span_t *s, size_t n, uint64_t *v) {
  if ((size_t)(s->end - s->p) < n) return -1;
  *v = 0;
  memcpy(v, s->p, n); /* little endian, as every machine this runs on */
  s->p += n;
  return 0;
}

int wire_next(wire_span_t *s, wire_item_t *f) {
  uint64_t tag, n;
  if (s->p == s->end) return 0;
  *f = (wire_item_t){0};
  if (wire_read_varint(s, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX) return -1;
  f->number = (uint32_t)(tag >> 3);
  f->wire = tag & 7;
  switch (f->wire) {
  case WIRE_VARINT:
    return wire_read_varint(s, &f->value) ? -1 : 1;
  case WIRE_FIXED64:
    return wire_read_fixed(s, 8, &f->value) ? -1 : 1;
  case WIRE_FIXED32:
    return wire_read_fixed(s, 4, &f->value) ? -1 : 1;
  case WIRE_BYTES:
    if (wire_read_varint(s, &n) || n > (uint64_t)(s->end - s->p)) return -1;
    f->bytes = (wire_span_t){s->p, s->p + n};
    s->p += n;
    return 1;
  }
  return -1;
}
