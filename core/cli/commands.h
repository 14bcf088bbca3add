#ifndef KG_CLI_COMMANDS_H
#define KG_CLI_COMMANDS_H
/* The commands as a table: from it come the checks of words, the help texts and the completion. */
#include <stdio.h>

#include "cli.h"

/* What an argument or a flag's value is, for completion. */
typedef enum {
  KIND_NONE,    /* nothing that could be known */
  KIND_FILE,    /* of this machine */
  KIND_PLUGIN,  /* an instance that runs */
  KIND_BUILD,   /* a plugin file: a path, or a word looked up in the plugin path */
  KIND_SERVICE, /* a name somebody serves */
  KIND_TOPIC,   /* of the service before it */
  KIND_GLOB,    /* of topics */
  KIND_LANE,
  KIND_SHELL,
  KIND_OUTPUT,
  KIND_COMMAND, /* for help */
} kind_t;

typedef struct flag {
  const char *name;  /* "--record" */
  const char *value; /* "FILE"; NULL: it takes none */
  kind_t kind;       /* of its value */
  const char *summary;
} flag_t;

typedef struct command {
  const char *words;   /* "plugin swap" */
  const char *args;    /* "NAME FILE", for people */
  int least, most;     /* arguments; most < 0: any number */
  kind_t kinds[3];     /* of the arguments; the last one is also that of all further ones */
  const flag_t *flags; /* ends with {0} */
  const char *summary; /* one line */
  const char *more;    /* for its help; may be NULL */
  bool open;           /* flags that are not in the table are the command's own business */
  int (*run)(cli_t *cli, int argc, char **argv);
} command_t;

extern const command_t cli_commands[]; /* ends with {0} */
extern const flag_t cli_global_flags[];

/* The command that argv begins with, and how many of its words that takes; NULL: none. */
const command_t *command_find(int argc, char **argv, int *used);
/* The flag of this name, of the command (NULL: none) or for all commands; "--name=value" is found too. */
const flag_t *flag_find(const command_t *c, const char *word);
/* Checks number of arguments and flags. 0, or -1 after it said what is wrong. */
int command_check(const command_t *c, int argc, char **argv);
void command_help(FILE *f, const command_t *c);
/* All commands, or those that begin with the word `group`. */
void commands_help(FILE *f, const char *group);
bool command_is_group(const char *word);
/* Says that there is no such command, and which may be meant; not `sure`: only if one may be meant. 2, an exit code. */
int command_unknown(char **argv, bool sure);
/* The nearest of some words to a mistyped one; offer each, then look at `best`. */
typedef struct guess {
  const char *typed;
  char best[64]; /* "": nothing is near */
  size_t distance;
} guess_t;
void guess_offer(guess_t *g, const char *word);

/* complete.c: candidates for the last word, a line each. */
int cli_complete(cli_t *cli, int argc, char **argv);
int cli_completion(cli_t *cli, int argc, char **argv);

#endif
