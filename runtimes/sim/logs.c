/* Who watches, and who reads logs. A pretended container says when it started and ended, and that it is pretended. */
#include <stdio.h>

#include "sim.h"

enum { LINE = 512 };

void reply_map(kg_ctx_t *ctx, const kg_msg_t *m, kg_pack_t *p) {
  kg_pack_end(p);
  kg_doc_t *doc = kg_pack_doc(p);
  kg_reply(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}

static void forget(stream_t **list, stream_t *gone) {
  for (stream_t **at = list; *at; at = &(*at)->next)
    if (*at == gone) {
      *at = gone->next;
      kg_msg_unref(gone->request);
      free(gone);
      return;
    }
}

static void cancelled(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)m;
  sim_t *s = self;
  forget(&s->watches, arg);
  forget(&s->follows, arg);
}

static stream_t *stream_new(sim_t *s, stream_t **list, const kg_msg_t *m) {
  static const kg_stream_events_t events = {.on_cancel = cancelled};
  stream_t *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  w->request = kg_msg_ref(m);
  w->next = *list;
  *list = w;
  kg_stream_open(s->ctx, m, &events, w);
  return w;
}

void runtime_watch(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  sim_t *s = self;
  if (!stream_new(s, &s->watches, m)) kg_fail(ctx, m, KG_EINTERNAL, "out of memory");
}

void watches_tell(sim_t *s, const container_t *c, const char *type) {
  kg_pack_t p = kg_pack();
  if (!s->watches) return;
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "type", type);
  pack_container(&p, c);
  kg_pack_end(&p);
  kg_doc_t *item = kg_pack_doc(&p);
  for (stream_t *w = s->watches, *next; w; w = next) {
    next = w->next;
    if (kg_stream_item(s->ctx, w->request, item, NULL, 0) >= 0) continue;
    kg_fail(s->ctx, w->request, KG_EGONE, "the watch of the runtime fell behind: list again");
    forget(&s->watches, w);
  }
  kg_doc_unref(item);
}

/* --- logs
 * -------------------------------------------------------------------------------------------------------------- */

/* A line with its time if that is wanted; not at all if it is older than what is wanted. */
static void send_line(sim_t *s, const kg_msg_t *m, int64_t at_us, const char *text) {
  kg_view_t args = kg_msg_args(m);
  char line[LINE], time[32] = "";
  if (at_us < kg_view_int(kg_view_get(args, "since"), 0)) return;
  if (kg_view_bool(kg_view_get(args, "timestamps"), false)) kube_time_format_micro(at_us, time);
  int n = snprintf(line, sizeof line, "%s%s%s\n", time, *time ? " " : "", text);
  int64_t limit = kg_view_int(kg_view_get(args, "limitBytes"), n);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "data");
  kg_pack_bin(&p, line, (size_t)(limit < n ? limit : n));
  kg_pack_end(&p);
  kg_doc_t *item = kg_pack_doc(&p);
  kg_stream_item(s->ctx, m, item, NULL, 0);
  kg_doc_unref(item);
}

static container_t *by_log(const sim_t *s, kg_str_t path) {
  for (container_t *c = s->containers; c; c = c->next)
    if (c->log_path && kg_str_is(path, c->log_path)) return c;
  return NULL;
}

void runtime_logs(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  sim_t *s = self;
  kg_view_t args = kg_msg_args(m);
  container_t *c = by_log(s, kg_view_str(kg_view_get(args, "path")));
  int64_t tail = kg_view_int(kg_view_get(args, "tail"), 2);
  char text[LINE];
  if (!c) return kg_fail(ctx, m, KG_ENOTFOUND, "there is no such log");
  bool over = c->state == C_EXITED;
  snprintf(text, sizeof text, "(simulated) container %s of image %.200s started: nothing runs", c->name, c->image);
  if (c->started_us && tail > (over ? 1 : 0)) send_line(s, m, c->started_us, text);
  snprintf(text, sizeof text, "(simulated) container %s ended with exit code %lld", c->name, (long long)c->exit_code);
  if (over && tail > 0) send_line(s, m, c->finished_us, text);
  if (over || !kg_view_bool(kg_view_get(args, "follow"), false)) return kg_stream_end(ctx, m);
  stream_t *w = stream_new(s, &s->follows, m);
  if (w)
    w->of = c;
  else
    kg_fail(ctx, m, KG_EINTERNAL, "out of memory");
}

void logs_more(sim_t *s, container_t *c, const char *text) {
  for (const stream_t *w = s->follows; w; w = w->next)
    if (w->of == c) send_line(s, w->request, kg_wall_us(s->ctx), text);
}

void logs_end(sim_t *s, container_t *c) {
  for (stream_t *w = s->follows, *next; w; w = next) {
    next = w->next;
    if (w->of != c) continue;
    kg_stream_end(s->ctx, w->request);
    forget(&s->follows, w);
  }
}

void watches_end(sim_t *s) {
  static const char why[] = "the runtime is being replaced: ask again";
  stream_t **const lists[] = {&s->watches, &s->follows};
  for (size_t i = 0; i < 2; i++)
    for (; *lists[i]; forget(lists[i], *lists[i])) kg_fail(s->ctx, (*lists[i])->request, KG_EUNAVAILABLE, why);
}

void streams_free(sim_t *s) {
  while (s->watches) forget(&s->watches, s->watches);
  while (s->follows) forget(&s->follows, s->follows);
}
