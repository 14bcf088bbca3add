#ifndef KG_REGISTRY_H
#define KG_REGISTRY_H
/*
 * Names of services, and subscriptions. Senders look a name up and post under the read lock; a swap takes the write
 * lock to hold a name, so that after it every earlier message is already in the old owner's lane.
 */
#include "lane.h"

/* What happens when a name's messages are held and released (the swap's steps). */
typedef enum { KG_ROUTED, KG_HELD, KG_NOBODY, KG_FULL } kg_routed_t;

/*
 * Lane: posts m to the owner of `service` (or of `name`, if not NULL), or holds it. KG_NOBODY and KG_FULL (too many
 * are held) leave nothing behind.
 * *name and *server (may be NULL; server gets a reference, NULL while held) say where it went. Takes m over.
 */
kg_routed_t kg_route(kg_ctx_t *from, const char *service, kg_name_t **name, kg_msg_t *m, kg_ctx_t **server);

/* Any thread: the name, made if it is not there and `make`. Names live as long as the kernel. */
kg_name_t *kg_name_find(kg_registry_t *r, const char *name, bool make);
/* Any thread: ctx becomes the owner if nobody else is; -1 and a sentence if somebody is. */
int kg_name_claim(kg_registry_t *r, kg_name_t *name, kg_ctx_t *ctx, kg_error_t *err);
/* Any thread: -1 if somebody else than ctx and its predecessor owns it. */
int kg_name_check(kg_registry_t *r, kg_name_t *name, kg_ctx_t *ctx, kg_error_t *err);
/* Any thread: the names ctx owns, as an array with NULL at its end; caller frees the array only. */
kg_name_t **kg_names_of(kg_registry_t *r, kg_ctx_t *ctx);
/* Any thread: from now on messages for all names of ctx are held. */
void kg_names_hold(kg_registry_t *r, kg_ctx_t *ctx);
/*
 * Lane of `to`: it becomes the owner of `names` and of all that `from` owns (may be NULL, or `to` itself); what is held
 * goes to the end of its lane's queue. -1 and nothing changed if somebody else owns one of them.
 */
int kg_names_take(kg_registry_t *r, kg_ctx_t *from, kg_ctx_t *to, kg_name_t **names, size_t count, kg_error_t *err);
/* Any thread: ctx owns nothing any more; what was held is handed out in *left, for the caller to refuse. */
void kg_names_release(kg_registry_t *r, kg_ctx_t *ctx, kg_queue_t *left);

void kg_subscription_add(kg_registry_t *r, kg_ctx_t *ctx, const char *prefix);
void kg_subscriptions_remove(kg_registry_t *r, kg_ctx_t *ctx);
/* Lane: posts m to every subscriber, once to each. */
void kg_route_event(kg_ctx_t *from, kg_msg_t *m);

#endif
