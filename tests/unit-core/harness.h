#ifndef TEST_HARNESS_H
#define TEST_HARNESS_H
/* A kernel per test; plugins written in the test itself; waiting for what happens in lanes. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "kogge/host.h"

/* A sanitizer needs memory and time of its own: such numbers say nothing then. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

kg_kernel_t *new_kernel(void);
/* Loads a descriptor and fails the test if that does not succeed. */
void load(kg_kernel_t *k, const char *name, const char *lane, const kg_plugin_t *desc);
/* Waits up to 10 s until *n reaches at least `wanted`. */
void wait_until(atomic_int *n, int wanted);

/* A plugin that answers `echo.say` with its arguments and documents, at once. */
extern const kg_plugin_t echo_plugin;

/* Arguments {key: value}. Caller owns the reference. */
kg_doc_t *int_args(const char *key, int64_t value);
int64_t int_of(const kg_msg_t *m, const char *key);

#define DESCRIPTOR(...)                                                                                                \
  { .magic = KG_PLUGIN_MAGIC, .abi = KG_PLUGIN_ABI, .size = sizeof(kg_plugin_t), .version = "1", __VA_ARGS__ }

/* create() for plugins whose state is the test's own. */
int create_nothing(kg_ctx_t *ctx, void **self, kg_error_t *err);

#endif
