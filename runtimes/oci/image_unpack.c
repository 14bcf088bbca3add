/*
 * A layer onto disk: libarchive reads whatever compression it has and writes below one directory, never through a
 * symbolic link or out of it; whiteouts become what overlayfs understands (image-spec, layer.md).
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "image_store.h"

/* --- files ------------------------------------------------------------------------------------------------------- */

int temporary_dir(const images_t *im, char path[IMAGE_PATH], kg_error_t *err) {
  if (snprintf(path, IMAGE_PATH, "%s/tmp/XXXXXX", im->dir) < IMAGE_PATH && mkdtemp(path)) return 0;
  return kg_error_set(err, errno == ENOSPC ? KG_EFULL : KG_EINTERNAL, "a directory below %s/tmp cannot be made: %s",
                      im->dir, strerror(errno));
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
  (void)st, (void)at;
  if (kind == FTW_DP)
    rmdir(path);
  else
    unlink(path);
  return 0;
}

void tree_remove(const char *path) {
  nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
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
  char buffer[64 << 10];
} source_t;

static ssize_t read_source(struct archive *a, void *arg, const void **data) {
  source_t *s = arg;
  if (atomic_load(&s->job->stop)) {
    archive_set_error(a, EINTR, "kogge stops");
    return -1;
  }
  ssize_t n = archive_read_data(s->raw, s->buffer, sizeof s->buffer);
  if (n < 0) {
    archive_set_error(a, EIO, "%s", archive_error_string(s->raw));
    return -1;
  }
  EVP_DigestUpdate(s->md, s->buffer, (size_t)n);
  *data = s->buffer;
  return n;
}

static int open_source(source_t *s, const char *file, kg_error_t *err) {
  struct archive_entry *entry;
  s->raw = archive_read_new();
  archive_read_support_filter_all(s->raw);
  archive_read_support_format_raw(s->raw);
  archive_read_support_format_empty(s->raw);
  if (archive_read_open_filename(s->raw, file, sizeof s->buffer) == ARCHIVE_OK &&
      archive_read_next_header(s->raw, &entry) == ARCHIVE_OK) {
    EVP_DigestInit_ex(s->md, EVP_sha256(), NULL);
    return 0;
  }
  return kg_error_set(err, KG_EINVAL, "the layer cannot be read: %s", archive_error_string(s->raw));
}

/* --- entries ----------------------------------------------------------------------------------------------------- */

/* "./a//b/" -> "a/b"; "": the root itself. False: it leads out of the layer. */
static bool clean(const char *path, char *out, size_t room) {
  size_t n = 0;
  while (*path) {
    size_t len = strcspn(path, "/");
    if (len == 2 && !memcmp(path, "..", 2)) return false;
    if (len && !(len == 1 && *path == '.')) {
      if (n + len + 2 > room) return false;
      if (n) out[n++] = '/';
      memcpy(out + n, path, len);
      n += len;
    }
    path += len + (path[len] == '/');
  }
  out[n] = '\0';
  return true;
}

/* The directories above `path` exist and none of them is a link: what follows may be made there. */
static int make_parents(const char *root, const char *path, kg_error_t *err) {
  char part[2 * IMAGE_PATH];
  struct stat st;
  size_t start = strlen(root) + 1;
  snprintf(part, sizeof part, "%s/%s", root, path);
  for (char *p = part + start; (p = strchr(p, '/')); *p++ = '/') {
    *p = '\0';
    bool made = mkdir(part, 0755) == 0;
    if (!made && errno != EEXIST) return kg_error_set(err, KG_EINTERNAL, "%s: %s", path, strerror(errno));
    if (!made && (lstat(part, &st) < 0 || !S_ISDIR(st.st_mode)))
      return kg_error_set(err, KG_EINVAL, "the layer has an entry %s below something that is no directory", path);
  }
  return 0;
}

/* .wh.NAME hides NAME of the layers below, .wh..wh..opq all there is below. */
static int whiteout(const char *root, const char *path, const char *base, kg_error_t *err) {
  char where[2 * IMAGE_PATH];
  int dir = (int)(base - path), done;
  if (make_parents(root, path, err) < 0) return -1;
  if (!strcmp(base, ".wh..wh..opq")) {
    snprintf(where, sizeof where, "%s/%.*s", root, dir, path);
    done = setxattr(where, "trusted.overlay.opaque", "y", 1, 0);
  } else {
    snprintf(where, sizeof where, "%s/%.*s%s", root, dir, path, base + 4);
    unlink(where);
    done = mknod(where, S_IFCHR, makedev(0, 0));
  }
  return done == 0 ? 0 : kg_error_set(err, KG_EINTERNAL, "the whiteout %s cannot be made: %s", path, strerror(errno));
}

