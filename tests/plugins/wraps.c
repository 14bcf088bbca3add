/* Answers with documents of its own memory, which its own function releases. */
#include "kogge/plugin.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t constant[] = {0xa5, 'c', 'o', 'n', 's', 't'};

static void release(void *data, void *arg) {
  memset(data, 0, (size_t)(uintptr_t)arg);
  free(data);
}

static void give(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  uint8_t *own = malloc(sizeof constant);
  if (!own) return;
  memcpy(own, constant, sizeof constant);
  kg_doc_t *docs[] = {kg_doc_wrap(own, sizeof constant, release, (void *)sizeof constant),
                      kg_doc_wrap(constant, sizeof constant, NULL, NULL)};
  kg_reply(ctx, m, NULL, docs, 2);
  kg_doc_unref(docs[0]);
  kg_doc_unref(docs[1]);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  return 0;
}

static const char *const services[] = {"wraps", NULL};
static const kg_handler_t handlers[] = {{"wraps.give", give}, {0}};

KG_PLUGIN(.name = "wraps", .role = "wraps", .version = "0.1.0", .services = services, .handlers = handlers,
          .create = create);
