/* Paths and errors of the validation. */
#include <string.h>

#include "kube/json.h"
#include "validate.h"

static void append(kube_check_t *c, const char *text, size_t n) {
  size_t room = sizeof c->path - 1 - c->n;
  if (n > room)
    for (n = room; n && ((unsigned char)text[n] & 0xc0) == 0x80;) n--; /* not within a character */
  memcpy(c->path + c->n, text, n);
  c->n += n;
  c->path[c->n] = 0;
}

size_t kube_path_push(kube_check_t *c, const char *name) {
  size_t before = c->n;
  if (before && name[0] != '[') append(c, ".", 1);
  append(c, name, strlen(name));
  return before;
}
size_t kube_path_index(kube_check_t *c, uint32_t index) {
  char text[16];
  size_t before = c->n, at = sizeof text;
  text[--at] = ']';
  do text[--at] = (char)('0' + index % 10);
  while (index /= 10);
  text[--at] = '[';
  append(c, text + at, sizeof text - at);
  return before;
}
size_t kube_path_key(kube_check_t *c, kg_str_t key) {
  size_t before = c->n;
  append(c, "[", 1);
  append(c, key.p, key.n);
  append(c, "]", 1);
  return before;
}
void kube_path_pop(kube_check_t *c, size_t n) {
  c->n = n;
  c->path[n] = 0;
}

static void tell(kube_check_t *c, const char *field, const char *reason, const char *message) {
  enum { MOST_CAUSES = 10000 }; /* nobody reads more, and a hostile object could have millions */
  if (c->causes->c.n >= MOST_CAUSES) return;
  kube_node_t *cause = kube_map(c->a);
  kube_set(c->a, cause, "reason", kube_str(c->a, reason));
  kube_set(c->a, cause, "message", kube_str(c->a, message));
  bool index = field && *field == '[';
  kube_set(c->a, cause, "field",
           kube_strf(c->a, "%s%s%s", c->path, field && c->n && !index ? "." : "", field ? field : ""));
  kube_push(c->a, c->causes, cause);
}

const char *kube_value_text(kube_check_t *c, const kube_node_t *v) {
  kg_doc_t *doc = v ? kube_tree_doc(v) : NULL;
  if (!doc) return "null";
  kube_buf_t b = {0};
  kube_json_write(&b, kg_view_of(doc));
  const char *text = kube_arena_fmt(c->a, "%.*s", (int)b.n, b.p ? b.p : "");
  kube_buf_free(&b);
  kg_doc_unref(doc);
  return text;
}

/* What is not there, as Go shows its zero value: of a string, of a pointer to a struct, of anything else. */
static const char *zero_text(const kube_check_t *c, const char *field) {
  const kube_type_t *t = c->type;
  const kube_field_t *f = NULL;
  for (const char *p = field; t && p && *p;) {
    size_t n = strcspn(p, ".[");
    f = kube_field_find(t, (kg_str_t){p, n});
    t = f && f->kind == KUBE_T_STRUCT && f->shape == KUBE_ONE ? f->type : NULL;
    p = p[n] == '.' ? p + n + 1 : NULL;
  }
  if (!f || f->shape != KUBE_ONE) return "null";
  return f->kind == KUBE_T_STRING ? "\"\"" : f->kind == KUBE_T_STRUCT ? "\"null\"" : "null";
}

void kube_told(kube_check_t *c, const char *field, const char *reason, const char *message) {
  tell(c, field, reason, message);
}

const char *kube_value_list(kube_check_t *c, const kube_node_t *list) {
  kube_buf_t b = {0};
  for (uint32_t i = 0; i < kube_count(list); i++) {
    if (i) kube_buf_addz(&b, ", ");
    kube_buf_addz(&b, kube_value_text(c, list->c.items[i]));
  }
  const char *text = kube_arena_fmt(c->a, "%.*s", (int)b.n, b.p ? b.p : "");
  kube_buf_free(&b);
  return text;
}

bool kube_noted(kube_check_t *c, kube_node_t *seen, const char *key) {
  if (kube_get(seen, key)) return true;
  kube_set(c->a, seen, key, seen);
  return false;
}

