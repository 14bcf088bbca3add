#include "tars.h"

#include <archive.h>
#include <archive_entry.h>
#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

static la_ssize_t take(struct archive *a, void *arg, const void *p, size_t n) {
  (void)a;
  kube_buf_add(&((tar_t *)arg)->bytes, p, n);
  return (la_ssize_t)n;
}

tar_t *tar_new(void) {
  tar_t *t = calloc(1, sizeof *t);
  t->archive = archive_write_new();
  archive_write_set_format_pax_restricted(t->archive);
  archive_write_set_bytes_per_block(t->archive, 512);
  archive_write_open(t->archive, t, NULL, take, NULL);
  return t;
}

static struct archive_entry *entry(const char *path, mode_t type, mode_t mode) {
  struct archive_entry *e = archive_entry_new();
  archive_entry_set_pathname(e, path);
  archive_entry_set_filetype(e, type);
  archive_entry_set_perm(e, mode);
  archive_entry_set_mtime(e, 1000000000, 0);
  return e;
}

static void write_entry(tar_t *t, struct archive_entry *e, const char *text) {
  cr_assert(archive_write_header(t->archive, e) >= ARCHIVE_WARN, "%s", archive_error_string(t->archive));
  if (text) archive_write_data(t->archive, text, strlen(text));
  archive_entry_free(e);
}

void tar_dir(tar_t *t, const char *path, mode_t mode) {
  write_entry(t, entry(path, AE_IFDIR, mode), NULL);
}

void tar_put(tar_t *t, const char *path, mode_t mode, int uid, const char *xattr, const char *text) {
  struct archive_entry *e = entry(path, AE_IFREG, mode);
  archive_entry_set_size(e, (la_int64_t)strlen(text));
  archive_entry_set_uid(e, uid);
  archive_entry_set_gid(e, uid);
  if (xattr) archive_entry_xattr_add_entry(e, xattr, "y", 1);
  write_entry(t, e, text);
}

void tar_file(tar_t *t, const char *path, const char *text) {
  tar_put(t, path, 0644, 0, NULL, text);
}

void tar_symlink(tar_t *t, const char *path, const char *to) {
  struct archive_entry *e = entry(path, AE_IFLNK, 0777);
  archive_entry_set_symlink(e, to);
  write_entry(t, e, NULL);
}

void tar_hardlink(tar_t *t, const char *path, const char *to) {
  struct archive_entry *e = entry(path, AE_IFREG, 0644);
  archive_entry_set_hardlink(e, to);
  write_entry(t, e, NULL);
}

void tar_device(tar_t *t, const char *path, mode_t type, int major, int minor) {
  struct archive_entry *e = entry(path, type, 0666);
  archive_entry_set_rdevmajor(e, (dev_t)major);
  archive_entry_set_rdevminor(e, (dev_t)minor);
  write_entry(t, e, NULL);
}

void tar_end(tar_t *t) {
  archive_write_free(t->archive);
  t->archive = NULL;
}

void tar_free(tar_t *t) {
  if (t->archive) tar_end(t);
  kube_buf_free(&t->bytes);
  free(t);
}

void tar_compress(tar_t *t, const char *filter) {
  kube_buf_t plain = t->bytes;
  t->bytes = (kube_buf_t){0};
  struct archive *a = archive_write_new();
  archive_write_add_filter_by_name(a, filter);
  archive_write_set_format_raw(a);
  archive_write_set_bytes_in_last_block(a, 1);
  archive_write_open(a, t, NULL, take, NULL);
  struct archive_entry *e = entry("x", AE_IFREG, 0644);
  archive_write_header(a, e);
  archive_write_data(a, plain.p, plain.n);
  archive_entry_free(e);
  archive_write_free(a);
  kube_buf_free(&plain);
}

void digest(const void *p, size_t n, char out[72]) {
  unsigned char sum[32];
  EVP_Digest(p, n, sum, NULL, EVP_sha256(), NULL);
  strcpy(out, "sha256:");
  for (int i = 0; i < 32; i++) sprintf(out + 7 + 2 * i, "%02x", sum[i]);
}

