#ifndef KUBE_WIRE_H
#define KUBE_WIRE_H
/* The wire form of protobuf messages (developers.google.com/protocol-buffers/docs/encoding). Any thread. */
#include "kube/json.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* --- writing: appended to a buffer ------------------------------------------------------------------------------- */

void wire_varint(kube_buf_t *b, uint64_t v);
void wire_tag(kube_buf_t *b, uint32_t number, unsigned wire);
void wire_number(kube_buf_t *b, uint32_t number, int64_t v);
void wire_bytes(kube_buf_t *b, uint32_t number, const void *p, size_t n);
/* A message in a message: what is appended until wire_close(start) is its content. */
size_t wire_open(kube_buf_t *b, uint32_t number);
void wire_close(kube_buf_t *b, size_t start);

/* --- reading where it lies: nothing is copied -------------------------------------------------------------------- */

typedef struct wire_span {
  const uint8_t *p, *end;
} wire_span_t;
typedef struct wire_item { /* one field of a message */
  uint32_t number, wire;
  uint64_t value;
  wire_span_t bytes;
} wire_item_t;

/* Takes the next field off a message. 1: a field; 0: the end; -1: malformed. */
int wire_next(wire_span_t *s, wire_item_t *f);
/* One bare value; -1: malformed. */
int wire_read_varint(wire_span_t *s, uint64_t *v);
int wire_read_fixed(wire_span_t *s, size_t n, uint64_t *v);

#endif
