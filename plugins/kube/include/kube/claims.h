#ifndef KUBE_CLAIMS_H
#define KUBE_CLAIMS_H
/* Persistent volumes and the claims on them, as core/v1 has them: whole objects. Any thread. */
#include <stdbool.h>

#include "kogge/view.h"

#define KUBE_SELECTED_NODE "volume.kubernetes.io/selected-node"
#define KUBE_BIND_COMPLETED "pv.kubernetes.io/bind-completed"
#define KUBE_BOUND_BY_CONTROLLER "pv.kubernetes.io/bound-by-controller"
#define KUBE_NO_PROVISIONER "kubernetes.io/no-provisioner"

enum { KUBE_CLAIM_NAME = 320 };
/* The claim behind a volume of a pod (persistentVolumeClaim, or ephemeral: POD-VOLUME); false: there is none. */
bool kube_claim_of(kg_view_t pod, kg_view_t volume, char name[KUBE_CLAIM_NAME]);
/* That of an ephemeral volume has to be the pod's own. */
bool kube_claim_is_of_pod(kg_view_t claim, kg_view_t pod);

/* The class of a claim or of a volume; empty: none. */
kg_str_t kube_storage_class_of(kg_view_t object);
/* Bytes that a claim asks for, or that a volume has. */
int64_t kube_storage_bytes(kg_view_t claim);
int64_t kube_volume_bytes(kg_view_t volume);

/* Bound, and the controller is done with it. */
bool kube_claim_is_bound(kg_view_t claim);
/* The volume's claimRef is this claim (the reference of somebody who did not know the uid counts). */
bool kube_volume_is_of(kg_view_t volume, kg_view_t claim);
/* What the volume lacks of what the claim asks for, as Kubernetes tells it; NULL: nothing. Selectors do not count. */
const char *kube_volume_lacks(kg_view_t volume, kg_view_t claim);
/* It is free and has all that the claim asks for; whether a node reaches it is another question. */
bool kube_volume_suits(kg_view_t volume, kg_view_t claim);
/* Can a node with these labels use the volume (its nodeAffinity)? */
bool kube_volume_reaches(kg_view_t volume, kg_view_t node_labels);

#endif
