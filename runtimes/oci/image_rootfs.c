/*
 * `kogge image build-rootfs`: an image made on the spot of Debian's busybox-static, for demonstrations and tests where
 * no registry can be reached. It becomes a layer tar like any other and takes the same way in.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image_store.h"

#define BUSYBOX "/bin/busybox"

static void add_entry(struct archive *a, const char *path, mode_t kind, int mode, const void *data, size_t n,
                      const char *link) {
  struct archive_entry *e = archive_entry_new();
  archive_entry_set_pathname(e, path);
  archive_entry_set_filetype(e, kind);
  archive_entry_set_perm(e, (mode_t)mode);
  archive_entry_set_size(e, (la_int64_t)n);
  archive_entry_set_mtime(e, 0, 0); /* the same every time: so is the image's id */
  if (link && kind == AE_IFLNK) archive_entry_set_symlink(e, link);
  if (link && kind != AE_IFLNK) archive_entry_set_hardlink(e, link);
  archive_write_header(a, e);
  if (n) archive_write_data(a, data, n);
  archive_entry_free(e);
}

static void add_tree(struct archive *a) {
  static const char *const dirs[] = {"bin", "dev", "etc",     "home",     "lib", "proc",    "root",    "run",    "sbin",
                                     "sys", "usr", "usr/bin", "usr/sbin", "var", "var/log", "var/run", "var/www"};
  static const struct {
    const char *path, *text;
  } files[] = {{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"},
               {"etc/group", "root:x:0:\nnogroup:x:65534:\n"},
               {"etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
               {"etc/shells", "/bin/sh\n"}};
  for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) add_entry(a, dirs[i], AE_IFDIR, 0755, NULL, 0, NULL);
  add_entry(a, "tmp", AE_IFDIR, 01777, NULL, 0, NULL);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    add_entry(a, files[i].path, AE_IFREG, 0644, files[i].text, strlen(files[i].text), NULL);
}

static char *busybox_program(size_t *n, kg_error_t *err) {
  struct stat st;
  int fd = open(BUSYBOX, O_RDONLY | O_CLOEXEC);
  char *data = fd >= 0 && fstat(fd, &st) == 0 ? malloc((size_t)st.st_size) : NULL;
  ssize_t got = data ? read(fd, data, (size_t)st.st_size) : -1;
  if (fd >= 0) close(fd);
  if (got < 0) {
    free(data);
    kg_error_set(err, KG_ENOTFOUND, "%s cannot be read (Debian package busybox-static): %s", BUSYBOX, strerror(errno));
    return NULL;
  }
  *n = (size_t)got;
  return data;
}

/* `busybox --list-full` names every applet with its usual place. */
static int add_applets(struct archive *a, kg_error_t *err) {
  FILE *list = popen(BUSYBOX " --list-full", "re");
  char line[256], path[260];
  size_t count = 0;
  while (list && fgets(line, sizeof line, list)) {
    line[strcspn(line, "\n")] = '\0';
    if (!*line || !strcmp(line, "bin/busybox")) continue;
    snprintf(path, sizeof path, "%s", line);
    add_entry(a, path, AE_IFREG, 0755, NULL, 0, "bin/busybox");
    count++;
  }
  if (list) pclose(list);
  return count ? 0 : kg_error_set(err, KG_EINTERNAL, "%s names no applets", BUSYBOX);
}

static int write_layer(const char *file, kg_error_t *err) {
  size_t n;
  char *program = busybox_program(&n, err);
  if (!program) return -1;
  struct archive *a = archive_write_new();
  archive_write_set_format_pax_restricted(a);
  int done = archive_write_open_filename(a, file) == ARCHIVE_OK
                 ? 0
                 : kg_error_set(err, KG_EINTERNAL, "%s: %s", file, archive_error_string(a));
  if (done == 0) {
    add_tree(a);
    add_entry(a, "bin/busybox", AE_IFREG, 0755, program, n, NULL);
    done = add_applets(a, err);
  }
  free(program);
  if (archive_write_close(a) != ARCHIVE_OK && done == 0)
    done = kg_error_set(err, archive_errno(a) == ENOSPC ? KG_EFULL : KG_EINTERNAL, "%s: %s", file,
                        archive_error_string(a));
  archive_write_free(a);
  return done;
}

static stored_t *describe(const char *hex, kg_error_t *err) {
  char text[600];
  int n = snprintf(
      text, sizeof text,
      "{\"architecture\":\"%s\",\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/usr/local/sbin:/usr/local/bin:"
      "/usr/sbin:/usr/bin:/sbin:/bin\"],\"Cmd\":[\"sh\"],\"WorkingDir\":\"/\"},\"rootfs\":{\"type\":\"layers\","
      "\"diff_ids\":[\"sha256:%s\"]}}",
      image_architecture(), hex);
  return stored_of_config(text, (size_t)n, err);
}

int build_rootfs(job_t *j, kg_error_t *err) {
  char dir[IMAGE_PATH], file[2 * IMAGE_PATH], hex[HEX + 1], expected[8 + HEX];
  char *full = image_name_full(kg_str(j->name), err);
  if (!full) return -1;
  if (temporary_dir(j->im, dir, err) < 0) {
    free(full);
    return -1;
  }
  snprintf(file, sizeof file, "%s/layer.tar", dir);
  int done = write_layer(file, err);
  if (done == 0) done = file_digest(file, hex, err);
  stored_t *s = done == 0 ? describe(hex, err) : NULL;
  if (s) {
    snprintf(expected, sizeof expected, "sha256:%s", hex);
    done = unpack_layer(j, file, kg_str(expected), &s->size, err);
    if (done == 0 && stored_add_name(s, full)) done = kg_error_set(err, KG_EINTERNAL, "out of memory");
    if (done == 0)
      done = job_add(j, s);
    else
      stored_free(s);
  } else
    done = -1;
  free(full);
  tree_remove(dir);
  return done;
}
