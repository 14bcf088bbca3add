/* YAML by libyaml into a document, read as Kubernetes does: JSON's types, YAML 1.1's words for true and false, no tags.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <strings.h>
#include <yaml.h>

#include "gateway.h"

enum { MAX_NODES = 500000 };

/* A key of a mapping and its place there. */
typedef struct place {
  const yaml_node_t *key;
  size_t at;
} place_t;

typedef struct reader {
  yaml_document_t *doc;
  kg_pack_t *p;
  unsigned nodes;
  kube_buf_t *twice; /* may be NULL: lines for keys that come twice */
  kg_error_t *err;
} reader_t;

static bool word(const char *s, const char *const *list) {
  for (; *list; list++)
    if (!strcasecmp(s, *list)) return true;
  return false;
}

static bool put_number(kg_pack_t *p, const char *s) {
  char *end = NULL;
  const char *digits = s + (*s == '-' || *s == '+');
  if (!isdigit((unsigned char)*digits) && *digits != '.') return false;
  errno = 0;
  bool octal = *digits == '0' && isdigit((unsigned char)digits[1]);
  long long i = strtoll(s, &end, octal ? 8 : digits[0] == '0' && (digits[1] | 32) == 'x' ? 16 : 10);
  if (!*end && !errno) {
    kg_pack_int(p, i);
    return true;
  }
  if (strspn(s, "+-0123456789.eE") != strlen(s)) return false;
  double f = strtod(s, &end);
  if (*end || end == s || !isfinite(f)) return false;
  kg_pack_float(p, f);
  return true;
}

static void scalar(reader_t *r, const yaml_node_t *n) {
  static const char *const null_words[] = {"", "~", "null", NULL}, *const yes[] = {"true", "yes", "on", NULL},
                           *const no[] = {"false", "no", "off", NULL};
  const char *s = (const char *)n->data.scalar.value;
  size_t len = n->data.scalar.length;
  bool plain = n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !memchr(s, 0, len);
  if (plain && word(s, null_words))
    kg_pack_nil(r->p);
  else if (plain && word(s, yes))
    kg_pack_bool(r->p, true);
  else if (plain && word(s, no))
    kg_pack_bool(r->p, false);
  else if (!plain || !put_number(r->p, s))
    kg_pack_strn(r->p, (kg_str_t){s, len});
}

static int value(reader_t *r, int index, unsigned depth);

static kg_str_t text_of(const yaml_node_t *n) {
  return (kg_str_t){(char *)n->data.scalar.value, n->data.scalar.length};
}

static int by_key(const void *x, const void *y) {
  const place_t *a = x, *b = y;
  int order = kg_str_cmp(text_of(a->key), text_of(b->key));
  return order ? order : a->at < b->at ? -1 : a->at > b->at;
}

/* Of keys that come twice the last counts: marks the others (skip has a place for each pair) and notes where. */
static int find_twice(reader_t *r, const yaml_node_t *n, bool *skip, place_t *places, size_t pairs) {
  for (size_t i = 0; i < pairs; i++) {
    const yaml_node_t *key = yaml_document_get_node(r->doc, n->data.mapping.pairs.start[i].key);
    if (!key || key->type != YAML_SCALAR_NODE)
      return kg_error_set(r->err, KG_EINVAL, "line %zu: a key is no scalar", n->start_mark.line + 1);
    places[i] = (place_t){key, i};
  }
  qsort(places, pairs, sizeof *places, by_key);
  for (size_t i = 1; i < pairs; i++) {
    kg_str_t key = text_of(places[i].key);
    if (!kg_str_eq(text_of(places[i - 1].key), key)) continue;
    skip[places[i - 1].at] = true;
    if (r->twice)
      kube_buf_fmt(r->twice, "\n  line %zu: key \"" KG_STR_FMT "\" already set in map",
                   places[i].key->start_mark.line + 1, KG_STR_ARG(key));
  }
  return 0;
}

static int members(reader_t *r, const yaml_node_t *n, const bool *skip, unsigned depth) {
  const yaml_node_pair_t *start = n->data.mapping.pairs.start;
  kg_pack_map(r->p);
  for (const yaml_node_pair_t *pair = start; pair < n->data.mapping.pairs.top; pair++) {
    if (skip[pair - start]) continue;
    kg_pack_strn(r->p, text_of(yaml_document_get_node(r->doc, pair->key)));
    if (value(r, pair->value, depth + 1)) return -1;
  }
  kg_pack_end(r->p);
  return 0;
}

static int mapping(reader_t *r, const yaml_node_t *n, unsigned depth) {
  size_t pairs = (size_t)(n->data.mapping.pairs.top - n->data.mapping.pairs.start);
  bool *skip = calloc(pairs + 1, sizeof *skip);
  place_t *places = calloc(pairs + 1, sizeof *places);
  int rc = skip && places ? find_twice(r, n, skip, places, pairs) : kg_error_set(r->err, KG_EINTERNAL, "out of memory");
  free(places);
  if (!rc) rc = members(r, n, skip, depth);
  free(skip);
  return rc;
}

/* Aliases make a node be met many times: the count bounds what a "billion laughs" can cost. */
static int value(reader_t *r, int index, unsigned depth) {
  yaml_node_t *n = yaml_document_get_node(r->doc, index);
  if (!n) return kg_error_set(r->err, KG_EINVAL, "a node is missing");
  if (depth > 100 || ++r->nodes > MAX_NODES)
    return kg_error_set(r->err, KG_EINVAL, "line %zu: too deep or too many values", n->start_mark.line + 1);
  if (n->type == YAML_SCALAR_NODE) {
    scalar(r, n);
    return 0;
  }
  if (n->type == YAML_MAPPING_NODE) return mapping(r, n, depth);
  kg_pack_array(r->p);
  for (yaml_node_item_t *item = n->data.sequence.items.start; item < n->data.sequence.items.top; item++)
    if (value(r, *item, depth + 1)) return -1;
  kg_pack_end(r->p);
  return 0;
}

kg_doc_t *gw_yaml_parse(const char *text, size_t n, kube_buf_t *twice, kg_error_t *err) {
  yaml_parser_t parser;
  yaml_document_t doc;
  kg_doc_t *out = NULL;
  kg_pack_t p = kg_pack();
  if (!yaml_parser_initialize(&parser)) {
    kg_error_set(err, KG_EINTERNAL, "out of memory");
    return NULL;
  }
  yaml_parser_set_input_string(&parser, (const unsigned char *)(text ? text : ""), n); /* it aborts on NULL */
  if (!yaml_parser_load(&parser, &doc)) {
    kg_error_set(err, KG_EINVAL, "line %zu: %s", parser.problem_mark.line + 1,
                 parser.problem ? parser.problem : "not YAML");
    yaml_parser_delete(&parser);
    return NULL;
  }
  yaml_node_t *root = yaml_document_get_root_node(&doc);
  reader_t r = {.doc = &doc, .p = &p, .twice = twice, .err = err};
  if (!root)
    kg_error_set(err, KG_EINVAL, "the document is empty");
  else if (value(&r, 1, 0))
    kg_pack_free(&p);
  else if (!(out = kg_pack_doc(&p)))
    kg_error_set(err, KG_EINTERNAL, "out of memory");
  yaml_document_delete(&doc);
  yaml_parser_delete(&parser);
  return out;
}
