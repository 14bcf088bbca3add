/* Places in objects: what schemas say of merging. */
#include <stdio.h>
#include <string.h>

#include "kube/json.h"
#include "place.h"
#include "schema_tables.h"

kube_place_t kube_place_root(const kube_resource_t *r) {
  return r->structural ? (kube_place_t){.t = r->type, .s = r->structural} : (kube_place_t){.t = r->type};
}

static bool collection(const kube_node_t *n) {
  return n && (n->type == KG_V_MAP || n->type == KG_V_ARRAY);
}

/* Without a schema: maps are merged by their keys, all else is a value. */
static kube_merge_t by_value(const kube_node_t *a, const kube_node_t *b) {
  bool map = (!collection(a) || a->type == KG_V_MAP) && (!collection(b) || b->type == KG_V_MAP);
  return map && (collection(a) || collection(b)) ? KUBE_FIELDS : KUBE_LEAF;
}

static kube_merge_t by_list(kube_list_t list) {
  return list == KUBE_LIST_SET ? KUBE_SET : list == KUBE_LIST_MAP ? KUBE_KEYED : KUBE_LEAF;
}

static kube_merge_t of_field(const kube_place_t *p, const kube_node_t *a, const kube_node_t *b) {
  switch (p->shape) {
  case KUBE_LIST:
    return by_list(p->f->list);
  case KUBE_MAP:
  case KUBE_MAP_LIST:
    return p->f->map_atomic ? KUBE_LEAF : KUBE_FIELDS;
  default:
    if (p->f->kind == KUBE_T_STRUCT) return p->f->map_atomic || p->f->type->map_atomic ? KUBE_LEAF : KUBE_FIELDS;
    return p->f->kind == KUBE_T_RAW ? by_value(a, b) : KUBE_LEAF;
  }
}

kube_merge_t kube_place_merge(const kube_place_t *p, const kube_node_t *a, const kube_node_t *b) {
  if (p->s) {
    if (p->s->int_or_string) return KUBE_LEAF;
    if (p->s->type == KUBE_S_ARRAY) return by_list(p->s->list);
    if (p->s->type == KUBE_S_OBJECT) return p->s->map_atomic ? KUBE_LEAF : KUBE_FIELDS;
    return by_value(a, b);
  }
  if (p->f) return of_field(p, a, b);
  return p->t ? KUBE_FIELDS : by_value(a, b);
}

kube_place_t kube_place_field(const kube_place_t *p, kg_str_t name, bool *known) {
  const kube_type_t *t = p->t ? p->t : p->f && p->shape == KUBE_ONE ? p->f->type : NULL;
  const kube_field_t *f = NULL;
  if (p->f && p->shape == KUBE_MAP) return (kube_place_t){.f = p->f, .shape = KUBE_ONE};
  if (p->f && p->shape == KUBE_MAP_LIST) return (kube_place_t){.f = p->f, .shape = KUBE_LIST};
  if (t && p->f && p->f->kind != KUBE_T_STRUCT) t = NULL;
  f = t ? kube_field_find(t, name) : NULL;
  if (known) *known = f != NULL;
  if (f) return (kube_place_t){.f = f, .shape = f->shape};
  const kube_structural_t *s = p->s ? kube_structural_field(p->s, name) : NULL;
  if (known) *known |= s != NULL;
  if (!s && p->s) s = p->s->additional;
  return (kube_place_t){.s = s};
}

kube_place_t kube_place_item(const kube_place_t *p) {
  if (p->s) return (kube_place_t){.s = p->s->items};
  return p->f ? (kube_place_t){.f = p->f, .shape = KUBE_ONE} : (kube_place_t){0};
}

const char *const *kube_place_keys(const kube_place_t *p) {
  return p->s ? p->s->list_keys : p->f ? p->f->list_keys : NULL;
}

/* The value an element has for a key: one that has a default may be left out. */
static const kube_node_t *key_value(kube_arena_t *a, const kube_place_t *item, const kube_node_t *element,
                                    const char *key) {
  const kube_node_t *v = kube_get(element, key);
  if (v && v->type != KG_V_NIL) return v;
  kube_place_t field = kube_place_field(item, kg_str(key), NULL);
  if (field.s && field.s->dflt) return field.s->dflt;
  return field.f && field.f->dflt ? kube_literal(a, field.f->dflt) : NULL;
}

static int by_text(const void *x, const void *y) {
  return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static void write_json(kube_buf_t *b, const kube_node_t *n) {
  kg_doc_t *doc = kube_tree_doc(n);
  if (doc) kube_json_write(b, kg_view_of(doc));
  kg_doc_unref(doc);
}

static const char *text_of(kube_arena_t *a, kube_buf_t *b) {
  const char *text = kube_arena_fmt(a, "%.*s", (int)b->n, b->p ? b->p : "");
  kube_buf_free(b);
  return text;
}

const char *kube_element_key(kube_arena_t *a, const kube_place_t *p, const kube_node_t *element) {
  const char *const *keys = kube_place_keys(p);
  const char *sorted[16];
  size_t n = 0;
  kube_buf_t b = {0};
  if (!keys) {
    kube_buf_addz(&b, "v:");
    write_json(&b, element);
    return text_of(a, &b);
  }
  kube_place_t item = kube_place_item(p);
  for (; keys[n] && n < 16; n++) sorted[n] = keys[n];
  for (size_t i = 1; i < n; i++)
    for (size_t j = i; j && by_text(&sorted[j - 1], &sorted[j]) > 0; j--) {
      const char *t = sorted[j];
      sorted[j] = sorted[j - 1];
      sorted[j - 1] = t;
    }
  kube_buf_addz(&b, "k:{");
  bool any = false;
  for (size_t i = 0; i < n; i++) {
    const kube_node_t *v = key_value(a, &item, element, sorted[i]);
    if (!v) continue;
    if (any) kube_buf_addz(&b, ",");
    kube_json_string(&b, kg_str(sorted[i]));
    kube_buf_addz(&b, ":");
    write_json(&b, v);
    any = true;
  }
  kube_buf_addz(&b, "}");
  if (!any) {
    kube_buf_free(&b);
    return NULL;
  }
  return text_of(a, &b);
}
