/* What may come next on the command line: `kogge __complete WORD... LAST` for the scripts in shells/. A line for each
 * candidate, "WORD\tSENTENCE"; the line ":files" stands for files of this machine. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "embedded.h"
#include "settings.h"

enum { PATIENCE_MS = 1000 };

typedef struct completion {
  cli_t *cli;
  const char *last; /* what there is of the word */
  char **words;     /* before it, without the flags for all commands */
  int count;
  client_t server;
  kg_view_t list; /* of the kernel; absent: no server */
} completion_t;

/* --- saying ------------------------------------------------------------------------------------------------------- */

static void offer(const completion_t *c, const char *word, const char *summary) {
  if (strncmp(word, c->last, strlen(c->last)) == 0) printf("%s\t%s\n", word, summary ? summary : "");
}

static void offer_text(const completion_t *c, kg_str_t word, const char *behind, kg_str_t summary) {
  char text[300], what[200];
  snprintf(text, sizeof text, KG_STR_FMT "%s", KG_STR_ARG(word), behind);
  snprintf(what, sizeof what, KG_STR_FMT, KG_STR_ARG(summary));
  offer(c, text, what);
}

static void offer_files(void) {
  puts(":files");
}

/* --- what runs ---------------------------------------------------------------------------------------------------- */

/* Once; the answer lives until the next one. */
static kg_view_t kernel_list(completion_t *c) {
  kg_frame_t f;
  if (kg_view_there(c->list)) return c->list;
  if (c->server.fd < 0 && client_open_quiet(c->cli, &c->server, PATIENCE_MS) < 0) return c->list;
  if (client_send(&c->server, "kernel", "kernel.list", NULL, false, PATIENCE_MS) == 0 &&
      client_next(&c->server, &f) == 0)
    c->list = f.args;
  return c->list;
}

static kg_iter_t plugins(completion_t *c) {
  return kg_iter(kg_view_get(kernel_list(c), "plugins"));
}

static kg_str_t text_of(kg_view_t v, const char *key) {
  return kg_view_str(kg_view_get(v, key));
}

static void offer_plugins(completion_t *c) {
  for (kg_iter_t it = plugins(c); kg_iter_next(&it);)
    offer_text(c, text_of(it.value, "name"), "", text_of(it.value, "plugin"));
}

static void offer_services(completion_t *c, bool globs) {
  for (kg_iter_t it = plugins(c); kg_iter_next(&it);)
    for (kg_iter_t s = kg_iter(kg_view_get(it.value, "services")); kg_iter_next(&s);) {
      kg_str_t name = kg_view_str(s.value);
      bool plain = name.n && !memchr(name.p, '/', name.n);
      if (plain || !globs) offer_text(c, name, globs ? ".*" : "", text_of(it.value, "name"));
    }
  if (globs) offer(c, "*", "all");
}

static bool serves(kg_view_t plugin, const char *service) {
  for (kg_iter_t it = kg_iter(kg_view_get(plugin, "services")); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(it.value), service)) return true;
  return false;
}

static void offer_topics(completion_t *c, const char *service) {
  static const char *const inherited[] = {"plugin.ping", "plugin.stats", "plugin.config"};
  bool own = strncmp(service, "plugin/", 7) == 0;
  for (size_t i = 0; own && i < sizeof inherited / sizeof *inherited; i++) offer(c, inherited[i], "");
  for (kg_iter_t it = plugins(c); !own && kg_iter_next(&it);)
    for (kg_iter_t t = kg_iter(kg_view_get(it.value, "topics")); serves(it.value, service) && kg_iter_next(&t);)
      offer_text(c, kg_view_str(t.value), "", text_of(it.value, "name"));
}

