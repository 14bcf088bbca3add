/* The roles and bindings of rbac.txt, brought into the store at start. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rbac.h"
#include "rbac.gen.h"

enum { WORDS = 6, SHORT = 4 };

typedef struct boot {
  api_t *api;
  void (*done)(api_t *api);
  unsigned left; /* writes under way, and one for the reading */
  kube_arena_t *a;
  struct {
    kg_str_t name, list;
  } shorts[SHORT];
  unsigned nshorts;
  kube_node_t *object, *rules; /* being read */
  const char *resource;
  kg_str_t ns;
} boot_t;

static void one_less(boot_t *b) {
  if (--b->left) return;
  api_t *api = b->api;
  void (*done)(api_t *) = b->done;
  kube_arena_free(b->a);
  free(b);
  done(api);
}

static void on_made(write_t *w, void *arg) {
  boot_t *b = arg;
  if (w->fault.code && w->fault.code != 409)
    kg_log(b->api->ctx, KG_LOG_WARN, "a default role or binding cannot be made: %s", w->fault.message);
  one_less(b);
}

/* --- what to write ----------------------------------------------------------------------------------------------- */

static bool has_rule(kg_view_t rules, const kube_node_t *rule, kube_arena_t *a) {
  for (kg_iter_t it = kg_iter(rules); kg_iter_next(&it);)
    if (kube_tree_equal(kube_tree_parse(a, it.value), rule)) return true;
  return false;
}

/* Rules that an upgrade brings are added to a default role; what its owner added stays. (autoupdate annotation) */
static kube_node_t *mended(boot_t *b, object_t *there) {
  kg_view_t now = object_view(there), rules = kg_view_get(now, "rules");
  kg_str_t update = kg_view_str(kube_annotation(now, "rbac.authorization.kubernetes.io/autoupdate"));
  if (!b->rules || !kg_str_is(update, "true")) return NULL;
  kube_node_t *all = kg_view_there(rules) ? kube_tree_parse(b->a, rules) : kube_array(b->a), *patch = kube_map(b->a);
  uint32_t before = all->c.n;
  for (uint32_t i = 0; i < b->rules->c.n; i++)
    if (!has_rule(rules, b->rules->c.items[i], b->a)) kube_push(b->a, all, b->rules->c.items[i]);
  kube_set(b->a, patch, "rules", all);
  return all->c.n > before ? patch : NULL;
}

