/* What many kinds need in their cells. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/values.h"
#include "table_cell.h"

kg_view_t kube_view_dots(kg_view_t v, kg_str_t path) {
  const char *p = path.p, *end = path.p + path.n;
  while (p < end && kg_view_there(v)) {
    const char *dot = memchr(p, '.', (size_t)(end - p));
    v = kg_view_get_str(v, (kg_str_t){p, (size_t)((dot ? dot : end) - p)});
    p = dot ? dot + 1 : end;
  }
  return v;
}

kg_view_t kube_view_in(kg_view_t v, const char *path) {
  return kube_view_dots(v, kg_str(path));
}

kg_str_t kube_view_text(kg_view_t v, const char *path) {
  return kg_view_str(kube_view_in(v, path));
}

void kube_duration_text(char out[32], int64_t s) {
  int64_t m = s / 60, h = s / 3600, d = h / 24;
  if (s < -1) {
    snprintf(out, 32, "<invalid>");
  } else if (s < 120) {
    snprintf(out, 32, "%lds", (long)(s < 0 ? 0 : s));
  } else if (m < 10) {
    snprintf(out, 32, s % 60 ? "%ldm%lds" : "%ldm", (long)m, (long)(s % 60));
  } else if (m < 180) {
    snprintf(out, 32, "%ldm", (long)m);
  } else if (h < 8) {
    snprintf(out, 32, m % 60 ? "%ldh%ldm" : "%ldh", (long)h, (long)(m % 60));
  } else if (h < 48) {
    snprintf(out, 32, "%ldh", (long)h);
  } else if (h < 192) {
    snprintf(out, 32, h % 24 ? "%ldd%ldh" : "%ldd", (long)d, (long)(h % 24));
  } else if (d < 730) {
    snprintf(out, 32, "%ldd", (long)d);
  } else if (d < 8 * 365) {
    snprintf(out, 32, d % 365 ? "%ldy%ldd" : "%ldy", (long)(d / 365), (long)(d % 365));
  } else {
    snprintf(out, 32, "%ldy", (long)(d / 365));
  }
}

void kube_since_text(char out[32], kg_str_t t, int64_t now_us) {
  int64_t then;
  if (!t.n || kube_time_parse(t, &then) != 0) {
    snprintf(out, 32, "<unknown>");
    return;
  }
  kube_duration_text(out, (now_us - then) / 1000000);
}

void kube_cell_str(const kube_cell_t *c, kg_str_t s, const char *empty) {
  if (s.n) {
    kg_pack_strn(c->p, s);
  } else {
    kg_pack_str(c->p, empty);
  }
}

void kube_cell_take(const kube_cell_t *c, kube_buf_t *b, const char *empty) {
  kube_cell_str(c, (kg_str_t){b->p, b->n}, empty);
  kube_buf_free(b);
}

void kube_buf_str(kube_buf_t *b, kg_str_t s) {
  kube_buf_add(b, s.p ? s.p : "", s.n);
}

typedef struct label {
  kg_str_t key, value;
} label_t;

static int by_key(const void *a, const void *b) {
  return kg_str_cmp(((const label_t *)a)->key, ((const label_t *)b)->key);
}

void kube_labels_text(kube_buf_t *b, kg_view_t labels) {
  size_t n = kg_view_count(labels), used = 0;
  label_t *list = n ? calloc(n, sizeof *list) : NULL;
  if (!list) return;
  for (kg_iter_t it = kg_iter(labels); used < n && kg_iter_next(&it);) {
    list[used++] = (label_t){kg_view_str(it.key), kg_view_str(it.value)};
  }
  qsort(list, used, sizeof *list, by_key);
  for (size_t i = 0; i < used; i++) {
    if (b->n && i) kube_buf_addz(b, ",");
    kube_buf_str(b, list[i].key);
    kube_buf_addz(b, "=");
    kube_buf_str(b, list[i].value);
  }
  free(list);
}

static void requirement_text(kube_buf_t *b, kg_view_t e) {
  kg_str_t op = kube_view_text(e, "operator"), key = kube_view_text(e, "key");
  if (b->n) kube_buf_addz(b, ",");
  if (kg_str_is(op, "DoesNotExist")) kube_buf_addz(b, "!");
  kube_buf_str(b, key);
  if (kg_str_is(op, "Exists") || kg_str_is(op, "DoesNotExist")) return;
  kube_buf_addz(b, kg_str_is(op, "In") ? " in (" : " notin (");
  bool first = true;
  for (kg_iter_t it = kg_iter(kg_view_get(e, "values")); kg_iter_next(&it); first = false) {
    if (!first) kube_buf_addz(b, ",");
    kube_buf_str(b, kg_view_str(it.value));
  }
  kube_buf_addz(b, ")");
}

void kube_selector_text(kube_buf_t *b, kg_view_t selector) {
  kube_labels_text(b, kg_view_get(selector, "matchLabels"));
  for (kg_iter_t it = kg_iter(kg_view_get(selector, "matchExpressions")); kg_iter_next(&it);)
    requirement_text(b, it.value);
}

void kube_list_text(kube_buf_t *b, kg_view_t list, const char *key) {
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);) {
    if (b->n) kube_buf_addz(b, ",");
    kube_buf_str(b, key ? kube_view_text(it.value, key) : kg_view_str(it.value));
  }
}

/* --- cells of any kind
 * ---------------------------------------------------------------------------------------------------- */

