#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int wrong(const settings_t *s, const kg_cfg_t *at, kg_error_t *err, const char *sentence, const char *what) {
  return kg_error_set(err, KG_EINVAL, "%s:%d: %s%s", s->file, kg_cfg_line(at), sentence, what);
}

/* --- checking
 * -------------------------------------------------------------------------------------------------------------- */

static bool is_in(const char *word, const char *const *words) {
  while (*words && strcmp(word, *words) != 0) words++;
  return *words != NULL;
}

static int check_keys(const settings_t *s, const kg_cfg_t *map, const char *what, const char *const *allowed,
                      kg_error_t *err) {
  if (!map) return 0;
  if (kg_cfg_kind(map) != KG_CFG_MAP) return wrong(s, map, err, what, " must be a map");
  for (size_t i = 0; i < kg_cfg_count(map); i++)
    if (!is_in(kg_cfg_key(map, i), allowed))
      return kg_error_set(err, KG_EINVAL, "%s:%d: %s knows no key %s", s->file, kg_cfg_line(kg_cfg_at(map, i)), what,
                          kg_cfg_key(map, i));
  return 0;
}

static int check_plugin(const settings_t *s, const kg_cfg_t *plugins, size_t i, kg_error_t *err) {
  static const char *const keys[] = {"name", "file", "lane", "config", "services", "process", "remote", NULL};
  const kg_cfg_t *p = kg_cfg_at(plugins, i);
  if (check_keys(s, p, "a plugin", keys, err) < 0) return -1;
  const char *name = kg_cfg_text(kg_cfg_get(p, "name"));
  if (!kg_cfg_good_name(name))
    return wrong(s, p, err, "a plugin needs a name of a-z, 0-9 and dashes, but has ", name ? name : "none");
  const char *process = kg_cfg_text(kg_cfg_get(p, "process")), *remote = kg_cfg_text(kg_cfg_get(p, "remote"));
  if (process && strcmp(process, "true") != 0 && strcmp(process, "false") != 0)
    return wrong(s, p, err, "process must be true or false: plugin ", name);
  if (remote && strncmp(remote, "tcp://", 6) != 0)
    return wrong(s, p, err, "remote must be tcp://ADDRESS:PORT: plugin ", name);
  if (!remote && !kg_cfg_text(kg_cfg_get(p, "file"))) return wrong(s, p, err, "there is no file for plugin ", name);
  const kg_cfg_t *lane = kg_cfg_get(p, "lane"), *config = kg_cfg_get(p, "config"),
                 *services = kg_cfg_get(p, "services");
  if (lane && !kg_cfg_good_name(kg_cfg_text(lane)))
    return wrong(s, lane, err, "this is no name for a lane: plugin ", name);
  if (config && kg_cfg_kind(config) != KG_CFG_MAP) return wrong(s, config, err, "config must be a map: plugin ", name);
  if (services && kg_cfg_kind(services) != KG_CFG_LIST)
    return wrong(s, services, err, "services must be a list: plugin ", name);
  for (size_t j = 0; j < kg_cfg_count(services); j++)
    if (!kg_cfg_text(kg_cfg_at(services, j))) return wrong(s, services, err, "a service must be a name: plugin ", name);
  for (size_t j = 0; j < i; j++)
    if (strcmp(kg_cfg_text(kg_cfg_get(kg_cfg_at(plugins, j), "name")), name) == 0)
      return wrong(s, p, err, "two plugins have the name ", name);
  return 0;
}

static int check(const settings_t *s, kg_error_t *err) {
  static const char *const top[] = {
      "flags", "log", "plugins", "plugin_path", "start_timeout_ms", "drain_timeout_ms", "budget_ms", "trial", NULL};
  static const char *const log[] = {"level", "format", "file", NULL};
  static const char *const levels[] = {"error", "warn", "info", "debug", NULL}, *const formats[] = {"text", "json",
                                                                                                    NULL};
  const kg_cfg_t *plugins = kg_cfg_get(s->root, "plugins"), *l = kg_cfg_get(s->root, "log");
  if (check_keys(s, s->root, "the configuration", top, err) < 0 || check_keys(s, l, "log", log, err) < 0) return -1;
  const char *level = settings_text(s, "log", "level"), *format = settings_text(s, "log", "format");
  if (level && !is_in(level, levels))
    return wrong(s, kg_cfg_get(l, "level"), err, "log level must be error, warn, info or debug, not ", level);
  if (format && !is_in(format, formats))
    return wrong(s, kg_cfg_get(l, "format"), err, "log format must be text or json, not ", format);
  if (plugins && kg_cfg_kind(plugins) != KG_CFG_LIST) return wrong(s, plugins, err, "plugins must be a list", "");
  for (size_t i = 0; i < kg_cfg_count(plugins); i++)
    if (check_plugin(s, plugins, i, err) < 0) return -1;
  return 0;
}

