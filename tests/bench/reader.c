/* For the benchmark of streams: reads `feed` in a process of its own. */
#include "kogge/plugin.h"

static void item(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)m, (void)arg;
}

static void read_feed(kg_ctx_t *ctx, void *self) {
  (void)self;
  kg_send(ctx, &(kg_request_t){.service = "feed", .topic = "feed.stopped", .stream = true, .fn = item});
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  return 0;
}

KG_PLUGIN(.name = "bench-reader", .role = "bench-reader", .version = "1", .create = create, .activate = read_feed);
