#include <stdlib.h>
#include <string.h>

#include "kube/values.h"

typedef enum { OP_IN, OP_NOT_IN, OP_EXISTS, OP_ABSENT, OP_GREATER, OP_LESS } op_t;

typedef struct {
  op_t op;
  char *key;
  char **values;
  size_t n;
} requirement_t;

struct kube_selector {
  bool nothing;
  requirement_t *all;
  size_t n;
};

void kube_selector_free(kube_selector_t *s) {
  if (!s) return;
  for (size_t i = 0; i < s->n; i++) {
    for (size_t v = 0; v < s->all[i].n; v++) free(s->all[i].values[v]);
    free(s->all[i].values);
    free(s->all[i].key);
  }
  free(s->all);
  free(s);
}

static requirement_t *add(kube_selector_t *s, op_t op, kg_str_t key) {
  requirement_t *all = realloc(s->all, (s->n + 1) * sizeof *all);
  if (!all) return NULL;
  s->all = all;
  all[s->n] = (requirement_t){.op = op, .key = kg_str_dup(key)};
  if (!all[s->n].key) return NULL;
  return &all[s->n++];
}

static int add_value(requirement_t *r, kg_str_t value) {
  char **values = r ? realloc(r->values, (r->n + 1) * sizeof *values) : NULL;
  if (!values) return -1;
  r->values = values;
  values[r->n] = kg_str_dup(value);
  return values[r->n] ? (r->n++, 0) : -1;
}

/* --- matching ------------------------------------------------------------------------------------------------------
 */

static bool listed(const requirement_t *r, kg_str_t value) {
  for (size_t i = 0; i < r->n; i++)
    if (kg_str_is(value, r->values[i])) return true;
  return false;
}

static bool compares(const requirement_t *r, kg_str_t value) {
  char buf[24], *end;
  if (!value.n || value.n >= sizeof buf || !r->n) return false;
  memcpy(buf, value.p, value.n);
  buf[value.n] = '\0';
  long long have = strtoll(buf, &end, 10), want = strtoll(r->values[0], NULL, 10);
  return !*end && (r->op == OP_GREATER ? have > want : have < want);
}

static bool holds(const requirement_t *r, kg_view_t labels) {
  kg_str_t value = kg_view_str(kg_view_get(labels, r->key));
  bool there = value.p != NULL;
  switch (r->op) {
  case OP_IN:
    return there && listed(r, value);
  case OP_NOT_IN:
    return !there || !listed(r, value);
  case OP_EXISTS:
    return there;
  case OP_ABSENT:
    return !there;
  case OP_GREATER:
  case OP_LESS:
    return there && compares(r, value);
  }
  return false;
}

bool kube_selector_matches(const kube_selector_t *s, kg_view_t labels) {
  if (!s || s->nothing) return false;
  for (size_t i = 0; i < s->n; i++)
    if (!holds(&s->all[i], labels)) return false;
  return true;
}

/* --- from objects ---------------------------------------------------------------------------------------------------
 */

static int add_equals(kube_selector_t *s, kg_view_t labels) {
  kg_iter_t it = kg_iter(labels);
  while (kg_iter_next(&it)) {
    kg_str_t value = kg_view_str(it.value);
    requirement_t *r = add(s, OP_IN, kg_view_str(it.key));
    if (!r || add_value(r, value.p ? value : KG_STR(""))) return -1;
  }
  return 0;
}

