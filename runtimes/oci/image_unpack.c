/* A layer onto disk: its compression is taken off, its digest checked, and what image_tree.c made of it put in place.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_store.h"

/* --- files ------------------------------------------------------------------------------------------------------- */

int temporary_dir(const images_t *im, char path[IMAGE_PATH], kg_error_t *err) {
  if (snprintf(path, IMAGE_PATH, "%s/tmp/XXXXXX", im->dir) < IMAGE_PATH && mkdtemp(path)) return 0;
  return kg_error_set(err, errno == ENOSPC ? KG_EFULL : KG_EINTERNAL, "a directory below %s/tmp cannot be made: %s",
                      im->dir, strerror(errno));
}

static void hex_of(const unsigned char *sum, char hex[HEX + 1]) {
  for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", sum[i]);
}

int file_digest(const char *file, char hex[HEX + 1], kg_error_t *err) {
  unsigned char sum[32], buffer[64 << 10];
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  EVP_MD_CTX *md = EVP_MD_CTX_new();
  ssize_t n = -1;
  EVP_DigestInit_ex(md, EVP_sha256(), NULL);
  while (fd >= 0 && (n = read(fd, buffer, sizeof buffer)) > 0) EVP_DigestUpdate(md, buffer, (size_t)n);
  EVP_DigestFinal_ex(md, sum, NULL);
  EVP_MD_CTX_free(md);
  if (fd >= 0) close(fd);
  if (n < 0) return kg_error_set(err, KG_EINTERNAL, "%s cannot be read: %s", file, strerror(errno));
  hex_of(sum, hex);
  return 0;
}

/* --- the uncompressed stream, hashed as it passes ---------------------------------------------------------------- */

typedef struct source {
  struct archive *raw; /* takes the compression off */
  EVP_MD_CTX *md;
  job_t *job;
  space_t space;
  kg_error_t why; /* it was stopped; libarchive's words would only say where */
  char buffer[64 << 10];
} source_t;

static ssize_t read_source(struct archive *a, void *arg, const void **data) {
  source_t *s = arg;
  ssize_t n = archive_read_data(s->raw, s->buffer, sizeof s->buffer);
  if (n < 0) {
    archive_set_error(a, EIO, "%s", archive_error_string(s->raw));
    return -1;
  }
  if (atomic_load(&s->job->stop)) kg_error_set(&s->why, KG_ECANCELLED, "the runtime stops");
  if (s->why.code || space_take(&s->space, n, &s->why) < 0) {
    archive_set_error(a, EINTR, "%s", s->why.text);
    return -1;
  }
  EVP_DigestUpdate(s->md, s->buffer, (size_t)n);
  *data = s->buffer;
  return n;
}

static int open_source(source_t *s, const char *file, kg_error_t *err) {
  struct archive_entry *entry;
  struct stat st;
  s->space = (space_t){.im = s->job->im, .packed = stat(file, &st) == 0 ? st.st_size : 0};
  s->raw = archive_read_new();
  /* Those libarchive does itself: for others it would start programs. */
  archive_read_support_filter_gzip(s->raw);
  archive_read_support_filter_zstd(s->raw);
  archive_read_support_filter_xz(s->raw);
  archive_read_support_filter_bzip2(s->raw);
  archive_read_support_format_raw(s->raw);
  archive_read_support_format_empty(s->raw);
  if (archive_read_open_filename(s->raw, file, sizeof s->buffer) == ARCHIVE_OK &&
      archive_read_next_header(s->raw, &entry) == ARCHIVE_OK) {
    EVP_DigestInit_ex(s->md, EVP_sha256(), NULL);
    return 0;
  }
  return kg_error_set(err, KG_EINVAL, "the layer cannot be read: %s", archive_error_string(s->raw));
}

static int unpack_entries(struct archive *in, tree_t *t, kg_error_t *err) {
  struct archive_entry *e;
  int r;
  while ((r = archive_read_next_header(in, &e)) == ARCHIVE_OK || r == ARCHIVE_WARN)
    if (tree_entry(t, in, e, err) < 0) return -1;
  return r == ARCHIVE_EOF ? 0 : kg_error_set(err, KG_EINVAL, "the layer is damaged: %s", archive_error_string(in));
}

static int unpack_into(source_t *s, const char *root, int64_t *size, kg_error_t *err) {
  struct archive *in = archive_read_new();
  const void *rest;
  ssize_t n = 0;
  tree_t *t = tree_new(root, err);
  archive_read_support_format_tar(in);
  archive_read_support_format_empty(in);
  int done = !t ? -1
             : archive_read_open(in, s, NULL, read_source, NULL) == ARCHIVE_OK
                 ? unpack_entries(in, t, err)
                 : kg_error_set(err, KG_EINVAL, "the layer is no tar: %s", archive_error_string(in));
  /* The digest is of everything, also of what follows the last entry. */
  while (done == 0 && (n = read_source(in, s, &rest)) > 0) {
  }
  if (done == 0 && n < 0) done = kg_error_set(err, KG_EINVAL, "the layer is damaged: %s", archive_error_string(in));
  archive_read_free(in);
  if (done == 0) {
    done = tree_finish(t, err);
    *size = tree_size(t);
  }
  tree_free(t);
  return done;
}

static int64_t size_of(const char *path);

int unpack_layer(job_t *j, const char *file, kg_str_t expected, int64_t *size, kg_error_t *err) {
  char place[IMAGE_PATH], root[IMAGE_PATH], hex[HEX + 1];
  unsigned char sum[32];
  snprintf(place, sizeof place, "%s/layers/%.*s", j->im->dir, HEX, expected.p + 7);
  *size = 0;
  if (access(place, F_OK) == 0) {
    *size = size_of(place);
    return 0;
  }
  source_t *s = calloc(1, sizeof *s);
  if (!s) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  if (temporary_dir(j->im, root, err) < 0) return free(s), -1;
  chmod(root, 0755);
  s->md = EVP_MD_CTX_new();
  s->job = j;
  int done = open_source(s, file, err);
  if (done == 0) done = unpack_into(s, root, size, err);
  if (done < 0 && s->why.code) *err = s->why;
  if (done == 0) {
    EVP_DigestFinal_ex(s->md, sum, NULL);
    hex_of(sum, hex);
    if (memcmp(hex, expected.p + 7, HEX))
      done = kg_error_set(err, KG_EINVAL, "a layer's content is sha256:%s, but the image says " KG_STR_FMT, hex,
                          KG_STR_ARG(expected));
  }
  archive_read_free(s->raw);
  EVP_MD_CTX_free(s->md);
  free(s);
  if (done == 0 && rename(root, place) < 0 && errno != EEXIST && errno != ENOTEMPTY)
    done = kg_error_set(err, KG_EINTERNAL, "%s cannot be put in place: %s", place, strerror(errno));
  tree_remove(root);
  return done;
}

/* nftw() has no argument for its callback: the sum lives where only this thread sees it. */
static _Thread_local int64_t bytes_seen;

static int add_size(const char *path, const struct stat *st, int kind, struct FTW *at) {
  (void)path, (void)at;
  int64_t on_disk = (int64_t)st->st_blocks * 512; /* less than its size: it has holes, perhaps nothing else */
  if (kind == FTW_F) bytes_seen += st->st_size < on_disk ? st->st_size : on_disk;
  return 0;
}

static int64_t size_of(const char *path) {
  bytes_seen = 0;
  nftw(path, add_size, 32, FTW_PHYS | FTW_MOUNT);
  return bytes_seen;
}
