/* What stays: entries with a key, each kept once. The disk of the counter. */
#include <stdlib.h>
#include <string.h>

#include "kogge/plugin.h"

typedef struct {
  char **keys;
  size_t count, room;
  bool careless; /* keeps an entry twice if it comes twice */
} journal_t;

static size_t find(const journal_t *j, kg_str_t key) {
  for (size_t i = 0; i < j->count; i++)
    if (kg_str_is(key, j->keys[i])) return i;
  return j->count;
}

static void append(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  journal_t *j = self;
  kg_str_t key = kg_view_str(kg_view_get(kg_msg_args(m), "key"));
  size_t i = j->careless ? j->count : find(j, key);
  if (i == j->count) {
    if (j->count == j->room) {
      char **more = realloc(j->keys, (j->room + 64) * sizeof *more);
      if (!more) {
        kg_fail(ctx, m, KG_EFULL, "out of memory");
        return;
      }
      j->keys = more;
      j->room += 64;
    }
    j->keys[j->count++] = kg_str_dup(key);
  }
  kg_reply(ctx, m, NULL, NULL, 0);
}

static void read_all(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  journal_t *j = self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "count", (int64_t)j->count);
  kg_pack_key(&p, "keys");
  kg_pack_array(&p);
  for (size_t i = 0; i < j->count; i++) kg_pack_str(&p, j->keys[i]);
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  kg_reply(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  journal_t *j = calloc(1, sizeof *j);
  if (!j) return kg_error_set(err, KG_EFULL, "out of memory");
  j->careless = kg_view_bool(kg_view_get(kg_config(ctx), "careless"), false);
  *self = j;
  return 0;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_ready(ctx);
  return 0;
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  journal_t *j = self;
  for (size_t i = 0; i < j->count; i++) free(j->keys[i]);
  free(j->keys);
  free(j);
}

static const char *const services[] = {"journal", NULL};
static const kg_handler_t handlers[] = {{"journal.append", append}, {"journal.read", read_all}, {0}};
KG_PLUGIN(.name = "sim-journal", .role = "journal", .version = "1", .summary = "Keeps entries.", .services = services,
          .handlers = handlers, .create = create, .start = start, .destroy = destroy);
