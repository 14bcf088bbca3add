/* kogge plugin shadow: a candidate beside a plugin that runs, and what came of it. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"

/* --- reports ------------------------------------------------------------------------------------------------------ */

static int64_t count_of(kg_view_t v, const char *key) {
  return kg_view_int(kg_view_get(v, key), 0);
}

static void print_counts(const char *what, const char *topic, kg_str_t by, kg_view_t v) {
  char name[400];
  snprintf(name, sizeof name, "%s%s%.*s", topic, by.n ? " " : "", KG_STR_ARG(by));
  printf("%-9s %-40s %10lld %10lld %10lld %14lld %8lld\n", what, name, (long long)count_of(v, "equal"),
         (long long)count_of(v, "different"), (long long)count_of(v, "only_live"),
         (long long)count_of(v, "only_candidate"), (long long)count_of(v, "pending"));
}

static void print_latency(const char *who, kg_view_t v) {
  printf("%-9s %8lld answers, p50 %lld us, p99 %lld us, longest %lld us\n", who, (long long)count_of(v, "count"),
         (long long)count_of(v, "p50_us"), (long long)count_of(v, "p99_us"), (long long)count_of(v, "max_us"));
}

static void print_difference(kg_view_t d) {
  char topic[256], args[400];
  kg_view_t a = kg_view_get(d, "args");
  snprintf(topic, sizeof topic, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(d, "topic"))));
  snprintf(args, sizeof args, "%s" KG_STR_FMT, kg_view_there(a) ? " of " : "", KG_STR_ARG(kg_view_str(a)));
  printf("  %.*s %s%s\n    %.*s: live %.*s, candidate %.*s\n", KG_STR_ARG(kg_view_str(kg_view_get(d, "what"))), topic,
         args, KG_STR_ARG(kg_view_str(kg_view_get(d, "path"))), KG_STR_ARG(kg_view_str(kg_view_get(d, "live"))),
         KG_STR_ARG(kg_view_str(kg_view_get(d, "candidate"))));
}

static void print_table(kg_view_t r) {
  kg_view_t c = kg_view_get(r, "candidate"), died = kg_view_get(r, "died");
  printf("candidate %.*s %.*s for %.*s: %lld messages, %lld of them skipped%s%.*s\n",
         KG_STR_ARG(kg_view_str(kg_view_get(c, "plugin"))), KG_STR_ARG(kg_view_str(kg_view_get(c, "version"))),
         KG_STR_ARG(kg_view_str(kg_view_get(r, "name"))), (long long)count_of(r, "messages"),
         (long long)count_of(r, "skipped"), kg_view_there(died) ? "; " : "", KG_STR_ARG(kg_view_str(died)));
  printf("%-9s %-40s %10s %10s %10s %14s %8s\n", "WHAT", "TOPIC", "EQUAL", "DIFFERENT", "ONLY LIVE", "ONLY CANDIDATE",
         "PENDING");
  for (kg_iter_t it = kg_iter(kg_view_get(r, "groups")); kg_iter_next(&it);) {
    char what[32], topic[256];
    snprintf(what, sizeof what, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(it.value, "what"))));
    snprintf(topic, sizeof topic, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(it.value, "topic"))));
    print_counts(what, topic, kg_view_str(kg_view_get(it.value, "by")), it.value);
  }
  print_latency("live", kg_view_path(r, "latency", "live", NULL));
  print_latency("candidate", kg_view_path(r, "latency", "candidate", NULL));
  kg_view_t differences = kg_view_get(r, "differences");
  if (kg_view_count(differences)) printf("first differences:\n");
  for (kg_iter_t it = kg_iter(differences); kg_iter_next(&it);) print_difference(it.value);
}

int cli_print_report(const cli_t *cli, kg_view_t r) {
  int64_t bad = count_of(r, "strange_answers") + kg_view_there(kg_view_get(r, "died"));
  const char *const sides[] = {"answers", "requests", "events"};
  for (int i = 0; i < 3; i++) {
    kg_view_t v = kg_view_get(r, sides[i]);
    bad += count_of(v, "different") + count_of(v, "only_live") + count_of(v, "only_candidate");
  }
  if (strcmp(cli->output, "json") == 0)
    print_json(r);
  else
    print_table(r);
  return bad ? 3 : 0;
}

