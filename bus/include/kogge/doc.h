#ifndef KOGGE_DOC_H
#define KOGGE_DOC_H
/*
 * A document: an immutable, reference-counted buffer that holds exactly one msgpack value. Inside a process messages
 * carry references to documents, never copies of them. All functions may be called from any thread; the counter is
 * atomic. Nobody may write to the bytes after the document was made.
 */
#include <stddef.h>
#include <stdint.h>

#include "kogge/error.h"

typedef struct kg_doc kg_doc_t;

/* Limits that every decoder of foreign bytes keeps. */
#define KG_DOC_MAX_BYTES (64u << 20)
#define KG_DOC_MAX_DEPTH 128

/* Copies `size` bytes. The caller owns one reference. NULL when out of memory. The bytes are not checked. */
KG_PUBLIC kg_doc_t *kg_doc_copy(const void *data, size_t size);

/* Takes over `data`, which must have come from malloc. The caller owns one reference; on NULL `data` was freed. */
KG_PUBLIC kg_doc_t *kg_doc_take(void *data, size_t size);

/* Wraps foreign memory; `release(data, arg)` runs once, in the thread that drops the last reference; NULL: nothing
 * does. If `data` or `release` belongs to a plugin, its file stays loaded up to then, also when the plugin has gone;
 * `arg` must not lead to anything that goes with the instance. */
KG_PUBLIC kg_doc_t *kg_doc_wrap(const void *data, size_t size, void (*release)(void *data, void *arg), void *arg);

/* One more reference; returns `doc`. NULL is allowed. */
KG_PUBLIC kg_doc_t *kg_doc_ref(kg_doc_t *doc);

/* Drops one reference; the last one frees. NULL is allowed. */
KG_PUBLIC void kg_doc_unref(kg_doc_t *doc);

/* Drops the reference in *doc and sets it to NULL. */
static inline void kg_doc_clear(kg_doc_t **doc) {
  kg_doc_unref(*doc);
  *doc = NULL;
}

KG_PUBLIC const uint8_t *kg_doc_data(const kg_doc_t *doc);
KG_PUBLIC size_t kg_doc_size(const kg_doc_t *doc);

/* Number of references now: for tests and statistics only. */
KG_PUBLIC unsigned kg_doc_refs(const kg_doc_t *doc);

/*
 * Checks that the bytes are exactly one well-formed msgpack value within the limits above (depth, size, no value that
 * reaches past the end, strings are valid UTF-8). Returns 0, or -1 with a sentence that says where.
 */
KG_PUBLIC int kg_doc_check(const void *data, size_t size, kg_error_t *err);

#endif
