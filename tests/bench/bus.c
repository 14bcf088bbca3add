/*
 * What the bus costs beside ZeroMQ alone, in the same run: round trips with a document, by transport and size.
 *   bench-bus JSON [MS [TRANSPORT [SIZE]]]     MS: milliseconds for each number
 */
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kogge/host.h"
#include "measure.h"
#include "raw.h"

enum { WINDOW = 256, ROUNDS = 5 };

static const char *const names[TRANSPORTS] = {"same_lane", "across_lanes", "ipc", "tcp", "tcp_curve"};
static const size_t sizes[] = {64, 256, 4096, 65536};

static struct {
  kg_doc_t *doc;
  int window, ms;
  int64_t since, end, count;
  double rate;
  atomic_int done;
  int left;
} t;

/* --- the side that asks
 * --------------------------------------------------------------------------------------------------------- */

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg);

static void ask(kg_ctx_t *ctx) {
  kg_send(ctx,
          &(kg_request_t){
              .service = "echo", .topic = "echo.say", .docs = &t.doc, .ndocs = 1, .timeout_ms = -1, .fn = answered});
}

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self, (void)arg;
  if (kg_msg_type(m) != KG_MSG_REPLY || kg_doc_size(kg_msg_doc(m, 0)) != kg_doc_size(t.doc)) {
    fprintf(stderr, "the bus failed: %s\n", kg_msg_text(m));
    exit(1);
  }
  t.count++;
  if (t.end && (t.count & 15) == 0 && now_ns() >= t.end) {
    t.rate = (double)t.count * 1e9 / (double)(now_ns() - t.since);
    t.end = 0;
  }
  if (t.end)
    ask(ctx);
  else if (--t.left == 0)
    t.done = 1;
}

static void begin(kg_ctx_t *ctx, void *self) {
  (void)self;
  t.count = 0;
  t.since = now_ns();
  t.end = t.since + (int64_t)t.ms * 1000000;
  t.left = t.window;
  for (int i = 0; i < t.window; i++) ask(ctx);
}

static const kg_plugin_t asker = {.magic = KG_PLUGIN_MAGIC,
                                  .abi = KG_PLUGIN_ABI,
                                  .size = sizeof(kg_plugin_t),
                                  .name = "asker",
                                  .role = "asker",
                                  .version = "1",
                                  .activate = begin};

static void die(const char *what, const kg_error_t *err) {
  fprintf(stderr, "%s: %s\n", what, err->text);
  exit(1);
}

static double bus_rate(kg_kernel_t *k, kg_doc_t *doc, int window, int ms) {
  kg_error_t err = {0};
  t.doc = doc;
  t.window = window;
  t.ms = ms;
  t.done = 0;
  if (kg_kernel_load(k, &(kg_plugin_spec_t){.name = "asker", .descriptor = &asker}, &err) < 0) die("asker", &err);
  while (!t.done) usleep(1000);
  kg_kernel_unload(k, "asker", &err);
  return t.rate;
}

/* --- the side that answers
 * ------------------------------------------------------------------------------------------------------ */

static pid_t start_host(const char *address, const char *dir, bool curve) {
  char key[PATH_MAX] = "";
  kg_error_t err = {0};
  if (curve && kg_bus_key(dir, "bench", key, sizeof key, &err) < 0) die("key", &err);
  pid_t pid = fork();
  if (pid) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  execl(KOGGE, "kogge", "plugin-host", "--connect", address, "--name", "echo", "--file", BENCH_PLUGINS "/bench-echo.so",
        "--run", dir, curve ? "--key" : (char *)NULL, key, (char *)NULL);
  _exit(127);
}

static void load_echo(kg_kernel_t *k, transport_t transport, const char *address) {
  kg_error_t err = {0};
  kg_plugin_spec_t spec = {.name = "echo",
                           .file = "bench-echo.so",
                           .lane = transport == ACROSS_LANES ? "other" : "main",
                           .process = transport == IPC,
                           .remote = transport > IPC ? address : NULL};
  if (kg_kernel_load(k, &spec, &err) < 0) die("echo", &err);
}

static void remove_dir(const char *dir) {
  char command[100];
  snprintf(command, sizeof command, "rm -rf '%s'", dir);
  if (system(command) != 0) fprintf(stderr, "%s could not be removed\n", dir);
}

/* --- rows
 * -----------------------------------------------------------------------------------------------------------------------
 */