static void name(const kube_cell_t *c) {
  kube_cell_str(c, kube_name(c->o), "");
}
static void age(const kube_cell_t *c) {
  char text[32];
  kube_since_text(text, kube_view_text(c->o, "metadata.creationTimestamp"), c->now);
  kg_pack_str(c->p, text);
}
static void created(const kube_cell_t *c) {
  kg_str_t t = kube_view_text(c->o, "metadata.creationTimestamp");
  if (t.n) {
    kg_pack_strn(c->p, t);
  } else {
    kg_pack_nil(c->p);
  }
}
static void count(const kube_cell_t *c) {
  kg_pack_int(c->p, (int64_t)kg_view_count(kube_view_dots(c->o, c->path)));
}
static void number(const kube_cell_t *c) {
  kg_pack_int(c->p, kg_view_int(kube_view_dots(c->o, c->path), 0));
}
static void since(const kube_cell_t *c) {
  kg_str_t t = kg_view_str(kube_view_dots(c->o, c->path));
  char text[32] = "<none>";
  if (t.n) kube_since_text(text, t, c->now);
  kg_pack_str(c->p, text);
}
static void join(const kube_cell_t *c) {
  kube_buf_t b = {0};
  kube_list_text(&b, kube_view_dots(c->o, c->path), NULL);
  kube_cell_take(c, &b, c->empty);
}
/* Numbers, strings and booleans as text. */
static void text(const kube_cell_t *c) {
  kg_view_t v = kube_view_dots(c->o, c->path);
  kg_vtype_t t = kg_view_type(v);
  if (t == KG_V_INT) {
    kg_pack_fmt(c->p, "%lld", (long long)kg_view_int(v, 0));
  } else if (t == KG_V_BOOL) {
    kg_pack_str(c->p, kg_view_bool(v, false) ? "True" : "False");
  } else if (t == KG_V_NONE && strcmp(c->column->type, "boolean") == 0) {
    kg_pack_str(c->p, "False");
  } else {
    kube_cell_str(c, kg_view_str(v), c->empty);
  }
}
static void flag(const kube_cell_t *c) {
  kg_pack_bool(c->p, kg_view_bool(kube_view_dots(c->o, c->path), false));
}
static void controller(const kube_cell_t *c) {
  kg_view_t ref = kube_controller_ref(c->o);
  kg_str_t kind = kube_view_text(ref, "kind"), api = kube_view_text(ref, "apiVersion"), n = kube_view_text(ref, "name");
  if (!n.n) {
    kg_pack_str(c->p, "<none>");
    return;
  }
  kube_buf_t b = {0};
  kube_buf_str(&b, kind);
  for (size_t i = 0; i < b.n; i++)
    if (b.p[i] >= 'A' && b.p[i] <= 'Z') b.p[i] += 'a' - 'A';
  const char *slash = api.n ? memchr(api.p, '/', api.n) : NULL;
  if (slash) kube_buf_fmt(&b, ".%.*s", (int)(slash - api.p), api.p);
  kube_buf_addz(&b, "/");
  kube_buf_str(&b, n);
  kube_cell_take(c, &b, "");
}

const kube_cell_fn_t kube_cells_general[] = {
    {"name", name},
    {"age", age},
    {"created", created},
    {"count", count},
    {"number", number},
    {"since", since},
    {"join", join},
    {"text", text},
    {"flag", flag},
    {"flag_value", flag},
    {"controller", controller},
    {0},
};
