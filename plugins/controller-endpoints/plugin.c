#include "endpoints.h"

const kube_gvr_t GVR_SLICES = {"discovery.k8s.io", "v1", "endpointslices"}, GVR_ENDPOINTS = {"", "v1", "endpoints"};

/* Noted for a service that was deleted: only then do Endpoints of its name go, whoever wrote them. One may well write
 * them before the service. No object has this name. */
static const kg_str_t GONE = {"/", 1};

/* --- who has work ------------------------------------------------------------------------------------------------- */

/* What of a pod endpoints depend on. */
static bool same_for_us(kg_view_t a, kg_view_t b) {
  static const char *const spec[] = {"nodeName", "hostname", "subdomain"}, *const status[] = {"podIP", "phase"};
  for (size_t i = 0; i < 3; i++)
    if (!kg_view_equal(kg_view_path(a, "spec", spec[i], NULL), kg_view_path(b, "spec", spec[i], NULL))) return false;
  for (size_t i = 0; i < 2; i++)
    if (!kg_view_equal(kg_view_path(a, "status", status[i], NULL), kg_view_path(b, "status", status[i], NULL)))
      return false;
  return kube_deleting(a) == kube_deleting(b) && ctl_pod_ready(a, NULL) == ctl_pod_ready(b, NULL) &&
         kg_view_equal(kube_labels(a), kube_labels(b)) &&
         kg_view_equal(kg_view_path(a, "status", "podIPs", NULL), kg_view_path(b, "status", "podIPs", NULL));
}

static void on_pod(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  epc_t *c = self;
  size_t first, count;
  char key[CTL_KEY_MAX];
  if (!c->base.work.queue || (change == KUBE_MODIFIED && same_for_us(old, now))) return;
  kube_informer_ns(c->base.informers[SERVICES], kube_namespace(now), &first, &count);
  for (size_t i = first; i < first + count; i++) {
    kg_view_t service = kg_view_of(kube_informer_at(c->base.informers[SERVICES], i));
    kube_selector_t *s = kube_selector_of_map(kg_view_path(service, "spec", "selector", NULL));
    if (s && (kube_selector_matches(s, kube_labels(now)) ||
              (kg_view_there(old) && kube_selector_matches(s, kube_labels(old)))))
      ctl_work_add(ctx, &c->base.work, ctl_key(service, key));
    kube_selector_free(s);
  }
}

static void on_service(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  epc_t *c = self;
  char key[CTL_KEY_MAX];
  if (change == KUBE_DELETED && c->base.work.queue) ctl_expect(ctx, &c->ahead, ctl_key(now, key), GONE, true);
  ctl_on_key(ctx, self, change, old, now, arg);
}

static kg_str_t service_of(kg_view_t slice) {
  return kg_view_str(kg_view_get(kube_labels(slice), LABEL_SERVICE));
}

static void index_slice(epc_t *c, kube_change_t change, kg_view_t old, kg_view_t now) {
  kg_str_t ns = kube_namespace(now), was = service_of(old), is = service_of(now);
  if (was.n) kube_index_remove(&c->slices, kube_index_key(ns, was), now);
  if (!is.n) return;
  if (change == KUBE_DELETED)
    kube_index_remove(&c->slices, kube_index_key(ns, is), now);
  else
    kube_index_add(&c->slices, kube_index_key(ns, is),
                   kube_informer_get(c->base.informers[SLICES], ns, kube_name(now)));
}

static void on_slice(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  epc_t *c = self;
  kg_str_t manager = kg_view_str(kg_view_get(kube_labels(now), LABEL_MANAGER)), service = service_of(now);
  char key[CTL_KEY_MAX];
  index_slice(c, change, old, now);
  if (service.n && (kg_str_is(manager, MANAGER) || kg_str_is(manager, MIRROR_MANAGER))) {
    ctl_join(key, kube_namespace(now), service);
    ctl_expect_seen(&c->ahead, key, kube_name(now), false);
    if (change == KUBE_DELETED) ctl_expect_seen(&c->ahead, key, kube_name(now), true);
    ctl_work_add(ctx, &c->base.work, key);
  }
}

/* --- the pass ----------------------------------------------------------------------------------------------------- */

static kg_doc_t *find(const pass_t *p, unsigned informer) {
  return kube_informer_get(p->c->base.informers[informer], p->ns, p->name);
}

static void delete_endpoints(pass_t *p, kg_view_t endpoints) {
  ctl_send(p->ctx, p->sync, CTL_DELETE,
           &(kube_call_t){.gvr = GVR_ENDPOINTS,
                          .ns = ctl_text(p->arena, p->ns),
                          .name = ctl_text(p->arena, p->name),
                          .precondition_uid = ctl_text(p->arena, kube_uid(endpoints)),
                          .grace_seconds = -1},
           NULL, NULL);
}

static void mirror(pass_t *p) {
  kg_view_t endpoints = kg_view_of(ctl_keep(p->sync, find(p, ENDPOINTS)));
  mirror_sync(p, kg_view_there(p->service) && is_mirrored(endpoints) ? endpoints : (kg_view_t){0});
}

static void run(pass_t *p) {
  kg_view_t spec = kg_view_get(p->service, "spec"), endpoints = kg_view_of(find(p, ENDPOINTS));
  bool selects = kg_view_count(kg_view_get(spec, "selector")) > 0;
  if (kg_str_is(kg_view_str(kg_view_get(spec, "type")), "ExternalName")) return;
  if (kg_view_there(p->service) && kube_deleting(p->service)) return;
  if (selects) {
    gather(p);
    slices_sync(p, &(slice_plan_t){MANAGER, p->service, "v1", "Service", true});
    legacy_sync(p);
    return;
  }
  /* Slices of a service that has gone, or selects no more, go by the garbage collector or stay the user's. */
  const char *key = ctl_sync_key(p->sync);
  if (!kg_view_there(p->service) && kg_view_there(endpoints) && ctl_expects_deletion_of(&p->c->ahead, key, GONE))
    delete_endpoints(p, endpoints);
  ctl_expect_seen(&p->c->ahead, key, GONE, true);
  mirror(p);
}

static void sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  epc_t *c = self;
  ctl_sync_t *s = ctl_sync_begin(&c->base.work, key);
  pass_t p = {.ctx = ctx, .c = c, .sync = s, .arena = ctl_arena(s)};
  ctl_split(ctl_sync_key(s), &p.ns, &p.name);
  p.service = kg_view_of(ctl_keep(s, find(&p, SERVICES)));
  if (!ctl_expects_creation(ctx, &c->ahead, key)) run(&p);
  ctl_sync_end(ctx, self, s);
}

static void end(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  epc_t *c = self;
  ctl_expect_free(&c->ahead);
  kube_index_free(&c->slices);
}

static const ctl_spec_t spec = {
    .size = sizeof(epc_t),
    .component = "endpoint-slice-controller",
    .sync = sync,
    .watches = {[SERVICES] = {.gvr = {"", "v1", "services"}, .fn = on_service, .keys = true},
                [PODS] = {.gvr = {"", "v1", "pods"}, .fn = on_pod},
                [SLICES] = {.gvr = {"discovery.k8s.io", "v1", "endpointslices"}, .fn = on_slice},
                [ENDPOINTS] = {.gvr = {"", "v1", "endpoints"}, .fn = ctl_on_key, .keys = true},
                [NODES] = {.gvr = {"", "v1", "nodes"}}},
    .end = end};

static const char *const services[] = {"controller/endpoints", NULL}; /* who asks whether it is well */
CTL_PLUGIN(spec, .name = "controller-endpoints", .services = services, .summary = "Says who is behind each Service");
