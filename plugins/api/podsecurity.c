/* PodSecurity admission: namespaces say by labels which level pods must keep (enforce) and of which they are warned. */
#include "podsecurity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL "pod-security.kubernetes.io/"

typedef struct policy {
  ps_level_t level;
  int minor;
} ps_policy_t;

static const char *const levels[] = {"privileged", "baseline", "restricted"};

static const char *shown(kube_arena_t *a, ps_policy_t p) {
  return p.minor == PS_LATEST ? kube_arena_fmt(a, "%s:latest", levels[p.level])
                              : kube_arena_fmt(a, "%s:v1.%d", levels[p.level], p.minor);
}

/* --- labels ------------------------------------------------------------------------------------------------------- */

static bool level_of(kg_str_t s, ps_level_t *level) {
  for (int i = 0; i < 3; i++)
    if (kg_str_is(s, levels[i])) return *level = (ps_level_t)i, true;
  return false;
}

static bool minor_of(kg_str_t s, int *minor) {
  char text[16], back[16];
  *minor = PS_LATEST;
  if (kg_str_is(s, "latest")) return true;
  snprintf(text, sizeof text, KG_STR_FMT, KG_STR_ARG(s));
  if (s.n > 8 || strncmp(text, "v1.", 3) != 0) return false;
  int n = atoi(text + 3);
  snprintf(back, sizeof back, "v1.%d", n);
  if (n < 0 || strcmp(text, back) != 0) return false;
  *minor = n;
  return true;
}

static void not_valid(kube_arena_t *a, kube_node_t *causes, const char *label, kg_str_t value, const char *why) {
  if (causes)
    cause_add(a, causes, "FieldValueInvalid", kube_arena_fmt(a, "metadata.labels[%s]", label),
              "Invalid value: \"" KG_STR_FMT "\": %s", KG_STR_ARG(value), why);
}

/* What `mode` ("enforce", "warn") asks; false: it is not said. What is not valid is the strictest, for warnings the
 * mildest. */
static bool asked(kube_arena_t *a, const kube_node_t *labels, const char *mode, ps_policy_t *p, kube_node_t *causes) {
  const char *label = kube_arena_fmt(a, LABEL "%s", mode), *as_of = kube_arena_fmt(a, LABEL "%s-version", mode);
  kube_node_t *level = kube_get(labels, label), *version = kube_get(labels, as_of);
  if (level && !level_of(kube_node_str(level), &p->level)) {
    p->level = strcmp(mode, "enforce") == 0 ? PS_RESTRICTED : PS_PRIVILEGED;
    not_valid(a, causes, label, kube_node_str(level), "must be one of privileged, baseline, restricted");
  }
  if (version && !minor_of(kube_node_str(version), &p->minor))
    not_valid(a, causes, as_of, kube_node_str(version), "must be \"latest\" or \"v1.x\"");
  return level != NULL;
}

typedef struct policies {
  ps_policy_t enforce, warn;
} policies_t;

/* Who enforces a level and says nothing of warnings warns of it, too: of workloads, whose pods would be refused. */
static policies_t policies_of(kube_arena_t *a, const kube_node_t *labels, kube_node_t *causes) {
  policies_t p = {{PS_PRIVILEGED, PS_LATEST}, {PS_PRIVILEGED, PS_LATEST}};
  ps_policy_t audit = p.warn;
  asked(a, labels, "enforce", &p.enforce, causes);
  asked(a, labels, "audit", &audit, causes);
  if (!asked(a, labels, "warn", &p.warn, causes) && p.enforce.level > PS_PRIVILEGED) p.warn = p.enforce;
  return p;
}

static object_t *namespace_of(const write_t *w) {
  collection_t *c = cache_find(w->q.api, "", "namespaces");
  return c ? sorted_get(&c->objects, w->q.ns) : NULL;
}

/* --- pods and what makes them ---------------------------------------------------------------------------------------
 */

/* The pod's part of an object that has one: itself or its template; NULL: it has none. */
static const kube_node_t *pod_of(const kube_resource_t *r, const kube_node_t *object, bool *itself) {
  static const char *const apps[] = {"deployments", "replicasets", "statefulsets", "daemonsets"};
  *itself = is_resource(r, "", "pods");
  if (*itself) return object;
  if (is_resource(r, "", "podtemplates")) return kube_get(object, "template");
  if (is_resource(r, "batch", "cronjobs")) return kube_path(object, "spec", "jobTemplate", "spec", "template", NULL);
  bool makes = is_resource(r, "", "replicationcontrollers") || is_resource(r, "batch", "jobs");
  for (int i = 0; i < 4 && !makes; i++) makes = is_resource(r, "apps", apps[i]);
  return makes ? kube_path(object, "spec", "template", NULL) : NULL;
}

