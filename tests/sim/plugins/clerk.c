/* Tells the counter of `count` keys of its own, each until the counter has confirmed it. */
#include <stdlib.h>

#include "kogge/plugin.h"

typedef struct {
  int64_t count, next, confirmed, retries, timeout_ms;
} clerk_t;

static void tell(kg_ctx_t *ctx, clerk_t *c, int64_t i);

static void again(kg_ctx_t *ctx, void *self, void *arg) {
  tell(ctx, self, (int64_t)(intptr_t)arg);
}

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  clerk_t *c = self;
  if (kg_msg_type(m) != KG_MSG_REPLY) {
    c->retries++;
    kg_timer(ctx, (int64_t)(kg_random(ctx) % 100), 0, again, arg);
    return;
  }
  c->confirmed++;
  if (c->next < c->count) tell(ctx, c, c->next++);
}

static void tell(kg_ctx_t *ctx, clerk_t *c, int64_t i) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "key");
  kg_pack_fmt(&p, "%s-%lld", kg_name(ctx), (long long)i);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_send(ctx, &(kg_request_t){.service = "counter",
                               .topic = "counter.add",
                               .args = args,
                               .timeout_ms = c->timeout_ms,
                               .fn = answered,
                               .arg = (void *)(intptr_t)i});
  kg_doc_unref(args);
}

static void status(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  clerk_t *c = self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "confirmed", c->confirmed);
  kg_pack_kv_int(&p, "retries", c->retries);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  kg_reply(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  clerk_t *c = calloc(1, sizeof *c);
  if (!c) return kg_error_set(err, KG_EFULL, "out of memory");
  c->count = kg_view_int(kg_view_get(kg_config(ctx), "count"), 10);
  c->timeout_ms = kg_view_int(kg_view_get(kg_config(ctx), "timeout_ms"), 200);
  *self = c;
  return 0;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_ready(ctx);
  return 0;
}

static void activate(kg_ctx_t *ctx, void *self) {
  clerk_t *c = self;
  for (int i = 0; i < 4 && c->next < c->count; i++) tell(ctx, c, c->next++);
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  free(self);
}

static const char *const services[] = {"clerk", NULL};
static const kg_handler_t handlers[] = {{"clerk.status", status}, {0}};
KG_PLUGIN(.name = "sim-clerk", .role = "clerk", .version = "1", .summary = "Tells the counter of keys.",
          .services = services, .handlers = handlers, .create = create, .start = start, .activate = activate,
          .destroy = destroy);
