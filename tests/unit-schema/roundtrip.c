/*
 * Whether decoding gives back what the API writes: reads recorded objects (one JSON object a line: apiVersion, kind,
 * json) and compares the text of json, decoded and written again, with itself. zcat roundtrip.jsonl.gz |
 * test-schema-roundtrip [-v]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/json.h"
#include "kube/schema.h"

static const kube_resource_t *resource_of(kg_view_t v) {
  kg_str_t api = kg_view_str(kg_view_get(v, "apiVersion")), kind = kg_view_str(kg_view_get(v, "kind"));
  const char *slash = memchr(api.p, '/', api.n);
  kg_str_t group = slash ? (kg_str_t){api.p, (size_t)(slash - api.p)} : KG_STR("");
  kg_str_t version = slash ? (kg_str_t){slash + 1, api.n - group.n - 1} : api;
  return kube_resource_by_kind(group, version, kind);
}

static bool same_text(const kube_node_t *a, const kube_node_t *b, bool verbose, const char *name) {
  kg_doc_t *x = kube_tree_doc(a), *y = kube_tree_doc(b);
  char *s = kg_view_to_json(kg_view_of(x)), *t = kg_view_to_json(kg_view_of(y));
  bool same = s && t && strcmp(s, t) == 0;
  if (!same && verbose) printf("%s\n  want %s\n  got  %s\n", name, s, t);
  free(s);
  free(t);
  kg_doc_unref(x);
  kg_doc_unref(y);
  return same;
}

int main(int argc, char **argv) {
  char *line = NULL;
  size_t room = 0;
  ssize_t n;
  unsigned total = 0, good = 0, other = 0;
  bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
  while ((n = getline(&line, &room, stdin)) > 0) {
    kg_error_t err = {0};
    kg_doc_t *doc = kube_json_parse(line, (size_t)n, NULL, NULL, &err);
    kg_view_t v = kg_view_of(doc);
    const kube_resource_t *r = doc ? resource_of(v) : NULL;
    if (r) {
      kube_arena_t *a = kube_arena_new();
      kube_node_t *want = kube_tree_parse(a, kg_view_get(v, "json")), *got = kube_tree_clone(a, want);
      total++;
      if (kube_decode(a, r, got, NULL, &err) != 0) {
        printf("%s is refused: %s\n", r->kind, err.text);
      } else {
        good += same_text(want, got, verbose, r->kind);
      }
      kube_arena_free(a);
    } else {
      other++;
    }
    kg_doc_unref(doc);
  }
  free(line);
  printf("%u of %u come back the same; %u are no resources of ours\n", good, total, other);
  return good == total ? 0 : 1;
}
