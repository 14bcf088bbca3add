/* What a scenario file says, and the plugins it names. */
#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "sim.h"

static int check_keys(kg_view_t map, const char *where, const char *const *known, kg_error_t *err) {
  for (kg_iter_t it = kg_iter(map); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key);
    size_t i = 0;
    while (known[i] && !kg_str_is(key, known[i])) i++;
    if (!known[i]) return kg_error_set(err, KG_EINVAL, "%s has no setting " KG_STR_FMT, where, KG_STR_ARG(key));
  }
  return 0;
}

static int check_list(kg_view_t root, const char *name, const char *const *known, kg_error_t *err) {
  for (kg_iter_t it = kg_iter(kg_view_get(root, name)); kg_iter_next(&it);) {
    if (kg_view_type(it.value) != KG_V_MAP) return kg_error_set(err, KG_EINVAL, "an element of %s is no map", name);
    if (check_keys(it.value, name, known, err) < 0) return -1;
  }
  return 0;
}

/* A misspelt word must not make a scenario pass. */
static int check(kg_view_t root, kg_error_t *err) {
  static const char *const top[] = {"name",    "duration", "latency_us", "plugins", "faults",
                                    "actions", "checks",   "log_level",  NULL};
  static const char *const plugin[] = {"name", "file", "config", "services", NULL};
  static const char *const fault[] = {"from", "to",    "topic",     "both",     "since", "until",
                                      "loss", "delay", "duplicate", "delay_by", NULL};
  static const char *const action[] = {"at",        "every",         "times",    "request", "want",   "retry",
                                       "crash",     "restart_after", "swap",     "file",    "unload", "load",
                                       "configure", "config",        "may_fail", "fault",   NULL};
  static const char *const checks[] = {"name", "request", "want", "at", "within", "every", "after", NULL};
  if (kg_view_type(root) != KG_V_MAP) return kg_error_set(err, KG_EINVAL, "a scenario is a map");
  if (check_keys(root, "the scenario", top, err) < 0 || check_list(root, "plugins", plugin, err) < 0 ||
      check_list(root, "faults", fault, err) < 0 || check_list(root, "actions", action, err) < 0 ||
      check_list(root, "checks", checks, err) < 0)
    return -1;
  if (!kg_view_count(kg_view_get(root, "plugins"))) return kg_error_set(err, KG_EINVAL, "there are no plugins");
  if (!kg_view_count(kg_view_get(root, "checks")))
    return kg_error_set(err, KG_EINVAL, "there are no checks: such a scenario cannot fail");
  return 0;
}

int sim_scenario_read(const cli_t *cli, const char *file, const char *plugin_path, sim_scenario_t *sc,
                      kg_error_t *err) {
  *sc = (sim_scenario_t){0};
  kg_cfg_t *cfg = kg_cfg_read(file, err);
  if (!cfg) return -1;
  sc->doc = kg_cfg_doc(cfg);
  kg_cfg_free(cfg);
  sc->root = kg_view_of(sc->doc);
  if (check(sc->root, err) < 0) {
    kg_error_prefix(err, "%s", file);
    kg_doc_clear(&sc->doc);
    return -1;
  }
  char *copy = strdup(file);
  sc->dir = copy ? strdup(dirname(copy)) : NULL;
  sc->plugin_path = cli_plugin_path(cli, plugin_path);
  free(copy);
  return 0;
}

void sim_scenario_free(sim_scenario_t *sc) {
  for (sim_lib_t *l = sc->libs, *next; l; l = next) {
    next = l->next;
    dlclose(l->handle);
    free(l->file);
    free(l);
  }
  kg_doc_unref(sc->doc);
  free(sc->dir);
  free(sc->plugin_path);
}

static bool find(const sim_scenario_t *sc, const char *file, char path[PATH_MAX]) {
  if (strchr(file, '/')) {
    snprintf(path, PATH_MAX, "%s/%s", *file == '/' ? "" : sc->dir, file);
    return access(path, R_OK) == 0;
  }
  for (const char *p = sc->plugin_path; p && *p;) {
    size_t n = strcspn(p, ":");
    snprintf(path, PATH_MAX, "%.*s/%s", (int)n, p, file);
    if (access(path, R_OK) == 0) return true;
    p += n + (p[n] == ':');
  }
  return false;
}

