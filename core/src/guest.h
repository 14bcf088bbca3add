#ifndef KG_GUEST_H
#define KG_GUEST_H
/* In the process of one plugin: the way to the kernel. Lane of the plugin. */
#include "lane.h"

/* Tells the kernel of a call of plugin.h: event host.WHAT {key: value}. Nothing if this is no such process. */
void kg_guest_tell(kg_ctx_t *ctx, const char *topic, const char *key, const char *value);

/* This process gets ports and interfaces of its own: the plugin it is compared with, or to replace, may hold the same.
 * Without the right to do so nothing changes. */
void kg_own_network(void);

#endif
