#ifndef KUBE_INDEX_H
#define KUBE_INDEX_H
/* Objects of an informer found by something other than their name, without going through all of them. Lane thread. */
#include "kogge/doc.h"
#include "kogge/view.h"

typedef struct kube_indexed kube_indexed_t;
typedef struct kube_index {
  kube_indexed_t **buckets;
  size_t nbuckets, count;
} kube_index_t; /* all zero: empty */

/* Two keys may be equal by chance: who finds an object looks whether it is the one. */
uint64_t kube_index_key(kg_str_t one, kg_str_t two);
/* Takes a reference; an entry of the same object under this key gives way. Without memory it is left out. */
void kube_index_add(kube_index_t *x, uint64_t key, kg_doc_t *doc);
void kube_index_remove(kube_index_t *x, uint64_t key, kg_view_t object); /* by namespace and name */
/* for (const kube_indexed_t *at = NULL; (doc = kube_index_next(x, key, &at));) doc is borrowed. */
kg_doc_t *kube_index_next(const kube_index_t *x, uint64_t key, const kube_indexed_t **at);
void kube_index_free(kube_index_t *x);

#endif
