/* Compiles the openAPIV3Schema of a custom kind. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "structural.h"

typedef struct compiler {
  kube_arena_t *a;
  kube_structural_t *regexes;
  kg_error_t *err;
} compiler_t;

static kube_structural_t *compile(compiler_t *c, const kube_node_t *n);

static double number_of(const kube_node_t *n) {
  return n->type == KG_V_INT ? (double)n->i : n->type == KG_V_UINT ? (double)n->u : n->type == KG_V_FLOAT ? n->f : 0;
}

static kg_str_t number_text(kube_arena_t *a, const kube_node_t *n) {
  return kg_str(n->type == KG_V_FLOAT ? kube_arena_fmt(a, "%.15g", n->f) : kube_arena_fmt(a, "%lld", (long long)n->i));
}

static bool number(kube_arena_t *a, const kube_node_t *n, const char *key, double *v, kg_str_t *text) {
  const kube_node_t *k = kube_get(n, key);
  if (!k || (k->type != KG_V_INT && k->type != KG_V_UINT && k->type != KG_V_FLOAT)) return false;
  *v = number_of(k);
  *text = number_text(a, k);
  return true;
}

static kube_stype_t type_of(const kube_node_t *n) {
  static const char *const names[] = {"", "object", "array", "string", "integer", "number", "boolean"};
  kg_str_t s = kube_node_str(kube_get(n, "type"));
  for (int i = 1; i < 7; i++)
    if (kg_str_is(s, names[i])) return (kube_stype_t)i;
  return KUBE_S_ANY;
}

static int by_name(const void *a, const void *b) {
  return kg_str_cmp(((const kube_property_t *)a)->name, ((const kube_property_t *)b)->name);
}

static bool properties(compiler_t *c, kube_structural_t *s, const kube_node_t *m) {
  if (!m || m->type != KG_V_MAP || !m->c.n) return true;
  s->props = kube_arena_alloc(c->a, m->c.n * sizeof *s->props);
  for (uint32_t i = 0; i < m->c.n; i++) {
    kube_structural_t *p = compile(c, m->c.items[i]);
    if (!p) return false;
    s->props[s->nprops++] = (kube_property_t){m->c.keys[i], p};
  }
  qsort(s->props, s->nprops, sizeof *s->props, by_name);
  return true;
}

static bool list_of(compiler_t *c, const kube_node_t *list, kube_structural_t ***out) {
  if (!list || list->type != KG_V_ARRAY || !list->c.n) return true;
  *out = kube_arena_alloc(c->a, (list->c.n + 1) * sizeof **out);
  for (uint32_t i = 0; i < list->c.n; i++)
    if (!((*out)[i] = compile(c, list->c.items[i]))) return false;
  return true;
}

static bool pattern(compiler_t *c, kube_structural_t *s) {
  int code;
  PCRE2_SIZE at;
  if (!s->pattern.n) return true;
  s->regex = pcre2_compile((PCRE2_SPTR)s->pattern.p, s->pattern.n, PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL);
  if (!s->regex) {
    kg_error_set(c->err, KG_EINVAL, "the pattern " KG_STR_FMT " cannot be compiled", KG_STR_ARG(s->pattern));
    return false;
  }
  s->next_regex = c->regexes;
  c->regexes = s;
  return true;
}

static void keys(compiler_t *c, kube_structural_t *s, const kube_node_t *n) {
  kg_str_t list = kube_node_str(kube_get(n, "x-kubernetes-list-type"));
  const kube_node_t *k = kube_get(n, "x-kubernetes-list-map-keys");
  s->list = kg_str_is(list, "set") ? KUBE_LIST_SET : kg_str_is(list, "map") ? KUBE_LIST_MAP : KUBE_LIST_ATOMIC;
  if (s->list != KUBE_LIST_MAP || !k || k->type != KG_V_ARRAY) return;
  const char **out = kube_arena_alloc(c->a, (k->c.n + 1) * sizeof *out);
  for (uint32_t i = 0; i < k->c.n; i++)
    out[i] = kube_arena_fmt(c->a, KG_STR_FMT, KG_STR_ARG(kube_node_str(k->c.items[i])));
  s->list_keys = out;
}

static void limits(compiler_t *c, kube_structural_t *s, const kube_node_t *n) {
  s->has_min = number(c->a, n, "minimum", &s->min, &s->min_text);
  s->has_max = number(c->a, n, "maximum", &s->max, &s->max_text);
  s->has_multiple = number(c->a, n, "multipleOf", &s->multiple, &s->multiple_text);
  s->exclusive_min = kube_node_bool(kube_get(n, "exclusiveMinimum"), false);
  s->exclusive_max = kube_node_bool(kube_get(n, "exclusiveMaximum"), false);
  s->min_length = kube_node_int(kube_get(n, "minLength"), -1);
  s->max_length = kube_node_int(kube_get(n, "maxLength"), -1);
  s->min_items = kube_node_int(kube_get(n, "minItems"), -1);
  s->max_items = kube_node_int(kube_get(n, "maxItems"), -1);
  s->min_props = kube_node_int(kube_get(n, "minProperties"), -1);
  s->max_props = kube_node_int(kube_get(n, "maxProperties"), -1);
  s->unique = kube_node_bool(kube_get(n, "uniqueItems"), false);
}

static kube_structural_t *compile(compiler_t *c, const kube_node_t *n) {
  kube_structural_t *s = kube_arena_alloc(c->a, sizeof *s);
  const kube_node_t *items = kube_get(n, "items"), *more = kube_get(n, "additionalProperties"),
                    *no = kube_get(n, "not");
  s->type = type_of(n);
  s->nullable = kube_node_bool(kube_get(n, "nullable"), false);
  s->preserve = kube_node_bool(kube_get(n, "x-kubernetes-preserve-unknown-fields"), false);
  s->embedded = kube_node_bool(kube_get(n, "x-kubernetes-embedded-resource"), false);
  s->int_or_string = kube_node_bool(kube_get(n, "x-kubernetes-int-or-string"), false);
  s->map_atomic = kg_str_is(kube_node_str(kube_get(n, "x-kubernetes-map-type")), "atomic");
  s->format = kube_node_str(kube_get(n, "format"));
  s->pattern = kube_node_str(kube_get(n, "pattern"));
  s->dflt = kube_get(n, "default");
  s->enums = kube_get(n, "enum");
  s->required = kube_get(n, "required");
  keys(c, s, n);
  limits(c, s, n);
  bool good = pattern(c, s) && properties(c, s, kube_get(n, "properties")) &&
              list_of(c, kube_get(n, "allOf"), &s->all_of) && list_of(c, kube_get(n, "anyOf"), &s->any_of) &&
              list_of(c, kube_get(n, "oneOf"), &s->one_of);
  if (good && items && items->type == KG_V_MAP) good = (s->items = compile(c, items)) != NULL;
  if (good && more && (more->type == KG_V_MAP || kube_node_bool(more, false)))
    good = (s->additional = compile(c, more->type == KG_V_MAP ? more : kube_map(c->a))) != NULL;
  if (good && more && more->type == KG_V_BOOL && more->b) s->additional->preserve = true;
  if (good && no && no->type == KG_V_MAP) good = (s->not_of = compile(c, no)) != NULL;
  return good ? s : NULL;
}

static void free_regexes(kube_structural_t *s) {
  for (; s; s = s->next_regex) pcre2_code_free(s->regex);
}

kube_structural_t *kube_structural_new(kg_view_t schema, kg_error_t *err) {
  compiler_t c = {.a = kube_arena_new(), .err = err};
  kg_doc_t *doc = kg_doc_copy(schema.p, kg_view_span(schema));
  kube_node_t *n = doc ? kube_tree_parse(c.a, kg_view_of(doc)) : NULL;
  kube_structural_t *root = n ? compile(&c, n) : NULL;
  if (!root) {
    free_regexes(c.regexes);
    kube_arena_free(c.a);
    kg_doc_unref(doc);
    if (err && !err->code) kg_error_set(err, KG_EINVAL, "the schema is malformed");
    return NULL;
  }
  root->arena = c.a;
  root->doc = doc;
  root->regexes = c.regexes;
  return root;
}

void kube_structural_free(kube_structural_t *s) {
  if (!s) return;
  kube_arena_t *a = s->arena;
  kg_doc_t *doc = s->doc;
  free_regexes(s->regexes);
  kube_arena_free(a);
  kg_doc_unref(doc);
}

const kube_structural_t *kube_structural_field(const kube_structural_t *s, kg_str_t name) {
  uint32_t low = 0, high = s->nprops;
  while (low < high) {
    uint32_t mid = (low + high) / 2;
    int order = kg_str_cmp(name, s->props[mid].name);
    if (!order) return s->props[mid].s;
    if (order < 0)
      high = mid;
    else
      low = mid + 1;
  }
  return NULL;
}

/* --- pruning ---------------------------------------------------------------------------------------------------- */

