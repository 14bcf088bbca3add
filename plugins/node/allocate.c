/* What a pod was granted of the node: all its spec asks for when it was let in; more only if the node still has it. */
#include <stdio.h>

#include "node.h"

enum { RETRY_MS = 5000 };

static const char *const lists[] = {"initContainers", "containers"};

static void grant(pod_t *p, kg_doc_t *doc) {
  kg_doc_t *old = p->allocated;
  p->allocated = kg_doc_ref(doc);
  kg_doc_unref(old);
  set_str(&p->deferred, NULL);
}

kg_doc_t *pod_granted(const pod_t *p) {
  return p->allocated ? p->allocated : p->doc;
}

kg_view_t pod_allocated(const pod_t *p) {
  return kg_view_get(kg_view_of(pod_granted(p)), "spec");
}

kg_view_t box_allocated(const box_t *b) {
  kg_view_t c = kube_list_find(kg_view_get(pod_allocated(b->pod), box_list(b)), "name", kg_str(b->name));
  return kg_view_there(c) ? c : box_spec(b);
}

bool amounts_same(kg_view_t a, kg_view_t b) {
  return (!kg_view_count(a) && !kg_view_count(b)) || kg_view_equal(a, b);
}

static bool asks_the_same(kg_view_t a, kg_view_t b) {
  if (!amounts_same(kg_view_get(a, "resources"), kg_view_get(b, "resources"))) return false;
  for (size_t i = 0; i < 2; i++)
    for (kg_iter_t it = kg_iter(kg_view_get(a, lists[i])); kg_iter_next(&it);) {
      kg_view_t other = kube_list_find(kg_view_get(b, lists[i]), "name", VIEW_STR(it.value, "name"));
      if (!amounts_same(kg_view_get(it.value, "resources"), kg_view_get(other, "resources"))) return false;
    }
  return true;
}

/* --- what is told of it
 * ------------------------------------------------------------------------------------------------ */

static void pack_list(kg_pack_t *k, kg_view_t spec, const char *list) {
  if (!kg_view_count(kg_view_get(spec, list))) return;
  kg_pack_key(k, list);
  kg_pack_array(k);
  for (kg_iter_t it = kg_iter(kg_view_get(spec, list)); kg_iter_next(&it);) {
    kg_view_t resources = kg_view_get(it.value, "resources");
    kg_pack_map(k);
    kg_pack_kv_view(k, "name", kg_view_get(it.value, "name"));
    kg_pack_key(k, "resources");
    if (kg_view_count(resources)) {
      kg_pack_view(k, resources);
    } else {
      kg_pack_map(k);
      kg_pack_end(k);
    }
    kg_pack_end(k);
  }
  kg_pack_end(k);
}

void pod_resize_event(pod_t *p, const char *type, const char *reason, const char *what, const char *error) {
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  for (size_t i = 0; i < 2; i++) pack_list(&k, pod_spec(p), lists[i]);
  kg_pack_kv_int(&k, "generation", kube_generation(pod_object(p)));
  if (error) kg_pack_kv_str(&k, "error", error);
  kg_pack_end(&k);
  kg_doc_t *doc = kg_pack_doc(&k);
  char *json = doc ? kg_view_to_json(kg_view_of(doc)) : NULL;
  pod_event(p, type, reason, "Pod resize %s: %s", what, json ? json : "");
  free(json);
  kg_doc_unref(doc);
}

/* --- granting
 * ------------------------------------------------------------------------------------------------------------ */

static void defer(pod_t *p, char *why) {
  int64_t generation = kube_generation(pod_object(p));
  bool news = !p->deferred || p->deferred_generation != generation;
  set_str(&p->deferred, why);
  p->deferred_generation = generation;
  if (news) pod_resize_event(p, "Warning", "ResizeDeferred", "Deferred", why);
  pod_wake(p, kg_now_ms(p->agent->ctx) + RETRY_MS);
}

void pod_allocate(pod_t *p) {
  char *why = NULL;
  if (p->allocated == p->doc) return;
  if (!p->allocated || asks_the_same(pod_allocated(p), pod_spec(p))) return grant(p, p->doc);
  if (pod_too_big(p, &why) && why) return defer(p, why);
  free(why);
  grant(p, p->doc);
  p->resizing = true;
  pod_resize_event(p, "Normal", "ResizeStarted", "started", NULL);
}

void pods_allocate_again(agent_t *a) {
  for (pod_t *p = a->list; p; p = p->next)
    if (p->deferred) pod_kick(p);
}

/* --- after a restart of the agent
 * ---------------------------------------------------------------------------------------- */

/* The resources that a container's status speaks of; false: it says nothing, or what the spec says. */
static bool take_back(kube_arena_t *ar, kube_node_t *container, kg_view_t shown) {
  kg_view_t requests = kg_view_get(shown, "allocatedResources"),
            limits = kg_view_path(shown, "resources", "limits", NULL);
  kube_node_t *resources = kube_get(container, "resources");
  if (!kg_view_there(requests)) return false;
  kube_node_t *own = kube_tree_parse(ar, requests);
  if (kube_tree_equal(own, kube_get(resources, "requests"))) return false;
  resources = kube_sub(ar, container, "resources");
  kube_set(ar, resources, "requests", own);
  if (kg_view_there(limits)) kube_set(ar, resources, "limits", kube_tree_parse(ar, limits));
  return true;
}

void pod_allocation_found(pod_t *p) {
  static const char *const shown[] = {"initContainerStatuses", "containerStatuses"};
  kube_arena_t *ar = kube_arena_new();
  kube_node_t *object = kube_tree_parse(ar, pod_object(p));
  bool differs = false;
  for (size_t i = 0; i < 2; i++) {
    kube_node_t *list = kube_path(object, "spec", lists[i], NULL);
    kg_view_t statuses = kg_view_path(pod_object(p), "status", shown[i], NULL);
    for (uint32_t n = 0; list && n < list->c.n; n++)
      differs |= take_back(ar, list->c.items[n],
                           kube_list_find(statuses, "name", kube_node_str(kube_get(list->c.items[n], "name"))));
  }
  kg_doc_t *doc = differs ? kube_tree_doc(object) : kg_doc_ref(p->doc);
  if (doc && *p->start_time) grant(p, doc);
  kg_doc_unref(doc);
  kube_arena_free(ar);
}
