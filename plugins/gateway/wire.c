/* The wire form of protobuf messages. */
#include "wire.h"

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
