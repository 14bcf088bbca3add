/* Gives a volume to the group of a pod (fsGroup), bit by bit: there may be a million files in it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node.h"

enum { FILES_AT_ONCE = 400, PATH_SIZE = 4096 };

struct ownership {
  char *root;
  gid_t gid;
  DIR *at; /* being read; NULL: none */
  char *path;
  char **dirs; /* that are still to be read */
  size_t n, room;
};

void ownership_free(ownership_t *o) {
  if (!o) return;
  if (o->at) closedir(o->at);
  for (size_t i = 0; i < o->n; i++) free(o->dirs[i]);
  free(o->dirs);
  free(o->path);
  free(o->root);
  free(o);
}

static int push(ownership_t *o, const char *path) {
  if (o->n == o->room) {
    size_t room = o->room ? 2 * o->room : 16;
    char **more = realloc(o->dirs, room * sizeof *more);
    if (!more) return -1;
    o->dirs = more;
    o->room = room;
  }
  return (o->dirs[o->n] = strdup(path)) ? (o->n++, 0) : -1;
}

/* What the group needs: to read and write, in directories to look and to own what comes. */
static mode_t wanted(mode_t mode) {
  return mode | 0660 | (S_ISDIR(mode) ? 02110 : 0);
}

static bool is_given(const struct stat *st, gid_t gid) {
  return st->st_gid == gid && wanted(st->st_mode) == st->st_mode;
}

static int give(int dir, const char *name, const struct stat *st, gid_t gid, kg_error_t *err) {
  if ((fchownat(dir, name, (uid_t)-1, gid, AT_SYMLINK_NOFOLLOW) ||
       (!S_ISLNK(st->st_mode) && fchmodat(dir, name, wanted(st->st_mode) & 07777, 0))) &&
      errno != ENOENT)
    return kg_error_set(err, KG_EINTERNAL, "%s: %s", name, strerror(errno));
  return 0;
}

static int give_entry(ownership_t *o, const char *name, kg_error_t *err) {
  struct stat st;
  char path[PATH_SIZE];
  if (fstatat(dirfd(o->at), name, &st, AT_SYMLINK_NOFOLLOW)) return 0; /* it has gone */
  if (snprintf(path, sizeof path, "%s/%s", o->path, name) >= (int)sizeof path)
    return kg_error_set(err, KG_EINVAL, "%s: path too long", name);
  if (S_ISDIR(st.st_mode) && push(o, path)) return kg_error_set(err, KG_EFULL, "out of memory");
  return give(dirfd(o->at), name, &st, o->gid, err);
}

static void open_next(ownership_t *o) {
  free(o->path);
  o->path = o->dirs[--o->n];
  int fd = open(o->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  o->at = fd < 0 ? NULL : fdopendir(fd);
  if (fd >= 0 && !o->at) close(fd);
}

/* The root comes last: what it says is true of all below it. */
static int give_root(const ownership_t *o, kg_error_t *err) {
  struct stat st;
  if (stat(o->root, &st)) return kg_error_set(err, KG_EINTERNAL, "%s: %s", o->root, strerror(errno));
  return give(AT_FDCWD, o->root, &st, o->gid, err);
}

int ownership_go_on(ownership_t *o, kg_error_t *err) {
  for (int i = 0; i < FILES_AT_ONCE; i++) {
    if (!o->at && !o->n) return give_root(o, err);
    if (!o->at) open_next(o);
    struct dirent *e = o->at ? readdir(o->at) : NULL;
    if (!e && o->at) closedir(o->at), o->at = NULL;
    if (!e || !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    if (give_entry(o, e->d_name, err)) return -1;
  }
  return 1;
}

ownership_t *ownership_new(const char *root, int64_t gid, bool unless_root_is) {
  struct stat st;
  if (unless_root_is && !stat(root, &st) && is_given(&st, (gid_t)gid)) return NULL;
  ownership_t *o = calloc(1, sizeof *o);
  if (!o) return NULL;
  o->gid = (gid_t)gid;
  o->root = strdup(root);
  if (o->root && !push(o, root)) return o;
  ownership_free(o);
  return NULL;
}
