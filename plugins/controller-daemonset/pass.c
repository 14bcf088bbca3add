#include "daemonset.h"

static bool is_live(const ctl_revision_t *r, void *arg) {
  const pass_t *p = arg;
  if (r == p->history.update) return true;
  for (size_t i = 0; i < p->npods; i++)
    if (kg_str_eq(kg_view_str(kg_view_get(kube_labels(p->pods[i].object), HASH_LABEL)), r->hash)) return true;
  return false;
}

static bool read_strategy(pass_t *p) {
  kg_view_t strategy = kg_view_get(p->spec, "updateStrategy"), rolling = kg_view_get(strategy, "rollingUpdate");
  if (kg_str_is(kg_view_str(kg_view_get(strategy, "type")), "OnDelete")) return false;
  kg_view_t surge = kg_view_get(rolling, "maxSurge"), most = kg_view_get(rolling, "maxUnavailable");
  p->surge = kg_view_there(surge) ? ctl_resolve(surge, p->desired, true, 0) : 0;
  p->unavailable = kg_view_there(most) ? ctl_resolve(most, p->desired, true, 0) : 1;
  if (!p->surge && !p->unavailable) p->unavailable = 1; /* else it would stand still */
  return true;
}

static void run(pass_t *p) {
  if (kube_deleting(p->object)) return; /* what it owns goes or is orphaned already: nothing could be told for sure */
  p->spec = kg_view_get(p->object, "spec");
  p->min_ready = kg_view_int(kg_view_get(p->spec, "minReadySeconds"), 0);
  p->history = (ctl_history_t){.owner = &p->owner,
                               .tmpl = kg_view_get(p->spec, "template"),
                               .hash_label = HASH_LABEL,
                               .informer = p->c->base.informers[REVISIONS],
                               .collisions = kg_view_int(kg_view_path(p->object, "status", "collisionCount", NULL), 0)};
  ctl_history_sync(p->ctx, p->sync, &p->history);
  if (!p->history.update) return; /* it comes back with the new revision */
  places_read(p);
  pods_read(p);
  bool rolls = read_strategy(p);
  manage(p);
  if (rolls) roll(p);
  daemons_create(p);
  ctl_history_trim(p->ctx, p->sync, &p->history, kg_view_int(kg_view_get(p->spec, "revisionHistoryLimit"), 10), is_live,
                   p);
  status_write(p);
  if (p->wait_ms != INT64_MAX) kube_queue_add_after(p->ctx, p->c->base.work.queue, ctl_sync_key(p->sync), p->wait_ms);
}

void daemonset_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  dsc_t *c = self;
  kg_doc_t *doc;
  ctl_sync_t *s = ctl_sync_object(&c->base.work, key, c->base.informers[SETS], &doc);
  kube_selector_t *selector = doc ? ctl_selector_of(kg_view_of(doc), NULL) : NULL;
  if (!doc) ctl_expect_forget(&c->ahead, key);
  if (selector) {
    pass_t *p = kube_arena_alloc(ctl_arena(s), sizeof *p);
    *p = (pass_t){.ctx = ctx, .c = c, .sync = s, .arena = ctl_arena(s), .doc = doc};
    p->object = kg_view_of(doc);
    p->owner = (ctl_owner_t){p->object, "apps/v1", "DaemonSet", selector};
    run(p);
    kube_selector_free(selector);
  }
  ctl_sync_end(ctx, self, s);
}
