/* CustomResourceDefinitions. */
#include <string.h>

#include "kube/custom.h"
#include "validate.h"

static void dns1035(kube_check_t *c, const char *field, kg_str_t s) {
  kube_check_form(c, field, s, kube_form_dns1035_label);
}

/* --- names ------------------------------------------------------------------------------------------------------ */

typedef struct mixed {
  kube_check_t *c;
  const char *field;
  kg_str_t value;
} mixed_t;

static void complain_mixed(void *arg, const char *sentence) {
  const mixed_t *m = arg;
  kube_invalid_str(m->c, m->field, m->value,
                   kube_arena_fmt(m->c->a, "may have mixed case, but should otherwise match: %s", sentence));
}

static void check_kind(kube_check_t *c, const char *field, kg_str_t kind) {
  mixed_t m = {c, field, kind};
  char *low = kube_arena_fmt(c->a, KG_STR_FMT, KG_STR_ARG(kind));
  for (char *p = low; *p; p++)
    if (*p >= 'A' && *p <= 'Z') *p |= 0x20;
  if (kind.n) kube_form_dns1035_label(kg_str(low), complain_mixed, &m);
}

static void check_lists(kube_check_t *c, const kube_node_t *names) {
  static const char *const lists[] = {"shortNames", "categories"};
  for (int l = 0; l < 2; l++) {
    const kube_node_t *list = kube_get(names, lists[l]);
    for (uint32_t i = 0; i < kube_count(list); i++)
      dns1035(c, kube_arena_fmt(c->a, "%s[%u]", lists[l], i), kube_node_str(list->c.items[i]));
  }
}

static void check_names(kube_check_t *c, const kube_node_t *names) {
  static const char *const needed[] = {"plural", "singular", "kind", "listKind"};
  kg_str_t kind = kube_text(names, "kind"), list = kube_text(names, "listKind");
  size_t n = kube_path_push(c, "names");
  for (int i = 0; i < 4; i++)
    if (!kube_text(names, needed[i]).n) kube_required(c, needed[i], NULL);
  for (int i = 0; i < 2; i++)
    if (kube_text(names, needed[i]).n) dns1035(c, needed[i], kube_text(names, needed[i]));
  check_kind(c, "kind", kind);
  check_kind(c, "listKind", list);
  if (kind.n && kg_str_eq(kind, list)) kube_invalid_str(c, "listKind", list, "kind and listKind may not be the same");
  check_lists(c, names);
  kube_path_pop(c, n);
}

/* --- columns, subresources, selectable fields ------------------------------------------------------------------- */

/* ".spec.replicas": names with dots before them. */
static bool simple_path(kg_str_t p) {
  if (p.n < 2 || p.p[0] != '.') return false;
  for (size_t i = 0; i < p.n; i++)
    if (strchr(" \t!", p.p[i])) return false;
  return true;
}

static void check_columns(kube_check_t *c, const kube_node_t *list) {
  static const char words[] = "must be one of boolean,date,integer,number,string";
  static const char *const types[] = {"boolean", "date", "integer", "number", "string"};
  for (uint32_t i = 0; i < kube_count(list); i++) {
    const kube_node_t *col = list->c.items[i];
    kg_str_t type = kube_text(col, "type"), path = kube_text(col, "jsonPath");
    bool known = false;
    size_t n = kube_path_push(c, "additionalPrinterColumns");
    kube_path_index(c, i);
    for (int t = 0; t < 5; t++) known |= kg_str_is(type, types[t]);
    if (!kube_text(col, "name").n) kube_required(c, "name", NULL);
    if (!type.n)
      kube_required(c, "type", words);
    else if (!known)
      kube_invalid_str(c, "type", type, words);
    if (!path.n)
      kube_required(c, "JSONPath", NULL);
    else if (!simple_path(path))
      kube_invalid_str(c, "JSONPath", path, "must be a simple json path starting with .");
    kube_path_pop(c, n);
  }
}

static bool below(kg_str_t path, const char *root) {
  size_t n = strlen(root);
  return path.n > n && !memcmp(path.p, root, n) && path.p[n] == '.';
}

