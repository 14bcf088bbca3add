/* Documents and views over hostile bytes: checked, walked, printed, made a tree and packed again. */
#include "fuzz.h"
#include "kube/json.h"
#include "kube/tree.h"

static size_t walk(kg_view_t v, unsigned depth) {
  size_t n = 1 + kg_view_str(v).n + kg_view_bin(v).n + (size_t)kg_view_bool(v, false);
  n += (size_t)kg_view_int(v, 1) ^ (size_t)kg_view_uint(v, 1) ^ (kg_view_float(v, 1) > 2);
  n += kg_view_span(kg_view_get(v, "a")) + kg_view_span(kg_view_at(v, 1));
  if (depth == 0) return n;
  for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);)
    n += walk(it.value, depth - 1) + (it.map ? kg_view_str(it.key).n : 0);
  return n;
}

static void through_a_tree(kg_view_t v) {
  kube_arena_t *a = kube_arena_new();
  kube_node_t *n = kube_tree_parse(a, v);
  kg_doc_t *again = n ? kube_tree_doc(n) : NULL;
  if (again) {
    fuzz_check(again);
    kube_node_t *m = kube_tree_parse(a, kg_view_of(again));
    kg_doc_t *third = m ? kube_tree_doc(m) : NULL;
    FUZZ_MUST(third && kg_doc_size(third) == kg_doc_size(again) &&
              !memcmp(kg_doc_data(third), kg_doc_data(again), kg_doc_size(again)));
    kg_doc_unref(third);
  }
  kg_doc_unref(again);
  kube_arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kg_view_t v = kg_view_bytes(data, size);
  kg_error_t err = {0};
  walk(v, 4); /* views must be safe over bytes that nobody checked */
  free(kg_view_to_json(v));
  if (kg_doc_check(data, size, &err) < 0) {
    FUZZ_MUST(err.text[0]);
    return 0;
  }
  FUZZ_MUST(kg_view_span(v) == size);
  walk(v, 8);
  kg_view_equal(v, v);
  kube_buf_t b = {0};
  kube_json_write(&b, v);
  kube_buf_free(&b);
  through_a_tree(v);
  return 0;
}
