/*
 * Watchers. Nothing is queued for a reader that is slow: it is marked as behind and later reads on in the ring of
 * recent changes or, further back, in the backend's history; if that is compacted by then, its stream ends with 410.
 */
#include <stdlib.h>
#include <string.h>

#include "store.h"

enum { RING_MAX = 8192, RING_BYTES = 16 << 20, RING_SETTLED = 64 };

typedef struct store_watcher watcher_t;
struct store_watcher {
  watcher_t *next;
  const kg_msg_t *request; /* owned reference */
  kg_str_t from, to;       /* borrowed from the request */
  int64_t sent;            /* changes up to this revision were sent or are out of its range */
  unsigned part;           /* and so many of the next revision */
  void *source;            /* what the backend's follow() gave: the watcher is behind the ring and catches up */
  bool behind, prev;
  bool mark; /* an item is due when everything that is there now was sent */
};

/* --- the ring ---------------------------------------------------------------------------------------------------- */

static store_event_t *ring_at(store_front_t *f, size_t i) {
  return f->ring[(f->ring_first + i) % f->ring_room];
}

static size_t event_bytes(const store_event_t *e) {
  return (e->value ? kg_doc_size(e->value) : 0) + (e->before ? kg_doc_size(e->before) : 0);
}

static void ring_drop(store_front_t *f) {
  store_event_t *e = ring_at(f, 0);
  f->ring_after = e->rev;
  f->ring_bytes -= event_bytes(e);
  f->ring_first = (f->ring_first + 1) % f->ring_room;
  f->ring_count--;
  store_event_unref(e);
}

static void ring_add(store_front_t *f, store_event_t *e) {
  if (!f->ring) {
    f->ring = calloc(RING_MAX, sizeof *f->ring);
    f->ring_room = f->ring ? RING_MAX : 0;
  }
  if (!f->ring_room) {
    f->ring_after = e->rev;
    return;
  }
  /* The last 2048 stay whatever their size: they may not be readable from the backend yet. */
  while (f->ring_count == f->ring_room || (f->ring_bytes > RING_BYTES && f->ring_count > 2048)) ring_drop(f);
  f->ring[(f->ring_first + f->ring_count++) % f->ring_room] = store_event_ref(e);
  f->ring_bytes += event_bytes(e);
}

/* Index of the first change with a revision above `rev`. */
static size_t ring_find(store_front_t *f, int64_t rev) {
  size_t low = 0, high = f->ring_count;
  while (low < high) {
    size_t mid = (low + high) / 2;
    if (ring_at(f, mid)->rev > rev)
      high = mid;
    else
      low = mid + 1;
  }
  return low;
}

static kg_doc_t *value_before(store_front_t *f, const store_event_t *e) {
  if (e->before || !e->prev) return kg_doc_ref(e->before);
  size_t i = ring_find(f, e->prev - 1);
  if (i < f->ring_count && ring_at(f, i)->rev == e->prev) return kg_doc_ref(ring_at(f, i)->value);
  return f->ops->value ? f->ops->value(f, e->prev) : NULL;
}

/* --- items ------------------------------------------------------------------------------------------------------- */

static kg_doc_t *item_args(const store_event_t *e) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "type", e->deleted ? "delete" : "put");
  kg_pack_kv_int(&p, "rev", e->rev);
  kg_pack_kv_strn(&p, "key", store_event_key(e));
  kg_pack_kv_int(&p, "create", e->create);
  kg_pack_kv_int(&p, "mod", e->rev);
  kg_pack_kv_int(&p, "version", e->version);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

/* Sends e if the watcher wants it and has not got it. *args is made at the first need and shared. false: no credit. */
static bool send_event(store_front_t *f, watcher_t *w, store_event_t *e, kg_doc_t **args) {
  if (e->rev <= w->sent || e->sub < w->part) return true;
  if (store_in_range(store_event_key(e), w->from, w->to)) {
    if (!*args) *args = item_args(e);
    kg_doc_t *docs[2] = {e->value, w->prev && !e->deleted ? value_before(f, e) : NULL};
    int credit = kg_stream_item(f->ctx, w->request, *args, docs, docs[1] ? 2 : docs[0] ? 1 : 0);
    kg_doc_unref(docs[1]);
    if (credit < 0) return false;
    f->items++;
  }
  if (!e->more) w->sent = e->rev;
  w->part = e->more ? e->sub + 1 : 0;
  return true;
}

/* false: no credit. */
static bool send_progress(store_front_t *f, const kg_msg_t *m, int64_t rev, bool mark) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "type", "progress");
  kg_pack_kv_int(&p, "rev", rev);
  if (mark) kg_pack_kv_bool(&p, "mark", true);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  int credit = kg_stream_item(f->ctx, m, args, NULL, 0);
  kg_doc_unref(args);
  return credit >= 0;
}

typedef struct pump {
  store_front_t *front;
  watcher_t *watcher;
  bool blocked;
} pump_t;

static bool pump_event(void *arg, store_event_t *e) {
  pump_t *p = arg;
  kg_doc_t *args = NULL;
  p->blocked = !send_event(p->front, p->watcher, e, &args);
  kg_doc_unref(args);
  return !p->blocked;
}

