/* The clients: a plugin that sends what they want and records calls and answers. Everything runs in its lane's thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"

enum { AGAIN_MS = 5, TIMEOUT_MS = 15000, MAX_CLIENTS = 256, MAX_KEYS = 64 };

typedef struct client {
  struct lane *lane;
  size_t record;          /* of the operation under way */
  int64_t seen[MAX_KEYS]; /* the revisions it last saw, for guards */
  int round;
} client_t;

typedef struct lane { /* the plugin's state */
  load_t *l;
  kg_ctx_t *ctx;
  client_t clients[MAX_CLIENTS];
  int active;
  int64_t next_value, first_rev, seen_rev;
  bool ending;
} lane_t;

static load_t *creating; /* create() has no other way to learn of it */

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void trouble(lane_t *s, const char *what, const kg_msg_t *m) {
  if (!s->l->trouble[0])
    snprintf(s->l->trouble, sizeof s->l->trouble, "%s: %d %s", what, kg_msg_code(m), kg_msg_text(m));
}

/* --- what a watch tells
 * -------------------------------------------------------------------------------------------------- */

static void *one_more(void *list, size_t n, size_t *room, size_t size) {
  if (n < *room) return list;
  *room = *room ? *room * 2 : 1024;
  list = realloc(list, *room * size);
  if (!list) abort();
  return list;
}

static void add_change(changes_t *c, kg_view_t a, const char *rev, const kg_doc_t *value) {
  change_t x = {.deleted = kg_str_is(kg_view_str(kg_view_get(a, "type")), "delete"),
                .rev = kg_view_int(kg_view_get(a, rev), 0),
                .value = kg_view_int(kg_view_of(value), -1)};
  char key[64];
  snprintf(key, sizeof key, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(a, "key"))));
  if (sscanf(key, "/check/%d/%d", &x.round, &x.key) != 2) return;
  c->list = one_more(c->list, c->n, &c->room, sizeof *c->list);
  c->list[c->n++] = x;
}

static void open_watch(lane_t *s, int64_t rev, kg_reply_fn fn) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "from", "/check/");
  kg_pack_kv_int(&p, "rev", rev);
  kg_pack_kv_bool(&p, "prev", false);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_request_t r = {.service = "store", .topic = "store.watch", .args = args, .stream = true, .credit = 4096, .fn = fn};
  kg_send(s->ctx, &r);
  kg_doc_unref(args);
}

static void on_told(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg);

static void watch_again(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  lane_t *s = self;
  s->l->resumed++;
  open_watch(s, s->seen_rev, on_told);
}

static void on_told(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  lane_t *s = self;
  if (kg_msg_type(m) != KG_MSG_ITEM) {
    if (kg_msg_code(m) == KG_EGONE) return trouble(s, "the watch could not be resumed", m);
    kg_timer(ctx, AGAIN_MS, 0, watch_again, NULL);
    return;
  }
  kg_view_t a = kg_msg_args(m);
  int64_t rev = kg_view_int(kg_view_get(a, "rev"), 0);
  add_change(&s->l->told, a, "rev", kg_msg_doc(m, 0));
  if (rev > s->seen_rev) s->seen_rev = rev;
}

/* --- the end: everything is read once more
 * ---------------------------------------------------------------------------------- */

static void ask_what_is_left(lane_t *s);

static void left_again(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  ask_what_is_left(self);
}

/* The replay is over when it has come to the last change that was told before. */
static void on_replay(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  lane_t *s = self;
  kg_view_t a = kg_msg_args(m);
  if (atomic_load(&s->l->finished)) return;
  if (kg_msg_type(m) == KG_MSG_ITEM) add_change(&s->l->replay, a, "rev", kg_msg_doc(m, 0));
  s->l->replayed = kg_msg_code(m) != KG_EGONE;
  if (kg_msg_type(m) != KG_MSG_ITEM && s->l->replayed) trouble(s, "the replay ended", m);
  if (kg_msg_type(m) != KG_MSG_ITEM || kg_view_int(kg_view_get(a, "rev"), 0) >= s->seen_rev)
    atomic_store(&s->l->finished, true);
}

