/* Warms up for ever. */
#include "kogge/plugin.h"

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  return 0;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  return 0;
}

KG_PLUGIN(.name = "never-ready", .role = "hello", .version = "0.1.0", .create = create, .start = start);