static void flush(boot_t *b) {
  if (!b->object) return;
  char key[300];
  collection_t *c = cache_find(b->api, "rbac.authorization.k8s.io", b->resource);
  kg_str_t name = kube_node_str(kube_path(b->object, "metadata", "name", NULL));
  snprintf(key, sizeof key, KG_STR_FMT "%s" KG_STR_FMT, KG_STR_ARG(b->ns), b->ns.n ? "/" : "", KG_STR_ARG(name));
  object_t *there = c ? sorted_get(&c->objects, kg_str(key)) : NULL;
  kube_node_t *body = there ? mended(b, there) : b->object;
  kg_doc_t *doc = c && body ? kube_tree_doc(body) : NULL;
  write_t *w =
      doc ? write_new(b->api, c->r, there ? W_PATCH : W_CREATE, b->ns, there ? name : (kg_str_t){0}, doc) : NULL;
  kg_doc_unref(doc);
  b->object = b->rules = NULL;
  if (!w) return;
  b->left++;
  w->then = on_made;
  w->then_arg = b;
  write_run(w);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static kg_str_t word_at(const char **at, const char *end) {
  while (*at < end && **at == ' ') ++*at;
  const char *from = *at;
  while (*at < end && **at != ' ') ++*at;
  return (kg_str_t){from, (size_t)(*at - from)};
}

static kg_str_t shorthand(const boot_t *b, kg_str_t s) {
  for (unsigned i = 0; i < b->nshorts; i++)
    if (kg_str_eq(b->shorts[i].name, s)) return b->shorts[i].list;
  return (kg_str_t){0};
}

static void push_list(boot_t *b, kube_node_t *out, kg_str_t list) {
  while (list.n) {
    const char *comma = memchr(list.p, ',', list.n);
    kg_str_t one = {list.p, comma ? (size_t)(comma - list.p) : list.n}, more = shorthand(b, one);
    if (more.n)
      push_list(b, out, more);
    else
      kube_push(b->a, out, kube_strn(b->a, kg_str_is(one, "core") ? KG_STR("") : one));
    list.p += one.n + (comma != NULL);
    list.n -= one.n + (comma != NULL);
  }
}

static void set_list(boot_t *b, kube_node_t *rule, const char *key, kg_str_t list) {
  kube_node_t *out = kube_array(b->a);
  push_list(b, out, list);
  kube_set(b->a, rule, key, out);
}

static void read_rule(boot_t *b, kg_str_t words[WORDS]) {
  kube_node_t *rule = kube_map(b->a);
  bool url = kg_str_is(words[1], "url");
  set_list(b, rule, "verbs", words[0]);
  if (!url) set_list(b, rule, "apiGroups", words[1]);
  set_list(b, rule, url ? "nonResourceURLs" : "resources", words[2]);
  if (words[3].n) set_list(b, rule, "resourceNames", words[3]);
  kube_push(b->a, b->rules, rule);
}

static void begin(boot_t *b, const char *resource, kg_str_t ns, kg_str_t name) {
  kube_arena_t *a = b->a;
  b->object = kube_map(a);
  b->resource = resource;
  b->ns = ns;
  kube_node_t *meta = kube_sub(a, b->object, "metadata");
  kube_set(a, meta, "name", kube_strn(a, name));
  kube_set(a, kube_sub(a, meta, "labels"), "kubernetes.io/bootstrapping", kube_str(a, "rbac-defaults"));
  kube_set(a, kube_sub(a, meta, "annotations"), "rbac.authorization.kubernetes.io/autoupdate", kube_str(a, "true"));
}

/* to=LABEL and from=LABEL of a cluster role. */
static void read_aggregation(boot_t *b, kg_str_t word) {
  kube_arena_t *a = b->a;
  bool to = word.n > 3 && !memcmp(word.p, "to=", 3), from = word.n > 5 && !memcmp(word.p, "from=", 5);
  size_t skip = to ? 3 : 5;
  if (!to && !from) return;
  char *label = kube_arena_fmt(a, "rbac.authorization.k8s.io/aggregate-to-%.*s", (int)(word.n - skip), word.p + skip);
  if (to) {
    kube_set(a, kube_path(b->object, "metadata", "labels", NULL), label, kube_str(a, "true"));
    return;
  }
  kube_node_t *selector = kube_map(a), *list = kube_array(a);
  kube_set(a, kube_sub(a, selector, "matchLabels"), label, kube_str(a, "true"));
  kube_push(a, list, selector);
  kube_set(a, kube_sub(a, b->object, "aggregationRule"), "clusterRoleSelectors", list);
  b->rules = NULL; /* comes by aggregation */
}

static void read_role(boot_t *b, bool local, kg_str_t words[WORDS]) {
  begin(b, local ? "roles" : "clusterroles", local ? words[1] : (kg_str_t){0}, words[local ? 2 : 1]);
  b->rules = kube_array(b->a);
  kube_set(b->a, b->object, "rules", b->rules);
  for (int i = 2; !local && i < WORDS; i++) read_aggregation(b, words[i]);
}

static void read_subjects(boot_t *b, kg_str_t list, kube_node_t *out) {
  while (list.n) {
    const char *comma = memchr(list.p, ',', list.n);
    size_t n = comma ? (size_t)(comma - list.p) : list.n;
    const char *colon = memchr(list.p, ':', n);
    kube_node_t *s = kube_map(b->a);
    kube_set(b->a, s, "kind", kube_strn(b->a, (kg_str_t){list.p, (size_t)(colon - list.p)}));
    kube_set(b->a, s, "apiGroup", kube_str(b->a, "rbac.authorization.k8s.io"));
    kube_set(b->a, s, "name", kube_strn(b->a, (kg_str_t){colon + 1, n - (size_t)(colon + 1 - list.p)}));
    kube_push(b->a, out, s);
    list.p += n + (comma != NULL);
    list.n -= n + (comma != NULL);
  }
}

static void read_binding(boot_t *b, bool local, kg_str_t words[WORDS]) {
  kube_node_t *subjects = kube_array(b->a);
  begin(b, local ? "rolebindings" : "clusterrolebindings", local ? words[1] : (kg_str_t){0}, words[local ? 2 : 1]);
  kube_node_t *ref = kube_sub(b->a, b->object, "roleRef");
  kube_set(b->a, ref, "apiGroup", kube_str(b->a, "rbac.authorization.k8s.io"));
  kube_set(b->a, ref, "kind", kube_str(b->a, local ? "Role" : "ClusterRole"));
  kube_set(b->a, ref, "name", kube_strn(b->a, words[local ? 2 : 1]));
  read_subjects(b, words[local ? 3 : 2], subjects);
  kube_set(b->a, b->object, "subjects", subjects);
}

static void read_line(boot_t *b, const char *line, const char *end) {
  kg_str_t words[WORDS] = {{0}};
  bool rule = *line == ' ';
  for (int i = 0; i < WORDS; i++) words[i] = word_at(&line, end);
  if (rule) return read_rule(b, words);
  flush(b);
  if (*words[0].p == '@' && b->nshorts < SHORT) {
    b->shorts[b->nshorts].name = words[0];
    b->shorts[b->nshorts++].list = words[1];
  } else if (kg_str_is(words[0], "role") || kg_str_is(words[0], "localrole"))
    read_role(b, kg_str_is(words[0], "localrole"), words);
  else if (kg_str_is(words[0], "binding") || kg_str_is(words[0], "localbinding"))
    read_binding(b, kg_str_is(words[0], "localbinding"), words);
}

void rbac_boot(api_t *api, void (*done)(api_t *api)) {
  boot_t *b = calloc(1, sizeof *b);
  if (!b) return done(api);
  *b = (boot_t){.api = api, .done = done, .left = 1, .a = kube_arena_new()};
  for (const char *line = rbac_policy, *end; *line; line = end + 1) {
    end = strchr(line, '\n');
    read_line(b, line, end);
  }
  flush(b);
  one_less(b);
}