static void on_left(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  lane_t *s = self;
  size_t i = 0;
  if (kg_msg_type(m) != KG_MSG_REPLY) {
    kg_timer(ctx, AGAIN_MS, 0, left_again, NULL);
    return;
  }
  int64_t rev = kg_view_int(kg_view_get(kg_msg_args(m), "rev"), 0);
  if (s->seen_rev < rev && s->l->told.n && s->ending) { /* the watch must come to what is read, give it time */
    s->ending = false;
    kg_timer(ctx, 500, 0, left_again, NULL);
    return;
  }
  for (kg_iter_t it = kg_iter(kg_view_get(kg_msg_args(m), "entries")); kg_iter_next(&it); i++)
    add_change(&s->l->left, it.value, "mod", kg_msg_doc(m, i));
  open_watch(s, s->first_rev, on_replay);
}

static void ask_what_is_left(lane_t *s) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "from", "/check/");
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_request_t r = {.service = "store", .topic = "store.range", .args = args, .fn = on_left};
  kg_send(s->ctx, &r);
  kg_doc_unref(args);
}

/* --- clients
 * --------------------------------------------------------------------------------------------------------------------
 */

static void next_op(client_t *c);

static void on_pause(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  next_op(arg);
}

static int64_t think_ms(lane_t *s) {
  uint64_t r = kg_random(s->ctx) % 100;
  return r < 60 ? 0 : r < 95 ? 1 : 4;
}

/* What the client learns for its next guard. */
static void learn(client_t *c, const record_t *r) {
  if (r->op.result == LIN_DONE) c->seen[r->key] = r->op.kind == LIN_DELETE ? 0 : r->op.rev;
  if (r->op.result == LIN_ABSENT) c->seen[r->key] = 0;
}

static void note_answer(record_t *r, const kg_msg_t *m) {
  kg_view_t a = kg_msg_args(m);
  int code = kg_msg_code(m);
  r->op.end = now_ns();
  if (kg_msg_type(m) == KG_MSG_REPLY) {
    r->op.result = LIN_DONE;
    r->op.rev = kg_view_int(kg_view_get(a, r->op.kind == LIN_READ ? "mod" : "rev"), 0);
    if (r->op.kind != LIN_PUT) r->op.value = kg_view_int(kg_view_of(kg_msg_doc(m, 0)), -1);
  } else if (code == KG_ENOTFOUND || code == KG_ECONFLICT) {
    r->op.result = code == KG_ENOTFOUND ? LIN_ABSENT : LIN_CONFLICT;
  } else {
    r->unknown = true;
    r->op.end = INT64_MAX;
  }
}

static void on_answer(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  lane_t *s = self;
  client_t *c = arg;
  record_t *r = &s->l->records[c->record];
  note_answer(r, m);
  if (!r->unknown) learn(c, r);
  if (!r->unknown) atomic_fetch_add(&s->l->answered, 1);
  kg_timer(ctx, r->unknown ? AGAIN_MS : think_ms(s), 0, on_pause, c);
}

static void choose(lane_t *s, client_t *c, record_t *r) {
  uint64_t dice = kg_random(s->ctx) % 100;
  if (s->l->only_writes) dice = 40 + dice * 6 / 10;
  r->op.kind = dice < 40 ? LIN_READ : dice < 88 ? LIN_PUT : LIN_DELETE;
  r->op.guarded = (dice >= 40 && dice < 70) || (dice >= 88 && dice < 94);
  r->op.expect = dice < 45 ? 0 : c->seen[r->key]; /* 40-44: a creation */
  r->op.value = r->op.kind == LIN_PUT ? ++s->next_value : 0;
}

