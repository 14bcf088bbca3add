/* The streams `kernel.trace` of the control plugin. */
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "trace.h"

struct kg_tracing {
  kg_tracing_t *next;
  kg_tracing_t **list;
  kg_trace_t wish;
  kg_msg_t *m;
  uint64_t lost;
};

static void free_wish(kg_trace_t *w) {
  for (char **glob = w->globs; glob && *glob; glob++) free(*glob);
  free(w->globs);
  free(w->of);
}

static void end(kg_ctx_t *ctx, kg_tracing_t *t) {
  kg_tracing_t **at = t->list;
  while (*at != t) at = &(*at)->next;
  *at = t->next;
  kg_trace_remove(ctx, &t->wish);
  free_wish(&t->wish);
  kg_msg_unref(t->m);
  free(t);
}

static void cancelled(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self, (void)m;
  end(ctx, arg);
}

static int tell_lost(kg_ctx_t *ctx, kg_tracing_t *t) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "lost", (int64_t)t->lost);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  int rc = kg_stream_item(ctx, t->m, args, NULL, 0);
  if (rc >= 0) t->lost = 0;
  kg_doc_unref(args);
  return rc;
}

static void credited(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self, (void)m;
  kg_tracing_t *t = arg;
  if (t->lost) tell_lost(ctx, t);
}

static char *name_in(kg_view_t v) {
  kg_str_t s = kg_view_str(v);
  return s.n && !memchr(s.p, 0, s.n) ? kg_str_dup(s) : NULL;
}

/* {globs: [...], of, whole} */
static int read_wish(kg_view_t args, kg_trace_t *w) {
  kg_view_t globs = kg_view_get(args, "globs");
  size_t n = 0, count = kg_view_count(globs);
  if (kg_view_type(globs) != KG_V_ARRAY || !(w->globs = calloc(count + 2, sizeof *w->globs))) return -1;
  for (kg_iter_t it = kg_iter(globs); n < count && kg_iter_next(&it);)
    if (!(w->globs[n++] = name_in(it.value))) return -1;
  if (!n && !(w->globs[0] = strdup("*"))) return -1;
  w->whole = kg_view_bool(kg_view_get(args, "whole"), false);
  return !kg_view_there(kg_view_get(args, "of")) || (w->of = name_in(kg_view_get(args, "of"))) ? 0 : -1;
}

void kg_control_trace(kg_ctx_t *ctx, kg_tracing_t **list, const kg_msg_t *m) {
  static const kg_stream_events_t events = {.on_cancel = cancelled, .on_credit = credited};
  kg_tracing_t *t = kg_msg_stream(m) ? calloc(1, sizeof *t) : NULL;
  if (!t || read_wish(kg_msg_args(m), &t->wish) < 0) {
    if (t) free_wish(&t->wish);
    free(t);
    kg_fail(ctx, m, KG_EINVAL, "kernel.trace is a stream and needs the argument globs, an array of texts");
    return;
  }
  t->m = kg_msg_ref(m);
  t->list = list;
  t->next = *list;
  *list = t;
  kg_trace_add(ctx, &t->wish);
  kg_stream_open(ctx, m, &events, t);
}

void kg_control_traced(kg_ctx_t *ctx, kg_tracing_t *list, const kg_msg_t *m) {
  uint64_t lost = kg_trace_taken(ctx->k);
  kg_doc_t *const *docs = m->docs;
  char text[3][KG_NAME_MAX + 1];
  const char *const keys[] = {"topic", "from", "to"};
  for (int i = 0; i < 3; i++) {
    kg_str_t s = kg_view_str(kg_view_get(kg_msg_args(m), keys[i]));
    size_t n = s.n < KG_NAME_MAX ? s.n : KG_NAME_MAX;
    if (n) memcpy(text[i], s.p, n);
    text[i][n] = 0;
  }
  for (kg_tracing_t *t = list; t; t = t->next) {
    t->lost += lost;
    if (!kg_trace_wants(&t->wish, text[0], text[1], text[2])) continue;
    if ((t->lost && tell_lost(ctx, t) < 0) ||
        kg_stream_item(ctx, t->m, kg_msg_args_doc(m), docs, t->wish.whole ? m->ndocs : 0) < 0)
      t->lost++;
  }
}

size_t kg_control_traces(const kg_tracing_t *list) {
  size_t n = 0;
  for (; list; list = list->next) n++;
  return n;
}

void kg_control_trace_end(kg_ctx_t *ctx, kg_tracing_t **list) {
  while (*list) end(ctx, *list);
}
