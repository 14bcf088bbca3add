#include <stdlib.h>
#include <string.h>

#include "namespace.h"

enum { GATHER_MS = 20 }; /* many deletions make one pass */

static void again(kg_ctx_t *ctx, nsc_t *c, const wait_t *w) {
  ctl_work_add_after(ctx, &c->base.work, w->key, GATHER_MS);
}

static void on_change(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)old, (void)now;
  if (change != KUBE_ADDED) again(ctx, self, arg);
}

/* What went between the pass and the first list is not told otherwise. */
static void on_synced(kg_ctx_t *ctx, void *self, void *arg) {
  again(ctx, self, arg);
}

static wait_t *wait_of(nsc_t *c, const char *key) {
  wait_t *w = c->waits;
  while (w && strcmp(w->key, key)) w = w->next;
  if (w) return w;
  w = calloc(1, sizeof *w);
  if (w) w->key = strdup(key);
  if (!w || !w->key) {
    free(w);
    return NULL;
  }
  w->next = c->waits;
  return c->waits = w;
}

static void watch(pass_t *p, wait_t *w, const ctl_kind_t *k) {
  for (struct waited *x = w->list; x; x = x->next)
    if (!strcmp(x->kind.resource, k->resource) && !strcmp(x->kind.group, k->group)) return;
  struct waited *x = calloc(1, sizeof *x);
  if (!x) return ctl_sync_failed(p->sync);
  x->kind = *k;
  x->next = w->list;
  w->list = x;
  kube_gvr_t gvr = {x->kind.group, x->kind.version, x->kind.resource};
  x->informer = kube_informer_start(
      p->ctx,
      &(kube_informer_config_t){.gvr = gvr, .ns = p->name, .on_change = on_change, .on_synced = on_synced, .arg = w});
}

void wait_for(pass_t *p) {
  wait_t *w = wait_of(p->c, ctl_sync_key(p->sync));
  if (!w) return ctl_sync_failed(p->sync);
  for (found_t *f = p->kinds; f; f = f->next)
    if (found_count(f) && f->kind.watch)
      watch(p, w, &f->kind);
    else if (found_count(f))
      ctl_sync_failed(p->sync); /* nobody tells: look again later */
}

static void drop(kg_ctx_t *ctx, wait_t **at) {
  wait_t *w = *at;
  *at = w->next;
  while (w->list) {
    struct waited *x = w->list;
    w->list = x->next;
    kube_informer_stop(ctx, x->informer);
    free(x);
  }
  free(w->key);
  free(w);
}

void wait_forget(kg_ctx_t *ctx, nsc_t *c, const char *key) {
  wait_t **at = &c->waits;
  while (*at && strcmp((*at)->key, key)) at = &(*at)->next;
  if (*at) drop(ctx, at);
}

void wait_free(kg_ctx_t *ctx, nsc_t *c) {
  while (c->waits) drop(ctx, &c->waits);
}