static int add_expression(kube_selector_t *s, kg_view_t e, kg_error_t *err) {
  static const char *const names[] = {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"};
  kg_str_t name = kg_view_str(kg_view_get(e, "operator"));
  for (size_t op = 0; op < sizeof names / sizeof *names; op++) {
    if (!kg_str_is(name, names[op])) continue;
    requirement_t *r = add(s, (op_t)op, kg_view_str(kg_view_get(e, "key")));
    if (!r) return kg_error_set(err, KG_EINTERNAL, "out of memory");
    kg_iter_t it = kg_iter(kg_view_get(e, "values"));
    while (kg_iter_next(&it))
      if (add_value(r, kg_view_str(it.value))) return kg_error_set(err, KG_EINTERNAL, "out of memory");
    return 0;
  }
  return kg_error_set(err, KG_EINVAL, "\"" KG_STR_FMT "\" is not a valid label selector operator", KG_STR_ARG(name));
}

kube_selector_t *kube_selector_of(kg_view_t selector, kg_error_t *err) {
  kube_selector_t *s = calloc(1, sizeof *s);
  if (!s) {
    kg_error_set(err, KG_EINTERNAL, "out of memory");
    return NULL;
  }
  s->nothing = kg_view_type(selector) != KG_V_MAP;
  int failed = add_equals(s, kg_view_get(selector, "matchLabels"));
  kg_iter_t it = kg_iter(kg_view_get(selector, "matchExpressions"));
  while (!failed && kg_iter_next(&it)) failed = add_expression(s, it.value, err);
  if (!failed) return s;
  kube_selector_free(s);
  return NULL;
}

kube_selector_t *kube_selector_of_map(kg_view_t labels) {
  kube_selector_t *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->nothing = kg_view_count(labels) == 0;
  if (!add_equals(s, labels)) return s;
  kube_selector_free(s);
  return NULL;
}

/* --- from text: "a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1"
 * ------------------------------------------------------------- */

typedef struct {
  const char *p, *end;
  kg_str_t whole;
  kg_error_t *err;
} text_t;

static int bad(text_t *t, const char *what) {
  return kg_error_set(t->err, KG_EINVAL, "unable to parse requirement: %s in '" KG_STR_FMT "'", what,
                      KG_STR_ARG(t->whole));
}

static void blank(text_t *t) {
  while (t->p < t->end && (*t->p == ' ' || *t->p == '\t')) t->p++;
}

static kg_str_t word(text_t *t) {
  blank(t);
  const char *from = t->p;
  while (t->p < t->end && !strchr(" \t=!,()<>", *t->p)) t->p++;
  kg_str_t w = {from, (size_t)(t->p - from)};
  blank(t);
  return w;
}

static bool take(text_t *t, const char *token) {
  size_t n = strlen(token);
  if ((size_t)(t->end - t->p) < n || memcmp(t->p, token, n) != 0) return false;
  t->p += n;
  blank(t);
  return true;
}

static int value_set(text_t *t, requirement_t *r) {
  if (!take(t, "(")) return bad(t, "expected '('");
  do {
    if (add_value(r, word(t))) return kg_error_set(t->err, KG_EINTERNAL, "out of memory");
  } while (take(t, ","));
  return take(t, ")") ? 0 : bad(t, "expected ')'");
}

static int requirement(text_t *t, kube_selector_t *s) {
  static const struct {
    const char *token;
    op_t op;
  } ops[] = {{"==", OP_IN}, {"=", OP_IN}, {"!=", OP_NOT_IN}, {">", OP_GREATER}, {"<", OP_LESS}};
  bool absent = (blank(t), take(t, "!"));
  kg_str_t key = word(t);
  if (!key.n) return bad(t, "expected a label key");
  if (absent || t->p == t->end || *t->p == ',') return add(s, absent ? OP_ABSENT : OP_EXISTS, key) ? 0 : -1;
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
    if (take(t, ops[i].token)) return add_value(add(s, ops[i].op, key), word(t));
  kg_str_t name = word(t);
  if (kg_str_is(name, "in")) return value_set(t, add(s, OP_IN, key));
  if (kg_str_is(name, "notin")) return value_set(t, add(s, OP_NOT_IN, key));
  kg_error_set(t->err, KG_EINVAL,
               "unable to parse requirement: found '" KG_STR_FMT "', expected: in, notin, =, ==, !=, gt, lt",
               KG_STR_ARG(name));
  return -1;
}

kube_selector_t *kube_selector_parse(kg_str_t text, kg_error_t *err) {
  kube_selector_t *s = calloc(1, sizeof *s);
  text_t t = {.p = text.p, .end = text.p + text.n, .whole = text, .err = err};
  if (!s) {
    kg_error_set(err, KG_EINTERNAL, "out of memory");
    return NULL;
  }
  blank(&t);
  while (t.p < t.end) {
    if (requirement(&t, s)) goto failed;
    if (t.p < t.end && (!take(&t, ",") || t.p == t.end)) {
      bad(&t, "expected ',' and another requirement");
      goto failed;
    }
  }
  return s;
failed:
  kube_selector_free(s);
  return NULL;
}