static void scale_path(kube_check_t *c, const kube_node_t *scale, const char *key, const char *root,
                       const char *other) {
  kg_str_t path = kube_text(scale, key);
  if (!path.n && !other) return kube_required(c, key, NULL);
  if (!path.n) return;
  if (!simple_path(path))
    kube_invalid_str(c, key, path, "must be a simple json path starting with .");
  else if (!below(path, root) && !(other && below(path, other)))
    kube_invalid_str(
        c, key, path,
        kube_arena_fmt(c->a, "must be a json path under %s%s%s", root, other ? " or " : "", other ? other : ""));
}

static void check_subresources(kube_check_t *c, const kube_node_t *subs) {
  const kube_node_t *scale = kube_get(subs, "scale");
  if (!scale || scale->type != KG_V_MAP) return;
  size_t n = kube_path_push(c, "subresources.scale");
  scale_path(c, scale, "specReplicasPath", ".spec", NULL);
  scale_path(c, scale, "statusReplicasPath", ".status", NULL);
  scale_path(c, scale, "labelSelectorPath", ".status", ".spec");
  kube_path_pop(c, n);
}

static const kube_node_t *schema_at(const kube_node_t *schema, kg_str_t path) {
  while (path.n && schema) {
    size_t n = 1;
    while (n < path.n && path.p[n] != '.') n++;
    schema = kube_getn(kube_get(schema, "properties"), (kg_str_t){path.p + 1, n - 1});
    path.p += n, path.n -= n;
  }
  return schema;
}

static void check_selectable(kube_check_t *c, const kube_node_t *list, const kube_node_t *schema) {
  kube_node_t *seen = kube_map(c->a);
  if (kube_count(list) > 8) kube_too_many(c, "selectableFields", kube_count(list), 8);
  for (uint32_t i = 0; i < kube_count(list); i++) {
    kg_str_t path = kube_text(list->c.items[i], "jsonPath");
    char *field = kube_arena_fmt(c->a, "selectableFields[%u].jsonPath", i);
    const kube_node_t *at = simple_path(path) ? schema_at(schema, path) : NULL;
    kg_str_t type = kube_text(at, "type");
    if (!path.n)
      kube_required(c, field, NULL);
    else if (below(path, ".metadata"))
      kube_invalid_str(c, field, path, "must not point to fields in metadata");
    else if (!at)
      kube_invalid_str(c, field, path, "is an invalid path: does not refer to a valid field");
    else if (!kg_str_is(type, "string") && !kg_str_is(type, "boolean") && !kg_str_is(type, "integer"))
      kube_invalid_str(c, field, path, "must point to a field of type string, boolean or integer");
    if (path.n && kube_noted(c, seen, kube_arena_fmt(c->a, KG_STR_FMT, KG_STR_ARG(path))))
      kube_duplicate(c, field, kube_get(list->c.items[i], "jsonPath"));
  }
}

/* --- versions --------------------------------------------------------------------------------------------------- */

/* What all versions have alike is told at the definition, as it once was written there. */
static bool alike(const kube_node_t *versions, const char *key) {
  for (uint32_t i = 1; i < kube_count(versions); i++)
    if (!kube_tree_equal(kube_get(versions->c.items[i], key), kube_get(versions->c.items[0], key))) return false;
  return true;
}

static void check_schema(kube_check_t *c, const kube_node_t *version, const char *at) {
  const kube_node_t *schema = kube_path(version, "schema", "openAPIV3Schema", NULL);
  if (!schema || schema->type != KG_V_MAP) return;
  if (kube_path(version, "subresources", "status", NULL) && kube_text(schema, "type").n &&
      !kube_is(schema, "type", "object"))
    kube_invalid(
        c, kube_arena_fmt(c->a, "%s.type", at), kube_get(schema, "type"),
        "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled");
  kube_structural_check(c->a, schema, kube_arena_fmt(c->a, "%s.%s", c->path, at), c->causes);
}

static void check_parts(kube_check_t *c, const kube_node_t *versions) {
  static const struct {
    const char *key, *at;
  } parts[] = {{"schema", "validation.openAPIV3Schema"}, {"subresources", ""}, {"additionalPrinterColumns", ""}};
  for (int p = 0; p < 3; p++) {
    bool once = alike(versions, parts[p].key);
    for (uint32_t i = 0; i < (once ? 1 : kube_count(versions)); i++) {
      const kube_node_t *v = versions->c.items[i];
      size_t n = c->n;
      if (!once) n = kube_path_push(c, "versions"), kube_path_index(c, i);
      if (p == 0) check_schema(c, v, once ? parts[0].at : "schema.openAPIV3Schema");
      if (p == 1) check_subresources(c, kube_get(v, "subresources"));
      if (p == 2) check_columns(c, kube_get(v, "additionalPrinterColumns"));
      kube_path_pop(c, n);
    }
  }
}

