/* What a privileged container sees of the host's devices: all of them. */
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "oci.h"

enum { DEEPEST = 4 };

/* Directories of /dev that a container has of its own, or that hold no nodes of devices. */
static bool is_own(const char *path) {
  static const char *const own[] = {"/dev/pts",     "/dev/shm",  "/dev/mqueue", "/dev/fd",
                                    "/dev/console", "/dev/ptmx", "/dev/null",   "/dev/zero",
                                    "/dev/full",    "/dev/tty",  "/dev/random", "/dev/urandom"};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (!strcmp(own[i], path)) return true;
  return false;
}

static void add(kube_arena_t *a, kube_node_t *list, const char *path, const struct stat *st) {
  kube_node_t *d = kube_map(a);
  kube_set(a, d, "path", kube_str(a, path));
  kube_set(a, d, "type", kube_str(a, S_ISBLK(st->st_mode) ? "b" : "c"));
  kube_set(a, d, "major", kube_int(a, major(st->st_rdev)));
  kube_set(a, d, "minor", kube_int(a, minor(st->st_rdev)));
  kube_set(a, d, "fileMode", kube_int(a, st->st_mode & 07777));
  kube_set(a, d, "uid", kube_int(a, st->st_uid));
  kube_set(a, d, "gid", kube_int(a, st->st_gid));
  kube_push(a, list, d);
}

static void walk(kube_arena_t *a, kube_node_t *list, const char *dir, int depth) {
  char path[PATH_SIZE];
  struct stat st;
  DIR *d = depth < DEEPEST ? opendir(dir) : NULL;
  for (struct dirent *e; d && (e = readdir(d));) {
    if (e->d_name[0] == '.') continue;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, e->d_name) >= sizeof path || is_own(path)) continue;
    if (lstat(path, &st)) continue;
    if (S_ISDIR(st.st_mode)) walk(a, list, path, depth + 1);
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) add(a, list, path, &st);
  }
  if (d) closedir(d);
}

kube_node_t *devices_of_host(kube_arena_t *a) {
  kube_node_t *list = kube_array(a);
  walk(a, list, "/dev", 0);
  return list;
}
