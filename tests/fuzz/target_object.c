/* An object of any kind through all that the tables drive: decoding, defaults, validation, table cells, quota, protobuf
 * both ways. A second part: the object that it replaces. */
#include "gateway.h"
#include "kube/quota.h"
#include "kube/values.h"
#include "object.h"

static void show(const kube_resource_t *r, kg_view_t v) {
  kg_pack_t p = kg_pack();
  kg_pack_array(&p);
  kube_table_cells(&p, r, v, 1800000000000000);
  kg_pack_end(&p);
  kg_doc_t *cells = kg_pack_doc(&p);
  if (cells) fuzz_check(cells);
  kg_doc_unref(cells);
  kg_str_t value;
  for (const char *const *s = r->selectable; s && *s; s++) kube_selectable(r, v, kg_str(*s), &value);
}

static void through_protobuf(kg_view_t v) {
  kube_buf_t b = {0};
  kg_error_t err = {0};
  if (gw_protobuf_object(&b, v) && !b.failed) {
    kg_doc_t *doc = gw_protobuf_parse(b.p, b.n, &err);
    if (doc) fuzz_check(doc);
    kg_doc_unref(doc);
  }
  kube_buf_free(&b);
}

static void judge(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *object, const kube_node_t *old) {
  kube_node_t *causes = kube_array(a);
  kube_validate(a, r, object, old, false, causes);
  kube_validate(a, r, object, old, true, causes);
  kg_doc_unref(fuzz_doc(causes));
}

static kube_node_t *decoded(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object) {
  kube_node_t *unknown = kube_array(a);
  kg_error_t err = {0};
  if (kube_decode(a, r, object, unknown, &err) < 0) {
    FUZZ_MUST(err.text[0]);
    return NULL;
  }
  kg_doc_unref(fuzz_doc(unknown));
  kube_default(a, r, object);
  return object;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_in_t in = {data, data + size};
  kube_arena_t *a = kube_arena_new();
  kg_doc_t *one = NULL, *two = NULL;
  kube_node_t *object = fuzz_tree(&in, a, &one), *old = fuzz_tree(&in, a, &two);
  const kube_resource_t *r = object ? fuzz_resource(object) : NULL;
  object = object ? decoded(a, r, object) : NULL;
  old = object && old ? decoded(a, r, old) : NULL;
  if (object) {
    judge(a, r, object, NULL);
    if (old) judge(a, r, object, old);
    kg_doc_t *doc = fuzz_doc(object);
    show(r, kg_view_of(doc));
    through_protobuf(kg_view_of(doc));
    kube_amounts_t sum = {0};
    kube_quota_count(a, &sum, r->group, r->resource, kg_view_of(doc));
    kg_doc_unref(doc);
  }
  kube_arena_free(a);
  kg_doc_unref(one);
  kg_doc_unref(two);
  return 0;
}
