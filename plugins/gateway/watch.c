/*
 * Watches. Each begins with a stream of its own, which says what the user may see and what has happened so far; when it
 * has caught up it joins the hub of all who watch the same. The bus gives a stream as many items as the client has
 * taken: while a connection's backlog is above GW_BACKLOG_LOW its stream gets no more credit, and nobody else notices.
 * A watch of tables keeps its own stream: the api role makes each row.
 */
#include "hub.h"

enum { CREDIT = 256, SLOTS = 1024, MIN_SECONDS = 1800, CACHE_MS = 1000 };

/* --- encoded events, found by the document's address (held by reference, so an address cannot be reused)
 * ---------------------- */

typedef struct slot {
  kg_doc_t *doc;
  char type; /* first letter of ADDED, MODIFIED, DELETED, BOOKMARK, ERROR */
  gw_form_t form;
  bool protobuf;
  gw_blob_t *blob;
} slot_t;
struct gw_watch_cache {
  slot_t slot[SLOTS];
  size_t used;
  uint64_t timer;
};

static void cache_clear(struct gw_watch_cache *w) {
  for (size_t i = 0; i < SLOTS && w->used; i++) {
    if (!w->slot[i].doc) continue;
    kg_doc_unref(w->slot[i].doc);
    gw_blob_unref(w->slot[i].blob);
    w->slot[i] = (slot_t){0};
    w->used--;
  }
}

void gw_watch_cache_free(gw_t *gw) {
  if (!gw->watches) return;
  cache_clear(gw->watches);
  free(gw->watches);
  gw->watches = NULL;
}

/* Events are hot for a moment only: what they held is given back a second later. */
static void cache_cool(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  struct gw_watch_cache *w = arg;
  w->timer = 0;
  cache_clear(w);
}

/* What an event looks like: an ERROR is a whole Status whatever was asked for. */
bool gw_event_text(kube_buf_t *b, const char *type, gw_form_t form, bool protobuf, kg_view_t object) {
  bool meta = form == GW_FORM_META && *type != 'E';
  if (protobuf) return gw_protobuf_event(b, type, meta, object);
  kube_buf_fmt(b, "{\"type\":\"%s\",\"object\":", type);
  if (meta)
    gw_meta_only(b, object);
  else
    kube_json_write(b, object);
  kube_buf_addz(b, "}\n");
  return true;
}

int64_t gw_event_rev(kg_view_t args) {
  kg_str_t text = kg_view_str(kg_view_get(args, "rev"));
  int64_t rev = 0;
  for (size_t i = 0; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++) rev = rev * 10 + (text.p[i] - '0');
  return rev;
}

static gw_blob_t *event_blob(const char *type, gw_form_t form, bool protobuf, kg_view_t object) {
  kube_buf_t b = {0};
  bool ok = gw_event_text(&b, type, form, protobuf, object);
  gw_blob_t *blob = b.failed || !ok ? NULL : gw_blob_framed(b.p, b.n);
  kube_buf_free(&b);
  return blob;
}

/* The caller owns a reference. NULL: out of memory. */
static gw_blob_t *encoded(gw_ex_t *ex, const char *type, kg_doc_t *doc) {
  gw_t *gw = ex->conn->gw;
  gw_form_t form = ex->form;
  bool protobuf = ex->protobuf;
  if (!gw->watches) gw->watches = calloc(1, sizeof *gw->watches);
  struct gw_watch_cache *w = gw->watches;
  if (!w) return event_blob(type, form, protobuf, kg_view_of(doc));
  slot_t *s = &w->slot[(((uintptr_t)doc >> 4) * 31 + (unsigned)*type + form * 2 + protobuf) % SLOTS];
  if (s->doc == doc && s->type == *type && s->form == form && s->protobuf == protobuf) return gw_blob_ref(s->blob);
  gw_blob_t *blob = event_blob(type, form, protobuf, kg_view_of(doc));
  if (!blob) return NULL;
  if (!s->doc) w->used++;
  kg_doc_unref(s->doc);
  gw_blob_unref(s->blob);
  *s = (slot_t){kg_doc_ref(doc), *type, form, protobuf, gw_blob_ref(blob)};
  if (!w->timer) w->timer = kg_timer(gw->ctx, CACHE_MS, 0, cache_cool, w);
  return blob;
}

