#include "kube/host.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

char *kube_host_name(char buf[KUBE_HOST_NAME_SIZE]) {
  buf[KUBE_HOST_NAME_SIZE - 1] = 0;
  if (gethostname(buf, KUBE_HOST_NAME_SIZE - 1) || !*buf) strcpy(buf, "node");
  for (char *c = buf; *c; c++) *c = (char)tolower((unsigned char)*c);
  return buf;
}

static uint64_t mount_of(int fd) {
  struct statx st;
  return statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) ? 0 : st.stx_mnt_id;
}

/* Takes off whatever is mounted at `name`; false if nothing was. */
static bool unmount_at(int dir, const char *name) {
  char path[512];
  snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dir, name);
  return !umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
}

static void unlink_at(int dir, const char *name, int flags) {
  while (unlinkat(dir, name, flags) && errno == EBUSY && unmount_at(dir, name)) {
  }
}

static bool remove_at(int dir, const char *name, uint64_t mount, unsigned *budget);

static bool remove_inside(int fd, uint64_t mount, unsigned *budget) {
  DIR *d = fdopendir(fd);
  bool whole = true;
  for (struct dirent *e; d && whole && (e = readdir(d));)
    if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) whole = remove_at(fd, e->d_name, mount, budget);
  if (d)
    closedir(d);
  else
    close(fd);
  return whole;
}

static bool remove_at(int dir, const char *name, uint64_t mount, unsigned *budget) {
  int fd;
  if (!*budget) return false;
  --*budget;
  for (;;) { /* what is mounted here is not ours to empty */
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || mount_of(fd) == mount) break;
    close(fd);
    if (!unmount_at(dir, name)) return true;
  }
  if (fd < 0) {
    unlink_at(dir, name, 0);
    return true;
  }
  if (!remove_inside(fd, mount, budget)) return false;
  unlink_at(dir, name, AT_REMOVEDIR);
  return true;
}

bool kube_remove_some(const char *path, unsigned *budget) {
  char *copy = strdup(path), *slash = copy ? strrchr(copy, '/') : NULL;
  bool whole = true;
  if (slash) {
    *slash = 0;
    int dir = open(copy, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) {
      whole = remove_at(dir, slash + 1, mount_of(dir), budget);
      close(dir);
    }
  }
  free(copy);
  return whole;
}

void kube_remove_tree(const char *path) {
  unsigned all = ~0u;
  kube_remove_some(path, &all);
}
