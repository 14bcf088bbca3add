#ifndef KG_CLI_H
#define KG_CLI_H
/* The command line: a client of the kernel's socket, and the server itself. */
#include <limits.h>

#include "frame.h"
#include "kogge/host.h"

typedef struct cli {
  const char *config, *data_dir, *run_dir;
  const char *output; /* "table" or "json" */
  bool supervise;
  char self[4096];    /* path of this binary */
  char *culprits[16]; /* plugins that took the kernel down: they get processes of their own */
  int nculprits;
  char **rest; /* flags of the configuration, as given: NULL-terminated */
  int nrest;
} cli_t;

/* The commands, in the order of the table in commands.c; argv are the words behind the command's own. Exit code: 0
 * done, 1 failed, 2 the words were wrong. */
int cli_server_words(cli_t *cli, int argc, char **argv);
int cli_plugin_list(cli_t *cli, int argc, char **argv);
int cli_plugin_load(cli_t *cli, int argc, char **argv);
int cli_plugin_unload(cli_t *cli, int argc, char **argv);
int cli_plugin_swap(cli_t *cli, int argc, char **argv);
int cli_plugin_reload(cli_t *cli, int argc, char **argv);
int cli_plugin_stats(cli_t *cli, int argc, char **argv);
int cli_plugin_config(cli_t *cli, int argc, char **argv);
int cli_plugin_ping(cli_t *cli, int argc, char **argv);
int cli_plugin_trace(cli_t *cli, int argc, char **argv);
int cli_plugin_replay(cli_t *cli, int argc, char **argv);
int cli_plugin_shadow(cli_t *cli, int argc, char **argv);
int cli_plugin_new(cli_t *cli, int argc, char **argv);
int cli_plugin_key(cli_t *cli, int argc, char **argv);
int cli_request(cli_t *cli, int argc, char **argv);
int cli_sim(cli_t *cli, int argc, char **argv);
int cli_agent(cli_t *cli, int argc, char **argv);
int cli_plugin_host(cli_t *cli, int argc, char **argv);
int cli_version(cli_t *cli, int argc, char **argv);
int cli_help(cli_t *cli, int argc, char **argv);

int cli_server(cli_t *cli);
/* Runs `kogge plugin-host` with these words until SIGTERM, again and again. */
int cli_keep(cli_t *cli, int argc, char **argv);
/* A word whose plugin needs no server for it: the plugin WORD.so beside this binary, in a kernel of this process. -1:
 * there is none. `show` prints an item and says the exit code. */
int cli_offline(cli_t *cli, const char *word, kg_doc_t *args, int (*show)(kg_view_t item, int code));
int cli_word(cli_t *cli, int argc, char **argv); /* everything else: service cli/WORD; argv[0] is the word */
/* What a plugin is told of the command line: PROTOCOL.md rule 11. Caller owns the reference. */
kg_doc_t *word_args(const cli_t *cli, int argc, char **argv);

/* Runs `serve` in a child and starts it again when it crashes. Returns the exit code. */
int cli_supervise(int (*serve)(cli_t *cli, int ready_fd), cli_t *cli);

/* Takes the flags for all commands out of argv; returns how many words are left. */
int cli_globals(cli_t *cli, int argc, char **argv);
/* "--name VALUE" or "--name=VALUE" at argv[*i]; *i then points at the last word used. */
bool cli_option(const char *name, char **argv, int argc, int *i, const char **value);
/* places.c: the path of what lies at `built` beside this program, or at `installed` (both relative to its folder). */
void cli_place(const cli_t *cli, const char *built, const char *installed, char out[PATH_MAX]);
/* Where plugins are looked up: `first` (NULL: nowhere), then the folder of those that came with this program. Caller
 * frees. */
char *cli_plugin_path(const cli_t *cli, const char *first);

/* --- client: one request at a time over the socket ---------------------------------------------------------------- */
typedef struct client {
  int fd;
  uint8_t *data; /* the last frame */
  size_t room;
} client_t;

/* Says why on standard error and returns -1 if there is no server. */
int client_open(const cli_t *cli, client_t *c);
/* Same, says nothing, and does not wait longer than so many milliseconds for any answer. */
int client_open_quiet(const cli_t *cli, client_t *c, int patience_ms);
void client_close(client_t *c);
int client_send(client_t *c, const char *service, const char *topic, kg_doc_t *args, bool stream, int64_t timeout_ms);
/* Next frame, borrowed until the next call; -1: the server has gone. */
int client_next(client_t *c, kg_frame_t *f);
/* One request, one answer (timeout_ms -1: whenever it comes): 0 and the answer in *f, or -1 after the error was
 * printed. */
int client_ask(client_t *c, const char *service, const char *topic, kg_doc_t *args, int64_t timeout_ms, kg_frame_t *f);

/* The server has another working directory: a path is made absolute in `path` (PATH_MAX), a bare word is left to it. */
const char *cli_absolute(const char *file, char *path);
/* Prints what a comparison found. 0: all was equal, 3: not. */
int cli_print_report(const cli_t *cli, kg_view_t report);
/* `plugin trace` (trace.c). */
int cli_trace(const cli_t *cli, client_t *c, int argc, char **argv);

/* Prints a map or value as JSON on one line. */
void print_json(kg_view_t v);

#endif
