/*
 * `kogge image import`: an archive of images, either as `docker save` writes it (manifest.json) or an OCI layout
 * (index.json), is spread out below tmp/, its parts are found by their names and checked by their digests.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_store.h"

enum { MAX_JSON = 4 << 20, MAX_NESTING = 4 };

typedef struct import {
  job_t *j;
  space_t space;
  char dir[IMAGE_PATH]; /* the archive's files, each named by its path with slashes as they are */
} import_t;

/* --- spreading out ----------------------------------------------------------------------------------------------- */

static bool name_is_safe(const char *name) {
  return *name && *name != '/' && strcmp(name, "..") && strncmp(name, "../", 3) && !strstr(name, "/../");
}

static int spread_one(import_t *im, struct archive *in, struct archive *out, struct archive_entry *e, kg_error_t *err) {
  char where[2 * IMAGE_PATH], target[2 * IMAGE_PATH];
  const void *block;
  size_t n;
  la_int64_t at;
  const char *name = archive_entry_pathname(e), *link = archive_entry_hardlink(e);
  while (name && !strncmp(name, "./", 2)) name += 2;
  bool file = archive_entry_filetype(e) == AE_IFREG || link || archive_entry_filetype(e) == AE_IFLNK;
  if (!name || !file) return 0; /* directories come with their files */
  if (!name_is_safe(name) || (link && !name_is_safe(link)))
    return kg_error_set(err, KG_EINVAL, "the archive has an entry that leads out of it: %s", name);
  snprintf(where, sizeof where, "%s/%s", im->dir, name);
  archive_entry_set_pathname(e, where);
  name = where + strlen(im->dir) + 1; /* the entry's own went with that */
  if (link) {
    snprintf(target, sizeof target, "%s/%s", im->dir, link);
    archive_entry_set_hardlink(e, target);
  }
  int r = archive_write_header(out, e);
  while (r >= ARCHIVE_WARN && archive_entry_size(e) > 0 &&
         (r = archive_read_data_block(in, &block, &n, &at)) == ARCHIVE_OK) {
    if (space_take(&im->space, (int64_t)n, err) < 0) return -1;
    if (archive_write_data_block(out, block, n, at) < ARCHIVE_WARN) r = ARCHIVE_FATAL;
  }
  if (r >= ARCHIVE_WARN) return 0;
  const char *why = archive_error_string(out) ? archive_error_string(out) : archive_error_string(in);
  return kg_error_set(err, archive_errno(out) == ENOSPC ? KG_EFULL : KG_EINVAL, "%s: %s", name, why ? why : "damaged");
}

static int spread(import_t *im, kg_error_t *err) {
  struct archive *in = archive_read_new(), *out = archive_write_disk_new();
  struct archive_entry *e;
  struct stat st;
  im->space = (space_t){.im = im->j->im, .packed = stat(im->j->path, &st) == 0 ? st.st_size : 0};
  archive_read_support_filter_gzip(in);
  archive_read_support_filter_zstd(in);
  archive_read_support_filter_xz(in);
  archive_read_support_filter_bzip2(in);
  archive_read_support_format_tar(in);
  archive_write_disk_set_options(out, ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_SYMLINKS);
  int r = archive_read_open_filename(in, im->j->path, 1 << 16), done = 0;
  if (r != ARCHIVE_OK)
    done = archive_errno(in) == ENOENT
               ? kg_error_set(err, KG_ENOTFOUND, "%s cannot be opened: %s", im->j->path, strerror(ENOENT))
               : kg_error_set(err, KG_EINVAL, "%s is no archive of images: %s", im->j->path, archive_error_string(in));
  while (done == 0 && (r = archive_read_next_header(in, &e)) == ARCHIVE_OK) {
    if (atomic_load(&im->j->stop)) done = kg_error_set(err, KG_ECANCELLED, "the runtime stops");
    if (done == 0) done = spread_one(im, in, out, e, err);
  }
  if (done == 0 && r != ARCHIVE_EOF)
    done = kg_error_set(err, KG_EINVAL, "%s is no archive of images: %s", im->j->path, archive_error_string(in));
  archive_read_free(in);
  archive_write_free(out);
  return done;
}

/* --- parts ------------------------------------------------------------------------------------------------------- */

