#ifndef KG_CONTROL_H
#define KG_CONTROL_H
/*
 * The kernel's own plugin: service `kernel` (kernel.list, kernel.swap, kernel.load, kernel.unload, kernel.reload,
 * kernel.configure, kernel.trace, kernel.shadow, kernel.shadow_report) and the socket RUN/kogge.sock, over which the
 * command line sends ordinary requests.
 */
#include "frame.h"
#include "kernel.h"

extern const kg_plugin_t kg_control_plugin;

/* What the command line asked of the manager thread. */
typedef struct kg_command {
  struct kg_command *next;
  kg_ctx_t *ctx; /* the control plugin, where the answer is sent from */
  kg_msg_t *m;
} kg_command_t;

/* Lane of the control plugin. */
void kg_control_command(kg_ctx_t *ctx, const kg_msg_t *m);

/* Streams kernel.trace (control_trace.c): {globs: [...], of: INSTANCE, whole: bool}; items as kernel.traced brings
 * them, or {lost: n}: so many are missing here, because the reader was too slow. Lane of the control plugin. */
typedef struct kg_tracing kg_tracing_t;
void kg_control_trace(kg_ctx_t *ctx, kg_tracing_t **list, const kg_msg_t *m);
void kg_control_traced(kg_ctx_t *ctx, kg_tracing_t *list, const kg_msg_t *m);
size_t kg_control_traces(const kg_tracing_t *list); /* how many there are */
void kg_control_trace_end(kg_ctx_t *ctx, kg_tracing_t **list);

#endif
