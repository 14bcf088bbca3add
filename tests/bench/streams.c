/*
 * Readers of one service, with and without one more that stops reading: what the others get, and what memory it costs.
 * It stops in three ways: it grants no more credit, its handler does not return, its process is stopped.
 *   bench-streams JSON [MS]     MS: milliseconds for each run
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kogge/host.h"
#include "measure.h"

enum { READERS = 4, ITEM = 1024, ROUNDS = 5, STOP_AFTER = 10000 };

typedef enum { NOBODY, CREDIT, HANDLER, PROCESS, WAYS } way_t;
static const char *const names[WAYS] = {"nobody", "credit", "handler", "process"};
static const char *const says[WAYS] = {"nobody stops", "one grants no more credit", "one's handler does not return",
                                       "one's process is stopped"};

static struct {
  atomic_bool end, stopped;
  atomic_llong read, sent, taken; /* by those who read; to and by the one that stops */
  way_t way;
} t;

/* --- who feeds them ----------------------------------------------------------------------------------------------- */

static void feed_one(kg_ctx_t *ctx, const kg_msg_t *m) {
  static const uint8_t bytes[ITEM];
  bool counts = strcmp(kg_msg_topic(m), "feed.stopped") == 0;
  for (int left = 1; left > 0 && !t.end;) {
    kg_pack_t p = kg_pack();
    kg_pack_bin(&p, bytes, sizeof bytes);
    kg_doc_t *doc = kg_pack_doc(&p);
    left = kg_stream_item(ctx, m, NULL, &doc, 1);
    kg_doc_unref(doc);
    if (counts && left >= 0) t.sent++;
  }
}

static void on_credit(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self, (void)arg;
  feed_one(ctx, m);
}

static const kg_stream_events_t events = {.on_credit = on_credit};

static void feed(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_stream_open(ctx, m, &events, NULL);
  feed_one(ctx, m);
}

static const char *const services[] = {"feed", NULL};
static const kg_handler_t handlers[] = {{"feed.*", feed}, {0}};
#define PLUGIN(...)                                                                                                    \
  { .magic = KG_PLUGIN_MAGIC, .abi = KG_PLUGIN_ABI, .size = sizeof(kg_plugin_t), .version = "1", __VA_ARGS__ }
static const kg_plugin_t feeder =
    PLUGIN(.name = "feeder", .role = "feeder", .services = services, .handlers = handlers);

/* --- who reads ---------------------------------------------------------------------------------------------------- */

static void item(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)arg;
  if (kg_msg_type(m) == KG_MSG_ITEM) t.read++;
}

static void read_feed(kg_ctx_t *ctx, void *self) {
  (void)self;
  kg_send(ctx, &(kg_request_t){.service = "feed", .topic = "feed.read", .stream = true, .fn = item});
}

static const kg_plugin_t reader = PLUGIN(.name = "reader", .role = "reader", .activate = read_feed);

static uint64_t stopping;

static void item_then_stop(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self, (void)m, (void)arg;
  if (++t.taken < STOP_AFTER && t.way == CREDIT) kg_credit(ctx, stopping, 1);
  if (t.taken == STOP_AFTER) t.stopped = true;
  while (t.taken >= STOP_AFTER && t.way == HANDLER && !t.end) usleep(1000);
}

static void read_and_stop(kg_ctx_t *ctx, void *self) {
  (void)self;
  stopping = kg_send(ctx, &(kg_request_t){.service = "feed",
                                          .topic = "feed.stopped",
                                          .stream = true,
                                          .manual_credit = t.way == CREDIT,
                                          .fn = item_then_stop});
}

static const kg_plugin_t stopper = PLUGIN(.name = "stopper", .role = "reader", .activate = read_and_stop);

/* --- runs --------------------------------------------------------------------------------------------------------- */

static void die(const char *what, const kg_error_t *err) {
  fprintf(stderr, "%s: %s\n", what, err->text);
  exit(1);
}

static void load(kg_kernel_t *k, const kg_plugin_spec_t *spec) {
  kg_error_t err = {0};
  if (kg_kernel_load(k, spec, &err) < 0) die(spec->name, &err);
}

