/* get and list, from memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"

void pack_warning(const req_t *q, kg_pack_t *p) {
  const char *text = resource_warning(q->api, q->r);
  if (!text) return;
  kg_pack_key(p, "warnings");
  kg_pack_array(p);
  kg_pack_str(p, text);
  kg_pack_end(p);
}

/* Arguments of an answer that has nothing to say but a warning; NULL: not even that. */
static kg_doc_t *warning_args(const req_t *q) {
  if (!resource_warning(q->api, q->r)) return NULL;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  pack_warning(q, &p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

void on_get(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  api_t *api = self;
  req_t q;
  if (!req_read(&q, api, m, KUBE_V_GET)) return;
  if (component_asked(&q)) return component_read(&q, true);
  if (q.sub.n && !kg_str_is(q.sub, "status")) {
    write_t *w = write_of(&q, W_UPDATE, NULL); /* a subresource may show another kind: the same code computes it */
    w->reads = true;
    return write_run(w);
  }
  char buf[600];
  int64_t rev;
  if (!revision_read(&q, &rev)) return;
  object_t *o = q.c ? sorted_get(&q.c->objects, req_key(&q, q.name, buf)) : NULL;
  fault_t f;
  if (!o) {
    fault_not_found(&f, q.r, q.name);
    return fault_answer(&q, &f);
  }
  api->gets++;
  kg_doc_t *doc = object_as(o, q.r, q.c), *args = warning_args(&q);
  kg_reply(ctx, m, args, &doc, 1);
  kg_doc_unref(args);
  kg_doc_unref(doc);
}

/* --- continue tokens: base64url --------------------------------------------------------------
 */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(const char *in, size_t n, char *out) {
  for (size_t i = 0; i < n; i += 3) {
    uint32_t v = 0;
    size_t k = n - i < 3 ? n - i : 3;
    for (size_t b = 0; b < 3; b++) v = v << 8 | (b < k ? (uint8_t)in[i + b] : 0);
    for (size_t d = 0; d <= k; d++) *out++ = digits[v >> (18 - 6 * d) & 63];
  }
  *out = '\0';
}

static int decode(kg_str_t in, char *out, size_t room) {
  uint32_t v = 0;
  unsigned bits = 0;
  size_t n = 0;
  for (size_t i = 0; i < in.n; i++) {
    const char *at = strchr(digits, in.p[i]);
    if (!at || !in.p[i] || n + 1 >= room) return -1;
    v = v << 6 | (uint32_t)(at - digits);
    if ((bits += 6) >= 8) out[n++] = (char)(v >> (bits -= 8));
  }
  out[n] = '\0';
  return (int)n;
}

enum { CONTINUE_S = 300 }; /* clients count on tokens ending within the time etcd keeps old states by default */

typedef struct listing {
  selection_t selection;
  int64_t limit, rev;
  char after[700]; /* last key of the page before; "": none */
  kg_doc_t **docs;
  size_t n, room;
  object_t *last;  /* the last given */
  int64_t left;    /* what did not fit; -1: unknown */
  cursor_t cursor; /* from after, or from the start of the selection */
} listing_t;

/* 'x', or as Go shows a byte that is none of its own: '\u0081' */
static const char *quoted(unsigned char c, char buf[16]) {
  if (c >= 0x20 && c < 0x7f)
    snprintf(buf, 16, "'%c'", c);
  else
    snprintf(buf, 16, "'\\u%04x'", c);
  return buf;
}

static bool bad_token(req_t *q, const char *text, int n) {
  char buf[16];
  fault_t f;
  if (n <= 0)
    fault_bad(&f, "invalid continue token: continue key is not valid: illegal base64 data at input byte 0");
  else
    fault_bad(&f,
              "invalid continue token: continue key is not valid: invalid character %s looking for beginning of value",
              quoted((unsigned char)text[0], buf));
  fault_answer(q, &f);
  return false;
}

/* A token is the JSON {"v", "rv", "start", "at"} in base64: where the page before ended, which state it showed, and
 * when. rv -1: whatever state there is. */
static void write_token(const req_t *q, int64_t rev, const char *start, char out[1400]) {
  char text[1000];
  int n = snprintf(text, sizeof text, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%lld,\"start\":\"%s\",\"at\":%lld}",
                   (long long)rev, start, (long long)(kg_wall_us(q->ctx) / 1000000));
  encode(text, (size_t)n, out);
}

static bool read_continue(req_t *q, listing_t *l) {
  kg_str_t token = arg_str(q->args, "continue");
  l->rev = q->api->rev;
  l->limit = kg_view_int(kg_view_get(q->args, "limit"), 0);
  if (!token.n) return true;
  char text[1000];
  int n = decode(token, text, sizeof text);
  kg_doc_t *doc = n > 0 && text[0] == '{' ? kube_json_parse(text, (size_t)n, NULL, NULL, NULL) : NULL;
  if (!doc) return bad_token(q, text, n);
  kg_str_t start = arg_str(kg_view_of(doc), "start");
  int64_t rev = kg_view_int(kg_view_get(kg_view_of(doc), "rv"), 0),
          at = kg_view_int(kg_view_get(kg_view_of(doc), "at"), 0);
  bool ok = start.n && start.n < sizeof l->after && rev && rev >= -1 && rev <= q->api->rev;
  if (ok) {
    snprintf(l->after, sizeof l->after, KG_STR_FMT, KG_STR_ARG(start));
    if (rev > 0) l->rev = kg_wall_us(q->ctx) / 1000000 - at < CONTINUE_S ? rev : -1;
  }
  kg_doc_unref(doc);
  return ok || bad_token(q, text, n);
}

/* A list goes on, or shows an exact state, as long as that state can be told. */
static bool too_old(const req_t *q, const listing_t *l) {
  char token[1400];
  fault_t f;
  if (l->after[0]) {
    fault_other(&f, 410, "Expired",
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter, or use the continue token in this response to retrieve the "
                "remainder of the results. Continuing with the provided token results in an inconsistent list - "
                "objects that were created, modified, or deleted between the time the first chunk was returned and "
                "now may show up in the list.");
    write_token(q, -1, l->after, token);
    f.next = token;
  } else {
    fault_other(&f, 410, "Expired", "The resourceVersion for the provided list is too old.");
  }
  fault_answer(q, &f);
  return false;
}

static bool open_listing(req_t *q, listing_t *l) {
  char key[600];
  int64_t rev;
  if (!l->after[0]) {
    if (!revision_read(q, &rev)) return false;
    if (rev && kg_str_is(arg_str(q->args, "resourceVersionMatch"), "Exact")) l->rev = rev;
  }
  kg_str_t start = l->after[0] ? kg_str(l->after) : selection_start(&l->selection, key);
  int r = l->rev < 0 ? 1 : cursor_open(&l->cursor, q->c, l->rev, start);
  if (r > 0) return too_old(q, l);
  if (r < 0) kg_fail(q->ctx, q->m, KG_EINTERNAL, "api.list: out of memory");
  return r == 0;
}

static bool add(listing_t *l, const req_t *q, object_t *o) {
  if (l->n == l->room) {
    size_t room = l->room ? l->room * 2 : 64;
    kg_doc_t **more = realloc(l->docs, room * sizeof *more);
    if (!more) return false;
    l->docs = more;
    l->room = room;
  }
  if (!(l->docs[l->n] = object_as(o, q->r, q->c))) return false;
  l->n++;
  l->last = o;
  return true;
}

/* How many are left is only told when nothing but the namespace selects: then counting is all there is to do. */
static bool collect(listing_t *l, const req_t *q) {
  bool counts = !l->selection.labels && !l->selection.nfields;
  for (object_t *o; (o = cursor_next(&l->cursor));) {
    if (l->after[0] && kg_str_is(object_key(o), l->after)) continue;
    if (selection_ends(&l->selection, o)) break;
    if (l->left || !selection_matches(&l->selection, o)) {
      l->left += l->left > 0;
    } else if (l->limit <= 0 || (int64_t)l->n < l->limit) {
      if (!add(l, q, o)) return false;
    } else {
      l->left = counts ? 1 : -1;
    }
    if (l->left < 0) break;
  }
  return true;
}

void pack_list_head(const req_t *q, int64_t rev, kg_pack_t *p) {
  kg_pack_key(p, "rv");
  kg_pack_fmt(p, "%lld", (long long)rev);
  kg_pack_kv_str(p, "kind", q->r->list_kind);
  kg_pack_key(p, "apiVersion");
  kg_pack_fmt(p, "%s%s%s", q->r->group, q->r->group[0] ? "/" : "", q->r->version);
}

static void answer_list(const req_t *q, listing_t *l) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  pack_list_head(q, l->rev, &p);
  if (l->left) {
    char token[1400];
    write_token(q, l->rev, l->last->key, token);
    kg_pack_kv_str(&p, "continue", token);
    if (l->left > 0) kg_pack_kv_int(&p, "remaining", l->left);
  }
  pack_warning(q, &p);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(q->ctx, q->m, args, l->docs, l->n);
  kg_doc_unref(args);
}

void on_list(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  api_t *api = self;
  req_t q;
  listing_t l = {0};
  if (!req_read(&q, api, m, KUBE_V_LIST)) return;
  if (component_asked(&q)) return component_read(&q, false);
  if (!q.c) return kg_fail(ctx, m, 405, "%s are answered, not kept: they cannot be listed", q.r->resource);
  if (!list_options(&q, false)) return;
  if (!read_continue(&q, &l) || !selection_read(&q, &l.selection)) return;
  api->lists++;
  if (open_listing(&q, &l)) {
    if (collect(&l, &q))
      answer_list(&q, &l);
    else
      kg_fail(ctx, m, KG_EINTERNAL, "api.list: out of memory");
  }
  cursor_close(&l.cursor);
  for (size_t i = 0; i < l.n; i++) kg_doc_unref(l.docs[i]);
  free(l.docs);
  selection_free(&l.selection);
}
