/* Claims names, one of them twice and one that is another's, subscribes, sets timers, asks, and is never ready. */
#include "kogge/plugin.h"

static void tick(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self, (void)arg;
  kg_send(ctx, &(kg_request_t){.service = "hello", .topic = "hello.say", .timeout_ms = -1});
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  return 0;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_serve(ctx, "half/one", NULL);
  kg_serve(ctx, "half/one", NULL);
  kg_serve(ctx, "kernel", NULL);
  kg_subscribe(ctx, "");
  kg_timer(ctx, 1, 1, tick, NULL);
  return 0;
}

static const char *const services[] = {"hello", "hello", NULL};

KG_PLUGIN(.name = "half-made", .role = "hello", .version = "0.1.0", .services = services, .create = create,
          .start = start);