static void check_version(kube_check_t *c, const kube_node_t *v, uint32_t i) {
  const kube_node_t *schema = kube_path(v, "schema", "openAPIV3Schema", NULL);
  size_t n = kube_path_push(c, "versions");
  kube_path_index(c, i);
  dns1035(c, "name", kube_text(v, "name"));
  if (!schema || schema->type == KG_V_NIL) kube_required(c, "schema.openAPIV3Schema", "");
  if (kube_text(v, "deprecationWarning").n && !kube_node_bool(kube_get(v, "deprecated"), false))
    kube_invalid(c, "deprecationWarning", kube_get(v, "deprecationWarning"), "can only be set for deprecated versions");
  check_selectable(c, kube_get(v, "selectableFields"), schema);
  kube_path_pop(c, n);
}

static unsigned check_versions(kube_check_t *c, const kube_node_t *versions) {
  unsigned stored = 0;
  bool twice = false;
  kube_node_t *seen = kube_map(c->a);
  kube_node_t nothing = {.type = KG_V_ARRAY};
  for (uint32_t i = 0; i < kube_count(versions); i++) {
    const kube_node_t *v = versions->c.items[i];
    stored += kube_node_bool(kube_get(v, "storage"), false);
    twice |= kube_noted(c, seen, kube_arena_fmt(c->a, KG_STR_FMT, KG_STR_ARG(kube_text(v, "name"))));
    check_version(c, v, i);
  }
  const kube_node_t *all = versions && versions->type == KG_V_ARRAY ? versions : &nothing;
  if (twice) kube_invalid(c, "versions", all, "must contain unique version names");
  if (stored != 1) kube_invalid(c, "versions", all, "must have exactly one version marked as storage version");
  if (kube_count(versions) && kube_text(versions->c.items[0], "name").n)
    dns1035(c, "version", kube_text(versions->c.items[0], "name"));
  if (kube_count(versions)) check_parts(c, versions);
  return stored;
}

/* --- conversion ------------------------------------------------------------------------------------------------- */

static void check_conversion(kube_check_t *c, const kube_node_t *conversion) {
  kg_str_t strategy = kube_text(conversion, "strategy");
  const kube_node_t *webhook = kube_get(conversion, "webhook");
  size_t n = kube_path_push(c, "conversion");
  if (!strategy.n) {
    kube_required(c, "strategy", NULL);
  } else if (kg_str_is(strategy, "Webhook")) {
    if (!kube_get(webhook, "clientConfig"))
      kube_required(c, "webhookClientConfig", "required when strategy is set to Webhook");
    if (!kube_count(kube_get(webhook, "conversionReviewVersions"))) kube_required(c, "conversionReviewVersions", NULL);
    if (kube_get(webhook, "clientConfig"))
      kube_forbidden(c, "strategy", "conversion by webhooks is not supported by this server");
  } else if (kg_str_is(strategy, "None")) {
    if (kube_get(webhook, "clientConfig"))
      kube_forbidden(c, "webhookClientConfig", "should not be set when strategy is not set to Webhook");
    if (kube_count(kube_get(webhook, "conversionReviewVersions")))
      kube_forbidden(c, "conversionReviewVersions", "should not be set when strategy is not set to Webhook");
  } else {
    kube_unsupported(c, "strategy", kube_get(conversion, "strategy"), "None Webhook");
  }
  kube_path_pop(c, n);
}

/* --- the definition --------------------------------------------------------------------------------------------- */

static bool ends(kg_str_t s, const char *z) {
  size_t n = strlen(z);
  return (s.n == n || (s.n > n && s.p[s.n - n - 1] == '.')) && !memcmp(s.p + s.n - n, z, n);
}

static void check_group(kube_check_t *c, kg_str_t group) {
  if (!group.n) return kube_required(c, "group", NULL);
  kube_check_form(c, "group", group, kube_form_dns1123_subdomain);
}

