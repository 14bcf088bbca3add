/* Whether a definition's schema can be that of a custom kind: structural, and nothing in it that is not supported. */
#include <string.h>

#include "structural.h"
#include "validate.h"

typedef enum { AT_ROOT, AT_ITEM, AT_FIELD } level_t;

static void check_schema(kube_check_t *c, const kube_node_t *n, level_t level);

static bool flag(const kube_node_t *n, const char *key) {
  return kube_node_bool(kube_get(n, key), false);
}

static const kube_node_t *there(const kube_node_t *n, const char *key) {
  const kube_node_t *v = kube_get(n, key);
  return v && v->type != KG_V_NIL ? v : NULL;
}

/* --- types ------------------------------------------------------------------------------------------------------ */

static void check_type(kube_check_t *c, const kube_node_t *n, level_t level) {
  static const char *const words[] = {"must not be empty at the root", "must not be empty for specified array items",
                                      "must not be empty for specified object fields"};
  kg_str_t type = kube_text(n, "type");
  bool free =
      flag(n, "x-kubernetes-int-or-string") || (level != AT_ROOT && flag(n, "x-kubernetes-preserve-unknown-fields"));
  if (!type.n) {
    if (!free) kube_required(c, "type", words[level]);
    return;
  }
  static const char *const known[] = {"array", "boolean", "integer", "number", "object", "string"};
  bool good = false;
  for (int i = 0; i < 6; i++) good |= kg_str_is(type, known[i]);
  if (!good) kube_unsupported(c, "type", kube_get(n, "type"), "array boolean integer number object string");
  if (level == AT_ROOT && !kg_str_is(type, "object")) kube_invalid_str(c, "type", type, "must be object at the root");
}

static void check_embedded(kube_check_t *c, const kube_node_t *n) {
  kg_str_t type = kube_text(n, "type");
  if (!flag(n, "x-kubernetes-embedded-resource")) return;
  if (!type.n)
    kube_required(c, "type", "must be object if x-kubernetes-embedded-resource is true");
  else if (!kg_str_is(type, "object"))
    kube_invalid_str(c, "type", type, "must be object if x-kubernetes-embedded-resource is true");
  if (!flag(n, "x-kubernetes-preserve-unknown-fields") && !kube_count(kube_get(n, "properties")))
    kube_required(c, "properties",
                  "must not be empty if x-kubernetes-embedded-resource is true without "
                  "x-kubernetes-preserve-unknown-fields");
}

/* --- lists and maps --------------------------------------------------------------------------------------------- */

static void must_be(kube_check_t *c, const kube_node_t *n, const char *type, const char *words) {
  kg_str_t is = kube_text(n, "type");
  if (!is.n)
    kube_required(c, "type", words);
  else if (!kg_str_is(is, type))
    kube_invalid_str(c, "type", is, words);
}

static void check_keys(kube_check_t *c, const kube_node_t *n, const kube_node_t *keys) {
  const kube_node_t *items = kube_get(n, "items"), *properties = kube_get(items, "properties");
  if (!kube_count(keys))
    return kube_required(c, "x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map");
  for (uint32_t i = 0; i < kube_count(keys); i++)
    if (!kube_getn(properties, kube_node_str(keys->c.items[i])))
      kube_invalid(c, kube_arena_fmt(c->a, "x-kubernetes-list-map-keys[%u]", i), keys->c.items[i],
                   "entries must all be names of item properties");
}

static void check_list(kube_check_t *c, const kube_node_t *n) {
  const kube_node_t *list = there(n, "x-kubernetes-list-type"), *keys = there(n, "x-kubernetes-list-map-keys"),
                    *map = there(n, "x-kubernetes-map-type");
  kg_str_t kind = kube_node_str(list);
  if (list) {
    if (!kg_str_is(kind, "atomic") && !kg_str_is(kind, "set") && !kg_str_is(kind, "map"))
      kube_unsupported(c, "x-kubernetes-list-type", list, "atomic map set");
    must_be(c, n, "array", "must be array if x-kubernetes-list-type is specified");
    if (!there(n, "items")) kube_required(c, "items", "must be specified if x-kubernetes-list-type is set");
  }
  if (kg_str_is(kind, "map"))
    check_keys(c, n, keys);
  else if (kube_count(keys))
    kube_invalid(c, "x-kubernetes-list-type", list ? list : kube_str(c->a, ""),
                 "must be map if x-kubernetes-list-map-keys is non-empty");
  if (!map) return;
  if (!kg_str_is(kube_node_str(map), "atomic") && !kg_str_is(kube_node_str(map), "granular"))
    kube_unsupported(c, "x-kubernetes-map-type", map, "atomic granular");
  must_be(c, n, "object", "must be object if x-kubernetes-map-type is specified");
}

/* --- what no schema may have ------------------------------------------------------------------------------------ */

