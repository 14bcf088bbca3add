/* Answers hello.say a second after its deadline, and twice. */
#include "kogge/plugin.h"

static void answer(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self;
  kg_msg_t *m = arg;
  kg_reply(ctx, m, NULL, NULL, 0);
  kg_reply(ctx, m, NULL, NULL, 0);
  kg_msg_unref(m);
}

static void say(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  int64_t left = kg_msg_deadline_ms(m) - kg_now_ms(ctx);
  kg_timer(ctx, left + 1000, 0, answer, kg_msg_ref(m));
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  return 0;
}

static const char *const services[] = {"hello", NULL};
static const kg_handler_t handlers[] = {{"hello.say", say}, {0}};

KG_PLUGIN(.name = "answers-late", .role = "hello", .version = "0.1.0", .services = services, .handlers = handlers,
          .create = create);
