/*
 * Objects beside their protobuf as the API's own encoder writes it (facts of the API, not part of the tree): each must
 * be read from protobuf to its JSON, and come back the same from what we write. zcat roundtrip.jsonl.gz |
 * test-gateway-roundtrip [-v]
 */
#include "gateway.h"
#include "kube/schema.h"
#include "kube/tree.h"

static char *decode(kg_str_t base64, size_t *n) {
  char *out = malloc(base64.n + 4);
  int got = out ? EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)base64.p, (int)base64.n) : -1;
  *n = got < 0 ? 0 : (size_t)got;
  for (size_t i = base64.n; i-- && base64.p[i] == '=' && *n;) --*n;
  return out;
}

/* Without what JSON may leave out: nulls, empty lists and maps. */
static void prune(kube_node_t *n) {
  for (uint32_t i = 0; (n->type == KG_V_MAP || n->type == KG_V_ARRAY) && i < n->c.n;) {
    kube_node_t *v = n->c.items[i];
    prune(v);
    bool nothing = v->type == KG_V_NIL || ((v->type == KG_V_MAP || v->type == KG_V_ARRAY) && !v->c.n);
    if (n->type == KG_V_MAP && nothing)
      kube_deln(n, n->c.keys[i]);
    else
      i++;
  }
}

static bool same(kube_arena_t *a, kg_doc_t *doc, kg_view_t want, const char *what, bool verbose) {
  kube_node_t *got = doc ? kube_tree_parse(a, kg_view_of(doc)) : NULL, *right = kube_tree_parse(a, want);
  if (got) prune(got);
  prune(right);
  if (got && kube_tree_equal(got, right)) return true;
  if (verbose) {
    kg_doc_t *x = got ? kube_tree_doc(got) : NULL, *y = kube_tree_doc(right);
    char *s = kg_view_to_json(kg_view_of(x)), *t = kg_view_to_json(kg_view_of(y));
    printf("%s\n  want %s\n  got  %s\n", what, t, s);
    free(s), free(t);
    kg_doc_unref(x), kg_doc_unref(y);
  }
  return false;
}

static bool check(kg_view_t line, bool verbose) {
  size_t n;
  kg_error_t err = {0};
  kg_view_t json = kg_view_get(line, "json");
  char *bytes = decode(kg_view_str(kg_view_get(line, "protobuf")), &n), what[200];
  snprintf(what, sizeof what, KG_STR_FMT " " KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(line, "apiVersion"))),
           KG_STR_ARG(kg_view_str(kg_view_get(line, "kind"))));
  kg_doc_t *read = gw_protobuf_parse(bytes, n, &err);
  if (!read) printf("%s: %s\n", what, err.text);
  kube_arena_t *a = kube_arena_new();
  bool ok = same(a, read, json, what, verbose);
  kube_buf_t b = {0};
  bool written = gw_protobuf_object(&b, json);
  kg_doc_t *again = written ? gw_protobuf_parse(b.p, b.n, &err) : NULL;
  if (!again) printf("%s, written by us: %s\n", what, written ? err.text : "no form");
  ok &= same(a, again, json, "  as we write it", verbose);
  kube_buf_free(&b);
  kg_doc_unref(read);
  kg_doc_unref(again);
  kube_arena_free(a);
  free(bytes);
  return ok;
}

int main(int argc, char **argv) {
  char *line = NULL;
  size_t room = 0;
  ssize_t n;
  unsigned total = 0, good = 0;
  bool verbose = argc > 1 && !strcmp(argv[1], "-v");
  while ((n = getline(&line, &room, stdin)) > 0) {
    kg_doc_t *doc = kube_json_parse(line, (size_t)n, NULL, NULL, NULL);
    total++;
    good += doc && check(kg_view_of(doc), verbose);
    kg_doc_unref(doc);
  }
  free(line);
  printf("%u of %u objects are the same in JSON and protobuf, both ways\n", good, total);
  return total && good == total ? 0 : 1;
}
