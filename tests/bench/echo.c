/* For the bus benchmark: answers with what it was asked, documents by reference. */
#include "kogge/plugin.h"

static void say(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_doc_t *doc = kg_msg_doc(m, 0);
  kg_reply(ctx, m, NULL, &doc, doc ? 1 : 0);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  return 0;
}

static const char *const services[] = {"echo", NULL};
static const kg_handler_t handlers[] = {{"echo.say", say}, {0}};
KG_PLUGIN(.name = "bench-echo", .role = "bench-echo", .version = "1", .services = services, .handlers = handlers,
          .create = create);