typedef struct pruner {
  kube_arena_t *a;
  kube_node_t *unknown, *metadata; /* what is not known; metadata: in that of objects within the object */
  kg_error_t *err;
  bool failed;
} pruner_t;

static void prune(pruner_t *p, const kube_structural_t *s, kube_node_t *n, const char *path, bool resource);

static bool of_resource(kg_str_t key) {
  return kg_str_is(key, "apiVersion") || kg_str_is(key, "kind") || kg_str_is(key, "metadata");
}

/* An object within the object has metadata as any other. */
static void prune_metadata(pruner_t *p, kube_node_t *n, const char *path) {
  kube_node_t *unknown = kube_array(p->a);
  p->failed |= kube_custom_metadata(p->a, n, unknown, p->err) < 0;
  for (uint32_t i = 0; i < unknown->c.n; i++)
    kube_push(p->a, p->metadata,
              kube_strf(p->a, "%s." KG_STR_FMT, path, KG_STR_ARG(kube_node_str(unknown->c.items[i]))));
}

static void prune_object(pruner_t *p, const kube_structural_t *s, kube_node_t *n, const char *path, bool resource) {
  kube_sort_keys(p->a, n, false);
  for (uint32_t i = 0; i < n->c.n; i++) {
    kg_str_t key = n->c.keys[i];
    const kube_structural_t *field = kube_structural_field(s, key);
    if (resource && of_resource(key)) continue;
    if (!field) field = s->additional;
    bool wanted = p->unknown != NULL || field;
    const char *inner = wanted ? kube_arena_fmt(p->a, "%s%s" KG_STR_FMT, path, *path ? "." : "", KG_STR_ARG(key)) : "";
    if (field) {
      prune(p, field, n->c.items[i], inner, field->embedded);
    } else if (!s->preserve) {
      if (p->unknown && p->unknown->c.n < KUBE_MOST_UNKNOWN) kube_push(p->a, p->unknown, kube_str(p->a, inner));
      n->c.items[i] = NULL;
    }
  }
  kube_settle(p->a, n);
}

