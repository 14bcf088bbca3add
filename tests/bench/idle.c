/*
 * A kernel with 20 plugins that nobody asks anything: what it costs. Prints threads, wake-ups, processor time and
 * memory. bench-idle JSON [SECONDS] Ends with 1 if any thread woke up.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kogge/host.h"
#include "measure.h"

enum { PLUGINS = 20, OWN_PROCESS = 2, LANES = 4 };

static void die(const char *what, const kg_error_t *err) {
  fprintf(stderr, "%s: %s\n", what, err->text);
  exit(1);
}

static kg_kernel_t *start(void) {
  kg_error_t err = {0};
  kg_kernel_t *k = kg_kernel_new(
      &(kg_kernel_options_t){.log_level = KG_LOG_WARN, .plugin_path = BENCH_PLUGINS, .trial_command = KOGGE}, &err);
  if (!k) die("kernel", &err);
  for (int i = 0; i < PLUGINS; i++) {
    char name[32], lane[32], service[32];
    snprintf(name, sizeof name, "echo%d", i);
    snprintf(lane, sizeof lane, "lane%d", i % LANES);
    snprintf(service, sizeof service, "echo%d", i);
    /* The last ones live in processes of their own. */
    kg_plugin_spec_t spec = {.name = name,
                             .file = "bench-echo.so",
                             .lane = lane,
                             .process = i >= PLUGINS - OWN_PROCESS,
                             .services = (const char *const[]){service, NULL}};
    if (kg_kernel_load(k, &spec, &err) < 0) die(name, &err);
  }
  return k;
}

/* --- what threads did --------------------------------------------------------------------------------------------- */

typedef struct usage {
  long threads, wakeups, ticks, kib;
} usage_t;

static long number_in(const char *path, const char *key) {
  char line[256];
  long n = 0;
  FILE *f = fopen(path, "re");
  while (f && fgets(line, sizeof line, f))
    if (strncmp(line, key, strlen(key)) == 0) n = strtol(line + strlen(key), NULL, 10);
  if (f) fclose(f);
  return n;
}

static long ticks_in(const char *path) {
  long user = 0, system = 0;
  FILE *f = fopen(path, "re");
  if (f && fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system) != 2) user = 0;
  if (f) fclose(f);
  return user + system;
}

/* Of all threads of a process, but not of the one that measures. */
static void add_process(usage_t *u, int pid) {
  char path[300];
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *d = opendir(path);
  for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
    int tid = atoi(e->d_name);
    if (!tid || tid == getpid()) continue;
    snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, tid);
    u->threads++;
    u->wakeups += number_in(path, "voluntary_ctxt_switches:") + number_in(path, "nonvoluntary_ctxt_switches:");
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid);
    u->ticks += ticks_in(path);
  }
  if (d) closedir(d);
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  u->kib += number_in(path, "VmRSS:");
}

/* The kernel's process and those of its plugins. */
static usage_t usage(kg_kernel_t *k) {
  usage_t u = {0};
  kg_doc_t *list = kg_kernel_list(k);
  add_process(&u, getpid());
  for (kg_iter_t it = kg_iter(kg_view_get(kg_view_of(list), "plugins")); kg_iter_next(&it);) {
    int pid = (int)kg_view_int(kg_view_get(it.value, "process"), 0);
    if (pid) add_process(&u, pid);
  }
  kg_doc_unref(list);
  return u;
}

int main(int argc, char **argv) {
  if (argc < 2) return fprintf(stderr, "usage: bench-idle JSON [SECONDS]\n"), 2;
  unsigned seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 10;
  kg_kernel_t *k = start();
  sleep(2); /* the watchdog looks a few times more before it sleeps */
  usage_t before = usage(k);
  sleep(seconds);
  usage_t after = usage(k);
  usage_t own = {0};
  add_process(&own, getpid());
  const struct {
    const char *key;
    long value;
  } results[] = {{"plugins", PLUGINS},
                 {"processes", 1 + OWN_PROCESS},
                 {"seconds", seconds},
                 {"threads", after.threads},
                 {"wakeups", after.wakeups - before.wakeups},
                 {"cpu_ticks", after.ticks - before.ticks},
                 {"resident_kib", after.kib},
                 {"kernel_resident_kib", own.kib}};
  json_open(argv[1]);
  for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
    printf("%-20s %8ld\n", results[i].key, results[i].value);
    json_number(results[i].key, (double)results[i].value);
  }
  json_close();
  kg_kernel_free(k);
  return after.wakeups != before.wakeups;
}
