/* Slices that say what Endpoints of somebody else say. */
#include <string.h>

#include "endpoints.h"

bool is_mirrored(kg_view_t endpoints) {
  if (!kg_view_there(endpoints) || kube_deleting(endpoints)) return false;
  kg_view_t labels = kube_labels(endpoints);
  return !kg_str_is(kg_view_str(kg_view_get(labels, LABEL_SKIP)), "true") &&
         !kg_view_there(kube_annotation(endpoints, "control-plane.alpha.kubernetes.io/leader"));
}

static kube_node_t *slice_form(kube_arena_t *a, kg_view_t address, bool ready) {
  static const char *const kept[] = {"hostname", "targetRef", "nodeName"};
  kube_node_t *e = kube_map(a), *addresses = kube_array(a);
  kube_push(a, addresses, kube_strn(a, kg_view_str(kg_view_get(address, "ip"))));
  kube_set(a, e, "addresses", addresses);
  kube_set(a, kube_sub(a, e, "conditions"), "ready", kube_bool(a, ready));
  for (size_t i = 0; i < 3; i++) {
    kg_view_t v = kg_view_get(address, kept[i]);
    if (kg_view_there(v)) kube_set(a, e, kept[i], kube_tree_parse(a, v));
  }
  return e;
}

static void add(pass_t *p, kg_view_t addresses, kube_node_t *ports, bool ready) {
  for (kg_iter_t it = kg_iter(addresses); kg_iter_next(&it) && p->n < ENDPOINTS_MAX;) {
    kg_str_t ip = kg_view_str(kg_view_get(it.value, "ip"));
    endpoint_t *e = endpoint_add(p);
    e->family = ip.n && memchr(ip.p, ':', ip.n) ? "IPv6" : "IPv4";
    e->slice = slice_form(p->arena, it.value, ready);
    e->ports = ports;
    e->group = ports_group(p->arena, e->family, ports);
  }
}

void mirror_sync(pass_t *p, kg_view_t endpoints) {
  for (kg_iter_t it = kg_iter(kg_view_get(endpoints, "subsets")); kg_iter_next(&it);) {
    kube_node_t *ports = kube_array(p->arena);
    for (kg_iter_t port = kg_iter(kg_view_get(it.value, "ports")); kg_iter_next(&port);)
      kube_push(p->arena, ports,
                port_node(p->arena, kg_view_str(kg_view_get(port.value, "name")),
                          kg_view_str(kg_view_get(port.value, "protocol")),
                          kg_view_int(kg_view_get(port.value, "port"), 0),
                          kg_view_str(kg_view_get(port.value, "appProtocol"))));
    add(p, kg_view_get(it.value, "addresses"), ports, true);
    add(p, kg_view_get(it.value, "notReadyAddresses"), ports, false);
  }
  slices_sync(p, &(slice_plan_t){MIRROR_MANAGER, endpoints, "v1", "Endpoints", false});
}
