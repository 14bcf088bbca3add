/* Live messages for `kogge plugin trace`: copied to the tracer in the lane of their receiver. */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "deliver.h"
#include "make.h"
#include "trace.h"

static const char *const types[] = {"?", "request", "reply", "error", "event", "item", "end", "cancel", "credit"};

#define MOST_WAITING 65536

static void describe(kg_pack_t *p, const kg_parcel_t *parcel, bool whole) {
  const kg_msg_t *m = parcel->m;
  kg_pack_map(p);
  kg_pack_kv_int(p, "time_us", kg_wall_us(parcel->to));
  kg_pack_kv_str(p, "type", types[m->type <= KG_MSG_CREDIT ? m->type : 0]);
  kg_pack_kv_str(p, "topic", m->topic);
  kg_pack_kv_str(p, "from", m->source);
  kg_pack_kv_str(p, "to", parcel->to->name);
  kg_pack_kv_int(p, "id", (int64_t)(m->id & 0xffffffffffu));
  kg_pack_kv_int(p, "docs", m->ndocs);
  if (m->code) kg_pack_kv_int(p, "code", m->code);
  if (m->text && *m->text) kg_pack_kv_str(p, "text", m->text);
  if (m->args) kg_pack_kv_view(p, "args", kg_view_of(m->args));
  if (whole) {
    uint8_t envelope[KG_ENVELOPE_MAX];
    size_t n = kg_envelope_write(m, m->id, 0, parcel->to->lane->now_us / 1000, envelope);
    kg_pack_kv_view(p, "envelope", kg_view_bytes(envelope, n));
  }
  kg_pack_end(p);
}

bool kg_trace_wants(const kg_trace_t *t, const char *topic, const char *from, const char *to) {
  if (t->of && strcmp(t->of, from) != 0 && strcmp(t->of, to) != 0) return false;
  for (char **glob = t->globs; *glob; glob++)
    if (fnmatch(*glob, topic, 0) == 0) return true;
  return false;
}

/* The tracer if somebody wants the parcel, with a reference. */
static kg_ctx_t *wanted(kg_kernel_t *k, const kg_parcel_t *p, bool *whole) {
  const kg_msg_t *m = p->m;
  kg_ctx_t *tracer = NULL;
  if (strncmp(m->topic, "kernel.", 7) == 0) return NULL; /* the trace itself is none of its messages */
  pthread_mutex_lock(&k->trace_lock);
  for (const kg_trace_t *t = k->traces; t; t = t->next) {
    if (!kg_trace_wants(t, m->topic, m->source, p->to->name)) continue;
    tracer = k->tracer;
    *whole |= t->whole;
  }
  kg_ctx_ref(tracer);
  pthread_mutex_unlock(&k->trace_lock);
  return tracer;
}

static void send_copy(kg_lane_t *lane, kg_ctx_t *tracer, const kg_msg_t *m, kg_doc_t *doc, bool whole) {
  kg_kernel_t *k = lane->k;
  kg_msg_t *copy = kg_make_event(NULL, "kernel.traced", doc, m->docs, whole ? m->ndocs : 0);
  if (!copy || atomic_fetch_add(&k->trace_waiting, 1) >= MOST_WAITING) {
    if (copy) atomic_fetch_sub(&k->trace_waiting, 1);
    atomic_fetch_add(&k->trace_lost, 1);
    kg_msg_unref(copy);
    return;
  }
  kg_lane_post(lane, (kg_parcel_t){.to = kg_ctx_ref(tracer), .m = copy});
}

uint64_t kg_trace_taken(kg_kernel_t *k) {
  atomic_fetch_sub(&k->trace_waiting, 1);
  return atomic_load_explicit(&k->trace_lost, memory_order_relaxed) ? atomic_exchange(&k->trace_lost, 0) : 0;
}

void kg_trace_parcel(kg_lane_t *lane, const kg_parcel_t *p) {
  bool whole = false, own = atomic_load(&p->to->tracing);
  kg_ctx_t *tracer = wanted(lane->k, p, &whole);
  if (!tracer && !own) return;
  kg_pack_t pack = kg_pack();
  describe(&pack, p, whole);
  kg_doc_t *doc = kg_pack_doc(&pack);
  if (own && doc) {
    char *json = kg_view_to_json(kg_view_of(doc));
    kg_logf(lane->k, KG_LOG_INFO, p->to->name, "trace %s", json ? json : "");
    free(json);
  }
  if (tracer && doc) send_copy(lane, tracer, p->m, doc, whole);
  kg_doc_unref(doc);
  kg_ctx_unref(tracer);
}

void kg_trace_add(kg_ctx_t *tracer, kg_trace_t *t) {
  kg_kernel_t *k = tracer->k;
  pthread_mutex_lock(&k->trace_lock);
  t->next = k->traces;
  k->traces = t;
  k->tracer = tracer;
  pthread_mutex_unlock(&k->trace_lock);
  atomic_fetch_add(&k->tracing, 1);
}

void kg_trace_remove(kg_ctx_t *tracer, kg_trace_t *t) {
  kg_kernel_t *k = tracer->k;
  pthread_mutex_lock(&k->trace_lock);
  kg_trace_t **at = &k->traces;
  while (*at != t) at = &(*at)->next;
  *at = t->next;
  if (!k->traces) k->tracer = NULL;
  pthread_mutex_unlock(&k->trace_lock);
  atomic_fetch_sub(&k->tracing, 1);
}