/* Takes the compression off to know the diff id. */
static void diff_of(const tar_t *t, char out[72]) {
  struct archive *a = archive_read_new();
  struct archive_entry *e;
  kube_buf_t all = {0};
  char block[4096];
  la_ssize_t n;
  archive_read_support_filter_gzip(a);
  archive_read_support_filter_zstd(a);
  archive_read_support_format_raw(a);
  archive_read_open_memory(a, t->bytes.p, t->bytes.n);
  archive_read_next_header(a, &e);
  while ((n = archive_read_data(a, block, sizeof block)) > 0) kube_buf_add(&all, block, (size_t)n);
  archive_read_free(a);
  digest(all.p, all.n, out);
  kube_buf_free(&all);
}

static void config_of(kube_buf_t *out, tar_t **layers, size_t n, int wrong) {
  char diff[72];
  kube_buf_fmt(out,
               "{\"architecture\":\"%s\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"sh\"],\"Env\":[\"COLOR=green\"]%s},"
               "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[",
               wrong & FOREIGN ? "s390x" : "amd64",
               wrong & VOLUMES ? ",\"Volumes\":{\"/data\":{},\"/old/\":{},\"/out\":{},\"/covered\":{}}" : "");
  for (size_t i = 0; i < n; i++) {
    diff_of(layers[i], diff);
    if (wrong & FALSE_DIFF) memset(diff + 7, '0', 8);
    kube_buf_fmt(out, "%s\"%s\"", i ? "," : "", diff);
  }
  kube_buf_addz(out, "]}}");
}

static void add(tar_t *t, const char *path, const kube_buf_t *b) {
  struct archive_entry *e = entry(path, AE_IFREG, 0644);
  archive_entry_set_size(e, (la_int64_t)b->n);
  archive_write_header(t->archive, e);
  archive_write_data(t->archive, b->p, b->n);
  archive_entry_free(e);
}

static void save(tar_t *t, const char *path) {
  FILE *f = fopen(path, "we");
  tar_end(t);
  cr_assert(f && fwrite(t->bytes.p, 1, t->bytes.n, f) == t->bytes.n);
  fclose(f);
  tar_free(t);
}

void docker_archive(const char *path, const char *name, tar_t **layers, size_t n, int wrong) {
  kube_buf_t config = {0}, manifest = {0};
  tar_t *t = tar_new();
  char id[72], file[100];
  config_of(&config, layers, n, wrong);
  digest(config.p, config.n, id);
  kube_buf_fmt(&manifest, "[{\"Config\":\"%s.json\",\"RepoTags\":[\"%s\"],\"Layers\":[", id + 7, name);
  for (size_t i = 0; i < n; i++) {
    snprintf(file, sizeof file, "layer%zu/layer.tar", i);
    add(t, file, &layers[i]->bytes);
    kube_buf_fmt(&manifest, "%s\"%s\"", i ? "," : "", file);
  }
  kube_buf_addz(&manifest, "]}]");
  snprintf(file, sizeof file, "%s.json", id + 7);
  add(t, file, &config);
  add(t, "manifest.json", &manifest);
  kube_buf_free(&config);
  kube_buf_free(&manifest);
  save(t, path);
}

static void add_blob(tar_t *t, const kube_buf_t *b, char id[72], bool damaged) {
  char file[100];
  digest(b->p, b->n, id);
  if (damaged) memset(id + 7, '0', 8);
  snprintf(file, sizeof file, "blobs/sha256/%s", id + 7);
  add(t, file, b);
}

void oci_archive(const char *path, const char *name, tar_t **layers, size_t n, int wrong) {
  kube_buf_t config = {0}, manifest = {0}, index = {0};
  tar_t *t = tar_new();
  char id[72];
  config_of(&config, layers, n, wrong);
  add_blob(t, &config, id, false);
  kube_buf_fmt(&manifest, "{\"schemaVersion\":2,\"config\":{\"digest\":\"%s\",\"size\":%zu},\"layers\":[", id,
               config.n);
  for (size_t i = 0; i < n; i++) {
    add_blob(t, &layers[i]->bytes, id, wrong & FALSE_BLOB);
    kube_buf_fmt(&manifest, "%s{\"digest\":\"%s\",\"size\":%zu}", i ? "," : "", id, layers[i]->bytes.n);
  }
  kube_buf_addz(&manifest, "]}");
  add_blob(t, &manifest, id, false);
  kube_buf_fmt(&index,
               "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"%s\",\"size\":%zu,\"annotations\":"
               "{\"io.containerd.image.name\":\"%s\"}}]}",
               id, manifest.n, name);
  add(t, "index.json", &index);
  kube_buf_free(&config);
  kube_buf_free(&manifest);
  kube_buf_free(&index);
  save(t, path);
}
