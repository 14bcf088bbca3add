/* kogge sim FILE [--seed N | --seeds A-B] [--trace OUT] [--replay] [--plugin-path DIRS] */
#include "sim.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SHOWN 10 /* failing seeds that are told one by one */

typedef struct sim_args {
  const char *file, *trace, *plugin_path;
  uint64_t first, last;
  bool replay;
} sim_args_t;

typedef struct sum {
  uint64_t seeds, failed, messages, checks;
  int64_t virtual_us;
  uint64_t hash; /* of the last seed */
} sum_t;

static int usage(void) {
  fprintf(stderr, "usage: kogge sim FILE [--seed N | --seeds A-B] [--trace OUT] [--replay] [--plugin-path DIRS]\n"
                  "  runs the scenario under virtual time, once for each seed\n"
                  "  --trace OUT   writes everything that happened (one seed)\n"
                  "  --replay      runs every seed twice and compares the traces\n");
  return 2;
}

static int parse(sim_args_t *a, int argc, char **argv) {
  *a = (sim_args_t){.first = 1, .last = 1};
  for (int i = 0; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : NULL;
    char *end = NULL;
    if (strcmp(argv[i], "--replay") == 0) {
      a->replay = true;
    } else if (argv[i][0] != '-' && !a->file) {
      a->file = argv[i];
    } else if (!value) {
      return -1;
    } else if (strcmp(argv[i], "--seed") == 0) {
      a->first = a->last = strtoull(argv[++i], &end, 10);
      if (*end) return -1;
    } else if (strcmp(argv[i], "--seeds") == 0) {
      a->first = strtoull(argv[++i], &end, 10);
      if (*end != '-') return -1;
      a->last = strtoull(end + 1, &end, 10);
      if (*end || a->last < a->first) return -1;
    } else if (strcmp(argv[i], "--trace") == 0) {
      a->trace = argv[++i];
    } else if (strcmp(argv[i], "--plugin-path") == 0) {
      a->plugin_path = argv[++i];
    } else {
      return -1;
    }
  }
  return a->file && (!a->trace || a->first == a->last) ? 0 : -1;
}

static void one_seed(sim_scenario_t *sc, const sim_args_t *a, uint64_t seed, FILE *trace, sum_t *sum) {
  sim_result_t result, again;
  sim_run(sc, seed, trace, trace || a->replay, &result);
  if (a->replay && !result.failed) {
    sim_run(sc, seed, NULL, true, &again);
    if (again.hash != result.hash) {
      result.failed = true;
      snprintf(result.why, sizeof result.why, "a second run with the same seed took another course");
    }
  }
  sum->seeds++;
  sum->messages += result.messages;
  sum->checks += result.checks;
  sum->virtual_us += result.virtual_us;
  sum->hash = result.hash;
  if (!result.failed) return;
  if (++sum->failed <= SHOWN) fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, result.why);
}

static void tell(const cli_t *cli, const sim_args_t *a, const sum_t *s, double took) {
  if (strcmp(cli->output, "json") == 0) {
    printf("{\"seeds\":%llu,\"failed\":%llu,\"messages\":%llu,\"checks\":%llu,\"virtual_s\":%.3f,\"took_s\":%.3f",
           (unsigned long long)s->seeds, (unsigned long long)s->failed, (unsigned long long)s->messages,
           (unsigned long long)s->checks, (double)s->virtual_us / 1e6, took);
    if (a->trace || a->replay) printf(",\"trace_hash\":\"%016llx\"", (unsigned long long)s->hash);
    printf("}\n");
    return;
  }
  printf("%llu of %llu seeds passed: %llu messages, %llu checks, %.1f s of virtual time in %.2f s%s\n",
         (unsigned long long)(s->seeds - s->failed), (unsigned long long)s->seeds, (unsigned long long)s->messages,
         (unsigned long long)s->checks, (double)s->virtual_us / 1e6, took,
         a->replay ? ", each twice with the same trace" : "");
  if (a->trace) printf("trace %016llx written to %s\n", (unsigned long long)s->hash, a->trace);
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int cli_sim(cli_t *cli, int argc, char **argv) {
  sim_args_t a;
  sim_scenario_t sc;
  kg_error_t err = {0};
  sum_t sum = {0};
  if (parse(&a, argc, argv) < 0) return usage();
  if (sim_scenario_read(cli, a.file, a.plugin_path, &sc, &err) < 0) {
    fprintf(stderr, "kogge: %s\n", err.text);
    return 2;
  }
  FILE *trace = a.trace ? fopen(a.trace, "w") : NULL;
  if (a.trace && !trace) {
    fprintf(stderr, "kogge: trace file %s cannot be written\n", a.trace);
    sim_scenario_free(&sc);
    return 2;
  }
  double since = seconds();
  for (uint64_t seed = a.first; seed <= a.last; seed++) one_seed(&sc, &a, seed, trace, &sum);
  if (trace) fclose(trace);
  tell(cli, &a, &sum, seconds() - since);
  if (sum.failed) fprintf(stderr, "see what happens: kogge sim %s --seed N --trace FILE\n", a.file);
  sim_scenario_free(&sc);
  return sum.failed ? 1 : 0;
}
