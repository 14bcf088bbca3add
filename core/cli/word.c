/* Words that plugins serve: service cli/WORD. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "commands.h"

kg_doc_t *word_args(const cli_t *cli, int argc, char **argv) {
  char cwd[PATH_MAX];
  struct winsize w = {0};
  bool tty = isatty(STDOUT_FILENO);
  if (tty) ioctl(STDOUT_FILENO, TIOCGWINSZ, &w);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "argv");
  kg_pack_array(&p);
  for (int i = 1; i < argc; i++) kg_pack_str(&p, argv[i]);
  kg_pack_end(&p);
  kg_pack_kv_str(&p, "cwd", getcwd(cwd, sizeof cwd) ? cwd : "/");
  kg_pack_kv_bool(&p, "tty", tty);
  kg_pack_kv_int(&p, "columns", w.ws_col ? w.ws_col : 80);
  kg_pack_kv_str(&p, "output", cli->output);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static kg_str_t bytes_of(kg_view_t v) {
  return kg_view_type(v) == KG_V_STR ? kg_view_str(v) : kg_view_bin(v);
}

static int show_item(kg_view_t item, int code) {
  kg_str_t out = bytes_of(kg_view_get(item, "out")), err = bytes_of(kg_view_get(item, "err"));
  if (out.n) {
    fwrite(out.p, 1, out.n, stdout);
    fflush(stdout);
  }
  if (err.n) fwrite(err.p, 1, err.n, stderr);
  return (int)kg_view_int(kg_view_get(item, "exit"), code);
}

static int show(client_t *c, char **argv) {
  int code = 0;
  for (kg_frame_t f; client_next(c, &f) == 0;) {
    if (f.type == KG_MSG_END || f.type == KG_MSG_REPLY) return code;
    if (f.type == KG_MSG_ERROR && f.code == KG_EUNAVAILABLE && strncmp(f.text.p, "nobody serves cli/", 18) == 0)
      return command_unknown(argv, true);
    if (f.type == KG_MSG_ERROR) {
      fprintf(stderr, "kogge: " KG_STR_FMT "\n", KG_STR_ARG(f.text));
      return 1;
    }
    code = show_item(f.args, code);
  }
  fprintf(stderr, "kogge: the server has gone\n");
  return 1;
}

int cli_word(cli_t *cli, int argc, char **argv) {
  client_t c;
  char service[300];
  kg_doc_t *args = word_args(cli, argc, argv);
  int code = cli_offline(cli, argv[0], args, show_item);
  if (code < 0 && client_open(cli, &c) == 0) {
    snprintf(service, sizeof service, "cli/%.200s", argv[0]);
    code = 1;
    if (client_send(&c, service, "cli.run", args, true, -1) == 0)
      code = show(&c, argv);
    else
      fprintf(stderr, "kogge: the server has gone\n");
    client_close(&c);
  } else if (code < 0) { /* perhaps a word of a plugin, which only a server knows; perhaps a mistake */
    command_unknown(argv, false);
    code = 1;
  }
  kg_doc_unref(args);
  return code;
}
