#include "harness.h"

#include <time.h>

kg_kernel_t *new_kernel(void) {
  kg_error_t err = {0};
  kg_kernel_t *k =
      kg_kernel_new(&(kg_kernel_options_t){.log_level = KG_LOG_ERROR,
                                           .plugin_path = KOGGE_BUILD_DIR "/plugins:" KOGGE_BUILD_DIR "/tests/plugins",
                                           .trial_command = KOGGE_BUILD_DIR "/kogge",
                                           .start_timeout_ms = 3000,
                                           .drain_timeout_ms = 2000,
                                           .trial_timeout_ms = 2500,
                                           .budget_ms = 5000},
                    &err);
  cr_assert(k, "%s", err.text);
  return k;
}

void load(kg_kernel_t *k, const char *name, const char *lane, const kg_plugin_t *desc) {
  kg_error_t err = {0};
  cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = name, .lane = lane, .descriptor = desc}, &err), 0, "%s",
               err.text);
}

void wait_until(atomic_int *n, int wanted) {
  for (int i = 0; i < 120000 && atomic_load(n) < wanted; i++) nanosleep(&(struct timespec){0, 500000}, NULL);
  cr_assert_geq(atomic_load(n), wanted, "after 60 s only %d of %d", atomic_load(n), wanted);
}

kg_doc_t *int_args(const char *key, int64_t value) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, key, value);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

int64_t int_of(const kg_msg_t *m, const char *key) {
  return kg_view_int(kg_view_get(kg_msg_args(m), key), -1);
}

int create_nothing(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  return 0;
}

static void say(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_doc_t *doc = kg_msg_doc(m, 0);
  kg_reply(ctx, m, kg_msg_args_doc(m), &doc, doc ? 1 : 0);
}

static void refuse(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_fail(ctx, m, KG_ECONFLICT, "no, %s", kg_msg_source(m));
}

static const char *const services[] = {"echo", NULL};
static const kg_handler_t handlers[] = {{"echo.say", say}, {"echo.refuse", refuse}, {0}};
const kg_plugin_t echo_plugin = DESCRIPTOR(.name = "echo", .role = "echo", .services = services, .handlers = handlers);
