/* Values of fileKeyRef: a file that the pod's own containers wrote into a volume, NAME='value' a line. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "node.h"

enum { MOST_BYTES = 64 * 1024, PATH_SIZE = 4096 };

/* The file, with every link resolved inside the volume; malloc'ed, NULL: it cannot be read. */
static char *read_file(const char *root, const char *path) {
  struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                         .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  int fd = dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
  char *text = fd < 0 ? NULL : calloc(1, MOST_BYTES + 1);
  size_t n = 0;
  ssize_t got = -1;
  while (text && n < MOST_BYTES && (got = read(fd, text + n, MOST_BYTES - n)) > 0) n += (size_t)got;
  if (fd >= 0) close(fd);
  if (dir >= 0) close(dir);
  if (got < 0) set_str(&text, NULL);
  return text;
}

static const char *skip_blanks(const char *p) {
  return p + strspn(p, " \t");
}

/* One assignment at p, without blanks before it. What follows its line, with its name and value (NULL value: empty);
 * NULL: it is none. */
static const char *assignment(const char *p, kg_str_t *name, kg_str_t *value) {
  size_t n = strcspn(p, "=\n");
  if (!n || p[n] != '=' || p[n - 1] == ' ' || p[n - 1] == '\t') return NULL;
  *name = (kg_str_t){p, n};
  *value = (kg_str_t){0};
  p += n + 1;
  if (*p == ' ' || *p == '\t' || !*p || *p == '\n') { /* as in a shell: nothing is assigned */
    if (*p != ' ' && *p != '\t') return NULL;
    return p + strcspn(p, "\n");
  }
  const char *end = *p == '\'' ? strchr(p + 1, '\'') : NULL;
  if (!end) return NULL;
  *value = (kg_str_t){p + 1, (size_t)(end - p - 1)};
  p = skip_blanks(end + 1);
  return *p && *p != '\n' && *p != '#' ? NULL : p + strcspn(p, "\n");
}

/* 0 with *value (malloc'ed, NULL: there is no such name or it is empty), -1: this is no such file. */
static int find_name(const char *text, kg_str_t key, char **value) {
  kg_str_t name, found;
  *value = NULL;
  for (const char *p = text; *p;) {
    p = skip_blanks(p);
    if (*p == '#') p += strcspn(p, "\n");
    if (*p && *p != '\n') {
      p = assignment(p, &name, &found);
      if (!p) return -1;
      if (kg_str_eq(name, key)) {
        *value = found.n ? kg_str_dup(found) : NULL;
        return 0;
      }
    }
    if (*p == '\n') p++;
  }
  return 0;
}

int file_key(pod_t *p, kg_view_t ref, char **value, kg_error_t *err) {
  char root[PATH_SIZE];
  kg_str_t name = VIEW_STR(ref, "volumeName"), key = VIEW_STR(ref, "key");
  char *path = kg_str_dup(VIEW_STR(ref, "path"));
  *value = NULL;
  const char *from = volume_path(p, volume_named(p, name), root, sizeof root);
  char *text = from && path ? read_file(from, path) : NULL;
  int r = 0;
  if (!from)
    r = kg_error_set(err, KG_EINVAL, "cannot find the volume \"" KG_STR_FMT "\" referenced by FileKeyRef",
                     KG_STR_ARG(name));
  else if (!text || find_name(text, key, value))
    r = kg_error_set(err, KG_EINVAL, "couldn't parse env file");
  else if (!*value && !kg_view_bool(kg_view_get(ref, "optional"), false))
    r = kg_error_set(err, KG_EINVAL, "environment variable key \"" KG_STR_FMT "\" not found in file \"%s/%s\"",
                     KG_STR_ARG(key), from, path);
  free(text);
  free(path);
  return r;
}
