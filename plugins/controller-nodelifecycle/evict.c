/* NoExecute taints: pods that do not tolerate them go, those that do for some time go after it. */
#include <stdlib.h>
#include <string.h>

#include "kube/placement.h"
#include "lifecycle.h"

/* --- pods whose time runs ----------------------------------------------------------------------------------------- */

static due_t **due_at(nlc_t *c, const char *key) {
  due_t **at = &c->due;
  while (*at && strcmp((*at)->key, key)) at = &(*at)->next;
  return at;
}

static int64_t due_since(nlc_t *c, const char *key, int64_t since_us) {
  due_t **at = due_at(c, key);
  if (*at) return (*at)->since_us;
  due_t *d = calloc(1, sizeof *d);
  if (!d || !(d->key = strdup(key))) {
    free(d);
    return since_us;
  }
  d->since_us = since_us;
  *at = d;
  return since_us;
}

static bool due_drop(nlc_t *c, const char *key) {
  due_t **at = due_at(c, key), *d = *at;
  if (!d) return false;
  *at = d->next;
  free(d->key);
  free(d);
  return true;
}

void due_forget(nlc_t *c, const char *key) {
  due_drop(c, key);
}

void due_free(nlc_t *c) {
  while (c->due) due_drop(c, c->due->key);
}

/* --- who has work ------------------------------------------------------------------------------------------------- */

static bool is_no_execute(kg_view_t taint) {
  return kg_str_is(kg_view_str(kg_view_get(taint, "effect")), "NoExecute");
}

bool has_no_execute(kg_view_t node) {
  for (kg_iter_t it = kg_iter(kg_view_path(node, "spec", "taints", NULL)); kg_iter_next(&it);)
    if (is_no_execute(it.value)) return true;
  return false;
}

static kg_str_t node_of(kg_view_t pod) {
  return kg_view_str(kg_view_path(pod, "spec", "nodeName", NULL));
}

void add_pods_of(kg_ctx_t *ctx, nlc_t *c, kg_str_t node) {
  char key[CTL_KEY_MAX];
  kg_doc_t *doc;
  for (size_t i = 0; (doc = kube_informer_at(c->base.informers[PODS], i)); i++)
    if (kg_str_eq(node_of(kg_view_of(doc)), node)) ctl_work_add(ctx, &c->base.work, ctl_key(kg_view_of(doc), key));
}

void on_pod(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  nlc_t *c = self;
  kg_str_t none = {NULL, 0}, name = node_of(now);
  char key[CTL_KEY_MAX];
  if (change == KUBE_DELETED) return due_forget(c, ctl_key(now, key));
  bool same = kg_str_eq(node_of(old), name) && kg_view_equal(kg_view_path(old, "spec", "tolerations", NULL),
                                                             kg_view_path(now, "spec", "tolerations", NULL));
  kg_doc_t *node = name.n && !same ? kube_informer_get(c->base.informers[NODES], none, name) : NULL;
  if (node && has_no_execute(kg_view_of(node))) ctl_work_add(ctx, &c->base.work, ctl_key(now, key));
}

/* --- tolerations -------------------------------------------------------------------------------------------------- */

/* Seconds for which all NoExecute taints are tolerated: 0: not at all, -1: for ever. *since_us: when the last of them
 * came, 0 if some does not say. */
static int64_t tolerance(kg_view_t pod, kg_view_t node, int64_t *since_us) {
  int64_t least = -1;
  bool unsaid = false;
  *since_us = 0;
  for (kg_iter_t taint = kg_iter(kg_view_path(node, "spec", "taints", NULL)); kg_iter_next(&taint);) {
    if (!is_no_execute(taint.value)) continue;
    bool any = false;
    int64_t added = 0;
    for (kg_iter_t t = kg_iter(kg_view_path(pod, "spec", "tolerations", NULL)); kg_iter_next(&t);) {
      kg_view_t seconds = kg_view_get(t.value, "tolerationSeconds");
      if (!kube_tolerates(t.value, taint.value)) continue;
      any = true;
      int64_t n = kg_view_int(seconds, 0) > 0 ? kg_view_int(seconds, 0) : 0;
      if (kg_view_type(seconds) == KG_V_INT && (least < 0 || n < least)) least = n;
    }
    if (!any) return 0;
    unsaid |= kube_time_parse(kg_view_str(kg_view_get(taint.value, "timeAdded")), &added) != 0;
    if (added > *since_us) *since_us = added;
  }
  if (unsaid) *since_us = 0;
  return least;
}

/* --- the pass ----------------------------------------------------------------------------------------------------- */

static void deleted(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)s, (void)arg;
  ((nlc_t *)self)->evicted += kg_msg_type(m) == KG_MSG_REPLY;
}

static void delete_pod(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *arg) {
  (void)self;
  pass_t *p = arg;
  ctl_send(ctx, s, CTL_DELETE,
           &(kube_call_t){.gvr = GVR_PODS,
                          .ns = ctl_text(p->arena, kube_namespace(p->object)),
                          .name = ctl_text(p->arena, kube_name(p->object)),
                          .precondition_uid = ctl_text(p->arena, kube_uid(p->object)),
                          .grace_seconds = -1},
           deleted, NULL);
}

static void evict(pass_t *p) {
  kg_str_t ns = kube_namespace(p->object), name = kube_name(p->object);
  kube_event(p->ctx, p->c->evictor, p->object, "Normal", "TaintManagerEviction",
             "Marking for deletion Pod " KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(ns), KG_STR_ARG(name));
  ctl_mark_pod(p->ctx, p->sync, p->object, "DisruptionTarget", "True", "DeletionByTaintManager",
               "Taint manager: deleting due to NoExecute taint");
  ctl_sync_then(p->sync, delete_pod, p);
}

void pod_pass(pass_t *p) {
  kg_str_t none = {NULL, 0}, ns = kube_namespace(p->object), name = kube_name(p->object);
  const char *key = ctl_sync_key(p->sync);
  kg_doc_t *node = kube_informer_get(p->c->base.informers[NODES], none, node_of(p->object));
  if (kube_deleting(p->object)) return due_forget(p->c, key);
  int64_t added, now = kg_wall_us(p->ctx), seconds = node ? tolerance(p->object, kg_view_of(node), &added) : -1;
  if (seconds < 0) {
    if (due_drop(p->c, key))
      kube_event(p->ctx, p->c->evictor, p->object, "Normal", "TaintManagerEviction",
                 "Cancelling deletion of Pod " KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(ns), KG_STR_ARG(name));
    return;
  }
  int64_t left = seconds ? due_since(p->c, key, added ? added : now) + seconds * 1000000 - now : 0;
  if (left > 0) return kube_queue_add_after(p->ctx, p->c->base.work.queue, key, left / 1000 + 1);
  due_forget(p->c, key);
  evict(p);
}
