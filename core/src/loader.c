#include "loader.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *base(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* --- finding
 * --------------------------------------------------------------------------------------------------------------- */

static char *if_file(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? realpath(path, NULL) : NULL;
}

static char *look_up(const char *plugin_path, const char *file) {
  char path[PATH_MAX];
  for (const char *p = plugin_path; p && *p; p += *p == ':') {
    size_t n = strcspn(p, ":");
    if (n && snprintf(path, sizeof path, "%.*s/%s", (int)n, p, file) < (int)sizeof path) {
      char *found = if_file(path);
      if (found) return found;
    }
    p += n;
  }
  return NULL;
}

char *kg_loader_find(const char *plugin_path, const char *file, const char *role, kg_error_t *err) {
  char name[NAME_MAX * 2];
  char *found = strchr(file, '/') ? if_file(file) : look_up(plugin_path, file);
  if (!found && !strchr(file, '/') && role && snprintf(name, sizeof name, "%s-%s.so", role, file) < (int)sizeof name)
    found = look_up(plugin_path, name);
  if (!found && !strchr(file, '/') && snprintf(name, sizeof name, "%s.so", file) < (int)sizeof name)
    found = look_up(plugin_path, name);
  if (found) return found;
  if (strchr(file, '/'))
    kg_error_set(err, KG_ENOTFOUND, "plugin file %s does not exist", file);
  else
    kg_error_set(err, KG_ENOTFOUND, "plugin %s was not found in %s", file,
                 plugin_path ? plugin_path : "(no plugin path)");
  return NULL;
}

uint64_t kg_loader_hash(const char *path, kg_error_t *err) {
  unsigned char buf[65536];
  uint64_t h = KG_HASH_START;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = -1;
  while (fd >= 0 && (n = read(fd, buf, sizeof buf)) > 0) h = kg_hash(h, buf, (size_t)n);
  if (n < 0) kg_error_set(err, KG_ENOTFOUND, "plugin file %s cannot be read: %s", path, strerror(errno));
  if (fd >= 0) close(fd);
  return n < 0 ? 0 : h ? h : 1;
}

/* --- opening
 * --------------------------------------------------------------------------------------------------------------- */

/* Copies the file to a new one in run_dir, so that a rebuild never changes what is mapped, and dlopen gives a fresh
 * instance. */
static int private_copy(const char *run_dir, const char *path, char *copy, size_t room, kg_error_t *err) {
  struct stat st;
  int in = open(path, O_RDONLY | O_CLOEXEC);
  if (in < 0 || fstat(in, &st) < 0) {
    if (in >= 0) close(in);
    return kg_error_set(err, KG_ENOTFOUND, "plugin file %s cannot be read: %s", path, strerror(errno));
  }
  snprintf(copy, room, "%s/%s.XXXXXX", run_dir, base(path));
  int out = mkostemp(copy, O_CLOEXEC);
  off_t left = out < 0 ? -1 : st.st_size;
  while (left > 0) {
    ssize_t n = sendfile(out, in, NULL, (size_t)left);
    if (n <= 0) break;
    left -= n;
  }
  int saved = errno;
  if (out >= 0 && left != 0) unlink(copy);
  if (out >= 0) close(out);
  close(in);
  if (left == 0) return 0;
  return kg_error_set(err, KG_EINTERNAL, "plugin file %s cannot be copied to %s: %s", path, run_dir, strerror(saved));
}

int kg_loader_check(const kg_plugin_t *d, const char *path, kg_error_t *err) {
  const char *file = base(path);
  if (d->magic != KG_PLUGIN_MAGIC)
    return kg_error_set(err, KG_EINVAL, "%s is no Kogge plugin: its descriptor begins with %08x, not with %08x", file,
                        d->magic, KG_PLUGIN_MAGIC);
  if (d->abi != KG_PLUGIN_ABI)
    return kg_error_set(err, KG_EINVAL, "%s was built for plugin interface %u, this kernel has %u: build it again",
                        file, d->abi, KG_PLUGIN_ABI);
  if (d->size != sizeof(kg_plugin_t))
    return kg_error_set(err, KG_EINVAL, "the descriptor of %s has %zu bytes, not %zu: build it again", file, d->size,
                        sizeof(kg_plugin_t));
  if (!d->name || !*d->name) return kg_error_set(err, KG_EINVAL, "the descriptor of %s has no name", file);
  if (!d->role || !*d->role) return kg_error_set(err, KG_EINVAL, "the descriptor of %s has no role", file);
  if (!d->version || !*d->version) return kg_error_set(err, KG_EINVAL, "the descriptor of %s has no version", file);
  if (d->start && !d->create)
    return kg_error_set(err, KG_EINVAL, "the descriptor of %s has start() but no create()", file);
  for (const kg_handler_t *h = d->handlers; h && h->topic; h++)
    if (!h->fn)
      return kg_error_set(err, KG_EINVAL, "the descriptor of %s has no function for topic %s", file, h->topic);
  return 0;
}

