/*
 * The last words of a kernel that a plugin takes down with it: the plugin's name, for the parent that starts the kernel
 * again. What a signal handler needs cannot come by argument, hence the statics, one set for the process.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lane.h"

#define STACK 65536

static _Thread_local kg_lane_t *here;
static atomic_int words_fd = -1;

static void last_words(int sig) {
  int fd = atomic_load(&words_fd);
  kg_ctx_t *ctx = here ? atomic_load(&here->current) : NULL;
  if (fd >= 0 && ctx) {
    char line[256];
    size_t n = strnlen(ctx->name, sizeof line - 2);
    line[0] = 'c';
    memcpy(line + 1, ctx->name, n);
    line[n + 1] = '\n';
    if (write(fd, line, n + 2) < 0) line[0] = 0; /* nobody listens any more */
  }
  raise(sig); /* SA_RESETHAND: this time it kills */
}

void kg_crash_report(int fd) {
  struct sigaction a = {.sa_handler = last_words, .sa_flags = SA_RESETHAND | SA_NODEFER | SA_ONSTACK};
  atomic_store(&words_fd, fd);
  for (const int *s = (const int[]){SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, 0}; *s; s++) sigaction(*s, &a, NULL);
}

/* A stack of its own for the handler: the lane's may be what has run out. */
void *kg_crash_lane(kg_lane_t *lane) {
  stack_t stack = {.ss_size = STACK, .ss_sp = malloc(STACK)};
  here = lane;
  if (stack.ss_sp) sigaltstack(&stack, NULL);
  return stack.ss_sp;
}

void kg_crash_lane_ends(void *stack) {
  stack_t none = {.ss_flags = SS_DISABLE};
  sigaltstack(&none, NULL);
  here = NULL;
  free(stack);
}
