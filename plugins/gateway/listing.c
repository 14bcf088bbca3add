/*
 * Lists. A long one leaves while it is being encoded, as fast as the client takes it, so that it costs little memory
 * however long it is. Objects are encoded in runs, and runs are kept for a while: a list that is asked for again is
 * mostly there already. A run is known by the documents in it (held by reference, so an address cannot be reused);
 * where it ends depends on nothing but the documents, so that one that comes or goes changes one run.
 */
#include "gateway.h"
#include <zlib.h>

enum { SHORT_DOCS = 64, SHORT_BYTES = 128 << 10 }; /* up to here a list is answered at once, with its length */
enum { RUN_BYTES = 14000, RUN_MAX = 64, RUN_CUT = 64, SLOTS = 4096, WAYS = 4, KEPT_BYTES = 32 << 20, KEEP_MS = 10000 };
enum { AHEAD = 176 << 10 }; /* bytes made before they are written, with one system call */

typedef struct run {
  gw_blob_t *blob; /* framed; begins with a comma */
  uint32_t n;
  bool meta, used; /* used: since the last look */
  kg_doc_t *docs[];
} run_t;
struct gw_runs {
  run_t *slot[SLOTS];
  size_t bytes, hand;
  uint64_t timer;
};

typedef struct listing {
  const kg_msg_t *m;
  size_t at, n;
  z_stream z;
  bool zipped;
} listing_t;

/* --- runs that were encoded -------------------------------------------------------------------------------------- */

static void run_free(run_t *r) {
  for (uint32_t i = 0; i < r->n; i++) kg_doc_unref(r->docs[i]);
  gw_blob_unref(r->blob);
  free(r);
}

static void forget(struct gw_runs *all, size_t i) {
  if (!all->slot[i]) return;
  all->bytes -= all->slot[i]->blob->n;
  run_free(all->slot[i]);
  all->slot[i] = NULL;
}

/* What nobody asked for since the last look goes. */
static void on_look(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  struct gw_runs *all = ((gw_t *)self)->runs;
  all->timer = 0;
  for (size_t i = 0; i < SLOTS; i++) {
    if (all->slot[i] && !all->slot[i]->used) forget(all, i);
    if (all->slot[i]) all->slot[i]->used = false;
  }
  if (all->bytes) all->timer = kg_timer(ctx, KEEP_MS, 0, on_look, NULL);
}

/* In one of the places of its hash: an empty one, or one not asked for of late, or any. */
static void keep(gw_t *gw, run_t *r, size_t set) {
  struct gw_runs *all = gw->runs;
  size_t slot = set + all->hand % WAYS;
  for (size_t i = set; i < set + WAYS; i++)
    if (!all->slot[i] || !all->slot[i]->used) slot = i;
  forget(all, slot);
  all->slot[slot] = r;
  all->bytes += r->blob->n;
  for (size_t i = 0; i < SLOTS && all->bytes > KEPT_BYTES; i++, all->hand = (all->hand + 1) % SLOTS)
    if (all->hand != slot) forget(all, all->hand);
  if (!all->timer) all->timer = kg_timer(gw->ctx, KEEP_MS, 0, on_look, NULL);
}

void gw_runs_free(gw_t *gw) {
  if (!gw->runs) return;
  for (size_t i = 0; i < SLOTS; i++) forget(gw->runs, i);
  if (gw->runs->timer) kg_timer_cancel(gw->ctx, gw->runs->timer);
  free(gw->runs);
  gw->runs = NULL;
}

static uint64_t mix(const void *p) {
  return ((uint64_t)(uintptr_t)p >> 4) * 0x9e3779b97f4a7c15u >> 20;
}

/* How many documents from `at` on make a run, and its hash. It fills about a TLS record; some documents end one in any
 * case, so that what comes or goes does not shift all runs behind it. */
static uint32_t run_length(const listing_t *l, uint64_t *hash) {
  uint32_t n = 0;
  *hash = 0;
  for (size_t bytes = 0; n < RUN_MAX && bytes < RUN_BYTES && l->at + n < l->n;) {
    const kg_doc_t *doc = kg_msg_doc(l->m, l->at + n++);
    uint64_t h = mix(doc);
    *hash = (*hash ^ h) * 0x9e3779b97f4a7c15u;
    bytes += kg_doc_size(doc);
    if (h % RUN_CUT == 0) break;
  }
  return n;
}

