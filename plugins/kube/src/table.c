/* The columns and cells of `kubectl get`: schema/columns.txt says what they are. */
#include <string.h>

#include "table_cell.h"

static const kube_column_t default_columns[] = {
    {"Name", "string", "name", "", "name", 0},
    {"Age", "string", "", "", "age", 0},
    {0},
};

static const kube_column_t *columns_of(const kube_resource_t *r) {
  return r->columns ? r->columns : default_columns;
}

void kube_table_columns(kg_pack_t *p, const kube_resource_t *r) {
  kg_pack_array(p);
  for (const kube_column_t *c = columns_of(r); c->name; c++) {
    kg_pack_map(p);
    kg_pack_kv_str(p, "name", c->name);
    kg_pack_kv_str(p, "type", c->type);
    kg_pack_kv_str(p, "format", c->format);
    kg_pack_kv_str(p, "description", c->description);
    kg_pack_kv_int(p, "priority", c->priority);
    kg_pack_end(p);
  }
  kg_pack_end(p);
}

/* A value found by a path, in the column's type. */
static void path_cell(const kube_cell_t *c) {
  kg_view_t v = kube_view_dots(c->o, c->path);
  kg_vtype_t t = kg_view_type(v);
  if (strcmp(c->column->type, "boolean") == 0) {
    kg_pack_bool(c->p, kg_view_bool(v, false));
  } else if (strcmp(c->column->type, "integer") == 0 || t == KG_V_INT) {
    kg_pack_int(c->p, kg_view_int(v, 0));
  } else if (t == KG_V_STR) {
    kube_cell_str(c, kg_view_str(v), c->empty);
  } else if (t == KG_V_NONE || t == KG_V_NIL) {
    kg_pack_str(c->p, c->empty);
  } else {
    kg_pack_view(c->p, v);
  }
}

static const kube_cell_fn_t *find_cell(kg_str_t name) {
  static const kube_cell_fn_t *const tables[] = {kube_cells_general, kube_cells_pod,   kube_cells_workload,
                                                 kube_cells_network, kube_cells_other, kube_cells_custom};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
    for (const kube_cell_fn_t *f = tables[i]; f->name; f++) {
      if (kg_str_is(name, f->name)) return f;
    }
  }
  return NULL;
}

/* CELL of columns.txt: ".path", "fn" or "fn(.path)", each perhaps with "|TEXT". */
static void pack_cell(kg_pack_t *p, const kube_column_t *column, kg_view_t object, int64_t now_us) {
  const char *text = column->json_path, *bar = strchr(text, '|'), *open = strchr(text, '(');
  const char *end = bar ? bar : text + strlen(text);
  kube_cell_t c = {.p = p, .column = column, .o = object, .empty = bar ? bar + 1 : "", .now = now_us};
  if (*text == '.') {
    c.path = (kg_str_t){text + 1, (size_t)(end - text - 1)};
    path_cell(&c);
    return;
  }
  if (open && open < end) c.path = (kg_str_t){open + 2, (size_t)(end - open - 3)};
  const kube_cell_fn_t *f = find_cell((kg_str_t){text, (size_t)((open && open < end ? open : end) - text)});
  if (f) {
    f->fn(&c);
  } else {
    kg_pack_nil(p);
  }
}

void kube_table_cells(kg_pack_t *p, const kube_resource_t *r, kg_view_t object, int64_t now_us) {
  kg_pack_array(p);
  for (const kube_column_t *c = columns_of(r); c->name; c++) pack_cell(p, c, object, now_us);
  kg_pack_end(p);
}
