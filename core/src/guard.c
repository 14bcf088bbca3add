/* Timers on the processor time of one thread. Here and not in the plugins: a signal's handler must stay in memory
 * whatever is unloaded. */
#include "kogge/guard.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GUARD_SIGNAL (SIGRTMIN + 4)
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

struct kg_guard {
  timer_t timer;
  struct timespec period;
  void (*tick)(void *arg);
  void *arg;
};

static void on_signal(int number, siginfo_t *info, void *context) {
  (void)number, (void)context;
  int saved = errno;
  kg_guard_t *g = info->si_code == SI_TIMER ? info->si_value.sival_ptr : NULL;
  if (g) g->tick(g->arg);
  errno = saved;
}

kg_guard_t *kg_guard_new(int64_t period_us, void (*tick)(void *arg), void *arg, kg_error_t *err) {
  kg_guard_t *g = calloc(1, sizeof *g);
  struct sigaction a = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
  sigemptyset(&a.sa_mask);
  struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = GUARD_SIGNAL, .sigev_value.sival_ptr = g};
  e.sigev_notify_thread_id = gettid();
  if (!g || sigaction(GUARD_SIGNAL, &a, NULL) < 0 || timer_create(CLOCK_THREAD_CPUTIME_ID, &e, &g->timer) < 0) {
    kg_error_set(err, KG_EINTERNAL, "a timer of processor time cannot be made: %s", strerror(errno));
    free(g);
    return NULL;
  }
  g->period = (struct timespec){period_us / 1000000, period_us % 1000000 * 1000};
  g->tick = tick;
  g->arg = arg;
  return g;
}

void kg_guard_arm(kg_guard_t *g, bool on) {
  struct itimerspec t = {0};
  if (on) t.it_value = t.it_interval = g->period;
  timer_settime(g->timer, 0, &t, NULL);
}

void kg_guard_free(kg_guard_t *g) {
  sigset_t set, old;
  if (!g) return;
  sigemptyset(&set);
  sigaddset(&set, GUARD_SIGNAL);
  pthread_sigmask(SIG_BLOCK, &set, &old);
  timer_delete(g->timer);
  /* One that came in between would find freed memory. A tick of another guard may go with it: it has more. */
  while (sigtimedwait(&set, NULL, &(struct timespec){0}) > 0) continue;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  free(g);
}
