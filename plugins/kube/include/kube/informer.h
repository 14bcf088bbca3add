#ifndef KUBE_INFORMER_H
#define KUBE_INFORMER_H
/*
 * Keeps the objects of one collection at hand: lists, watches from there, lists again when the watch breaks (with
 * backoff). The cache holds references to the very documents the api role holds, not copies. Lane thread.
 */
#include "kube/client.h"

typedef enum { KUBE_ADDED, KUBE_MODIFIED, KUBE_DELETED } kube_change_t;

/* old is absent for ADDED, now is the last state for DELETED. Views are valid during the call. */
typedef void (*kube_change_fn)(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now,
                               void *arg);
typedef void (*kube_synced_fn)(kg_ctx_t *ctx, void *self, void *arg); /* once, after the first complete list */

typedef struct kube_informer kube_informer_t;
typedef struct kube_informer_config {
  kube_gvr_t gvr;             /* must outlive the informer: literals */
  const char *ns;             /* NULL: all; copied */
  const char *label_selector; /* copied */
  const char *field_selector; /* copied */
  kube_change_fn on_change;   /* may be NULL */
  kube_synced_fn on_synced;   /* may be NULL */
  void *arg;
} kube_informer_config_t;

KG_NODISCARD kube_informer_t *kube_informer_start(kg_ctx_t *ctx, const kube_informer_config_t *config);
void kube_informer_stop(kg_ctx_t *ctx, kube_informer_t *inf); /* cancels and frees; NULL is allowed */
bool kube_informer_synced(const kube_informer_t *inf);
size_t kube_informer_count(const kube_informer_t *inf);
/* Borrowed until the object changes; NULL if there is none. ns NULL or "" for cluster-scoped. */
kg_doc_t *kube_informer_get(const kube_informer_t *inf, kg_str_t ns, kg_str_t name);
/* In order of namespace and name. for (size_t i = 0; (d = kube_informer_at(inf, i)); i++). Do not change during the
 * loop. */
kg_doc_t *kube_informer_at(const kube_informer_t *inf, size_t i);
/* Range of one namespace: first index and count. */
void kube_informer_ns(const kube_informer_t *inf, kg_str_t ns, size_t *first, size_t *count);

#endif