/* --- flags of the command line
 * --------------------------------------------------------------------------------------------- */

static int set_flag(settings_t *s, const char *name, size_t size, const char *value, kg_error_t *err) {
  char key[128];
  snprintf(key, sizeof key, "%.*s", (int)size, name);
  const kg_cfg_t *flag = kg_cfg_get(kg_cfg_get(s->root, "flags"), key);
  const kg_cfg_t *set = kg_cfg_get(flag, "set");
  const char *type = kg_cfg_text(kg_cfg_get(flag, "type"));
  if (!flag) return kg_error_set(err, KG_EINVAL, "there is no flag --%s (see kogge server --help)", key);
  if (!set) return wrong(s, flag, err, "this flag does not say what it sets: ", key);
  if (!value) return kg_error_set(err, KG_EINVAL, "--%s needs a value", key);
  if (type && strcmp(type, "int") == 0 && (!*value || strspn(value, "0123456789") != strlen(value)))
    return kg_error_set(err, KG_EINVAL, "--%s needs a number, not %s", key, value);
  bool text = type && strcmp(type, "string") == 0;
  if (kg_cfg_text(set)) return kg_cfg_set(s->root, kg_cfg_text(set), value, text, err);
  for (size_t i = 0; i < kg_cfg_count(set); i++) { /* several plugins must know it */
    const char *path = kg_cfg_text(kg_cfg_at(set, i));
    if (!path) return wrong(s, flag, err, "this flag does not say what it sets: ", key);
    if (kg_cfg_set(s->root, path, value, text, err) < 0) return -1;
  }
  return 0;
}

static int apply_flags(settings_t *s, const cli_t *cli, kg_error_t *err) {
  for (int i = 0; i < cli->nrest; i++) {
    const char *word = cli->rest[i];
    if (strncmp(word, "--", 2) != 0) return kg_error_set(err, KG_EINVAL, "kogge server takes flags only, not %s", word);
    size_t size = strcspn(word + 2, "=");
    const char *value = word[2 + size] ? word + 3 + size : i + 1 < cli->nrest ? cli->rest[++i] : NULL;
    if (set_flag(s, word + 2, size, value, err) < 0) return -1;
  }
  return 0;
}

void settings_help(const settings_t *s) {
  const kg_cfg_t *flags = kg_cfg_get(s->root, "flags");
  printf("\nFlags of %s:\n", s->file);
  for (size_t i = 0; i < kg_cfg_count(flags); i++) {
    const char *help = kg_cfg_text(kg_cfg_get(kg_cfg_at(flags, i), "help"));
    printf("  --%-20s %s\n", kg_cfg_key(flags, i), help ? help : "");
  }
}

/* --- reading
 * --------------------------------------------------------------------------------------------------------------- */

static char *find_file(const cli_t *cli) {
  char path[PATH_MAX];
  if (cli->config) return strdup(cli->config);
  if (access("/etc/kogge/kogge.yaml", R_OK) == 0) return strdup("/etc/kogge/kogge.yaml");
  cli_place(cli, "kogge.yaml", "../" KOGGE_DATADIR "/kogge/kogge.yaml", path);
  return strdup(path);
}

int settings_read(const cli_t *cli, settings_t *s, kg_error_t *err) {
  *s = (settings_t){.file = find_file(cli)};
  if (!s->file) return kg_error_set(err, KG_EFULL, "out of memory");
  s->root = kg_cfg_read(s->file, err);
  bool help = false;
  for (int i = 0; i < cli->nrest; i++) help |= strcmp(cli->rest[i], "--help") == 0 || strcmp(cli->rest[i], "-h") == 0;
  if (s->root && (help || (apply_flags(s, cli, err) == 0 && check(s, err) == 0))) return 0;
  settings_free(s);
  return -1;
}

void settings_free(settings_t *s) {
  kg_cfg_free(s->root);
  free(s->file);
  *s = (settings_t){0};
}

int64_t settings_int(const settings_t *s, const char *key) {
  const char *text = kg_cfg_text(kg_cfg_get(s->root, key));
  return text ? strtoll(text, NULL, 10) : 0;
}

const char *settings_text(const settings_t *s, const char *map, const char *key) {
  return kg_cfg_text(kg_cfg_get(map ? kg_cfg_get(s->root, map) : s->root, key));
}

kg_level_t settings_level(const settings_t *s) {
  const char *level = settings_text(s, "log", "level");
  if (!level || strcmp(level, "info") == 0) return KG_LOG_INFO;
  return strcmp(level, "error") == 0 ? KG_LOG_ERROR : strcmp(level, "warn") == 0 ? KG_LOG_WARN : KG_LOG_DEBUG;
}
