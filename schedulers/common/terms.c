/* The affinity terms of a pod: read once, when the pod is first seen or changes. */
#include <stdlib.h>

#include "relations.h"

static kg_view_t terms_of(kg_view_t pod, term_kind_t kind) {
  static const char *const group[] = {"podAffinity", "podAntiAffinity"};
  static const char *const when[] = {"requiredDuringSchedulingIgnoredDuringExecution",
                                     "preferredDuringSchedulingIgnoredDuringExecution"};
  return kg_view_path(pod, "spec", "affinity", group[kind == TERM_ANTI || kind == TERM_AVOIDS],
                      when[kind == TERM_PREFERS || kind == TERM_AVOIDS], NULL);
}

static void read_term(term_t *t, term_kind_t kind, kg_view_t v) {
  kg_view_t spaces, wrapped = kg_view_get(v, "podAffinityTerm");
  *t = (term_t){.kind = kind, .weight = kg_view_int(kg_view_get(v, "weight"), 0)};
  if (kg_view_there(wrapped)) v = wrapped;
  spaces = kg_view_get(v, "namespaceSelector");
  t->key = kg_view_str(kg_view_get(v, "topologyKey"));
  t->pods = kube_selector_of(kg_view_get(v, "labelSelector"), NULL);
  t->spaces = kg_view_type(spaces) == KG_V_MAP ? kube_selector_of(spaces, NULL) : NULL;
  t->names = kg_view_get(v, "namespaces");
  t->same_keys = kg_view_get(v, "matchLabelKeys");
  t->other_keys = kg_view_get(v, "mismatchLabelKeys");
  t->own_space = !t->spaces && !kg_view_count(t->names);
}

struct sched_terms *terms_read(kg_view_t pod) {
  size_t n = 0;
  for (term_kind_t k = 0; k < TERM_KINDS; k++) n += kg_view_count(terms_of(pod, k));
  struct sched_terms *t = n ? calloc(1, sizeof *t + n * sizeof t->term[0]) : NULL;
  if (!t) return NULL;
  for (term_kind_t k = 0; k < TERM_KINDS; k++) {
    kg_iter_t it = kg_iter(terms_of(pod, k));
    while (kg_iter_next(&it)) read_term(&t->term[t->n++], k, it.value), t->of_kind[k]++;
  }
  return t;
}

void terms_free(struct sched_terms *t) {
  for (size_t i = 0; t && i < t->n; i++) {
    kube_selector_free(t->term[i].pods);
    kube_selector_free(t->term[i].spaces);
  }
  free(t);
}

bool labels_alike(kg_view_t keys, kg_view_t a, kg_view_t b) {
  kg_iter_t it = kg_iter(keys);
  while (kg_iter_next(&it)) {
    kg_str_t mine = kg_view_str(kg_view_get_str(a, kg_view_str(it.value)));
    kg_str_t theirs = kg_view_str(kg_view_get_str(b, kg_view_str(it.value)));
    if (mine.p && (!theirs.p || !kg_str_eq(mine, theirs))) return false; /* a key the pod has not is ignored */
  }
  return true;
}

static bool labels_differ(kg_view_t keys, kg_view_t a, kg_view_t b) {
  kg_iter_t it = kg_iter(keys);
  while (kg_iter_next(&it)) {
    kg_str_t mine = kg_view_str(kg_view_get_str(a, kg_view_str(it.value)));
    kg_str_t theirs = kg_view_str(kg_view_get_str(b, kg_view_str(it.value)));
    if (mine.p && theirs.p && kg_str_eq(mine, theirs)) return false;
  }
  return true;
}

static bool space_matches(const sched_t *s, const term_t *t, kg_view_t owner, kg_str_t space) {
  if (t->own_space) return kg_str_eq(kube_namespace(owner), space);
  kg_iter_t it = kg_iter(t->names);
  while (kg_iter_next(&it))
    if (kg_str_eq(kg_view_str(it.value), space)) return true;
  const kg_doc_t *ns = t->spaces ? kube_informer_get(s->ns_informer, (kg_str_t){NULL, 0}, space) : NULL;
  return ns && kube_selector_matches(t->spaces, kube_labels(kg_view_of(ns)));
}

bool term_matches(const sched_t *s, const term_t *t, kg_view_t owner, kg_view_t other) {
  kg_view_t mine = kube_labels(owner), theirs = kube_labels(other);
  return space_matches(s, t, owner, kube_namespace(other)) && t->pods && kube_selector_matches(t->pods, theirs) &&
         labels_alike(t->same_keys, mine, theirs) && labels_differ(t->other_keys, mine, theirs);
}