static sim_lib_t *open_lib(sim_scenario_t *sc, const char *file, kg_error_t *err) {
  char path[PATH_MAX];
  sim_lib_t *l = calloc(1, sizeof *l);
  if (!l || !find(sc, file, path)) {
    kg_error_set(err, KG_ENOTFOUND, "there is no plugin file %s in %s", file, sc->plugin_path);
  } else if (!(l->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL))) {
    kg_error_set(err, KG_EINVAL, "%s cannot be loaded: %s", path, dlerror());
  } else if (!(l->desc = dlsym(l->handle, "kogge_plugin"))) {
    kg_error_set(err, KG_EINVAL, "%s is no plugin", path);
    dlclose(l->handle);
  } else {
    l->file = strdup(file);
    l->next = sc->libs;
    return sc->libs = l;
  }
  free(l);
  return NULL;
}

const kg_plugin_t *sim_plugin(sim_scenario_t *sc, kg_str_t file, kg_error_t *err) {
  char name[512];
  snprintf(name, sizeof name, KG_STR_FMT, KG_STR_ARG(file));
  sim_lib_t *l = sc->libs;
  while (l && strcmp(l->file, name) != 0) l = l->next;
  if (!l) l = open_lib(sc, name, err);
  return l ? l->desc : NULL;
}

/* --- values --------------------------------------------------------------------------------------------------------
 */

int64_t sim_time_us(kg_kernel_t *k, kg_view_t v) {
  if (kg_view_type(v) == KG_V_ARRAY && kg_view_count(v) == 2) {
    int64_t from = sim_time_us(k, kg_view_at(v, 0)), to = sim_time_us(k, kg_view_at(v, 1));
    if (from < 0 || to < from) return -1;
    return from + (to > from ? (int64_t)(kg_sim_random(k) % (uint64_t)(to - from + 1)) : 0);
  }
  if (kg_view_type(v) == KG_V_INT) return kg_view_int(v, -1) * 1000;
  kg_str_t s = kg_view_str(v);
  char text[40], *unit;
  if (!s.n || s.n >= sizeof text) return -1;
  memcpy(text, s.p, s.n);
  text[s.n] = 0;
  double n = strtod(text, &unit);
  double scale = strcmp(unit, "us") == 0   ? 1
                 : strcmp(unit, "ms") == 0 ? 1e3
                 : strcmp(unit, "s") == 0  ? 1e6
                 : strcmp(unit, "m") == 0  ? 60e6
                 : strcmp(unit, "h") == 0  ? 3600e6
                                           : -1;
  return unit == text || scale < 0 || n < 0 ? -1 : (int64_t)(n * scale + 0.5);
}

static void fill_string(kg_pack_t *p, kg_str_t s, int64_t i) {
  char out[4096];
  size_t n = 0;
  if (kg_str_is(s, "{i}")) {
    kg_pack_int(p, i);
    return;
  }
  for (size_t k = 0; k < s.n && n + 24 < sizeof out; k++) {
    if (s.n - k >= 3 && memcmp(s.p + k, "{i}", 3) == 0) {
      n += (size_t)snprintf(out + n, sizeof out - n, "%lld", (long long)i);
      k += 2;
    } else {
      out[n++] = s.p[k];
    }
  }
  kg_pack_strn(p, (kg_str_t){out, n});
}

static void fill(kg_pack_t *p, kg_view_t v, int64_t i) {
  kg_vtype_t type = kg_view_type(v);
  if (type == KG_V_STR) {
    fill_string(p, kg_view_str(v), i);
  } else if (type == KG_V_MAP || type == KG_V_ARRAY) {
    type == KG_V_MAP ? kg_pack_map(p) : kg_pack_array(p);
    for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) {
      if (it.map) kg_pack_strn(p, kg_view_str(it.key));
      fill(p, it.value, i);
    }
    kg_pack_end(p);
  } else {
    kg_pack_view(p, v);
  }
}

kg_doc_t *sim_fill_in(kg_view_t v, int64_t i) {
  kg_pack_t p = kg_pack();
  fill(&p, v, i);
  return kg_pack_doc(&p);
}