static void send_op(lane_t *s, client_t *c, record_t *r) {
  static const char *const topics[] = {"store.get", "store.put", "store.delete"};
  kg_pack_t p = kg_pack(), v = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "key");
  kg_pack_fmt(&p, "/check/%d/%d", r->round, r->key);
  if (r->op.guarded) kg_pack_kv_int(&p, "expect", r->op.expect);
  kg_pack_end(&p);
  kg_pack_int(&v, r->op.value);
  kg_doc_t *args = kg_pack_doc(&p), *doc = kg_pack_doc(&v);
  kg_request_t q = {.service = "store",
                    .topic = topics[r->op.kind],
                    .args = args,
                    .docs = &doc,
                    .ndocs = r->op.kind == LIN_PUT,
                    .timeout_ms = TIMEOUT_MS,
                    .fn = on_answer,
                    .arg = c};
  r->op.begin = now_ns();
  kg_send(s->ctx, &q);
  kg_doc_unref(args);
  kg_doc_unref(doc);
}

static void next_op(client_t *c) {
  lane_t *s = c->lane;
  load_t *l = s->l;
  if (atomic_load(&l->stop)) {
    s->ending = true;
    if (--s->active == 0) ask_what_is_left(s);
    return;
  }
  l->records = one_more(l->records, l->nrecords, &l->room, sizeof *l->records);
  record_t *r = &l->records[c->record = l->nrecords++];
  *r = (record_t){.round = atomic_load(&l->round)};
  if (r->round != c->round) memset(c->seen, 0, sizeof c->seen);
  c->round = r->round;
  r->key = r->round % 2 ? 0 : (int)(kg_random(s->ctx) % (uint64_t)l->keys);
  choose(s, c, r);
  send_op(s, c, r);
}

/* --- life
 * ------------------------------------------------------------------------------------------------------------------------
 */

static void first_write(kg_ctx_t *ctx, void *self, void *arg);

static void on_first(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  lane_t *s = self;
  if (kg_msg_type(m) != KG_MSG_REPLY) { /* killed already */
    kg_timer(ctx, AGAIN_MS, 0, first_write, NULL);
    return;
  }
  s->seen_rev = s->first_rev = kg_view_int(kg_view_get(kg_msg_args(m), "rev"), 0);
  open_watch(s, s->first_rev, on_told);
  s->active = s->l->clients;
  for (int i = 0; i < s->l->clients; i++) {
    s->clients[i].lane = s;
    next_op(&s->clients[i]);
  }
}

/* So that there is a revision to watch from. */
static void first_write(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self, (void)arg;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "key", "/first");
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_request_t r = {.service = "store", .topic = "store.put", .args = args, .docs = &args, .ndocs = 1, .fn = on_first};
  kg_send(ctx, &r);
  kg_doc_unref(args);
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)err;
  first_write(ctx, self, NULL);
  kg_ready(ctx);
  return 0;
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  lane_t *s = calloc(1, sizeof *s);
  if (!s || creating->clients > MAX_CLIENTS || creating->keys > MAX_KEYS) {
    free(s);
    return kg_error_set(err, KG_EINVAL, "too many clients or keys");
  }
  s->l = creating;
  s->ctx = ctx;
  *self = s;
  return 0;
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  free(self);
}

const kg_plugin_t *load_plugin(load_t *l) {
  static const kg_handler_t handlers[] = {{0}};
  static const char *const services[] = {"clients", NULL};
  static const kg_plugin_t plugin = {.magic = KG_PLUGIN_MAGIC,
                                     .abi = KG_PLUGIN_ABI,
                                     .size = sizeof(kg_plugin_t),
                                     .name = "clients",
                                     .role = "test",
                                     .version = "1",
                                     .summary = "Many clients of one store.",
                                     .services = services,
                                     .handlers = handlers,
                                     .create = create,
                                     .start = start,
                                     .destroy = destroy};
  creating = l;
  return &plugin;
}

void load_free(load_t *l) {
  free(l->records);
  free(l->told.list);
  free(l->replay.list);
  free(l->left.list);
}
