/* Subresources of pods that may change what a pod's update may not: ephemeralcontainers (new ones join), resize. */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "kube/quota.h"

static const kube_node_t *named(const kube_node_t *list, kg_str_t name) {
  for (uint32_t i = 0; list && i < list->c.n; i++)
    if (kg_str_eq(kube_node_str(kube_get(list->c.items[i], "name")), name)) return list->c.items[i];
  return NULL;
}

static kube_node_t *with_containers(write_t *w, const kube_node_t *old, kube_node_t *list) {
  kube_node_t *out = kube_tree_clone(w->arena, old), *spec = kube_sub(w->arena, out, "spec");
  if (list)
    kube_set(w->arena, spec, "ephemeralContainers", list);
  else
    kube_del(spec, "ephemeralContainers");
  return out;
}

bool ephemeral_update(write_t *w, kube_node_t **object, kube_node_t **old) {
  kube_node_t *list = kube_path(*object, "spec", "ephemeralContainers", NULL);
  const kube_node_t *before = kube_path(*old, "spec", "ephemeralContainers", NULL);
  kube_node_t *causes = kube_array(w->arena), *fields = kube_path(*object, "metadata", "managedFields", NULL);
  for (uint32_t i = 0; before && i < before->c.n; i++) {
    kg_str_t name = kube_node_str(kube_get(before->c.items[i], "name"));
    const kube_node_t *now = named(list, name);
    if (now && kube_tree_equal(now, before->c.items[i])) continue;
    cause_add(w->arena, causes, "FieldValueForbidden", "spec.ephemeralContainers",
              "Forbidden: existing ephemeral containers \"" KG_STR_FMT "\" may not be %s\n", KG_STR_ARG(name),
              now ? "changed" : "removed");
  }
  if (causes->c.n) return fault_invalid(&w->fault, w->q.r, w->q.name, causes);
  *object = with_containers(w, *old, list);
  if (fields) kube_set(w->arena, kube_sub(w->arena, *object, "metadata"), "managedFields", fields);
  *old = with_containers(w, *old, list); /* pods' own rules see no change */
  return true;
}

/* --- resize: processor and memory of containers ------------------------------------------------------------------ */

typedef struct resize {
  write_t *w;
  kube_node_t *causes;
  char at[80];
} resize_t;

static void forbid(resize_t *z, const char *field, const char *why) {
  cause_add(z->w->arena, z->causes, "FieldValueForbidden", kube_arena_fmt(z->w->arena, "%s%s", z->at, field),
            "Forbidden: %s", why);
}

static void check_amounts(resize_t *z, const kube_node_t *now, const kube_node_t *before, const char *key) {
  const kube_node_t *a = kube_get(now, key), *b = kube_get(before, key);
  bool gone = false, other = false;
  for (uint32_t i = 0; b && i < b->c.n; i++) {
    const kube_node_t *v = kube_getn(a, b->c.keys[i]);
    bool ours = kg_str_is(b->c.keys[i], "cpu") || kg_str_is(b->c.keys[i], "memory");
    gone |= ours && !v;
    other |= !ours && !kube_tree_equal(v, b->c.items[i]);
  }
  for (uint32_t i = 0; a && i < a->c.n; i++)
    other |= !kg_str_is(a->c.keys[i], "cpu") && !kg_str_is(a->c.keys[i], "memory") && !kube_getn(b, a->c.keys[i]);
  bool limits = !strcmp(key, "limits");
  if (gone)
    forbid(z, limits ? ".resources.limits" : ".resources.requests",
           limits ? "resource limits cannot be removed" : "resource requests cannot be removed");
  if (other) strcpy(z->at, ""), forbid(z, "spec", "only cpu and memory resources are mutable");
}