static kg_doc_t *make_doc(size_t size) {
  uint8_t *bytes = calloc(1, size);
  kg_pack_t p = kg_pack();
  kg_pack_bin(&p, bytes, size - 3); /* with its head about the size that was asked for */
  free(bytes);
  return kg_pack_doc(&p);
}

typedef struct rates {
  double bare, raw, bus;
} rates_t;

static void number(const char *transport, size_t size, const char *what, const char *which, double value) {
  char key[100];
  snprintf(key, sizeof key, "%s_%zu_%s%s", transport, size, what, which);
  json_number(key, value);
}

static void row(const char *transport, size_t size, const char *what, const rates_t *r, bool latency) {
  rates_t v = latency ? (rates_t){1e6 / r->bare, 1e6 / r->raw, 1e6 / r->bus} : *r;
  printf("%-13s %6zu B  %-11s %11.2f %11.2f %11.2f %-8s x%.2f  x%.2f\n", transport, size, what, v.bare, v.raw, v.bus,
         latency ? "us" : "trips/s", r->raw / r->bus, r->bare / r->bus);
  fflush(stdout);
  number(transport, size, what, "_bare", v.bare);
  number(transport, size, what, "_raw", v.raw);
  number(transport, size, what, "", v.bus);
  number(transport, size, what, "_ratio", r->raw / r->bus);
  number(transport, size, what, "_bare_ratio", r->bare / r->bus);
}

static void keep_best(double *best, double rate) {
  if (rate > *best) *best = rate;
}

/* Several short runs each, in turns, and the best of them: the machine is shared. */
static void compare(kg_kernel_t *k, transport_t transport, size_t size, int window, int ms, const char *dir) {
  rates_t best = {0};
  kg_doc_t *doc = make_doc(size);
  for (int i = 0; i < ROUNDS; i++) {
    keep_best(&best.bare, raw_rate(transport, false, size, window, ms, dir));
    keep_best(&best.raw, raw_rate(transport, true, size, window, ms, dir));
    keep_best(&best.bus, bus_rate(k, doc, window, ms));
  }
  row(names[transport], size, window == 1 ? "latency" : "throughput", &best, window == 1);
  if (kg_doc_refs(doc) != 1) fprintf(stderr, "somebody still holds the document\n");
  kg_doc_unref(doc);
}

static void run(transport_t transport, int ms, size_t only) {
  char dir[] = "/tmp/kogge-bench-XXXXXX", address[64];
  kg_error_t err = {0};
  pid_t host = 0;
  if (!mkdtemp(dir)) exit(1);
  snprintf(address, sizeof address, "tcp%s://127.0.0.1:%d", transport == TCP ? "+plain" : "", 40000 + getpid() % 20000);
  kg_kernel_t *k = kg_kernel_new(&(kg_kernel_options_t){.log_level = KG_LOG_WARN,
                                                        .data_dir = dir,
                                                        .run_dir = dir,
                                                        .plugin_path = BENCH_PLUGINS,
                                                        .trial_command = KOGGE,
                                                        .budget_ms = 10000,
                                                        .stuck_ms = 10000},
                                 &err);
  if (!k) die("kernel", &err);
  if (transport > IPC) host = start_host(address, dir, transport == CURVE);
  load_echo(k, transport, address);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    if (only && only != sizes[i]) continue;
    compare(k, transport, sizes[i], 1, ms, dir);
    compare(k, transport, sizes[i], WINDOW, ms, dir);
  }
  kg_kernel_free(k);
  if (host > 0) waitpid(host, NULL, 0);
  remove_dir(dir);
}

int main(int argc, char **argv) {
  if (argc < 2) return fprintf(stderr, "usage: bench-bus JSON [MS [TRANSPORT [SIZE]]]\n"), 2;
  json_open(argv[1]);
  printf("%-23s %-11s %11s %11s %11s %-8s %s\n", "round trips", "", "bare", "enveloped", "bus", "",
         "bus costs so much more than");
  printf("%-35s %11s %11s %11s %-8s %s\n", "", "ZeroMQ", "ZeroMQ", "", "", "enveloped, bare ZeroMQ");
  for (transport_t i = 0; i < TRANSPORTS; i++)
    if (argc < 4 || strcmp(argv[3], names[i]) == 0)
      run(i, argc > 2 ? atoi(argv[2]) : 60, argc > 4 ? (size_t)atoi(argv[4]) : 0);
  json_close();
  return 0;
}
