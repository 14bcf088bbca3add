/* JSON: what is read, written and read again is the same; keys are told apart. */
#include "fuzz.h"
#include "kube/json.h"

/* Written, read and written again it is the same text; but first 1e3 becomes 1000, and -0.0 the integer 0. */
static void same_again(const kg_doc_t *doc, bool settled) {
  kube_buf_t one = {0}, two = {0};
  kg_error_t err = {0};
  kube_json_write(&one, kg_view_of(doc));
  kube_json_limits_t wide = {.max_bytes = one.n + 1};
  kg_doc_t *again = kube_json_parse(one.p, one.n, &wide, NULL, &err);
  if (again) kube_json_write(&two, kg_view_of(again));
  if (again && !settled)
    same_again(again, true);
  else if (!again || one.n != two.n || memcmp(one.p, two.p, one.n)) {
    fprintf(stderr, "%.*s\n%.*s\n%s\n", (int)one.n, one.p, (int)two.n, two.p ? two.p : "", err.text);
    abort();
  }
  kg_doc_unref(again);
  kube_buf_free(&one);
  kube_buf_free(&two);
}

static void unique_keys(kg_view_t v) {
  for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) {
    if (it.map) FUZZ_MUST(kg_view_get_str(v, kg_view_str(it.key)).p == it.value.p);
    unique_keys(it.value);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_in_t in = {data, data + size};
  kg_str_t text = fuzz_part(&in);
  kg_error_t err = {0};
  kg_pack_t dup = kg_pack();
  kg_pack_array(&dup);
  kg_doc_t *doc = kube_json_parse(text.p, text.n, NULL, &dup, &err);
  kg_pack_end(&dup);
  kg_doc_t *names = kg_pack_doc(&dup);
  kg_doc_t *plain = kube_json_parse(text.p, text.n, NULL, NULL, NULL);
  free((char *)text.p);
  FUZZ_MUST(!doc == !plain);
  if (doc) {
    fuzz_check(doc);
    fuzz_check(names);
    unique_keys(kg_view_of(doc));
    same_again(doc, false);
    FUZZ_MUST(kg_view_equal(kg_view_of(doc), kg_view_of(plain)));
  } else
    FUZZ_MUST(err.text[0]);
  kg_doc_unref(names);
  kg_doc_unref(plain);
  kg_doc_unref(doc);
  return 0;
}
