/* Files and directories of pods, written whole or not at all. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node.h"

int make_dirs(const char *path, int mode, kg_error_t *err) {
  char buf[4096];
  if ((size_t)snprintf(buf, sizeof buf, "%s", path) >= sizeof buf)
    return kg_error_set(err, KG_EINVAL, "the path %.80s... is too long", path);
  for (char *s = buf + 1; *s; s++)
    if (*s == '/') {
      *s = 0;
      if (mkdir(buf, 0755) && errno != EEXIST)
        return kg_error_set(err, KG_EINTERNAL, "mkdir %s: %s", buf, strerror(errno));
      *s = '/';
    }
  if (!mkdir(buf, (mode_t)mode))
    chmod(buf, (mode_t)mode);
  else if (errno != EEXIST)
    return kg_error_set(err, KG_EINTERNAL, "mkdir %s: %s", buf, strerror(errno));
  return 0;
}

static int put(int fd, const char *p, size_t n) {
  while (n) {
    ssize_t w = write(fd, p, n);
    if (w < 0 && errno == EINTR) continue;
    if (w <= 0) return -1;
    p += w;
    n -= (size_t)w;
  }
  return 0;
}

int write_file(const char *path, const void *data, size_t n, int mode, kg_error_t *err) {
  char *tmp = format("%s.new", path);
  int fd = tmp ? open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, (mode_t)mode) : -1;
  int bad = fd < 0 || put(fd, data, n) || fchmod(fd, (mode_t)mode);
  if (fd >= 0) close(fd);
  if (!bad) bad = rename(tmp, path);
  if (bad) kg_error_set(err, KG_EINTERNAL, "cannot write %s: %s", path, strerror(errno));
  if (bad && tmp) unlink(tmp);
  free(tmp);
  return bad ? -1 : 0;
}

bool path_is_local(kg_str_t path) {
  if (!path.n || path.p[0] == '/' || memchr(path.p, 0, path.n)) return false;
  for (size_t i = 0; i < path.n;) {
    size_t n = 0;
    while (i + n < path.n && path.p[i + n] != '/') n++;
    if (n == 2 && !memcmp(path.p + i, "..", 2)) return false;
    i += n + 1;
  }
  return true;
}

bool is_mounted(const char *path) {
  struct stat here, above;
  char up[4096];
  snprintf(up, sizeof up, "%s/..", path);
  return !lstat(path, &here) && S_ISDIR(here.st_mode) && !stat(up, &above) && here.st_dev != above.st_dev;
}

/* --- a volume's files behind ..data, so that a reader sees all of them change at once
 * ------------------------------------ */

static uint64_t hash(uint64_t h, const void *data, size_t n) {
  return kg_hash(kg_hash(h, data, n), &n, sizeof n);
}

static uint64_t hash_files(const file_t *f, int64_t gid) {
  uint64_t h = hash(KG_HASH_START, &gid, sizeof gid);
  for (; f; f = f->next) {
    h = hash(h, f->path, strlen(f->path));
    h = hash(h, f->data, f->n);
    h = hash(h, &f->mode, sizeof f->mode);
    h = hash(h, &f->uid, sizeof f->uid);
  }
  return h;
}

static int write_one(const char *dir, const file_t *f, int64_t gid, kg_error_t *err) {
  char *path = format("%s/%s", dir, f->path);
  char *slash = path ? strrchr(path, '/') : NULL;
  int r = -1;
  if (slash) {
    *slash = 0;
    r = make_dirs(path, 0755, err);
    *slash = '/';
  }
  int mode = gid >= 0 ? f->mode | 0440 : f->mode;
  if (!r) r = write_file(path, f->data, f->n, mode, err);
  if (!r && (gid >= 0 || f->uid >= 0) && lchown(path, (uid_t)f->uid, (gid_t)gid))
    r = kg_error_set(err, KG_EINTERNAL, "chown %s: %s", path, strerror(errno));
  free(path);
  return r;
}

static bool wanted(const file_t *f, const char *name) {
  size_t n = strlen(name);
  for (; f; f = f->next)
    if (!strncmp(f->path, name, n) && (!f->path[n] || f->path[n] == '/')) return true;
  return false;
}

/* Links what is new at the top, takes away what is no longer there. */
static void link_names(const char *dir, const file_t *files) {
  for (const file_t *f = files; f; f = f->next) {
    int n = (int)strcspn(f->path, "/");
    char *from = format("%s/%.*s", dir, n, f->path), *to = format("..data/%.*s", n, f->path);
    if (from && to && symlink(to, from) && errno != EEXIST) unlink(from);
    free(from);
    free(to);
  }
  DIR *d = opendir(dir);
  for (struct dirent *e; d && (e = readdir(d));)
    if (e->d_name[0] != '.' || (e->d_name[1] != '.' && e->d_name[1])) {
      if (!wanted(files, e->d_name)) unlinkat(dirfd(d), e->d_name, 0);
    }
  if (d) closedir(d);
}

int write_atomically(const char *dir, const file_t *files, int64_t gid, int64_t now_us, kg_error_t *err) {
  char old[256] = "", name[64], data[4096], tmp[4096], fresh[4096];
  snprintf(data, sizeof data, "%s/..data", dir);
  snprintf(tmp, sizeof tmp, "%s/..data_tmp", dir);
  ssize_t n = readlink(data, old, sizeof old - 1);
  old[n > 0 ? n : 0] = 0;
  char sum[20];
  snprintf(sum, sizeof sum, ".%016llx", (unsigned long long)hash_files(files, gid));
  if (n > 17 && !strcmp(old + n - 17, sum)) return 0; /* nothing changed: the name says what is in it */
  snprintf(name, sizeof name, "..%lld%s", (long long)now_us, sum);
  if ((size_t)snprintf(fresh, sizeof fresh, "%s/%s", dir, name) >= sizeof fresh)
    return kg_error_set(err, KG_EINVAL, "a path is too long");
  if (make_dirs(fresh, 0755, err)) return -1;
  for (const file_t *f = files; f; f = f->next)
    if (write_one(fresh, f, gid, err)) return -1;
  unlink(tmp);
  if (symlink(name, tmp) || rename(tmp, data))
    return kg_error_set(err, KG_EINTERNAL, "cannot switch %s: %s", data, strerror(errno));
  link_names(dir, files);
  if (*old && !strchr(old, '/')) {
    snprintf(tmp, sizeof tmp, "%s/%s", dir, old);
    kube_remove_tree(tmp);
  }
  return 0;
}
