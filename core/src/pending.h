#ifndef KG_PENDING_H
#define KG_PENDING_H
/*
 * Plugins on other machines whose hosts are not there yet. The kernel runs without them; a thread waits at the bound
 * socket (and does nothing else) until somebody has come, then the manager loads the plugin.
 */
#include "manager.h"

typedef struct kg_pending kg_pending_t;

/* Manager: waits for spec->remote from now on. `remote`: bound, taken over; NULL: it could not be bound yet, `why` says
 * it. */
int kg_pending_add(kg_kernel_t *k, const kg_plugin_spec_t *spec, kg_remote_t *remote, const kg_error_t *why);
/* Manager: loads those whose hosts have come. */
void kg_pending_look(kg_kernel_t *k);
/* Manager: gives up waiting. name NULL: all. False: nothing of that name is waited for. */
bool kg_pending_drop(kg_kernel_t *k, const char *name);
bool kg_pending_has(kg_kernel_t *k, const char *name); /* manager */
/* For kernel.list; kernel.list is held. */
void kg_pending_pack(kg_pack_t *p, const kg_pending_t *list, int64_t now_us);

#endif
