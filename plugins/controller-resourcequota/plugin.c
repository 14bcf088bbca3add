/*
 * Counts what each ResourceQuota limits. It watches only the kinds that some quota names, from the first quota that
 * does so on. The api role checks the limits when objects are made.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "kube/quota.h"
#include "kube/schema.h"

enum { GATHER_MS = 50 }; /* many changes make one count */

typedef struct counted { /* a kind */
  struct counted *next;
  char group[256], version[64], resource[256];
  kube_informer_t *informer;
} counted_t;

typedef struct rqc {
  ctl_base_t base;
  counted_t *kinds;
  kube_informer_t *definitions; /* of custom kinds, once a quota names one; NULL: none did */
} rqc_t;

static const kube_gvr_t GVR_QUOTAS = {"", "v1", "resourcequotas"},
                        GVR_DEFINITIONS = {"apiextensions.k8s.io", "v1", "customresourcedefinitions"};

static void add_quotas(kg_ctx_t *ctx, rqc_t *c, kg_str_t ns, int64_t delay_ms) {
  size_t first, count;
  char key[CTL_KEY_MAX];
  kube_informer_ns(c->base.informers[0], ns, &first, &count);
  for (size_t i = first; i < first + count; i++) {
    kg_view_t quota = kg_view_of(kube_informer_at(c->base.informers[0], i));
    ctl_work_add_after(ctx, &c->base.work, ctl_key(quota, key), delay_ms);
  }
}

/* --- the kinds ---------------------------------------------------------------------------------------------------- */

static void on_counted(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  const counted_t *k = arg;
  if (!kube_informer_synced(k->informer)) return; /* all of it is counted when it is */
  if (change == KUBE_MODIFIED && kg_view_equal(kg_view_get(old, "spec"), kg_view_get(now, "spec")) &&
      kg_view_equal(kg_view_path(old, "status", "phase", NULL), kg_view_path(now, "status", "phase", NULL)))
    return;
  add_quotas(ctx, self, kube_namespace(now), GATHER_MS);
}

static void on_synced(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  rqc_t *c = self;
  ctl_work_add_all(ctx, &c->base.work, c->base.informers[0]);
}

static const char *builtin_version(const char *group, const char *resource) {
  const kube_resource_t *r;
  for (size_t i = 0; (r = kube_resource_at(i)); i++)
    if (!strcmp(r->group, group) && !strcmp(r->resource, resource) && r->namespaced && (r->verbs & KUBE_V_WATCH))
      return r->version;
  return NULL;
}

static void forget(kg_ctx_t *ctx, counted_t **at) {
  counted_t *k = *at;
  *at = k->next;
  kube_informer_stop(ctx, k->informer);
  free(k);
}

static counted_t **find(rqc_t *c, kg_str_t group, kg_str_t resource) {
  counted_t **at = &c->kinds;
  while (*at && !(kg_str_is(group, (*at)->group) && kg_str_is(resource, (*at)->resource))) at = &(*at)->next;
  return at;
}

/* A custom kind came, changed or went: all quotas are counted again. */
static void on_definition(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)old;
  rqc_t *c = self;
  counted_t **at = find(c, kg_view_str(kg_view_path(now, "spec", "group", NULL)),
                        kg_view_str(kg_view_path(now, "spec", "names", "plural", NULL)));
  if (*at && change == KUBE_DELETED) forget(ctx, at);
  if (c->definitions && kube_informer_synced(c->definitions)) on_synced(ctx, self, arg);
}

/* A version in which a custom kind is served; NULL: there is none. *waits: it is not known yet. */
static char *custom_version(kg_ctx_t *ctx, rqc_t *c, kube_arena_t *a, const char *group, const char *resource,
                            bool *waits) {
  kg_str_t none = {NULL, 0}, name = kg_str(kube_arena_fmt(a, "%s.%s", resource, group));
  if (!*group) return NULL;
  if (!c->definitions)
    c->definitions = kube_informer_start(
        ctx, &(kube_informer_config_t){.gvr = GVR_DEFINITIONS, .on_change = on_definition, .on_synced = on_synced});
  *waits |= !kube_informer_synced(c->definitions);
  kg_view_t spec = kg_view_get(kg_view_of(kube_informer_get(c->definitions, none, name)), "spec");
  if (!kg_str_is(kg_view_str(kg_view_get(spec, "scope")), "Namespaced")) return NULL;
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "versions")); kg_iter_next(&it);)
    if (kg_view_bool(kg_view_get(it.value, "served"), false))
      return ctl_text(a, kg_view_str(kg_view_get(it.value, "name")));
  return NULL;
}

