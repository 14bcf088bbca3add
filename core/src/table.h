#ifndef KG_TABLE_H
#define KG_TABLE_H
/* Maps 64-bit numbers to pointers: open addressing, linear probing. One thread at a time. Key 0 is not allowed. */
#include <stddef.h>
#include <stdint.h>

typedef struct kg_table {
  struct kg_table_slot {
    uint64_t key;
    void *value;
  } * slots;
  size_t count, room; /* room: 0 or a power of two */
  size_t first;       /* no entry is before this slot */
} kg_table_t;

void *kg_table_get(const kg_table_t *t, uint64_t key);      /* NULL if absent */
int kg_table_put(kg_table_t *t, uint64_t key, void *value); /* replaces; -1 out of memory, or key 0 */
void *kg_table_remove(kg_table_t *t, uint64_t key);         /* what was there, or NULL */
void kg_table_free(kg_table_t *t);                          /* the slots, not the values */

/* Any one entry, for emptying the table; NULL when there is none. */
void *kg_table_any(kg_table_t *t, uint64_t *key);

#endif
