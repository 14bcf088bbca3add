/* Live messages for `kogge plugin trace`: copied to the tracer in the lane of their receiver. */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "deliver.h"
#include "make.h"
#include "trace.h"

static const char *const types[] = {"?", "request", "reply", "error", "event", "item", "end", "cancel", "credit"};

static void describe(kg_pack_t *p, const kg_parcel_t *parcel) {
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
  kg_pack_end(p);
}

bool kg_trace_matches(const char *glob, const char *topic) {
  return fnmatch(glob, topic, 0) == 0;
}

static bool wanted(kg_kernel_t *k, const char *topic) {
  for (const kg_trace_t *t = k->traces; t; t = t->next)
    if (kg_trace_matches(t->glob, topic)) return true;
  return false;
}

void kg_trace_parcel(kg_lane_t *lane, const kg_parcel_t *p) {
  kg_kernel_t *k = lane->k;
  pthread_mutex_lock(&k->trace_lock);
  /* The trace itself is none of its messages. */
  bool show = k->tracer && strncmp(kg_msg_topic(p->m), "kernel.", 7) != 0 && wanted(k, kg_msg_topic(p->m));
  kg_ctx_t *tracer = show ? kg_ctx_ref(k->tracer) : NULL;
  pthread_mutex_unlock(&k->trace_lock);
  bool own = atomic_load(&p->to->tracing);
  if (!tracer && !own) return;
  kg_pack_t pack = kg_pack();
  describe(&pack, p);
  kg_doc_t *doc = kg_pack_doc(&pack);
  if (own && doc) {
    char *json = kg_view_to_json(kg_view_of(doc));
    kg_logf(k, KG_LOG_INFO, p->to->name, "trace %s", json ? json : "");
    free(json);
  }
  kg_msg_t *m = tracer && doc ? kg_make_event(NULL, "kernel.traced", doc, NULL, 0) : NULL;
  if (m) kg_lane_post(lane, (kg_parcel_t){.to = kg_ctx_ref(tracer), .m = m});
  kg_doc_unref(doc);
  kg_ctx_unref(tracer);
}

int kg_trace_add(kg_ctx_t *tracer, const char *glob) {
  kg_kernel_t *k = tracer->k;
  kg_trace_t *t = calloc(1, sizeof *t);
  if (!t || !(t->glob = strdup(glob))) {
    free(t);
    return -1;
  }
  pthread_mutex_lock(&k->trace_lock);
  t->next = k->traces;
  k->traces = t;
  k->tracer = tracer;
  pthread_mutex_unlock(&k->trace_lock);
  atomic_fetch_add(&k->tracing, 1);
  return 0;
}

void kg_trace_remove(kg_ctx_t *tracer, const char *glob) {
  kg_kernel_t *k = tracer->k;
  pthread_mutex_lock(&k->trace_lock);
  kg_trace_t **at = &k->traces;
  while (*at && strcmp((*at)->glob, glob) != 0) at = &(*at)->next;
  kg_trace_t *t = *at;
  if (t) *at = t->next;
  if (!k->traces) k->tracer = NULL;
  pthread_mutex_unlock(&k->trace_lock);
  if (!t) return;
  atomic_fetch_sub(&k->tracing, 1);
  free(t->glob);
  free(t);
}
