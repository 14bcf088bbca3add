#ifndef KUBE_DEFAULT_CALLS_H
#define KUBE_DEFAULT_CALLS_H
/* The functions that `call:NAME` in schema/defaults.txt names; each works on one struct. */
#include "kube/tree.h"

void kube_default_image_pull_policy(kube_arena_t *a, kube_node_t *n);
void kube_default_image_volume_pull_policy(kube_arena_t *a, kube_node_t *n);
void kube_default_grace_period(kube_arena_t *a, kube_node_t *n);
void kube_default_pod_resources(kube_arena_t *a, kube_node_t *n);
void kube_default_host_ports(kube_arena_t *a, kube_node_t *n);
void kube_default_service_account(kube_arena_t *a, kube_node_t *n);
void kube_default_container_resources(kube_arena_t *a, kube_node_t *n);
void kube_default_volume_source(kube_arena_t *a, kube_node_t *n);
void kube_default_string_data(kube_arena_t *a, kube_node_t *n);
void kube_default_namespace_label(kube_arena_t *a, kube_node_t *n);
void kube_default_labels_from_template(kube_arena_t *a, kube_node_t *n);
void kube_default_limit_range(kube_arena_t *a, kube_node_t *n);
void kube_default_crd_names(kube_arena_t *a, kube_node_t *n);
void kube_default_pod_cidrs(kube_arena_t *a, kube_node_t *n);
void kube_default_claim_templates(kube_arena_t *a, kube_node_t *n);
void kube_default_session_affinity(kube_arena_t *a, kube_node_t *n);

#endif
