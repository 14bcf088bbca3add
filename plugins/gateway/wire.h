#ifndef GATEWAY_WIRE_H
#define GATEWAY_WIRE_H
/* The wire form of protobuf messages (developers.google.com/protocol-buffers/docs/encoding), appended to a buffer. */
#include "gateway.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };

void wire_varint(kube_buf_t *b, uint64_t v);
void wire_tag(kube_buf_t *b, uint32_t number, unsigned wire);
void wire_number(kube_buf_t *b, uint32_t number, int64_t v);
void wire_bytes(kube_buf_t *b, uint32_t number, const void *p, size_t n);
/* A message in a message: what is appended until wire_close(start) is its content. */
size_t wire_open(kube_buf_t *b, uint32_t number);
void wire_close(kube_buf_t *b, size_t start);

#endif
