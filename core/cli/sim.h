#ifndef KG_CLI_SIM_H
#define KG_CLI_SIM_H
/* kogge sim: scenarios under virtual time. A scenario is data (docs in tests/sim/README.md); one run is one seed. */
#include <stdio.h>

#include "cli.h"
#include "kogge/sim.h"

/* Plugins are opened once and used by all runs: they have no writable statics. */
typedef struct sim_lib {
  struct sim_lib *next;
  char *file;
  void *handle;
  const kg_plugin_t *desc;
} sim_lib_t;

typedef struct sim_scenario {
  kg_doc_t *doc;
  kg_view_t root;
  char *dir;         /* of the scenario's file */
  char *plugin_path; /* directories, separated by ':' */
  sim_lib_t *libs;
} sim_scenario_t;

typedef struct sim_result {
  bool failed;
  char why[700];
  int64_t virtual_us;
  uint64_t messages, checks;
  uint64_t hash; /* of the trace, if it was asked for */
} sim_result_t;

/* sim_scenario.c */
int sim_scenario_read(const cli_t *cli, const char *file, const char *plugin_path, sim_scenario_t *sc, kg_error_t *err);
void sim_scenario_free(sim_scenario_t *sc);
const kg_plugin_t *sim_plugin(sim_scenario_t *sc, kg_str_t file, kg_error_t *err);
/* "1.5s", "20ms", "2m" or a number of milliseconds; of a list of two, something between. -1: none of these. */
int64_t sim_time_us(kg_kernel_t *k, kg_view_t v);
/* The value with {i} in its strings replaced; a string that is only "{i}" becomes the number. Caller owns the
 * reference. */
kg_doc_t *sim_fill_in(kg_view_t v, int64_t i);

/* sim_run.c. `trace` may be NULL; `hash`: fill in result.hash. */
void sim_run(sim_scenario_t *sc, uint64_t seed, FILE *trace, bool hash, sim_result_t *out);

/* sim_want.c: 0 if the answer is what `want` says (a map), else -1 and a sentence. want absent: any but an error. */
int sim_want(kg_view_t want, const kg_msg_t *m, kg_error_t *err);

#endif
