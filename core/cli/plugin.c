#include "cli.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "config.h"

static kg_doc_t *args_of(const char *const pairs[][2]) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  for (; (*pairs)[0]; pairs++)
    if ((*pairs)[1]) kg_pack_kv_str(&p, (*pairs)[0], (*pairs)[1]);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void table_row(kg_view_t v) {
  int64_t up = kg_view_int(kg_view_get(v, "uptime_ms"), 0) / 1000;
  char age[32];
  if (up < 120)
    snprintf(age, sizeof age, "%llds", (long long)up);
  else
    snprintf(age, sizeof age, "%lldm%llds", (long long)up / 60, (long long)up % 60);
  printf("%-26.*s %-26.*s %-9.*s %-8.*s %-9.*s %9lld %10.3f %8s\n", KG_STR_ARG(kg_view_str(kg_view_get(v, "name"))),
         KG_STR_ARG(kg_view_str(kg_view_get(v, "plugin"))), KG_STR_ARG(kg_view_str(kg_view_get(v, "version"))),
         KG_STR_ARG(kg_view_str(kg_view_get(v, "lane"))), KG_STR_ARG(kg_view_str(kg_view_get(v, "state"))),
         (long long)kg_view_int(kg_view_get(v, "requests"), 0), (double)kg_view_int(kg_view_get(v, "busy_us"), 0) / 1e6,
         age);
}

static int list(cli_t *cli, client_t *c) {
  kg_frame_t f;
  if (client_ask(c, "kernel", "kernel.list", NULL, &f) < 0) return 1;
  if (strcmp(cli->output, "json") == 0) {
    print_json(f.args);
    return 0;
  }
  printf("%-26s %-26s %-9s %-8s %-9s %9s %10s %8s\n", "NAME", "PLUGIN", "VERSION", "LANE", "STATE", "REQUESTS", "CPU s",
         "AGE");
  for (kg_iter_t it = kg_iter(kg_view_get(f.args, "plugins")); kg_iter_next(&it);) table_row(it.value);
  return 0;
}

static void print_pairs(kg_view_t v, int indent) {
  for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) {
    char *json = kg_view_type(it.value) == KG_V_MAP ? NULL : kg_view_to_json(it.value);
    kg_str_t key = kg_view_str(it.key);
    printf("%*s%-*.*s %s\n", indent, "", 20 - indent, KG_STR_ARG(key), json ? json : "");
    if (kg_view_type(it.value) == KG_V_MAP) print_pairs(it.value, indent + 2);
    free(json);
  }
}

static int inherited(cli_t *cli, client_t *c, const char *topic, const char *name) {
  char service[300];
  kg_frame_t f;
  snprintf(service, sizeof service, "plugin/%s", name);
  if (client_ask(c, service, topic, NULL, &f) < 0) return 1;
  if (strcmp(cli->output, "json") == 0)
    print_json(f.args);
  else
    print_pairs(f.args, 0);
  return 0;
}

/* The server has another working directory: a path is made absolute here, a bare word is looked up there. */
static const char *absolute(const char *file, char *path) {
  return strchr(file, '/') && realpath(file, path) ? path : file;
}

static int change(client_t *c, const char *topic, const char *name, const char *file, const char *lane) {
  char path[PATH_MAX];
  kg_frame_t f;
  const char *const pairs[][2] = {
      {"name", name}, {"file", file ? absolute(file, path) : NULL}, {"lane", lane}, {NULL, NULL}};
  kg_doc_t *args = args_of(pairs);
  int rc = client_ask(c, "kernel", topic, args, &f);
  kg_doc_unref(args);
  if (rc < 0) return 1;
  kg_view_t pause = kg_view_get(f.args, "pause_us");
  if (kg_view_there(pause))
    printf("%s: done, requests were held for %.2f ms\n", name, (double)kg_view_int(pause, 0) / 1000);
  else
    printf("%s: done\n", name);
  return 0;
}

