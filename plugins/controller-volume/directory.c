/* Directories of volumes. A pod writes into its own only, so names below the storage directory are the administrator's
 * and ours; still nothing is followed out of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kube/host.h"
#include "volume.h"

#define TRASH ".trash" /* no volume's name begins with a dot */
enum { SWEEP_ENTRIES = 200, SWEEP_MS = 5, PATH_SIZE = 4096 };

static int open_storage(vc_t *c, kg_error_t *err) {
  if (mkdir(c->dir, 0711) && errno != EEXIST)
    return kg_error_set(err, KG_EINTERNAL, "mkdir %s: %s", c->dir, strerror(errno));
  int fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return fd >= 0 ? fd : kg_error_set(err, KG_EINTERNAL, "open %s: %s", c->dir, strerror(errno));
}

int directory_make(vc_t *c, const char *name, kg_error_t *err) {
  int top = open_storage(c, err), fd = -1, bad = 0;
  if (top < 0) return -1;
  if (mkdirat(top, name, 0700) && errno != EEXIST) bad = errno;
  if (!bad && (fd = openat(top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0) bad = errno;
  if (!bad && fchmod(fd, 0777)) bad = errno; /* any user of the pod writes */
  if (fd >= 0) close(fd);
  close(top);
  return bad ? kg_error_set(err, KG_EINTERNAL, "mkdir %s/%s: %s", c->dir, name, strerror(bad)) : 0;
}

int directory_remove(kg_ctx_t *ctx, vc_t *c, const char *name, kg_error_t *err) {
  char to[PATH_SIZE];
  int top = open_storage(c, err), bad = 0;
  if (top < 0) return -1;
  snprintf(to, sizeof to, TRASH "/%s-%lld", name, (long long)kg_wall_us(ctx));
  if (mkdirat(top, TRASH, 0700) && errno != EEXIST) bad = errno;
  if (!bad && renameat(top, name, top, to) && errno != ENOENT) bad = errno;
  close(top);
  if (bad) return kg_error_set(err, KG_EINTERNAL, "remove %s/%s: %s", c->dir, name, strerror(bad));
  if (!c->sweep) directory_sweep(ctx, c, NULL);
  return 0;
}

/* However much a volume held, nobody waits for its files to go. */
void directory_sweep(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  vc_t *c = self;
  char trash[PATH_SIZE], path[PATH_SIZE + 256];
  unsigned budget = SWEEP_ENTRIES;
  bool whole = true;
  c->sweep = 0;
  snprintf(trash, sizeof trash, "%s/" TRASH, c->dir);
  DIR *d = opendir(trash);
  for (struct dirent *e; d && whole && (e = readdir(d));) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    snprintf(path, sizeof path, "%s/%s", trash, e->d_name);
    whole = kube_remove_some(path, &budget);
  }
  if (d) closedir(d);
  if (whole)
    rmdir(trash);
  else
    c->sweep = kg_timer(ctx, SWEEP_MS, 0, directory_sweep, NULL);
}
