/*
 * Watches. A watcher costs a selection and a revision; what it has yet to be sent lies in the collection's ring of
 * changes, shared by all. One that is slower than the ring is long ends with 410 and lists again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"

enum { BOOKMARK_MS = 60000 };
typedef enum { ADDED, MODIFIED, DELETED, NOTHING } kind_t;

struct watcher {
  watcher_t *next;
  api_t *api;
  collection_t *c;
  const kg_msg_t *m; /* own reference */
  req_t q;
  selection_t selection;
  int64_t sent;       /* changes up to here were sent or did not concern it */
  int64_t bookmarked; /* revision of the last bookmark */
  bool behind, bookmarks, initial_mark;
  bool once;          /* ends when it has caught up */
  object_t **initial; /* the state at the beginning, still to be sent from `at` on; own references */
  size_t ninitial, at;
  uint64_t timeout;
};

/* --- items ------------------------------------------------------------------------------------------------------- */

static kg_doc_t *item_args(const char *type, int64_t rev) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "type", type);
  kg_pack_key(&p, "rev");
  kg_pack_fmt(&p, "%lld", (long long)rev);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

/* What a change is to this watcher: an object may enter or leave what it selects. */
static kind_t kind_for(const watcher_t *w, const change_t *e) {
  bool before = e->old && selection_matches(&w->selection, e->old);
  bool after = e->now && selection_matches(&w->selection, e->now);
  if (after) return before ? MODIFIED : ADDED;
  return before ? DELETED : NOTHING;
}

static const char *const names[] = {"ADDED", "MODIFIED", "DELETED"};

/* The document of a change as a kind of event: shared, unless the watcher wants another version than the stored one. */
static kg_doc_t *change_doc(watcher_t *w, change_t *e, kind_t kind) {
  if (kind == DELETED && !e->last) e->last = stamp(e->old->doc, e->rev);
  kg_doc_t *doc = kind == DELETED ? e->last : e->now->doc;
  if (w->q.r == w->c->r || !doc) return kg_doc_ref(doc);
  object_t *o = object_new(KG_STR(""), e->rev, 0, doc);
  kg_doc_t *shown = o ? object_as(o, w->q.r, w->c) : NULL;
  object_unref(o);
  return shown;
}

/* False: no credit. */
static bool send_change(watcher_t *w, change_t *e) {
  kind_t kind = kind_for(w, e);
  if (kind != NOTHING) {
    if (!e->args[kind]) e->args[kind] = item_args(names[kind], e->rev);
    kg_doc_t *doc = change_doc(w, e, kind);
    int credit = kg_stream_item(w->api->ctx, w->m, e->args[kind], &doc, 1);
    kg_doc_unref(doc);
    if (credit < 0) return false;
    w->api->items++;
  }
  w->sent = e->rev;
  return true;
}

static bool send_bookmark(watcher_t *w, bool initial_end) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "kind", w->q.r->kind);
  kg_pack_key(&p, "apiVersion");
  kg_pack_fmt(&p, "%s%s%s", w->q.r->group, w->q.r->group[0] ? "/" : "", w->q.r->version);
  kg_pack_key(&p, "metadata");
  kg_pack_map(&p);
  kg_pack_key(&p, "resourceVersion");
  kg_pack_fmt(&p, "%lld", (long long)w->sent);
  if (initial_end) {
    kg_pack_key(&p, "annotations");
    kg_pack_map(&p);
    kg_pack_kv_str(&p, "k8s.io/initial-events-end", "true");
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p), *args = item_args("BOOKMARK", w->sent);
  int credit = kg_stream_item(w->api->ctx, w->m, args, &doc, 1);
  kg_doc_unref(doc);
  kg_doc_unref(args);
  if (credit >= 0) w->bookmarked = w->sent;
  return credit >= 0;
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static void watcher_free(watcher_t *w) {
  for (watcher_t **at = &w->c->watchers; *at; at = &(*at)->next)
    if (*at == w) {
      *at = w->next;
      break;
    }
  if (w->timeout) kg_timer_cancel(w->api->ctx, w->timeout);
  for (size_t i = w->at; i < w->ninitial; i++) object_unref(w->initial[i]);
  free(w->initial);
  selection_free(&w->selection);
  w->api->nwatchers--;
  kg_msg_unref((kg_msg_t *)w->m);
  free(w);
}

static void expired(watcher_t *w, int64_t rev, int64_t oldest) {
  fault_t f;
  fault_other(&f, 410, "Expired", "too old resource version: %lld (%lld)", (long long)rev, (long long)oldest);
  fault_answer(&w->q, &f);
}

static bool send_initial(watcher_t *w) {
  while (w->at < w->ninitial) {
    object_t *o = w->initial[w->at];
    kg_doc_t *args = item_args("ADDED", o->rev), *doc = object_as(o, w->q.r, w->c);
    int credit = kg_stream_item(w->api->ctx, w->m, args, &doc, 1);
    kg_doc_unref(args);
    kg_doc_unref(doc);
    if (credit < 0) return false;
    object_unref(o);
    w->at++;
    w->api->items++;
  }
  if (w->initial_mark && !send_bookmark(w, true)) return false;
  w->initial_mark = false;
  return true;
}

static size_t ring_find(const collection_t *c, int64_t rev) {
  size_t low = 0, high = c->ring_count;
  while (low < high) {
    size_t mid = (low + high) / 2;
    if (c->ring[(c->ring_first + mid) % c->ring_room]->rev > rev)
      high = mid;
    else
      low = mid + 1;
  }
  return low;
}

