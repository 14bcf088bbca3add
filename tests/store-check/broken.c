/*
 * A store that is wrong on purpose, in front of a right one (service `real`), to show that the check can fail. `mode`:
 *   stale  a read is answered now and then with what an earlier read of the same key gave
 *   lost   a put is acknowledged now and then without being done
 *   blind  a guard is dropped now and then
 */
#include <stdlib.h>
#include <string.h>

#include "kogge/plugin.h"

enum { SLOTS = 64, RARELY = 50 };

typedef enum { STALE, LOST, BLIND } mode_t_;

typedef struct broken {
  mode_t_ mode;
  int64_t rev;          /* the last one seen */
  kg_msg_t *old[SLOTS]; /* answers to reads, by a hash of the key */
  kg_msg_t *watch[8];   /* requests, kept to the end */
  size_t nwatch;
} broken_t;

typedef struct pass {
  broken_t *b;
  kg_msg_t *request;
  unsigned slot;
} pass_t;

static bool now_and_then(kg_ctx_t *ctx) {
  return kg_random(ctx) % RARELY == 0;
}

static unsigned slot_of(const kg_msg_t *m) {
  kg_str_t key = kg_view_str(kg_view_get(kg_msg_args(m), "key"));
  unsigned h = 0;
  for (size_t i = 0; i < key.n; i++) h = h * 31 + (unsigned char)key.p[i];
  return h % SLOTS;
}

static void answer(kg_ctx_t *ctx, const kg_msg_t *request, const kg_msg_t *m) {
  kg_doc_t *doc = kg_msg_doc(m, 0);
  if (kg_msg_type(m) == KG_MSG_REPLY)
    kg_reply(ctx, request, kg_msg_args_doc(m), &doc, doc ? 1 : 0);
  else
    kg_fail(ctx, request, kg_msg_code(m), "%s", kg_msg_text(m));
}

static void on_reply(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  broken_t *b = self;
  pass_t *p = arg;
  int64_t rev = kg_view_int(kg_view_get(kg_msg_args(m), "rev"), 0);
  if (rev > b->rev) b->rev = rev;
  answer(ctx, p->request, m);
  if (!strcmp(kg_msg_topic(p->request), "store.get") && kg_msg_type(m) == KG_MSG_REPLY && now_and_then(ctx)) {
    kg_msg_unref(b->old[p->slot]);
    b->old[p->slot] = kg_msg_ref(m);
  }
  kg_msg_unref(p->request);
  free(p);
}

static void pass_on(kg_ctx_t *ctx, broken_t *b, const kg_msg_t *m, kg_doc_t *args) {
  pass_t *p = malloc(sizeof *p);
  if (!p) return kg_fail(ctx, m, KG_EINTERNAL, "out of memory");
  *p = (pass_t){b, kg_msg_ref(m), slot_of(m)};
  kg_doc_t *doc = kg_msg_doc(m, 0);
  kg_request_t r = {.service = "real",
                    .topic = kg_msg_topic(m),
                    .args = args,
                    .docs = &doc,
                    .ndocs = doc ? 1 : 0,
                    .fn = on_reply,
                    .arg = p};
  kg_send(ctx, &r);
}

static void on_get(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  broken_t *b = self;
  kg_msg_t *old = b->old[slot_of(m)];
  if (b->mode == STALE && old && now_and_then(ctx)) return answer(ctx, m, old);
  pass_on(ctx, b, m, kg_msg_args_doc(m));
}

static void on_put(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  broken_t *b = self;
  kg_view_t a = kg_msg_args(m);
  bool lose = b->mode == LOST && !kg_view_there(kg_view_get(a, "expect")) && now_and_then(ctx);
  bool blind = b->mode == BLIND && kg_view_there(kg_view_get(a, "expect")) && now_and_then(ctx);
  if (!lose && !blind) return pass_on(ctx, b, m, kg_msg_args_doc(m));
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  if (lose) kg_pack_kv_int(&p, "rev", ++b->rev);
  if (blind) kg_pack_kv_view(&p, "key", kg_view_get(a, "key"));
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  if (lose)
    kg_reply(ctx, m, args, NULL, 0);
  else
    pass_on(ctx, b, m, args);
  kg_doc_unref(args);
}

static void on_other(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  pass_on(ctx, self, m, kg_msg_args_doc(m));
}

/* --- watches: items go through as they are
 * ------------------------------------------------------------------------------ */

static void on_item(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  const kg_msg_t *request = arg;
  kg_doc_t *doc = kg_msg_doc(m, 0);
  if (kg_msg_type(m) == KG_MSG_ITEM) {
    kg_stream_item(ctx, request, kg_msg_args_doc(m), &doc, doc ? 1 : 0);
    return;
  }
  kg_fail(ctx, request, kg_msg_code(m) ? kg_msg_code(m) : KG_EUNAVAILABLE, "%s", kg_msg_text(m));
}

static void on_watch(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  broken_t *b = self;
  if (b->nwatch == sizeof b->watch / sizeof *b->watch) return kg_fail(ctx, m, KG_EUNAVAILABLE, "too many watches");
  b->watch[b->nwatch++] = kg_msg_ref(m);
  kg_request_t r = {.service = "real",
                    .topic = "store.watch",
                    .args = kg_msg_args_doc(m),
                    .stream = true,
                    .credit = 4096,
                    .fn = on_item,
                    .arg = b->watch[b->nwatch - 1]};
  kg_send(ctx, &r);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  kg_str_t mode = kg_view_str(kg_view_get(kg_config(ctx), "mode"));
  broken_t *b = calloc(1, sizeof *b);
  if (!b) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  b->mode = kg_str_is(mode, "stale") ? STALE : kg_str_is(mode, "lost") ? LOST : BLIND;
  *self = b;
  return 0;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_ready(ctx);
  return 0;
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  broken_t *b = self;
  for (size_t i = 0; i < SLOTS; i++) kg_msg_unref(b->old[i]);
  for (size_t i = 0; i < b->nwatch; i++) kg_msg_unref(b->watch[i]);
  free(b);
}

static const char *const services[] = {"store", NULL};
static const kg_handler_t handlers[] = {
    {"store.get", on_get}, {"store.put", on_put}, {"store.watch", on_watch}, {"store.*", on_other}, {0}};
KG_PLUGIN(.name = "store-broken", .role = "store", .version = "1", .summary = "A store that is wrong on purpose.",
          .services = services, .handlers = handlers, .create = create, .start = start, .destroy = destroy);
