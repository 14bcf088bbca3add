/*
 * Removes trees that strangers made: through links and descriptors they can be deeper than any path may be long.
 * Nothing is descended into: directories inside a directory are lifted into the tree's top until all are empty.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_store.h"

typedef struct removal {
  int top;
  dev_t disk; /* what is mounted inside stays */
  unsigned lifted;
} removal_t;

static bool is_dots(const char *name) {
  return !strcmp(name, ".") || !strcmp(name, "..");
}

static int open_dir(const removal_t *r, int at, const char *name) {
  struct stat st;
  int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || (fstat(fd, &st) == 0 && st.st_dev == r->disk)) return fd;
  close(fd);
  return -1;
}

/* A file, a link, an empty directory. */
static bool remove_at(int at, const char *name) {
  return unlinkat(at, name, 0) == 0 || unlinkat(at, name, AT_REMOVEDIR) == 0;
}

static bool lift(removal_t *r, int at, const char *name) {
  char fresh[32];
  snprintf(fresh, sizeof fresh, ".kogge-%u", r->lifted++);
  return renameat(at, name, r->top, fresh) == 0;
}

/* Goes through the directory of fd, which is taken over; true: it has become smaller. */
static bool thin_out(removal_t *r, int fd, bool (*rest)(removal_t *r, int at, const char *name)) {
  DIR *d = fdopendir(fd);
  struct dirent *e;
  bool smaller = false;
  if (!d) close(fd);
  while (d && (e = readdir(d)))
    if (!is_dots(e->d_name) && (remove_at(fd, e->d_name) || rest(r, fd, e->d_name))) smaller = true;
  if (d) closedir(d);
  return smaller;
}

static bool flatten(removal_t *r, int at, const char *name) {
  int fd = open_dir(r, at, name);
  bool smaller = fd >= 0 && thin_out(r, fd, lift);
  return remove_at(at, name) || smaller;
}

void tree_remove(const char *path) {
  struct stat st;
  removal_t r = {.top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
  if (r.top >= 0 && fstat(r.top, &st) == 0) {
    r.disk = st.st_dev;
    for (bool smaller = true; smaller;) {
      int fd = openat(r.top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      smaller = fd >= 0 && thin_out(&r, fd, flatten);
    }
  }
  if (r.top >= 0) close(r.top);
  remove_at(AT_FDCWD, path);
}
