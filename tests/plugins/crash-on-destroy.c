/* Frees what it never owned when it is destroyed. */
#include "kogge/plugin.h"

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  return 0;
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx, (void)self;
  volatile int *volatile nowhere = NULL;
  *nowhere = 1;
}

KG_PLUGIN(.name = "crash-on-destroy", .role = "hello", .version = "0.1.0", .create = create, .destroy = destroy);
