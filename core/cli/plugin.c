#include "cli.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"

#define ANSWER_MS 3000 /* what the kernel answers for a plugin takes no time */

static int complain(const kg_error_t *err) {
  fprintf(stderr, "kogge: %s\n", err->text);
  return 1;
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

static void stuck_line(FILE *f, kg_view_t v) {
  if (!kg_view_there(kg_view_get(v, "stuck_in"))) return;
  fprintf(f, "plugin %.*s has been stuck for %lld ms in the handler of %.*s, and with it lane %.*s\n",
          KG_STR_ARG(kg_view_str(kg_view_get(v, "name"))), (long long)kg_view_int(kg_view_get(v, "stuck_ms"), 0),
          KG_STR_ARG(kg_view_str(kg_view_get(v, "stuck_in"))), KG_STR_ARG(kg_view_str(kg_view_get(v, "lane"))));
}

/* Why nobody answered, if it can be known. */
static void tell_stuck(client_t *c) {
  kg_frame_t f;
  if (client_ask(c, "kernel", "kernel.list", NULL, 5000, &f) < 0) return;
  for (kg_iter_t it = kg_iter(kg_view_get(f.args, "plugins")); kg_iter_next(&it);) stuck_line(stderr, it.value);
}

static int list(cli_t *cli, client_t *c) {
  kg_frame_t f;
  if (client_ask(c, "kernel", "kernel.list", NULL, -1, &f) < 0) return 1;
  if (strcmp(cli->output, "json") == 0) {
    print_json(f.args);
    return 0;
  }
  printf("%-26s %-26s %-9s %-8s %-9s %9s %10s %8s\n", "NAME", "PLUGIN", "VERSION", "LANE", "STATE", "REQUESTS", "CPU s",
         "AGE");
  for (kg_iter_t it = kg_iter(kg_view_get(f.args, "plugins")); kg_iter_next(&it);) table_row(it.value);
  for (kg_iter_t it = kg_iter(kg_view_get(f.args, "plugins")); kg_iter_next(&it);) stuck_line(stdout, it.value);
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

static int inherited(cli_t *cli, const char *topic, const char *name) {
  char service[300];
  kg_frame_t f;
  client_t c;
  snprintf(service, sizeof service, "plugin/%s", name);
  if (client_open(cli, &c) < 0) return 1;
  int rc = client_ask(&c, service, topic, NULL, ANSWER_MS, &f);
  if (rc < 0) tell_stuck(&c);
  if (rc == 0 && strcmp(cli->output, "json") == 0)
    print_json(f.args);
  else if (rc == 0)
    print_pairs(f.args, 0);
  client_close(&c);
  return rc < 0 ? 1 : 0;
}

const char *cli_absolute(const char *file, char *path) {
  return strchr(file, '/') && realpath(file, path) ? path : file;
}

/* What is to happen to a plugin. */
typedef struct change {
  const char *topic, *name, *file, *lane; /* file, lane: may be NULL */
  const char *config;                     /* file of its configuration; may be NULL */
  bool force;
} change_t;

static kg_doc_t *read_config(const char *file, kg_error_t *err) {
  kg_cfg_t *cfg = kg_cfg_read(file, err);
  kg_doc_t *doc = cfg ? kg_cfg_doc(cfg) : NULL;
  kg_cfg_free(cfg);
  return doc;
}

static kg_doc_t *change_args(const change_t *h, kg_doc_t *config) {
  char path[PATH_MAX];
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", h->name);
  if (h->file) kg_pack_kv_str(&p, "file", cli_absolute(h->file, path));
  if (h->lane) kg_pack_kv_str(&p, "lane", h->lane);
  if (h->force) kg_pack_kv_bool(&p, "force", true);
  if (config) kg_pack_kv_view(&p, "config", kg_view_of(config));
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void changed(const cli_t *cli, const change_t *h, const kg_frame_t *f) {
  kg_view_t pause = kg_view_get(f->args, "pause_us");
  if (strcmp(cli->output, "json") == 0)
    print_json(f->args);
  else if (kg_view_there(pause))
    printf("%s: done, requests were held for %.2f ms\n", h->name, (double)kg_view_int(pause, 0) / 1000);
  else
    printf("%s: done\n", h->name);
}

static int change(const cli_t *cli, const change_t *h) {
  client_t c;
  kg_frame_t f;
  kg_error_t err = {0};
  kg_doc_t *config = h->config ? read_config(h->config, &err) : NULL;
  if (err.code) return complain(&err);
  kg_doc_t *args = change_args(h, config);
  int rc = client_open(cli, &c);
  if (rc == 0) {
    rc = client_ask(&c, "kernel", h->topic, args, -1, &f);
    if (rc == 0) changed(cli, h, &f);
    if (rc < 0 && h->file && !strchr(h->file, '/') && access(h->file, R_OK) == 0)
      fprintf(stderr, "kogge: a file of this directory is meant by ./%s\n", h->file);
    client_close(&c);
  }
  kg_doc_unref(args);
  kg_doc_unref(config);
  return rc < 0 ? 1 : 0;
}

/* --- the commands ------------------------------------------------------------------------------------------------- */

int cli_plugin_list(cli_t *cli, int argc, char **argv) {
  (void)argc, (void)argv;
  client_t c;
  if (client_open(cli, &c) < 0) return 1;
  int code = list(cli, &c);
  client_close(&c);
  return code;
}

int cli_plugin_load(cli_t *cli, int argc, char **argv) {
  change_t h = {.topic = "kernel.load"};
  const char **words[] = {&h.name, &h.file, &h.lane};
  for (int i = 0, n = 0; i < argc; i++)
    if (!cli_option("--config", argv, argc, &i, &h.config)) *words[n++] = argv[i];
  return change(cli, &h);
}
int cli_plugin_swap(cli_t *cli, int argc, char **argv) {
  change_t h = {.topic = "kernel.swap"};
  const char **words[] = {&h.name, &h.file};
  for (int i = 0, n = 0; i < argc; i++)
    if (strcmp(argv[i], "--force") == 0)
      h.force = true;
    else
      *words[n++] = argv[i];
  return change(cli, &h);
}
int cli_plugin_unload(cli_t *cli, int argc, char **argv) {
  (void)argc;
  return change(cli, &(change_t){.topic = "kernel.unload", .name = argv[0]});
}
int cli_plugin_reload(cli_t *cli, int argc, char **argv) {
  (void)argc;
  return change(cli, &(change_t){.topic = "kernel.reload", .name = argv[0]});
}

int cli_plugin_stats(cli_t *cli, int argc, char **argv) {
  (void)argc;
  return inherited(cli, "plugin.stats", argv[0]);
}
int cli_plugin_ping(cli_t *cli, int argc, char **argv) {
  (void)argc;
  return inherited(cli, "plugin.ping", argv[0]);
}

int cli_plugin_config(cli_t *cli, int argc, char **argv) {
  if (argc == 1) return inherited(cli, "plugin.config", argv[0]);
  return change(cli, &(change_t){.topic = "kernel.configure", .name = argv[0], .config = argv[1]});
}

int cli_plugin_trace(cli_t *cli, int argc, char **argv) {
  client_t c;
  if (client_open(cli, &c) < 0) return 1;
  int code = cli_trace(cli, &c, argc, argv);
  client_close(&c);
  return code;
}

/* Needs no server. */
int cli_plugin_key(cli_t *cli, int argc, char **argv) {
  (void)argc;
  char path[PATH_MAX];
  kg_error_t err = {0};
  if (kg_bus_key(cli->data_dir, argv[0], path, sizeof path, &err) < 0) return complain(&err);
  printf("%s\n", path);
  return 0;
}

int cli_request(cli_t *cli, int argc, char **argv) {
  client_t c;
  kg_frame_t f;
  kg_error_t err = {0};
  kg_cfg_t *cfg = argc == 3 ? kg_cfg_parse("arguments", argv[2], strlen(argv[2]), &err) : NULL;
  if (err.code) return complain(&err), 2;
  kg_doc_t *args = cfg ? kg_cfg_doc(cfg) : NULL;
  kg_cfg_free(cfg);
  int rc = client_open(cli, &c);
  if (rc == 0) {
    rc = client_ask(&c, argv[0], argv[1], args, -1, &f);
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
