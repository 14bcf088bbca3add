#ifndef SCHEDULER_VICTIMS_H
#define SCHEDULER_VICTIMS_H
/* Which pods of a node go so that a more important one fits, and on which node that does the least harm. Pure: nothing
 * is known here of nodes or documents. Any thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct victim {
  void *pod; /* the caller's */
  int64_t priority, started_us;
  bool guarded; /* its going would break a disruption budget */
  bool going;   /* it ends anyhow: of equals the least important */
  bool goes;
} victim_t;

/* Tries on a node what is not yet so. */
typedef struct victims_trial {
  void (*move)(void *arg, victim_t *v, bool there);
  bool (*fits)(void *arg);
  void *arg;
} victims_trial_t;

/* Of one node: those that go stand first, the most important one before the others. */
typedef struct victims {
  uint32_t node;
  size_t n, broken; /* how many go; of them against a budget */
  victim_t *of;
} victims_t;

/* The most important first: by priority, then the one that has run longer (started_us 0: has not started). */
void victims_sort(victim_t *all, size_t n);
/* Of all, sorted, that may go, the least that must: the guarded are spared first, then the more important. Leaves
 * things as they were. false: the pod would not even fit if all went. */
bool victims_choose(victim_t *all, size_t n, const victims_trial_t *trial, victims_t *out);
/* Does `a` do less harm than `b`? (pickOneNodeForPreemption of kube-scheduler) */
bool victims_better(const victims_t *a, const victims_t *b);

#endif