/* A file of the archive, links of it followed as long as they stay inside. */
static int part_path(const import_t *im, kg_str_t name, char path[PATH_MAX], kg_error_t *err) {
  char asked[2 * IMAGE_PATH], root[PATH_MAX];
  snprintf(asked, sizeof asked, "%s/" KG_STR_FMT, im->dir, KG_STR_ARG(name));
  size_t n = realpath(im->dir, root) ? strlen(root) : 0;
  if (n && realpath(asked, path) && !strncmp(path, root, n) && path[n] == '/') return 0;
  return kg_error_set(err, KG_EINVAL, "the archive has no file " KG_STR_FMT, KG_STR_ARG(name));
}

static char *read_part(const import_t *im, kg_str_t name, size_t *n, kg_error_t *err) {
  char path[PATH_MAX];
  struct stat st;
  if (part_path(im, name, path, err) < 0) return NULL;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  char *text = fd >= 0 && fstat(fd, &st) == 0 && st.st_size < MAX_JSON ? malloc((size_t)st.st_size + 1) : NULL;
  ssize_t got = text ? read(fd, text, (size_t)st.st_size) : -1;
  if (fd >= 0) close(fd);
  if (got < 0) {
    free(text);
    kg_error_set(err, KG_EINVAL, "the archive's file " KG_STR_FMT " cannot be read", KG_STR_ARG(name));
    return NULL;
  }
  *n = (size_t)got;
  return text;
}

static kg_doc_t *read_json(const import_t *im, kg_str_t name, kg_error_t *err) {
  size_t n;
  char *text = read_part(im, name, &n, err);
  kg_doc_t *doc = text ? kube_json_parse(text, n, NULL, NULL, err) : NULL;
  if (text && !doc) kg_error_prefix(err, KG_STR_FMT, KG_STR_ARG(name));
  free(text);
  return doc;
}

/* "sha256:HEX" -> "blobs/sha256/HEX", whose content must be what its name says. */
static int blob(const import_t *im, kg_view_t descriptor, char name[128], kg_error_t *err) {
  char path[PATH_MAX], hex[HEX + 1];
  kg_str_t digest = kg_view_str(kg_view_get(descriptor, "digest"));
  if (!image_is_digest(digest))
    return kg_error_set(err, KG_EINVAL, "the archive names a part by \"" KG_STR_FMT "\", which is no SHA-256 digest",
                        KG_STR_ARG(digest));
  snprintf(name, 128, "blobs/sha256/%.*s", HEX, digest.p + 7);
  if (part_path(im, kg_str(name), path, err) < 0 || file_digest(path, hex, err) < 0) return -1;
  if (!memcmp(hex, digest.p + 7, HEX)) return 0;
  return kg_error_set(err, KG_EINVAL, "the archive's part " KG_STR_FMT " is damaged: its digest is sha256:%s",
                      KG_STR_ARG(digest), hex);
}

/* Layers: paths in the archive (docker) or descriptors (OCI), in the order of the configuration's diff ids. */
static int take_layers(import_t *im, stored_t *s, kg_view_t layers, kg_error_t *err) {
  char path[PATH_MAX], name[128], expected[8 + HEX];
  size_t i = 0;
  if (kg_view_count(layers) != s->nlayers)
    return kg_error_set(err, KG_EINVAL, "the image has %zu layers, but its configuration speaks of %zu",
                        kg_view_count(layers), s->nlayers);
  for (kg_iter_t it = kg_iter(layers); kg_iter_next(&it); i++) {
    kg_str_t part = kg_view_str(it.value);
    int64_t size;
    if (!part.p && blob(im, it.value, name, err) < 0) return -1;
    if (part_path(im, part.p ? part : kg_str(name), path, err) < 0) return -1;
    snprintf(expected, sizeof expected, "sha256:%s", s->layers[i]);
    job_say(im->j, "layer %zu of %zu: %.12s", i + 1, s->nlayers, s->layers[i]);
    if (unpack_layer(im->j, path, kg_str(expected), &size, err) < 0) return -1;
    s->size += size;
  }
  return 0;
}

static int take_names(import_t *im, stored_t *s, kg_view_t names, kg_error_t *err) {
  (void)im;
  for (kg_iter_t it = kg_iter(names); kg_iter_next(&it);) {
    char *full = image_name_full(kg_view_str(it.value), err);
    if (!full) return -1;
    int bad = stored_add_name(s, full);
    free(full);
    if (bad) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  }
  return 0;
}

static int take_image(import_t *im, kg_str_t config, kg_view_t layers, kg_view_t names, kg_error_t *err) {
  size_t n;
  char *text = read_part(im, config, &n, err);
  stored_t *s = text ? stored_of_config(text, n, err) : NULL;
  free(text);
  if (!s) return -1;
  if (take_names(im, s, names, err) < 0 || take_layers(im, s, layers, err) < 0) {
    stored_free(s);
    return -1;
  }
  return job_add(im->j, s);
}

