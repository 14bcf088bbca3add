#include "kogge/msg.h"

#include <stdlib.h>
#include <string.h>

#include "msg_internal.h"

static const char *put_string(char **at, const char *z) {
  if (!z || !*z) return "";
  size_t n = strlen(z) + 1;
  char *to = memcpy(*at, z, n);
  *at += n;
  return to;
}

static size_t room_for(const char *z) {
  return z && *z ? strlen(z) + 1 : 0;
}

kg_msg_t *kg_msg_new(const kg_msg_init_t *i) {
  if (i->ndocs > KG_MSG_MAX_DOCS) return NULL;
  size_t head = sizeof(kg_msg_t) + i->ndocs * sizeof(kg_doc_t *);
  kg_msg_t *m = malloc(head + room_for(i->topic) + room_for(i->source) + room_for(i->service) + room_for(i->text));
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
  m->topic = put_string(&at, i->topic);
  m->source = put_string(&at, i->source);
  m->service = put_string(&at, i->service);
  m->text = put_string(&at, i->text);
  m->args = kg_doc_ref(i->args);
  for (size_t d = 0; d < i->ndocs; d++) m->docs[d] = kg_doc_ref(i->docs[d]);
  return m;
}

kg_msg_t *kg_msg_ref(const kg_msg_t *m) {
  kg_msg_t *shared = (kg_msg_t *)m;
  if (shared) atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
  return shared;
}

void kg_msg_unref(kg_msg_t *m) {
  if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1) return;
  kg_doc_unref(m->args);
  for (uint32_t d = 0; d < m->ndocs; d++) kg_doc_unref(m->docs[d]);
  free(m);
}

kg_msg_type_t kg_msg_type(const kg_msg_t *m) {
  return m->type;
}
const char *kg_msg_topic(const kg_msg_t *m) {
  return m->topic;
}
const char *kg_msg_source(const kg_msg_t *m) {
  return m->source;
}
const char *kg_msg_service(const kg_msg_t *m) {
  return m->service;
}
uint64_t kg_msg_id(const kg_msg_t *m) {
  return m->id;
}
int64_t kg_msg_deadline_ms(const kg_msg_t *m) {
  return m->deadline_ms;
}
bool kg_msg_stream(const kg_msg_t *m) {
  return m->flags & KG_FLAG_STREAM;
}
kg_view_t kg_msg_args(const kg_msg_t *m) {
  return kg_view_of(m->args);
}
kg_doc_t *kg_msg_args_doc(const kg_msg_t *m) {
  return m->args;
}
size_t kg_msg_ndocs(const kg_msg_t *m) {
  return m->ndocs;
}
kg_doc_t *kg_msg_doc(const kg_msg_t *m, size_t i) {
  return i < m->ndocs ? m->docs[i] : NULL;
}
int kg_msg_code(const kg_msg_t *m) {
  return m->code;
}
const char *kg_msg_text(const kg_msg_t *m) {
  return m->text;
}