static void put_item(gw_ex_t *ex, kube_buf_t *b, kg_doc_t *doc) {
  if (ex->form == GW_FORM_META)
    gw_meta_only(b, kg_view_of(doc));
  else
    kube_json_write(b, kg_view_of(doc));
}

static run_t *encode_run(gw_ex_t *ex, const listing_t *l, uint32_t n) {
  kube_buf_t b = {0};
  run_t *r = malloc(sizeof *r + n * sizeof *r->docs);
  for (uint32_t i = 0; i < n; i++) {
    kube_buf_addz(&b, ",");
    put_item(ex, &b, kg_msg_doc(l->m, l->at + i));
  }
  gw_blob_t *blob = b.failed || !r ? NULL : gw_blob_framed(b.p, b.n);
  kube_buf_free(&b);
  if (!blob) {
    free(r);
    return NULL;
  }
  *r = (run_t){.blob = blob, .n = n, .meta = ex->form == GW_FORM_META};
  for (uint32_t i = 0; i < n; i++) r->docs[i] = kg_doc_ref(kg_msg_doc(l->m, l->at + i));
  return r;
}

static bool is_run(const run_t *r, const gw_ex_t *ex, const listing_t *l, uint32_t n) {
  if (!r || r->n != n || r->meta != (ex->form == GW_FORM_META)) return false;
  for (uint32_t i = 0; i < n; i++)
    if (r->docs[i] != kg_msg_doc(l->m, l->at + i)) return false;
  return true;
}

/* The next documents, encoded; the caller owns a reference. NULL: out of memory. */
static gw_blob_t *next_run(gw_ex_t *ex, listing_t *l) {
  gw_t *gw = ex->conn->gw;
  uint64_t hash;
  uint32_t n = run_length(l, &hash);
  size_t set = (hash >> 20 ^ (ex->form == GW_FORM_META)) % (SLOTS / WAYS) * WAYS;
  run_t *r = NULL;
  for (size_t i = set; i < set + WAYS && !r; i++)
    if (is_run(gw->runs->slot[i], ex, l, n)) r = gw->runs->slot[i];
  if (!r) {
    if (!(r = encode_run(ex, l, n))) return NULL;
    keep(gw, r, set);
  }
  r->used = true;
  l->at += n;
  return gw_blob_ref(r->blob);
}

/* --- on its way -------------------------------------------------------------------------------------------------- */

static void listing_gone(gw_ex_t *ex) {
  listing_t *l = ex->op;
  if (l->zipped) deflateEnd(&l->z);
  kg_msg_unref((kg_msg_t *)l->m);
  free(l);
  ex->op = NULL;
}

/* What zlib gives out for n bytes; it may keep them for a while. */
static bool send_zipped(gw_ex_t *ex, listing_t *l, const char *p, size_t n, int flush) {
  char out[16000];
  l->z.next_in = (Bytef *)p;
  l->z.avail_in = (uInt)n;
  do {
    l->z.next_out = (Bytef *)out;
    l->z.avail_out = sizeof out;
    if (deflate(&l->z, flush) == Z_STREAM_ERROR) return false;
    if (l->z.avail_out == sizeof out) break;
    gw_blob_t *b = gw_blob_framed(out, sizeof out - l->z.avail_out);
    if (!b) return false;
    gw_stream_blob(ex, b);
    gw_blob_unref(b);
  } while (!l->z.avail_out);
  return true;
}

/* Takes over the reference. */
static bool send_piece(gw_ex_t *ex, listing_t *l, gw_blob_t *b) {
  if (!b) return false;
  bool ok = true;
  if (l->zipped)
    ok = send_zipped(ex, l, b->p + b->skip, b->n - b->skip - b->tail, Z_NO_FLUSH);
  else
    gw_stream_blob(ex, b);
  gw_blob_unref(b);
  return ok;
}

static void go_on(gw_ex_t *ex) {
  listing_t *l = ex->op;
  bool ok = true;
  while (ok && l->at < l->n && gw_backlog(ex) < AHEAD && !ex->conn->broken) ok = send_piece(ex, l, next_run(ex, l));
  if (ok && l->at < l->n) return;
  if (ok) ok = send_piece(ex, l, gw_blob_framed("]}", 2));
  if (ok && l->zipped) ok = send_zipped(ex, l, NULL, 0, Z_FINISH);
  if (ok)
    gw_stream_end(ex);
  else
    gw_conn_break(ex->conn); /* half a list must not look like a whole one */
}

