#ifndef KUBE_TABLE_CELL_H
#define KUBE_TABLE_CELL_H
/* Cells of tables: what the functions of table_cells*.c share. Each packs exactly one value. */
#include "kube/json.h"
#include "kube/schema.h"

typedef struct kube_cell {
  kg_pack_t *p;
  const kube_column_t *column;
  kg_view_t o;       /* the object */
  kg_str_t path;     /* argument of name(.path), without the dot */
  const char *empty; /* text for an empty value, never NULL */
  int64_t now;       /* microseconds since 1970 */
} kube_cell_t;

typedef struct kube_cell_fn {
  const char *name;
  void (*fn)(const kube_cell_t *c);
} kube_cell_fn_t;
/* Tables of functions, each ends with name NULL. */
extern const kube_cell_fn_t kube_cells_general[], kube_cells_pod[], kube_cells_workload[], kube_cells_network[],
    kube_cells_other[], kube_cells_custom[];

kg_view_t kube_view_dots(kg_view_t v, kg_str_t path);   /* "spec.nodeName" */
kg_view_t kube_view_in(kg_view_t v, const char *path);  /* the same from a literal */
kg_str_t kube_view_text(kg_view_t v, const char *path); /* string at path, empty if none */

void kube_duration_text(char out[32], int64_t seconds); /* as Kubernetes prints ages */
/* "5m" since the RFC 3339 time `t`; "<unknown>" when there is none. */
void kube_since_text(char out[32], kg_str_t t, int64_t now_us);
/* Packs what is in b (or `empty` when nothing is) and frees it. */
void kube_cell_take(const kube_cell_t *c, kube_buf_t *b, const char *empty);
void kube_cell_str(const kube_cell_t *c, kg_str_t s, const char *empty);
void kube_buf_str(kube_buf_t *b, kg_str_t s);
/* "a=b,c=d" in order of the keys. */
void kube_labels_text(kube_buf_t *b, kg_view_t labels);
void kube_selector_text(kube_buf_t *b, kg_view_t selector); /* a LabelSelector as Kubernetes prints it */
/* Comma-separated values of `key` in a list of maps. */
void kube_list_text(kube_buf_t *b, kg_view_t list, const char *key);

#endif