/* --- one watch
 * ------------------------------------------------------------------------------------------------------------- */

typedef struct pending { /* Table events wait here for the api role, in order */
  struct pending *next;
  gw_ex_t *ex;
  char type[12];
  uint64_t call;
  gw_blob_t *blob;
  bool done;
} pending_t;

typedef struct watch {
  gw_sub_t sub;   /* in a hub, once its own stream has ended */
  int64_t synced; /* its own stream has shown all up to here; 0: not yet */
  uint32_t owed;  /* items taken from the bus whose credit was not given back yet */
  uint64_t probe; /* tables: api.resolve that follows the watch */
  bool begun, headers_sent, ending;
  pending_t *head, *tail;
} watch_t;

static void begin(gw_ex_t *ex) {
  watch_t *w = ex->op;
  if (w->begun) return;
  w->begun = true;
  gw_stream_begin(ex, 200, ex->protobuf ? GW_PROTOBUF ";stream=watch" : "application/json");
}

static void give_credit(gw_ex_t *ex) {
  watch_t *w = ex->op;
  if (!w->owed || !ex->call || gw_backlog(ex) >= GW_BACKLOG_LOW) return;
  kg_credit(ex->conn->gw->ctx, ex->call, w->owed);
  w->owed = 0;
}

static void on_drain(gw_ex_t *ex) {
  watch_t *w = ex->op;
  if (w->sub.hub)
    gw_hub_feed(&w->sub);
  else
    give_credit(ex);
}

static void watch_gone(gw_ex_t *ex) {
  watch_t *w = ex->op;
  kg_ctx_t *ctx = ex->conn->gw->ctx;
  gw_hub_leave(&w->sub);
  if (w->probe) kg_cancel(ctx, w->probe);
  while (w->head) {
    pending_t *p = w->head;
    w->head = p->next;
    if (p->call) kg_cancel(ctx, p->call);
    gw_blob_unref(p->blob);
    free(p);
  }
  free(w);
  ex->op = NULL;
}

static void emit(gw_ex_t *ex, gw_blob_t *blob) {
  if (blob)
    gw_stream_blob(ex, blob);
  else
    gw_conn_break(ex->conn);
}

/* --- events as tables
 * -------------------------------------------------------------------------------------------------------- */

static void emit_ready(gw_ex_t *ex) {
  watch_t *w = ex->op;
  while (w->head && w->head->done) {
    pending_t *p = w->head;
    w->head = p->next;
    if (!w->head) w->tail = NULL;
    emit(ex, p->blob);
    gw_blob_unref(p->blob);
    free(p);
    w->owed++;
  }
  if (w->ending && !w->head)
    gw_stream_end(ex);
  else
    give_credit(ex);
}

static void on_row(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  pending_t *p = arg;
  p->call = 0;
  p->done = true;
  bool ok = kg_msg_type(m) == KG_MSG_REPLY && kg_msg_doc(m, 0);
  if (ok)
    p->blob = event_blob(p->type, GW_FORM_JSON, false, kg_view_of(kg_msg_doc(m, 0)));
  else
    kg_log(ctx, KG_LOG_WARN, "a watch event could not be made a table: %s", kg_msg_text(m));
  emit_ready(p->ex);
}

static void table_event(gw_ex_t *ex, const char *type, kg_doc_t *doc) {
  watch_t *w = ex->op;
  pending_t *p = calloc(1, sizeof *p);
  if (!p) {
    gw_conn_break(ex->conn);
    return;
  }
  p->ex = ex;
  snprintf(p->type, sizeof p->type, "%s", type);
  if (w->tail)
    w->tail->next = p;
  else
    w->head = p;
  w->tail = p;
  if (*type == 'E') { /* a Status stays what it is */
    p->blob = event_blob(type, GW_FORM_JSON, false, kg_view_of(doc));
    p->done = true;
    emit_ready(ex);
    return;
  }
  kg_doc_t *args = gw_table_args(ex, (kg_view_t){0}, !w->headers_sent);
  w->headers_sent = true;
  kg_request_t r = {
      .service = "api", .topic = "api.table", .args = args, .docs = &doc, .ndocs = 1, .fn = on_row, .arg = p};
  p->call = kg_send(ex->conn->gw->ctx, &r);
  kg_doc_unref(args);
}

