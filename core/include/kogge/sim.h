#ifndef KOGGE_SIM_H
#define KOGGE_SIM_H
/*
 * The simulation executor (DESIGN section 3): every plugin of a kernel in one lane without a thread, under a virtual
 * clock, with an order of delivery drawn from a seed, and with faults on links that were declared faulty. The same seed
 * gives the same run, byte for byte. For programs like `kogge sim` and tests; plugins notice nothing, except that there
 * are no descriptors to watch. Everything here, and everything of kogge/host.h for such a kernel, is called from one
 * thread.
 *
 * What a fault may do follows bus/PROTOCOL.md: messages inside a process are reliable, so only a declared link loses. A
 * lost request is answered with 504 at its deadline. A stream never has a gap: a loss cuts it, its reader gets 503 and
 * its server a cancel. A duplicated request comes to its handler twice, and nobody hears the second answer.
 */
#include "kogge/host.h"

typedef struct kg_sim_options {
  uint64_t seed;
  int64_t latency_min_us, latency_max_us; /* of every message; 0, 0: 1 to 100 */
  int64_t wall_us;                        /* the wall clock at the start; 0: 2026-01-01 */
  const char *exempt;                     /* instance that globs of faults never match; NULL: none; copied */
  /* One line of the trace without its newline, borrowed; NULL: no trace. */
  void (*trace)(void *arg, const char *line, size_t size);
  void *trace_arg;
} kg_sim_options_t;

/* Turns a kernel that has loaded nothing yet into a simulated one. */
KG_PUBLIC int kg_sim_begin(kg_kernel_t *k, const kg_sim_options_t *o, kg_error_t *err);

/* A faulty link. Globs of instance names; NULL: any. Probabilities 0 to 1. Everything is copied. */
typedef struct kg_sim_fault {
  const char *from, *to, *topic;
  bool both_ways;
  int64_t since_us, until_us; /* on the virtual clock; until 0: for ever */
  double loss, duplicate, delay;
  int64_t delay_min_us, delay_max_us;
} kg_sim_fault_t;
KG_PUBLIC int kg_sim_fault(kg_kernel_t *k, const kg_sim_fault_t *f, kg_error_t *err);

/* Runs what is due until the virtual clock shows until_us (it does then, also if nothing happens). -1 and a sentence if
 * the clock stands still while plugins keep each other busy. */
KG_PUBLIC int kg_sim_run(kg_kernel_t *k, int64_t until_us, kg_error_t *err);
KG_PUBLIC int64_t kg_sim_now_us(const kg_kernel_t *k);
KG_PUBLIC uint64_t kg_sim_messages(const kg_kernel_t *k); /* delivered so far */
/* A number from the simulation's own chance, which is not the plugins'. */
KG_PUBLIC uint64_t kg_sim_random(kg_kernel_t *k);
/* The instance is gone from one moment to the next: no drain, no hand-over; who waits for it gets 503. It can be loaded
 * again. */
KG_PUBLIC int kg_sim_crash(kg_kernel_t *k, const char *name, kg_error_t *err);
/* A line of the trace from the program itself. */
KG_PUBLIC void kg_sim_note(kg_kernel_t *k, const char *fmt, ...) KG_PRINTF(2, 3);

#endif
