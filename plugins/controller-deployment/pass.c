/* One pass over one deployment. */
#include <stdlib.h>
#include <string.h>

#include "deployment.h"

static void read_strategy(pass_t *p) {
  kg_view_t strategy = kg_view_get(p->spec, "strategy"), rolling = kg_view_get(strategy, "rollingUpdate");
  p->recreate = kg_str_is(kg_view_str(kg_view_get(strategy, "type")), "Recreate");
  if (p->recreate) return;
  p->surge = ctl_resolve(kg_view_get(rolling, "maxSurge"), p->replicas, true, 25);
  p->unavailable = ctl_resolve(kg_view_get(rolling, "maxUnavailable"), p->replicas, false, 25);
  /* Neither more nor fewer pods would mean no way forward. */
  if (p->surge == 0 && p->unavailable == 0) p->unavailable = 1;
  if (p->unavailable > p->replicas) p->unavailable = p->replicas;
}

static void read_deployment(pass_t *p) {
  kg_view_t status = kg_view_get(p->object, "status");
  p->spec = kg_view_get(p->object, "spec");
  p->template = kg_view_get(p->spec, "template");
  p->replicas = kg_view_int(kg_view_get(p->spec, "replicas"), 1);
  p->paused = kg_view_bool(kg_view_get(p->spec, "paused"), false);
  p->collisions = kg_view_int(kg_view_get(status, "collisionCount"), 0);
  kg_view_t conditions = kg_view_get(status, "conditions");
  p->conditions = kg_view_count(conditions) ? kube_tree_parse(p->arena, conditions) : kube_array(p->arena);
  read_strategy(p);
}

/* Pausing stops the clock of the progress deadline, resuming starts it anew. */
static void judge_pause(pass_t *p) {
  if (!has_deadline(p)) return;
  kube_node_t *cond = ctl_condition(p->conditions, "Progressing");
  kg_str_t reason = kube_node_str(kube_get(cond, "reason"));
  if (kg_str_is(reason, "ProgressDeadlineExceeded")) return;
  bool noted = cond && kg_str_is(reason, "DeploymentPaused");
  if (p->paused && !noted) progress_set(p, "Unknown", "DeploymentPaused", "Deployment is paused");
  if (!p->paused && noted) progress_set(p, "Unknown", "DeploymentResumed", "Deployment is resumed");
}

static void note_revision(pass_t *p) {
  char *text = kube_arena_fmt(p->arena, "%lld", (long long)p->revision_note);
  if (!p->revision_note || kg_str_is(kg_view_str(kube_annotation(p->object, NOTE_REVISION)), text)) return;
  kube_node_t *patch = kube_map(p->arena);
  kube_node_t *notes = kube_sub(p->arena, kube_sub(p->arena, patch, "metadata"), "annotations");
  kube_set(p->arena, notes, NOTE_REVISION, kube_str(p->arena, text));
  kg_doc_t *doc = kube_tree_doc(patch);
  ctl_send(p->ctx, p->sync, CTL_PATCH,
           &(kube_call_t){.gvr = GVR_DEPLOYMENTS,
                          .ns = ctl_text(p->arena, kube_namespace(p->object)),
                          .name = ctl_text(p->arena, kube_name(p->object)),
                          .object = doc,
                          .patch_type = "merge",
                          .grace_seconds = -1},
           NULL, NULL);
  kg_doc_unref(doc);
}

static void decide(pass_t *p) {
  judge_pause(p);
  if (p->paused || scale_wanted(p)) {
    revision_sync(p, false);
    scale_sets(p);
    if (p->paused) clean_history(p);
    status_write(p, false);
    return;
  }
  if (p->recreate) {
    if (p->newest) revision_sync(p, false);
    recreate(p);
  } else {
    if (!revision_sync(p, true)) roll(p);
  }
  kube_node_t *status = status_make(p, true);
  if (deployment_complete(p, status)) clean_history(p);
  ctl_send_status(p->ctx, p->sync, GVR_DEPLOYMENTS, p->object, status);
}

static void run(pass_t *p) {
  sets_read(p);
  if (kube_deleting(p->object)) return status_write(p, false);
  decide(p);
  sets_write(p);
  note_revision(p);
}

void deployment_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  dc_t *c = self;
  kg_str_t ns, name;
  kg_error_t err = {0};
  ctl_split(key, &ns, &name);
  kg_doc_t *doc = kube_informer_get(c->deployments, ns, name);
  kg_view_t object = kg_view_of(doc);
  kube_selector_t *selector = doc ? kube_selector_of(kg_view_path(object, "spec", "selector", NULL), &err) : NULL;
  if (!selector) {
    if (doc) kg_log(ctx, KG_LOG_WARN, "Deployment %s: its selector cannot be used: %s", key, err.text);
    kube_queue_done(ctx, c->work.queue, key, false);
    return;
  }
  pass_t p = {.ctx = ctx, .c = c, .sync = ctl_sync_begin(&c->work, key), .object = object};
  p.arena = ctl_arena(p.sync);
  p.doc = ctl_keep(p.sync, doc);
  p.owner = (ctl_owner_t){object, "apps/v1", "Deployment", selector};
  read_deployment(&p);
  run(&p);
  kube_selector_free(selector);
  ctl_sync_end(ctx, self, p.sync);
}
