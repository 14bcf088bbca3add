#ifndef KG_DELIVER_H
#define KG_DELIVER_H
/* What happens to a message in the lane of its receiver. All in that lane's thread. */
#include "lane.h"

/* Takes from the parcel what it keeps; the rest stays the caller's. */
void kg_deliver(kg_lane_t *lane, kg_parcel_t *p);
void kg_deliver_job(kg_lane_t *lane, const kg_parcel_t *p);

/* Requester's side (calls.c): REPLY, ERROR, ITEM, END, CREDIT that came for a call of ctx. */
void kg_call_answered(kg_ctx_t *ctx, const kg_parcel_t *p);
/* The instance goes: every call is cancelled, without callbacks. */
void kg_calls_drop(kg_ctx_t *ctx);

/* Answers a request that could not be delivered. */
void kg_refuse(kg_lane_t *lane, const kg_parcel_t *p, int code, const char *text);

/* Server's side (answers.c). */
int kg_served_add(kg_ctx_t *ctx, kg_parcel_t *p);          /* on success p->from and p->to were taken over */
void kg_served_event(kg_ctx_t *ctx, const kg_parcel_t *p); /* CANCEL, CREDIT, ITEM, END from the requester */
void kg_served_drop(kg_ctx_t *ctx, const char *why);       /* everything unanswered gets 503 */

/* For proxies. Up: books what the requester says (CANCEL, CREDIT, ITEM, END); false: there is no such request. Relay:
 * an answer, item or credit made elsewhere, passed on if the request waits for it. */
bool kg_served_up(kg_ctx_t *ctx, const kg_msg_t *m);
void kg_served_relay(kg_ctx_t *ctx, kg_msg_t *m);

/* The inherited topics plugin.* (inherited.c). */
void kg_inherited(kg_ctx_t *ctx, const kg_msg_t *m);

/* Copies the parcel to the tracer if a trace wants it (trace.c). */
void kg_trace_parcel(kg_lane_t *lane, const kg_parcel_t *p);

#endif