static bool has_word(const char *words, kg_str_t word) {
  for (size_t n; *words; words += n) {
    words += strspn(words, " ");
    n = strcspn(words, " ");
    if (n == word.n && memcmp(words, word.p, n) == 0) return true;
  }
  return false;
}

int kg_loader_keys(const kg_plugin_t *desc, kg_view_t config, kg_error_t *err) {
  if (!desc->config_keys) return 0;
  for (kg_iter_t it = kg_iter(config); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key);
    if (!has_word(desc->config_keys, key))
      return kg_error_set(err, KG_EINVAL, "the config of %s knows no key " KG_STR_FMT ", only %s", desc->name,
                          KG_STR_ARG(key), *desc->config_keys ? desc->config_keys : "none at all");
  }
  return 0;
}

static void close_handle(void *handle) {
  dlclose(handle);
}

typedef struct extent {
  ElfW(Addr) base;
  size_t size;
} extent_t;

static int measure(struct dl_phdr_info *info, size_t size, void *arg) {
  (void)size;
  extent_t *e = arg;
  if (info->dlpi_addr != e->base) return 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    if (p->p_type == PT_LOAD && p->p_vaddr + p->p_memsz > e->size) e->size = p->p_vaddr + p->p_memsz;
  }
  return 1;
}

/* From now on documents that lead into this file keep it loaded. */
static int take_handle(kg_loaded_t *out, void *handle, kg_error_t *err) {
  struct link_map *map;
  extent_t e = {0};
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0) {
    e.base = map->l_addr;
    dl_iterate_phdr(measure, &e);
  }
  out->code = kg_mapped_add((const void *)e.base, e.size, close_handle, handle);
  if (out->code) return 0;
  dlclose(handle);
  return kg_error_set(err, KG_EFULL, "out of memory");
}

static int open_copy(kg_loaded_t *out, const char *path, const char *copy, kg_error_t *err) {
  void *handle = dlopen(copy, RTLD_NOW | RTLD_LOCAL);
  const char *why = handle ? NULL : dlerror();
  if (why) {
    /* The sentence names the private copy; people know the original. */
    const char *rest = strncmp(why, copy, strlen(copy)) == 0 ? why + strlen(copy) : why;
    while (*rest == ':' || *rest == ' ') rest++;
    char text[256];
    snprintf(text, sizeof text, "%s", rest);
    for (char *p = text; *p; p++) /* it quotes names out of the file, which may be damaged */
      if (*p < ' ' || *p > '~') *p = '?';
    return kg_error_set(err, KG_EINVAL, "%s cannot be loaded: %s", base(path), text);
  }
  if (take_handle(out, handle, err) < 0) return -1;
  out->desc = dlsym(handle, "kogge_plugin");
  if (!out->desc)
    return kg_error_set(err, KG_EINVAL, "%s is no Kogge plugin: it does not export kogge_plugin", base(path));
  return kg_loader_check(out->desc, path, err);
}

int kg_loader_open(const char *run_dir, const char *path, kg_loaded_t *out, kg_error_t *err) {
  char copy[PATH_MAX];
  *out = (kg_loaded_t){0};
  out->hash = kg_loader_hash(path, err);
  if (!out->hash || private_copy(run_dir, path, copy, sizeof copy, err) < 0) return -1;
  int rc = open_copy(out, path, copy, err);
  unlink(copy);
  if (rc == 0 && !(out->path = strdup(path))) rc = kg_error_set(err, KG_EFULL, "out of memory");
  if (rc < 0) kg_loader_close(out);
  return rc;
}

void kg_loader_close(kg_loaded_t *l) {
  kg_mapped_drop(l->code);
  free(l->path);
  *l = (kg_loaded_t){0};
}
