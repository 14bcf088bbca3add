/* Cells of custom kinds: values found by the JSON paths of their definitions. */
#include <stdlib.h>
#include <string.h>

#include "kube/values.h"
#include "table_cell.h"

/* A step of a path: what is left of it is moved on. */
static bool starts(kg_str_t *p, const char *z) {
  size_t n = strlen(z);
  if (p->n < n || memcmp(p->p, z, n)) return false;
  p->p += n, p->n -= n;
  return true;
}

static kg_str_t until(kg_str_t *p, const char *stop) {
  kg_str_t out = *p;
  size_t n = 0;
  while (n < p->n && !strchr(stop, p->p[n])) n++;
  out.n = n;
  p->p += n, p->n -= n;
  return out;
}

static kg_view_t member(kg_view_t v, kg_str_t key) {
  for (kg_iter_t it = kg_iter(v); kg_view_type(v) == KG_V_MAP && kg_iter_next(&it);)
    if (kg_str_eq(kg_view_str(it.key), key)) return it.value;
  return (kg_view_t){0};
}

/* A field name: dots in it are escaped. */
static kg_view_t field(kg_view_t v, kg_str_t *p) {
  char name[256];
  size_t n = 0;
  while (p->n && p->p[0] != '.' && p->p[0] != '[') {
    if (p->p[0] == '\\' && p->n > 1) p->p++, p->n--;
    if (n < sizeof name) name[n++] = p->p[0];
    p->p++, p->n--;
  }
  return member(v, (kg_str_t){name, n});
}

/* [?(@.type=="Ready")]: the first element that fits. */
static kg_view_t filter(kg_view_t v, kg_str_t *p) {
  kg_str_t key = until(p, "= !<>");
  while (p->n && strchr("= ", p->p[0])) p->p++, p->n--;
  char quote = p->n ? p->p[0] : 0;
  kg_str_t wanted;
  if (quote == '"' || quote == '\'') {
    p->p++, p->n--;
    wanted = until(p, quote == '"' ? "\"" : "'");
  } else {
    wanted = until(p, ")");
  }
  until(p, "]");
  starts(p, "]");
  for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);)
    if (kg_str_eq(kg_view_str(kube_view_dots(it.value, key)), wanted)) return it.value;
  return (kg_view_t){0};
}

static kg_view_t bracket(kg_view_t v, kg_str_t *p) {
  if (starts(p, "?(@.")) return filter(v, p);
  if (starts(p, "'") || starts(p, "\"")) {
    kg_str_t key = until(p, "'\"");
    until(p, "]");
    starts(p, "]");
    return member(v, key);
  }
  kg_str_t index = until(p, "]");
  starts(p, "]");
  size_t i = index.n && index.p[0] >= '0' && index.p[0] <= '9' ? strtoul(index.p, NULL, 10) : 0;
  return kg_view_type(v) == KG_V_ARRAY ? kg_view_at(v, i) : (kg_view_t){0};
}

static kg_view_t find(kg_view_t v, kg_str_t path) {
  while (path.n && kg_view_there(v)) {
    if (starts(&path, "["))
      v = bracket(v, &path);
    else if (!starts(&path, "."))
      v = field(v, &path);
  }
  return v;
}

static void as_text(const kube_cell_t *c, kg_view_t v) {
  kube_buf_t b = {0};
  if (kg_view_type(v) == KG_V_STR) {
    kg_pack_strn(c->p, kg_view_str(v));
    return;
  }
  kube_json_write(&b, v);
  kg_pack_strn(c->p, (kg_str_t){b.p ? b.p : "", b.n});
  kube_buf_free(&b);
}

static void as_date(const kube_cell_t *c, kg_view_t v) {
  char text[32];
  int64_t us;
  kg_str_t t = kg_view_str(v);
  if (kube_time_parse(t, &us) != 0) {
    kg_pack_str(c->p, "<invalid>");
    return;
  }
  kube_since_text(text, t, c->now);
  kg_pack_str(c->p, text);
}

/* A value that does not fit the column's type is left empty. */
static void custom(const kube_cell_t *c) {
  kg_view_t v = find(c->o, c->path);
  kg_vtype_t t = kg_view_type(v);
  const char *type = c->column->type;
  bool number = t == KG_V_INT || t == KG_V_FLOAT;
  if (t == KG_V_NONE || t == KG_V_NIL)
    kg_pack_nil(c->p);
  else if (!strcmp(type, "string"))
    as_text(c, v);
  else if (!strcmp(type, "date"))
    as_date(c, v);
  else if ((!strcmp(type, "integer") || !strcmp(type, "number")) && number)
    kg_pack_view(c->p, v);
  else if (!strcmp(type, "boolean") && t == KG_V_BOOL)
    kg_pack_view(c->p, v);
  else
    kg_pack_nil(c->p);
}

const kube_cell_fn_t kube_cells_custom[] = {{"custom", custom}, {0}};
