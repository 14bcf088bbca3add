/* Keeps 100 kB each time it is destroyed. */
#include "kogge/plugin.h"

#include <stdlib.h>
#include <string.h>

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx;
  *self = malloc(100000);
  if (!*self) return kg_error_set(err, KG_EFULL, "out of memory");
  memset(*self, 1, 100000);
  return 0;
}

KG_PLUGIN(.name = "leaks", .role = "hello", .version = "0.1.0", .create = create);
