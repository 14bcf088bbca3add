/* Defaults: the rules of schema/defaults.txt applied to every struct of an object, the outer before the inner. */
#include <stdlib.h>
#include <string.h>

#include "default_calls.h"
#include "schema_tables.h"

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

/* --- paths and conditions
 * ------------------------------------------------------------------------------------------------ */

static const kube_node_t *look(const kube_node_t *n, const char *path, size_t length) {
  for (const char *end = path + length; n && path < end;) {
    const char *dot = memchr(path, '.', (size_t)(end - path));
    kg_str_t key = {path, (size_t)((dot ? dot : end) - path)};
    n = kube_getn(n, key);
    path = dot ? dot + 1 : end;
  }
  return n;
}

static bool empty(const kube_node_t *n) {
  if (!n) return true;
  switch (n->type) {
  case KG_V_NIL:
    return true;
  case KG_V_INT:
    return n->i == 0;
  case KG_V_STR:
    return n->s.n == 0;
  case KG_V_ARRAY:
    return n->c.n == 0;
  default:
    return false;
  }
}

/* One "FIELD = VALUE" of a condition; *text is moved past it and a following " and ". */
static bool clause(kube_arena_t *a, const kube_node_t *n, const char **text) {
  const char *p = *text, *blank = strchr(p, ' ');
  const kube_node_t *v = look(n, p, (size_t)(blank - p));
  bool holds;
  p = blank + 1;
  if (strncmp(p, "present", 7) == 0) {
    holds = !empty(v);
    p += 7;
  } else if (strncmp(p, "absent", 6) == 0) {
    holds = empty(v);
    p += 6;
  } else {
    char op = *p;
    p = strchr(p, ' ') + 1;
    kube_node_t *than = literal(a, &p);
    bool number = v && v->type == KG_V_INT && than->type == KG_V_INT;
    if (op == '<' || op == '>') {
      holds = number && (op == '<' ? v->i < than->i : v->i > than->i);
    } else {
      holds = kube_tree_equal(v, than) != (op == '!');
    }
  }
  *text = strncmp(p, " and ", 5) == 0 ? p + 5 : p + strlen(p);
  return holds;
}

bool kube_condition(kube_arena_t *a, const kube_node_t *n, const char *text) {
  while (*text) {
    if (!clause(a, n, &text)) return false;
  }
  return true;
}

/* --- applying
 * -------------------------------------------------------------------------------------------------------------- */

/* Whether Go would see no value: fields that are no pointers cannot be told from their zero. */
static bool unset(const kube_type_t *t, const char *field, const kube_node_t *v) {
  if (!v || v->type == KG_V_NIL) return true;
  const kube_field_t *f = kube_field_find(t, kg_str(field));
  if (f && f->ptr) return false;
  if (f && f->shape == KUBE_ONE && f->kind == KUBE_T_STRUCT) return false;
  return empty(v) || (v->type == KG_V_MAP && v->c.n == 0);
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
  if (rule->condition && !kube_condition(a, n, rule->condition)) return;
  if (strncmp(rule->value, "call:", 5) == 0) {
    kube_default_call(a, rule->value + 5, n);
    return;
  }
  if (!unset(t, rule->field, look(n, rule->field, strlen(rule->field)))) return;
  if (strncmp(rule->value, "same:", 5) == 0) {
    const kube_node_t *from = look(n, rule->value + 5, strlen(rule->value + 5));
    if (!empty(from)) set_path(a, n, rule->field, kube_tree_clone(a, from));
    return;
  }
  set_path(a, n, rule->field, kube_literal(a, rule->value));
}

static const kube_default_rule_t *rules_of(const kube_type_t *t) {
  size_t low = 0, high = kube_default_rule_count;
  unsigned want = (unsigned)(t - kube_types);
  while (low < high) {
    size_t mid = (low + high) / 2;
    if (kube_default_rules[mid].type < want) {
      low = mid + 1;
    } else {
      high = mid;
    }
  }
  return low < kube_default_rule_count && kube_default_rules[low].type == want ? &kube_default_rules[low] : NULL;
}

static void walk(kube_arena_t *a, const kube_type_t *t, kube_node_t *n);

static void walk_field(kube_arena_t *a, const kube_field_t *f, kube_node_t *n) {
  kube_node_t *v = kube_get(n, f->name);
  if (f->dflt && (!v || v->type == KG_V_NIL || (!f->ptr && empty(v)))) {
    kube_node_t *d = kube_literal(a, f->dflt);
    if (f->ptr || f->always || !empty(d)) kube_set(a, n, f->name, d);
  }
  if (f->kind != KUBE_T_STRUCT || !v) return;
  if (f->shape == KUBE_ONE) {
    walk(a, f->type, v);
    return;
  }
  if (v->type != KG_V_ARRAY && v->type != KG_V_MAP) return;
  for (uint32_t i = 0; i < v->c.n; i++) walk(a, f->type, v->c.items[i]);
}

static void walk(kube_arena_t *a, const kube_type_t *t, kube_node_t *n) {
  if (!n || n->type != KG_V_MAP) return;
  bool built_in = t >= kube_types && t < kube_types + kube_type_count;
  const kube_default_rule_t *rule = built_in ? rules_of(t) : NULL;
  for (; rule && rule->field && &kube_types[rule->type] == t; rule++) apply(a, rule, t, n);
  for (const kube_field_t *f = t->fields; f->name; f++) {
    if (f->dflt || f->kind == KUBE_T_STRUCT) walk_field(a, f, n);
  }
}

void kube_default(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object) {
  walk(a, r->type, object);
}
