#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "namespace.h"

static void set(pass_t *p, kube_node_t *list, const char *type, bool bad, const char *reason, const char *message) {
  kube_node_t *old = ctl_condition(list, type);
  if (old && !kg_str_is(kube_node_str(kube_get(old, "message")), message)) ctl_condition_remove(list, type);
  ctl_condition_set(p->arena, list, type, bad ? "True" : "False", reason, message, kg_wall_us(p->ctx), false);
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static const char *join(kube_arena_t *a, const char *before, char **parts, size_t n) {
  const char *text = before;
  qsort(parts, n, sizeof *parts, by_text);
  for (size_t i = 0; i < n; i++) text = kube_arena_fmt(a, "%s%s%s", text, i ? ", " : "", parts[i]);
  return text;
}

/* While there are pods nothing else was tried, and nothing else is told. */
static bool counts(const pass_t *p, const found_t *f) {
  return found_count(f) && (is_pods(f) || !pods_left(p));
}

static const char *remaining(pass_t *p) {
  char *parts[512];
  size_t n = 0;
  for (found_t *f = p->kinds; f && n < 512; f = f->next)
    if (counts(p, f))
      parts[n++] =
          kube_arena_fmt(p->arena, "%s.%s has %zu resource instances", f->kind.resource, f->kind.group, found_count(f));
  return n ? join(p->arena, "Some resources are remaining: ", parts, n) : NULL;
}

typedef struct tally {
  kg_str_t name;
  size_t n;
} tally_t;
enum { TALLIES = 128 };

static void tally(tally_t *list, size_t *n, kg_str_t name) {
  size_t i = 0;
  while (i < *n && !kg_str_eq(list[i].name, name)) i++;
  if (i == TALLIES) return;
  if (i == *n) list[(*n)++] = (tally_t){name, 0};
  list[i].n++;
}

static const char *finalizers(pass_t *p) {
  tally_t list[TALLIES];
  char *parts[TALLIES];
  size_t n = 0;
  for (found_t *f = p->kinds; f; f = f->next)
    for (size_t i = 0; counts(p, f) && i < found_count(f); i++) {
      kg_view_t names = kg_view_path(kg_view_of(kg_msg_doc(f->list, i)), "metadata", "finalizers", NULL);
      for (kg_iter_t it = kg_iter(names); kg_iter_next(&it);) tally(list, &n, kg_view_str(it.value));
    }
  for (size_t i = 0; i < n; i++)
    parts[i] = kube_arena_fmt(p->arena, KG_STR_FMT " in %zu resource instances", KG_STR_ARG(list[i].name), list[i].n);
  return n ? join(p->arena, "Some content in the namespace has finalizers remaining: ", parts, n) : NULL;
}

void conditions_write(pass_t *p) {
  kg_view_t old = kg_view_get(kg_view_of(p->doc), "status");
  kube_node_t *status =
      kg_view_there(old) ? kube_tree_clone(p->arena, kube_tree_parse(p->arena, old)) : kube_map(p->arena);
  kube_node_t *list = kube_get(status, "conditions");
  if (!list || list->type != KG_V_ARRAY) kube_set(p->arena, status, "conditions", list = kube_array(p->arena));
  const char *left = remaining(p), *held = finalizers(p), *undiscovered = p->discovery_error,
             *failed = p->content_error;
  set(p, list, "NamespaceDeletionDiscoveryFailure", undiscovered,
      undiscovered ? "DiscoveryFailed" : "ResourcesDiscovered",
      undiscovered ? undiscovered : "All resources successfully discovered");
  set(p, list, "NamespaceDeletionGroupVersionParsingFailure", false, "ParsedGroupVersions",
      "All legacy kube types successfully parsed");
  set(p, list, "NamespaceDeletionContentFailure", failed, failed ? "ContentDeletionFailed" : "ContentDeleted",
      failed ? failed : "All content successfully deleted, may be waiting on finalization");
  set(p, list, "NamespaceContentRemaining", left, left ? "SomeResourcesRemain" : "ContentRemoved",
      left ? left : "All content successfully removed");
  set(p, list, "NamespaceFinalizersRemaining", held, held ? "SomeFinalizersRemain" : "ContentHasNoFinalizers",
      held ? held : "All content-preserving finalizers finished");
  kube_set(p->arena, status, "phase", kube_str(p->arena, "Terminating"));
  ctl_send_status(p->ctx, p->sync, GVR_SPACES, kg_view_of(p->doc), status);
}
