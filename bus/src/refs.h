#ifndef KG_REFS_H
#define KG_REFS_H
#include <stdatomic.h>
#include <stdbool.h>

/* Drops a reference; true if it was the last. Who finds itself alone needs no locked instruction: nobody can join. */
static inline bool kg_refs_drop(atomic_uint *refs) {
  return atomic_load_explicit(refs, memory_order_acquire) == 1 ||
         atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

#endif
