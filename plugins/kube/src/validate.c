/* Validation: metadata, then the rules of schema/validate.txt on every struct of an object. */
#include <string.h>

#include "structural.h"
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
static void check_struct(kube_check_t *c, const kube_type_t *t, const kube_node_t *n, const kube_node_t *old,
                         bool late) {
  const char *complained = NULL;
  const kube_node_t *outer = c->self;
  const kube_type_t *outer_type = c->type;
  c->self = n;
  c->type = t;
  for (const kube_check_rule_t *r = t->checks; r && r->field; r++) {
    if (r->late != late) continue;
    if (complained && !strcmp(complained, r->field) && r->field[0] != '-' && !r->kept) continue;
    if (r->fresh && c->updating) continue;
    if (r->when && !kube_condition(n, r->when)) continue;
    uint32_t before = c->causes->c.n;
    run(c, r, n, old);
    if (c->causes->c.n != before) complained = r->field;
  }
  c->self = outer;
  c->type = outer_type;
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
  check_struct(c, t, n, old, false);
  for (const kube_field_t *f = t->fields; f->name; f++) {
    if (f->kind != KUBE_T_STRUCT || f->opaque || !f->type->checked) continue;
    if (!c->n && !strcmp(f->name, "status") == !c->status) continue;
    const kube_node_t *v = kube_get(n, f->name);
    if (v) walk_field(c, f, v, kube_get(old, f->name));
  }
  check_struct(c, t, n, old, true);
}

void kube_check_struct(kube_check_t *c, const kube_type_t *t, const kube_node_t *n) {
  walk(c, t, n, NULL);
}

/* What the rules of the kind itself say of its metadata. */
static kube_form_fn read_passes(const kube_type_t *t, kube_passes_t *p) {
  kube_form_fn form = kube_form_dns1123_subdomain;
  *p = (kube_passes_t){.update = 1, .whole = 1, .spec = 1, .create = 1};
  for (const kube_check_rule_t *r = t->checks; r && r->field; r++) {
    if (!r->names) continue;
    if (r->form) form = r->form;
    if (r->fn == kube_rule_generic) p->generic = true;
    if (r->fn == kube_rule_twice) p->create = 2;
    if (r->fn == kube_rule_passes) p->update = (int)r->low, p->whole = (int)r->high, p->spec = r->text ? 2 : 1;
  }
  return form;
}

static void check_new(kube_check_t *c, kube_form_fn form, const kube_passes_t *p) {
  for (int i = 0; i < p->create; i++) {
    if (!c->r->virtual_) kube_check_metadata(c, form, p);
    if (c->r->type->checked) walk(c, c->r->type, c->root, NULL);
  }
}

static void check_changed(kube_check_t *c, kube_form_fn form, const kube_passes_t *p) {
  kube_check_metadata(c, form, p);
  if (!c->r->type->checked) return;
  walk(c, c->r->type, c->root, c->old_root);
  c->old_root = NULL; /* what compares with it was told */
  for (int i = 1; i < p->spec; i++) walk(c, c->r->type, c->root, NULL);
}

void kube_validate(kube_arena_t *a, const kube_resource_t *r, const kube_node_t *object, const kube_node_t *old,
                   bool status, kube_node_t *causes) {
  kube_check_t c = {
      .a = a, .causes = causes, .r = r, .root = object, .old_root = old, .status = status, .updating = old != NULL};
  kube_passes_t passes;
  if (r->structural) return kube_custom_validate(&c);
  kube_form_fn form = read_passes(r->type, &passes);
  if (old)
    check_changed(&c, form, &passes);
  else
    check_new(&c, form, &passes);
}

bool kube_guarded(const kube_resource_t *r) {
  if (r->structural) return true;
  for (const kube_check_rule_t *rule = r->type->checks; rule && rule->field; rule++)
    if (rule->fn == kube_rule_guarded) return true;
  return false;
}
