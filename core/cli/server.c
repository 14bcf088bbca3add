#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "settings.h"

#define STOP_S 20 /* an orderly stop that takes longer ends disorderly */

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static char *absolute(const char *path) {
  char cwd[PATH_MAX], *out = NULL;
  if (*path == '/') return strdup(path);
  if (!getcwd(cwd, sizeof cwd) || asprintf(&out, "%s/%s", cwd, path) < 0) return NULL;
  return out;
}

static kg_kernel_t *make_kernel(const cli_t *cli, const settings_t *s, int ready_fd, kg_error_t *err) {
  const char *format = settings_text(s, "log", "format"), *trial = settings_text(s, NULL, "trial");
  char *data = absolute(cli->data_dir), *run = absolute(cli->run_dir);
  char *path = cli_plugin_path(cli, settings_text(s, NULL, "plugin_path"));
  kg_kernel_t *k =
      kg_kernel_new(&(kg_kernel_options_t){.data_dir = data,
                                           .run_dir = run,
                                           .plugin_path = path,
                                           .trial_command = trial && strcmp(trial, "false") == 0 ? NULL : cli->self,
                                           .log_level = settings_level(s),
                                           .log_json = format && strcmp(format, "json") == 0,
                                           .crash_fd = ready_fd,
                                           .log_file = settings_text(s, "log", "file"),
                                           .start_timeout_ms = settings_int(s, "start_timeout_ms"),
                                           .drain_timeout_ms = settings_int(s, "drain_timeout_ms"),
                                           .budget_ms = settings_int(s, "budget_ms")},
                    err);
  free(data);
  free(run);
  free(path);
  return k;
}

static const char **service_names(const kg_cfg_t *list) {
  const char **names = list ? calloc(kg_cfg_count(list) + 1, sizeof *names) : NULL;
  for (size_t i = 0; names && i < kg_cfg_count(list); i++) names[i] = kg_cfg_text(kg_cfg_at(list, i));
  return names;
}

static bool wants_process(const cli_t *cli, const kg_cfg_t *p) {
  for (int i = 0; i < cli->nculprits; i++)
    if (strcmp(cli->culprits[i], kg_cfg_text(kg_cfg_get(p, "name"))) == 0) return true;
  const char *process = kg_cfg_text(kg_cfg_get(p, "process")), *lane = kg_cfg_text(kg_cfg_get(p, "lane"));
  return (process && strcmp(process, "true") == 0) || (lane && strcmp(lane, "process") == 0);
}

static int load(const cli_t *cli, kg_kernel_t *k, const kg_cfg_t *p, kg_error_t *err) {
  const kg_cfg_t *config = kg_cfg_get(p, "config");
  kg_plugin_spec_t spec = {.name = kg_cfg_text(kg_cfg_get(p, "name")),
                           .file = kg_cfg_text(kg_cfg_get(p, "file")),
                           .lane = kg_cfg_text(kg_cfg_get(p, "lane")),
                           .process = wants_process(cli, p),
                           .remote = kg_cfg_text(kg_cfg_get(p, "remote")),
                           .patient = true,
                           .config = config ? kg_cfg_doc(config) : NULL};
  const char **names = service_names(kg_cfg_get(p, "services"));
  spec.services = names;
  int rc = kg_kernel_load(k, &spec, err);
  kg_doc_unref(spec.config);
  free(names);
  return rc;
}

/* True if the process is to end. */
static bool asked_to_stop(int signals) {
  struct signalfd_siginfo info;
  bool stop = false;
  while (read(signals, &info, sizeof info) == (ssize_t)sizeof info)
    stop |= info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT;
  return stop;
}

/* 0: all run (or are awaited), 1: asked to stop meanwhile, -1: one did not start. */
static int load_all(const cli_t *cli, kg_kernel_t *k, const settings_t *s, int signals, size_t *running,
                    kg_error_t *err) {
  const kg_cfg_t *plugins = kg_cfg_get(s->root, "plugins");
  if (kg_kernel_open_control(k, err) < 0) return -1;
  for (size_t i = 0; i < kg_cfg_count(plugins); i++) {
    if (asked_to_stop(signals)) return 1;
    int rc = load(cli, k, kg_cfg_at(plugins, i), err);
    if (rc < 0) return -1;
    *running += rc == 0;
  }
  return 0;
}

static void serve_until_stopped(kg_kernel_t *k, int signals) {
  struct pollfd p[] = {{.fd = signals, .events = POLLIN}, {.fd = kg_kernel_command_fd(k), .events = POLLIN}};
  for (;;) {
    if (poll(p, 2, -1) < 0 && errno != EINTR) return;
    if (p[0].revents && asked_to_stop(signals)) return;
    if (p[1].revents) kg_kernel_run_commands(k);
  }
}

static int block_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  sigprocmask(SIG_BLOCK, &set, NULL);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int run(const cli_t *cli, const settings_t *s, int ready_fd, kg_error_t *err) {
  int64_t since = now_ms();
  int signals = block_signals();
  kg_kernel_t *k = signals < 0 ? NULL : make_kernel(cli, s, ready_fd, err);
  if (!k) return -1;
  size_t running = 0;
  int rc = load_all(cli, k, s, signals, &running, err);
  if (rc == 0) {
    kg_kernel_log(k, KG_LOG_INFO, "ready after %lld ms: %zu plugins run, commands at %s/kogge.sock",
                  (long long)(now_ms() - since), running, cli->run_dir);
    if (ready_fd >= 0 && write(ready_fd, "r", 1) < 0) return -1;
    serve_until_stopped(k, signals);
    kg_kernel_log(k, KG_LOG_INFO, "stopping");
  }
  alarm(STOP_S);
  kg_kernel_free(k);
  close(signals);
  return rc < 0 ? -1 : 0;
}

static int serve(cli_t *cli, int ready_fd) {
  kg_error_t err = {0};
  settings_t s;
  int rc = settings_read(cli, &s, &err);
  if (rc == 0) {
    rc = run(cli, &s, ready_fd, &err);
    settings_free(&s);
  }
  if (rc < 0) fprintf(stderr, "kogge: %s\n", err.text);
  return rc < 0 ? 1 : 0;
}

/* Its own flags, and those that the configuration declares. */
static int help(const cli_t *cli) {
  int used;
  kg_error_t err = {0};
  settings_t s;
  command_help(stdout, command_find(1, (char *[]){"server"}, &used));
  if (settings_read(cli, &s, &err) < 0) {
    fprintf(stderr, "kogge: %s\n", err.text);
    return 1;
  }
  settings_help(&s);
  settings_free(&s);
  return 0;
}

/* Root has no sbin in its PATH after `su` or under cron, and plugins call programs that are there. */
static void complete_path(void) {
  char path[4096];
  const char *own = getenv("PATH");
  if (own && strstr(own, "/usr/sbin")) return;
  if (snprintf(path, sizeof path, "%s%s/usr/sbin:/usr/bin:/sbin:/bin", own ? own : "", own ? ":" : "") <
      (int)sizeof path)
    setenv("PATH", path, 1);
}

int cli_server(cli_t *cli) {
  complete_path();
  for (int i = 0; i < cli->nrest; i++)
    if (strcmp(cli->rest[i], "--help") == 0 || strcmp(cli->rest[i], "-h") == 0) return help(cli);
  return cli->supervise ? cli_supervise(serve, cli) : serve(cli, -1);
}
