#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define MAX_DEPTH 64
#define MAX_NODES 1000000 /* aliases multiply: a small file must not become a large one */

struct kg_cfg {
  kg_cfg_kind_t kind;
  int line;
  bool quoted;
  char *text;
  char **keys; /* of a map */
  kg_cfg_t **items;
  size_t count;
};

typedef struct parse {
  const char *name;
  yaml_document_t yaml;
  size_t nodes;
  kg_error_t *err;
} parse_t;

bool kg_cfg_good_name(const char *name) {
  return name && *name && strlen(name) <= 63 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == strlen(name);
}

void kg_cfg_free(kg_cfg_t *n) {
  if (!n) return;
  for (size_t i = 0; i < n->count; i++) {
    if (n->keys) free(n->keys[i]);
    kg_cfg_free(n->items[i]);
  }
  free(n->keys);
  free(n->items);
  free(n->text);
  free(n);
}

static kg_cfg_t *fail(parse_t *p, int line, const char *sentence, const char *what) {
  kg_error_set(p->err, KG_EINVAL, "%s:%d: %s%s", p->name, line, sentence, what);
  return NULL;
}

static int add(kg_cfg_t *n, const char *key, kg_cfg_t *item) {
  kg_cfg_t **items = realloc(n->items, (n->count + 1) * sizeof(kg_cfg_t *));
  if (items) n->items = items;
  char **keys = key ? realloc(n->keys, (n->count + 1) * sizeof *keys) : NULL;
  if (keys) n->keys = keys;
  if (!items || (key && !keys) || (key && !(keys[n->count] = strdup(key)))) return -1;
  items[n->count++] = item;
  return 0;
}

/* --- reading
 * --------------------------------------------------------------------------------------------------------------- */

static kg_cfg_t *read_node(parse_t *p, int index, int depth);

static int read_list(parse_t *p, kg_cfg_t *n, const yaml_node_t *y, int depth) {
  for (yaml_node_item_t *i = y->data.sequence.items.start; i < y->data.sequence.items.top; i++) {
    kg_cfg_t *item = read_node(p, *i, depth + 1);
    if (!item) return -1;
    if (add(n, NULL, item) < 0) {
      kg_cfg_free(item);
      return kg_error_set(p->err, KG_EFULL, "out of memory");
    }
  }
  return 0;
}

static int read_map(parse_t *p, kg_cfg_t *n, const yaml_node_t *y, int depth) {
  for (yaml_node_pair_t *i = y->data.mapping.pairs.start; i < y->data.mapping.pairs.top; i++) {
    const yaml_node_t *k = yaml_document_get_node(&p->yaml, i->key);
    int line = (int)k->start_mark.line + 1;
    if (k->type != YAML_SCALAR_NODE) return fail(p, line, "a key must be a word", ""), -1;
    const char *key = (const char *)k->data.scalar.value;
    if (kg_cfg_get(n, key)) return fail(p, line, "this key is there twice: ", key), -1;
    kg_cfg_t *item = read_node(p, i->value, depth + 1);
    if (!item) return -1;
    if (add(n, key, item) < 0) {
      kg_cfg_free(item);
      return kg_error_set(p->err, KG_EFULL, "out of memory");
    }
  }
  return 0;
}

static kg_cfg_t *read_node(parse_t *p, int index, int depth) {
  const yaml_node_t *y = yaml_document_get_node(&p->yaml, index);
  int line = y ? (int)y->start_mark.line + 1 : 0;
  if (!y || depth > MAX_DEPTH || ++p->nodes > MAX_NODES)
    return fail(p, line, "this is nested too deeply, or far too large", "");
  kg_cfg_t *n = calloc(1, sizeof *n);
  if (!n) return fail(p, line, "out of memory", "");
  n->line = line;
  int rc = 0;
  if (y->type == YAML_SCALAR_NODE) {
    n->text = strndup((const char *)y->data.scalar.value, y->data.scalar.length);
    n->quoted = y->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (!n->text) rc = kg_error_set(p->err, KG_EFULL, "out of memory");
  } else if (y->type == YAML_SEQUENCE_NODE) {
    n->kind = KG_CFG_LIST;
    rc = read_list(p, n, y, depth);
  } else {
    n->kind = KG_CFG_MAP;
    rc = read_map(p, n, y, depth);
  }
  if (rc == 0) return n;
  kg_cfg_free(n);
  return NULL;
}

