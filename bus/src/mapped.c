#include "mapped.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

struct kg_mapped {
  kg_mapped_t *next;
  atomic_uint refs;
  uintptr_t start, end;
  void (*close)(void *handle);
  void *handle;
};

/* One list for the process: addresses are unique in it. */
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static kg_mapped_t *all;

kg_mapped_t *kg_mapped_add(const void *start, size_t size, void (*close)(void *handle), void *handle) {
  kg_mapped_t *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  atomic_init(&c->refs, 1);
  c->start = (uintptr_t)start;
  c->end = c->start + size;
  c->close = close;
  c->handle = handle;
  pthread_rwlock_wrlock(&lock);
  c->next = all;
  all = c;
  pthread_rwlock_unlock(&lock);
  return c;
}

static int holds(const kg_mapped_t *c, const void *p) {
  return (uintptr_t)p >= c->start && (uintptr_t)p < c->end;
}

kg_mapped_t *kg_mapped_of(const void *a, const void *b) {
  pthread_rwlock_rdlock(&lock);
  kg_mapped_t *c = all;
  while (c && !holds(c, a) && !holds(c, b)) c = c->next;
  if (c) atomic_fetch_add(&c->refs, 1); /* it is in the list, so somebody holds it */
  pthread_rwlock_unlock(&lock);
  return c;
}

void kg_mapped_drop(kg_mapped_t *c) {
  if (!c) return;
  pthread_rwlock_wrlock(&lock);
  unsigned before = atomic_fetch_sub(&c->refs, 1);
  kg_mapped_t **at = &all;
  while (before == 1 && *at != c) at = &(*at)->next;
  if (before == 1) *at = c->next;
  pthread_rwlock_unlock(&lock);
  if (before != 1) return;
  c->close(c->handle);
  free(c);
}