static void prune(pruner_t *p, const kube_structural_t *s, kube_node_t *n, const char *path, bool resource) {
  if (n->type == KG_V_MAP) {
    if (resource && *path) prune_metadata(p, n, path);
    prune_object(p, s, n, path, resource);
  } else if (n->type == KG_V_ARRAY && s->items) {
    for (uint32_t i = 0; i < n->c.n; i++)
      prune(p, s->items, n->c.items[i], kube_arena_fmt(p->a, "%s[%u]", path, i), s->items->embedded);
  }
}

int kube_structural_prune(kube_arena_t *a, const kube_structural_t *s, kube_node_t *object, kube_node_t *unknown,
                          kube_node_t *metadata, kg_error_t *err) {
  pruner_t p = {.a = a, .unknown = unknown, .metadata = metadata, .err = err};
  prune(&p, s, object, "", true);
  return p.failed ? -1 : 0;
}

/* --- defaults --------------------------------------------------------------------------------------------------- */

static void fill(kube_arena_t *a, const kube_structural_t *s, kube_node_t *n);

static void fill_object(kube_arena_t *a, const kube_structural_t *s, kube_node_t *n) {
  bool added = false;
  for (uint32_t i = 0; i < s->nprops; i++) {
    const kube_property_t *p = &s->props[i];
    kube_node_t *v = kube_getn(n, p->name);
    if (v && v->type == KG_V_NIL && !p->s->nullable) {
      kube_deln(n, p->name);
      v = NULL;
    }
    if (v || !p->s->dflt) continue;
    kube_setn(a, n, p->name, kube_tree_clone(a, p->s->dflt));
    added = true;
  }
  for (uint32_t i = 0; i < n->c.n; i++) {
    const kube_structural_t *field = kube_structural_field(s, n->c.keys[i]);
    if (!field) field = s->additional;
    if (!field) continue;
    if (n->c.items[i]->type == KG_V_NIL && !field->nullable && !field->preserve)
      n->c.items[i] = field->dflt ? kube_tree_clone(a, field->dflt) : n->c.items[i];
    fill(a, field, n->c.items[i]);
  }
  if (added) kube_sort_keys(a, n, false);
}

static void fill(kube_arena_t *a, const kube_structural_t *s, kube_node_t *n) {
  if (n->type == KG_V_MAP) {
    fill_object(a, s, n);
  } else if (n->type == KG_V_ARRAY && s->items) {
    for (uint32_t i = 0; i < n->c.n; i++) {
      if (n->c.items[i]->type == KG_V_NIL && !s->items->nullable && s->items->dflt)
        n->c.items[i] = kube_tree_clone(a, s->items->dflt);
      fill(a, s->items, n->c.items[i]);
    }
  }
}

void kube_structural_default(kube_arena_t *a, const kube_structural_t *s, kube_node_t *object) {
  if (object->type == KG_V_MAP) fill_object(a, s, object);
}
