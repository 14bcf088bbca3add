#include "cli.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERSION "0.1.0"

static int usage(FILE *f) {
  fputs("usage: kogge [--data-dir D] [--run-dir R] [--output json|table] COMMAND ...\n"
        "  server [--config F] [--no-supervise] [FLAGS]    runs the kernel and its plugins (--help: the "
        "configuration's flags)\n"
        "  plugin list                                     what runs\n"
        "  plugin swap NAME FILE                           FILE in the place of NAME, while it runs\n"
        "  plugin load NAME FILE [LANE] | unload NAME | reload NAME\n"
        "  plugin stats NAME | config NAME | ping NAME\n"
        "  plugin trace [GLOB...] [--of NAME] [--record FILE] [--quiet] [--duration S] [--count N]\n"
        "                                                  live messages, for example 'store.*'; FILE gets them whole\n"
        "  request SERVICE TOPIC [JSON]                    one request to a service\n"
        "  sim FILE [--seed N | --seeds A-B] [--trace OUT]  a scenario of plugins under virtual time, with faults\n"
        "  version | help\n"
        "Every other word is answered by the plugin that serves it.\n",
        f);
  return f == stderr ? 2 : 0;
}

bool cli_option(const char *name, char **argv, int argc, int *i, const char **value) {
  size_t n = strlen(name);
  if (strncmp(argv[*i], name, n) != 0) return false;
  if (argv[*i][n] == '=') {
    *value = argv[*i] + n + 1;
    return true;
  }
  if (argv[*i][n] || *i + 1 >= argc) return false;
  *value = argv[++*i];
  return true;
}

static bool global(cli_t *cli, char **argv, int argc, int *i) {
  return cli_option("--data-dir", argv, argc, i, &cli->data_dir) ||
         cli_option("--run-dir", argv, argc, i, &cli->run_dir) || cli_option("--output", argv, argc, i, &cli->output);
}

static int parse_server(cli_t *cli, int argc, char **argv) {
  for (int i = 0; i < argc; i++) {
    if (global(cli, argv, argc, &i) || cli_option("--config", argv, argc, &i, &cli->config)) continue;
    if (strcmp(argv[i], "--no-supervise") == 0)
      cli->supervise = false;
    else if (strcmp(argv[i], "--supervise") == 0)
      cli->supervise = true;
    else if (strcmp(argv[i], "--foreground") != 0)
      cli->rest[cli->nrest++] = argv[i];
  }
  return cli_server(cli);
}

/* Own commands take the global options anywhere. */
static int strip(cli_t *cli, int argc, char **argv) {
  int kept = 0;
  for (int i = 0; i < argc; i++)
    if (!global(cli, argv, argc, &i)) argv[kept++] = argv[i];
  return kept;
}

static int run(cli_t *cli, int argc, char **argv) {
  const char *word = argv[0];
  if (strcmp(word, "server") == 0) return parse_server(cli, argc - 1, argv + 1);
  if (strcmp(word, "plugin-host") == 0) return cli_plugin_host(argc - 1, argv + 1);
  if (strcmp(word, "agent") == 0) return cli_agent(cli, argc - 1, argv + 1);
  if (strcmp(word, "plugin") == 0) return cli_plugin(cli, strip(cli, argc - 1, argv + 1), argv + 1);
  if (strcmp(word, "sim") == 0) return cli_sim(cli, strip(cli, argc - 1, argv + 1), argv + 1);
  if (strcmp(word, "request") == 0) return cli_request(cli, strip(cli, argc - 1, argv + 1), argv + 1);
  if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return usage(stdout);
  if (strcmp(word, "version") == 0 || strcmp(word, "--version") == 0) {
    printf("kogge %s, plugin interface %u\n", VERSION, KG_PLUGIN_ABI);
    return 0;
  }
  if (word[0] == '-') return usage(stderr);
  return cli_word(cli, argc, argv);
}

int main(int argc, char **argv) {
  cli_t cli = {.data_dir = "/var/lib/kogge", .run_dir = "/run/kogge", .output = "table", .supervise = true};
  ssize_t n = readlink("/proc/self/exe", cli.self, sizeof cli.self - 1);
  if (n < 0) snprintf(cli.self, sizeof cli.self, "%s", argv[0]);
  cli.rest = calloc((size_t)argc + 1, sizeof *cli.rest);
  int i = 1;
  while (i < argc && global(&cli, argv, argc, &i)) i++;
  int code = i < argc && cli.rest ? run(&cli, argc - i, argv + i) : usage(stderr);
  free(cli.rest);
  return code;
}
