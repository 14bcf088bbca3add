/* Defaults: the rules of schema/defaults.txt applied to every struct of an object, the outer before the inner. */
#include <stdlib.h>
#include <string.h>

#include "structural.h"
#include "validate.h"

/* --- literals
 * ---------------------------------------------------------------------------------------------------------- */

static kg_str_t literal_string(const char **p) {
  const char *start = ++*p;
  while (**p && **p != '"') ++*p;
  kg_str_t s = {start, (size_t)(*p - start)};
  if (**p) ++*p;
  return s;
}

/* Reads a JSON value of the tables: well-formed (the generator's input is ours), without escapes. */
static kube_node_t *literal(kube_arena_t *a, const char **p) {
  if (**p == '"') return kube_strn(a, literal_string(p));
  if (**p == '{' || **p == '[') {
    char close = **p == '{' ? '}' : ']';
    kube_node_t *n = close == '}' ? kube_map(a) : kube_array(a);
    ++*p;
    while (**p && **p != close) {
      if (close == '}') {
        kg_str_t key = literal_string(p);
        ++*p; /* the colon */
        kube_setn(a, n, key, literal(a, p));
      } else {
        kube_push(a, n, literal(a, p));
      }
      if (**p == ',') ++*p;
    }
    if (**p) ++*p;
    return n;
  }
  if (**p == 't' || **p == 'f') {
    bool yes = **p == 't';
    *p += yes ? 4 : 5;
    return kube_bool(a, yes);
  }
  char *end;
  int64_t v = strtoll(*p, &end, 10);
  *p = end > *p ? end : *p + strlen(*p);
  return kube_int(a, v);
}

kube_node_t *kube_literal(kube_arena_t *a, const char *json) {
  return literal(a, &json);
}

static kube_node_t *value_of(kube_arena_t *a, const kube_literal_t *v) {
  switch (v->type) {
  case KG_V_STR:
    return kube_str(a, v->text);
  case KG_V_BOOL:
    return kube_bool(a, v->number);
  case KG_V_INT:
    return kube_int(a, v->number);
  default:
    return kube_literal(a, v->text);
  }
}

/* --- conditions ------------------------------------------------------------------------------------------------ */

static bool equals(const kube_node_t *n, const kube_literal_t *v) {
  if (!n || n->type != v->type) return false;
  return v->type == KG_V_STR    ? kg_str_is(n->s, v->text)
         : v->type == KG_V_INT  ? n->i == v->number
         : v->type == KG_V_BOOL ? n->b == (v->number != 0)
                                : false;
}

static bool clause(const kube_node_t *n, const kube_clause_t *w) {
  const kube_node_t *v = kube_node_look(n, w->field);
  bool number = v && v->type == KG_V_INT && w->value.type == KG_V_INT;
  switch (w->op) {
  case KUBE_IF_PRESENT:
    return !kube_node_empty(v);
  case KUBE_IF_ABSENT:
    return kube_node_empty(v);
  case KUBE_IF_THERE:
    return v && v->type != KG_V_NIL;
  case KUBE_IF_GONE:
    return !v || v->type == KG_V_NIL;
  case KUBE_IF_EQUAL:
    return equals(v, &w->value);
  case KUBE_IF_DIFFERENT:
    return !equals(v, &w->value);
  case KUBE_IF_LESS:
    return number && v->i < w->value.number;
  default:
    return number && v->i > w->value.number;
  }
}

bool kube_condition(const kube_node_t *n, const kube_clause_t *when) {
  for (; when && when->field; when++)
    if (!clause(n, when)) return false;
  return true;
}

/* --- applying -------------------------------------------------------------------------------------------------- */

/* Whether Go would see no value: fields that are no pointers cannot be told from their zero. */
static bool unset(const kube_type_t *t, const char *field, const kube_node_t *v) {
  if (!v || v->type == KG_V_NIL) return true;
  const kube_field_t *f = kube_field_find(t, kg_str(field));
  if (f && f->ptr) return false;
  if (f && f->shape == KUBE_ONE && f->kind == KUBE_T_STRUCT) return false;
  return kube_node_empty(v);
}

static void set_path(kube_arena_t *a, kube_node_t *n, const char *path, kube_node_t *v) {
  const char *dot;
  while ((dot = strchr(path, '.'))) {
    n = kube_sub(a, n, kube_arena_fmt(a, "%.*s", (int)(dot - path), path));
    path = dot + 1;
  }
  kube_set(a, n, path, v);
}

static void apply(kube_arena_t *a, const kube_default_rule_t *rule, const kube_type_t *t, kube_node_t *n) {
  if (!kube_condition(n, rule->when)) return;
  if (rule->call) return rule->call(a, n);
  if (!unset(t, rule->field, kube_node_look(n, rule->field))) return;
  if (rule->same) {
    const kube_node_t *from = kube_node_look(n, rule->same);
    if (!kube_node_empty(from)) set_path(a, n, rule->field, kube_tree_clone(a, from));
    return;
  }
  set_path(a, n, rule->field, value_of(a, &rule->value));
}

static void walk(kube_arena_t *a, const kube_type_t *t, kube_node_t *n);

static void walk_field(kube_arena_t *a, const kube_field_t *f, kube_node_t *n) {
  kube_node_t *v = kube_get(n, f->name);
  if (f->dflt && (!v || v->type == KG_V_NIL || (!f->ptr && kube_node_empty(v)))) {
    kube_node_t *d = kube_literal(a, f->dflt);
    if (f->ptr || f->always || !kube_node_empty(d)) kube_set(a, n, f->name, d);
  }
  if (f->kind != KUBE_T_STRUCT || !v || !f->type->defaulted) return;
  if (f->shape == KUBE_ONE) {
    walk(a, f->type, v);
    return;
  }
  if (v->type != KG_V_ARRAY && v->type != KG_V_MAP) return;
  for (uint32_t i = 0; i < v->c.n; i++) walk(a, f->type, v->c.items[i]);
}

static void walk(kube_arena_t *a, const kube_type_t *t, kube_node_t *n) {
  if (!n || n->type != KG_V_MAP) return;
  for (const kube_default_rule_t *rule = t->defaults; rule && rule->field; rule++) apply(a, rule, t, n);
  for (const kube_field_t *f = t->fields; f->name; f++) {
    if (f->dflt || (f->kind == KUBE_T_STRUCT && f->type->defaulted)) walk_field(a, f, n);
  }
}

void kube_default(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object) {
  if (r->structural)
    kube_structural_default(a, r->structural, object);
  else
    walk(a, r->type, object);
}
