/* The trace of a simulation: one line for everything that happens, the same for the same seed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static const char *const types[] = {"?", "request", "reply", "error", "event", "item", "end", "cancel", "credit"};

static void line(kg_sim_t *s, const char *text, size_t n) {
  s->o.trace(s->o.trace_arg, text, n);
}

static uint64_t hash_of(const kg_msg_t *m) {
  uint64_t h = KG_HASH_START;
  for (uint32_t i = 0; i < m->ndocs; i++) h = kg_hash(h, kg_doc_data(m->docs[i]), kg_doc_size(m->docs[i]));
  return h;
}

void kg_sim_tell(kg_sim_t *s, const char *what, const kg_parcel_t *p) {
  if (!s->o.trace) return;
  const kg_msg_t *m = p->m;
  char docs[48] = "", error[300] = "", *text = NULL;
  char *json = m->args ? kg_view_to_json(kg_view_of(m->args)) : NULL;
  if (m->ndocs) snprintf(docs, sizeof docs, " +%u docs %016llx", m->ndocs, (unsigned long long)hash_of(m));
  if (m->type == KG_MSG_ERROR) snprintf(error, sizeof error, " %d %s", m->code, m->text);
  int n = asprintf(&text, "%14.6f %s%s%-7s %s %s -> %s #%llx%s%s%s%s", (double)s->now_us / 1e6, what ? what : "",
                   what ? " " : "", types[m->type <= KG_MSG_CREDIT ? m->type : 0], m->topic,
                   p->from ? p->from->name : "kernel", p->to->name, (unsigned long long)m->id, error, docs,
                   json ? " " : "", json ? json : "");
  if (n > 0) line(s, text, (size_t)n);
  free(text);
  free(json);
}

void kg_sim_note(kg_kernel_t *k, const char *fmt, ...) {
  kg_sim_t *s = k->sim;
  if (!s->o.trace) return;
  char text[1100];
  int n = snprintf(text, sizeof text, "%14.6f ", (double)s->now_us / 1e6);
  va_list ap;
  va_start(ap, fmt);
  int more = vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
  va_end(ap);
  if (more > 0) n += more;
  line(s, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* Messages are told when they arrive; this is for timers and missed deadlines. */
void kg_sim_ran(kg_lane_t *lane, const kg_ctx_t *ctx, const char *what) {
  if (strncmp(what, "a ", 2) == 0) kg_sim_note(lane->k, "%s of %s", what + 2, ctx->name);
}

void kg_sim_log(kg_sim_t *s, const char *level, const char *who, const char *text) {
  kg_sim_note(s->k, "log %s %s: %s", level, who, text);
}
