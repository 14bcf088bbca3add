/* Server-side apply: the object as it is (with managedFields of anybody's making), then configurations applied to it.
 */
#include "kube/apply.h"
#include "object.h"

static kube_node_t *apply_one(kube_arena_t *a, const kube_resource_t *r, kube_node_t *old, kube_node_t *config,
                              bool force) {
  kube_manager_t m = {.name = kg_str(force ? "one" : "two"),
                      .api_version = kube_node_str(kube_get(old, "apiVersion")),
                      .apply = true,
                      .time = "2026-11-25T10:00:00Z"};
  kg_error_t err = {0};
  if (kube_decode_given(a, r, config, NULL, &err) < 0) return old;
  kube_applied_t out = kube_apply(a, r, old, config, &m, force);
  FUZZ_MUST(out.object || out.conflicts);
  if (out.conflicts) kg_doc_unref(fuzz_doc(out.conflicts));
  return out.object ? out.object : old;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  enum { MOST = 4 };
  fuzz_in_t in = {data, data + size};
  kube_arena_t *a = kube_arena_new();
  kg_doc_t *docs[MOST] = {0};
  kg_error_t err = {0};
  kube_node_t *old = fuzz_tree(&in, a, &docs[0]);
  const kube_resource_t *r = old ? fuzz_resource(old) : NULL;
  if (old && kube_decode(a, r, old, NULL, &err) == 0) {
    for (size_t i = 1; i < MOST && in.p < in.end; i++) {
      kube_node_t *config = fuzz_tree(&in, a, &docs[i]);
      if (config) old = apply_one(a, r, old, config, i & 1);
    }
    kube_manager_t update = {.name = KG_STR("three"), .api_version = KG_STR("v1"), .time = "2026-11-25T10:00:01Z"};
    kube_track(a, r, kube_empty(a, r->type), old, &update);
    kg_doc_unref(kube_tree_doc(old));
  }
  kube_arena_free(a);
  for (size_t i = 0; i < MOST; i++) kg_doc_unref(docs[i]);
  return 0;
}