static void check_approval(kube_check_t *c, kg_str_t group) {
  static const char key[] = "api-approved.kubernetes.io";
  if (!ends(group, "k8s.io") && !ends(group, "kubernetes.io")) return;
  const kube_node_t *v = kube_get(kube_path(c->root, "metadata", "annotations", NULL), key);
  kg_str_t s = kube_node_str(v);
  char *field = kube_arena_fmt(c->a, "metadata.annotations[%s]", key);
  bool good = (s.n > 8 && !memcmp(s.p, "https://", 8)) || (s.n >= 10 && !memcmp(s.p, "unapproved", 10));
  if (!v)
    kube_required(c, field,
                  "protected groups must have approval annotation \"api-approved.kubernetes.io\", see "
                  "https://github.com/kubernetes/enhancements/pull/1111");
  else if (!good)
    kube_invalid(c, field, v,
                 "protected groups must have approval annotation with either a URL or a reason starting "
                 "with \"unapproved\"");
}

static void check_name(kube_check_t *c, const kube_node_t *spec) {
  kg_str_t name = kube_node_str(kube_path(c->root, "metadata", "name", NULL)), group = kube_text(spec, "group"),
           plural = kube_text(kube_get(spec, "names"), "plural");
  char *wanted = kube_arena_fmt(c->a, KG_STR_FMT "." KG_STR_FMT, KG_STR_ARG(plural), KG_STR_ARG(group));
  if (name.n && !kg_str_is(name, wanted))
    kube_invalid_str(c, "metadata.name", name, "must be spec.names.plural+\".\"+spec.group");
}

static void check_kept(kube_check_t *c, const kube_node_t *spec, const kube_node_t *old) {
  static const char *const keys[] = {"group", "scope", "names.kind", "names.plural"};
  for (int i = 0; i < 4; i++) {
    const kube_node_t *now = kube_node_look(spec, keys[i]), *was = kube_node_look(old, keys[i]);
    if (!kube_tree_equal(now, was)) kube_invalid(c, keys[i], now ? now : kube_str(c->a, ""), "field is immutable");
  }
}

static void check_spec(kube_check_t *c, const kube_node_t *spec, unsigned *stored) {
  const kube_node_t *scope = kube_get(spec, "scope"), *preserve = kube_get(spec, "preserveUnknownFields");
  size_t n = kube_path_push(c, "spec");
  check_group(c, kube_text(spec, "group"));
  if (!kube_node_str(scope).n)
    kube_required(c, "scope", NULL);
  else if (!kube_is(spec, "scope", "Cluster") && !kube_is(spec, "scope", "Namespaced"))
    kube_unsupported(c, "scope", scope, "Cluster Namespaced");
  check_names(c, kube_get(spec, "names"));
  *stored = check_versions(c, kube_get(spec, "versions"));
  if (kube_node_bool(preserve, false))
    kube_invalid(
        c, "preserveUnknownFields", preserve,
        "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead");
  check_conversion(c, kube_get(spec, "conversion"));
  kube_path_pop(c, n);
}

/* What is stored in a version can be read only as long as the version is there. */
static void check_stored(kube_check_t *c, const kube_node_t *versions, const kube_node_t *kept) {
  for (uint32_t i = 0; i < kube_count(kept); i++) {
    bool there = false;
    for (uint32_t k = 0; k < kube_count(versions) && !there; k++)
      there = kg_str_eq(kube_text(versions->c.items[k], "name"), kube_node_str(kept->c.items[i]));
    if (!there)
      kube_invalid(c, kube_arena_fmt(c->a, "status.storedVersions[%u]", i), kept->c.items[i],
                   "must appear in spec.versions");
  }
}

KUBE_CALL(definition) {
  (void)r;
  const kube_node_t *spec = kube_get(v, "spec"), *kept = kube_path(c->root, "status", "storedVersions", NULL);
  unsigned stored = 0;
  if (c->status) return;
  if (!c->updating) check_name(c, spec);
  check_spec(c, spec, &stored);
  check_approval(c, kube_text(spec, "group"));
  if (!kube_count(kept))
    kube_invalid(c, "status.storedVersions", kept ? kept : kube_nil(c->a), "must have at least one stored version");
  else if (stored > 1)
    kube_invalid(c, "status.storedVersions", kept, "must have exactly one version marked as storage version");
  if (!old) return;
  check_stored(c, kube_get(spec, "versions"), kept);
  size_t n = kube_path_push(c, "spec");
  check_kept(c, spec, kube_get(old, "spec"));
  kube_path_pop(c, n);
}
