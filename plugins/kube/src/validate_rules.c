/* The checks of schema/validate.txt that need no code of their own. */
#include <string.h>

#include "validate.h"

#define RULE(name)                                                                                                     \
  void kube_rule_##name(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *v, const kube_node_t *old);    \
  void kube_rule_##name(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *v, const kube_node_t *old)

/* How errors call the field. */
static const char *called(const kube_check_rule_t *r) {
  if (r->as) return r->as[0] == '-' ? NULL : r->as;
  return r->each || r->field[0] == '-' ? NULL : r->field;
}

static const char *words(const kube_check_rule_t *r, const char *usual) {
  return r->text ? r->text : usual;
}

RULE(required) {
  (void)old;
  if (kube_node_empty(v)) kube_required(c, called(r), r->text);
}

RULE(must) {
  (void)v, (void)old;
  kube_required(c, called(r), r->text);
}

RULE(invalid) {
  (void)old;
  kube_invalid(c, called(r), v, words(r, ""));
}

RULE(forbidden) {
  (void)v, (void)old;
  kube_forbidden(c, called(r), words(r, ""));
}

static bool among(const char *values, kg_str_t s) {
  for (const char *p = values; *p;) {
    size_t n = strcspn(p, " ");
    bool blank = n == 2 && !memcmp(p, "''", 2);
    if (blank ? !s.n : n == s.n && !memcmp(p, s.p, n)) return true;
    p += n + (p[n] == ' ');
  }
  return false;
}

RULE(any_of) {
  (void)old;
  kube_node_t nothing = {.type = KG_V_STR, .s = KG_STR("")};
  if (!among(words(r, ""), kube_node_str(v))) kube_unsupported(c, called(r), v ? v : &nothing, words(r, ""));
}

RULE(one_of) {
  if (v && v->type != KG_V_NIL) kube_rule_any_of(c, r, v, old);
}

/* As one_of, but what is empty counts as not there. */
RULE(maybe_of) {
  if (!kube_node_empty(v)) kube_rule_any_of(c, r, v, old);
}

RULE(nonneg) {
  (void)old;
  if (kube_node_int(v, 0) < 0) kube_invalid(c, called(r), v, "must be greater than or equal to 0");
}

RULE(range) {
  (void)old;
  if (!v || v->type != KG_V_INT || (v->i >= r->low && v->i <= r->high)) return;
  kube_invalid(c, called(r), v,
               r->text ? r->text
                       : kube_arena_fmt(c->a, "must be between %lld and %lld, inclusive", (long long)r->low,
                                        (long long)r->high));
}

/* The same, what is not there counts as 0. */
RULE(range_always) {
  kube_node_t nothing = {.type = KG_V_INT};
  kube_rule_range(c, r, v ? v : &nothing, old);
}

RULE(port) {
  (void)old;
  kube_node_t nothing = {.type = KG_V_INT};
  if (v && v->type == KG_V_STR) {
    kube_check_form(c, called(r), v->s, kube_form_port_name);
  } else if (kube_node_int(v, 0) < 1 || kube_node_int(v, 0) > 65535) {
    kube_invalid(c, called(r), v ? v : &nothing, "must be between 1 and 65535, inclusive");
  }
}

RULE(form) {
  (void)old;
  if (kube_node_str(v).n) kube_check_form(c, called(r), v->s, r->form);
}

RULE(form_always) {
  (void)old;
  kube_check_form(c, called(r), kube_node_str(v), r->form);
}

/* These are asked for by the check of the metadata. */
RULE(name) {
  (void)c, (void)r, (void)v, (void)old;
}
RULE(passes) {
  (void)c, (void)r, (void)v, (void)old;
}
RULE(generic) {
  (void)c, (void)r, (void)v, (void)old;
}
RULE(guarded) {
  (void)c, (void)r, (void)v, (void)old;
}
RULE(twice) {
  (void)c, (void)r, (void)v, (void)old;
}

/* For pointers: empty is not absent. */
RULE(form_there) {
  (void)old;
  if (v && v->type == KG_V_STR) kube_check_form(c, called(r), v->s, r->form);
}

/* Absent or empty is told twice: as missing, and as no name. */
RULE(required_form) {
  (void)old;
  if (!kube_node_str(v).n) kube_required(c, called(r), NULL);
  kube_check_form(c, called(r), kube_node_str(v), r->form);
}

RULE(labels) {
  (void)old;
  kube_check_labels(c, called(r), v);
}

RULE(annotations) {
  (void)old;
  kube_check_annotations(c, called(r), v);
}

RULE(finalizers) {
  (void)old;
  kube_check_finalizers(c, called(r), v);
}

static const kube_node_t *key_of(const kube_node_t *element, const char *key) {
  return key[0] == '-' ? element : kube_get(element, key);
}

static void unique(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *list, bool whole) {
  if (!list || list->type != KG_V_ARRAY) return;
  kube_node_t *seen = kube_map(c->a);
  for (uint32_t i = 0; i < list->c.n; i++) {
    const kube_node_t *k = key_of(list->c.items[i], r->text);
    if (kube_node_empty(k) || !kube_noted(c, seen, kube_value_text(c, k))) continue;
    size_t n = kube_path_push(c, r->field);
    kube_path_index(c, i);
    const char *key = r->text[0] == '-' ? NULL : r->text;
    if (whole)
      kube_invalid(c, key, k, "must be unique");
    else
      kube_duplicate(c, key, k);
    kube_path_pop(c, n);
  }
}

RULE(unique) {
  (void)old;
  unique(c, r, v, false);
}

/* The same, with the words of mounts. */
RULE(unique_mount) {
  (void)old;
  unique(c, r, v, true);
}

RULE(percent_or_number) {
  (void)old;
  if (!v) return;
  if (v->type == KG_V_STR)
    kube_check_form(c, called(r), v->s, kube_form_percent);
  else
    kube_rule_nonneg(c, r, v, NULL);
}

RULE(keys) {
  (void)old;
  if (!v || v->type != KG_V_MAP) return;
  size_t n = kube_path_push(c, r->field);
  for (uint32_t i = 0; i < v->c.n; i++) {
    size_t inner = kube_path_key(c, v->c.keys[i]);
    kube_check_form(c, NULL, v->c.keys[i], r->form);
    kube_path_pop(c, inner);
  }
  kube_path_pop(c, n);
}

RULE(immutable) {
  if (!c->old_root) return;
  if (kube_node_empty(v) && kube_node_empty(old)) return;
  if (!kube_tree_equal(v, old)) kube_invalid(c, called(r), v, words(r, "field is immutable"));
}

RULE(frozen) {
  if (!c->old_root || (kube_node_empty(v) && kube_node_empty(old))) return;
  if (!kube_tree_equal(v, old)) kube_forbidden(c, called(r), words(r, ""));
}

RULE(max_items) {
  (void)old;
  if (v && v->type == KG_V_ARRAY && v->c.n > r->high) kube_too_many(c, called(r), v->c.n, (size_t)r->high);
}

RULE(max_bytes) {
  (void)old;
  if (kube_node_str(v).n > (size_t)r->high) kube_too_long(c, called(r), (size_t)r->high);
}