/* Takes over the amounts of each container that both have. */
static void resize_list(resize_t *z, const kube_node_t *from, kube_node_t *to, const char *key) {
  kube_node_t *list = kube_get(kube_get(to, "spec"), key);
  const kube_node_t *wanted = kube_get(kube_get(from, "spec"), key);
  for (uint32_t i = 0; list && i < list->c.n; i++) {
    kube_node_t *c = list->c.items[i];
    const kube_node_t *n = named(wanted, kube_node_str(kube_get(c, "name")));
    kube_node_t *amounts = n ? kube_get(n, "resources") : NULL, *policy = n ? kube_get(n, "resizePolicy") : NULL;
    if (!n) continue;
    for (int k = 0; k < 2; k++) {
      snprintf(z->at, sizeof z->at, "spec.%s[%u]", key, i);
      check_amounts(z, amounts, kube_get(c, "resources"), k ? "requests" : "limits");
    }
    kube_set(z->w->arena, c, "resources", amounts ? amounts : kube_map(z->w->arena));
    if (policy) kube_set(z->w->arena, c, "resizePolicy", policy);
  }
}

/* PodResize: what not even an empty node could give is refused at once (KEP-1287). */
static bool node_has(write_t *w, kube_node_t *pod) {
  static const char *const names[] = {"cpu", "memory"};
  kg_str_t on = kube_node_str(kube_path(pod, "spec", "nodeName", NULL));
  collection_t *nodes = on.n ? cache_find(w->q.api, "", "nodes") : NULL;
  const object_t *node = nodes ? sorted_get(&nodes->objects, on) : NULL;
  if (!on.n) return true;
  if (!node) return fault_forbidden(&w->fault, w->q.r, w->q.name, "node \"" KG_STR_FMT "\" not found", KG_STR_ARG(on));
  kg_view_t there = kg_view_path(object_view(node), "status", "allocatable", NULL);
  kg_doc_t *doc = kube_tree_doc(pod);
  kube_amounts_t asked = kube_pod_amounts(w->arena, kg_view_get(kg_view_of(doc), "spec"), "requests");
  char why[256] = "";
  for (size_t i = 0; i < 2; i++) {
    const kube_amount_t *n = kube_amounts_find(&asked, kg_str(names[i]));
    int64_t most = 0, unit = i ? 1000 : 1;
    size_t len = strlen(why);
    if (!n || kube_quantity_milli(kg_view_str(kg_view_get(there, names[i])), &most) || n->milli <= most) continue;
    snprintf(why + len, sizeof why - len, "%s%s, requested: %lld, allocatable: %lld", len ? "; " : "", names[i],
             (long long)(n->milli / unit), (long long)(most / unit));
  }
  kg_doc_unref(doc);
  if (!*why) return true;
  fault_forbidden(&w->fault, w->q.r, w->q.name, "node didn't have enough allocatable resources: %s", why);
  kube_node_t *causes = kube_array(w->arena), *cause = kube_map(w->arena);
  kube_set(w->arena, cause, "reason", kube_str(w->arena, "NodeCapacity"));
  kube_push(w->arena, causes, cause);
  w->fault.causes = causes;
  return false;
}

bool resize_update(write_t *w, kube_node_t **object, kube_node_t **old) {
  kube_arena_t *a = w->arena;
  resize_t z = {.w = w, .causes = kube_array(a)};
  kube_node_t *out = kube_tree_clone(a, *old), *fields = kube_path(*object, "metadata", "managedFields", NULL);
  if (kube_path(*old, "metadata", "annotations", "kubernetes.io/config.mirror", NULL)) {
    forbid(&z, "", "static pods cannot be resized");
    return fault_invalid(&w->fault, w->q.r, w->q.name, z.causes);
  }
  resize_list(&z, *object, out, "containers");
  resize_list(&z, *object, out, "initContainers");
  if (strcmp(pod_qos(out), pod_qos(*old)) != 0)
    cause_add(a, z.causes, "FieldValueInvalid", "spec",
              "Invalid value: \"%s\": Pod QOS Class may not change as a result of resizing", pod_qos(out));
  if (z.causes->c.n) return fault_invalid(&w->fault, w->q.r, w->q.name, z.causes);
  if (!kube_tree_equal(kube_get(out, "spec"), kube_get(*old, "spec")) && !node_has(w, out)) return false;
  if (fields) kube_set(a, kube_sub(a, out, "metadata"), "managedFields", fields);
  *object = out;
  *old = kube_tree_clone(a, out); /* pods' own rules see no change */
  return true;
}