static pid_t process_of(kg_kernel_t *k, const char *name) {
  kg_doc_t *list = kg_kernel_list(k);
  pid_t pid = 0;
  for (kg_iter_t it = kg_iter(kg_view_get(kg_view_of(list), "plugins")); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(kg_view_get(it.value, "name")), name))
      pid = (pid_t)kg_view_int(kg_view_get(it.value, "process"), 0);
  kg_doc_unref(list);
  return pid;
}

static void stop_one(kg_kernel_t *k, way_t way) {
  if (way == NOBODY) return;
  load(k, way == PROCESS
              ? &(kg_plugin_spec_t){.name = "stopper", .lane = "stopper", .file = "bench-reader.so", .process = true}
              : &(kg_plugin_spec_t){.name = "stopper", .lane = "stopper", .descriptor = &stopper});
  for (int i = 0; i < 10000 && !t.stopped && !(way == PROCESS && t.sent > STOP_AFTER); i++) usleep(1000);
  if (way == PROCESS) {
    t.taken = t.sent;
    kill(process_of(k, "stopper"), SIGSTOP);
  }
  usleep(20000); /* what was on its way has come */
}

typedef struct result {
  double rate, kib, waiting;
} result_t;

static result_t run(way_t way, int ms) {
  kg_error_t err = {0};
  memset(&t, 0, sizeof t);
  t.way = way;
  kg_kernel_t *k = kg_kernel_new(&(kg_kernel_options_t){.log_level = KG_LOG_ERROR,
                                                        .plugin_path = BENCH_PLUGINS,
                                                        .trial_command = KOGGE,
                                                        .drain_timeout_ms = 500,
                                                        .stuck_ms = 60000,
                                                        .budget_ms = 60000},
                                 &err);
  if (!k) die("kernel", &err);
  load(k, &(kg_plugin_spec_t){.name = "feeder", .lane = "feeder", .descriptor = &feeder});
  for (int i = 0; i < READERS; i++) {
    char name[32];
    snprintf(name, sizeof name, "reader%d", i);
    load(k, &(kg_plugin_spec_t){.name = name, .lane = "readers", .descriptor = &reader});
  }
  stop_one(k, way);
  long before_kib = resident_kib();
  int64_t read = t.read, since = now_ns();
  usleep((unsigned)ms * 1000);
  result_t r = {.rate = (double)(t.read - read) * 1e9 / (double)(now_ns() - since)};
  r.kib = (double)(resident_kib() - before_kib);
  r.waiting = (double)(t.sent - t.taken);
  t.end = true;
  if (way == PROCESS) kill(process_of(k, "stopper"), SIGCONT);
  kg_kernel_free(k);
  return r;
}

int main(int argc, char **argv) {
  if (argc < 2) return fprintf(stderr, "usage: bench-streams JSON [MS]\n"), 2;
  int ms = argc > 2 ? atoi(argv[2]) : 400;
  result_t best[WAYS] = {0};
  for (int i = 0; i < ROUNDS; i++) /* in turns, and the best of them: the machine is shared */
    for (way_t w = 0; w < WAYS; w++) {
      result_t r = run(w, ms);
      if (r.rate > best[w].rate) best[w].rate = r.rate;
      if (r.kib > best[w].kib) best[w].kib = r.kib;
      if (r.waiting > best[w].waiting) best[w].waiting = r.waiting;
    }
  json_open(argv[1]);
  printf("%d readers, items of %d bytes     items/s    of those when nobody stops   memory grew by   items that wait\n",
         READERS, ITEM);
  for (way_t w = 0; w < WAYS; w++) {
    const struct {
      const char *key;
      double value;
    } results[] = {{"items_per_s", best[w].rate},
                   {"of_nobody", best[w].rate / best[NOBODY].rate},
                   {"memory_kib", best[w].kib},
                   {"waiting", best[w].waiting}};
    printf("%-30s %12.0f %24.0f %% %16.0f KiB %12.0f\n", says[w], best[w].rate, 100 * results[1].value, best[w].kib,
           best[w].waiting);
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
      char key[64];
      snprintf(key, sizeof key, "%s_%s", names[w], results[i].key);
      json_number(key, results[i].value);
    }
  }
  json_close();
  return 0;
}
