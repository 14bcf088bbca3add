#ifndef KG_TRACE_H
#define KG_TRACE_H
#include "kernel.h"

/* From now on messages that fit the wish are copied to `tracer` as events `kernel.traced`. `t` must stay until it is
 * taken back. Lane of the tracer. */
void kg_trace_add(kg_ctx_t *tracer, kg_trace_t *t);
void kg_trace_remove(kg_ctx_t *tracer, kg_trace_t *t);
/* Any thread that may read the wish. */
bool kg_trace_wants(const kg_trace_t *t, const char *topic, const char *from, const char *to);
/* The tracer got one; how many were lost since the last one, because too many were on their way. */
uint64_t kg_trace_taken(kg_kernel_t *k);

#endif
