#include <stdlib.h>
#include <string.h>

#include "control.h"

int ctl_base_create(kg_ctx_t *ctx, void **self, const ctl_spec_t *spec, kg_error_t *err) {
  ctl_base_t *c = calloc(1, spec->size);
  if (!c) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  c->spec = spec;
  c->recorder = kube_recorder_new(spec->component, NULL);
  if (!c->recorder) {
    free(c);
    return kg_error_set(err, KG_EINTERNAL, "out of memory");
  }
  if (spec->begin && spec->begin(ctx, c, err)) {
    kube_recorder_free(c->recorder);
    free(c);
    return -1;
  }
  *self = c;
  return 0;
}

static unsigned watches(const ctl_base_t *c) {
  unsigned n = 0;
  while (c->spec->watches[n].gvr.resource) n++;
  return n;
}

static void on_synced(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  ctl_base_t *c = self;
  if (++c->synced == watches(c)) kg_ready(ctx);
}

int ctl_base_start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  ctl_base_t *c = self;
  for (unsigned i = 0; i < watches(c); i++) {
    const ctl_watch_t *w = &c->spec->watches[i];
    c->informers[i] = kube_informer_start(ctx, &(kube_informer_config_t){.gvr = w->gvr,
                                                                         .ns = w->ns,
                                                                         .field_selector = w->field_selector,
                                                                         .on_change = w->fn,
                                                                         .on_synced = on_synced});
    if (!c->informers[i]) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  }
  return c->spec->start ? c->spec->start(ctx, self, err) : 0;
}

void ctl_base_activate(kg_ctx_t *ctx, void *self) {
  ctl_base_t *c = self;
  ctl_work_begin(ctx, &c->work, c->spec->sync, c->spec->parallel ? c->spec->parallel : 64);
  for (unsigned i = 0; i < watches(c); i++)
    if (c->spec->watches[i].keys) ctl_work_add_all(ctx, &c->work, c->informers[i]);
  if (c->spec->active) c->spec->active(ctx, self);
}

void ctl_base_drain(kg_ctx_t *ctx, void *self) {
  ctl_work_drain(ctx, &((ctl_base_t *)self)->work);
}

void ctl_base_stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  const ctl_base_t *c = self;
  for (unsigned i = 0; i < watches(c); i++)
    if (c->informers[i] && c->spec->watches[i].keys)
      kg_pack_kv_int(p, c->spec->watches[i].gvr.resource, (int64_t)kube_informer_count(c->informers[i]));
  if (c->spec->stats) c->spec->stats(self, p);
  ctl_work_stats(&c->work, p);
}

void ctl_base_destroy(kg_ctx_t *ctx, void *self) {
  ctl_base_t *c = self;
  ctl_work_free(ctx, &c->work);
  if (c->spec->end) c->spec->end(ctx, self);
  for (unsigned i = 0; i < CTL_INFORMERS; i++) kube_informer_stop(ctx, c->informers[i]);
  kube_recorder_free(c->recorder);
  free(c);
}

void ctl_on_key(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)change, (void)old, (void)arg;
  char key[CTL_KEY_MAX];
  ctl_work_add(ctx, &((ctl_base_t *)self)->work, ctl_key(now, key));
}

void ctl_add_matching(kg_ctx_t *ctx, ctl_base_t *c, const kube_informer_t *of, kg_view_t object) {
  size_t first, count;
  char key[CTL_KEY_MAX];
  if (!kg_view_count(kube_labels(object))) return;
  kube_informer_ns(of, kube_namespace(object), &first, &count);
  for (size_t i = first; i < first + count; i++) {
    kg_view_t owner = kg_view_of(kube_informer_at(of, i));
    kube_selector_t *selector = ctl_selector_of(owner, NULL);
    if (selector && kube_selector_matches(selector, kube_labels(object)))
      ctl_work_add(ctx, &c->work, ctl_key(owner, key));
    kube_selector_free(selector);
  }
}

bool ctl_seen_pod(const ctl_base_t *c, kg_view_t pod) {
  for (unsigned i = 0; i < CTL_INFORMERS; i++) {
    const kube_gvr_t *gvr = &c->spec->watches[i].gvr;
    if (gvr->resource && !strcmp(gvr->resource, "pods"))
      return kube_informer_get(c->informers[i], kube_namespace(pod), kube_name(pod)) != NULL;
  }
  return false;
}
