/* etcd's messages (etcd's api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto say the field numbers). */
#include <string.h>

#include "etcd.h"

enum {
  GRPC_INVALID = 3,
  GRPC_DEADLINE = 4,
  GRPC_NOT_FOUND = 5,
  GRPC_DENIED = 7,
  GRPC_EXHAUSTED = 8,
  GRPC_OUT_OF_RANGE = 11,
  GRPC_UNAVAILABLE = 14,
  GRPC_UNAUTHENTICATED = 16,
};

/* The end of the keys that begin with `from`: its last byte that can be raised is. All keys end with "\0". */
static void prefix_end(kube_buf_t *b, kg_str_t from) {
  size_t n = from.n;
  while (n && (unsigned char)from.p[n - 1] == 0xff) n--;
  if (!n) return wire_bytes(b, 2, "", 1);
  char last = (char)((unsigned char)from.p[n - 1] + 1);
  wire_tag(b, 2, WIRE_BYTES);
  wire_varint(b, n);
  kube_buf_add(b, from.p, n - 1);
  kube_buf_add(b, &last, 1);
}

void etcd_range_keys(kube_buf_t *b, kg_str_t from, kg_str_t to) {
  wire_bytes(b, 1, from.n ? from.p : "", from.n ? from.n : 1);
  if (to.p)
    wire_bytes(b, 2, to.p, to.n);
  else
    prefix_end(b, from);
}

kg_str_t etcd_text(wire_span_t s) {
  return (kg_str_t){(const char *)s.p, (size_t)(s.end - s.p)};
}

wire_span_t etcd_field(wire_span_t m, uint32_t number) {
  wire_item_t f;
  while (wire_next(&m, &f) == 1)
    if (f.number == number && f.wire == WIRE_BYTES) return f.bytes;
  return (wire_span_t){0};
}

int64_t etcd_header_rev(wire_span_t m) {
  wire_item_t f;
  int64_t rev = 0;
  while (wire_next(&m, &f) == 1)
    if (f.number == 3 && f.wire == WIRE_VARINT) rev = (int64_t)f.value;
  return rev;
}

void etcd_kv_read(wire_span_t m, etcd_kv_t *kv) {
  wire_item_t f;
  *kv = (etcd_kv_t){.key = {"", 0}, .value = {"", 0}};
  while (wire_next(&m, &f) == 1) {
    if (f.number == 1 && f.wire == WIRE_BYTES) kv->key = etcd_text(f.bytes);
    if (f.number == 2) kv->create = (int64_t)f.value;
    if (f.number == 3) kv->mod = (int64_t)f.value;
    if (f.number == 4) kv->version = (int64_t)f.value;
    if (f.number == 5 && f.wire == WIRE_BYTES) kv->value = etcd_text(f.bytes);
  }
}

kg_doc_t *etcd_doc(kg_str_t value) {
  if (kg_doc_check(value.p, value.n, NULL) == 0) return kg_doc_copy(value.p, value.n);
  kg_pack_t p = kg_pack();
  kg_pack_bin(&p, value.p, value.n);
  return kg_pack_doc(&p);
}

void etcd_refusal(kg_error_t *err, int status, const char *text) {
  int code = KG_EINTERNAL;
  if (status == GRPC_INVALID) code = strstr(text, "too large") ? KG_ETOOBIG : KG_EINVAL;
  if (status == GRPC_DEADLINE) code = KG_EDEADLINE;
  if (status == GRPC_NOT_FOUND) code = KG_ENOTFOUND;
  if (status == GRPC_DENIED || status == GRPC_UNAUTHENTICATED) code = KG_EDENIED;
  if (status == GRPC_EXHAUSTED) code = strstr(text, "space") ? KG_EFULL : KG_EUNAVAILABLE;
  if (status == GRPC_OUT_OF_RANGE) code = strstr(text, "compacted") ? KG_EGONE : KG_EINVAL;
  if (status == GRPC_UNAVAILABLE) code = KG_EUNAVAILABLE;
  kg_error_set(err, code, "store-etcd: %s (gRPC status %d)", text, status);
}
