/* kogge plugin-host: a process for one plugin: its trial, or its home. */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int usage(void) {
  fputs("kogge: it needs --connect tcp://HOST:PORT, --key FILE (from kogge plugin key, at the kernel), --file "
        "PLUGIN.so and "
        "--name NAME\n",
        stderr);
  return 2;
}

static int trial(const char *file, const char *name, const char *dir) {
  static uint8_t buf[1 << 20];
  size_t size = 0;
  if (!isatty(0))
    for (ssize_t n; size < sizeof buf && (n = read(0, buf + size, sizeof buf - size)) > 0;) size += (size_t)n;
  kg_doc_t *config = size && kg_doc_check(buf, size, NULL) == 0 ? kg_doc_copy(buf, size) : NULL;
  int code = kg_trial_run(file, name ? name : "trial", config, dir, 3);
  kg_doc_unref(config);
  return code;
}

typedef struct words {
  const char *trial, *connect, *key, *file, *name, *data, *run, *budget, *log, *json, *shadow;
} words_t;

static bool read_words(int argc, char **argv, words_t *w) {
  const struct {
    const char *name;
    const char **value;
  } known[] = {{"--trial", &w->trial}, {"--connect", &w->connect}, {"--key", &w->key},      {"--file", &w->file},
               {"--name", &w->name},   {"--data", &w->data},       {"--run", &w->run},      {"--budget", &w->budget},
               {"--log", &w->log},     {"--log-json", &w->json},   {"--shadow", &w->shadow}};
  for (int i = 0; i < argc; i += 2) {
    size_t k = 0;
    while (k < sizeof known / sizeof *known && strcmp(argv[i], known[k].name) != 0) k++;
    if (k == sizeof known / sizeof *known || i + 1 == argc) return false;
    *known[k].value = argv[i + 1];
  }
  return true;
}

static int host(const words_t *w) {
  kg_error_t err = {0};
  char *file = realpath(w->file, NULL);
  int rc = kg_guest_run(&(kg_guest_options_t){.address = w->connect,
                                              .key_file = w->key,
                                              .file = file ? file : w->file,
                                              .name = w->name,
                                              .data_dir = w->data,
                                              .run_dir = w->run,
                                              .log_level = w->log ? (kg_level_t)atoi(w->log) : KG_LOG_INFO,
                                              .log_json = w->json && strcmp(w->json, "1") == 0,
                                              .shadow = w->shadow && strcmp(w->shadow, "1") == 0,
                                              .budget_ms = w->budget ? atoll(w->budget) : 0},
                        &err);
  free(file);
  /* The kernel that started it tells the sentence itself. */
  if (rc < 0 && strncmp(w->connect, "ipc://", 6) != 0) fprintf(stderr, "kogge: %s\n", err.text);
  return rc < 0 ? 1 : 0;
}

int cli_plugin_host(cli_t *cli, int argc, char **argv) {
  (void)cli;
  words_t w = {0};
  if (!read_words(argc, argv, &w)) return usage();
  if (w.trial) return trial(w.trial, w.name, w.run);
  return w.connect && w.file && w.name ? host(&w) : usage();
}

/* The small parent of a host on another machine. */
int cli_agent(cli_t *cli, int argc, char **argv) {
  words_t w = {0};
  if (!read_words(argc, argv, &w) || !w.connect || !w.file || !w.name) return usage();
  return cli_keep(cli, argc, argv);
}
