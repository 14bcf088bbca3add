/* What every object's metadata must be. */
#include <string.h>

#include "validate.h"

typedef struct at {
  kube_check_t *c;
  const char *field;
  kg_str_t value;
} at_t;

static void complain_at(void *arg, const char *sentence) {
  const at_t *at = arg;
  kube_invalid_str(at->c, at->field, at->value, sentence);
}

void kube_check_form(kube_check_t *c, const char *field, kg_str_t value, kube_form_fn form) {
  at_t at = {c, field, value};
  form(value.p ? value : KG_STR(""), complain_at, &at);
}

void kube_check_labels(kube_check_t *c, const char *field, const kube_node_t *labels) {
  if (!labels || labels->type != KG_V_MAP) return;
  for (uint32_t i = 0; i < labels->c.n; i++) {
    kube_check_form(c, field, labels->c.keys[i], kube_form_qualified_name);
    kube_check_form(c, field, kube_node_str(labels->c.items[i]), kube_form_label_value);
  }
}

enum { MOST_ANNOTATION_BYTES = 256 * 1024 };

void kube_check_annotations(kube_check_t *c, const char *field, const kube_node_t *annotations) {
  if (!annotations || annotations->type != KG_V_MAP) return;
  size_t bytes = 0;
  for (uint32_t i = 0; i < annotations->c.n; i++) {
    kg_str_t key = annotations->c.keys[i];
    char *low = kube_arena_fmt(c->a, KG_STR_FMT, KG_STR_ARG(key));
    for (char *p = low; *p; p++) *p = *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p;
    at_t at = {c, field, key};
    kube_form_qualified_name(kg_str(low), complain_at, &at);
    bytes += key.n + kube_node_str(annotations->c.items[i]).n;
  }
  if (bytes > MOST_ANNOTATION_BYTES) kube_too_long(c, field, MOST_ANNOTATION_BYTES);
}

static bool check_owner_text(kube_check_t *c, const kube_node_t *ref, const char *key, const char *words) {
  if (!kube_node_empty(kube_get(ref, key))) return true;
  kube_invalid_str(c, key, KG_STR(""), words);
  return false;
}

static void check_owners(kube_check_t *c, const kube_node_t *meta) {
  const kube_node_t *list = kube_get(meta, "ownerReferences"), *first = NULL;
  if (!list || list->type != KG_V_ARRAY) return;
  size_t n = kube_path_push(c, "ownerReferences");
  for (uint32_t i = 0; i < list->c.n; i++) {
    const kube_node_t *ref = list->c.items[i];
    check_owner_text(c, ref, "apiVersion", "version must not be empty");
    check_owner_text(c, ref, "kind", "must not be empty");
    check_owner_text(c, ref, "name", "must not be empty");
    check_owner_text(c, ref, "uid", "must not be empty");
    if (!kube_node_bool(kube_get(ref, "controller"), false)) continue;
    if (!first) {
      first = ref;
      continue;
    }
    kg_str_t a = kube_node_str(kube_get(first, "name")), b = kube_node_str(kube_get(ref, "name"));
    kube_path_pop(c, n);
    kube_invalid(c, "ownerReferences", list,
                 kube_arena_fmt(
                     c->a,
                     "Only one reference can have Controller set to true. Found \"true\" in references for " KG_STR_FMT
                     " and " KG_STR_FMT,
                     KG_STR_ARG(a), KG_STR_ARG(b)));
    kube_path_push(c, "ownerReferences");
  }
  kube_path_pop(c, n);
}

static void finalizer_names(kube_check_t *c, const char *field, const kube_node_t *list) {
  for (uint32_t i = 0; list && list->type == KG_V_ARRAY && i < list->c.n; i++)
    kube_check_form(c, field, kube_node_str(list->c.items[i]), kube_form_qualified_name);
}

/* What has no domain must be one of Kubernetes' own. at: what each error is told at, NULL: with its index. */
static void own_finalizers(kube_check_t *c, const char *at, const kube_node_t *list) {
  for (uint32_t i = 0; list && list->type == KG_V_ARRAY && i < list->c.n; i++) {
    kg_str_t s = kube_node_str(list->c.items[i]);
    bool own = kg_str_is(s, "kubernetes") || kg_str_is(s, "orphan") || kg_str_is(s, "foregroundDeletion");
    if (own || (s.n && memchr(s.p, '/', s.n))) continue;
    kube_invalid_str(c, at ? at : kube_arena_fmt(c->a, "finalizers[%u]", i), s,
                     "name is neither a standard finalizer name nor is it fully qualified");
  }
}

