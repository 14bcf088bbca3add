#include "hub.h"

/* A segment and its framing fill one TLS record. The row is bounded in bytes; credit flows with the most advanced
 * watcher. */
enum { SEGMENT = 16000, ROW_BYTES = 4 << 20, CREDIT = 1024, SLICE_US = 1000, BUCKETS = 128 };

typedef struct segment {
  gw_blob_t *blob;
  int64_t rev;   /* of its last event */
  uint32_t left; /* watchers that have yet to take it */
  uint32_t events;
  bool bookmark; /* for those only who asked for them */
} segment_t;

struct gw_hub {
  gw_hub_t *next, *dirty_next;
  gw_t *gw;
  kg_doc_t *what;
  gw_form_t form;
  bool protobuf;
  uint64_t call;
  int64_t rev; /* of the last item that came */
  gw_sub_t *subs;
  gw_sub_t *pass; /* the next to be fed; NULL: the pass is over */
  uint32_t nsubs, njoining;
  bool dirty, again; /* again: more came during the pass */
  bool busy;         /* do not free it now */
  segment_t *row;    /* segments first .. end-1, at their number modulo room */
  uint64_t first, end;
  size_t room, bytes;
  uint64_t front; /* credit was given back for all before */
  uint32_t owed;
  kube_buf_t open; /* events that are in no segment yet */
  uint32_t nopen;
  int64_t open_rev;
};
struct gw_hubs {
  gw_hub_t *bucket[BUCKETS];
  gw_hub_t *dirty, **dirty_end;
  uint64_t timer;
};

