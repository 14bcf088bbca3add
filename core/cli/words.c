/* What was typed, held against the table of commands. */
#include <stdio.h>
#include <string.h>

#include "commands.h"

/* --- finding ------------------------------------------------------------------------------------------------------ */

/* How many words of argv are all the words of `words`; 0: they are not. */
static int matches(const char *words, int argc, char **argv) {
  int n = 0;
  for (const char *p = words; *p; n++) {
    size_t size = strcspn(p, " ");
    if (n == argc || strlen(argv[n]) != size || memcmp(argv[n], p, size) != 0) return 0;
    p += size + (p[size] == ' ');
  }
  return n;
}

const command_t *command_find(int argc, char **argv, int *used) {
  for (const command_t *c = cli_commands; c->words; c++)
    if ((*used = matches(c->words, argc, argv)) > 0) return c;
  return NULL;
}

static bool in_group(const command_t *c, const char *group) {
  size_t n = strlen(group);
  return strncmp(c->words, group, n) == 0 && c->words[n] == ' ';
}

bool command_is_group(const char *word) {
  for (const command_t *c = cli_commands; c->words; c++)
    if (in_group(c, word)) return true;
  return false;
}

const flag_t *flag_find(const command_t *c, const char *word) {
  const flag_t *lists[] = {c ? c->flags : cli_global_flags, cli_global_flags};
  size_t n = strcspn(word, "=");
  for (int i = 0; i < 2; i++)
    for (const flag_t *f = lists[i]; f->name; f++)
      if (strlen(f->name) == n && memcmp(f->name, word, n) == 0) return f;
  return NULL;
}

/* --- guessing ----------------------------------------------------------------------------------------------------- */

static size_t least(size_t a, size_t b) {
  return a < b ? a : b;
}

static size_t distance(const char *a, const char *b) {
  size_t n = strlen(b), row[64];
  if (n >= 63 || strlen(a) >= 63) return SIZE_MAX;
  for (size_t j = 0; j <= n; j++) row[j] = j;
  for (size_t i = 1; a[i - 1]; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= n; j++) {
      size_t change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = least(change, least(row[j], row[j - 1]) + 1);
    }
  }
  return row[n];
}

void guess_offer(guess_t *g, const char *word) {
  size_t d = distance(g->typed, word), most = strlen(g->typed) < 4 ? 1 : 2;
  if (d > most || (*g->best && d >= g->distance)) return;
  g->distance = d;
  snprintf(g->best, sizeof g->best, "%s", word);
}

static void guess_flags(guess_t *g, const flag_t *flags) {
  for (; flags->name; flags++) guess_offer(g, flags->name);
}

static void guess_command(guess_t *g, const char *group) {
  for (const command_t *c = cli_commands; c->words; c++) {
    char first[64];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(c->words, " "), c->words);
    if (!group)
      guess_offer(g, first);
    else if (in_group(c, group))
      guess_offer(g, c->words + strlen(group) + 1);
  }
}

int command_unknown(char **argv, bool sure) {
  const char *group = command_is_group(argv[0]) ? argv[0] : NULL, *space = group ? " " : "";
  guess_t g = {.typed = argv[group != NULL]};
  guess_command(&g, group);
  if (!sure && !*g.best) return 2;
  fprintf(stderr, "kogge: there is no command %s%s%s%s", group ? group : "", space, g.typed, *g.best ? ": is " : ".");
  if (*g.best) fprintf(stderr, "%s%s%s meant?", group ? group : "", space, g.best);
  fprintf(stderr, " See kogge help%s%s\n", space, group ? group : "");
  return 2;
}

/* --- checking ----------------------------------------------------------------------------------------------------- */

static int unknown_flag(const command_t *c, const char *word) {
  char name[64];
  snprintf(name, sizeof name, "%.*s", (int)least(strcspn(word, "="), 63), word);
  guess_t g = {.typed = name};
  guess_flags(&g, c->flags);
  guess_flags(&g, cli_global_flags);
  fprintf(stderr, "kogge: %s knows no flag %s%s%s%s See kogge help %s\n", c->words, name, *g.best ? ": is " : ".",
          g.best, *g.best ? " meant?" : "", c->words);
  return -1;
}

int command_check(const command_t *c, int argc, char **argv) {
  int args = 0;
  for (int i = 0; i < argc; i++) {
    if (argv[i][0] != '-' || !argv[i][1]) {
      args++;
      continue;
    }
    if (c->open) continue;
    const flag_t *f = flag_find(c, argv[i]);
    const char *equals = strchr(argv[i], '=');
    if (!f) return unknown_flag(c, argv[i]);
    if (!f->value && equals) return fprintf(stderr, "kogge: %s takes no value\n", f->name), -1;
    if (f->value && !equals && ++i == argc)
      return fprintf(stderr, "kogge: %s needs a value: %s\n", f->name, f->value), -1;
  }
  if (args >= c->least && (c->most < 0 || args <= c->most)) return 0;
  fprintf(stderr, "kogge: %s takes %s, not %d argument%s\nusage: kogge %s%s%s%s\n", c->words,
          c->args ? c->args : "no arguments", args, args == 1 ? "" : "s", c->words, c->args ? " " : "",
          c->args ? c->args : "", c->flags->name ? " [FLAGS]" : "");
  return -1;
}

/* --- help --------------------------------------------------------------------------------------------------------- */

static void help_line(FILE *f, const command_t *c) {
  char line[64];
  snprintf(line, sizeof line, "%s%s%s", c->words, c->args ? " " : "", c->args ? c->args : "");
  fprintf(f, "  %-30s  %s\n", line, c->summary);
}

static void help_flags(FILE *f, const flag_t *flags) {
  for (; flags->name; flags++) {
    char line[64];
    snprintf(line, sizeof line, "%s%s%s", flags->name, flags->value ? " " : "", flags->value ? flags->value : "");
    fprintf(f, "  %-24s  %s\n", line, flags->summary);
  }
}

void command_help(FILE *f, const command_t *c) {
  fprintf(f, "usage: kogge %s%s%s%s\n\n%c%s.\n", c->words, c->args ? " " : "", c->args ? c->args : "",
          c->flags->name && !c->open ? " [FLAGS]" : "", c->summary[0] - ('a' <= c->summary[0] ? 32 : 0),
          c->summary + 1);
  if (c->more) fprintf(f, "%s\n", c->more);
  fputs(c->flags->name ? "\nFlags:\n" : "", f);
  help_flags(f, c->flags);
  fputs("\nFor all commands:\n", f);
  help_flags(f, cli_global_flags);
}

void commands_help(FILE *f, const char *group) {
  fprintf(f, "usage: kogge %s%sCOMMAND [FLAGS]\n\n", group ? group : "", group ? " " : "");
  for (const command_t *c = cli_commands; c->words; c++)
    if (!group || in_group(c, group)) help_line(f, c);
  fputs("\nFor all commands:\n", f);
  help_flags(f, cli_global_flags);
  if (!group)
    fputs("\nEvery other word is answered by the plugin that serves it (kogge help WORD), for example image, policy,\n"
          "kubeconfig. More of a command: kogge help COMMAND\n",
          f);
}
