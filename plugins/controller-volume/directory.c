/* Directories of volumes. A pod writes into its own only, so names below the storage directory are the administrator's
 * and ours; still nothing is followed out of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kube/host.h"
#include "volume.h"

#define TRASH ".trash" /* no volume's name begins with a dot */
enum { SWEEP_ENTRIES = 200, SWEEP_MS = 5, PATH_SIZE = 4096 };

int directory_make(vc_t *c, const char *name, kg_error_t *err) {
  int top = -1, fd = -1, bad = 0;
  if (mkdir(c->dir, 0711) && errno != EEXIST) bad = errno;
  if (!bad && (top = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) bad = errno;
  if (!bad && mkdirat(top, name, 0700) && errno != EEXIST) bad = errno;
  if (!bad && (fd = openat(top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0) bad = errno;
  if (!bad && fchmod(fd, 0777)) bad = errno; /* any user of the pod writes */
  if (fd >= 0) close(fd);
  if (top >= 0) close(top);
  return bad ? kg_error_set(err, KG_EINTERNAL, "mkdir %s/%s: %s", c->dir, name, strerror(bad)) : 0;
}

int directory_remove(kg_ctx_t *ctx, vc_t *c, kg_str_t name, kg_error_t *err) {
  char from[NAME_MAX + 1], to[PATH_SIZE];
  int top = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), bad = top < 0 ? errno : 0;
  snprintf(from, sizeof from, KG_STR_FMT, KG_STR_ARG(name));
  snprintf(to, sizeof to, TRASH "/%s-%lld", from, (long long)kg_wall_us(ctx));
  if (!bad && !faccessat(top, from, F_OK, AT_SYMLINK_NOFOLLOW)) {
    if (mkdirat(top, TRASH, 0700) && errno != EEXIST) bad = errno;
    if (!bad && renameat(top, from, top, to)) bad = errno;
  }
  if (top >= 0) close(top);
  if (bad && bad != ENOENT) return kg_error_set(err, KG_EINTERNAL, "remove %s/%s: %s", c->dir, from, strerror(bad));
  if (!c->sweep) directory_sweep(ctx, c, NULL);
  return 0;
}

void directory_forget(vc_t *c) {
  DIR *d = opendir(c->dir);
  for (struct dirent *e; d && (e = readdir(d));) {
    kg_str_t volume = {e->d_name, strcspn(e->d_name, "_")};
    if (volume.n > 4 && !memcmp(volume.p, "pvc-", 4) &&
        !kube_informer_get(c->base.informers[VOLUMES], (kg_str_t){0}, volume))
      unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
  }
  if (d) closedir(d);
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
