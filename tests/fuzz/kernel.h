#ifndef FUZZ_KERNEL_H
#define FUZZ_KERNEL_H
/* A kernel that does nothing by itself: time stands still, timers never come, requests wait for kernel_answer(). */
#include "fuzz.h"
#include "kogge/plugin.h"

/* Answers what was asked and not cancelled, and what is asked meanwhile, in rounds: pods, lists, streams of an item. */
void kernel_answer(void);
/* Between two inputs: nothing is pending any more. Says whether all was answered or cancelled. */
bool kernel_reset(void);

#endif
