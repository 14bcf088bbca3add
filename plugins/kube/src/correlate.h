#ifndef CORRELATE_H
#define CORRELATE_H
/* What a recorder of events remembers, so that repetitions become counts, as EventCorrelator of client-go does it. */
#include <stdbool.h>
#include <stdint.h>

typedef struct correlator correlator_t;

typedef struct event_key {
  uint64_t object, alike, same, message; /* hashes: of whom; and type and reason; and all else; of the message alone */
} event_key_t;

typedef struct told {
  uint64_t suffix; /* the Event is named after its object and this */
  int64_t first_us, last_us;
  unsigned count;
  bool combined; /* it stands for all that are alike */
} told_t;

correlator_t *correlator_new(void); /* NULL: no memory */
void correlator_free(correlator_t *c);
/* False: of this object enough was told. suffix: of a new Event. */
bool correlate(correlator_t *c, const event_key_t *k, int64_t now_us, uint64_t suffix, told_t *told);

#endif
