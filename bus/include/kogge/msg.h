#ifndef KOGGE_MSG_H
#define KOGGE_MSG_H
/*
 * A message: an envelope, one small document of arguments and any number of attached documents. Immutable and
 * reference-counted (atomic): a handler that wants to answer later keeps a reference. bus/PROTOCOL.md is normative.
 */
#include "kogge/doc.h"
#include "kogge/view.h"

typedef enum {
  KG_MSG_REQUEST = 1,
  KG_MSG_REPLY = 2,  /* ends a request that is no stream */
  KG_MSG_ERROR = 3,  /* ends a request or a stream: code, text, maybe a document */
  KG_MSG_EVENT = 4,  /* published */
  KG_MSG_ITEM = 5,   /* one element of a stream, in either direction */
  KG_MSG_END = 6,    /* the stream's end, from the side that sends it */
  KG_MSG_CANCEL = 7, /* the requester does not want more */
  KG_MSG_CREDIT = 8, /* allows `credit` more items */
} kg_msg_type_t;

typedef struct kg_msg kg_msg_t;

KG_PUBLIC kg_msg_type_t kg_msg_type(const kg_msg_t *m);
KG_PUBLIC const char *kg_msg_topic(const kg_msg_t *m);   /* "store.create" */
KG_PUBLIC const char *kg_msg_source(const kg_msg_t *m);  /* name of the plugin instance that sent it */
KG_PUBLIC const char *kg_msg_service(const kg_msg_t *m); /* service it was sent to; "" for events */
KG_PUBLIC uint64_t kg_msg_id(const kg_msg_t *m);         /* correlation id, unique per source */
KG_PUBLIC int64_t kg_msg_deadline_ms(const kg_msg_t *m); /* on the kg_now_ms() clock, 0: none */
KG_PUBLIC bool kg_msg_stream(const kg_msg_t *m);         /* a request that wants a stream */

/* The arguments (a map, absent if none were sent) and the attachments; both borrowed from the message. */
KG_PUBLIC kg_view_t kg_msg_args(const kg_msg_t *m);
KG_PUBLIC kg_doc_t *kg_msg_args_doc(const kg_msg_t *m);
KG_PUBLIC size_t kg_msg_ndocs(const kg_msg_t *m);
KG_PUBLIC kg_doc_t *kg_msg_doc(const kg_msg_t *m, size_t i); /* NULL past the end; take a reference to keep it */

/* For KG_MSG_ERROR: the code (kg_code_t or HTTP) and the sentence; 0 and "" otherwise. */
KG_PUBLIC int kg_msg_code(const kg_msg_t *m);
KG_PUBLIC const char *kg_msg_text(const kg_msg_t *m);

KG_PUBLIC kg_msg_t *kg_msg_ref(const kg_msg_t *m);
KG_PUBLIC void kg_msg_unref(kg_msg_t *m);

#endif