/* --- the stream from the api role
 * -------------------------------------------------------------------------------------------- */

static void on_item(gw_ex_t *ex, const kg_msg_t *m) {
  kg_doc_t *doc = kg_msg_doc(m, 0);
  char *type = kg_str_dup(kg_view_str(kg_view_get(kg_msg_args(m), "type")));
  begin(ex);
  watch_t *w = ex->op;
  if (!doc || !type) {
    w->owed++;
  } else if (ex->form == GW_FORM_TABLE) {
    table_event(ex, type, doc);
  } else {
    gw_blob_t *blob = encoded(ex, type, doc);
    emit(ex, blob);
    gw_blob_unref(blob);
    w->owed++;
    give_credit(ex);
  }
  free(type);
}

/* The stream broke after it began: the client learns it as an ERROR event. */
static void late_error(gw_ex_t *ex, const kg_msg_t *m) {
  kg_doc_t *doc = kg_doc_ref(kg_msg_doc(m, 0));
  if (!doc) {
    kube_buf_t b = {0};
    gw_status_json(&b, kg_msg_code(m), gw_reason(kg_msg_code(m)), NULL, kg_msg_text(m));
    doc = kube_json_parse(b.p, b.n, NULL, NULL, NULL);
    kube_buf_free(&b);
  }
  gw_blob_t *blob = event_blob("ERROR", ex->form, ex->protobuf, kg_view_of(doc));
  emit(ex, blob);
  gw_blob_unref(blob);
  kg_doc_unref(doc);
}

/* --- arguments ---------------------------------------------------------------------------------------------------- */

typedef enum {
  FIRST, /* as the client asked */
  AGAIN, /* from a revision on */
  WHAT,  /* what is watched, without who and from where */
} stage_t;