/* --- words -------------------------------------------------------------------------------------------------------- */

typedef struct words {
  const char *lists[3][17]; /* reads, ignore, by */
  const char *duration, *patience;
  bool isolated, with_state, report, stop;
} words_t;

static const char *const list_names[] = {"reads", "ignore", "by"};

static bool read_word(words_t *w, int argc, char **argv, int *i) {
  const char *value;
  for (int n = 0; n < 3; n++) {
    char option[16];
    snprintf(option, sizeof option, "--%s", list_names[n]);
    if (!cli_option(option, argv, argc, i, &value)) continue;
    size_t k = 0;
    while (w->lists[n][k]) k++;
    if (k < 16) w->lists[n][k] = value;
    return k < 16;
  }
  if (cli_option("--duration", argv, argc, i, &w->duration) || cli_option("--patience", argv, argc, i, &w->patience))
    return true;
  bool *flag = strcmp(argv[*i], "--isolated") == 0     ? &w->isolated
               : strcmp(argv[*i], "--with-state") == 0 ? &w->with_state
               : strcmp(argv[*i], "--report") == 0     ? &w->report
               : strcmp(argv[*i], "--stop") == 0       ? &w->stop
                                                       : NULL;
  if (flag) *flag = true;
  return flag != NULL;
}

static kg_doc_t *start_args(const words_t *w, const char *name, const char *file) {
  char path[PATH_MAX];
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", name);
  kg_pack_kv_str(&p, "file", cli_absolute(file, path));
  kg_pack_kv_bool(&p, "isolated", w->isolated);
  kg_pack_kv_bool(&p, "with_state", w->with_state);
  if (w->patience) kg_pack_kv_int(&p, "patience_ms", (int64_t)(strtod(w->patience, NULL) * 1000));
  for (int n = 0; n < 3; n++) {
    kg_pack_key(&p, list_names[n]);
    kg_pack_array(&p);
    for (const char *const *v = w->lists[n]; *v; v++) kg_pack_str(&p, *v);
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static int report(const cli_t *cli, client_t *c, const char *name, bool stop) {
  kg_frame_t f;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", name);
  kg_pack_kv_bool(&p, "stop", stop);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  int rc = client_ask(c, "kernel", "kernel.shadow_report", args, -1, &f);
  kg_doc_unref(args);
  return rc < 0 ? 1 : cli_print_report(cli, f.args);
}

static void on_signal(int signal) {
  (void)signal;
}

/* Until it is over or the user has had enough. */
static void wait_seconds(double s) {
  struct sigaction a = {.sa_handler = on_signal};
  sigaction(SIGINT, &a, NULL);
  sigaction(SIGTERM, &a, NULL);
  nanosleep(&(struct timespec){(time_t)s, (long)((s - (double)(time_t)s) * 1e9)}, NULL);
}

static int start(const cli_t *cli, client_t *c, const words_t *w, const char *name, const char *file) {
  kg_frame_t f;
  kg_doc_t *args = start_args(w, name, file);
  int rc = client_ask(c, "kernel", "kernel.shadow", args, -1, &f);
  kg_doc_unref(args);
  if (rc < 0) return 1;
  if (!w->duration) {
    printf("%s: it has a shadow; see: kogge plugin shadow %s --report\n", name, name);
    return 0;
  }
  wait_seconds(strtod(w->duration, NULL));
  return report(cli, c, name, true);
}

int cli_plugin_shadow(cli_t *cli, int argc, char **argv) {
  words_t w = {0};
  const char *names[2] = {0};
  client_t c;
  int n = 0, code;
  for (int i = 0; i < argc; i++) {
    if (argv[i][0] != '-' && n < 2)
      names[n++] = argv[i];
    else if (!read_word(&w, argc, argv, &i))
      return 2;
  }
  bool report_only = w.report || w.stop;
  if (report_only == (n == 2)) {
    fprintf(stderr, "kogge: plugin shadow takes a FILE to start with, or --report or --stop\n");
    return 2;
  }
  if (client_open(cli, &c) < 0) return 1;
  code = report_only ? report(cli, &c, names[0], w.stop) : start(cli, &c, &w, names[0], names[1]);
  client_close(&c);
  return code;
}
