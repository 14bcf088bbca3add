#ifndef KOGGE_GUARD_H
#define KOGGE_GUARD_H
/*
 * For a plugin that runs what it does not trust (scripts) in its lane: a call every so much processor time that the
 * thread has used, whatever it is doing. Costs nothing while it is not armed, and nothing while the thread sleeps.
 */
#include "kogge/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct kg_guard kg_guard_t;

/* For the calling thread, not armed. `tick` runs in a signal handler of that thread: it may only do what is safe there,
 * kg_guard_arm() included. Caller frees, in the same thread. */
KG_PUBLIC kg_guard_t *kg_guard_new(int64_t period_us, void (*tick)(void *arg), void *arg, kg_error_t *err);
KG_PUBLIC void kg_guard_arm(kg_guard_t *g, bool on);
KG_PUBLIC void kg_guard_free(kg_guard_t *g); /* no tick comes afterwards; NULL is allowed */

#endif