void kube_check_finalizers(kube_check_t *c, const char *field, const kube_node_t *list) {
  finalizer_names(c, field, list);
  own_finalizers(c, field, list);
}

static void check_names(kube_check_t *c, const kube_node_t *meta, kube_form_fn form) {
  kg_str_t generate = kube_node_str(kube_get(meta, "generateName")), name = kube_node_str(kube_get(meta, "name"));
  if (generate.n) {
    /* A prefix may end in a dash: something follows it. */
    kg_str_t tried = generate;
    if (tried.p[tried.n - 1] == '-') tried = kg_str(kube_arena_fmt(c->a, "%.*sa", (int)tried.n - 1, tried.p));
    at_t at = {c, "generateName", generate};
    form(tried, complain_at, &at);
  }
  if (name.n) {
    kube_check_form(c, "name", name, form);
  } else {
    kube_required(c, "name", "name or generateName is required");
  }
  kg_str_t ns = kube_node_str(kube_get(meta, "namespace"));
  if (!c->r->namespaced) {
    if (ns.n) kube_forbidden(c, "namespace", "not allowed on this type");
  } else if (ns.n) {
    kube_check_form(c, "namespace", ns, kube_form_dns1123_label);
  } else {
    kube_required(c, "namespace", NULL);
  }
}

static void check_kept(kube_check_t *c, const kube_node_t *meta, const kube_node_t *old) {
  static const char *const kept[] = {
      "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"};
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
    const kube_node_t *now = kube_get(meta, kept[i]), *before = kube_get(old, kept[i]);
    if (kube_node_empty(now) && kube_node_empty(before)) continue;
    if (!kube_tree_equal(now, before)) kube_invalid(c, kept[i], now ? now : kube_nil(c->a), "field is immutable");
  }
}

static void check_maps(kube_check_t *c, const kube_node_t *meta) {
  kube_check_labels(c, "labels", kube_get(meta, "labels"));
  kube_check_annotations(c, "annotations", kube_get(meta, "annotations"));
  check_owners(c, meta);
}

/* As on a creation. */
static void check_whole(kube_check_t *c, const kube_node_t *meta, kube_form_fn form, bool generic) {
  check_names(c, meta, form);
  check_maps(c, meta);
  finalizer_names(c, "finalizers", kube_get(meta, "finalizers"));
  if (!generic) own_finalizers(c, NULL, kube_get(meta, "finalizers"));
}

/* While an object goes, nothing new may hold it. */
static void check_no_new_finalizers(kube_check_t *c, const kube_node_t *meta, const kube_node_t *old) {
  const kube_node_t *now = kube_get(meta, "finalizers"), *before = kube_get(old, "finalizers");
  kube_node_t *extra = kube_array(c->a);
  if (kube_node_empty(kube_get(old, "deletionTimestamp"))) return;
  kube_node_t *known = kube_map(c->a);
  for (uint32_t i = 0; i < kube_count(before); i++) kube_setn(c->a, known, kube_node_str(before->c.items[i]), known);
  for (uint32_t i = 0; i < kube_count(now); i++)
    if (!kube_getn(known, kube_node_str(now->c.items[i]))) kube_push(c->a, extra, now->c.items[i]);
  if (extra->c.n)
    kube_forbidden(
        c, "finalizers",
        kube_arena_fmt(
            c->a, "no new finalizers can be added if the object is being deleted, found new finalizers []string{%s}",
            kube_value_list(c, extra)));
}

static void check_update(kube_check_t *c, const kube_node_t *meta, const kube_node_t *old) {
  check_no_new_finalizers(c, meta, old);
  check_kept(c, meta, old);
  check_maps(c, meta);
}

/* An update is looked at by what all kinds share and again by the kind, so that errors come several times: passes says
 * how often the kind checks the update, and the new object as a whole. */
void kube_check_metadata(kube_check_t *c, kube_form_fn name_form, const kube_passes_t *passes) {
  const kube_node_t *meta = kube_get(c->root, "metadata"), *old = kube_get(c->old_root, "metadata");
  size_t n = kube_path_push(c, "metadata");
  if (!c->old_root) {
    check_whole(c, meta, name_form, passes->generic);
  } else {
    check_whole(c, meta, kube_form_path_segment, true);
    check_update(c, meta, old);
    for (int i = 0; i < passes->update; i++) {
      check_update(c, meta, old);
      if (!passes->generic) own_finalizers(c, NULL, kube_get(meta, "finalizers"));
    }
    for (int i = 0; i < passes->whole && !c->status; i++) check_whole(c, meta, name_form, passes->generic);
  }
  kube_path_pop(c, n);
}
