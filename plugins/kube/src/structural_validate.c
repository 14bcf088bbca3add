/* Validation of custom objects, in the words of the API server. */
#include <math.h>
#include <string.h>

#include "kube/values.h"
#include "structural.h"
#include "validate.h"

typedef struct checker {
  kube_check_t c; /* path and causes */
  bool quiet;     /* a try: only whether there are any */
} checker_t;

static void check(checker_t *k, const kube_structural_t *s, const kube_node_t *n);

static const char *where(const checker_t *k) {
  return k->c.path;
}

static const char *name_of(const kube_node_t *n) {
  switch (n->type) {
  case KG_V_MAP:
    return "object";
  case KG_V_ARRAY:
    return "array";
  case KG_V_STR:
    return "string";
  case KG_V_BOOL:
    return "boolean";
  case KG_V_NIL:
    return "null";
  case KG_V_FLOAT:
    return n->f == floor(n->f) && fabs(n->f) < 9e15 ? "integer" : "number";
  default:
    return "integer";
  }
}

static bool is_number(const kube_node_t *n) {
  return n->type == KG_V_INT || n->type == KG_V_UINT || n->type == KG_V_FLOAT;
}

static double value_of(const kube_node_t *n) {
  return n->type == KG_V_INT ? (double)n->i : n->type == KG_V_UINT ? (double)n->u : n->f;
}

/* --- types ------------------------------------------------------------------------------------------------------ */

static void wrong_type(checker_t *k, const char *wanted, const char *got) {
  kube_type_invalid(
      &k->c, NULL, kube_str(k->c.a, got),
      kube_arena_fmt(k->c.a, "%s%sin body must be of type %s: \"%s\"", where(k), *where(k) ? " " : "", wanted, got));
}

static const char *const stype_names[] = {"", "object", "array", "string", "integer", "number", "boolean"};

static bool fits(const kube_structural_t *s, const char *got) {
  if (s->int_or_string) return !strcmp(got, "integer") || !strcmp(got, "string");
  if (s->type == KUBE_S_ANY) return true;
  return !strcmp(got, stype_names[s->type]) || (s->type == KUBE_S_NUMBER && !strcmp(got, "integer"));
}

static bool check_type(checker_t *k, const kube_structural_t *s, const kube_node_t *n) {
  const char *got = name_of(n);
  if (n->type == KG_V_NIL && s->nullable) return false;
  if (fits(s, got)) return true;
  wrong_type(k, s->int_or_string ? "integer,string" : stype_names[s->type], got);
  return n->type != KG_V_NIL;
}

static bool text_fits(kg_str_t format, kg_str_t v) {
  int64_t us;
  unsigned bad = 0;
  if (kg_str_is(format, "date-time")) return kube_time_parse(v, &us) == 0;
  if (kg_str_is(format, "date")) return v.n == 10 && v.p[4] == '-' && v.p[7] == '-' && memchr("0123456789", v.p[0], 10);
  if (kg_str_is(format, "uuid"))
    return v.n == 36 && v.p[8] == '-' && v.p[13] == '-' && v.p[18] == '-' && v.p[23] == '-';
  if (kg_str_is(format, "ipv4") || kg_str_is(format, "ipv6") || kg_str_is(format, "cidr")) {
    kube_form_fn form = kg_str_is(format, "ipv4")   ? kube_form_ipv4
                        : kg_str_is(format, "cidr") ? kube_form_cidr
                                                    : kube_form_ip;
    form(v, kube_count_complaint, &bad);
    return !bad;
  }
  if (kg_str_is(format, "byte")) return v.n % 4 == 0;
  return true;
}

static const struct {
  const char *name;
  double low, high;
} ranges[] = {{"int32", -2147483648.0, 2147483647.0}, {"int64", -9223372036854775808.0, 9223372036854775807.0}};

static void check_range(checker_t *k, const kube_structural_t *s, const kube_node_t *n) {
  double v = value_of(n);
  bool whole = v == floor(v);
  if (s->type != KUBE_S_INTEGER) return;
  for (size_t i = 0; i < 2; i++)
    if (kg_str_is(s->format, ranges[i].name) && whole && v >= ranges[i].low && v <= ranges[i].high) return;
  bool sized = kg_str_is(s->format, "int32") || kg_str_is(s->format, "int64");
  if (!sized && whole) return;
  kube_checked_invalid(
      &k->c, sized ? kube_arena_fmt(k->c.a, "Checked value must be of type integer with format " KG_STR_FMT " in %s",
                                    KG_STR_ARG(s->format), where(k))
                   : kube_arena_fmt(k->c.a, "Checked value must be of type integer (default format) in %s", where(k)));
}

