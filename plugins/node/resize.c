/* Resizing in place: what a container that runs may use becomes what its spec says now, without a restart unless its
 * resizePolicy asks for one. */
#include <stdio.h>

#include "node.h"

enum { TIMEOUT_MS = 10 * 1000, RETRY_MS = 2000 };

static kg_view_t amounts_in(const box_t *b, const kg_doc_t *doc) {
  kg_view_t list = kg_view_path(kg_view_of(doc), "spec", box_list(b), NULL);
  return kg_view_get(kube_list_find(list, "name", kg_str(b->name)), "resources");
}

static void set_doc(kg_doc_t **at, kg_doc_t *doc) {
  kg_doc_t *old = *at;
  *at = doc ? kg_doc_ref(doc) : NULL;
  kg_doc_unref(old);
}

kg_view_t box_amounts(const box_t *b) {
  return amounts_in(b, b->state == BOX_RUNNING && b->applied ? b->applied : pod_granted(b->pod));
}

void box_amounts_apply(box_t *b) {
  set_doc(&b->applied, pod_granted(b->pod));
  set_doc(&b->applying, NULL);
  b->resize_retry_ms = 0;
  set_str(&b->resize_error, NULL);
}

void box_amounts_found(box_t *b, kg_view_t shown) {
  bool known = amounts_same(kg_view_get(shown, "resources"), amounts_in(b, pod_granted(b->pod)));
  set_doc(&b->applied, known ? pod_granted(b->pod) : NULL);
}

void box_amounts_free(box_t *b) {
  set_doc(&b->applied, NULL);
  set_doc(&b->applying, NULL);
  set_str(&b->resize_error, NULL);
}

static bool due(const box_t *b) {
  if (b->state != BOX_RUNNING && !b->renewing) return false;
  return !b->applied || !amounts_same(amounts_in(b, b->applied), amounts_in(b, pod_granted(b->pod)));
}

static void updated(pod_t *p, box_t *b, const kg_msg_t *m) {
  if (!b->applying) return; /* another container has taken its place */
  if (kg_msg_type(m) == KG_MSG_REPLY) {
    set_doc(&b->applied, b->applying);
    set_str(&b->resize_error, NULL);
  } else {
    b->resize_retry_ms = kg_now_ms(p->agent->ctx) + RETRY_MS;
    if (!b->resize_error || strcmp(b->resize_error, kg_msg_text(m)) != 0)
      pod_resize_event(p, "Warning", "ResizeError", "error", kg_msg_text(m));
    set_str(&b->resize_error, strdup(kg_msg_text(m)));
    kg_log(p->agent->ctx, KG_LOG_WARN, "container %s in pod %s/%s could not be resized: %s", b->name, p->ns, p->name,
           kg_msg_text(m));
  }
  set_doc(&b->applying, NULL);
  pod_kick(p);
}

static bool changed(const box_t *b, const char *kind, kg_str_t resource) {
  char name[64];
  snprintf(name, sizeof name, KG_STR_FMT, KG_STR_ARG(resource));
  return !kg_str_eq(VIEW_STR(amounts_in(b, b->applied), kind, name),
                    VIEW_STR(amounts_in(b, pod_granted(b->pod)), kind, name));
}

static bool wants_restart(const box_t *b) {
  if (!b->applied) return false;
  for (kg_iter_t it = kg_iter(kg_view_get(box_spec(b), "resizePolicy")); kg_iter_next(&it);) {
    kg_str_t resource = VIEW_STR(it.value, "resourceName");
    if (!kg_str_is(VIEW_STR(it.value, "restartPolicy"), "RestartContainer")) continue;
    if (changed(b, "requests", resource) || changed(b, "limits", resource)) return true;
  }
  return false;
}

static void restart(box_t *b) {
  box_event(b, "Normal", "Killing", "Container %s resize requires restart", b->name);
  box_renew(b, box_grace(b));
}

static void resize(box_t *b) {
  pod_t *p = b->pod;
  if (b->resize_retry_ms > kg_now_ms(p->agent->ctx)) return pod_wake(p, b->resize_retry_ms);
  if (wants_restart(b)) return restart(b); /* the next one is made of the new spec */
  set_doc(&b->applying, pod_granted(b->pod));
  pod_call(p, b, "runtime.container.update", update_args(b), TIMEOUT_MS, updated);
}

static void limits_followed(pod_t *p, box_t *b, const kg_msg_t *m) {
  (void)b;
  if (kg_msg_type(m) == KG_MSG_ERROR)
    kg_log(p->agent->ctx, KG_LOG_DEBUG, "limits of pod %s/%s: %s", p->ns, p->name, kg_msg_text(m));
}

void pod_limits_follow(pod_t *p) {
  if (!p->resizing || p->sandbox != SB_READY) return;
  pod_call(p, NULL, "runtime.sandbox.update", sandbox_update_args(p), 0, limits_followed);
}

void pod_resize(pod_t *p) {
  for (size_t i = 0; i < p->nboxes; i++) {
    box_t *b = p->boxes[i];
    if (b->applying || b->stopping || b->state != BOX_RUNNING) continue;
    if (due(b))
      resize(b);
    else
      set_doc(&b->applied, pod_granted(b->pod)); /* so that the old one can go */
  }
  const char *error;
  if (!p->resizing || pod_resizing(p, &error)) return;
  pod_limits_follow(p); /* once more: less for the whole is taken when all parts have less */
  p->resizing = false;
  pod_resize_event(p, "Normal", "ResizeCompleted", "completed", NULL);
}

bool pod_resizing(const pod_t *p, const char **error) {
  bool yes = false;
  *error = NULL;
  for (size_t i = 0; i < p->nboxes; i++) {
    const box_t *b = p->boxes[i];
    if (!due(b) && !(p->resizing && b->renewing)) continue; /* renewing: the next one is still being made */
    yes = true;
    if (b->resize_error) *error = b->resize_error;
  }
  return yes;
}
