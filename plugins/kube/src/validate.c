/* Validation: metadata, then the rules of schema/validate.txt on every struct of an object. */
#include <string.h>

#include "validate.h"

/* --- the rules of one struct ----------------------------------------------------------------------------------- */

static void run_each(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *list) {
  if (!list || list->type != KG_V_ARRAY) return;
  for (uint32_t i = 0; i < list->c.n; i++) {
    if (r->as) {
      r->fn(c, r, list->c.items[i], NULL);
      continue;
    }
    size_t n = kube_path_push(c, r->field);
    kube_path_index(c, i);
    r->fn(c, r, list->c.items[i], NULL);
    kube_path_pop(c, n);
  }
}

static void run(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *n, const kube_node_t *old) {
  if (r->names) return;
  if (r->each) return run_each(c, r, kube_node_look(n, r->field));
  if (r->field[0] == '-') return r->fn(c, r, n, old);
  r->fn(c, r, kube_node_look(n, r->field), old ? kube_node_look(old, r->field) : NULL);
}

/* The first complaint about a field ends the checks of that field. */
static void check_struct(kube_check_t *c, const kube_type_t *t, const kube_node_t *n, const kube_node_t *old) {
  const char *complained = NULL;
  const kube_node_t *outer = c->self;
  c->self = n;
  for (const kube_check_rule_t *r = t->checks; r && r->field; r++) {
    if (complained && !strcmp(complained, r->field) && r->field[0] != '-') continue;
    if (r->when && !kube_condition(n, r->when)) continue;
    uint32_t before = c->causes->c.n;
    run(c, r, n, old);
    if (c->causes->c.n != before) complained = r->field;
  }
  c->self = outer;
}

/* --- the whole object ------------------------------------------------------------------------------------------ */

static void walk(kube_check_t *c, const kube_type_t *t, const kube_node_t *n, const kube_node_t *old);

static void walk_field(kube_check_t *c, const kube_field_t *f, const kube_node_t *v, const kube_node_t *old) {
  size_t before = kube_path_push(c, f->name);
  if (f->shape == KUBE_ONE) {
    walk(c, f->type, v, old);
  } else if (v->type == KG_V_ARRAY || v->type == KG_V_MAP) {
    for (uint32_t i = 0; i < v->c.n; i++) {
      size_t inner = v->type == KG_V_ARRAY ? kube_path_index(c, i) : kube_path_key(c, v->c.keys[i]);
      walk(c, f->type, v->c.items[i], NULL);
      kube_path_pop(c, inner);
    }
  }
  kube_path_pop(c, before);
}

static void walk(kube_check_t *c, const kube_type_t *t, const kube_node_t *n, const kube_node_t *old) {
  if (!n || n->type != KG_V_MAP) return;
  if (t->checks) check_struct(c, t, n, old);
  for (const kube_field_t *f = t->fields; f->name; f++) {
    if (f->kind != KUBE_T_STRUCT || f->opaque || !f->type->checked) continue;
    if (!c->n && !strcmp(f->name, "status") == !c->status) continue;
    const kube_node_t *v = kube_get(n, f->name);
    if (v) walk_field(c, f, v, kube_get(old, f->name));
  }
}

/* What metadata.name must look like. */
static kube_form_fn name_form(const kube_type_t *t) {
  for (const kube_check_rule_t *r = t->checks; r && r->field; r++)
    if (r->names) return r->form;
  return kube_form_dns1123_subdomain;
}

void kube_validate(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *object, const kube_node_t *old,
                   bool status, kube_node_t *causes) {
  kube_check_t c = {.a = a, .causes = causes, .r = r, .root = object, .old_root = old, .status = status};
  if (!r->virtual_) kube_check_metadata(&c, name_form(r->type));
  if (r->type->checked) walk(&c, r->type, object, old);
}
