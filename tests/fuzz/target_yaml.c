/* YAML bodies (server-side apply). */
#include "fuzz.h"
#include "gateway.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_in_t in = {data, data + size};
  kg_str_t text = fuzz_part(&in);
  kg_error_t err = {0};
  kg_doc_t *doc = gw_yaml_parse(text.p, text.n, NULL, &err);
  free((char *)text.p);
  if (doc)
    fuzz_check(doc);
  else
    FUZZ_MUST(err.text[0]);
  kg_doc_unref(doc);
  return 0;
}
