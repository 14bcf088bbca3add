/* Signs of life. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle.h"

kg_str_t condition_status(kg_view_t object, const char *type) {
  return kg_view_str(kg_view_get(kube_condition_of(object, type), "status"));
}

watched_t *watched_find(const nlc_t *c, kg_str_t name) {
  watched_t *w = c->nodes;
  while (w && !kg_str_is(name, w->name)) w = w->next;
  return w;
}

bool all_disrupted(const nlc_t *c) {
  return c->nnodes && !c->nready;
}

static void add_node(kg_ctx_t *ctx, nlc_t *c, kg_str_t name) {
  char key[CTL_KEY_MAX];
  snprintf(key, sizeof key, "/" KG_STR_FMT, KG_STR_ARG(name));
  ctl_work_add(ctx, &c->base.work, key);
}

static void on_grace(kg_ctx_t *ctx, void *self, void *arg) {
  nlc_t *c = self;
  watched_t *w = arg;
  int64_t left = w->seen_ms + c->grace_ms - kg_now_ms(ctx);
  w->timer = left > 0 ? kg_timer(ctx, left, 0, on_grace, w) : 0;
  w->overdue = left <= 0;
  if (w->overdue) add_node(ctx, c, kg_str(w->name));
}

static void seen(kg_ctx_t *ctx, nlc_t *c, watched_t *w) {
  w->seen_ms = kg_now_ms(ctx);
  if (!w->timer) w->timer = kg_timer(ctx, c->grace_ms, 0, on_grace, w);
  if (w->overdue) add_node(ctx, c, kg_str(w->name));
  w->overdue = false;
}

/* The change between "some are ready" and "none is" concerns all nodes. */
static void set_ready(kg_ctx_t *ctx, nlc_t *c, watched_t *w, bool ready) {
  bool before = all_disrupted(c);
  c->nready += (size_t)ready - (size_t)w->ready;
  w->ready = ready;
  if (before != all_disrupted(c)) ctl_work_add_all(ctx, &c->base.work, c->base.informers[NODES]);
}

static watched_t *watch(kg_ctx_t *ctx, nlc_t *c, kg_view_t node) {
  watched_t *w = calloc(1, sizeof *w);
  if (w) w->name = kg_str_dup(kube_name(node));
  if (!w || !w->name) {
    free(w);
    return NULL;
  }
  w->next = c->nodes;
  c->nodes = w;
  c->nnodes++;
  seen(ctx, c, w);
  return w;
}

static void event(kg_ctx_t *ctx, nlc_t *c, kg_view_t node, const char *reason, const char *what, const char *where) {
  kg_str_t name = kube_name(node);
  if (c->base.work.queue)
    kube_event(ctx, c->base.recorder, node, "Normal", reason, "Node " KG_STR_FMT " event: %s Node " KG_STR_FMT " %s",
               KG_STR_ARG(name), what, KG_STR_ARG(name), where);
}

static void forget(kg_ctx_t *ctx, nlc_t *c, watched_t *w) {
  watched_t **at = &c->nodes;
  while (*at != w) at = &(*at)->next;
  *at = w->next;
  kg_timer_cancel(ctx, w->timer);
  c->nready -= w->ready;
  c->nnodes--;
  free(w->name);
  free(w);
}

static bool heartbeat_changed(kg_view_t old, kg_view_t now) {
  return !kg_str_eq(kg_view_str(kg_view_get(kube_condition_of(old, "Ready"), "lastHeartbeatTime")),
                    kg_view_str(kg_view_get(kube_condition_of(now, "Ready"), "lastHeartbeatTime")));
}

void on_node(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  nlc_t *c = self;
  watched_t *w = watched_find(c, kube_name(now));
  if (change == KUBE_DELETED) {
    if (w) forget(ctx, c, w);
    event(ctx, c, now, "RemovingNode", "Removing", "from Controller");
    return;
  }
  if (!w) {
    if (!(w = watch(ctx, c, now))) return;
    event(ctx, c, now, "RegisteredNode", "Registered", "in Controller");
  } else if (heartbeat_changed(old, now)) {
    seen(ctx, c, w);
  }
  set_ready(ctx, c, w, kg_str_is(condition_status(now, "Ready"), "True"));
  add_node(ctx, c, kube_name(now));
  if (has_no_execute(now) || has_no_execute(old))
    if (!kg_view_equal(kg_view_path(old, "spec", "taints", NULL), kg_view_path(now, "spec", "taints", NULL)))
      add_pods_of(ctx, c, kube_name(now));
}

void on_lease(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  watched_t *w = watched_find(self, kube_name(now));
  kg_view_t before = kg_view_path(old, "spec", "renewTime", NULL), after = kg_view_path(now, "spec", "renewTime", NULL);
  if (w && change != KUBE_DELETED && !kg_str_eq(kg_view_str(before), kg_view_str(after))) seen(ctx, self, w);
}

void watched_free(nlc_t *c) {
  while (c->nodes) {
    watched_t *w = c->nodes;
    c->nodes = w->next;
    free(w->name);
    free(w);
  }
}