/* --- docker save ------------------------------------------------------------------------------------------------- */

static int take_docker(import_t *im, kg_error_t *err) {
  kg_doc_t *doc = read_json(im, KG_STR("manifest.json"), err);
  int done = doc ? 0 : -1;
  for (kg_iter_t it = kg_iter(kg_view_of(doc)); done == 0 && kg_iter_next(&it);)
    done = take_image(im, kg_view_str(kg_view_get(it.value, "Config")), kg_view_get(it.value, "Layers"),
                      kg_view_get(it.value, "RepoTags"), err);
  kg_doc_unref(doc);
  return done;
}

/* --- OCI layout -------------------------------------------------------------------------------------------------- */

static kg_doc_t *names_of(kg_view_t descriptor) {
  kg_view_t notes = kg_view_get(descriptor, "annotations");
  kg_str_t full = kg_view_str(kg_view_get(notes, "io.containerd.image.name"));
  kg_str_t tag = kg_view_str(kg_view_get(notes, "org.opencontainers.image.ref.name"));
  kg_pack_t p = kg_pack();
  kg_pack_array(&p);
  if (full.n || tag.n) kg_pack_strn(&p, full.n ? full : tag);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static bool for_us(kg_view_t descriptor) {
  kg_view_t platform = kg_view_get(descriptor, "platform");
  kg_str_t os = kg_view_str(kg_view_get(platform, "os")), arch = kg_view_str(kg_view_get(platform, "architecture"));
  return (!os.n || kg_str_is(os, "linux")) && (!arch.n || kg_str_is(arch, image_architecture()));
}

static int take_index(import_t *im, kg_view_t index, kg_view_t names, int depth, kg_error_t *err);

static int take_manifest(import_t *im, kg_view_t descriptor, kg_view_t above, int depth, kg_error_t *err) {
  char name[128], config[128];
  kg_doc_t *names = names_of(descriptor);
  kg_view_t own = kg_view_count(kg_view_of(names)) ? kg_view_of(names) : above;
  kg_doc_t *doc = blob(im, descriptor, name, err) == 0 ? read_json(im, kg_str(name), err) : NULL;
  kg_view_t m = kg_view_of(doc);
  int done = -1;
  if (doc && kg_view_there(kg_view_get(m, "manifests")))
    done = take_index(im, m, own, depth + 1, err);
  else if (doc && blob(im, kg_view_get(m, "config"), config, err) == 0)
    done = take_image(im, kg_str(config), kg_view_get(m, "layers"), own, err);
  kg_doc_unref(doc);
  kg_doc_unref(names);
  return done;
}

static int take_index(import_t *im, kg_view_t index, kg_view_t names, int depth, kg_error_t *err) {
  if (depth > MAX_NESTING) return kg_error_set(err, KG_EINVAL, "the archive's indexes are nested too deep");
  int done = 0;
  for (kg_iter_t it = kg_iter(kg_view_get(index, "manifests")); done == 0 && kg_iter_next(&it);)
    if (for_us(it.value)) done = take_manifest(im, it.value, names, depth, err);
  return done;
}

static int take_oci(import_t *im, kg_error_t *err) {
  kg_doc_t *doc = read_json(im, KG_STR("index.json"), err);
  int done = doc ? take_index(im, kg_view_of(doc), (kg_view_t){0}, 0, err) : -1;
  kg_doc_unref(doc);
  return done;
}

int import_archive(job_t *j, kg_error_t *err) {
  import_t im = {.j = j};
  char path[2 * IMAGE_PATH];
  if (temporary_dir(j->im, im.dir, err) < 0) return -1;
  job_say(j, "reading %s", j->path);
  int done = spread(&im, err);
  snprintf(path, sizeof path, "%s/index.json", im.dir);
  bool oci = access(path, F_OK) == 0;
  snprintf(path, sizeof path, "%s/manifest.json", im.dir);
  bool docker = access(path, F_OK) == 0;
  if (done == 0 && !oci && !docker)
    done = kg_error_set(err, KG_EINVAL,
                        "%s holds no images: it has neither manifest.json (docker save) nor index.json (OCI)", j->path);
  if (done == 0) done = docker ? take_docker(&im, err) : take_oci(&im, err);
  if (done == 0 && !j->made) done = kg_error_set(err, KG_EINVAL, "%s holds no image for this machine", j->path);
  tree_remove(im.dir);
  return done;
}
