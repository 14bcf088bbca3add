/* Never returns from destroy(). */
#include "kogge/plugin.h"

#include <unistd.h>

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  return 0;
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx, (void)self;
  for (;;) pause();
}

KG_PLUGIN(.name = "hang-on-destroy", .role = "hello", .version = "0.1.0", .create = create, .destroy = destroy);
