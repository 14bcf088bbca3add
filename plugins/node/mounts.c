/* What a container sees of the node's files: its volumes, parts of them, and the pod's own files in /etc. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "node.h"

enum { PATH_SIZE = 4096 };

/* --- subPath: the container may have put links into the volume, so that every step is the kernel's to check
 * --------------- */

static int open_beneath(int root, const char *path, int flags) {
  struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

static int refused(const char *path, kg_error_t *err) {
  if (errno == EXDEV || errno == ELOOP)
    return kg_error_set(err, KG_EINVAL, "subpath \"%s\" not within volume path", path);
  return kg_error_set(err, KG_EINTERNAL, "cannot open subpath \"%s\": %s", path, strerror(errno));
}

/* Makes one directory, with the mode of the volume's own. */
static int make_beneath(int root, const char *path, mode_t mode, kg_error_t *err) {
  char up[PATH_SIZE];
  const char *slash = strrchr(path, '/');
  snprintf(up, sizeof up, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
  int dir = open_beneath(root, up, O_RDONLY | O_DIRECTORY);
  if (dir < 0) return refused(path, err);
  const char *name = slash ? slash + 1 : path;
  int r = mkdirat(dir, name, 0700) && errno != EEXIST ? -1 : 0;
  int fd = r ? -1 : openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || fchmod(fd, mode & 07777)) r = refused(path, err);
  if (fd >= 0) close(fd);
  close(dir);
  return r;
}

/* Descriptor of the path, whose missing directories are made; -1 with a sentence. */
static int reach(int root, const char *sub, kg_error_t *err) {
  char path[PATH_SIZE];
  struct stat st;
  int fd = open_beneath(root, sub, O_PATH);
  if (fd >= 0) return fd;
  if (errno != ENOENT || fstat(root, &st)) return refused(sub, err);
  snprintf(path, sizeof path, "%s", sub);
  for (char *s = path; s; s = strchr(s, '/')) {
    while (*s == '/') s++;
    char *end = s + strcspn(s, "/"), was = *end;
    if (end == s) break;
    *end = 0;
    fd = open_beneath(root, path, O_PATH);
    if (fd >= 0) close(fd);
    if (fd < 0 && errno != ENOENT) return refused(path, err);
    if (fd < 0 && make_beneath(root, path, st.st_mode, err)) return -1;
    *end = was;
  }
  fd = open_beneath(root, sub, O_PATH);
  return fd < 0 ? refused(sub, err) : fd;
}

/* A place to mount on, of the same kind; whatever was mounted there for the container before is taken off. */
static int make_target(int from, const char *target, kg_error_t *err) {
  struct stat st;
  char dir[PATH_SIZE];
  while (!umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW)) {
  }
  kube_remove_tree(target);
  if (fstat(from, &st)) return kg_error_set(err, KG_EINTERNAL, "stat: %s", strerror(errno));
  if (S_ISDIR(st.st_mode)) return make_dirs(target, 0750, err);
  snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(target, '/') - target), target);
  if (make_dirs(dir, 0750, err)) return -1;
  int fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
  if (fd < 0) return kg_error_set(err, KG_EINTERNAL, "open %s: %s", target, strerror(errno));
  close(fd);
  return 0;
}

int mount_beneath(const char *root, const char *sub, const char *target, kg_error_t *err) {
  char from[64];
  int r = -1, dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = dir < 0 ? -1 : reach(dir, sub, err);
  if (dir < 0) kg_error_set(err, KG_EINTERNAL, "open %s: %s", root, strerror(errno));
  if (fd >= 0) {
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    r = make_target(fd, target, err);
    if (!r && mount(from, target, NULL, MS_BIND, NULL))
      r = kg_error_set(err, KG_EINTERNAL, "bind mount at %s: %s", target, strerror(errno));
    close(fd);
  }
  if (dir >= 0) close(dir);
  return r;
}

/* --- one mount
 * ----------------------------------------------------------------------------------------------------------- */

