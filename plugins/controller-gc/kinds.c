/* Which kinds there are: an informer for each that can be listed, watched and deleted. */
#include <stdlib.h>
#include <string.h>

#include "gc.h"

enum { AGAIN_MS = 500, RETRY_MS = 2000 };

static void discover_due(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  gcc_t *c = self;
  c->timer = 0;
  kinds_discover(ctx, c);
}

static void later(kg_ctx_t *ctx, gcc_t *c, int64_t ms) {
  if (!c->timer) c->timer = kg_timer(ctx, ms, 0, discover_due, NULL);
}

/* New kinds are served a moment after their definition has changed. */
static void on_definition(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)change, (void)old, (void)now, (void)arg;
  if (((gcc_t *)self)->ready) later(ctx, self, AGAIN_MS);
}

/* Objects of a kind that is gone are gone. */
static void forget(kg_ctx_t *ctx, gcc_t *c, gc_kind_t *k) {
  kg_doc_t *doc;
  if (!k->informer) return;
  for (size_t d = 0; (doc = kube_informer_at(k->informer, d)); d++) graph_remove(c, k, kg_view_of(doc));
  c->unsynced -= !kube_informer_synced(k->informer);
  kube_informer_stop(ctx, k->informer);
  k->informer = NULL;
}

static void all_synced(kg_ctx_t *ctx, gcc_t *c) {
  if (c->unsynced) return;
  if (c->ready) return gc_consider_all(ctx, c); /* owners of kinds that were not known */
  c->ready = true;
  kg_ready(ctx);
}

static void on_synced(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  gcc_t *c = self;
  c->unsynced--;
  all_synced(ctx, c);
}

/* Events own nothing, are owned by nothing worth waiting for, and are many. */
static bool wanted(const ctl_kind_t *k) {
  return k->list && k->watch && k->delete &&strcmp(k->resource, "events");
}

static bool is_definitions(const ctl_kind_t *k) {
  return !strcmp(k->group, "apiextensions.k8s.io") && !strcmp(k->resource, "customresourcedefinitions");
}

typedef struct reading {
  kg_ctx_t *ctx;
  gcc_t *c;
} reading_t;

static gc_kind_t *slot(gcc_t *c, const ctl_kind_t *k) {
  for (unsigned i = 0; i < c->nkinds; i++)
    if (!strcmp(c->kinds[i]->kind.resource, k->resource) && !strcmp(c->kinds[i]->kind.group, k->group))
      return c->kinds[i];
  gc_kind_t **kinds = realloc(c->kinds, (c->nkinds + 1) * sizeof *kinds), *x = kinds ? calloc(1, sizeof *x) : NULL;
  if (kinds) c->kinds = kinds;
  if (!x) return NULL;
  x->number = c->nkinds;
  return c->kinds[c->nkinds++] = x;
}

static void add(const ctl_kind_t *k, void *arg) {
  const reading_t *r = arg;
  gcc_t *c = r->c;
  gc_kind_t *x = wanted(k) ? slot(c, k) : NULL;
  if (!x) return;
  x->seen = true;
  if (x->informer && !strcmp(x->kind.version, k->version)) return;
  forget(r->ctx, c, x);
  x->kind = *k;
  c->unsynced++;
  kube_gvr_t gvr = {x->kind.group, x->kind.version, x->kind.resource};
  x->informer = kube_informer_start(
      r->ctx, &(kube_informer_config_t){.gvr = gvr, .on_change = gc_changed, .on_synced = on_synced, .arg = x});
  if (is_definitions(k) && !c->definitions)
    c->definitions = kube_informer_start(r->ctx, &(kube_informer_config_t){.gvr = gvr, .on_change = on_definition});
}

static void discovered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  gcc_t *c = self;
  reading_t r = {ctx, c};
  if (kg_msg_type(m) == KG_MSG_REPLY)
    ctl_kinds(kg_view_of(kg_msg_doc(m, 0)), add, &r);
  else
    c->failed = true;
  if (--c->asking) return;
  if (c->failed) return later(ctx, c, RETRY_MS);
  for (unsigned i = 0; i < c->nkinds; i++)
    if (!c->kinds[i]->seen) forget(ctx, c, c->kinds[i]);
  if (!c->ready) all_synced(ctx, c);
}

static void ask(kg_ctx_t *ctx, const char *what) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "what", what);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_send(ctx, &(kg_request_t){.service = "api", .topic = "api.discovery", .args = args, .fn = discovered});
  kg_doc_unref(args);
}

void kinds_discover(kg_ctx_t *ctx, gcc_t *c) {
  if (c->asking) return later(ctx, c, AGAIN_MS);
  for (unsigned i = 0; i < c->nkinds; i++) c->kinds[i]->seen = false;
  c->failed = false;
  c->asking = 2;
  ask(ctx, "aggregated-api");
  ask(ctx, "aggregated-apis");
}

gc_kind_t *kind_find(const gcc_t *c, kg_str_t api_version, kg_str_t kind) {
  const char *slash = api_version.n ? memchr(api_version.p, '/', api_version.n) : NULL;
  kg_str_t group = {api_version.p, slash ? (size_t)(slash - api_version.p) : 0};
  for (unsigned i = 0; i < c->nkinds; i++) {
    gc_kind_t *k = c->kinds[i];
    if (k->informer && kg_str_is(kind, k->kind.kind) && kg_str_is(group, k->kind.group)) return k;
  }
  return NULL;
}

void kinds_free(kg_ctx_t *ctx, gcc_t *c) {
  for (unsigned i = 0; i < c->nkinds; i++) {
    kube_informer_stop(ctx, c->kinds[i]->informer);
    free(c->kinds[i]);
  }
  kube_informer_stop(ctx, c->definitions);
  free(c->kinds);
}
