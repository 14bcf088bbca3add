#include "kube/workqueue.h"

#include <stdlib.h>
#include <string.h>

enum { BACKOFF_FIRST_MS = 5, BACKOFF_LAST_MS = 1000 * 1000, AT_ONCE_US = 10000 };

typedef enum { IDLE, WAITING, WORKING, AGAIN } state_t; /* AGAIN: added while being worked on */

/* A key lives here while it waits, is worked on, is delayed, or has failures to remember. */
typedef struct item {
  struct item *next;  /* in its bucket */
  struct item *after; /* in the line of waiting ones */
  kube_queue_t *queue;
  state_t state;
  unsigned failures;
  uint64_t timer;
  int64_t due_ms;
  char key[];
} item_t;

enum { BUCKETS = 256 };

struct kube_queue {
  kube_work_fn fn;
  void *arg;
  unsigned parallel, working;
  size_t waiting;
  item_t *first, **last;
  uint64_t kick; /* a timer that starts work after the current handler */
  item_t *buckets[BUCKETS];
};

static item_t **slot(kube_queue_t *q, const char *key) {
  item_t **at = &q->buckets[kg_hash_str(KG_HASH_START, kg_str(key)) % BUCKETS];
  while (*at && strcmp((*at)->key, key) != 0) at = &(*at)->next;
  return at;
}

static item_t *item_of(kube_queue_t *q, const char *key) {
  item_t **at = slot(q, key);
  if (*at) return *at;
  size_t n = strlen(key) + 1;
  item_t *i = calloc(1, sizeof *i + n);
  if (!i) return NULL;
  i->queue = q;
  memcpy(i->key, key, n);
  return *at = i;
}

static void forget_if_idle(kube_queue_t *q, item_t *i) {
  if (i->state != IDLE || i->timer || i->failures) return;
  item_t **at = slot(q, i->key);
  *at = i->next;
  free(i);
}

kube_queue_t *kube_queue_new(kg_ctx_t *ctx, kube_work_fn fn, unsigned parallel, void *arg) {
  (void)ctx;
  kube_queue_t *q = calloc(1, sizeof *q);
  if (!q) return NULL;
  q->fn = fn;
  q->arg = arg;
  q->parallel = parallel ? parallel : 1;
  q->last = &q->first;
  return q;
}

void kube_queue_free(kg_ctx_t *ctx, kube_queue_t *q) {
  if (!q) return;
  kg_timer_cancel(ctx, q->kick);
  for (size_t b = 0; b < BUCKETS; b++) {
    for (item_t *i = q->buckets[b]; i;) {
      item_t *next = i->next;
      kg_timer_cancel(ctx, i->timer);
      free(i);
      i = next;
    }
  }
  free(q);
}

static void kick(kg_ctx_t *ctx, kube_queue_t *q);

/* Work that ends at once makes room for more at once: others in the lane have their turn all the same. */
static void work(kg_ctx_t *ctx, void *self, void *arg) {
  kube_queue_t *q = arg;
  int64_t until = kg_now_us(ctx) + AT_ONCE_US;
  q->kick = 0;
  while (q->first && q->working < q->parallel && kg_now_us(ctx) < until) {
    item_t *i = q->first;
    q->first = i->after;
    if (!q->first) q->last = &q->first;
    i->after = NULL;
    i->state = WORKING;
    q->waiting--;
    q->working++;
    q->fn(ctx, self, i->key, q->arg);
  }
  kick(ctx, q);
}

static void kick(kg_ctx_t *ctx, kube_queue_t *q) {
  if (!q->kick && q->first && q->working < q->parallel) q->kick = kg_timer(ctx, 0, 0, work, q);
}

static void add_item(kg_ctx_t *ctx, kube_queue_t *q, item_t *i) {
  if (i->state == WORKING) i->state = AGAIN;
  if (i->state != IDLE) return;
  i->state = WAITING;
  i->after = NULL;
  *q->last = i;
  q->last = &i->after;
  q->waiting++;
  kick(ctx, q);
}

void kube_queue_add(kg_ctx_t *ctx, kube_queue_t *q, const char *key) {
  item_t *i = item_of(q, key);
  if (i)
    add_item(ctx, q, i);
  else
    kg_log(ctx, KG_LOG_ERROR, "out of memory: work on %s is dropped", key);
}

static void delay_over(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self;
  item_t *i = arg;
  i->timer = 0;
  add_item(ctx, i->queue, i);
}

static void delay(kg_ctx_t *ctx, item_t *i, int64_t delay_ms) {
  int64_t due = kg_now_ms(ctx) + delay_ms;
  if (i->timer && i->due_ms <= due) return; /* the earlier one wins */
  kg_timer_cancel(ctx, i->timer);
  i->due_ms = due;
  i->timer = kg_timer(ctx, delay_ms, 0, delay_over, i);
}

void kube_queue_add_after(kg_ctx_t *ctx, kube_queue_t *q, const char *key, int64_t delay_ms) {
  item_t *i = item_of(q, key);
  if (!i)
    kg_log(ctx, KG_LOG_ERROR, "out of memory: work on %s is dropped", key);
  else if (delay_ms <= 0)
    add_item(ctx, q, i);
  else
    delay(ctx, i, delay_ms);
}

void kube_queue_done(kg_ctx_t *ctx, kube_queue_t *q, const char *key, bool failed) {
  item_t *i = *slot(q, key);
  if (!i || (i->state != WORKING && i->state != AGAIN)) return;
  bool again = i->state == AGAIN;
  q->working--;
  i->state = IDLE;
  if (failed) {
    int64_t wait = i->failures < 18 ? (int64_t)BACKOFF_FIRST_MS << i->failures : BACKOFF_LAST_MS;
    i->failures++;
    delay(ctx, i, wait < BACKOFF_LAST_MS ? wait : BACKOFF_LAST_MS);
  } else {
    i->failures = 0;
  }
  if (again) add_item(ctx, q, i);
  forget_if_idle(q, i);
  kick(ctx, q);
}

size_t kube_queue_length(const kube_queue_t *q) {
  return q->waiting;
}
