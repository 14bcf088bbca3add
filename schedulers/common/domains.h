#ifndef SCHEDULER_DOMAINS_H
#define SCHEDULER_DOMAINS_H
/* How many of something there are in each topology domain (a label's value on nodes), for several terms at once. The
 * strings are borrowed from the documents of nodes and pods: a table lives no longer than one attempt to place a pod.
 */
#include "kogge/view.h"

enum { DOMAIN_KEYS = 32 };

typedef struct domain {
  kg_str_t key, value; /* key.p NULL: an empty place */
  uint32_t term;
  int64_t n;
} domain_t;

typedef struct domains {
  domain_t *of;
  size_t used, room;          /* room is a power of two */
  kg_str_t keys[DOMAIN_KEYS]; /* the different keys in it */
  size_t nkeys;
} domains_t;

/* Adds n (0 makes the domain known). Out of memory, or too many keys: it is not counted. */
void domains_add(domains_t *d, uint32_t term, kg_str_t key, kg_str_t value, int64_t n);
int64_t domains_get(const domains_t *d, uint32_t term, kg_str_t key, kg_str_t value); /* 0 if unknown */
/* Smallest count of the domains of a term and how many there are. */
int64_t domains_least(const domains_t *d, uint32_t term, size_t *count);
/* The sum over all keys of what the domains of a node with these labels hold. */
int64_t domains_sum(const domains_t *d, uint32_t term, kg_view_t node_labels);
void domains_clear(domains_t *d); /* keeps the memory */
void domains_free(domains_t *d);

#endif
