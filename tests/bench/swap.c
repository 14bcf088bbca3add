/*
 * Several senders keep a service busy at a fixed rate while it is replaced again and again by another build of itself.
 * Every request must be answered once, in the order of its sender.
 *   bench-swap JSON [SWAPS [RATE]]
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kogge/host.h"
#include "measure.h"

enum { SENDERS = 4, LATENCIES = 1 << 22, SETTLE_US = 4000 /* between two swaps the load comes back to its rate */ };

typedef struct sender {
  int64_t who, sent, back, since_us, lost, doubled, failed;
} sender_t;

static struct {
  int64_t rate; /* of one sender */
  atomic_bool stop;
  atomic_llong sent, answered, lost, doubled, failed;
  atomic_size_t nlatencies;
  double *latency_ms;
} t;

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  sender_t *s = self;
  int64_t sent_us = (int64_t)(intptr_t)arg;
  if (kg_msg_type(m) != KG_MSG_REPLY) {
    if (!s->failed++) fprintf(stderr, "a request failed: %s\n", kg_msg_text(m));
    s->back++;
    return;
  }
  int64_t n = kg_view_int(kg_view_get(kg_msg_args(m), "n"), 0);
  if (n > s->back + 1) s->lost += n - s->back - 1;
  if (n <= s->back) s->doubled++;
  if (n > s->back) s->back = n;
  size_t at = atomic_fetch_add(&t.nlatencies, 1);
  if (at < LATENCIES) t.latency_ms[at] = (double)(kg_now_us(ctx) - sent_us) / 1000;
}

static void report(sender_t *s) {
  t.sent += s->sent;
  t.answered += s->back - s->failed;
  t.lost += s->lost + s->sent - s->back;
  t.doubled += s->doubled;
  t.failed += s->failed;
}

static void send_due(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  sender_t *s = self;
  int64_t now = kg_now_us(ctx);
  if (!s->since_us) s->since_us = now;
  for (int64_t due = (now - s->since_us) * t.rate / 1000000; s->sent < due && !t.stop;) {
    kg_pack_t p = kg_pack();
    kg_pack_map(&p);
    kg_pack_kv_int(&p, "who", s->who);
    kg_pack_kv_int(&p, "n", ++s->sent);
    kg_pack_end(&p);
    kg_doc_t *args = kg_pack_doc(&p);
    kg_send(ctx, &(kg_request_t){.service = "counter",
                                 .topic = "counter.take",
                                 .args = args,
                                 .fn = answered,
                                 .arg = (void *)(intptr_t)kg_now_us(ctx)});
    kg_doc_unref(args);
  }
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  sender_t *s = calloc(1, sizeof *s);
  if (!s) return kg_error_set(err, KG_EFULL, "out of memory");
  s->who = atoi(kg_name(ctx) + strlen("sender"));
  *self = s;
  return 0;
}

static void activate(kg_ctx_t *ctx, void *self) {
  (void)self;
  kg_timer(ctx, 1, 1, send_due, NULL);
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  report(self);
  free(self);
}

static const kg_plugin_t sender = {.magic = KG_PLUGIN_MAGIC,
                                   .abi = KG_PLUGIN_ABI,
                                   .size = sizeof(kg_plugin_t),
                                   .name = "sender",
                                   .role = "sender",
                                   .version = "1",
                                   .create = create,
                                   .activate = activate,
                                   .destroy = destroy};

static void die(const char *what, const kg_error_t *err) {
  fprintf(stderr, "%s: %s\n", what, err->text);
  exit(1);
}

static kg_kernel_t *start(void) {
  kg_error_t err = {0};
  kg_kernel_t *k = kg_kernel_new(
      &(kg_kernel_options_t){
          .log_level = KG_LOG_WARN, .plugin_path = BENCH_PLUGINS, .trial_command = KOGGE, .budget_ms = 1000},
      &err);
  if (!k) die("kernel", &err);
  if (kg_kernel_load(k, &(kg_plugin_spec_t){.name = "counter", .file = "counter-a.so"}, &err) < 0) die("load", &err);
  for (int i = 0; i < SENDERS; i++) {
    char name[32];
    snprintf(name, sizeof name, "sender%d", i);
    /* One shares the service's lane, the others have one of their own. */
    kg_plugin_spec_t spec = {.name = name, .lane = i == 0 ? "main" : "senders", .descriptor = &sender};
    if (kg_kernel_load(k, &spec, &err) < 0) die("load", &err);
  }
  return k;
}