static segment_t *segment_at(const gw_hub_t *h, uint64_t i) {
  return &h->row[i & (h->room - 1)];
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static size_t bucket_of(const kg_doc_t *what) {
  return kg_hash(KG_HASH_START, kg_doc_data(what), kg_doc_size(what)) % BUCKETS;
}

static bool same(const gw_hub_t *h, const gw_ex_t *ex, const kg_doc_t *what) {
  return h->call && h->form == ex->form && h->protobuf == ex->protobuf && kg_doc_size(h->what) == kg_doc_size(what) &&
         !memcmp(kg_doc_data(h->what), kg_doc_data(what), kg_doc_size(what));
}

static void hub_free(gw_hub_t *h) {
  struct gw_hubs *all = h->gw->hubs;
  gw_hub_t **at = &all->bucket[bucket_of(h->what)];
  while (*at != h) at = &(*at)->next;
  *at = h->next;
  if (h->dirty) {
    for (at = &all->dirty; *at != h;) at = &(*at)->dirty_next;
    *at = h->dirty_next;
    if (!*at) all->dirty_end = at;
  }
  if (h->call) kg_cancel(h->gw->ctx, h->call);
  for (uint64_t i = h->first; i < h->end; i++) gw_blob_unref(segment_at(h, i)->blob);
  free(h->row);
  kube_buf_free(&h->open);
  kg_doc_unref(h->what);
  free(h);
}

static void on_stream(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg);

static gw_hub_t *hub_open(gw_ex_t *ex, kg_doc_t *what, int64_t after) {
  gw_t *gw = ex->conn->gw;
  gw_hub_t *h = calloc(1, sizeof *h);
  if (!h) return NULL;
  *h = (gw_hub_t){.gw = gw, .what = kg_doc_ref(what), .form = ex->form, .protobuf = ex->protobuf, .rev = after};
  gw_hub_t **bucket = &gw->hubs->bucket[bucket_of(what)];
  h->next = *bucket;
  *bucket = h;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  for (kg_iter_t it = kg_iter(kg_view_of(what)); kg_iter_next(&it);) {
    kg_pack_view(&p, it.key);
    kg_pack_view(&p, it.value);
  }
  kg_pack_fmt((kg_pack_key(&p, "resourceVersion"), &p), "%lld", (long long)after);
  kg_pack_kv_bool(&p, "bookmarks", true);
  kg_pack_end(&p);
  kg_request_t r = {.service = "api",
                    .topic = "api.watch",
                    .args = kg_pack_doc(&p),
                    .stream = true,
                    .credit = CREDIT,
                    .manual_credit = true,
                    .timeout_ms = -1,
                    .fn = on_stream,
                    .arg = h};
  h->call = kg_send(gw->ctx, &r);
  kg_doc_unref(r.args);
  return h;
}

/* --- the row of segments ----------------------------------------------------------------------------------------- */

static void credit_up_to(gw_hub_t *h, uint64_t seq) {
  while (h->front < seq) h->owed += segment_at(h, h->front++)->events;
  if (h->owed < CREDIT / 8 || !h->call) return;
  kg_credit(h->gw->ctx, h->call, h->owed);
  h->owed = 0;
}

static void drop_first(gw_hub_t *h) {
  credit_up_to(h, h->first + 1);
  segment_t *g = segment_at(h, h->first++);
  h->bytes -= g->blob->n;
  gw_blob_unref(g->blob);
}

static void drop_taken(gw_hub_t *h) {
  while (h->first < h->end && !segment_at(h, h->first)->left) drop_first(h);
}

static int grow(gw_hub_t *h) {
  size_t room = h->room ? h->room * 2 : 16;
  segment_t *row = malloc(room * sizeof *row);
  if (!row) return -1;
  for (uint64_t i = h->first; i < h->end; i++) row[i & (room - 1)] = *segment_at(h, i);
  free(h->row);
  h->row = row;
  h->room = room;
  return 0;
}

static void broken(gw_hub_t *h) {
  for (gw_sub_t *s = h->subs; s; s = s->next) gw_conn_break(s->ex->conn);
}

/* The first n bytes of what is open become a segment. */
static void seal(gw_hub_t *h, size_t n, bool bookmark) {
  if (!n) return;
  uint32_t takers = h->nsubs - h->njoining;
  gw_blob_t *blob = takers && !h->open.failed ? gw_blob_framed(h->open.p, n) : NULL;
  if (blob && h->end - h->first == h->room && grow(h) < 0) {
    gw_blob_unref(blob);
    blob = NULL;
  }
  if (blob) {
    *segment_at(h, h->end++) = (segment_t){blob, h->open_rev, takers, h->nopen, bookmark};
    h->bytes += blob->n;
    /* Who joins waits for what comes next: one who does not read must not hold that back. */
    if (h->njoining) credit_up_to(h, h->end);
  } else {
    if (takers) broken(h);
    h->owed += h->nopen;
    credit_up_to(h, h->front);
  }
  if (h->open.failed)
    kube_buf_free(&h->open);
  else
    memmove(h->open.p, h->open.p + n, h->open.n -= n);
  h->nopen = 0;
}

int gw_hub_join(gw_sub_t *s, kg_doc_t *what, int64_t after) {
  gw_t *gw = s->ex->conn->gw;
  if (!gw->hubs && !(gw->hubs = calloc(1, sizeof *gw->hubs))) return -1;
  if (!gw->hubs->dirty_end) gw->hubs->dirty_end = &gw->hubs->dirty;
  gw_hub_t *h = gw->hubs->bucket[bucket_of(what)];
  while (h && !same(h, s->ex, what)) h = h->next;
  if (!h && !(h = hub_open(s->ex, what, after))) return -1;
  s->hub = h;
  s->after = after;
  s->joining = true;
  s->prev = NULL;
  s->next = h->subs;
  if (s->next) s->next->prev = s;
  h->subs = s;
  h->nsubs++;
  h->njoining++;
  seal(h, h->open.n, false);
  credit_up_to(h, h->end);
  return 0;
}

/* Who has not taken the older half of a row that is too long goes on alone. */
static void shorten(gw_hub_t *h) {
  while (h->bytes > ROW_BYTES / 2 && h->end - h->first > 1) drop_first(h);
  h->busy = true;
  for (gw_sub_t *s = h->subs, *next; s; s = next) {
    next = s->next;
    if (s->joining || s->at >= h->first) continue;
    gw_hub_leave(s);
    s->lost(s);
  }
  h->busy = false;
}

/* --- watchers ---------------------------------------------------------------------------------------------------- */

void gw_hub_leave(gw_sub_t *s) {
  gw_hub_t *h = s->hub;
  if (!h) return;
  if (h->pass == s) h->pass = s->next;
  if (s->prev)
    s->prev->next = s->next;
  else
    h->subs = s->next;
  if (s->next) s->next->prev = s->prev;
  s->hub = NULL;
  h->nsubs--;
  h->njoining -= s->joining;
  for (uint64_t i = s->at > h->first ? s->at : h->first; i < h->end && !s->joining; i++) segment_at(h, i)->left--;
  drop_taken(h);
  if (!h->nsubs && !h->busy) hub_free(h);
}

static void take(gw_sub_t *s) {
  gw_hub_t *h = s->hub;
  segment_t *g = segment_at(h, s->at++);
  if (!g->bookmark || s->bookmarks) gw_stream_add(s->ex, g->blob);
  s->after = g->rev;
  g->left--;
  credit_up_to(h, s->at);
}

void gw_hub_feed(gw_sub_t *s) {
  gw_hub_t *h = s->hub;
  if (!h || s->joining) return;
  while (s->at < h->end && gw_backlog(s->ex) < GW_BACKLOG_LOW) take(s);
  drop_taken(h);
}

/* Those who have seen all up to a revision below this one take part from here on. */
static void let_in(gw_hub_t *h, int64_t rev) {
  seal(h, h->open.n, false);
  for (gw_sub_t *s = h->subs; s && h->njoining; s = s->next) {
    if (!s->joining || s->after >= rev) continue;
    s->joining = false;
    s->at = h->end;
    h->njoining--;
  }
}

/* --- writing ----------------------------------------------------------------------------------------------------- */

static void on_pump(kg_ctx_t *ctx, void *self, void *arg);

static void pump_later(gw_t *gw) {
  if (!gw->hubs->timer) gw->hubs->timer = kg_timer(gw->ctx, 0, 0, on_pump, NULL);
}

static void mark_dirty(gw_hub_t *h) {
  struct gw_hubs *all = h->gw->hubs;
  h->again = true;
  if (h->dirty) return;
  h->dirty = true;
  h->dirty_next = NULL;
  *all->dirty_end = h;
  all->dirty_end = &h->dirty_next;
  pump_later(h->gw);
}

/* One watcher of the first hub gets what there is. */
static void pump_one(struct gw_hubs *all) {
  gw_hub_t *h = all->dirty;
  if (!h->pass && h->again) {
    h->again = false;
    seal(h, h->open.n, false);
    if (h->bytes > ROW_BYTES) shorten(h);
    if (!h->nsubs) return hub_free(h);
    h->pass = h->subs;
  }
  gw_sub_t *s = h->pass;
  if (!s) {
    all->dirty = h->dirty_next;
    if (!all->dirty) all->dirty_end = &all->dirty;
    h->dirty = false;
    return;
  }
  h->pass = s->next;
  gw_conn_t *c = s->ex->conn;
  gw_hub_feed(s);
  if (c->out.bytes || c->is_h2) gw_conn_flush(c); /* may end exchanges, and so free the hub */
}

/* Answers go first: who writes shall not wait for those who watch. A long row of watchers is served in slices. */
static void on_pump(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  gw_t *gw = self;
  gw->hubs->timer = 0;
  gw_conn_flush_all(gw);
  for (int64_t until = kg_now_us(ctx) + SLICE_US; gw->hubs->dirty && kg_now_us(ctx) < until;) pump_one(gw->hubs);
  if (gw->hubs->dirty) pump_later(gw);
}

/* --- the stream from the api role -------------------------------------------------------------------------------- */

static void take_item(gw_hub_t *h, const kg_msg_t *m) {
  kg_view_t args = kg_msg_args(m);
  char type[12];
  snprintf(type, sizeof type, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(args, "type"))));
  bool bookmark = *type == 'B';
  h->rev = gw_event_rev(args);
  if (h->njoining) let_in(h, h->rev);
  if (h->njoining == h->nsubs) { /* nobody takes it */
    h->owed++;
    return credit_up_to(h, h->front);
  }
  if (bookmark) seal(h, h->open.n, false);
  size_t before = h->open.n;
  if (!gw_event_text(&h->open, type, h->form, h->protobuf, kg_view_of(kg_msg_doc(m, 0)))) h->open.failed = true;
  if (before && h->open.n > SEGMENT) seal(h, before, false);
  h->nopen++;
  h->open_rev = h->rev;
  if (bookmark || h->open.n > SEGMENT) seal(h, h->open.n, bookmark);
  mark_dirty(h);
}

static void ended(gw_hub_t *h, const kg_msg_t *m) {
  seal(h, h->open.n, false);
  h->busy = true;
  while (h->subs) {
    gw_sub_t *s = h->subs;
    while (!s->joining && s->at < h->end) take(s);
    gw_hub_leave(s);
    s->ended(s, m);
  }
  hub_free(h);
}

static void on_stream(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_hub_t *h = arg;
  if (kg_msg_type(m) == KG_MSG_ITEM) {
    take_item(h, m);
    return;
  }
  h->call = 0;
  ended(h, m);
}

void gw_hubs_free(gw_t *gw) {
  if (!gw->hubs) return;
  if (gw->hubs->timer) kg_timer_cancel(gw->ctx, gw->hubs->timer);
  free(gw->hubs); /* the hubs went with their watchers */
  gw->hubs = NULL;
}
