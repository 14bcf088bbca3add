#ifndef KUBE_QUOTA_H
#define KUBE_QUOTA_H
/* What objects count in ResourceQuotas. Any thread. */
#include "kube/tree.h"
#include "kube/values.h"

/* Amounts by the names of quotas ("pods", "requests.cpu", "count/jobs.batch"). */
typedef struct kube_amount {
  kg_str_t name;
  int64_t milli;
  bool binary; /* printed as Ki, Mi, ... */
} kube_amount_t;
typedef struct kube_amounts {
  kube_amount_t *list;
  size_t n, room;
} kube_amounts_t;

/* Everything in a. Adds what one object of that resource counts. */
void kube_quota_count(kube_arena_t *a, kube_amounts_t *sum, const char *group, const char *resource, kg_view_t object);
void kube_amounts_add(kube_arena_t *a, kube_amounts_t *sum, kg_str_t name, int64_t milli, bool binary);
const kube_amount_t *kube_amounts_find(const kube_amounts_t *sum, kg_str_t name); /* NULL: none of it */
char *kube_amount_text(kube_arena_t *a, int64_t milli, bool binary);
int64_t kube_amount_milli(kg_view_t quantity, bool *binary);

/* "requests" or "limits" of all containers of a pod together, with its overhead. */
kube_amounts_t kube_pod_amounts(kube_arena_t *a, kg_view_t spec, const char *what);

/* Do the scopes of the quota's spec choose the object? Without scopes all are chosen; with some only pods, and
 * claims by their VolumeAttributesClass. */
bool kube_quota_chooses(kg_view_t spec, const char *group, const char *resource, kg_view_t object);
/* Group and resource that a name of a quota counts; the strings live in a. */
void kube_quota_resource(kube_arena_t *a, kg_str_t name, const char **group, const char **resource);
/* "cpu for: a,b; memory for: a": what the containers of a pod must say because the quota limits it; NULL: nothing. */
char *kube_quota_unsaid(kube_arena_t *a, kg_view_t hard, kg_view_t pod);

#endif
