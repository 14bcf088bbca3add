#ifndef KG_MAKE_H
#define KG_MAKE_H
/* Short ways to make messages from the kernel's point of view. NULL when out of memory; caller owns one reference. */
#include "kernel.h"

/* The request of a call. */
kg_msg_t *kg_make_request(const kg_call_t *call, const kg_request_t *r, int64_t deadline_ms);
/* An answer to request `m` (REPLY, ITEM, END, CREDIT). */
kg_msg_t *kg_make_answer(kg_ctx_t *from, const kg_msg_t *m, kg_msg_type_t type, uint32_t credit, kg_doc_t *args,
                         kg_doc_t *const *docs, size_t ndocs);
/* An error for request or call `id` of topic `topic`; from NULL: the kernel itself. */
kg_msg_t *kg_make_error(kg_ctx_t *from, const char *topic, uint64_t id, int code, const char *text, kg_doc_t *doc);
/* From the requester of `call`: CANCEL, CREDIT, ITEM, END. */
kg_msg_t *kg_make_up(const kg_call_t *call, kg_msg_type_t type, uint32_t credit, kg_doc_t *args, kg_doc_t *const *docs,
                     size_t ndocs);
kg_msg_t *kg_make_event(kg_ctx_t *from, const char *topic, kg_doc_t *args, kg_doc_t *const *docs, size_t ndocs);
/* The CANCEL of request m, as its requester would send it. */
kg_msg_t *kg_make_cancel(const kg_msg_t *m);
bool kg_from_requester(const kg_msg_t *m);
uint32_t kg_credit_of(const kg_msg_t *m);

#endif