/* Plugin files: those that came with this program; for a swap also the words W of ROLE-W.so. */
static void offer_builds(completion_t *c, const char *instance) {
  char role[128] = "";
  for (kg_iter_t it = plugins(c); kg_iter_next(&it);)
    if (kg_str_is(text_of(it.value, "name"), instance))
      snprintf(role, sizeof role, KG_STR_FMT "-", KG_STR_ARG(text_of(it.value, "role")));
  char *path = cli_plugin_path(c->cli, NULL);
  DIR *dir = path ? opendir(path) : NULL;
  for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
    size_t n = strlen(e->d_name), r = strlen(role);
    if (n < 4 || strcmp(e->d_name + n - 3, ".so") != 0) continue;
    if (r && strncmp(e->d_name, role, r) == 0)
      offer_text(c, (kg_str_t){e->d_name + r, n - 3 - r}, "", kg_str(e->d_name));
    else if (!r)
      offer(c, e->d_name, "");
  }
  if (dir) closedir(dir);
  free(path);
  offer_files();
}

static void offer_lanes(completion_t *c) {
  for (kg_iter_t it = kg_iter(kg_view_get(kernel_list(c), "lanes")); kg_iter_next(&it);)
    offer_text(c, text_of(it.value, "name"), "", KG_STR("a thread"));
  offer(c, "process", "a process of its own");
}

/* --- words, flags, arguments -------------------------------------------------------------------------------------- */

static void offer_first_words(completion_t *c) {
  const char *group = "";
  for (const command_t *k = cli_commands; k->words; k++) {
    char first[64];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(k->words, " "), k->words);
    if (strcmp(first, k->words) != 0 && strncmp(k->words, group, strlen(first)) == 0) continue;
    group = k->words;
    offer(c, first, strcmp(first, k->words) == 0 ? k->summary : "list, load, swap, stats, trace ...");
  }
  for (kg_iter_t it = plugins(c); kg_iter_next(&it);)
    for (kg_iter_t s = kg_iter(kg_view_get(it.value, "services")); kg_iter_next(&s);) {
      kg_str_t name = kg_view_str(s.value);
      if (name.n > 4 && memcmp(name.p, "cli/", 4) == 0)
        offer_text(c, (kg_str_t){name.p + 4, name.n - 4}, "", text_of(it.value, "plugin"));
    }
}

static void offer_second_words(completion_t *c, const char *group) {
  size_t n = strlen(group);
  for (const command_t *k = cli_commands; k->words; k++)
    if (strncmp(k->words, group, n) == 0 && k->words[n] == ' ') offer(c, k->words + n + 1, k->summary);
}

static void offer_flag_list(completion_t *c, const flag_t *flags) {
  for (; flags->name; flags++) offer(c, flags->name, flags->summary);
}

/* Those that the server's configuration declares. */
static void offer_server_flags(completion_t *c) {
  char *help[] = {"--help", NULL};
  settings_t s;
  kg_error_t err = {0};
  cli_t cli = *c->cli;
  cli.rest = help;
  cli.nrest = 1;
  for (int i = 0; i < c->count; i++) cli_option("--config", c->words, c->count, &i, &cli.config);
  if (settings_read(&cli, &s, &err) < 0) return;
  const kg_cfg_t *flags = kg_cfg_get(s.root, "flags");
  for (size_t i = 0; i < kg_cfg_count(flags); i++) {
    char name[130];
    snprintf(name, sizeof name, "--%s", kg_cfg_key(flags, i));
    offer(c, name, kg_cfg_text(kg_cfg_get(kg_cfg_at(flags, i), "help")));
  }
  settings_free(&s);
}

static void offer_kind(completion_t *c, kind_t kind, const char *before) {
  switch (kind) {
  case KIND_FILE:
    offer_files();
    break;
  case KIND_PLUGIN:
    offer_plugins(c);
    break;
  case KIND_BUILD:
    offer_builds(c, before);
    break;
  case KIND_SERVICE:
    offer_services(c, false);
    break;
  case KIND_TOPIC:
    offer_topics(c, before);
    break;
  case KIND_GLOB:
    offer_services(c, true);
    break;
  case KIND_LANE:
    offer_lanes(c);
    break;
  case KIND_COMMAND:
    offer_first_words(c);
    break;
  case KIND_OUTPUT:
    offer(c, "json", "");
    offer(c, "table", "");
    break;
  case KIND_SHELL:
    for (const embedded_t *s = cli_shells; s->file; s++) offer(c, s->file, "");
    break;
  case KIND_NONE:
    break;
  }
}