void kube_required(kube_check_t *c, const char *field, const char *detail) {
  bool more = detail && *detail;
  tell(c, field, "FieldValueRequired",
       kube_arena_fmt(c->a, "Required value%s%s", more ? ": " : "", more ? detail : ""));
}
void kube_invalid(kube_check_t *c, const char *field, const kube_node_t *value, const char *detail) {
  const char *text = value ? kube_value_text(c, value) : zero_text(c, field);
  tell(c, field, "FieldValueInvalid", kube_arena_fmt(c->a, "Invalid value: %s: %s", text, detail));
}
void kube_type_invalid(kube_check_t *c, const char *field, const kube_node_t *value, const char *detail) {
  tell(c, field, "FieldValueTypeInvalid",
       kube_arena_fmt(c->a, "Invalid value: %s: %s", kube_value_text(c, value), detail));
}
void kube_checked_invalid(kube_check_t *c, const char *detail) {
  size_t n = c->n;
  char first = c->path[0];
  c->n = 0;
  c->path[0] = 0;
  tell(c, "<nil>", "FieldValueInvalid", kube_arena_fmt(c->a, "Invalid value: \"\": %s", detail));
  c->n = n;
  c->path[0] = first;
}
void kube_unsupported_of(kube_check_t *c, const char *field, const kube_node_t *value, const kube_node_t *values) {
  tell(c, field, "FieldValueNotSupported",
       kube_arena_fmt(c->a, "Unsupported value: %s: supported values: %s", kube_value_text(c, value),
                      kube_value_list(c, values)));
}
void kube_count_complaint(void *arg, const char *sentence) {
  (void)sentence;
  ++*(unsigned *)arg;
}
void kube_invalid_str(kube_check_t *c, const char *field, kg_str_t value, const char *detail) {
  kube_node_t n = {.type = KG_V_STR, .s = value.p ? value : KG_STR("")};
  kube_invalid(c, field, &n, detail);
}
void kube_duplicate(kube_check_t *c, const char *field, const kube_node_t *value) {
  tell(c, field, "FieldValueDuplicate", kube_arena_fmt(c->a, "Duplicate value: %s", kube_value_text(c, value)));
}
void kube_not_found(kube_check_t *c, const char *field, const kube_node_t *value) {
  tell(c, field, "FieldValueNotFound", kube_arena_fmt(c->a, "Not found: %s", kube_value_text(c, value)));
}
void kube_forbidden(kube_check_t *c, const char *field, const char *detail) {
  tell(c, field, "FieldValueForbidden", kube_arena_fmt(c->a, "Forbidden: %s", detail));
}
void kube_too_long(kube_check_t *c, const char *field, size_t most) {
  tell(c, field, "FieldValueTooLong", kube_arena_fmt(c->a, "Too long: may not be more than %zu bytes", most));
}
void kube_too_many(kube_check_t *c, const char *field, size_t count, size_t most) {
  tell(c, field, "FieldValueTooMany", kube_arena_fmt(c->a, "Too many: %zu: must have at most %zu items", count, most));
}
void kube_unsupported(kube_check_t *c, const char *field, const kube_node_t *value, const char *values) {
  kube_buf_t b = {0};
  for (const char *p = values; *p;) {
    size_t n = strcspn(p, " ");
    kube_buf_addz(&b, b.n ? ", \"" : "\"");
    if (!(n == 2 && memcmp(p, "''", 2) == 0)) kube_buf_add(&b, p, n); /* '' is the empty string */
    kube_buf_addz(&b, "\"");
    p += n + (p[n] == ' ');
  }
  tell(c, field, "FieldValueNotSupported",
       kube_arena_fmt(c->a, "Unsupported value: %s: supported values: %.*s", kube_value_text(c, value), (int)b.n,
                      b.p ? b.p : ""));
  kube_buf_free(&b);
}

bool kube_node_empty(const kube_node_t *n) {
  if (!n) return true;
  switch (n->type) {
  case KG_V_NIL:
    return true;
  case KG_V_INT:
    return n->i == 0;
  case KG_V_STR:
    return n->s.n == 0;
  case KG_V_ARRAY:
  case KG_V_MAP:
    return n->c.n == 0;
  default:
    return false;
  }
}

const kube_node_t *kube_node_look(const kube_node_t *n, const char *path) {
  while (n && *path) {
    size_t len = strcspn(path, ".");
    n = kube_getn(n, (kg_str_t){path, len});
    path += len + (path[len] == '.');
  }
  return n;
}