static void check_number(checker_t *k, const kube_structural_t *s, const kube_node_t *n) {
  kube_arena_t *a = k->c.a;
  double v = value_of(n);
  check_range(k, s, n);
  if (s->has_multiple && s->multiple > 0 && fabs(v / s->multiple - round(v / s->multiple)) > 1e-9)
    kube_invalid(
        &k->c, NULL, n,
        kube_arena_fmt(a, "%s in body should be a multiple of " KG_STR_FMT, where(k), KG_STR_ARG(s->multiple_text)));
  if (s->has_max && (s->exclusive_max ? v >= s->max : v > s->max))
    kube_invalid(&k->c, NULL, n,
                 kube_arena_fmt(a, "%s in body should be less than %s" KG_STR_FMT, where(k),
                                s->exclusive_max ? "" : "or equal to ", KG_STR_ARG(s->max_text)));
  if (s->has_min && (s->exclusive_min ? v <= s->min : v < s->min))
    kube_invalid(&k->c, NULL, n,
                 kube_arena_fmt(a, "%s in body should be greater than %s" KG_STR_FMT, where(k),
                                s->exclusive_min ? "" : "or equal to ", KG_STR_ARG(s->min_text)));
}

static int64_t runes(kg_str_t s) {
  int64_t n = 0;
  for (size_t i = 0; i < s.n; i++) n += (s.p[i] & 0xc0) != 0x80;
  return n;
}

/* A pattern is its author's: one that backtracks for ever (Go's cannot) is given up and counts as not matched. */
static bool matches(const kube_structural_t *s, kg_str_t v) {
  enum { MOST_STEPS = 1000000 };
  pcre2_match_data *m = pcre2_match_data_create(1, NULL);
  pcre2_match_context *c = pcre2_match_context_create(NULL);
  if (c) pcre2_set_match_limit(c, MOST_STEPS);
  int found = m && c ? pcre2_match(s->regex, (PCRE2_SPTR)(v.p ? v.p : ""), v.n, 0, 0, m, c) : 0;
  pcre2_match_context_free(c);
  pcre2_match_data_free(m);
  return found >= 0;
}

static void check_string(checker_t *k, const kube_structural_t *s, const kube_node_t *n) {
  kube_arena_t *a = k->c.a;
  int64_t len = runes(n->s);
  if (s->max_length >= 0 && len > s->max_length) kube_too_long(&k->c, NULL, (size_t)s->max_length);
  if (s->min_length >= 0 && len < s->min_length)
    kube_invalid(
        &k->c, NULL, n,
        kube_arena_fmt(a, "%s in body should be at least %lld chars long", where(k), (long long)s->min_length));
  if (s->regex && !matches(s, n->s))
    kube_invalid(&k->c, NULL, n,
                 kube_arena_fmt(a, "%s in body should match '" KG_STR_FMT "'", where(k), KG_STR_ARG(s->pattern)));
  if (s->format.n && !text_fits(s->format, n->s))
    kube_type_invalid(&k->c, NULL, n,
                      kube_arena_fmt(a, "%s in body must be of type " KG_STR_FMT ": \"" KG_STR_FMT "\"", where(k),
                                     KG_STR_ARG(s->format), KG_STR_ARG(n->s)));
}

/* --- structures ------------------------------------------------------------------------------------------------- */

/* What must be there once: the element itself, or its keys. */
static kube_node_t *identity(checker_t *k, const kube_structural_t *s, kube_node_t *element) {
  if (s->list == KUBE_LIST_SET) return element;
  kube_node_t *mine = kube_map(k->c.a);
  for (const char *const *key = s->list_keys; key && *key; key++) {
    kube_node_t *v = kube_get(element, *key);
    if (v) kube_set(k->c.a, mine, *key, v);
  }
  return mine;
}

static void check_keys(checker_t *k, const kube_structural_t *s, const kube_node_t *list) {
  kube_node_t *seen = kube_map(k->c.a);
  for (uint32_t i = 0; i < list->c.n; i++) {
    kube_node_t *mine = identity(k, s, list->c.items[i]);
    if (!kube_noted(&k->c, seen, kube_value_text(&k->c, mine))) continue;
    size_t n = kube_path_index(&k->c, i);
    kube_duplicate(&k->c, NULL, mine);
    kube_path_pop(&k->c, n);
  }
}

static void check_array(checker_t *k, const kube_structural_t *s, const kube_node_t *n) {
  if (s->max_items >= 0 && n->c.n > s->max_items) kube_too_many(&k->c, NULL, n->c.n, (size_t)s->max_items);
  if (s->min_items >= 0 && n->c.n < s->min_items)
    kube_invalid(
        &k->c, NULL, kube_int(k->c.a, n->c.n),
        kube_arena_fmt(k->c.a, "%s in body should have at least %lld items", where(k), (long long)s->min_items));
  for (uint32_t i = 0; s->items && i < n->c.n; i++) {
    size_t before = kube_path_index(&k->c, i);
    check(k, s->items, n->c.items[i]);
    kube_path_pop(&k->c, before);
  }
}

static void check_required(checker_t *k, const kube_structural_t *s, const kube_node_t *n) {
  for (uint32_t i = 0; i < kube_count(s->required); i++) {
    kg_str_t key = kube_node_str(s->required->c.items[i]);
    if (!kube_getn(n, key)) kube_required(&k->c, kube_arena_fmt(k->c.a, KG_STR_FMT, KG_STR_ARG(key)), NULL);
  }
}

