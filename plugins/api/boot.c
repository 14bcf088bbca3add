/* The objects a cluster begins with, and the end of Events. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rbac.h"

enum { EVENT_LIFE_S = 3600, EXPIRE_MS = 300000, SECURE_PORT = 6443 };

static void pack_meta(kg_pack_t *p, const char *name) {
  kg_pack_key(p, "metadata");
  kg_pack_map(p);
  kg_pack_kv_str(p, "name", name);
}

static kg_doc_t *namespace_doc(const char *name) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  pack_meta(&p, name);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static kg_doc_t *class_doc(const char *name, int64_t value, const char *description) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  pack_meta(&p, name);
  kg_pack_end(&p);
  kg_pack_kv_int(&p, "value", value);
  kg_pack_kv_str(&p, "description", description);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void pack_port(kg_pack_t *p, int64_t target) {
  kg_pack_key(p, "ports");
  kg_pack_array(p);
  kg_pack_map(p);
  kg_pack_kv_str(p, "name", "https");
  kg_pack_kv_int(p, "port", 443);
  kg_pack_kv_str(p, "protocol", "TCP");
  kg_pack_kv_int(p, "targetPort", target);
  kg_pack_end(p);
  kg_pack_end(p);
}

/* The API's own service, at the first address of the range. */
static kg_doc_t *service_doc(api_t *api) {
  kg_view_t config = kg_config(api->ctx);
  char ip[32];
  services_first_ip(api, ip);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  pack_meta(&p, "kubernetes");
  kg_pack_key(&p, "labels");
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "component", "apiserver");
  kg_pack_kv_str(&p, "provider", "kubernetes");
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_pack_key(&p, "spec");
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "clusterIP", ip);
  pack_port(&p, kg_view_int(kg_view_get(config, "securePort"), SECURE_PORT));
  kg_pack_kv_str(&p, "type", "ClusterIP");
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

/* The range that service addresses come from, as Kubernetes shows it (KEP-1880). */
static kg_doc_t *range_doc(api_t *api) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  pack_meta(&p, "kubernetes");
  kg_pack_end(&p);
  kg_pack_key(&p, "spec");
  kg_pack_map(&p);
  kg_pack_key(&p, "cidrs");
  kg_pack_array(&p);
  kg_pack_str(&p, services_cidr(api));
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void step(api_t *api);

/* Nothing is written before it is known what policies want to see, not even in the moment of a swap. */
static void ready(api_t *api) {
  if (api->ready || !api->booted || !api->policies_known) return;
  api->ready = true;
  kg_ready(api->ctx);
}

void policies_known(api_t *api) {
  api->policies_known = true;
  ready(api);
}

enum { AGAIN_MS = 250 };

static void on_again(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  step(self);
}

static void on_made(write_t *w, void *arg) {
  api_t *api = arg;
  if (w->fault.code && w->fault.code != 409) {
    kg_log(api->ctx, KG_LOG_WARN, "cannot make the first objects, trying again: %s", w->fault.message);
    api->booting--;
    kg_timer(api->ctx, AGAIN_MS, 0, on_again, NULL);
    return;
  }
  step(api);
}

static void make(api_t *api, const char *group, const char *resource, const char *ns, const char *name, kg_doc_t *doc) {
  char key[300];
  collection_t *c = cache_find(api, group, resource);
  snprintf(key, sizeof key, "%s%s%s", ns, ns[0] ? "/" : "", name);
  write_t *w = c && doc && !sorted_get(&c->objects, kg_str(key))
                   ? write_new(api, c->r, W_CREATE, kg_str(ns), (kg_str_t){0}, doc)
                   : NULL;
  kg_doc_unref(doc);
  if (!w) return step(api);
  w->then = on_made;
  w->then_arg = api;
  write_run(w);
}

/* One object after the other: each may need the one before. */
static void step(api_t *api) {
  static const char *const spaces[] = {"default", "kube-system", "kube-public", "kube-node-lease"};
  unsigned i = api->booting++;
  if (i < 4) return make(api, "", "namespaces", "", spaces[i], namespace_doc(spaces[i]));
  if (i == 4)
    return make(api, "scheduling.k8s.io", "priorityclasses", "", "system-node-critical",
                class_doc("system-node-critical", 2000001000,
                          "Used for system critical pods that must not be moved from their current node."));
  if (i == 5)
    return make(api, "scheduling.k8s.io", "priorityclasses", "", "system-cluster-critical",
                class_doc("system-cluster-critical", 2000000000,
                          "Used for system critical pods that must run in the cluster, but can be moved to another "
                          "node if necessary."));
  if (i == 6) return make(api, "", "services", "default", "kubernetes", service_doc(api));
  if (i == 7) return make(api, "networking.k8s.io", "servicecidrs", "", "kubernetes", range_doc(api));
  if (i == 8) return rbac_boot(api, step);
  api->booted = true;
  ready(api);
}

void boot(api_t *api) {
  api->booting = 0;
  step(api);
}

/* `kubectl delete all --all` takes the API's own Service along; pods find the API by it. */
void boot_missed(api_t *api, kg_str_t key) {
  if (!api->ready || !kg_str_is(key, "default/kubernetes")) return;
  api->booting = 0;
  kg_timer(api->ctx, AGAIN_MS, 0, on_again, NULL);
}

/* --- the end of events ------------------------------------------------------------------------------------------- */

static int64_t last_seen(kg_view_t event) {
  int64_t latest = 0, t;
  kg_view_t times[] = {kg_view_path(event, "metadata", "creationTimestamp", NULL), kg_view_get(event, "lastTimestamp"),
                       kg_view_path(event, "series", "lastObservedTime", NULL)};
  for (int i = 0; i < 3; i++)
    if (kube_time_parse(kg_view_str(times[i]), &t) == 0 && t > latest) latest = t;
  return latest;
}

static void on_expired(write_t *w, void *arg) {
  (void)w, (void)arg;
}

static void on_expire(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  api_t *api = self;
  api->expire_timer = 0;
  collection_t *c = cache_find(api, "", "events");
  if (!c || !api->loaded) return;
  int64_t before = kg_wall_us(ctx) - EVENT_LIFE_S * INT64_C(1000000);
  object_t **old = malloc((c->objects.count + 1) * sizeof *old);
  size_t n = 0;
  sorted_pos_t pos = {0, 0};
  for (object_t *o; old && (o = sorted_at(&c->objects, &pos));)
    if (last_seen(object_view(o)) < before) old[n++] = object_ref(o);
  for (size_t i = 0; i < n; i++) {
    write_t *w =
        write_new(api, c->r, W_DELETE, kube_namespace(object_view(old[i])), kube_name(object_view(old[i])), NULL);
    if (w) w->then = on_expired;
    write_run(w);
    object_unref(old[i]);
  }
  free(old);
  if (c->objects.count) expire_arm(api);
}

/* Set only while there are Events: an idle cluster does not tick. */
void expire_arm(api_t *api) {
  if (!api->expire_timer) api->expire_timer = kg_timer(api->ctx, EXPIRE_MS, 0, on_expire, NULL);
}
