#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"

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

/* "-ojson", as kubectl takes it. */
static bool short_output(cli_t *cli, const char *word) {
  if (strncmp(word, "-o", 2) != 0 || !word[2] || word[2] == '=') return false;
  cli->output = word + 2;
  return true;
}

static bool global(cli_t *cli, char **argv, int argc, int *i) {
  return cli_option("--data-dir", argv, argc, i, &cli->data_dir) ||
         cli_option("--run-dir", argv, argc, i, &cli->run_dir) || cli_option("--output", argv, argc, i, &cli->output) ||
         cli_option("-o", argv, argc, i, &cli->output) || short_output(cli, argv[*i]);
}

int cli_globals(cli_t *cli, int argc, char **argv) {
  int kept = 0;
  for (int i = 0; i < argc; i++)
    if (!global(cli, argv, argc, &i)) argv[kept++] = argv[i];
  return kept;
}

/* --- commands of this file ---------------------------------------------------------------------------------------- */

int cli_version(cli_t *cli, int argc, char **argv) {
  (void)argc, (void)argv;
  if (strcmp(cli->output, "json") == 0)
    printf("{\"version\":\"%s\",\"pluginInterface\":%u}\n", KOGGE_VERSION, KG_PLUGIN_ABI);
  else
    printf("kogge %s, plugin interface %u\n", KOGGE_VERSION, KG_PLUGIN_ABI);
  return 0;
}

int cli_help(cli_t *cli, int argc, char **argv) {
  int used;
  const command_t *c = argc ? command_find(argc, argv, &used) : NULL;
  bool group = argc && command_is_group(argv[0]);
  if (c)
    command_help(stdout, c);
  else if (argc > group)
    return group ? command_unknown(argv, true) : cli_word(cli, 2, (char *[]){argv[0], "--help", NULL});
  else
    commands_help(stdout, group ? argv[0] : NULL);
  return 0;
}

int cli_server_words(cli_t *cli, int argc, char **argv) {
  for (int i = 0; i < argc; i++) {
    if (cli_option("--config", argv, argc, &i, &cli->config)) continue;
    if (strcmp(argv[i], "--config") == 0) return fprintf(stderr, "kogge: --config needs a value: FILE\n"), 2;
    if (strcmp(argv[i], "--no-supervise") == 0)
      cli->supervise = false;
    else if (strcmp(argv[i], "--supervise") == 0)
      cli->supervise = true;
    else if (strcmp(argv[i], "--foreground") != 0)
      cli->rest[cli->nrest++] = argv[i];
  }
  return cli_server(cli);
}

/* --- dispatch ----------------------------------------------------------------------------------------------------- */

static bool wants_help(int argc, char **argv) {
  for (int i = 0; i < argc; i++)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
  return false;
}

static int run(cli_t *cli, int argc, char **argv) {
  int used = 0;
  if (!argc || argv[0][0] == '-') {
    const char *word = argc ? argv[0] : "";
    if (strcmp(word, "--version") == 0) return cli_version(cli, 0, NULL);
    if (wants_help(argc, argv)) return cli_help(cli, 0, NULL);
    if (argc && flag_find(NULL, word))
      fprintf(stderr, "kogge: %s needs a value: %s\n", word, flag_find(NULL, word)->value);
    else if (argc)
      fprintf(stderr, "kogge: there is no flag %s, see kogge help\n", word);
    else
      commands_help(stderr, NULL);
    return 2;
  }
  const command_t *c = command_find(argc, argv, &used);
  if (!c && command_is_group(argv[0])) {
    if (argc > 1 && argv[1][0] != '-') return command_unknown(argv, true);
    commands_help(wants_help(argc, argv) ? stdout : stderr, argv[0]);
    return wants_help(argc, argv) ? 0 : 2;
  }
  if (!c) return cli_word(cli, argc, argv);
  if (wants_help(argc - used, argv + used) && c->run != cli_server_words) return cli_help(cli, used, argv);
  if (command_check(c, argc - used, argv + used) < 0) return 2;
  return c->run(cli, argc - used, argv + used);
}

int main(int argc, char **argv) {
  cli_t cli = {.data_dir = "/var/lib/kogge", .run_dir = "/run/kogge", .output = "table", .supervise = true};
  ssize_t n = readlink("/proc/self/exe", cli.self, sizeof cli.self - 1);
  if (n < 0) snprintf(cli.self, sizeof cli.self, "%s", argv[0]);
  cli.rest = calloc((size_t)argc + 1, sizeof *cli.rest);
  if (!cli.rest) return 1;
  int i = 1, code = 2;
  while (i < argc && global(&cli, argv, argc, &i)) i++;
  /* What is completed is no command yet: its words stay as they are. */
  bool completes = i < argc && strcmp(argv[i], "__complete") == 0;
  int words = completes ? 0 : cli_globals(&cli, argc - i, argv + i);
  if (completes)
    code = cli_complete(&cli, argc - i - 1, argv + i + 1);
  else if (strcmp(cli.output, "json") != 0 && strcmp(cli.output, "table") != 0)
    fprintf(stderr, "kogge: output is json or table, not %s\n", cli.output);
  else
    code = run(&cli, words, argv + i);
  free(cli.rest);
  return code;
}
