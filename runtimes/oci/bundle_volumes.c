/*
 * What an image declares as volumes is there and can be written to, also where the root is read-only: each of these
 * directories is mounted onto itself. What is written belongs to the container's own layer: it counts with it and goes
 * with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "image_store.h"
#include "oci.h"

/* The directory as this machine names it, made if it is missing. Links of the image lead no further than its root. 1:
 * the image has something else there, which stays. */
static int place_of(const char *root, kg_str_t path, char place[PATH_SIZE], kg_error_t *err) {
  char inside[PATH_MAX];
  size_t skip = strspn(path.p, "/");
  snprintf(inside, sizeof inside, "%.*s", (int)(path.n - skip), path.p + skip);
  int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = top < 0 ? -1 : tree_dir(top, inside);
  int why = fd < 0 ? errno : fd_path(fd, place);
  if (fd >= 0) close(fd);
  if (top >= 0) close(top);
  if (fd < 0 && (why == EEXIST || why == ENOTDIR || why == ELOOP)) return 1; /* a file, a link to nowhere */
  if (why)
    return kg_error_set(err, KG_EINTERNAL, "the image's volume %.*s could not be made: %s", CUT_ARG(path),
                        strerror(why));
  return 0;
}

/* A mount of the container takes its place. */
static bool is_mounted(kg_view_t mounts, kg_str_t path) {
  for (kg_iter_t it = kg_iter(mounts); kg_iter_next(&it);)
    if (kg_str_eq(kg_view_str(kg_view_get(it.value, "path")), path)) return true;
  return false;
}

int bundle_volumes(const char *root, kg_view_t image, kg_view_t mounts, volume_fn add, void *arg, kg_error_t *err) {
  char place[PATH_SIZE];
  for (kg_iter_t it = kg_iter(kg_view_get(image, "Volumes")); kg_iter_next(&it);) {
    kg_str_t path = kg_view_str(it.key);
    while (path.n > 1 && path.p[path.n - 1] == '/') path.n--;
    if (path.n < 2 || path.p[0] != '/' || is_mounted(mounts, path)) continue;
    int found = place_of(root, path, place, err);
    if (found < 0) return -1;
    if (found == 0) add(arg, path, place);
  }
  return 0;
}