static void check_embedded(checker_t *k, const kube_node_t *n) {
  static const char *const keys[] = {"apiVersion", "kind"};
  for (int i = 0; i < 2; i++)
    if (!kube_text(n, keys[i]).n) kube_required(&k->c, keys[i], NULL);
}

static void check_object(checker_t *k, const kube_structural_t *s, const kube_node_t *n) {
  if (s->max_props >= 0 && n->c.n > s->max_props) kube_too_many(&k->c, NULL, n->c.n, (size_t)s->max_props);
  if (s->min_props >= 0 && n->c.n < s->min_props)
    kube_invalid(
        &k->c, NULL, kube_int(k->c.a, n->c.n),
        kube_arena_fmt(k->c.a, "%s in body should have at least %lld properties", where(k), (long long)s->min_props));
  check_required(k, s, n);
  if (s->embedded) check_embedded(k, n);
  for (uint32_t i = 0; i < n->c.n; i++) {
    const kube_structural_t *field = kube_structural_field(s, n->c.keys[i]);
    if (!field) field = s->additional;
    if (!field) continue;
    size_t before = kube_path_push(&k->c, kube_arena_fmt(k->c.a, KG_STR_FMT, KG_STR_ARG(n->c.keys[i])));
    check(k, field, n->c.items[i]);
    kube_path_pop(&k->c, before);
  }
}

/* --- what must hold of several schemas -------------------------------------------------------------------------- */

static bool holds(checker_t *k, const kube_structural_t *s, const kube_node_t *n) {
  checker_t inner = *k;
  inner.c.causes = kube_array(k->c.a);
  check(&inner, s, n);
  return !inner.c.causes->c.n;
}

static unsigned count_holding(checker_t *k, kube_structural_t *const *list, const kube_node_t *n) {
  unsigned holding = 0;
  for (; *list; list++) holding += holds(k, *list, n);
  return holding;
}

static void several(checker_t *k, const kube_node_t *n, const char *words) {
  kube_invalid(&k->c, NULL, n->type == KG_V_MAP || n->type == KG_V_ARRAY ? kube_str(k->c.a, "") : n,
               kube_arena_fmt(k->c.a, "%s %s", kube_arena_fmt(k->c.a, "\"%s\"", where(k)), words));
}

static void check_combined(checker_t *k, const kube_structural_t *s, const kube_node_t *n) {
  for (kube_structural_t *const *p = s->all_of; p && *p; p++) check(k, *p, n);
  if (s->any_of && !count_holding(k, s->any_of, n)) several(k, n, "must validate at least one schema (anyOf)");
  unsigned one = s->one_of ? count_holding(k, s->one_of, n) : 1;
  if (one != 1)
    several(k, n,
            one ? "must validate one and only one schema (oneOf). Found more than one valid alternative"
                : "must validate one and only one schema (oneOf). Found none valid");
  if (s->not_of && holds(k, s->not_of, n)) several(k, n, "must not validate the schema (not)");
}

static void check_enum(checker_t *k, const kube_structural_t *s, const kube_node_t *n) {
  for (uint32_t i = 0; i < kube_count(s->enums); i++)
    if (kube_tree_equal(s->enums->c.items[i], n)) return;
  kube_unsupported_of(&k->c, NULL, n, s->enums);
}

static void check(checker_t *k, const kube_structural_t *s, const kube_node_t *n) {
  if (!check_type(k, s, n)) return;
  check_combined(k, s, n);
  if (s->enums) check_enum(k, s, n);
  if (is_number(n)) check_number(k, s, n);
  if (n->type == KG_V_STR) check_string(k, s, n);
  if (n->type == KG_V_ARRAY) check_array(k, s, n);
  if (n->type == KG_V_MAP) check_object(k, s, n);
}

/* --- lists that are sets and maps: asked for after everything else ---------------------------------------------- */

static void check_lists(checker_t *k, const kube_structural_t *s, const kube_node_t *n) {
  if (n->type == KG_V_ARRAY) {
    if (s->list != KUBE_LIST_ATOMIC) check_keys(k, s, n);
    for (uint32_t i = 0; s->items && i < n->c.n; i++) {
      size_t before = kube_path_index(&k->c, i);
      check_lists(k, s->items, n->c.items[i]);
      kube_path_pop(&k->c, before);
    }
  }
  for (uint32_t i = 0; n->type == KG_V_MAP && i < n->c.n; i++) {
    const kube_structural_t *field = kube_structural_field(s, n->c.keys[i]);
    if (!field) field = s->additional;
    if (!field) continue;
    size_t before = kube_path_push(&k->c, kube_arena_fmt(k->c.a, KG_STR_FMT, KG_STR_ARG(n->c.keys[i])));
    check_lists(k, field, n->c.items[i]);
    kube_path_pop(&k->c, before);
  }
}

void kube_structural_validate(kube_arena_t *a, const kube_structural_t *s, const kube_node_t *object,
                              kube_node_t *causes) {
  checker_t k = {.c = {.a = a, .causes = causes, .root = object}};
  check(&k, s, object);
  check_lists(&k, s, object);
}
