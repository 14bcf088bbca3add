#include "scripts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const function_names[FN_COUNT] = {"validate", "mutate", "filter", "score", "reconcile"};

script_t *script_named(plugin_t *pl, kg_str_t name) {
  script_t *s = pl->scripts;
  while (s && !kg_str_is(name, s->name)) s = s->next;
  return s;
}

void script_free(script_t *s) {
  if (!s) return;
  policy_free(s->policy);
  kg_doc_unref(s->match);
  free(s->name);
  free(s->source);
  free(s);
}

int script_call(script_t *s, int fn, const policy_arg_t *args, size_t n, policy_result_t *out, kg_error_t *err) {
  kg_error_t local = {0};
  s->calls++;
  if (policy_call(s->policy, fn, args, n, out, &local) == 0) return 0;
  s->errors++;
  snprintf(s->last_error, sizeof s->last_error, "%s", local.text);
  if (err) *err = local;
  return -1;
}

/* --- making ---------------------------------------------------------------------------------------------------------
 */

static bool valid_name(const char *name) {
  size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
  return n && n < 64 && !name[n] && name[0] != '.';
}

static int check_match(const script_t *s, kg_error_t *err) {
  for (kg_iter_t it = kg_iter(kg_view_of(s->match)); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key);
    if (!kg_str_is(key, "operations") && !kg_str_is(key, "resources"))
      return kg_error_set(err, KG_EINVAL, "%s: match knows operations and resources, not " KG_STR_FMT, s->name,
                          KG_STR_ARG(key));
    for (kg_iter_t e = kg_iter(it.value); kg_iter_next(&e);)
      if (kg_view_type(e.value) != KG_V_STR)
        return kg_error_set(err, KG_EINVAL, "%s: match." KG_STR_FMT " is no list of strings", s->name, KG_STR_ARG(key));
  }
  return 0;
}

static int read_globals(script_t *s, kg_error_t *err) {
  kg_doc_t *on_error = NULL;
  for (int i = 0; i < FN_COUNT; i++) s->fn[i] = policy_function(s->policy, function_names[i]);
  if (policy_global(s->policy, "match", &s->match, err) < 0 || policy_global(s->policy, "on_error", &on_error, err) < 0)
    return -1;
  s->lenient = kg_str_is(kg_view_str(kg_view_of(on_error)), "allow");
  kg_doc_unref(on_error);
  return check_match(s, err);
}

static void digest(script_t *s) {
  uint32_t h = 2166136261u;
  for (const unsigned char *p = (const unsigned char *)s->source; *p; p++) h = (h ^ *p) * 16777619u;
  snprintf(s->digest, sizeof s->digest, "%08x", h);
}

script_t *script_make(plugin_t *pl, const char *name, kg_str_t source, kg_error_t *err) {
  script_t *s = calloc(1, sizeof *s);
  if (s) s->name = strdup(name);
  if (s) s->source = kg_str_dup(source);
  if (!s || !s->name || !s->source)
    kg_error_set(err, KG_EFULL, "out of memory");
  else if ((s->policy = policy_new(name, source, &pl->options, err)) && read_globals(s, err) == 0) {
    s->version = 1;
    digest(s);
    return s;
  }
  script_free(s);
  return NULL;
}

/* --- keeping --------------------------------------------------------------------------------------------------------
 */

static void kept_path(kg_ctx_t *ctx, const char *name, char *out, size_t size) {
  snprintf(out, size, "%s/policy/%s.lua", kg_data_dir(ctx), name);
}

static int write_kept(kg_ctx_t *ctx, const script_t *s, kg_error_t *err) {
  char dir[4096], path[4200], temporary[4210];
  snprintf(dir, sizeof dir, "%s/policy", kg_data_dir(ctx));
  kept_path(ctx, s->name, path, sizeof path);
  snprintf(temporary, sizeof temporary, "%s.new", path);
  if (mkdir(dir, 0700) < 0 && errno != EEXIST)
    return kg_error_set(err, KG_EINTERNAL, "%s cannot be made: %s", dir, strerror(errno));
  int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  size_t n = strlen(s->source);
  bool good = fd >= 0 && write(fd, s->source, n) == (ssize_t)n;
  if (fd >= 0) close(fd);
  if (good && rename(temporary, path) == 0) return 0;
  return kg_error_set(err, KG_EINTERNAL, "%s cannot be written: %s", path, strerror(errno));
}

char *read_text(const char *path, size_t most, size_t *size, kg_error_t *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  char *text = NULL;
  if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
    kg_error_set(err, KG_ENOTFOUND, "%s cannot be read: %s", path, fd < 0 ? strerror(errno) : "it is no file");
  } else if ((size_t)st.st_size > most) {
    kg_error_set(err, KG_ETOOBIG, "%s is longer than %zu KiB", path, most >> 10);
  } else if ((text = malloc((size_t)st.st_size + 1)) != NULL) {
    ssize_t n = read(fd, text, (size_t)st.st_size);
    *size = n > 0 ? (size_t)n : 0;
    text[*size] = 0;
  }
  if (fd >= 0) close(fd);
  return text;
}