static void watcher_end(store_front_t *f, watcher_t *w, int code, const char *text) {
  if (code) kg_fail(f->ctx, w->request, code, "%s", text);
  for (watcher_t **at = &f->watchers; *at; at = &(*at)->next)
    if (*at == w) {
      *at = w->next;
      break;
    }
  f->watcher_count--;
  if (w->source) f->ops->unfollow(f, w->source);
  kg_msg_unref((kg_msg_t *)w->request);
  free(w);
}

/* Sends a watcher what it missed, as far as its credit goes. May free it. */
static void pump(store_front_t *f, watcher_t *w) {
  pump_t p = {.front = f, .watcher = w};
  if (w->source) return f->ops->follow_on(f, w->source);
  if (w->sent < f->ring_after && f->ops->follow) {
    w->source = f->ops->follow(f, w, w->sent);
    if (!w->source) watcher_end(f, w, KG_EINTERNAL, "store.watch: out of memory");
    return;
  }
  if (w->sent < f->ring_after) {
    kg_error_t err = {0};
    if (f->ops->history(f, w->sent, pump_event, &p, &err) < 0) return watcher_end(f, w, err.code, err.text);
    if (p.blocked) return;
    if (w->sent < f->ring_after) w->sent = f->ring_after;
  }
  for (size_t i = ring_find(f, w->sent); i < f->ring_count; i++)
    if (!pump_event(&p, ring_at(f, i))) return;
  if (w->mark && !send_progress(f, w->request, f->rev, true)) return;
  w->behind = w->mark = false;
}

void store_publish(store_front_t *f, store_event_t *e) {
  ring_add(f, e);
  kg_doc_t *args = NULL;
  bool behind = false;
  for (watcher_t *w = f->watchers; w; w = w->next) {
    if (!w->behind) w->behind = !send_event(f, w, e, &args);
    behind |= w->behind;
  }
  kg_doc_unref(args);
  /* Everybody has everything, and the backend can tell it again: no need to hold it in memory too. */
  while (!behind && !f->dirty && f->ring_count > RING_SETTLED) ring_drop(f);
}

/* --- catching up from a backend that hands changes over later --------------------------------------------------------
 */

bool store_follow_event(store_front_t *f, store_watcher_t *w, store_event_t *e) {
  pump_t p = {.front = f, .watcher = w};
  return pump_event(&p, e);
}

bool store_follow_batch(store_front_t *f, store_watcher_t *w) {
  if (w->sent < f->ring_after) return false;
  w->source = NULL;
  pump(f, w);
  return true;
}

void store_follow_failed(store_front_t *f, store_watcher_t *w, const kg_error_t *err) {
  w->source = NULL;
  watcher_end(f, w, err->code, err->text);
}

int64_t store_follow_after(const store_watcher_t *w) {
  return w->sent;
}

void store_watch_gap(store_front_t *f, const char *text) {
  while (f->watchers) watcher_end(f, f->watchers, KG_EGONE, text);
  while (f->ring_count) ring_drop(f);
  f->ring_after = f->rev;
}

/* --- streams ----------------------------------------------------------------------------------------------------- */

static void on_credit(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)m;
  watcher_t *w = arg;
  if (w->behind) pump(self, w);
}

static void on_cancel(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)m;
  watcher_end(self, arg, 0, NULL);
}

static const kg_stream_events_t stream_events = {.on_credit = on_credit, .on_cancel = on_cancel};

void store_on_watch(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  store_front_t *f = self;
  kg_view_t a = kg_msg_args(m);
  int64_t rev = kg_view_int(kg_view_get(a, "rev"), 0);
  if (!f->open) return kg_fail(ctx, m, KG_EUNAVAILABLE, "store %s has not opened its data", kg_name(ctx));
  if (!kg_msg_stream(m)) return kg_fail(ctx, m, KG_EINVAL, "store.watch must be asked for as a stream");
  if (rev < 0) return kg_fail(ctx, m, KG_EINVAL, "store.watch: `rev` must not be negative");
  if (rev && rev < f->compacted)
    return kg_fail(ctx, m, KG_EGONE, "store.watch: revision %lld is compacted; the oldest is %lld", (long long)rev,
                   (long long)f->compacted);
  watcher_t *w = calloc(1, sizeof *w);
  if (!w) return kg_fail(ctx, m, KG_EINTERNAL, "store.watch: out of memory");
  w->request = kg_msg_ref(m);
  w->from = kg_view_str(kg_view_get(a, "from"));
  w->to = kg_view_str(kg_view_get(a, "to"));
  if (!w->from.p) w->from = KG_STR("");
  w->prev = kg_view_bool(kg_view_get(a, "prev"), true);
  w->mark = kg_view_bool(kg_view_get(a, "mark"), false);
  w->sent = rev ? rev : f->rev;
  w->behind = true;
  w->next = f->watchers;
  f->watchers = w;
  f->watcher_count++;
  kg_stream_open(ctx, m, &stream_events, w);
  send_progress(f, m, w->sent, false);
  pump(f, w);
}

void store_watch_free(store_front_t *f) {
  while (f->watchers) watcher_end(f, f->watchers, 0, NULL);
  while (f->ring_count) ring_drop(f);
  free(f->ring);
  f->ring = NULL;
}
