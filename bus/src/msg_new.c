/* Making a message: for the kernel and for what reads messages from files; plugins never do. */
#include <stdlib.h>
#include <string.h>

#include "msg_internal.h"

/* With its zero byte; nothing for an empty one. */
static size_t room_for(const char *z) {
  return z && *z ? strlen(z) + 1 : 0;
}

static const char *put_string(char **at, const char *z, size_t n) {
  if (n == 0) return "";
  char *to = memcpy(*at, z, n);
  *at += n;
  return to;
}

kg_msg_t *kg_msg_new(const kg_msg_init_t *i) {
  if (i->ndocs > KG_MSG_MAX_DOCS) return NULL;
  size_t head = sizeof(kg_msg_t) + i->ndocs * sizeof(kg_doc_t *);
  size_t topic = room_for(i->topic), source = room_for(i->source), service = room_for(i->service),
         text = room_for(i->text);
  kg_msg_t *m = malloc(head + topic + source + service + text);
  if (!m) return NULL;
  char *at = (char *)m + head;
  atomic_init(&m->refs, 1);
  m->type = i->type;
  m->flags = i->flags;
  m->credit = i->credit;
  m->ndocs = (uint32_t)i->ndocs;
  m->code = i->code;
  m->id = i->id;
  m->deadline_ms = i->deadline_ms;
  m->topic = put_string(&at, i->topic, topic);
  m->source = put_string(&at, i->source, source);
  m->service = put_string(&at, i->service, service);
  m->text = put_string(&at, i->text, text);
  m->args = kg_doc_ref(i->args);
  for (size_t d = 0; d < i->ndocs; d++) m->docs[d] = kg_doc_ref(i->docs[d]);
  return m;
}
