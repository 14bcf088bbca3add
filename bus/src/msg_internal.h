#ifndef KG_MSG_INTERNAL_H
#define KG_MSG_INTERNAL_H
/* How the kernel makes messages and turns envelopes into bytes and back; plugins see kogge/msg.h only. */
#include <stdatomic.h>

#include "kogge/msg.h"
#include "refs.h"

#define KG_ENVELOPE_VERSION 1
#define KG_ENVELOPE_MAX 4096
#define KG_NAME_MAX 255
#define KG_MSG_MAX_DOCS 65535

enum { KG_FLAG_STREAM = 1, KG_FLAG_UP = 2, KG_FLAG_INLINE = 4 };

/* One allocation: the struct, the document pointers, then the four strings. */
struct kg_msg {
  atomic_uint refs;
  kg_msg_type_t type;
  uint32_t flags; /* KG_FLAG_* */
  uint32_t credit;
  uint32_t ndocs;
  int code;
  uint64_t id;
  int64_t deadline_ms; /* on the receiver's kg_now_ms() clock; in an envelope: what is left */
  const char *topic, *source, *service, *text;
  kg_doc_t *args;
  kg_doc_t *docs[];
};

/* What a message is made from. Strings are copied, NULL is ""; documents are borrowed (the message takes its own
 * references). */
typedef struct kg_msg_init {
  kg_msg_type_t type;
  const char *topic, *source, *service, *text;
  uint64_t id;
  int64_t deadline_ms;
  uint32_t flags, credit;
  int code;
  kg_doc_t *args;
  kg_doc_t *const *docs;
  size_t ndocs;
} kg_msg_init_t;

/* The caller owns one reference; NULL when out of memory or when there are too many documents. Any thread. */
kg_msg_t *kg_msg_new(const kg_msg_init_t *init);

/* The envelope's msgpack (frame 0 of PROTOCOL rule 1); the caller owns the document. deadline_ms of `m` is on the clock
 * of which `now_ms` is the present; the envelope carries what is left. NULL when out of memory. */
kg_doc_t *kg_envelope_encode(const kg_msg_t *m, int64_t now_ms);

/* Same into the caller's buffer, under another id and with `flags` added; returns the number of bytes. */
size_t kg_envelope_write(const kg_msg_t *m, uint64_t id, uint32_t flags, int64_t now_ms, uint8_t out[KG_ENVELOPE_MAX]);

/* The size of the envelope with which `data` begins, read like kg_envelope_decode() does; 0 and a sentence if there is
 * none. */
size_t kg_envelope_read(const void *data, size_t size, int64_t now_ms, kg_msg_init_t *out, char *scratch,
                        kg_error_t *err);

/* Reads an envelope into *out (documents NULL). Its strings live in `scratch`, KG_ENVELOPE_MAX + 8 bytes of the caller.
 * Returns 0, or -1 with a sentence that says which rule of PROTOCOL.md it breaks. */
int kg_envelope_decode(const void *data, size_t size, int64_t now_ms, kg_msg_init_t *out, char *scratch,
                       kg_error_t *err);

#endif
