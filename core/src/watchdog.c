/* Looks from outside at what keeps a lane busy. It sleeps while every lane does; a lane that wakes up wakes it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "remote.h"

#define LOOK_MS 200

void kg_pulse_set(kg_pulse_t *p, const char *what, int64_t now_us) {
  union {
    char text[sizeof p->what];
    uint64_t words[sizeof p->what / 8];
  } u = {{0}};
  size_t n = strnlen(what, sizeof u.text);
  memcpy(u.text, what, n);
  for (size_t i = 0; i < sizeof p->what / 8; i++) {
    atomic_store_explicit(&p->what[i], u.words[i], memory_order_relaxed);
    if (n < 8 * (i + 1)) break;
  }
  atomic_store_explicit(&p->busy_since_us, now_us, memory_order_relaxed);
}

void kg_pulse_what(kg_pulse_t *p, char out[65]) {
  for (size_t i = 0; i < 8; i++) {
    uint64_t word = atomic_load_explicit(&p->what[i], memory_order_relaxed);
    memcpy(out + 8 * i, &word, 8);
  }
  out[64] = 0;
}

void kg_watchdog_wake(kg_kernel_t *k) {
  if (atomic_exchange(&k->watch_parked, false)) sem_post(&k->watch_wake);
}

/* How long the handler has run, in halves of powers of two of the limit: one line when it doubles. */
static bool worth_a_line(kg_kernel_t *k, int64_t busy_us) {
  int64_t step = LOOK_MS * 1000;
  for (int64_t at = k->stuck_us; at <= busy_us; at *= 2)
    if (busy_us - at < step) return true;
  return false;
}

/* The instance a lane is in; its name is copied, since only the list's lock keeps it alive. */
static bool who_is_in(kg_kernel_t *k, kg_lane_t *lane, char *name, size_t room) {
  kg_ctx_t *current = atomic_load_explicit(&lane->current, memory_order_relaxed);
  bool found = false;
  pthread_mutex_lock(&k->list);
  for (size_t i = 0; i < k->ninstances && !found; i++)
    if (k->instances[i] == current && (found = true)) snprintf(name, room, "plugin %s", k->instances[i]->name);
  pthread_mutex_unlock(&k->list);
  if (!found && current && k->link) /* a process of its own: it and the link are all there is */
    snprintf(name, room, "plugin %s", current->name);
  else if (!found)
    snprintf(name, room, "a plugin that starts or ends");
  return current != NULL;
}

static bool look_at_lane(kg_kernel_t *k, kg_lane_t *lane, int64_t now) {
  char what[65], who[300];
  int64_t since = atomic_load_explicit(&lane->pulse->busy_since_us, memory_order_relaxed);
  if (!since || lane->pulse != &lane->own_pulse) return false; /* shared: the kernel looks at it */
  if (now - since < k->stuck_us || !worth_a_line(k, now - since) || !who_is_in(k, lane, who, sizeof who)) return true;
  kg_pulse_what(lane->pulse, what);
  kg_logf(k, KG_LOG_ERROR, "kernel", "lane %s has been stuck for %lld ms in the handler of %s of %s", lane->name,
          (long long)(now - since) / 1000, what, who);
  return true;
}

static bool look_at_processes(kg_kernel_t *k, int64_t now) {
  bool busy = false;
  char what[65];
  pthread_mutex_lock(&k->list);
  for (size_t i = 0; i < k->ninstances; i++) {
    kg_pulse_t *pulse = k->instances[i]->remote ? kg_remote_pulse(k->instances[i]->remote) : NULL;
    int64_t since = pulse ? atomic_load_explicit(&pulse->busy_since_us, memory_order_relaxed) : 0;
    busy |= since != 0;
    if (!since || now - since < k->stuck_us || !worth_a_line(k, now - since)) continue;
    kg_pulse_what(pulse, what);
    kg_logf(k, KG_LOG_ERROR, "kernel", "plugin %s hangs in its own process: for %lld ms in the handler of %s",
            k->instances[i]->name, (long long)(now - since) / 1000, what);
  }
  pthread_mutex_unlock(&k->list);
  return busy;
}

static bool look(kg_kernel_t *k) {
  int64_t now = kg_clock_us();
  bool busy = look_at_processes(k, now);
  for (unsigned i = 0; i < atomic_load(&k->nlanes); i++) busy |= look_at_lane(k, k->lanes[i], now);
  return busy;
}

static void wait_ms(kg_kernel_t *k, int64_t ms) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  int64_t ns = t.tv_nsec + ms * 1000000;
  t.tv_sec += ns / 1000000000;
  t.tv_nsec = ns % 1000000000;
  while (sem_clockwait(&k->watch_wake, CLOCK_MONOTONIC, &t) < 0 && errno == EINTR) {
  }
}

static void park(kg_kernel_t *k) {
  atomic_store(&k->watch_parked, true);
  if (look(k)) {
    kg_watchdog_wake(k);
    return;
  }
  while (atomic_load(&k->watch_parked) && !atomic_load(&k->watch_stop)) sem_wait(&k->watch_wake);
}

static void *watch(void *arg) {
  kg_kernel_t *k = arg;
  pthread_setname_np(pthread_self(), "watchdog");
  while (!atomic_load(&k->watch_stop)) {
    if (!look(k)) park(k);
    wait_ms(k, LOOK_MS); /* also after it was woken: a busy kernel wakes it no more often than this */
  }
  return NULL;
}

void kg_watchdog_start(kg_kernel_t *k) {
  if (k->watched) return;
  sem_init(&k->watch_wake, 0, 0);
  k->watched = pthread_create(&k->watchdog, NULL, watch, k) == 0;
}

void kg_watchdog_stop(kg_kernel_t *k) {
  if (!k->watched) return;
  atomic_store(&k->watch_stop, true);
  sem_post(&k->watch_wake);
  pthread_join(k->watchdog, NULL);
  sem_destroy(&k->watch_wake);
  k->watched = false;
}
