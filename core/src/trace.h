#ifndef KG_TRACE_H
#define KG_TRACE_H
#include "kernel.h"

/* From now on messages whose topic matches the glob are copied to `tracer` as events `kernel.traced`. Lane of the
 * tracer. */
int kg_trace_add(kg_ctx_t *tracer, const char *glob);
/* Takes one such wish back. */
void kg_trace_remove(kg_ctx_t *tracer, const char *glob);
/* Any thread. */
bool kg_trace_matches(const char *glob, const char *topic);

#endif
