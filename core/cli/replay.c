/* kogge plugin replay: a recording into a plugin that reaches nobody. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "config.h"
#include "recording.h"

typedef struct replay {
  const char *file, *plugin, *as, *speed, *config;
  const char *by[17], *ignore[17];
  char path[PATH_MAX];
  kg_doc_t *doc; /* its configuration */
  void *data;
  size_t size;
} replay_t;

static int complain(const char *fmt, const char *what, const char *why) {
  fprintf(stderr, "kogge: ");
  fprintf(stderr, fmt, what, why);
  fputc('\n', stderr);
  return -1;
}

/* --- which plugin ------------------------------------------------------------------------------------------------- */

/* The file and the configuration of an instance that runs; 0, or -1 without a word. */
static int ask_server(const cli_t *cli, replay_t *r) {
  client_t c;
  kg_frame_t f;
  char service[300];
  int found = -1;
  if (client_open_quiet(cli, &c, 2000) < 0) return -1;
  if (client_ask(&c, "kernel", "kernel.list", NULL, -1, &f) == 0)
    for (kg_iter_t it = kg_iter(kg_view_get(f.args, "plugins")); found < 0 && kg_iter_next(&it);) {
      kg_str_t file = kg_view_str(kg_view_get(it.value, "file"));
      if (!kg_str_is(kg_view_str(kg_view_get(it.value, "name")), r->plugin) || !file.n) continue;
      snprintf(r->path, sizeof r->path, KG_STR_FMT, KG_STR_ARG(file));
      found = 0;
    }
  snprintf(service, sizeof service, "plugin/%s", r->plugin);
  if (found == 0 && !r->config && client_ask(&c, service, "plugin.config", NULL, -1, &f) == 0 &&
      kg_view_type(f.args) == KG_V_MAP)
    r->doc = kg_doc_copy(f.args.p, kg_view_span(f.args));
  client_close(&c);
  return found;
}

static int find_plugin(const cli_t *cli, replay_t *r) {
  size_t n = strlen(r->plugin);
  if (strchr(r->plugin, '/')) return realpath(r->plugin, r->path) ? 0 : complain("%s: %s", r->plugin, strerror(errno));
  bool is_file = n > 3 && strcmp(r->plugin + n - 3, ".so") == 0;
  if (!is_file && ask_server(cli, r) == 0) return 0;
  char *plugins = cli_plugin_path(cli, NULL);
  snprintf(r->path, sizeof r->path, "%s/%s%s", plugins ? plugins : ".", r->plugin, is_file ? "" : ".so");
  free(plugins);
  return access(r->path, R_OK) == 0
             ? 0
             : complain("there is no plugin %s: neither does it run, nor is there %s", r->plugin, r->path);
}

static int read_config(replay_t *r) {
  kg_error_t err = {0};
  if (!r->config) return 0;
  kg_cfg_t *cfg = kg_cfg_read(r->config, &err);
  if (!cfg) return complain("%s%s", "", err.text);
  r->doc = kg_cfg_doc(cfg);
  kg_cfg_free(cfg);
  return 0;
}

/* --- the recording ------------------------------------------------------------------------------------------------ */

static int map_file(replay_t *r) {
  struct stat st;
  int fd = open(r->file, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) < 0) return complain("recording %s: %s", r->file, strerror(errno));
  r->size = (size_t)st.st_size;
  r->data = r->size ? mmap(NULL, r->size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
  close(fd);
  return r->data != MAP_FAILED ? 0 : complain("recording %s: %s", r->file, r->size ? strerror(errno) : "it is empty");
}

static int to_name(void *arg, const kg_recorded_t *m) {
  const char **name = arg;
  if (kg_msg_type(m->m) != KG_MSG_REQUEST || strcmp(m->to, *name) != 0) return 0;
  *name = NULL;
  return 1;
}

/* Says what is wrong with the end, and whether the recording knows the plugin's name. */
static int look(replay_t *r) {
  kg_recording_t sum;
  kg_error_t err = {0};
  const char *name = r->plugin;
  if (kg_recording_read(r->data, r->size, NULL, NULL, &sum, &err) < 0)
    return complain("recording %s: %s", r->file, err.text);
  if (sum.cut)
    fprintf(stderr, "kogge: recording %s: its last %zu bytes were cut off, the %llu messages before them are used\n",
            r->file, sum.cut, (unsigned long long)sum.messages);
  kg_recording_read(r->data, r->size, to_name, &name, NULL, NULL);
  if (!r->as && !name) r->as = r->plugin;
  return 0;
}

static int run(const cli_t *cli, replay_t *r) {
  kg_error_t err = {0};
  kg_doc_t *report = kg_replay(&(kg_replay_spec_t){.data = r->data,
                                                   .size = r->size,
                                                   .name = r->as,
                                                   .file = r->path,
                                                   .trial_command = cli->self,
                                                   .config = r->doc,
                                                   .speed = r->speed ? strtod(r->speed, NULL) : 0,
                                                   .by = r->by,
                                                   .ignore = r->ignore},
                               &err);
  if (!report) return complain("recording %s: %s", r->file, err.text), 1;
  int code = cli_print_report(cli, kg_view_of(report));
  kg_doc_unref(report);
  return code;
}

static bool read_words(replay_t *r, int argc, char **argv) {
  const char *value;
  size_t by = 0, ignore = 0;
  for (int i = 0; i < argc; i++) {
    if (argv[i][0] != '-') {
      *(r->file ? &r->plugin : &r->file) = argv[i];
    } else if (by < 16 && cli_option("--by", argv, argc, &i, &value)) {
      r->by[by++] = value;
    } else if (ignore < 16 && cli_option("--ignore", argv, argc, &i, &value)) {
      r->ignore[ignore++] = value;
    } else if (strcmp(argv[i], "--as-fast-as-possible") == 0) {
      r->speed = NULL;
    } else if (!cli_option("--as", argv, argc, &i, &r->as) && !cli_option("--speed", argv, argc, &i, &r->speed) &&
               !cli_option("--config", argv, argc, &i, &r->config)) {
      return false;
    }
  }
  char *end = NULL;
  return r->plugin && (!r->speed || (strtod(r->speed, &end) > 0 && !*end));
}

int cli_plugin_replay(cli_t *cli, int argc, char **argv) {
  replay_t *r = calloc(1, sizeof *r);
  if (!r) return 1;
  int code = 1;
  if (!read_words(r, argc, argv)) {
    fprintf(stderr, "kogge: see kogge help plugin replay\n");
    code = 2;
  } else if (map_file(r) == 0) {
    if (look(r) == 0 && find_plugin(cli, r) == 0 && read_config(r) == 0) code = run(cli, r);
    munmap(r->data, r->size);
  }
  kg_doc_unref(r->doc);
  free(r);
  return code;
}
