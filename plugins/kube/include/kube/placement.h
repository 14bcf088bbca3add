#ifndef KUBE_PLACEMENT_H
#define KUBE_PLACEMENT_H
/* What pods and nodes say about each other: taints and tolerations, node selectors and required node affinity. Any
 * thread. */
#include "kogge/view.h"

bool kube_tolerates(kg_view_t toleration, kg_view_t taint);
bool kube_tolerated(kg_view_t tolerations, kg_view_t taint); /* by any of the array */
/* spec.nodeSelector of a pod against the labels of a node. */
bool kube_selects_node(kg_view_t pod_spec, kg_view_t node_labels);
/* A term of a node selector: all its matchExpressions (labels) and matchFields (metadata.name) hold. */
bool kube_node_term_matches(kg_view_t term, kg_view_t node_labels, kg_str_t node_name);
/* Required node affinity of a pod. */
bool kube_affine_to_node(kg_view_t pod_spec, kg_view_t node_labels, kg_str_t node_name);

/* Host ports: of containers and of init containers that stay (sidecars). Two clash that have the same port and
 * protocol, on the same address or where one is on all of them. The views are the specs of two pods. */
bool kube_wants_host_port(kg_view_t pod_spec);
bool kube_host_ports_clash(kg_view_t pod_spec, kg_view_t other_spec);

#endif