static kg_cfg_t *empty_map(void) {
  kg_cfg_t *n = calloc(1, sizeof *n);
  if (n) n->kind = KG_CFG_MAP;
  return n;
}

kg_cfg_t *kg_cfg_parse(const char *name, const char *text, size_t size, kg_error_t *err) {
  parse_t p = {.name = name, .err = err};
  yaml_parser_t parser;
  if (!yaml_parser_initialize(&parser)) {
    kg_error_set(err, KG_EFULL, "out of memory");
    return NULL;
  }
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
  kg_cfg_t *root = NULL;
  if (!yaml_parser_load(&parser, &p.yaml)) {
    fail(&p, (int)parser.problem_mark.line + 1,
         "this is no YAML: ", parser.problem ? parser.problem : "it cannot be read");
  } else {
    const yaml_node_t *y = yaml_document_get_root_node(&p.yaml);
    root = y ? read_node(&p, 1, 0) : empty_map();
    if (root && root->kind != KG_CFG_MAP) {
      fail(&p, root->line, "a configuration must be a map", "");
      kg_cfg_free(root);
      root = NULL;
    }
    yaml_document_delete(&p.yaml);
  }
  yaml_parser_delete(&parser);
  return root;
}

kg_cfg_t *kg_cfg_read(const char *path, kg_error_t *err) {
  FILE *f = fopen(path, "re");
  char *text = NULL;
  size_t size = 0;
  kg_cfg_t *root = NULL;
  if (!f || getdelim(&text, &size, 0, f) < 0) {
    if (f && feof(f))
      root = empty_map();
    else
      kg_error_set(err, KG_ENOTFOUND, "configuration file %s cannot be read: %s", path, strerror(errno));
  } else {
    root = kg_cfg_parse(path, text, strlen(text), err);
  }
  free(text);
  if (f) fclose(f);
  return root;
}

/* --- asking
 * ---------------------------------------------------------------------------------------------------------------- */

kg_cfg_kind_t kg_cfg_kind(const kg_cfg_t *n) {
  return n->kind;
}
int kg_cfg_line(const kg_cfg_t *n) {
  return n ? n->line : 0;
}
const char *kg_cfg_text(const kg_cfg_t *n) {
  return n && n->kind == KG_CFG_SCALAR ? n->text : NULL;
}
size_t kg_cfg_count(const kg_cfg_t *n) {
  return n ? n->count : 0;
}
const kg_cfg_t *kg_cfg_at(const kg_cfg_t *n, size_t i) {
  return n && i < n->count ? n->items[i] : NULL;
}
const char *kg_cfg_key(const kg_cfg_t *n, size_t i) {
  return n && n->keys && i < n->count ? n->keys[i] : NULL;
}

static kg_cfg_t *get(const kg_cfg_t *n, const char *key, size_t size) {
  for (size_t i = 0; n && n->kind == KG_CFG_MAP && i < n->count; i++)
    if (strlen(n->keys[i]) == size && memcmp(n->keys[i], key, size) == 0) return n->items[i];
  return NULL;
}

const kg_cfg_t *kg_cfg_get(const kg_cfg_t *n, const char *key) {
  return get(n, key, strlen(key));
}

/* --- changing
 * -------------------------------------------------------------------------------------------------------------- */

static kg_cfg_t *named(const kg_cfg_t *list, const char *name, size_t size) {
  for (size_t i = 0; i < list->count; i++) {
    const char *n = kg_cfg_text(kg_cfg_get(list->items[i], "name"));
    if (n && strlen(n) == size && memcmp(n, name, size) == 0) return list->items[i];
  }
  return NULL;
}

/* A null where a map is wanted (`config:` with nothing behind it) becomes a map. */
static void as_map(kg_cfg_t *n) {
  if (n->kind != KG_CFG_SCALAR || n->quoted || (*n->text && strcmp(n->text, "~") != 0 && strcmp(n->text, "null") != 0))
    return;
  free(n->text);
  n->text = NULL;
  n->kind = KG_CFG_MAP;
}

