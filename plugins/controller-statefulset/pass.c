#include "statefulset.h"

static bool is_live(const ctl_revision_t *r, void *arg) {
  const pass_t *p = arg;
  if (kg_str_eq(r->name, p->current->name) || kg_str_eq(r->name, p->update->name)) return true;
  for (int64_t i = 0; i < p->replicas; i++)
    if (kg_str_eq(p->pods[i].revision, r->name)) return true;
  for (size_t i = 0; i < p->ncondemned; i++)
    if (kg_str_eq(p->condemned[i].revision, r->name)) return true;
  return false;
}

static void run(pass_t *p) {
  kg_view_t status = kg_view_get(p->object, "status");
  p->spec = kg_view_get(p->object, "spec");
  p->replicas = kg_view_int(kg_view_get(p->spec, "replicas"), 1);
  p->start = kg_view_int(kg_view_path(p->spec, "ordinals", "start", NULL), 0);
  p->min_ready = kg_view_int(kg_view_get(p->spec, "minReadySeconds"), 0);
  p->monotonic = !kg_str_is(kg_view_str(kg_view_get(p->spec, "podManagementPolicy")), "Parallel");
  p->history = (ctl_history_t){.owner = &p->owner,
                               .tmpl = kg_view_get(p->spec, "template"),
                               .hash_label = "controller.kubernetes.io/hash",
                               .informer = p->c->base.informers[REVISIONS],
                               .collisions = kg_view_int(kg_view_get(status, "collisionCount"), 0)};
  ctl_history_sync(p->ctx, p->sync, &p->history);
  p->update = p->history.update;
  if (!p->update) return; /* it comes back with the new revision */
  p->current = ctl_revision_find(&p->history, kg_view_str(kg_view_get(status, "currentRevision")));
  if (!p->current) p->current = p->update;
  pods_read(p);
  if (!kube_deleting(p->object)) roll(p);
  status_write(p);
  ctl_history_trim(p->ctx, p->sync, &p->history, kg_view_int(kg_view_get(p->spec, "revisionHistoryLimit"), 10), is_live,
                   p);
  if (p->wait_ms != INT64_MAX) kube_queue_add_after(p->ctx, p->c->base.work.queue, ctl_sync_key(p->sync), p->wait_ms);
}

void statefulset_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  ssc_t *c = self;
  kg_doc_t *doc;
  ctl_sync_t *s = ctl_sync_object(&c->base.work, key, c->base.informers[SETS], &doc);
  kube_selector_t *selector = doc ? ctl_selector_of(kg_view_of(doc), NULL) : NULL;
  if (selector) {
    pass_t *p = kube_arena_alloc(ctl_arena(s), sizeof *p);
    *p = (pass_t){.ctx = ctx, .c = c, .sync = s, .arena = ctl_arena(s), .doc = doc};
    p->object = kg_view_of(doc);
    p->owner = (ctl_owner_t){p->object, "apps/v1", "StatefulSet", selector};
    run(p);
    kube_selector_free(selector);
  }
  ctl_sync_end(ctx, self, s);
}
