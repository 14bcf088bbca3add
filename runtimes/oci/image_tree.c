/*
 * A layer's tar becomes files. The tar is a stranger's: names that climb are refused, links on the way are resolved
 * inside the tree by the kernel (RESOLVE_IN_ROOT), the last part of a name is never followed. Whiteouts take
 * overlayfs's form.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "image_store.h"

typedef struct dir_time { /* set at the end: files made in a directory change its time */
  char *path;
  struct timespec mtime;
} dir_time_t;

enum { MAX_TIMES = 1 << 19 }; /* beyond, the times of directories are those of unpacking */

struct tree {
  int root;
  int64_t size;
  dir_time_t *times;
  size_t ntimes, room;
  char *parent; /* the directory opened last, by its name in the tar: entries come sorted */
  int parent_fd;
};

tree_t *tree_new(const char *root, kg_error_t *err) {
  tree_t *t = calloc(1, sizeof *t);
  int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (t && fd >= 0) {
    *t = (tree_t){.root = fd, .parent_fd = -1};
    return t;
  }
  kg_error_set(err, KG_EINTERNAL, "%s cannot be opened: %s", root, strerror(errno));
  if (fd >= 0) close(fd);
  free(t);
  return NULL;
}

int64_t tree_size(const tree_t *t) {
  return t->size;
}

static void forget_parent(tree_t *t) {
  free(t->parent);
  t->parent = NULL;
  if (t->parent_fd >= 0) close(t->parent_fd);
  t->parent_fd = -1;
}

void tree_free(tree_t *t) {
  if (!t) return;
  forget_parent(t);
  for (size_t i = 0; i < t->ntimes; i++) free(t->times[i].path);
  free(t->times);
  close(t->root);
  free(t);
}

static int failed(kg_error_t *err, const char *what, const char *path) {
  return kg_error_set(err, errno == ENOSPC || errno == EDQUOT ? KG_EFULL : KG_EINVAL, "%s could not be %s: %s", path,
                      what, strerror(errno));
}

/* --- names ------------------------------------------------------------------------------------------------------- */

/* "./a//b/" and "/a/b" become "a/b", "./" becomes "". ".." is refused: no honest tool writes it. */
static int clean_name(const char *in, char out[PATH_MAX], kg_error_t *err) {
  size_t n = 0;
  if (!in) return kg_error_set(err, KG_EINVAL, "an entry of the archive has a name that is no text");
  for (const char *p = in; *p;) {
    size_t part = strcspn(p, "/");
    if (part == 2 && !memcmp(p, "..", 2))
      return kg_error_set(err, KG_EINVAL, "the archive is refused: the entry %.300s leaves its directory", in);
    if (part && !(part == 1 && *p == '.')) {
      if (n + part + 2 > PATH_MAX)
        return kg_error_set(err, KG_EINVAL, "an entry of the archive has a name that is too long");
      if (n) out[n++] = '/';
      memcpy(out + n, p, part);
      n += part;
    }
    p += part + (p[part] == '/');
  }
  out[n] = '\0';
  return 0;
}

static int open_inside(int root, const char *path) {
  struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                         .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof how);
}

/* Tars need not name the directories above. */
int tree_dir(int root, char *path) {
  int fd = open_inside(root, path);
  if (fd >= 0 || errno != ENOENT) return fd;
  char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  if (slash) *slash = '\0';
  int above = tree_dir(root, slash ? path : (char[]){""});
  if (slash) *slash = '/';
  if (above < 0) return -1;
  int made = mkdirat(above, name, 0755);
  int why = errno;
  if (made == 0) fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (made == 0) why = errno;
  close(above);
  errno = why;
  return fd;
}

/* Descriptor of the directory path lies in (kept by the tree) and its last part. */
static int open_parent(tree_t *t, char *path, const char **name) {
  char *slash = strrchr(path, '/');
  *name = slash ? slash + 1 : path;
  if (!slash) return t->root;
  *slash = '\0';
  if (!t->parent || strcmp(t->parent, path)) {
    forget_parent(t);
    t->parent_fd = tree_dir(t->root, path);
    if (t->parent_fd >= 0) t->parent = strdup(path);
  }
  *slash = '/';
  return t->parent_fd;
}

/* --- whiteouts -------------------------------------------------------------------------------------------------- */

static bool is_whiteout(int at, const char *name) {
  struct stat st;
  return fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0;
}

static int make_opaque(int at, const char *name) {
  int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  int done = fd < 0 ? -1 : fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0);
  if (fd >= 0) close(fd);
  return done;
}

