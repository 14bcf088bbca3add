/* Images as volumes: each mounted read-only beside the container's root file system, and gone with it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "oci.h"

enum { MOST_IMAGES = 64 };

static void mount_place(const char *dir, unsigned i, char path[PATH_SIZE]) {
  snprintf(path, PATH_SIZE, "%s/images/%u", dir, i);
}

/* Where in the image it is, after links inside of it: what is at that place of the mount. */
static int inside(const char *root, const char *sub, char path[PATH_SIZE], kg_error_t *err) {
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  int fd = top < 0 ? -1 : (int)syscall(SYS_openat2, top, sub, &how, sizeof how);
  int why = fd < 0 ? errno : fd_path(fd, path);
  if (fd >= 0) close(fd);
  if (top >= 0) close(top);
  if (why) return kg_error_set(err, KG_EINVAL, "the image volume has no path \"%s\": %s", sub, strerror(why));
  return 0;
}

static int mount_one(oci_t *o, container_t *c, kg_str_t name, const char *path, const char *dir, kg_error_t *err) {
  char more[PATH_SIZE + 16];
  image_t image = {0};
  if (images_find(o->images, name, &image) < 0)
    return kg_error_set(err, KG_ENOTFOUND, "image \"" KG_STR_FMT "\" is not here", KG_STR_ARG(name));
  snprintf(more, sizeof more, ":%s/images/none", dir); /* an overlay that is only read has two directories at least */
  umount2(path, MNT_DETACH);                           /* of an attempt that died half way */
  int done = make_dirs(path, 0755, err) < 0 ? -1 : overlay_mount(&image, more, path, err);
  if (!done) container_uses(c, image.id);
  image_clear(&image);
  return done;
}

int image_mounts_make(oci_t *o, container_t *c, kg_view_t args, const char *dir, kg_error_t *err) {
  char path[PATH_SIZE];
  unsigned i = 0;
  for (kg_iter_t it = kg_iter(kg_view_get(args, "mounts")); kg_iter_next(&it);) {
    kg_str_t name = kg_view_str(kg_view_get(it.value, "image"));
    if (!name.n) continue;
    if (i == 0) {
      snprintf(path, sizeof path, "%s/images/none", dir);
      if (make_dirs(path, 0755, err) < 0) return -1;
    }
    if (i >= MOST_IMAGES) return kg_error_set(err, KG_EINVAL, "more than %d image volumes", MOST_IMAGES);
    mount_place(dir, i++, path);
    if (mount_one(o, c, name, path, dir, err) < 0) return -1;
  }
  return 0;
}

int image_mount_source(kg_view_t mount, const char *dir, unsigned i, char path[PATH_SIZE], kg_error_t *err) {
  char root[PATH_SIZE], *sub = text_of(mount, "subPath");
  mount_place(dir, i, root);
  int done = 0;
  if (sub)
    done = inside(root, sub, path, err);
  else
    memcpy(path, root, sizeof root);
  free(sub);
  return done;
}

void container_mounts_drop(const char *dir) {
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "%s/rootfs", dir);
  umount2(path, MNT_DETACH);
  for (unsigned i = 0; i < MOST_IMAGES; i++) {
    mount_place(dir, i, path);
    if (umount2(path, MNT_DETACH) < 0 && errno == ENOENT) return;
  }
}