static void check_forbidden(kube_check_t *c, const kube_node_t *n) {
  static const struct {
    const char *key, *words;
  } never[] = {{"patternProperties", "patternProperties is not supported"},
               {"additionalItems", "additionalItems is not supported"},
               {"definitions", "definitions is not supported"},
               {"dependencies", "dependencies is not supported"},
               {"id", "id is not supported"},
               {"$ref", "$ref is not supported"}};
  for (size_t i = 0; i < sizeof never / sizeof *never; i++)
    if (!kube_node_empty(kube_get(n, never[i].key))) kube_forbidden(c, never[i].key, never[i].words);
  if (flag(n, "uniqueItems"))
    kube_forbidden(c, "uniqueItems",
                   "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
  const kube_node_t *more = there(n, "additionalProperties"), *keep = there(n, "x-kubernetes-preserve-unknown-fields");
  if (more && more->type == KG_V_BOOL && !more->b)
    kube_forbidden(c, "additionalProperties", "additionalProperties cannot be set to false");
  if (more && kube_count(kube_get(n, "properties")))
    kube_forbidden(c, "additionalProperties", "additionalProperties and properties are mutual exclusive");
  if (keep && !kube_node_bool(keep, false))
    kube_invalid(c, "x-kubernetes-preserve-unknown-fields", keep, "must be true or undefined");
  if (kube_count(kube_get(n, "items")) && kube_get(n, "items")->type == KG_V_ARRAY)
    kube_forbidden(c, "items", "items must be a schema object and not an array");
}

static void check_pattern(kube_check_t *c, const kube_node_t *n) {
  kg_str_t p = kube_text(n, "pattern");
  int code;
  PCRE2_SIZE at;
  if (!p.n) return;
  pcre2_code *re = pcre2_compile((PCRE2_SPTR)p.p, p.n, PCRE2_UTF, &code, &at, NULL);
  if (!re) kube_invalid_str(c, "pattern", p, "must be a valid regular expression, but isn't");
  pcre2_code_free(re);
}

/* A default must be a value of the schema it stands in. */
static void check_default(kube_check_t *c, const kube_node_t *n) {
  const kube_node_t *dflt = there(n, "default");
  kg_error_t err = {0};
  if (!dflt) return;
  kg_doc_t *doc = kube_tree_doc(n);
  kube_structural_t *s = doc ? kube_structural_new(kg_view_of(doc), &err) : NULL;
  kube_node_t *causes = kube_array(c->a), *unknown = kube_array(c->a), *value = kube_tree_clone(c->a, dflt);
  if (s) {
    kube_structural_validate(c->a, s, dflt, causes);
    if (value->type == KG_V_MAP && kube_structural_prune(c->a, s, value, unknown, unknown, &err))
      kube_invalid(c, "default", dflt, err.text);
  }
  for (uint32_t i = 0; i < causes->c.n; i++) {
    kg_str_t message = kube_text(causes->c.items[i], "message"), field = kube_text(causes->c.items[i], "field");
    kube_told(c, kube_arena_fmt(c->a, "default%s" KG_STR_FMT, field.n ? "." : "", KG_STR_ARG(field)),
              kube_arena_fmt(c->a, KG_STR_FMT, KG_STR_ARG(kube_text(causes->c.items[i], "reason"))),
              kube_arena_fmt(c->a, KG_STR_FMT, KG_STR_ARG(message)));
  }
  if (unknown->c.n) kube_invalid(c, "default", dflt, "must be pruned: it has fields that the schema does not know");
  kube_structural_free(s);
  kg_doc_unref(doc);
}

/* --- all of it -------------------------------------------------------------------------------------------------- */

static void check_children(kube_check_t *c, const kube_node_t *n) {
  const kube_node_t *properties = kube_get(n, "properties"), *items = kube_get(n, "items"),
                    *more = kube_get(n, "additionalProperties");
  for (uint32_t i = 0; properties && properties->type == KG_V_MAP && i < properties->c.n; i++) {
    size_t before = kube_path_push(c, "properties");
    kube_path_key(c, properties->c.keys[i]);
    check_schema(c, properties->c.items[i], AT_FIELD);
    kube_path_pop(c, before);
  }
  if (items && items->type == KG_V_MAP) {
    size_t before = kube_path_push(c, "items");
    check_schema(c, items, AT_ITEM);
    kube_path_pop(c, before);
  }
  if (more && more->type == KG_V_MAP) {
    size_t before = kube_path_push(c, "additionalProperties");
    check_schema(c, more, AT_FIELD);
    kube_path_pop(c, before);
  }
}

/* In what is tried on a value nothing may be said of structure. */
static void check_tried(kube_check_t *c, const kube_node_t *n) {
  static const char *const lists[] = {"allOf", "anyOf", "oneOf"};
  static const char *const never[] = {"type", "default", "nullable", "additionalProperties", "description"};
  for (int l = 0; l < 3; l++) {
    const kube_node_t *list = kube_get(n, lists[l]);
    for (uint32_t i = 0; i < kube_count(list); i++) {
      size_t before = kube_path_push(c, lists[l]);
      kube_path_index(c, i);
      bool either = flag(n, "x-kubernetes-int-or-string");
      for (int k = either ? 1 : 0; k < 5; k++)
        if (there(list->c.items[i], never[k])) kube_forbidden(c, never[k], "must be empty to be structural");
      kube_path_pop(c, before);
    }
  }
}

static void check_schema(kube_check_t *c, const kube_node_t *n, level_t level) {
  if (!n || n->type != KG_V_MAP) return;
  check_type(c, n, level);
  check_embedded(c, n);
  check_forbidden(c, n);
  check_list(c, n);
  check_pattern(c, n);
  check_tried(c, n);
  if (kube_is(n, "type", "array") && !there(n, "items") && !there(n, "x-kubernetes-list-type"))
    kube_required(c, "items", "must be specified");
  check_default(c, n);
  check_children(c, n);
}

void kube_structural_check(kube_arena_t *a, const kube_node_t *schema, const char *path, kube_node_t *causes) {
  kube_check_t c = {.a = a, .causes = causes, .root = schema};
  kube_path_push(&c, path);
  check_schema(&c, schema, AT_ROOT);
}
