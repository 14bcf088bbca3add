/* Dies of a null pointer in create(). */
#include "kogge/plugin.h"

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  volatile int *volatile nowhere = NULL;
  *nowhere = 1;
  return 0;
}

KG_PLUGIN(.name = "crash-on-create", .role = "hello", .version = "0.1.0", .create = create);