static int run(cli_t *cli, client_t *c, int argc, char **argv) {
  const char *verb = argc ? argv[0] : "list";
  if (strcmp(verb, "list") == 0 && argc <= 1) return list(cli, c);
  if (strcmp(verb, "trace") == 0) return cli_trace(cli, c, argc - 1, argv + 1);
  if (argc == 3 && strcmp(verb, "swap") == 0) return change(c, "kernel.swap", argv[1], argv[2], NULL);
  if ((argc == 3 || argc == 4) && strcmp(verb, "load") == 0) return change(c, "kernel.load", argv[1], argv[2], argv[3]);
  if (argc == 2 && strcmp(verb, "unload") == 0) return change(c, "kernel.unload", argv[1], NULL, NULL);
  if (argc == 2 && strcmp(verb, "reload") == 0) return change(c, "kernel.reload", argv[1], NULL, NULL);
  if (argc == 2 && strcmp(verb, "stats") == 0) return inherited(cli, c, "plugin.stats", argv[1]);
  if (argc == 2 && strcmp(verb, "config") == 0) return inherited(cli, c, "plugin.config", argv[1]);
  if (argc == 2 && strcmp(verb, "ping") == 0) return inherited(cli, c, "plugin.ping", argv[1]);
  fprintf(
      stderr,
      "usage: kogge plugin list | swap NAME FILE | load NAME FILE [LANE] | unload NAME | reload NAME | stats NAME | "
      "config NAME | ping NAME | trace [GLOB...] [--of NAME] [--record FILE] [--quiet] [--duration S] [--count N]\n");
  return 2;
}

/* Needs no server. */
static int make_key(const cli_t *cli, const char *name) {
  char path[PATH_MAX];
  kg_error_t err = {0};
  if (kg_bus_key(cli->data_dir, name, path, sizeof path, &err) < 0) {
    fprintf(stderr, "kogge: %s\n", err.text);
    return 1;
  }
  printf("%s\n", path);
  return 0;
}

int cli_plugin(cli_t *cli, int argc, char **argv) {
  client_t c;
  if (argc == 2 && strcmp(argv[0], "key") == 0) return make_key(cli, argv[1]);
  if (argc > 0 && strcmp(argv[0], "new") == 0) return cli_plugin_new(argc - 1, argv + 1);
  if (client_open(cli, &c) < 0) return 1;
  int code = run(cli, &c, argc, argv);
  client_close(&c);
  return code;
}

int cli_request(cli_t *cli, int argc, char **argv) {
  client_t c;
  kg_frame_t f;
  kg_error_t err = {0};
  if (argc < 2 || argc > 3) {
    fprintf(stderr, "usage: kogge request SERVICE TOPIC [JSON]\n");
    return 2;
  }
  kg_cfg_t *cfg = argc == 3 ? kg_cfg_parse("arguments", argv[2], strlen(argv[2]), &err) : NULL;
  if (err.code) {
    fprintf(stderr, "kogge: %s\n", err.text);
    return 2;
  }
  kg_doc_t *args = cfg ? kg_cfg_doc(cfg) : NULL;
  kg_cfg_free(cfg);
  int rc = client_open(cli, &c);
  if (rc == 0) {
    rc = client_ask(&c, argv[0], argv[1], args, &f);
    if (rc == 0) print_json(f.args);
    for (kg_iter_t it = kg_iter(f.docs); rc == 0 && kg_iter_next(&it);) {
      kg_str_t doc = kg_view_bin(it.value);
      print_json(kg_view_bytes(doc.p, doc.n));
    }
    client_close(&c);
  }
  kg_doc_unref(args);
  return rc < 0 ? 1 : 0;
}

/* --- words of plugins
 * ---------------------------------------------------------------------------------------------------- */

static kg_doc_t *word_args(int argc, char **argv) {
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

static int show(client_t *c, const char *word) {
  int code = 0;
  for (kg_frame_t f; client_next(c, &f) == 0;) {
    if (f.type == KG_MSG_END || f.type == KG_MSG_REPLY) return code;
    if (f.type == KG_MSG_ERROR && f.code == KG_EUNAVAILABLE && strncmp(f.text.p, "nobody serves cli/", 18) == 0) {
      fprintf(stderr, "kogge: there is no command %s, see kogge help\n", word);
      return 2;
    }
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
  kg_doc_t *args = word_args(argc, argv);
  int code = cli_offline(cli, argv[0], args, show_item);
  if (code >= 0 || client_open(cli, &c) < 0) {
    kg_doc_unref(args);
    return code >= 0 ? code : 1;
  }
  snprintf(service, sizeof service, "cli/%.200s", argv[0]);
  code = 1;
  if (client_send(&c, service, "cli.run", args, true, -1) == 0)
    code = show(&c, argv[0]);
  else
    fprintf(stderr, "kogge: the server has gone\n");
  kg_doc_unref(args);
  client_close(&c);
  return code;
}
