/* The api role as a plugin. */
#include <stdio.h>

#include <stdlib.h>

#include "custom.h"
#include "rbac.h"

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  api_t *api = self;
  api->draining = false;
  while (api->waiting) {
    write_t *w = api->waiting;
    api->waiting = w->next;
    write_free(w);
  }
  cache_free(api);
  kg_doc_unref(api->policies);
  custom_free(api);
  services_free(api);
  free(api);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  api_t *api = calloc(1, sizeof *api);
  if (!api) return kg_error_set(err, KG_EINTERNAL, "api: out of memory");
  api->ctx = ctx;
  api->waiting_end = &api->waiting;
  if (cache_init(api, err) < 0 || services_init(api, err) < 0) {
    destroy(ctx, api);
    return -1;
  }
  *self = api;
  return 0;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)ctx, (void)err;
  cache_load(self);
  policy_watch(self);
  return 0;
}

/* The cache shows the store. In a swap the first objects are there already, so nothing is written before activate(). */
void api_loaded(api_t *api) {
  collection_t *events = cache_find(api, "", "events");
  if (events && events->objects.count) expire_arm(api);
  definition_seen(api);
  if (!api->ready) boot(api);
}

static void activate(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  bookmarks_start(self);
}

/* Writes under way are answered by the one that took them. */
static void drain(kg_ctx_t *ctx, void *self) {
  api_t *api = self;
  api->draining = true;
  if (!api->under_way) kg_drained(ctx);
}

static void resume(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  ((api_t *)self)->draining = false;
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  api_t *api = self;
  size_t objects = 0;
  for (size_t i = 0; i < api->ncollections; i++) objects += api->collections[i]->objects.count;
  kg_pack_kv_int(p, "rev", api->rev);
  kg_pack_kv_int(p, "objects", (int64_t)objects);
  kg_pack_kv_int(p, "gets", (int64_t)api->gets);
  kg_pack_kv_int(p, "lists", (int64_t)api->lists);
  kg_pack_kv_int(p, "writes", (int64_t)api->writes);
  kg_pack_kv_int(p, "conflicts", (int64_t)api->conflicts);
  kg_pack_kv_int(p, "watchers", (int64_t)api->nwatchers);
  kg_pack_kv_int(p, "watchItems", (int64_t)api->items);
  kg_pack_key(p, "kinds"); /* objects of each */
  kg_pack_map(p);
  for (size_t i = 0; i < api->ncollections; i++) {
    const kube_resource_t *r = api->collections[i]->r;
    if (!api->collections[i]->objects.count) continue;
    char name[300];
    snprintf(name, sizeof name, "%s%s%s", r->resource, r->group[0] ? "." : "", r->group);
    kg_pack_kv_int(p, name, (int64_t)api->collections[i]->objects.count);
  }
  kg_pack_end(p);
}

static const kg_handler_t handlers[] = {
    {"api.get", on_get},
    {"api.list", on_list},
    {"api.watch", on_watch},
    {"api.create", on_create},
    {"api.update", on_update},
    {"api.patch", on_patch},
    {"api.delete", on_delete},
    {"api.deletecollection", on_deletecollection},
    {"api.table", on_table},
    {"api.resolve", on_resolve},
    {"api.authorize", on_authorize},
    {"api.discovery", on_discovery},
    {"api.openapi", on_openapi},
    {"policy.changed", on_policy_changed},
    {0},
};

static const char *const services[] = {"api", NULL};

KG_PLUGIN(.name = "api", .config_keys = "serviceCIDR securePort", .role = "api", .version = "0.1.0",
          .summary = "Resource semantics of the Kubernetes API on documents.", .services = services,
          .handlers = handlers, .create = create, .start = start, .activate = activate, .drain = drain,
          .resume = resume, .stats = stats, .destroy = destroy);