static void swap_many(kg_kernel_t *k, int swaps, double *pause_ms) {
  for (int i = 0; i < swaps; i++) {
    kg_error_t err = {0};
    int64_t us = 0;
    if (kg_kernel_swap(k, "counter", i % 2 ? "counter-a.so" : "counter-b.so", NULL, &us, &err) < 0) die("swap", &err);
    pause_ms[i] = (double)us / 1000;
    usleep(SETTLE_US);
  }
}

/* What the service itself saw, from its statistics: handed over a thousand times. */
static struct {
  atomic_int done;
  int64_t lost, doubled, reordered;
} seen;

static void got_stats(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)arg;
  kg_view_t own = kg_view_get(kg_msg_args(m), "own");
  seen.lost = kg_view_int(kg_view_get(own, "lost"), -1);
  seen.doubled = kg_view_int(kg_view_get(own, "doubled"), -1);
  seen.reordered = kg_view_int(kg_view_get(own, "reordered"), -1);
  seen.done = 1;
}

static void ask_stats(kg_ctx_t *ctx, void *self) {
  (void)self;
  kg_send(ctx, &(kg_request_t){.service = "plugin/counter", .topic = "plugin.stats", .fn = got_stats});
}

static void read_stats(kg_kernel_t *k) {
  static const kg_plugin_t reader = {.magic = KG_PLUGIN_MAGIC,
                                     .abi = KG_PLUGIN_ABI,
                                     .size = sizeof(kg_plugin_t),
                                     .name = "reader",
                                     .role = "reader",
                                     .version = "1",
                                     .activate = ask_stats};
  kg_error_t err = {0};
  if (kg_kernel_load(k, &(kg_plugin_spec_t){.name = "reader", .descriptor = &reader}, &err) < 0) die("reader", &err);
  for (int i = 0; i < 5000 && !seen.done; i++) usleep(1000);
}

static void print_results(const char *path, int swaps, double *pause, double rate, double seconds) {
  size_t n = t.nlatencies < LATENCIES ? t.nlatencies : LATENCIES;
  const struct {
    const char *key;
    double value;
  } results[] = {{"requests_per_s", rate},
                 {"swaps", swaps},
                 {"pause_p50_ms", percentile(pause, (size_t)swaps, 50)},
                 {"pause_p99_ms", percentile(pause, (size_t)swaps, 99)},
                 {"pause_max_ms", percentile(pause, (size_t)swaps, 100)},
                 {"lost", (double)(t.lost + t.failed + seen.lost)},
                 {"duplicated", (double)(t.doubled + seen.doubled)},
                 {"reordered", (double)seen.reordered},
                 {"requests", (double)t.answered},
                 {"seconds", seconds},
                 {"latency_p50_ms", percentile(t.latency_ms, n, 50)},
                 {"latency_p99_ms", percentile(t.latency_ms, n, 99)},
                 {"latency_max_ms", percentile(t.latency_ms, n, 100)}};
  json_open(path);
  for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
    printf("%-20s %12.3f\n", results[i].key, results[i].value);
    json_number(results[i].key, results[i].value);
  }
  json_close();
}

int main(int argc, char **argv) {
  if (argc < 2) return fprintf(stderr, "usage: bench-swap JSON [SWAPS [RATE]]\n"), 2;
  int swaps = argc > 2 ? atoi(argv[2]) : 1000;
  t.rate = (argc > 3 ? atoi(argv[3]) : 100000) / SENDERS;
  t.latency_ms = calloc(LATENCIES, sizeof *t.latency_ms);
  double *pause = calloc((size_t)swaps, sizeof *pause);
  kg_kernel_t *k = start();
  usleep(200000);
  int64_t since = now_ns();
  size_t before = t.nlatencies;
  swap_many(k, swaps, pause);
  double seconds = (double)(now_ns() - since) / 1e9;
  double during = (double)(t.nlatencies - before);
  t.stop = true;
  usleep(300000);
  read_stats(k);
  kg_kernel_free(k);
  print_results(argv[1], swaps, pause, during / seconds, seconds);
  free(pause);
  free(t.latency_ms);
  return t.lost + t.failed + t.doubled + seen.lost + seen.doubled + seen.reordered == 0 && seen.done ? 0 : 1;
}
