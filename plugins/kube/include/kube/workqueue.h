#ifndef KUBE_WORKQUEUE_H
#define KUBE_WORKQUEUE_H
/*
 * A work queue of keys ("namespace/name"): a key waits in it once however often it is added, is never worked on twice
 * at the same time, and comes back with exponential backoff (5 ms ... 1000 s, as client-go) after a failure. Lane
 * thread.
 */
#include "kogge/plugin.h"

typedef struct kube_queue kube_queue_t;
/* Work on `key`; sooner or later (also from a later callback) call kube_queue_done() exactly once. */
typedef void (*kube_work_fn)(kg_ctx_t *ctx, void *self, const char *key, void *arg);

KG_NODISCARD kube_queue_t *kube_queue_new(kg_ctx_t *ctx, kube_work_fn fn, unsigned parallel, void *arg);
void kube_queue_free(kg_ctx_t *ctx, kube_queue_t *q);
void kube_queue_add(kg_ctx_t *ctx, kube_queue_t *q, const char *key);
void kube_queue_add_after(kg_ctx_t *ctx, kube_queue_t *q, const char *key, int64_t delay_ms);
/* failed: put it back with backoff; else forget its failures. */
void kube_queue_done(kg_ctx_t *ctx, kube_queue_t *q, const char *key, bool failed);
size_t kube_queue_length(const kube_queue_t *q);

#endif