typedef struct sub {
  box_t *box;
  kg_str_t volume;
  unsigned index;
} sub_t;

/* The first $(NAME) that the environment does not have; absent: none. */
static kg_str_t unknown_name(const env_t *e, kg_str_t text) {
  for (size_t i = 0; i + 1 < text.n; i++) {
    if (text.p[i] != '$') continue;
    const char *close = text.p[i + 1] == '(' ? memchr(text.p + i, ')', text.n - i) : NULL;
    kg_str_t name = {text.p + i + 2, close ? (size_t)(close - text.p) - i - 2 : 0};
    if (close && !env_get(e, name)) return name;
    i++; /* $$ */
  }
  return (kg_str_t){0};
}

/* subPath or subPathExpr as it is meant: malloc'ed, "" for the whole volume; NULL with a sentence. */
static char *sub_path(kg_view_t mount, const env_t *e, kg_error_t *err) {
  kg_str_t plain = kg_view_str(kg_view_get(mount, "subPath")), expr = kg_view_str(kg_view_get(mount, "subPathExpr"));
  kg_str_t missing = unknown_name(e, expr);
  if (missing.p) {
    kg_error_set(err, KG_EINVAL, "missing value for \"" KG_STR_FMT "\"", KG_STR_ARG(missing));
    return NULL;
  }
  char *path = expr.n ? env_expand(e, expr) : plain.n ? kg_str_dup(plain) : strdup("");
  if (!path || !*path || path_is_local(kg_str(path))) return path;
  if (*path == '/')
    kg_error_set(err, KG_EINVAL, "error SubPath `%s` must not be an absolute path", path);
  else
    kg_error_set(err, KG_EINVAL, "unable to provision SubPath `%s`: must not contain '..'", path);
  free(path);
  return NULL;
}

static int mount_sub(const sub_t *s, const char *root, const char *path, char *target, size_t n, kg_error_t *err) {
  char dir[PATH_SIZE / 2];
  pod_dir(s->box->pod, dir, sizeof dir);
  snprintf(target, n, "%s/volume-subpaths/" KG_STR_FMT "/%s/%u", dir, KG_STR_ARG(s->volume), s->box->name, s->index);
  if (!mount_beneath(root, path, target, err)) return 0;
  return kg_error_prefix(err, "failed to prepare subPath for volumeMount \"" KG_STR_FMT "\" of container \"%s\"",
                         KG_STR_ARG(s->volume), s->box->name);
}

static void pack_target(kg_pack_t *out, kg_str_t to, bool read_only) {
  if (to.n && to.p[0] == '/')
    kg_pack_kv_strn(out, "path", to);
  else { /* a path that is not absolute counts from the root */
    kg_pack_key(out, "path");
    kg_pack_fmt(out, "/" KG_STR_FMT, KG_STR_ARG(to));
  }
  kg_pack_kv_bool(out, "readOnly", read_only);
}

typedef struct mount {
  bool read_only, recursive;
  kg_str_t propagation;
} mount_t;

static void pack_mount(kg_pack_t *out, const char *from, kg_str_t to, const mount_t *how) {
  kg_pack_map(out);
  kg_pack_kv_str(out, "hostPath", from);
  pack_target(out, to, how->read_only);
  if (how->recursive) kg_pack_kv_bool(out, "recursiveReadOnly", true);
  if (how->propagation.n) kg_pack_kv_strn(out, "propagation", how->propagation);
  kg_pack_end(out);
}

kg_view_t volume_named(const pod_t *p, kg_str_t name) {
  return kube_list_find(kg_view_get(pod_spec(p), "volumes"), "name", name);
}

/* The runtime mounts it: only there is known where an image lies. */
static int image_mount(kg_view_t mount, kg_str_t image, const char *sub, kg_pack_t *out) {
  kg_pack_map(out);
  kg_pack_kv_strn(out, "image", image);
  if (*sub) kg_pack_kv_str(out, "subPath", sub);
  pack_target(out, kg_view_str(kg_view_get(mount, "mountPath")), true);
  kg_pack_end(out);
  return 0;
}