static int write_entry(struct archive *in, struct archive *out, struct archive_entry *e, kg_error_t *err) {
  const void *block;
  size_t n;
  la_int64_t at;
  int r = archive_write_header(out, e);
  if (r < ARCHIVE_WARN) goto failed;
  while (archive_entry_size(e) > 0 && (r = archive_read_data_block(in, &block, &n, &at)) == ARCHIVE_OK)
    if (archive_write_data_block(out, block, n, at) < ARCHIVE_WARN) goto failed;
  if (r < ARCHIVE_WARN)
    return kg_error_set(err, KG_EINVAL, "the layer is damaged at %s: %s", archive_entry_pathname(e),
                        archive_error_string(in));
  if (archive_write_finish_entry(out) >= ARCHIVE_WARN) return 0;
failed:
  return kg_error_set(err, archive_errno(out) == ENOSPC ? KG_EFULL : KG_EINTERNAL, "%s cannot be written: %s",
                      archive_entry_pathname(e), archive_error_string(out));
}

/* Names and hard links move below the root; those that lead out are refused. */
static int place(const char *root, struct archive_entry *e, char *path, size_t room, kg_error_t *err) {
  char where[2 * IMAGE_PATH], link[IMAGE_PATH];
  const char *name = archive_entry_pathname(e), *hard = archive_entry_hardlink(e);
  if (!name || !clean(name, path, room))
    return kg_error_set(err, KG_EINVAL, "the layer has an entry that leads out of it: %s", name ? name : "(no name)");
  snprintf(where, sizeof where, "%s/%s", root, path);
  archive_entry_set_pathname(e, *path ? where : root);
  if (!hard) return *path ? make_parents(root, path, err) : 0;
  if (!clean(hard, link, sizeof link))
    return kg_error_set(err, KG_EINVAL, "the layer has a link that leads out of it: %s", hard);
  if (make_parents(root, path, err) < 0 || make_parents(root, link, err) < 0) return -1;
  snprintf(where, sizeof where, "%s/%s", root, link);
  archive_entry_set_hardlink(e, where);
  return 0;
}

static int unpack_entries(struct archive *in, struct archive *out, const char *root, int64_t *size, kg_error_t *err) {
  struct archive_entry *e;
  char path[IMAGE_PATH];
  int r;
  while ((r = archive_read_next_header(in, &e)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
    if (place(root, e, path, sizeof path, err) < 0) return -1;
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    if (!strncmp(base, ".wh.", 4)) {
      if (whiteout(root, path, base, err) < 0) return -1;
      continue;
    }
    *size += archive_entry_hardlink(e) ? 0 : archive_entry_size(e);
    if (write_entry(in, out, e, err) < 0) return -1;
  }
  return r == ARCHIVE_EOF ? 0 : kg_error_set(err, KG_EINVAL, "the layer is damaged: %s", archive_error_string(in));
}

static int unpack_into(source_t *s, const char *root, int64_t *size, kg_error_t *err) {
  int flags = ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_XATTR |
              ARCHIVE_EXTRACT_ACL | ARCHIVE_EXTRACT_UNLINK | ARCHIVE_EXTRACT_SECURE_NODOTDOT;
  struct archive *in = archive_read_new(), *out = archive_write_disk_new();
  const void *rest;
  archive_read_support_format_tar(in);
  archive_read_support_format_empty(in);
  archive_write_disk_set_options(out, flags);
  int done = archive_read_open(in, s, NULL, read_source, NULL) == ARCHIVE_OK
                 ? unpack_entries(in, out, root, size, err)
                 : kg_error_set(err, KG_EINVAL, "the layer is no tar: %s", archive_error_string(in));
  /* The digest is of everything, also of what follows the last entry. */
  while (done == 0 && read_source(in, s, &rest) > 0) {
  }
  archive_read_free(in);
  if (archive_write_free(out) != ARCHIVE_OK && done == 0)
    done = kg_error_set(err, KG_EINTERNAL, "the layer was not written");
  return done;
}

static int64_t tree_size(const char *path);

int unpack_layer(job_t *j, const char *file, kg_str_t expected, int64_t *size, kg_error_t *err) {
  char place[IMAGE_PATH], root[IMAGE_PATH], hex[HEX + 1];
  unsigned char sum[32];
  snprintf(place, sizeof place, "%s/layers/%.*s", j->im->dir, HEX, expected.p + 7);
  *size = 0;
  if (access(place, F_OK) == 0) {
    *size = tree_size(place);
    return 0;
  }
  if (temporary_dir(j->im, root, err) < 0) return -1;
  chmod(root, 0755);
  source_t *s = calloc(1, sizeof *s);
  if (!s) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  s->md = EVP_MD_CTX_new();
  s->job = j;
  int done = open_source(s, file, err);
  if (done == 0) done = unpack_into(s, root, size, err);
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
  if (kind == FTW_F) bytes_seen += st->st_size;
  return 0;
}

static int64_t tree_size(const char *path) {
  bytes_seen = 0;
  nftw(path, add_size, 32, FTW_PHYS | FTW_MOUNT);
  return bytes_seen;
}
