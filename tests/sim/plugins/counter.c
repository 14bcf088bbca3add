/* Counts every key once, however often it is told of it, whether it is swapped or crashes: what it knows is in the
 * journal first. With `careless: true` it believes whatever it is told. */
#include <stdlib.h>
#include <string.h>

#include "kogge/plugin.h"

typedef struct entry {
  struct entry *next;
  kg_msg_t **waiting; /* for the journal */
  size_t nwaiting;
  bool kept;
  char key[];
} entry_t;

typedef struct {
  entry_t *entries;
  int64_t total;
  size_t pending;
  bool careless, draining;
} counter_t;

static entry_t *find(const counter_t *c, kg_str_t key) {
  entry_t *e = c->entries;
  while (e && !kg_str_is(key, e->key)) e = e->next;
  return e;
}

static entry_t *add_entry(counter_t *c, kg_str_t key) {
  entry_t *e = calloc(1, sizeof *e + key.n + 1);
  if (!e) return NULL;
  memcpy(e->key, key.p, key.n);
  e->next = c->entries;
  return c->entries = e;
}

static void keep(counter_t *c, entry_t *e) {
  if (!e->kept) c->total++;
  e->kept = true;
}

static void say_total(kg_ctx_t *ctx, const counter_t *c, const kg_msg_t *m) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "total", c->total);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  kg_reply(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}

static void appended(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  counter_t *c = self;
  entry_t *e = arg;
  bool good = kg_msg_type(m) == KG_MSG_REPLY;
  c->pending--;
  if (good) keep(c, e);
  for (size_t i = 0; i < e->nwaiting; i++) {
    if (good)
      say_total(ctx, c, e->waiting[i]);
    else
      kg_fail(ctx, e->waiting[i], KG_EUNAVAILABLE, "the journal did not take it: %s", kg_msg_text(m));
    kg_msg_unref(e->waiting[i]);
  }
  e->nwaiting = 0;
  if (c->draining && !c->pending) kg_drained(ctx);
}

static void append(kg_ctx_t *ctx, counter_t *c, entry_t *e) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "key", e->key);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  c->pending++;
  kg_send(ctx,
          &(kg_request_t){.service = "journal", .topic = "journal.append", .args = args, .fn = appended, .arg = e});
  kg_doc_unref(args);
}

static void add(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  counter_t *c = self;
  kg_str_t key = kg_view_str(kg_view_get(kg_msg_args(m), "key"));
  entry_t *e = c->careless ? NULL : find(c, key);
  if (e && e->kept) {
    say_total(ctx, c, m);
    return;
  }
  if (!e) e = add_entry(c, key);
  kg_msg_t **more = e ? realloc(e->waiting, (e->nwaiting + 1) * sizeof(kg_msg_t *)) : NULL;
  if (!more) {
    kg_fail(ctx, m, KG_EFULL, "out of memory");
    return;
  }
  e->waiting = more;
  more[e->nwaiting++] = kg_msg_ref(m);
  if (e->nwaiting == 1) append(ctx, c, e);
}

static void get(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  say_total(ctx, self, m);
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

static int take_keys(counter_t *c, kg_view_t keys) {
  for (kg_iter_t it = kg_iter(keys); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.value);
    entry_t *e = find(c, key);
    if (!e && !(e = add_entry(c, key))) return -1;
    keep(c, e);
  }
  return 0;
}

static void was_read(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  if (kg_msg_type(m) != KG_MSG_REPLY || take_keys(self, kg_view_get(kg_msg_args(m), "keys")) < 0)
    kg_not_ready(ctx, "the journal cannot be read: %s", kg_msg_text(m));
  else
    kg_ready(ctx);
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_send(ctx, &(kg_request_t){.service = "journal", .topic = "journal.read", .fn = was_read});
  return 0;
}

static void drain(kg_ctx_t *ctx, void *self) {
  counter_t *c = self;
  c->draining = true;
  if (!c->pending) kg_drained(ctx);
}

static void resume(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  ((counter_t *)self)->draining = false;
}

static int hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)ctx;
  counter_t *c = self;
  kg_pack_t p = kg_pack();
  kg_pack_array(&p);
  for (entry_t *e = c->entries; e; e = e->next)
    if (e->kept) kg_pack_str(&p, e->key);
  kg_pack_end(&p);
  *state = kg_pack_doc(&p);
  return *state ? 0 : kg_error_set(err, KG_EFULL, "out of memory");
}

static int accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx;
  return take_keys(self, state) < 0 ? kg_error_set(err, KG_EFULL, "out of memory") : 0;
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  counter_t *c = calloc(1, sizeof *c);
  if (!c) return kg_error_set(err, KG_EFULL, "out of memory");
  c->careless = kg_view_bool(kg_view_get(kg_config(ctx), "careless"), false);
  *self = c;
  return 0;
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  counter_t *c = self;
  for (entry_t *e = c->entries, *next; e; e = next) {
    next = e->next;
    for (size_t i = 0; i < e->nwaiting; i++) kg_msg_unref(e->waiting[i]);
    free(e->waiting);
    free(e);
  }
  free(c);
}

static const char *const services[] = {"counter", NULL};
static const kg_handler_t handlers[] = {{"counter.add", add}, {"counter.get", get}, {0}};
KG_PLUGIN(.name = "sim-counter", .role = "counter", .version = "1", .summary = "Counts every key once.",
          .services = services, .handlers = handlers, .create = create, .start = start, .drain = drain,
          .hand_over = hand_over, .accept = accept, .resume = resume, .destroy = destroy);