/* It has got all there is by now: says up to where, and ends; without credit later. */
static void send_synced(watcher_t *w) {
  if (w->sent < w->api->rev) w->sent = w->api->rev;
  kg_doc_t *args = item_args("SYNCED", w->sent);
  int credit = kg_stream_item(w->api->ctx, w->m, args, NULL, 0);
  kg_doc_unref(args);
  if (credit < 0) return;
  kg_stream_end(w->api->ctx, w->m);
  watcher_free(w);
}

/* Sends what is due as far as the credit goes. May free w. */
static void pump(watcher_t *w) {
  collection_t *c = w->c;
  w->behind = true;
  if (!send_initial(w)) return;
  if (w->sent < c->ring_after) {
    expired(w, w->sent, c->ring_after);
    return watcher_free(w);
  }
  for (size_t i = ring_find(c, w->sent); i < c->ring_count; i++)
    if (!send_change(w, c->ring[(c->ring_first + i) % c->ring_room])) return;
  if (w->once) return send_synced(w);
  w->behind = false;
}

void watch_publish(api_t *api, collection_t *c, change_t *e) {
  (void)api;
  for (watcher_t *w = c->watchers; w; w = w->next)
    if (!w->behind && e->rev > w->sent) w->behind = !send_change(w, e);
}

void watch_free(collection_t *c) {
  while (c->watchers) {
    if (kg_active(c->watchers->api->ctx)) expired(c->watchers, c->watchers->sent, c->watchers->api->rev);
    watcher_free(c->watchers);
  }
}

static void on_credit(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)m;
  watcher_t *w = arg;
  if (w->behind) pump(w);
}

static void on_cancel(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)m;
  watcher_free(arg);
}

static const kg_stream_events_t stream_events = {.on_credit = on_credit, .on_cancel = on_cancel};

/* One timer for all bookmarks, set only while something has changed since the last ones. */
static void on_bookmarks(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  api_t *api = self;
  for (size_t i = 0; i < api->ncollections; i++)
    for (watcher_t *w = api->collections[i]->watchers; w; w = w->next) {
      if (!w->bookmarks || w->behind) continue;
      w->sent = api->rev;
      if (w->bookmarked < w->sent) send_bookmark(w, false);
    }
}

void bookmarks_start(api_t *api) {
  kg_timer(api->ctx, BOOKMARK_MS, BOOKMARK_MS, on_bookmarks, NULL);
}

static void on_timeout(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self;
  watcher_t *w = arg;
  w->timeout = 0;
  if (w->bookmarks && !w->behind) {
    if (w->api->rev > w->sent) w->sent = w->api->rev;
    send_bookmark(w, false);
  }
  kg_stream_end(ctx, w->m);
  watcher_free(w);
}

/* The state at the beginning, by reference. */
static int take_initial(watcher_t *w) {
  size_t room = 0;
  sorted_pos_t pos = selection_seek(&w->selection, &w->c->objects);
  for (object_t *o; (o = sorted_at(&w->c->objects, &pos)) && !selection_ends(&w->selection, o);) {
    if (!selection_matches(&w->selection, o)) continue;
    if (w->ninitial == room) {
      room = room ? room * 2 : 16;
      object_t **more = realloc(w->initial, room * sizeof *more);
      if (!more) return -1;
      w->initial = more;
    }
    w->initial[w->ninitial++] = object_ref(o);
  }
  return 0;
}

/* Where the watch begins. False: answered. */
static bool begin(watcher_t *w, req_t *q) {
  bool initial = kg_view_bool(kg_view_get(q->args, "sendInitialEvents"), false);
  int64_t rev = 0;
  if (!revision_read(q, &rev)) return false;
  if (!rev || initial) {
    w->sent = q->api->rev;
    w->initial_mark = initial && w->bookmarks;
    return take_initial(w) == 0;
  }
  w->sent = rev;
  if (rev >= w->c->ring_after) return true;
  expired(w, rev, w->c->ring_after);
  return false;
}

void on_watch(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  api_t *api = self;
  req_t q;
  if (!req_read(&q, api, m, KUBE_V_WATCH)) return;
  if (!q.c || !kg_msg_stream(m)) return kg_fail(ctx, m, 405, "%s cannot be watched this way", q.r->resource);
  if (!list_options(&q, true)) return;
  watcher_t *w = calloc(1, sizeof *w);
  if (!w) return kg_fail(ctx, m, KG_EINTERNAL, "api.watch: out of memory");
  w->api = api;
  w->c = q.c;
  w->q = q;
  w->bookmarks = kg_view_bool(kg_view_get(q.args, "bookmarks"), false);
  w->once = kg_view_bool(kg_view_get(q.args, "once"), false);
  w->m = kg_msg_ref(m);
  api->nwatchers++;
  if (!selection_read(&q, &w->selection) || !begin(w, &q)) return watcher_free(w);
  w->next = w->c->watchers;
  w->c->watchers = w;
  int64_t seconds = kg_view_int(kg_view_get(q.args, "timeoutSeconds"), 0);
  if (seconds > 0) w->timeout = kg_timer(ctx, seconds * 1000, 0, on_timeout, w);
  kg_stream_open(ctx, m, &stream_events, w);
  pump(w);
}