/* ".wh.NAME" hides NAME of the layers below; what this layer itself has of that name stays. */
static int whiteout(int at, const char *name, const char *path, kg_error_t *err) {
  struct stat st;
  const char *hidden = name + strlen(".wh.");
  if (!strcmp(hidden, ".wh..opq"))
    return fsetxattr(at, "trusted.overlay.opaque", "y", 1, 0) < 0 ? failed(err, "made opaque", path) : 0;
  if (!strncmp(hidden, ".wh.", 4)) return 0; /* aufs's own */
  if (!*hidden || !strcmp(hidden, ".") || !strcmp(hidden, ".."))
    return kg_error_set(err, KG_EINVAL, "the archive is refused: the whiteout %.300s hides no name", path);
  if (fstatat(at, hidden, &st, AT_SYMLINK_NOFOLLOW) == 0) {
    if (S_ISDIR(st.st_mode) && make_opaque(at, hidden) < 0) return failed(err, "made opaque", path);
    return 0;
  }
  return mknodat(at, hidden, S_IFCHR, 0) < 0 ? failed(err, "made", path) : 0;
}

/* --- entries ----------------------------------------------------------------------------------------------------- */

/* Makes room for an entry: a later one of the same name replaces the earlier one. */
static int make_room(tree_t *t, int at, const char *name, bool dir, const char *path, kg_error_t *err) {
  struct stat st;
  if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return 0;
  if (S_ISDIR(st.st_mode) && dir) return 0;
  forget_parent(t); /* it may lead through what goes */
  if (!S_ISDIR(st.st_mode)) return unlinkat(at, name, 0) < 0 ? failed(err, "replaced", path) : 0;
  if (unlinkat(at, name, AT_REMOVEDIR) == 0) return 0;
  return failed(err, "replaced", path);
}

static int write_data(tree_t *t, struct archive *a, int fd, const char *path, kg_error_t *err) {
  const void *block;
  size_t n;
  la_int64_t offset;
  int r;
  while ((r = archive_read_data_block(a, &block, &n, &offset)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
    t->size += (int64_t)n;
    for (size_t done = 0; done < n;) {
      ssize_t w = pwrite(fd, (const char *)block + done, n - done, offset + (off_t)done);
      if (w < 0 && errno != EINTR) return failed(err, "written", path);
      if (w > 0) done += (size_t)w;
    }
  }
  if (r == ARCHIVE_EOF) return 0;
  return kg_error_set(err, KG_EINVAL, "%s could not be read from the archive: %s", path, archive_error_string(a));
}

static int make_file(tree_t *t, struct archive *a, struct archive_entry *e, int at, const char *name, const char *path,
                     kg_error_t *err) {
  int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return failed(err, "made", path);
  int done = write_data(t, a, fd, path, err);
  if (done == 0 && ftruncate(fd, archive_entry_size(e)) < 0) done = failed(err, "written", path); /* holes at its end */
  close(fd);
  return done;
}

static int make_link(tree_t *t, struct archive_entry *e, int at, const char *name, const char *path, kg_error_t *err) {
  char target[PATH_MAX];
  const char *to = archive_entry_hardlink(e), *base;
  if (clean_name(to ? to : archive_entry_hardlink_utf8(e), target, err) < 0) return -1;
  char *slash = strrchr(target, '/');
  base = slash ? slash + 1 : target;
  if (slash) *slash = '\0';
  int from = open_inside(t->root, slash ? target : "");
  int done = from < 0 ? -1 : linkat(from, base, at, name, 0);
  if (done < 0) failed(err, "linked", path);
  if (from >= 0) close(from);
  return done;
}

static int remember_time(tree_t *t, const char *path, struct archive_entry *e) {
  if (t->ntimes >= MAX_TIMES) return 0;
  if (t->ntimes == t->room) {
    size_t room = t->room ? t->room * 2 : 64;
    dir_time_t *grown = realloc(t->times, room * sizeof *grown);
    if (!grown) return -1;
    t->times = grown;
    t->room = room;
  }
  t->times[t->ntimes++] = (dir_time_t){strdup(path), {archive_entry_mtime(e), archive_entry_mtime_nsec(e)}};
  return 0;
}

static int make_dir(tree_t *t, struct archive_entry *e, int at, const char *name, const char *path, kg_error_t *err) {
  if (remember_time(t, path, e) < 0) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  if (!*name) return 0; /* the root */
  if (mkdirat(at, name, 0700) < 0 && errno != EEXIST) return failed(err, "made", path);
  return 0;
}

static int make_special(struct archive_entry *e, int at, const char *name, const char *path, kg_error_t *err) {
  mode_t type = archive_entry_filetype(e);
  dev_t dev = makedev(archive_entry_rdevmajor(e), archive_entry_rdevminor(e));
  if (type == AE_IFSOCK) return 0; /* nobody listens there */
  if (type == AE_IFCHR && dev == 0)
    return kg_error_set(err, KG_EINVAL,
                        "the archive is refused: %s is the device 0:0, which overlayfs takes for a whiteout", path);
  return mknodat(at, name, type | 0600, type == AE_IFIFO ? 0 : dev) < 0 ? failed(err, "made", path) : 0;
}

static int make_symlink(struct archive_entry *e, int at, const char *name, const char *path, kg_error_t *err) {
  const char *to = archive_entry_symlink(e);
  if (!to) to = archive_entry_symlink_utf8(e);
  if (!to || !*to) return kg_error_set(err, KG_EINVAL, "the link %s leads nowhere", path);
  return symlinkat(to, at, name) < 0 ? failed(err, "made", path) : 0;
}

/* --- what is said of them ---------------------------------------------------------------------------------------- */

static bool may_set(const char *name) {
  return !strncmp(name, "user.", 5) || !strcmp(name, "security.capability");
}

static int set_attributes(struct archive_entry *e, int at, const char *name, const char *path, kg_error_t *err) {
  const char *key;
  const void *value;
  size_t n;
  int done = 0;
  if (!archive_entry_xattr_reset(e)) return 0;
  int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return 0; /* a link or a socket has none we set */
  while (done == 0 && archive_entry_xattr_next(e, &key, &value, &n) == ARCHIVE_OK)
    if (may_set(key) && strncmp(key, "user.overlay.", 13) && fsetxattr(fd, key, value, n, 0) < 0 && errno != ENOTSUP)
      done = failed(err, "given its attributes", path);
  close(fd);
  return done;
}

static int set_properties(struct archive_entry *e, int at, const char *name, const char *path, kg_error_t *err) {
  mode_t type = archive_entry_filetype(e), mode = archive_entry_perm(e) & 07777;
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {archive_entry_mtime(e), archive_entry_mtime_nsec(e)}};
  if (!*name) name = ".";
  if (fchownat(at, name, (uid_t)archive_entry_uid(e), (gid_t)archive_entry_gid(e), AT_SYMLINK_NOFOLLOW) < 0)
    return failed(err, "given its owner", path);
  if (type != AE_IFLNK && fchmodat(at, name, mode, 0) < 0) return failed(err, "given its mode", path);
  if ((type == AE_IFREG || type == AE_IFDIR) && set_attributes(e, at, name, path, err) < 0) return -1;
  if (type != AE_IFDIR) utimensat(at, name, times, AT_SYMLINK_NOFOLLOW);
  return 0;
}