static const char *verdict(write_t *w, ps_policy_t p, const kube_node_t *pod) {
  if (p.level == PS_PRIVILEGED) return NULL;
  return ps_violations(w->arena, p.level, p.minor, kube_get(pod, "spec"), true);
}

static bool judge(write_t *w, const kube_node_t *object) {
  bool itself;
  const kube_node_t *pod = pod_of(w->q.r, object, &itself);
  object_t *ns = pod ? namespace_of(w) : NULL;
  if (!ns) return true;
  kg_view_t labels = kg_view_path(object_view(ns), "metadata", "labels", NULL);
  if (kg_view_count(labels) < 2) return true; /* most have but their name */
  policies_t p = policies_of(w->arena, kube_tree_parse(w->arena, labels), NULL);
  const char *bad = itself ? verdict(w, p.enforce, pod) : NULL;
  if (bad)
    return fault_forbidden(&w->fault, w->q.r, w->q.name, "violates PodSecurity \"%s\": %s", shown(w->arena, p.enforce),
                           bad);
  bad = verdict(w, p.warn, pod);
  if (bad) warn_once(w, kube_arena_fmt(w->arena, "would violate PodSecurity \"%s\": %s", shown(w->arena, p.warn), bad));
  return true;
}

/* --- namespaces -----------------------------------------------------------------------------------------------------
 */

/* Pods that are there stay; whose label changed is told of those that would be refused now, those alike in one line. */
static void tell_of_pods(write_t *w, ps_policy_t p) {
  enum { MOST = 3000 };
  kube_arena_t *a = w->arena;
  collection_t *c = cache_find(w->q.api, "", "pods");
  selection_t s = {.ns = w->q.name, .r = c ? c->r : NULL};
  sorted_pos_t pos = c ? selection_seek(&s, &c->objects) : (sorted_pos_t){0, 0};
  kube_node_t *kinds = kube_map(a); /* what is wrong: names of pods */
  int seen = 0;
  for (object_t *o; c && (o = sorted_at(&c->objects, &pos)) && !selection_ends(&s, o) && seen++ < MOST;) {
    kube_node_t *pod = kube_tree_parse(a, object_view(o));
    const char *bad = ps_violations(a, p.level, p.minor, kube_get(pod, "spec"), false);
    if (!bad) continue;
    kube_node_t *names = kube_get(kinds, bad);
    if (!names) kube_set(a, kinds, bad, names = kube_array(a));
    kube_push(a, names, kube_strn(a, kube_name(object_view(o))));
  }
  if (!kinds->c.n) return;
  warn_once(w, kube_arena_fmt(
                   a, "existing pods in namespace \"" KG_STR_FMT "\" violate the new PodSecurity enforce level \"%s\"",
                   KG_STR_ARG(w->q.name), shown(a, p)));
  for (uint32_t i = 0; i < kinds->c.n; i++) {
    uint32_t others = kinds->c.items[i]->c.n - 1;
    kg_str_t first = kube_node_str(kinds->c.items[i]->c.items[0]);
    const char *more = others == 0   ? ""
                       : others == 1 ? " (and 1 other pod)"
                                     : kube_arena_fmt(a, " (and %u other pods)", others);
    warn_once(w,
              kube_arena_fmt(a, KG_STR_FMT "%s: " KG_STR_FMT, KG_STR_ARG(first), more, KG_STR_ARG(kinds->c.keys[i])));
  }
}

static bool judge_labels(write_t *w, const kube_node_t *object, const kube_node_t *old) {
  kube_arena_t *a = w->arena;
  kube_node_t *causes = kube_array(a), *before = kube_array(a);
  policies_t now = policies_of(a, kube_path(object, "metadata", "labels", NULL), causes),
             then = policies_of(a, kube_path(old, "metadata", "labels", NULL), before);
  if (causes->c.n && !before->c.n) return fault_invalid(&w->fault, w->q.r, w->q.name, causes);
  bool other = now.enforce.level != then.enforce.level || now.enforce.minor != then.enforce.minor;
  if (old && other && now.enforce.level != PS_PRIVILEGED && now.enforce.level >= then.enforce.level)
    tell_of_pods(w, now.enforce);
  return true;
}

bool podsecurity_admit(write_t *w, const kube_node_t *object, const kube_node_t *old) {
  if (is_resource(w->q.r, "", "namespaces")) return w->q.sub.n || judge_labels(w, object, old);
  bool pods = is_resource(w->q.r, "", "pods"), looks_in = kg_str_is(w->q.sub, "ephemeralcontainers");
  if (!w->q.r->namespaced || (w->q.sub.n && !looks_in)) return true;
  return (pods && old && !looks_in) || judge(w, object); /* no other update of a pod changes what is asked about */
}
