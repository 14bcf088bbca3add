/* Never returns from start(). */
#include "kogge/plugin.h"

#include <unistd.h>

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  return 0;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  for (;;) pause();
  return 0;
}

KG_PLUGIN(.name = "hang-on-start", .role = "hello", .version = "0.1.0", .create = create, .start = start);