bool mount_is_read_only(kg_view_t mount, kg_view_t volume) {
  return kg_view_bool(kg_view_get(mount, "readOnly"), false) || volume_is_source(volume) ||
         kg_view_bool(kg_view_path(volume, "persistentVolumeClaim", "readOnly", NULL), false) ||
         kg_view_there(kg_view_get(volume, "image"));
}

bool mount_is_recursive(const pod_t *p, kg_view_t mount, kg_view_t volume) {
  kg_str_t wish = kg_view_str(kg_view_get(mount, "recursiveReadOnly"));
  return p->agent->mounts_recursively && mount_is_read_only(mount, volume) &&
         (kg_str_is(wish, "Enabled") || kg_str_is(wish, "IfPossible"));
}

static int one_mount(box_t *b, kg_view_t mount, unsigned index, const env_t *e, kg_pack_t *out, kg_error_t *err) {
  kg_str_t name = kg_view_str(kg_view_get(mount, "name"));
  kg_view_t volume = volume_named(b->pod, name);
  char root[PATH_SIZE], target[PATH_SIZE];
  kg_str_t image = VIEW_STR(volume, "image", "reference");
  const char *from = volume_path(b->pod, volume, root, sizeof root);
  if (!from && !image.n)
    return kg_error_set(err, KG_EINVAL, "cannot find volume \"" KG_STR_FMT "\" to mount into container \"%s\"",
                        KG_STR_ARG(name), b->name);
  mount_t how = {mount_is_read_only(mount, volume), mount_is_recursive(b->pod, mount, volume),
                 kg_view_str(kg_view_get(mount, "mountPropagation"))};
  if (kg_str_is(kg_view_str(kg_view_get(mount, "recursiveReadOnly")), "Enabled") && !how.recursive)
    return kg_error_set(err, KG_EINVAL,
                        "failed to resolve recursive read-only mode: volume \"" KG_STR_FMT
                        "\" requested recursive read-only mode, but it is not supported by the runtime",
                        KG_STR_ARG(name));
  char *sub = sub_path(mount, e, err);
  if (!sub) return -1;
  int r = image.n ? image_mount(mount, image, sub, out)
          : *sub  ? mount_sub(&(sub_t){b, name, index}, from, sub, target, sizeof target, err)
                  : 0;
  if (!r && !image.n) pack_mount(out, *sub ? target : from, kg_view_str(kg_view_get(mount, "mountPath")), &how);
  free(sub);
  return r;
}

/* --- all of them
 * --------------------------------------------------------------------------------------------------------- */

static bool mounts_over(kg_view_t mounts, const char *path) {
  for (kg_iter_t it = kg_iter(mounts); kg_iter_next(&it);) {
    kg_str_t at = kg_view_str(kg_view_get(it.value, "mountPath"));
    while (at.n > 1 && at.p[at.n - 1] == '/') at.n--;
    if (kg_str_is(at, path)) return true;
  }
  return false;
}

int volume_mounts(box_t *b, const env_t *e, kg_pack_t *out, kg_error_t *err) {
  static const char *const etc[][2] = {
      {"etc-hosts", "/etc/hosts"}, {"hostname", "/etc/hostname"}, {"resolv.conf", "/etc/resolv.conf"}};
  kg_view_t mounts = kg_view_get(box_spec(b), "volumeMounts");
  char dir[PATH_SIZE / 2], file[PATH_SIZE];
  unsigned index = 0;
  pod_dir(b->pod, dir, sizeof dir);
  for (kg_iter_t it = kg_iter(mounts); kg_iter_next(&it);)
    if (one_mount(b, it.value, index++, e, out, err)) return -1;
  for (size_t i = 0; i < sizeof etc / sizeof *etc; i++) {
    snprintf(file, sizeof file, "%s/%s", dir, etc[i][0]);
    if (!mounts_over(mounts, etc[i][1]) && !access(file, F_OK)) pack_mount(out, file, kg_str(etc[i][1]), &(mount_t){0});
  }
  return 0;
}
