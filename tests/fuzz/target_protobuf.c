/* Kubernetes' protobuf of every kind: what decodes encodes and decodes to the same. */
#include "fuzz.h"
#include "gateway.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kg_error_t err = {0};
  char *copy = malloc(size ? size : 1);
  if (size) memcpy(copy, data, size);
  kg_doc_t *doc = gw_protobuf_parse(copy, size, &err);
  free(copy);
  if (!doc) {
    FUZZ_MUST(err.text[0]);
    return 0;
  }
  fuzz_check(doc);
  kube_buf_t b = {0};
  FUZZ_MUST(gw_protobuf_object(&b, kg_view_of(doc)) && !b.failed);
  kg_doc_t *again = gw_protobuf_parse(b.p, b.n, &err);
  if (!again || !kg_view_equal(kg_view_of(doc), kg_view_of(again))) {
    char *one = kg_view_to_json(kg_view_of(doc)), *two = again ? kg_view_to_json(kg_view_of(again)) : NULL;
    fprintf(stderr, "%s\n%s\n", one, two ? two : err.text);
    abort();
  }
  kg_doc_unref(again);
  kube_buf_free(&b);
  b = (kube_buf_t){0};
  gw_protobuf_meta(&b, kg_view_of(doc));
  kube_buf_free(&b);
  kg_doc_unref(doc);
  return 0;
}
