/*
 * How far the tables agree with a real API server: reads recorded creations (one JSON object a line: path, body, code,
 * answer) and prints agreement by resource. Not a test of its own, since the recordings are not part of the tree: zcat
 * answers.jsonl.gz | test-schema-answers [-v]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/json.h"
#include "kube/schema.h"
#include "oracle.h"

typedef struct row {
  char name[96];
  unsigned total, code, object, objects, fields, fieldss;
} row_t;
static row_t rows[128];
static size_t row_count;
static bool verbose;

static row_t *row_of(const kube_resource_t *r) {
  char name[96];
  snprintf(name, sizeof name, "%s/%s", r->group, r->resource);
  for (size_t i = 0; i < row_count; i++) {
    if (strcmp(rows[i].name, name) == 0) return &rows[i];
  }
  snprintf(rows[row_count].name, sizeof rows[0].name, "%s", name);
  return &rows[row_count++];
}

static void show(const char *what, kg_str_t line, const kube_node_t *got) {
  if (!verbose) return;
  kg_doc_t *doc = got ? kube_tree_doc(got) : NULL;
  char *text = doc ? kg_view_to_json(kg_view_of(doc)) : NULL;
  printf("%s\n  " KG_STR_FMT "\n  got %s\n", what, KG_STR_ARG(line), text ? text : "-");
  free(text);
  kg_doc_unref(doc);
}

static void one(kube_arena_t *a, kg_view_t v, kg_str_t line) {
  const kube_resource_t *r = oracle_resource(kg_view_str(kg_view_get(v, "path")));
  if (!r) return;
  int64_t want = kg_view_int(kg_view_get(v, "code"), 0);
  kube_node_t *body = kube_tree_parse(a, kg_view_get(v, "body")),
              *answer = kube_tree_parse(a, kg_view_get(v, "answer"));
  kube_node_t *causes = kube_array(a);
  kg_error_t err = {0};
  row_t *row = row_of(r);
  int64_t got = oracle_create(a, r, body, causes, &err);
  row->total++;
  row->code += got == want;
  if (got != want) {
    char what[700];
    snprintf(what, sizeof what, "%s: want %lld, got %lld %s", row->name, (long long)want, (long long)got, err.text);
    show(what, line, got == 422 ? causes : NULL);
    return;
  }
  if (got == 201) {
    oracle_clean(a, body);
    row->objects++;
    bool same = oracle_covers(answer, body);
    row->object += same;
    if (!same) show("object differs", line, body);
  } else if (got == 422) {
    row->fieldss++;
    bool same = oracle_same_fields(kube_path(answer, "details", "causes", NULL), causes);
    row->fields += same;
    if (!same) show("causes differ", line, causes);
  }
}

int main(int argc, char **argv) {
  char *line = NULL;
  size_t room = 0;
  ssize_t n;
  verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
  while ((n = getline(&line, &room, stdin)) > 0) {
    kg_error_t err = {0};
    kg_doc_t *doc = kube_json_parse(line, (size_t)n, NULL, NULL, &err);
    if (!doc) {
      printf("a line cannot be read: %s\n", err.text);
      continue;
    }
    kube_arena_t *a = kube_arena_new();
    one(a, kg_view_of(doc), (kg_str_t){line, (size_t)n - 1});
    kube_arena_free(a);
    kg_doc_unref(doc);
  }
  free(line);
  row_t sum = {.name = "all"};
  for (size_t i = 0; i <= row_count; i++) {
    row_t *r = i < row_count ? &rows[i] : &sum;
    printf("%-60s code %4u/%-4u object %3u/%-3u fields %3u/%-3u\n", r->name, r->code, r->total, r->object, r->objects,
           r->fields, r->fieldss);
    sum.total += r->total, sum.code += r->code, sum.object += r->object, sum.objects += r->objects;
    sum.fields += r->fields, sum.fieldss += r->fieldss;
  }
  return 0;
}