/* --- the answer -------------------------------------------------------------------------------------------------- */

static void put_head(kube_buf_t *b, kg_view_t args, bool meta) {
  kg_str_t kind = meta ? KG_STR("PartialObjectMetadataList") : kg_view_str(kg_view_get(args, "kind"));
  kg_str_t version = meta ? KG_STR("meta.k8s.io/v1") : kg_view_str(kg_view_get(args, "apiVersion"));
  kg_view_t rv = kg_view_get(args, "rv"), left = kg_view_get(args, "remaining");
  kg_str_t cont = kg_view_str(kg_view_get(args, "continue"));
  kube_buf_addz(b, "{\"kind\":");
  kube_json_string(b, kind);
  kube_buf_addz(b, ",\"apiVersion\":");
  kube_json_string(b, version);
  kube_buf_addz(b, ",\"metadata\":{\"resourceVersion\":\"");
  if (kg_view_type(rv) == KG_V_STR)
    kube_buf_add(b, kg_view_str(rv).p, kg_view_str(rv).n);
  else
    kube_buf_fmt(b, "%lld", (long long)kg_view_int(rv, 0));
  kube_buf_addz(b, "\"");
  if (cont.n) {
    kube_buf_addz(b, ",\"continue\":");
    kube_json_string(b, cont);
  }
  if (kg_view_there(left)) kube_buf_fmt(b, ",\"remainingItemCount\":%lld", (long long)kg_view_int(left, 0));
  kube_buf_addz(b, "},\"items\":[");
}

static bool is_short(const gw_ex_t *ex, const kg_msg_t *m) {
  size_t bytes = 0, n = kg_msg_ndocs(m);
  if (ex->pretty || ex->is_head) return true;
  if (n > SHORT_DOCS) return false;
  for (size_t i = 0; i < n; i++) bytes += kg_doc_size(kg_msg_doc(m, i));
  return bytes <= SHORT_BYTES;
}

static void answer_short(gw_ex_t *ex, const kg_msg_t *m) {
  kube_buf_t b = {0};
  put_head(&b, kg_msg_args(m), ex->form == GW_FORM_META);
  for (size_t i = 0; i < kg_msg_ndocs(m); i++) {
    if (i) kube_buf_addz(&b, ",");
    put_item(ex, &b, kg_msg_doc(m, i));
  }
  kube_buf_addz(&b, "]}");
  gw_respond_json(ex, 200, "application/json", &b);
}

static listing_t *listing_new(gw_ex_t *ex, const kg_msg_t *m) {
  gw_t *gw = ex->conn->gw;
  if (!gw->runs && !(gw->runs = calloc(1, sizeof *gw->runs))) return NULL;
  listing_t *l = calloc(1, sizeof *l);
  if (!l) return NULL;
  l->m = kg_msg_ref(m);
  l->n = kg_msg_ndocs(m);
  l->at = 1; /* the first goes with the head: all that follows begins with a comma */
  l->zipped = gw_wants_gzip(ex) && deflateInit2(&l->z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
  return l;
}

static void answer_long(gw_ex_t *ex, const kg_msg_t *m) {
  kube_buf_t b = {0};
  put_head(&b, kg_msg_args(m), ex->form == GW_FORM_META);
  put_item(ex, &b, kg_msg_doc(m, 0));
  gw_blob_t *head = b.failed ? NULL : gw_blob_framed(b.p, b.n);
  kube_buf_free(&b);
  listing_t *l = head ? listing_new(ex, m) : NULL;
  if (!l) {
    gw_blob_unref(head);
    gw_status(ex, 503, "ServiceUnavailable", NULL, "out of memory");
    return;
  }
  ex->op = l;
  ex->on_gone = listing_gone;
  ex->on_drain = go_on;
  if (l->zipped) gw_add_header(ex, "content-encoding", "gzip");
  gw_stream_begin(ex, 200, "application/json");
  if (send_piece(ex, l, head))
    go_on(ex);
  else
    gw_conn_break(ex->conn);
}

void gw_answer_list(gw_ex_t *ex, const kg_msg_t *m) {
  if (ex->protobuf) {
    kube_buf_t b = {0};
    if (gw_protobuf_list(&b, m, ex->form == GW_FORM_META)) {
      gw_respond(ex, 200, GW_PROTOBUF, &b);
      return;
    }
    kube_buf_free(&b);
  }
  if (is_short(ex, m))
    answer_short(ex, m);
  else
    answer_long(ex, m);
}
