#include "make.h"

static const char *name_of(const kg_ctx_t *ctx) {
  return ctx ? ctx->name : "kernel";
}

kg_msg_t *kg_make_request(const kg_call_t *c, const kg_request_t *r, int64_t deadline_ms) {
  if (!r->topic || !*r->topic || !r->service || !*r->service) return NULL;
  return kg_msg_new(&(kg_msg_init_t){.type = KG_MSG_REQUEST,
                                     .topic = r->topic,
                                     .source = name_of(c->ctx),
                                     .service = r->service,
                                     .id = c->id,
                                     .deadline_ms = deadline_ms,
                                     .flags = KG_FLAG_UP | (r->stream ? KG_FLAG_STREAM : 0),
                                     .credit = c->window,
                                     .args = r->args,
                                     .docs = r->docs,
                                     .ndocs = r->ndocs});
}

kg_msg_t *kg_make_answer(kg_ctx_t *from, const kg_msg_t *m, kg_msg_type_t type, uint32_t credit, kg_doc_t *args,
                         kg_doc_t *const *docs, size_t ndocs) {
  return kg_msg_new(&(kg_msg_init_t){.type = type,
                                     .topic = m->topic,
                                     .source = name_of(from),
                                     .service = m->source,
                                     .id = m->id,
                                     .flags = m->flags & KG_FLAG_STREAM,
                                     .credit = credit,
                                     .args = args,
                                     .docs = docs,
                                     .ndocs = ndocs});
}

kg_msg_t *kg_make_error(kg_ctx_t *from, const char *topic, uint64_t id, int code, const char *text, kg_doc_t *doc) {
  return kg_msg_new(&(kg_msg_init_t){.type = KG_MSG_ERROR,
                                     .topic = topic,
                                     .source = name_of(from),
                                     .id = id,
                                     .code = code ? code : KG_EINTERNAL,
                                     .text = text,
                                     .docs = &doc,
                                     .ndocs = doc ? 1 : 0});
}

kg_msg_t *kg_make_up(const kg_call_t *c, kg_msg_type_t type, uint32_t credit, kg_doc_t *args, kg_doc_t *const *docs,
                     size_t ndocs) {
  return kg_msg_new(&(kg_msg_init_t){.type = type,
                                     .topic = c->topic,
                                     .source = name_of(c->ctx),
                                     .service = c->name ? c->name->name : "",
                                     .id = c->id,
                                     .flags = KG_FLAG_UP | (c->stream ? KG_FLAG_STREAM : 0),
                                     .credit = credit,
                                     .args = args,
                                     .docs = docs,
                                     .ndocs = ndocs});
}

kg_msg_t *kg_make_cancel(const kg_msg_t *m) {
  return kg_msg_new(&(kg_msg_init_t){.type = KG_MSG_CANCEL,
                                     .topic = m->topic,
                                     .source = m->source,
                                     .service = m->service,
                                     .id = m->id,
                                     .flags = m->flags});
}

kg_msg_t *kg_make_event(kg_ctx_t *from, const char *topic, kg_doc_t *args, kg_doc_t *const *docs, size_t ndocs) {
  if (!topic || !*topic) return NULL;
  return kg_msg_new(&(kg_msg_init_t){
      .type = KG_MSG_EVENT, .topic = topic, .source = name_of(from), .args = args, .docs = docs, .ndocs = ndocs});
}

bool kg_from_requester(const kg_msg_t *m) {
  return m->flags & KG_FLAG_UP;
}
uint32_t kg_credit_of(const kg_msg_t *m) {
  return m->credit;
}