/* A word of a plugin: it may know what comes next (topic cli.complete). */
static void ask_plugin(completion_t *c) {
  char service[300];
  kg_frame_t f;
  snprintf(service, sizeof service, "cli/%.200s", c->words[0]);
  if (c->server.fd < 0 && client_open_quiet(c->cli, &c->server, PATIENCE_MS) < 0) return;
  kg_doc_t *args = word_args(c->cli, c->count, c->words);
  int rc = client_send(&c->server, service, "cli.complete", args, false, PATIENCE_MS);
  kg_doc_unref(args);
  if (rc < 0 || client_next(&c->server, &f) < 0) return;
  for (kg_iter_t it = kg_iter(kg_view_get(f.args, "words")); kg_iter_next(&it);)
    offer_text(c, kg_view_str(it.value), "", (kg_str_t){0});
  if (kg_view_bool(kg_view_get(f.args, "files"), f.type == KG_MSG_ERROR)) offer_files();
}

static void offer_argument(completion_t *c, const command_t *k, int used) {
  int n = 0;
  const char *before = "";
  for (int i = used; i < c->count; i++) {
    const flag_t *f = c->words[i][0] == '-' ? flag_find(k, c->words[i]) : NULL;
    if (f && f->value && !strchr(c->words[i], '=')) i++;
    if (c->words[i][0] == '-' || f) continue;
    if (!n) before = c->words[i];
    n++;
  }
  if (k->most >= 0 && n >= k->most) return;
  if (k->kinds[0] == KIND_COMMAND && n == 1)
    offer_second_words(c, before);
  else
    offer_kind(c, k->kinds[n < 2 ? n : 2], before);
}

static void complete(completion_t *c) {
  int used = 0;
  const command_t *k = command_find(c->count, c->words, &used);
  const char *previous = c->count ? c->words[c->count - 1] : "";
  const flag_t *f = *previous == '-' && !strchr(previous, '=') ? flag_find(k, previous) : NULL;
  if (f && f->value) {
    offer_kind(c, f->kind, "");
  } else if (*c->last == '-') {
    if (k) offer_flag_list(c, k->flags);
    if (k && k->run == cli_server_words) offer_server_flags(c);
    if (!k && c->count) ask_plugin(c);
    offer_flag_list(c, cli_global_flags);
  } else if (k) {
    offer_argument(c, k, used);
  } else if (!c->count) {
    offer_first_words(c);
  } else if (command_is_group(c->words[0])) {
    if (c->count == 1) offer_second_words(c, c->words[0]);
  } else {
    ask_plugin(c);
  }
}

/* "--flag=VA": the value alone is completed, the flag stands before it again. */
static void complete_value(completion_t *c, char *last) {
  int used;
  char *equals = strchr(last, '=');
  const flag_t *f = flag_find(command_find(c->count, c->words, &used), last);
  if (!f || !f->value) return;
  if (f->kind == KIND_OUTPUT) {
    char word[64];
    for (const char *const *v = (const char *const[]){"json", "table", NULL}; *v; v++) {
      snprintf(word, sizeof word, "%.*s=%s", (int)(equals - last), last, *v);
      offer(c, word, "");
    }
  } else if (f->kind == KIND_FILE) {
    offer_files();
  }
}

int cli_complete(cli_t *cli, int argc, char **argv) {
  char *last = argc ? argv[argc - 1] : "";
  completion_t c = {.cli = cli, .last = last, .words = argv, .server = {.fd = -1}};
  c.count = cli_globals(cli, argc ? argc - 1 : 0, argv);
  if (*last == '-' && strchr(last, '='))
    complete_value(&c, last);
  else
    complete(&c);
  client_close(&c.server);
  return 0;
}

int cli_completion(cli_t *cli, int argc, char **argv) {
  (void)cli, (void)argc;
  for (const embedded_t *s = cli_shells; s->file; s++)
    if (strcmp(s->file, argv[0]) == 0) return fputs(s->text, stdout) < 0;
  fprintf(stderr, "kogge: completion is for bash, zsh or fish, not %s\n", argv[0]);
  return 2;
}
