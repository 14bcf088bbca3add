#ifndef ENDPOINTS_H
#define ENDPOINTS_H
/*
 * Who is behind a Service: EndpointSlices and the older Endpoints, from the pods its selector matches; and
 * EndpointSlices that mirror Endpoints somebody else writes for a Service without a selector. Keys are services.
 */
#include "control.h"
#include "kube/index.h"

#define LABEL_SERVICE "kubernetes.io/service-name"
#define LABEL_MANAGER "endpointslice.kubernetes.io/managed-by"
#define LABEL_HEADLESS "service.kubernetes.io/headless"
#define LABEL_SKIP "endpointslice.kubernetes.io/skip-mirror"
#define MANAGER "endpointslice-controller.k8s.io"
#define MIRROR_MANAGER "endpointslicemirroring-controller.k8s.io"

enum { SERVICES, PODS, SLICES, ENDPOINTS, NODES };
enum { SLICE_MAX = 100, ENDPOINTS_MAX = 1000 };

typedef struct epc {
  ctl_base_t base;
  ctl_ahead_t ahead;   /* slices made and not yet seen */
  kube_index_t slices; /* by their service */
} epc_t;

extern const kube_gvr_t GVR_SLICES, GVR_ENDPOINTS;

typedef struct endpoint {
  kube_node_t *slice;  /* as in an EndpointSlice */
  kube_node_t *ports;  /* array, as in an EndpointSlice */
  const char *group;   /* text of family and ports: those with the same go together */
  const char *family;  /* "IPv4", "IPv6" */
  bool placed;         /* it has its place in a slice */
  kube_node_t *legacy; /* as an address of Endpoints; NULL: not there */
  bool ready;
} endpoint_t;

typedef struct pass {
  kg_ctx_t *ctx;
  epc_t *c;
  ctl_sync_t *sync;
  kube_arena_t *arena;
  kg_view_t service; /* absent: it has gone */
  kg_str_t ns, name;
  endpoint_t *list;
  size_t n, room;
} pass_t;

endpoint_t *endpoint_add(pass_t *p); /* one more in p->list, zeroed */
const char *ports_group(kube_arena_t *a, const char *family, const kube_node_t *ports);
kube_node_t *port_node(kube_arena_t *a, kg_str_t name, kg_str_t protocol, int64_t port, kg_str_t app);

/* gather.c: fills p->list from the pods. */
void gather(pass_t *p);
const char *service_family(const pass_t *p); /* of Endpoints, and of a Service without endpoints */
bool is_headless(kg_view_t service);

/* slices.c: brings the slices of this manager to what p->list says. `owner` owns new ones, `labels` (of owner) are
 * copied. placeholder: one empty slice if there is nothing. */
typedef struct slice_plan {
  const char *manager;
  kg_view_t owner;
  const char *owner_version, *owner_kind;
  bool placeholder;
} slice_plan_t;
void slices_sync(pass_t *p, const slice_plan_t *plan);

/* legacy.c: the Endpoints object. */
void legacy_sync(pass_t *p);

/* mirror.c: fills p->list from Endpoints and brings the mirrored slices up to date. */
void mirror_sync(pass_t *p, kg_view_t endpoints);
bool is_mirrored(kg_view_t endpoints);

#endif
