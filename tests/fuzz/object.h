#ifndef FUZZ_OBJECT_H
#define FUZZ_OBJECT_H
/* Objects from JSON, as the API reads them. */
#include "fuzz.h"
#include "kube/json.h"
#include "kube/schema.h"

/* The next part of the input as a tree; its document goes to *doc (the caller's). NULL: no JSON object. */
static inline kube_node_t *fuzz_tree(fuzz_in_t *in, kube_arena_t *a, kg_doc_t **doc) {
  kg_str_t text = fuzz_part(in);
  *doc = kube_json_parse(text.p, text.n, NULL, NULL, NULL);
  free((char *)text.p);
  kube_node_t *n = *doc ? kube_tree_parse(a, kg_view_of(*doc)) : NULL;
  return n && n->type == KG_V_MAP ? n : NULL;
}

/* The kind that apiVersion and kind name; else one that the text chooses. */
static inline const kube_resource_t *fuzz_resource(const kube_node_t *object) {
  kg_str_t version = kube_node_str(kube_get(object, "apiVersion")), kind = kube_node_str(kube_get(object, "kind")),
           group = {"", 0};
  const char *slash = version.n ? memchr(version.p, '/', version.n) : NULL;
  if (slash) {
    group = (kg_str_t){version.p, (size_t)(slash - version.p)};
    version = (kg_str_t){slash + 1, version.n - group.n - 1};
  }
  const kube_resource_t *r = kube_resource_by_kind(group, version, kind);
  size_t n = 0;
  while (!r && kube_resource_at(n)) n++;
  return r ? r : kube_resource_at((kind.n ? (uint8_t)kind.p[0] : object->c.n) % n);
}

/* The tree must make a document that all others may rely on. Caller owns it. */
static inline kg_doc_t *fuzz_doc(const kube_node_t *n) {
  kg_doc_t *doc = kube_tree_doc(n);
  FUZZ_MUST(doc);
  fuzz_check(doc);
  return doc;
}

#endif
