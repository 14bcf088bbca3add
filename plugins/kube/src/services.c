#include "kube/services.h"

int kube_services_start(kg_ctx_t *ctx, const kube_services_config_t *c, kube_informer_t **services,
                        kube_informer_t **slices, kg_error_t *err) {
  kube_informer_config_t of_services = {
      .gvr = {"", "v1", "services"}, .on_change = c->on_service, .on_synced = c->on_synced};
  kube_informer_config_t of_slices = {
      .gvr = {"discovery.k8s.io", "v1", "endpointslices"}, .on_change = c->on_slice, .on_synced = c->on_synced};
  *services = kube_informer_start(ctx, &of_services);
  *slices = kube_informer_start(ctx, &of_slices);
  if (!*services || !*slices) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  kg_subscribe(ctx, "network.configured");
  kg_send(ctx, &(kg_request_t){.service = "network", .topic = "network.status", .fn = c->on_network});
  return 0;
}
