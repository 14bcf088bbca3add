/* Starts well, but does not take its predecessor's state. */
#include "kogge/plugin.h"

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  return 0;
}

static int accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx, (void)self, (void)state;
  return kg_error_set(err, KG_EINVAL, "this state is of no use to me");
}

KG_PLUGIN(.name = "refuses-state", .role = "hello", .version = "0.1.0", .create = create, .accept = accept);
