/* How much a stranger's image may take: never the rest of the disk, never out of all proportion to what was sent. */
#include <errno.h>
#include <sys/statvfs.h>

#include "image_store.h"

enum { MIB = 1 << 20, EVERY = 16 * MIB /* between looks at the disk */ };
/* gzip reaches 1,000:1 on zeros; what is more than this and large is no layer anybody meant. */
enum { MAX_RATIO = 500, ANY_RATIO_MIB = 256 };

int space_check(const images_t *im, int64_t bytes, kg_error_t *err) {
  struct statvfs fs;
  if (statvfs(im->dir, &fs) < 0) return kg_error_set(err, KG_EINTERNAL, "%s: %s", im->dir, strerror(errno));
  int64_t unit = (int64_t)fs.f_frsize, reserve = (int64_t)fs.f_blocks / 64;
  if (reserve > 256LL * MIB / unit) reserve = 256LL * MIB / unit;
  int64_t room = ((int64_t)fs.f_bavail - reserve) * unit;
  if (room < 0) room = 0;
  if (bytes > room)
    return kg_error_set(err, KG_EFULL, "no space left on device: images have %lld MiB left on the disk of %s",
                        (long long)(room / MIB), im->dir);
  if (fs.f_files && fs.f_favail < fs.f_files / 64)
    return kg_error_set(err, KG_EFULL, "no space left on device: the disk of %s has hardly any inodes left", im->dir);
  return 0;
}

int space_take(space_t *s, int64_t bytes, kg_error_t *err) {
  s->taken += bytes;
  int64_t most = kg_view_int(kg_view_get(kg_config(s->im->ctx), "maxLayerMiB"), 0);
  if (most > 0 && s->taken / MIB >= most)
    return kg_error_set(err, KG_EINVAL, "a layer is larger than the %lld MiB that config.maxLayerMiB allows",
                        (long long)most);
  if (s->taken / MIB > ANY_RATIO_MIB && s->taken / MAX_RATIO > s->packed)
    return kg_error_set(err, KG_EINVAL,
                        "a layer of %lld bytes unpacks to more than %d times as much: it is taken for a bomb",
                        (long long)s->packed, MAX_RATIO);
  if (s->taken - s->looked < EVERY) return 0;
  s->looked = s->taken;
  return space_check(s->im, EVERY, err);
}