int tree_entry(tree_t *t, struct archive *a, struct archive_entry *e, kg_error_t *err) {
  char path[PATH_MAX];
  const char *raw = archive_entry_pathname(e), *name;
  if (clean_name(raw ? raw : archive_entry_pathname_utf8(e), path, err) < 0) return -1;
  mode_t type = archive_entry_filetype(e);
  bool link = archive_entry_hardlink(e) || archive_entry_hardlink_utf8(e);
  if (!*path && type != AE_IFDIR) return kg_error_set(err, KG_EINVAL, "an entry of the archive has no name");
  int at = open_parent(t, path, &name);
  if (at < 0) return failed(err, "made", path);
  if (!strncmp(name, ".wh.", 4)) return whiteout(at, name, path, err);
  bool was_hidden = *name && is_whiteout(at, name);
  if (*name && make_room(t, at, name, type == AE_IFDIR && !link, path, err) < 0) return -1;
  at = open_parent(t, path, &name);
  if (at < 0) return failed(err, "made", path);
  if (link) return make_link(t, e, at, name, path, err);
  int done = type == AE_IFREG   ? make_file(t, a, e, at, name, path, err)
             : type == AE_IFDIR ? make_dir(t, e, at, name, path, err)
             : type == AE_IFLNK ? make_symlink(e, at, name, path, err)
                                : make_special(e, at, name, path, err);
  if (done < 0 || type == AE_IFSOCK) return done;
  if (was_hidden && type == AE_IFDIR && make_opaque(at, name) < 0) return failed(err, "made opaque", path);
  return set_properties(e, at, name, path, err);
}

int tree_finish(tree_t *t, kg_error_t *err) {
  for (size_t i = t->ntimes; i-- > 0;) {
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, t->times[i].mtime};
    int fd = open_inside(t->root, t->times[i].path ? t->times[i].path : "");
    if (fd < 0) continue; /* replaced by something else later in the tar */
    futimens(fd, times);
    close(fd);
  }
  /* It is renamed into its place next: a power failure must not leave that with empty files. */
  return syncfs(t->root) == 0 ? 0 : kg_error_set(err, KG_EINTERNAL, "the layer was not written: %s", strerror(errno));
}