/* A watch of one object is a watch of its collection with a field selector. */
static kg_doc_t *watch_args(gw_ex_t *ex, stage_t stage, int64_t after) {
  const char *name = ex->route.name;
  ex->route.name = "";
  kg_pack_t p = stage == WHAT ? gw_what(ex) : gw_args(ex);
  ex->route.name = name;
  if (*name) kg_pack_fmt((kg_pack_key(&p, "fieldSelector"), &p), "metadata.name=%s", name);
  if (stage == FIRST) {
    gw_pass_list(ex, &p);
    kg_pack_kv_bool(&p, "bookmarks", gw_query_bool(ex, "allowWatchBookmarks"));
    if (gw_query_bool(ex, "sendInitialEvents")) kg_pack_kv_bool(&p, "sendInitialEvents", true);
  } else {
    gw_pass_selectors(ex, &p);
  }
  if (stage == AGAIN) kg_pack_fmt((kg_pack_key(&p, "resourceVersion"), &p), "%lld", (long long)after);
  if (stage != WHAT && ex->form != GW_FORM_TABLE) kg_pack_kv_bool(&p, "once", true);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

/* The stream is over, and not because the watch has caught up. */
static void over(gw_ex_t *ex, const kg_msg_t *m) {
  watch_t *w = ex->op;
  bool error = kg_msg_type(m) == KG_MSG_ERROR;
  if (error && !w->begun && kg_msg_code(m) != KG_EGONE) { /* that one is told as an event, as any later error */
    gw_status_of(ex, m);
    return;
  }
  begin(ex);
  w->ending = true;
  /* A plugin swap (503) closes the watch as any server may; the client opens it again. */
  if (error && kg_msg_code(m) != KG_EUNAVAILABLE) late_error(ex, m);
  if (!w->head) gw_stream_end(ex);
}

static void join(gw_ex_t *ex) {
  watch_t *w = ex->op;
  int64_t after = w->synced;
  kg_doc_t *what = watch_args(ex, WHAT, 0);
  w->synced = 0;
  if (!what || gw_hub_join(&w->sub, what, after) < 0) gw_conn_break(ex->conn);
  kg_doc_unref(what);
}

static void on_watch(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  watch_t *w = ex->op;
  kg_view_t args = kg_msg_args(m);
  if (kg_msg_type(m) != KG_MSG_ITEM) {
    ex->call = 0;
    if (w->synced)
      join(ex);
    else
      over(ex, m);
  } else if (kg_str_is(kg_view_str(kg_view_get(args, "type")), "SYNCED")) {
    begin(ex);
    w->synced = gw_event_rev(args);
  } else {
    on_item(ex, m);
  }
}

/* --- in a hub ---------------------------------------------------------------------------------------------------- */

static bool send_watch(gw_ex_t *ex, kg_doc_t *args);

static void on_lost(gw_sub_t *s) {
  kg_doc_t *args = watch_args(s->ex, AGAIN, s->after);
  if (!send_watch(s->ex, args)) gw_conn_break(s->ex->conn);
  kg_doc_unref(args);
}

static void on_ended(gw_sub_t *s, const kg_msg_t *m) {
  over(s->ex, m);
}

/* The api role answers in order, so what it had to say against the watch came before this. */
static void on_probe(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  watch_t *w = ex->op;
  w->probe = 0;
  if (kg_msg_type(m) != KG_MSG_REPLY) return;
  if (!w->begun) gw_add_warnings(ex, kg_msg_args(m));
  begin(ex);
}

static void on_timeout(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  ex->timer = 0;
  begin(ex);
  gw_stream_end(ex);
}

static int64_t timeout_s(gw_ex_t *ex) {
  char *v = gw_query(ex, "timeoutSeconds", NULL);
  long long s = v ? strtoll(v, NULL, 10) : 0;
  free(v);
  if (s > 0 && s < 86400) return s;
  return MIN_SECONDS + (int64_t)(kg_random(ex->conn->gw->ctx) % MIN_SECONDS);
}

/* False: out of memory. */
static bool send_watch(gw_ex_t *ex, kg_doc_t *args) {
  if (!args) return false;
  kg_request_t r = {.service = "api",
                    .topic = "api.watch",
                    .args = args,
                    .stream = true,
                    .credit = CREDIT,
                    .manual_credit = true,
                    .timeout_ms = -1,
                    .fn = on_watch,
                    .arg = ex};
  ex->call = kg_send(ex->conn->gw->ctx, &r);
  ((watch_t *)ex->op)->owed = 0;
  return true;
}

void gw_watch(gw_ex_t *ex) {
  kg_ctx_t *ctx = ex->conn->gw->ctx;
  watch_t *w = calloc(1, sizeof *w);
  kg_doc_t *args = w ? watch_args(ex, FIRST, 0) : NULL;
  if (!args) {
    free(w);
    gw_status(ex, 503, "ServiceUnavailable", NULL, "out of memory");
    return;
  }
  if (ex->protobuf && ex->form == GW_FORM_JSON) {
    const gw_route_t *r = &ex->route;
    ex->protobuf = kube_resource_find(kg_str(r->group), kg_str(r->version), kg_str(r->resource_name)) != NULL;
  }
  w->sub =
      (gw_sub_t){.ex = ex, .bookmarks = gw_query_bool(ex, "allowWatchBookmarks"), .lost = on_lost, .ended = on_ended};
  ex->op = w;
  ex->on_gone = watch_gone;
  ex->on_drain = on_drain;
  ex->patient = true;
  send_watch(ex, args);
  if (ex->form == GW_FORM_TABLE) {
    kg_request_t probe = {.service = "api", .topic = "api.resolve", .args = args, .fn = on_probe, .arg = ex};
    w->probe = kg_send(ctx, &probe);
  }
  ex->timer = kg_timer(ctx, timeout_s(ex) * 1000, 0, on_timeout, ex);
  kg_doc_unref(args);
}