/* NULL: there is no such kind. */
static counted_t *kind_of(kg_ctx_t *ctx, rqc_t *c, kube_arena_t *a, const char *group, const char *resource,
                          bool *waits) {
  counted_t *k = *find(c, kg_str(group), kg_str(resource));
  const char *version = k ? NULL : builtin_version(group, resource);
  if (!k && !version) version = custom_version(ctx, c, a, group, resource, waits);
  if (k || !version || !(k = calloc(1, sizeof *k))) return k;
  snprintf(k->group, sizeof k->group, "%s", group);
  snprintf(k->version, sizeof k->version, "%s", version);
  snprintf(k->resource, sizeof k->resource, "%s", resource);
  k->next = c->kinds;
  c->kinds = k;
  k->informer = kube_informer_start(
      ctx, &(kube_informer_config_t){
               .gvr = {k->group, k->version, k->resource}, .on_change = on_counted, .on_synced = on_synced, .arg = k});
  return k;
}

/* --- the pass ----------------------------------------------------------------------------------------------------- */

typedef struct pass {
  kg_ctx_t *ctx;
  rqc_t *c;
  kube_arena_t *arena;
  kg_view_t object, spec;
  kube_amounts_t used;
  bool waits; /* some kind has not been listed yet */
} pass_t;

static void count_kind(pass_t *p, const counted_t *k) {
  size_t first, count;
  kube_informer_ns(k->informer, kube_namespace(p->object), &first, &count);
  for (size_t i = first; i < first + count; i++) {
    kg_view_t v = kg_view_of(kube_informer_at(k->informer, i));
    if (kube_quota_chooses(p->spec, k->group, k->resource, v))
      kube_quota_count(p->arena, &p->used, k->group, k->resource, v);
  }
}

static void count_all(pass_t *p) {
  counted_t **done = kube_arena_alloc(p->arena, (kg_view_count(kg_view_get(p->spec, "hard")) + 1) * sizeof *done);
  size_t n = 0;
  for (kg_iter_t it = kg_iter(kg_view_get(p->spec, "hard")); kg_iter_next(&it);) {
    const char *group, *resource;
    size_t i = 0;
    kube_quota_resource(p->arena, kg_view_str(it.key), &group, &resource);
    counted_t *k = kind_of(p->ctx, p->c, p->arena, group, resource, &p->waits);
    while (k && i < n && done[i] != k) i++;
    if (!k || i < n) continue;
    done[n++] = k;
    p->waits |= !kube_informer_synced(k->informer);
    if (!p->waits) count_kind(p, k);
  }
}

static void write_status(pass_t *p, ctl_sync_t *s) {
  kube_arena_t *a = p->arena;
  kg_view_t hard = kg_view_get(p->spec, "hard");
  kube_node_t *status = kube_map(a), *used = kube_map(a);
  if (kg_view_count(hard)) kube_set(a, status, "hard", kube_tree_clone(a, kube_tree_parse(a, hard)));
  for (kg_iter_t it = kg_iter(hard); kg_iter_next(&it);) {
    const kube_amount_t *x = kube_amounts_find(&p->used, kg_view_str(it.key));
    kube_setn(a, used, kg_view_str(it.key), kube_str(a, kube_amount_text(a, x ? x->milli : 0, x && x->binary)));
  }
  if (used->c.n) kube_set(a, status, "used", used);
  ctl_send_status(p->ctx, s, GVR_QUOTAS, p->object, status);
}

static void sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  rqc_t *c = self;
  kg_doc_t *doc;
  ctl_sync_t *s = ctl_sync_object(&c->base.work, key, c->base.informers[0], &doc);
  if (doc) {
    pass_t p = {.ctx = ctx, .c = c, .arena = ctl_arena(s), .object = kg_view_of(doc)};
    p.spec = kg_view_get(p.object, "spec");
    count_all(&p);
    if (!p.waits) write_status(&p, s);
  }
  ctl_sync_end(ctx, self, s);
}

static void stats(void *self, kg_pack_t *p) {
  int64_t n = 0;
  for (const counted_t *k = ((const rqc_t *)self)->kinds; k; k = k->next) n++;
  kg_pack_kv_int(p, "kinds", n);
}

static void end(kg_ctx_t *ctx, void *self) {
  rqc_t *c = self;
  while (c->kinds) forget(ctx, &c->kinds);
  kube_informer_stop(ctx, c->definitions);
}

static const ctl_spec_t spec = {.size = sizeof(rqc_t),
                                .component = "resourcequota-controller",
                                .sync = sync,
                                .watches = {{.gvr = {"", "v1", "resourcequotas"}, .fn = ctl_on_key, .keys = true}},
                                .stats = stats,
                                .end = end};

CTL_PLUGIN(spec, .name = "controller-resourcequota", .summary = "Counts what ResourceQuotas limit");
