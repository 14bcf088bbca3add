/* Schemas of custom kinds, as a definition holds them, and objects judged by them. */
#include "kube/custom.h"
#include "object.h"

static void use(kube_arena_t *a, const kube_structural_t *s, fuzz_in_t *in) {
  kg_doc_t *doc;
  kube_node_t *object = fuzz_tree(in, a, &doc), *unknown = kube_array(a), *causes = kube_array(a);
  kg_error_t err = {0};
  int rc = object ? kube_structural_prune(a, s, object, unknown, unknown, &err) : -1;
  FUZZ_MUST(rc == 0 || !object || err.text[0]);
  if (rc == 0) {
    kube_structural_default(a, s, object);
    kube_structural_validate(a, s, object, causes);
    kg_doc_unref(fuzz_doc(unknown));
    kg_doc_unref(fuzz_doc(causes));
    kg_doc_unref(kube_tree_doc(object));
  }
  kg_doc_unref(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_in_t in = {data, data + size};
  kube_arena_t *a = kube_arena_new();
  kg_doc_t *doc;
  kube_node_t *schema = fuzz_tree(&in, a, &doc), *causes = kube_array(a);
  if (schema) {
    kube_structural_check(a, schema, "spec.validation.openAPIV3Schema", causes);
    kg_doc_unref(fuzz_doc(causes));
  }
  if (schema && !causes->c.n) {
    kg_error_t err = {0};
    kube_structural_t *s = kube_structural_new(kg_view_of(doc), &err);
    FUZZ_MUST(s || err.text[0]);
    while (s && in.p < in.end) use(a, s, &in);
    kube_structural_free(s);
  }
  kube_arena_free(a);
  kg_doc_unref(doc);
  return 0;
}
