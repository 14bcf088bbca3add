#include "kogge/msg.h"

#include <stdlib.h>

#include "msg_internal.h"

kg_msg_t *kg_msg_ref(const kg_msg_t *m) {
  kg_msg_t *shared = (kg_msg_t *)m;
  if (shared) atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
  return shared;
}

void kg_msg_unref(kg_msg_t *m) {
  if (!m || !kg_refs_drop(&m->refs)) return;
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
