#ifndef KG_MAPPED_H
#define KG_MAPPED_H
/*
 * Loaded code that documents may lead back to: a plugin may wrap memory of its own, or name a function of its own that
 * releases it, and the document may live longer than the plugin. The code stays as long as either is needed. Any
 * thread.
 */
#include <stddef.h>

typedef struct kg_mapped kg_mapped_t;

/* Code in so many bytes from `start`; close(handle) runs once, in the thread that drops the last reference. The caller
 * owns one. NULL when out of memory. */
kg_mapped_t *kg_mapped_add(const void *start, size_t size, void (*close)(void *handle), void *handle);
/* A reference to the code that has one of these addresses; NULL: none has. */
kg_mapped_t *kg_mapped_of(const void *a, const void *b);
void kg_mapped_drop(kg_mapped_t *c); /* NULL is allowed */

#endif