void scripts_read_kept(kg_ctx_t *ctx, plugin_t *pl) {
  char dir[4096];
  struct dirent **files;
  snprintf(dir, sizeof dir, "%s/policy", kg_data_dir(ctx));
  int n = scandir(dir, &files, NULL, alphasort);
  for (int i = 0; i < n; i++) {
    char *dot = strrchr(files[i]->d_name, '.'), path[4400];
    size_t size = 0;
    kg_error_t err = {0};
    snprintf(path, sizeof path, "%s/%s", dir, files[i]->d_name);
    char *text = dot && strcmp(dot, ".lua") == 0 ? read_text(path, POLICY_MAX_SOURCE, &size, &err) : NULL;
    if (text) {
      *dot = 0;
      script_t *s = script_load(ctx, pl, files[i]->d_name, (kg_str_t){text, size}, false, NULL, &err);
      if (s) s->kept = true;
    }
    if (err.code) kg_log(ctx, KG_LOG_ERROR, "policy %s is not in force: %s", files[i]->d_name, err.text);
    free(text);
    free(files[i]);
  }
  if (n >= 0) free(files);
}

/* --- putting in force ------------------------------------------------------------------------------------------------
 */

static void put(plugin_t *pl, script_t *s) {
  script_t **at = &pl->scripts;
  while (*at && strcmp((*at)->name, s->name) < 0) at = &(*at)->next;
  script_t *old = *at && strcmp((*at)->name, s->name) == 0 ? *at : NULL;
  s->next = old ? old->next : *at;
  if (old) {
    s->calls = old->calls;
    s->errors = old->errors;
    s->version = old->version + (strcmp(s->source, old->source) != 0);
  }
  *at = s;
  script_free(old);
}

static void refused(kg_ctx_t *ctx, script_t *last_good, kg_error_t *err) {
  if (!last_good) return;
  snprintf(last_good->stale, sizeof last_good->stale, "a newer version was refused: %.330s", err->text);
  kg_log(ctx, KG_LOG_WARN, "policy %s: %s; the last good one stays in force", last_good->name, err->text);
  kg_error_t why = *err;
  kg_error_set(err, why.code, "%.400s; the last good one stays in force", why.text);
}

script_t *script_load(kg_ctx_t *ctx, plugin_t *pl, const char *name, kg_str_t source, bool keep, bool *replaced,
                      kg_error_t *err) {
  script_t *old = script_named(pl, kg_str(name));
  if (!valid_name(name)) {
    kg_error_set(err, KG_EINVAL, "\"%s\" is no name for a policy", name);
    return NULL;
  }
  if (memchr(source.p, 0, source.n)) {
    kg_error_set(err, KG_EINVAL, "%s is no text", name);
    return NULL;
  }
  pl->options.seed = kg_random(ctx);
  script_t *s = script_make(pl, name, source, err);
  if (s && s->fn[FN_RECONCILE]) {
    kg_error_set(err, KG_EINVAL, "%s is a controller: kogge plugin load %s controller-lua.so --config FILE", name,
                 name);
    script_free(s);
    s = NULL;
  }
  if (!s || script_try(pl, s, err) < 0 || (keep && write_kept(ctx, s, err) < 0)) {
    script_free(s);
    refused(ctx, old, err);
    return NULL;
  }
  s->kept = keep || (old && old->kept);
  if (replaced) *replaced = old != NULL;
  put(pl, s);
  if (kg_active(ctx)) kg_publish(ctx, "policy.changed", NULL, NULL, 0);
  return s;
}

int script_unload(kg_ctx_t *ctx, plugin_t *pl, kg_str_t name, kg_error_t *err) {
  script_t **at = &pl->scripts;
  char path[4200];
  while (*at && !kg_str_is(name, (*at)->name)) at = &(*at)->next;
  script_t *s = *at;
  if (!s) return kg_error_set(err, KG_ENOTFOUND, "there is no policy " KG_STR_FMT, KG_STR_ARG(name));
  kept_path(ctx, s->name, path, sizeof path);
  if (s->kept && unlink(path) < 0 && errno != ENOENT)
    return kg_error_set(err, KG_EINTERNAL, "%s cannot be removed: %s", path, strerror(errno));
  *at = s->next;
  script_free(s);
  kg_publish(ctx, "policy.changed", NULL, NULL, 0);
  return 0;
}

/* --- telling --------------------------------------------------------------------------------------------------------
 */

static void pack_script(const script_t *s, kg_pack_t *p) {
  kg_pack_kv_str(p, "name", s->name);
  kg_pack_kv_int(p, "version", s->version);
  kg_pack_kv_str(p, "digest", s->digest);
  kg_pack_key(p, "functions");
  kg_pack_array(p);
  for (int i = 0; i < FN_COUNT; i++)
    if (s->fn[i]) kg_pack_str(p, function_names[i]);
  kg_pack_end(p);
}

kg_doc_t *script_doc(const script_t *s, bool replaced) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  pack_script(s, &p);
  kg_pack_kv_bool(&p, "replaced", replaced);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

kg_doc_t *scripts_doc(const plugin_t *pl) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "policies");
  kg_pack_array(&p);
  for (const script_t *s = pl->scripts; s; s = s->next) {
    kg_pack_map(&p);
    pack_script(s, &p);
    kg_pack_kv_str(&p, "state", s->stale[0] ? "stale" : "current");
    kg_pack_kv_bool(&p, "kept", s->kept);
    kg_pack_kv_int(&p, "calls", (int64_t)s->calls);
    kg_pack_kv_int(&p, "errors", (int64_t)s->errors);
    kg_pack_kv_int(&p, "memory", (int64_t)policy_memory(s->policy));
    if (s->last_error[0]) kg_pack_kv_str(&p, "last_error", s->last_error);
    if (s->stale[0]) kg_pack_kv_str(&p, "stale", s->stale);
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}