static kg_cfg_t *step(kg_cfg_t *n, const char *word, size_t size) {
  if (n->kind == KG_CFG_LIST) return named(n, word, size);
  as_map(n);
  kg_cfg_t *child = get(n, word, size);
  if (child || n->kind != KG_CFG_MAP) return child;
  char *key = strndup(word, size);
  child = key ? empty_map() : NULL;
  if (child && add(n, key, child) < 0) {
    kg_cfg_free(child);
    child = NULL;
  }
  free(key);
  return child;
}

int kg_cfg_set(kg_cfg_t *root, const char *path, const char *value, bool text, kg_error_t *err) {
  kg_cfg_t *n = root;
  if (!kg_str_utf8(kg_str(path)) || !kg_str_utf8(kg_str(value)))
    return kg_error_set(err, KG_EINVAL, "a path and its value must be UTF-8");
  for (const char *word = path; *word;) {
    size_t size = strcspn(word, ".");
    n = step(n, word, size);
    if (!n)
      return kg_error_set(err, KG_EINVAL, "%s leads nowhere in the configuration: there is no %.*s", path, (int)size,
                          word);
    word += size + (word[size] == '.');
  }
  if (n->kind == KG_CFG_LIST || n->count)
    return kg_error_set(err, KG_EINVAL, "%s is no single value in the configuration", path);
  char *copy = strdup(value);
  if (!copy) return kg_error_set(err, KG_EFULL, "out of memory");
  free(n->text);
  n->text = copy;
  n->kind = KG_CFG_SCALAR;
  n->quoted = text;
  return 0;
}

/* --- packing
 * --------------------------------------------------------------------------------------------------------------- */

static bool is_one_of(const char *s, const char *a, const char *b, const char *c) {
  return strcmp(s, a) == 0 || strcmp(s, b) == 0 || strcmp(s, c) == 0;
}

static bool pack_number(kg_pack_t *p, const char *s) {
  char *end;
  if (!strchr("+-.0123456789", *s)) return false;
  errno = 0;
  const char *digits = s + (*s == '-' || *s == '+');
  bool octal = digits[0] == '0' && digits[1] == 'o', hex = digits[0] == '0' && digits[1] == 'x';
  long long i = strtoll(octal ? digits + 2 : s, &end, octal ? 8 : hex ? 16 : 10);
  if (*end == 0 && end > s && errno == 0 && (!octal || digits == s)) {
    kg_pack_int(p, i);
    return true;
  }
  if (strspn(s, "+-.0123456789eE") != strlen(s) || !strpbrk(s, "0123456789")) return false;
  double d = strtod(s, &end);
  if (*end) return false;
  kg_pack_float(p, d);
  return true;
}

static void pack_scalar(kg_pack_t *p, const kg_cfg_t *n) {
  const char *s = n->text;
  if (n->quoted) {
    kg_pack_str(p, s);
  } else if (!*s || strcmp(s, "~") == 0 || is_one_of(s, "null", "Null", "NULL")) {
    kg_pack_nil(p);
  } else if (is_one_of(s, "true", "True", "TRUE")) {
    kg_pack_bool(p, true);
  } else if (is_one_of(s, "false", "False", "FALSE")) {
    kg_pack_bool(p, false);
  } else if (!pack_number(p, s)) {
    kg_pack_str(p, s);
  }
}

static void pack_node(kg_pack_t *p, const kg_cfg_t *n) {
  if (n->kind == KG_CFG_SCALAR) {
    pack_scalar(p, n);
    return;
  }
  if (n->kind == KG_CFG_MAP)
    kg_pack_map(p);
  else
    kg_pack_array(p);
  for (size_t i = 0; i < n->count; i++) {
    if (n->kind == KG_CFG_MAP) kg_pack_key(p, n->keys[i]);
    pack_node(p, n->items[i]);
  }
  kg_pack_end(p);
}

kg_doc_t *kg_cfg_doc(const kg_cfg_t *n) {
  kg_pack_t p = kg_pack();
  pack_node(&p, n);
  return kg_pack_doc(&p);
}
