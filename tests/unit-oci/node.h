#ifndef TEST_NODE_H
#define TEST_NODE_H
/* A kernel with the runtime and a network that only counts, in a directory of the test's own. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

typedef struct node {
  driver_t *d;
  char dir[64];
  const char *config; /* of the runtime, JSON; NULL: none */
} node_t;

node_t *node_new(void);
node_t *node_with(const char *config);
void node_restart(node_t *n); /* of the kernel: what runs, runs on */
/* Stops the kernel and fails the test if a mount, a control group, a name space or a process is left behind. */
void node_free(node_t *n);
extern atomic_int attached, detached;

/* Sends to the runtime. `fmt`: JSON with ' for ". Owned by the caller. */
kg_msg_t *ask(node_t *n, const char *topic, const char *fmt, ...) KG_PRINTF(3, 4);
/* The same, and fails the test unless it was answered well. */
kg_msg_t *ask_good(node_t *n, const char *topic, const char *fmt, ...) KG_PRINTF(3, 4);
void must(node_t *n, const char *topic, const char *fmt, ...) KG_PRINTF(3, 4);
/* Fails unless it fails with this code; the text for the caller, who frees. */
char *must_fail(node_t *n, int code, const char *topic, const char *fmt, ...) KG_PRINTF(4, 5);

/* `kogge image WORDS...` (words separated by spaces): what it wrote to both outputs (freed by the caller). */
char *image_command(node_t *n, const char *words, int *code);
void sandbox(node_t *n, const char *id);
/* Creates and starts "sh -c SCRIPT"; more: further members of the create arguments, beginning with a comma, or "". */
void container(node_t *n, const char *id, const char *sandbox, const char *script, const char *more);
/* The container as runtime.list has it, as JSON; NULL if it is not there. Caller frees. */
char *listed(node_t *n, const char *kind, const char *id);
/* Waits up to 10 s until the container's JSON contains text. */
void await(node_t *n, const char *id, const char *text);
void stop_all(node_t *n, const char *sandbox, const char *container);
char *slurp(const char *path); /* freed by the caller; "" if it is not there */
int shell(const char *fmt, ...) KG_PRINTF(1, 2);
#endif
