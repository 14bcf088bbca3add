#ifndef KUBE_SERVICES_H
#define KUBE_SERVICES_H
/* What the roles of a node that serve Services (dns, proxy) begin with. Lane thread. */
#include "kube/informer.h"

typedef struct kube_services_config {
  kube_change_fn on_service, on_slice;
  kube_synced_fn on_synced; /* once for each of the two */
  kg_reply_fn on_network;   /* answer to network.status; later changes come as event network.configured */
} kube_services_config_t;

/* Informers of all Services and EndpointSlices, and the question for the node's network. The caller stops both
 * informers, after an error too. 0, or -1 with err. */
int kube_services_start(kg_ctx_t *ctx, const kube_services_config_t *c, kube_informer_t **services,
                        kube_informer_t **slices, kg_error_t *err);

#endif
