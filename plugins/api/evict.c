/*
 * Evictions. What a disruption budget allows is counted by its controller; the eviction takes one off that number and
 * notes the pod, guarded by the budget's revision, before the pod is deleted. So two evictions never share one.
 */
#include <string.h>

#include "api.h"

enum { EVICT_TRIES = 20, RETRY_S = 10 };

static const char TOO_MANY[] = "Cannot evict pod as it would violate the pod's disruption budget.";

bool compute_eviction(write_t *w) {
  if (w->verb != W_CREATE) return fault_method(&w->fault);
  kg_view_t options = kg_view_get(kg_view_of(w->body), "deleteOptions");
  kg_doc_t *body = w->body;
  w->body = kg_view_there(options) ? kg_doc_copy(options.p, kg_view_span(options)) : NULL;
  w->base = w->body;
  bool ok = compute_delete(w);
  w->body = body;
  kg_doc_unref(w->answer);
  w->answer = ok ? success_doc(NULL, w->q.name, (kg_str_t){0}) : NULL;
  w->code = 201;
  return ok;
}

static void refuse(write_t *w, const fault_t *f) {
  fault_answer(&w->q, f);
  write_free(w);
}

/* --- which budget ------------------------------------------------------------------------------------------------- */

static bool matches(const object_t *budget, kg_view_t pod) {
  kube_selector_t *s = kube_selector_of(kg_view_path(object_view(budget), "spec", "selector", NULL), NULL);
  bool yes = s && kube_selector_matches(s, kube_labels(pod));
  kube_selector_free(s);
  return yes;
}

/* The budget of the pod; *n: how many there are. */
static object_t *budget_of(write_t *w, kg_view_t pod, size_t *n) {
  collection_t *c = cache_find(w->q.api, "policy", "poddisruptionbudgets");
  selection_t s = {.ns = w->q.ns, .r = c ? c->r : NULL};
  sorted_pos_t pos = c ? selection_seek(&s, &c->objects) : (sorted_pos_t){0, 0};
  object_t *found = NULL;
  *n = 0;
  for (object_t *o; c && (o = sorted_at(&c->objects, &pos)) && !selection_ends(&s, o);)
    if (matches(o, pod)) {
      found = o;
      ++*n;
    }
  return found;
}

static bool needs_no_budget(kg_view_t pod) {
  kg_str_t phase = kg_view_str(kg_view_path(pod, "status", "phase", NULL));
  return kube_deleting(pod) || kg_str_is(phase, "Pending") || kg_str_is(phase, "Succeeded") ||
         kg_str_is(phase, "Failed");
}

/* A pod that serves nobody may go, by the budget's own policy. */
static bool is_unhealthy_enough(kg_view_t budget, kg_view_t pod) {
  kg_view_t status = kg_view_get(budget, "status");
  int64_t healthy = kg_view_int(kg_view_get(status, "currentHealthy"), 0),
          desired = kg_view_int(kg_view_get(status, "desiredHealthy"), 0);
  if (kube_condition_holds(pod, "Ready")) return false;
  if (kg_str_is(kg_view_str(kg_view_path(budget, "spec", "unhealthyPodEvictionPolicy", NULL)), "AlwaysAllow"))
    return true;
  return healthy >= desired && desired > 0;
}

/* --- taking one off ----------------------------------------------------------------------------------------------- */

static void say_no(write_t *w, kg_view_t budget, bool unknown) {
  kube_arena_t *a = kube_arena_new();
  kube_node_t *causes = kube_array(a);
  kg_view_t status = kg_view_get(budget, "status");
  fault_t f = {0};
  fault_other(&f, 429, "TooManyRequests", "%s", TOO_MANY);
  if (unknown)
    cause_add(a, causes, "DisruptionBudget", "",
              "The disruption budget " KG_STR_FMT " is still being processed by the server.",
              KG_STR_ARG(kube_name(budget)));
  else
    cause_add(a, causes, "DisruptionBudget", "",
              "The disruption budget " KG_STR_FMT " needs %lld healthy pods and has %lld currently",
              KG_STR_ARG(kube_name(budget)), (long long)kg_view_int(kg_view_get(status, "desiredHealthy"), 0),
              (long long)kg_view_int(kg_view_get(status, "currentHealthy"), 0));
  for (uint32_t i = 0; i < causes->c.n; i++) kube_del(causes->c.items[i], "field");
  f.causes = causes;
  f.retry_after = unknown ? RETRY_S : 0;
  refuse(w, &f);
  kube_arena_free(a);
}

static kg_doc_t *taken(const write_t *w, kg_view_t budget, int64_t left) {
  kg_pack_t p = kg_pack();
  char now[32];
  kube_time_format(kg_wall_us(w->q.ctx), now);
  kg_pack_map(&p);
  kg_pack_key(&p, "metadata");
  kg_pack_map(&p);
  kg_pack_kv_view(&p, "resourceVersion", kg_view_path(budget, "metadata", "resourceVersion", NULL));
  kg_pack_end(&p);
  kg_pack_key(&p, "status");
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "disruptionsAllowed", left);
  kg_pack_key(&p, "disruptedPods");
  kg_pack_map(&p);
  kg_pack_strn(&p, w->q.name);
  kg_pack_str(&p, now);
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void on_taken(write_t *b, void *arg) {
  write_t *w = arg;
  if (!b->fault.code) return write_run(w);
  bool again = b->fault.code == 409 || b->fault.code == 404;
  if (again && ++w->tries < EVICT_TRIES) return evict(w);
  refuse(w, &b->fault);
}

static void take(write_t *w, kg_view_t budget, int64_t left) {
  static const uint8_t merge[] = "\x81\xa5patch\xa5merge";
  collection_t *c = cache_find(w->q.api, "policy", "poddisruptionbudgets");
  kg_doc_t *body = taken(w, budget, left);
  write_t *b = write_new(w->q.api, c->r, W_PATCH, kube_namespace(budget), kube_name(budget), body);
  kg_doc_unref(body);
  if (!b) {
    fault_t f = {0};
    fault_other(&f, 500, "InternalError", "Internal error occurred: out of memory");
    return refuse(w, &f);
  }
  b->q.args = kg_view_bytes(merge, sizeof merge - 1);
  b->q.sub = KG_STR("status");
  b->q.dry_run = w->q.dry_run;
  b->then = on_taken;
  b->then_arg = w;
  write_run(b);
}

void evict(write_t *w) {
  char key[600];
  size_t n;
  if (!w) return;
  object_t *pod = sorted_get(&w->q.c->objects, req_key(&w->q, w->q.name, key)), *budget;
  if (!pod || needs_no_budget(object_view(pod))) return write_run(w);
  budget = budget_of(w, object_view(pod), &n);
  if (n > 1) {
    fault_t f = {0};
    fault_other(&f, 500, "InternalError",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
    return refuse(w, &f);
  }
  if (!n || is_unhealthy_enough(object_view(budget), object_view(pod))) return write_run(w);
  kg_view_t v = object_view(budget), status = kg_view_get(v, "status");
  int64_t allowed = kg_view_int(kg_view_get(status, "disruptionsAllowed"), 0);
  bool unknown = kg_view_int(kg_view_get(status, "observedGeneration"), 0) < kube_generation(v);
  if (unknown || allowed <= 0) return say_no(w, v, unknown);
  take(w, v, allowed - 1);
}
