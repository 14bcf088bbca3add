/* Says in start() that it cannot. */
#include "kogge/plugin.h"

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  return 0;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)ctx, (void)self;
  return kg_error_set(err, KG_EINVAL, "I do not like it here");
}

KG_PLUGIN(.name = "refuses-start", .role = "hello", .version = "0.1.0", .create = create, .start = start);
