/* Patches of three kinds: an object, then a patch for it. The first byte chooses the kind. */
#include "object.h"

static void json_patch(kube_arena_t *a, const kube_node_t *object, fuzz_in_t *in) {
  kg_str_t text = fuzz_part(in);
  kg_doc_t *doc = kube_json_parse(text.p, text.n, NULL, NULL, NULL);
  free((char *)text.p);
  kube_node_t *patch = doc ? kube_tree_parse(a, kg_view_of(doc)) : NULL;
  kg_error_t err = {0};
  kube_node_t *out = patch ? kube_patch_json(a, object, patch, &err) : NULL;
  FUZZ_MUST(out || !patch || err.text[0]);
  if (out) kg_doc_unref(kube_tree_doc(out));
  kg_doc_unref(doc);
}

static void merge_patch(kube_arena_t *a, const kube_node_t *object, fuzz_in_t *in, bool strategic) {
  kg_doc_t *doc;
  kg_error_t err = {0};
  kube_node_t *patch = fuzz_tree(in, a, &doc), *out = NULL;
  if (patch)
    out = strategic ? kube_patch_strategic(a, fuzz_resource(object)->type, object, patch, &err)
                    : kube_patch_merge(a, object, patch);
  FUZZ_MUST(out || !patch || err.text[0]);
  if (out) kg_doc_unref(kube_tree_doc(out)); /* may be nested deeper than documents are */
  kg_doc_unref(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_in_t in = {data, data + size};
  uint8_t kind = fuzz_byte(&in);
  kube_arena_t *a = kube_arena_new();
  kg_doc_t *doc = NULL;
  kube_node_t *object = fuzz_tree(&in, a, &doc);
  kg_doc_t *before = object ? kube_tree_doc(object) : NULL;
  if (object && kind % 3 == 0)
    json_patch(a, object, &in);
  else if (object)
    merge_patch(a, object, &in, kind % 3 == 2);
  kg_doc_t *after = object ? kube_tree_doc(object) : NULL;
  if (object) FUZZ_MUST(kg_view_equal(kg_view_of(before), kg_view_of(after))); /* a patch makes a new tree */
  kg_doc_unref(before);
  kg_doc_unref(after);
  kube_arena_free(a);
  kg_doc_unref(doc);
  return 0;
}
