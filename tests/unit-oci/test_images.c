/* Archives of images, as honest tools and as nobody honest writes them. */
#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "node.h"
#include "tars.h"

typedef struct work {
  node_t *n;
  char file[96], layers[128];
} work_t;

static work_t begin(void) {
  work_t w = {.n = node_new()};
  snprintf(w.file, sizeof w.file, "%s/image.tar", w.n->dir);
  snprintf(w.layers, sizeof w.layers, "%s/data/runtime/images/layers", w.n->dir);
  return w;
}

static void import(work_t *w) {
  must(w->n, "image.import", "{'path': '%s'}", w->file);
}

/* Refused, for this reason, with nothing left behind. Frees the layers. */
static void refused(work_t *w, const char *why) {
  char *text = must_fail(w->n, 400, "image.import", "{'path': '%s'}", w->file);
  cr_expect(strstr(text, why), "%s", text);
  free(text);
  cr_expect(shell("ls -A %s %s/../tmp | grep -v : | grep .", w->layers, w->layers) != 0, "something is left");
}

static void one_layer(work_t *w, tar_t *t, int wrong) {
  tar_end(t);
  docker_archive(w->file, "t/one", &t, 1, wrong);
  tar_free(t);
}

/* Path of a file in the only layer. */
static void in_layer(const work_t *w, const char *file, char path[512]) {
  char found[256] = "";
  FILE *f;
  snprintf(path, 512, "ls -d %s/*", w->layers);
  f = popen(path, "re");
  cr_assert(fgets(found, sizeof found, f));
  pclose(f);
  found[strcspn(found, "\n")] = '\0';
  snprintf(path, 512, "%s/%s", found, file);
}

static struct stat status(const work_t *w, const char *file) {
  struct stat st = {0};
  char path[512];
  in_layer(w, file, path);
  cr_assert(lstat(path, &st) == 0, "%s is not there", path);
  return st;
}

Test(images, files_are_as_the_tar_says) {
  work_t w = begin();
  tar_t *t = tar_new();
  char path[512], value[8];
  tar_dir(t, "./", 0711);
  tar_dir(t, "tmp/", 01777);
  tar_put(t, "tmp/setuid", 04755, 1234, "user.color", "text");
  tar_hardlink(t, "other", "tmp/setuid");
  tar_symlink(t, "link", "/etc/passwd");
  tar_device(t, "null", AE_IFCHR, 1, 3);
  tar_device(t, "pipe", AE_IFIFO, 0, 0);
  tar_file(t, "name-\xc3\xbc", "u");
  tar_file(t, "deep/er/file", "x");
  tar_symlink(t, "lib", "usr/lib");
  tar_dir(t, "usr/lib", 0755);
  tar_file(t, "lib/within", "y");
  tar_file(t, "/absolute", "z");
  one_layer(&w, t, 0);
  import(&w);
  struct stat st = status(&w, "tmp/setuid");
  cr_expect((st.st_mode & 07777) == 04755 && st.st_uid == 1234 && st.st_nlink == 2 && st.st_mtime == 1000000000);
  in_layer(&w, "tmp/setuid", path);
  cr_expect(getxattr(path, "user.color", value, sizeof value) == 1);
  cr_expect((status(&w, "tmp").st_mode & 07777) == 01777 && status(&w, "tmp").st_mtime == 1000000000);
  cr_expect((status(&w, ".").st_mode & 07777) == 0711);
  st = status(&w, "null");
  cr_expect(S_ISCHR(st.st_mode) && st.st_rdev == 0x103);
  cr_expect(S_ISFIFO(status(&w, "pipe").st_mode) && S_ISLNK(status(&w, "link").st_mode));
  status(&w, "name-\xc3\xbc");
  status(&w, "deep/er/file");
  status(&w, "usr/lib/within");
  status(&w, "absolute");
  node_free(w.n);
}

Test(images, hostile_names) {
  static const char *const names[] = {"../evil", "a/../../evil", "a/..", "..", "/../evil"};
  work_t w = begin();
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    tar_t *t = tar_new();
    tar_file(t, names[i], "x");
    one_layer(&w, t, 0);
    refused(&w, "leaves its directory");
  }
  node_free(w.n);
}

/* Through a link: inside or not at all, never outside. */
Test(images, hostile_links) {
  work_t w = begin();
  char outside[96], up[200];
  snprintf(outside, sizeof outside, "%s/outside", w.n->dir);
  mkdir(outside, 0755);
  snprintf(up, sizeof up, "../../../../../../../../../..%s", outside);
  const char *const targets[] = {outside, up, "/proc/self/root/tmp", "../../../../../../../../tmp"};
  for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
    tar_t *t = tar_new();
    tar_symlink(t, "evil", targets[i]);
    tar_file(t, "evil/kogge-was-here", "x");
    one_layer(&w, t, 0);
    refused(&w, "evil");
    cr_expect(shell("find %s /tmp -maxdepth 1 -name kogge-was-here | grep .", outside) != 0, "%s", targets[i]);
  }
  /* a file over a link replaces the link */
  tar_t *t = tar_new();
  tar_symlink(t, "file", "/tmp/kogge-was-here");
  tar_file(t, "file", "x");
  tar_symlink(t, "dir", outside);
  tar_dir(t, "dir", 0700);
  one_layer(&w, t, 0);
  import(&w);
  cr_expect(access("/tmp/kogge-was-here", F_OK) != 0);
  cr_expect(S_ISREG(status(&w, "file").st_mode) && S_ISDIR(status(&w, "dir").st_mode));
  struct stat st;
  cr_expect(stat(outside, &st) == 0 && (st.st_mode & 0777) == 0755);
  node_free(w.n);
}

Test(images, hostile_hard_links) {
  work_t w = begin();
  char secret[96];
  snprintf(secret, sizeof secret, "%s/secret", w.n->dir);
  shell("echo secret >%s", secret);
  tar_t *t = tar_new();
  tar_hardlink(t, "evil", "../../../../../../../../etc/passwd");
  one_layer(&w, t, 0);
  refused(&w, "leaves its directory");
  t = tar_new();
  tar_hardlink(t, "evil", secret);
  one_layer(&w, t, 0);
  refused(&w, "could not be linked");
  /* to a link that leads outside: the link itself */
  t = tar_new();
  tar_symlink(t, "link", secret);
  tar_hardlink(t, "evil", "link");
  one_layer(&w, t, 0);
  import(&w);
  cr_expect(S_ISLNK(status(&w, "evil").st_mode));
  struct stat st;
  cr_expect(stat(secret, &st) == 0 && st.st_nlink == 1);
  node_free(w.n);
}

Test(images, what_only_overlayfs_may_say) {
  work_t w = begin();
  char path[512], value[8];
  tar_t *t = tar_new();
  tar_put(t, "file", 0644, 0, "trusted.overlay.metacopy", "x");
  tar_put(t, "other", 0644, 0, "trusted.overlay.redirect", "x");
  one_layer(&w, t, 0);
  import(&w);
  in_layer(&w, "file", path);
  cr_expect(getxattr(path, "trusted.overlay.metacopy", value, sizeof value) < 0);
  must(w.n, "image.remove", "{'image': 't/one'}");
  t = tar_new();
  tar_device(t, "hidden", AE_IFCHR, 0, 0);
  one_layer(&w, t, 0);
  refused(&w, "takes for a whiteout");
  static const char *const bad[] = {".wh.", ".wh..", ".wh..."};
  for (size_t i = 0; i < 3; i++) {
    t = tar_new();
    tar_file(t, bad[i], "");
    one_layer(&w, t, 0);
    refused(&w, "hides no name");
  }
  node_free(w.n);
}

static tar_t *busybox_layer(void) {
  tar_t *t = tar_new();
  FILE *f = fopen("/bin/busybox", "re");
  size_t room = 4 << 20;
  char *data = malloc(room);
  size_t n = fread(data, 1, room, f);
  fclose(f);
  struct archive_entry *e = archive_entry_new();
  archive_entry_set_pathname(e, "bin/busybox");
  archive_entry_set_filetype(e, AE_IFREG);
  archive_entry_set_perm(e, 0755);
  archive_entry_set_size(e, (la_int64_t)n);
  cr_assert(n && archive_write_header(t->archive, e) >= 0 && archive_write_data(t->archive, data, n) == (la_ssize_t)n);
  archive_entry_free(e);
  free(data);
  tar_symlink(t, "bin/sh", "busybox");
  tar_file(t, "etc/gone", "g");
  tar_file(t, "etc/kept", "k");
  tar_file(t, "old/a", "a");
  tar_file(t, "old/b", "b");
  tar_file(t, "gonedir/c", "c");
  tar_file(t, "becomes/dir", "d");
  return t;
}

/* What a container of the image sees. */
static char *seen_with(work_t *w, const char *image, const char *script, const char *more) {
  char path[128];
  must(w->n, "runtime.sandbox.run", "{'id': 's', 'uid': 'u', 'hostname': 'h', 'hostNetwork': true}");
  must(w->n, "runtime.container.create",
       "{'id': 'c', 'sandbox': 's', 'name': 'c', 'image': '%s', 'command': ['/bin/sh', '-c', '%s'], 'logPath': "
       "'%s/logs/c/0.log'%s}",
       image, script, w->n->dir, more);
  free(must_fail(w->n, 409, "image.remove", "{'image': '%s'}", image));
  must(w->n, "runtime.container.start", "{'id': 'c'}");
  await(w->n, "c", "\"exited\"");
  snprintf(path, sizeof path, "%s/logs/c/0.log", w->n->dir);
  char *log = slurp(path);
  stop_all(w->n, "s", "c");
  return log;
}

static char *seen(work_t *w, const char *image, const char *script) {
  return seen_with(w, image, script, "");
}

/* What an image declares as volumes can be written to, whatever the root is; a link of the image leads nowhere. */
Test(images, volumes) {
  work_t w = begin();
  tar_t *layer = busybox_layer();
  tar_symlink(layer, "out", "/tmp");
  tar_dir(layer, "tmp", 01777);
  tar_end(layer);
  docker_archive(w.file, "t/volumes:1", &layer, 1, VOLUMES);
  tar_free(layer);
  import(&w);
  shell("mkdir %s/vol", w.n->dir);
  char more[200];
  snprintf(more, sizeof more,
           ", 'security': {'readOnlyRoot': true}, 'mounts': [{'hostPath': '%s/vol', 'path': '/covered'}]", w.n->dir);
  char *log = seen_with(
      &w, "t/volumes:1",
      "cd /; for d in data old out covered etc; do echo > $d/kogge-was-here && echo wrote $d; done; echo old/*", more);
  static const char *const wrote[] = {"wrote data", "wrote old", "wrote out", "wrote covered", "old/a old/b"};
  for (size_t i = 0; i < sizeof wrote / sizeof *wrote; i++) cr_expect(strstr(log, wrote[i]), "%s: %s", wrote[i], log);
  cr_expect(!strstr(log, "wrote etc"), "%s", log);
  cr_expect(access("/tmp/kogge-was-here", F_OK) != 0);
  free(log);
  node_free(w.n);
}

static void whiteouts(work_t *w, void (*archive)(const char *, const char *, tar_t **, size_t, int),
                      const char *filter) {
  tar_t *layers[3] = {busybox_layer(), tar_new(), tar_new()};
  tar_file(layers[1], "etc/.wh.gone", "");
  tar_file(layers[1], "old/.wh..wh..opq", "");
  tar_file(layers[1], "old/new", "n");
  tar_file(layers[1], ".wh.gonedir", "");
  tar_file(layers[1], ".wh.becomes", "");
  tar_dir(layers[1], "becomes", 0755);
  tar_file(layers[1], "becomes/other", "o");
  tar_file(layers[1], ".wh..wh.plnk", "");
  tar_file(layers[2], "top", "t");
  for (int i = 0; i < 3; i++) {
    tar_end(layers[i]);
    if (filter) tar_compress(layers[i], filter);
  }
  archive(w->file, "t/three:1", layers, 3, 0);
  for (int i = 0; i < 3; i++) tar_free(layers[i]);
  import(w);
  char *log = seen(
      w, "t/three:1",
      "cd /; for f in etc/* old/* gonedir becomes/* top; do /bin/busybox test -e $f && echo $f; done; echo $COLOR");
  static const char *const there[] = {"etc/kept", "old/new", "becomes/other", "top", "green"};
  static const char *const gone[] = {"etc/gone", "old/a", "old/b", "gonedir", "becomes/dir", ".wh."};
  for (size_t i = 0; i < sizeof there / sizeof *there; i++)
    cr_expect(strstr(log, there[i]), "%s is missing: %s", there[i], log);
  for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
    cr_expect(!strstr(log, gone[i]), "%s is there: %s", gone[i], log);
  free(log);
  must(w->n, "image.remove", "{'image': 't/three:1'}");
  cr_expect(shell("ls -A %s | grep .", w->layers) != 0, "layers are left");
}

Test(images, whiteouts_plain) {
  work_t w = begin();
  whiteouts(&w, docker_archive, NULL);
  node_free(w.n);
}

Test(images, whiteouts_gzip_docker) {
  work_t w = begin();
  whiteouts(&w, docker_archive, "gzip");
  node_free(w.n);
}

Test(images, whiteouts_gzip_oci) {
  work_t w = begin();
  whiteouts(&w, oci_archive, "gzip");
  node_free(w.n);
}

Test(images, whiteouts_zstd_oci) {
  work_t w = begin();
  whiteouts(&w, oci_archive, "zstd");
  node_free(w.n);
}

Test(images, digests_are_checked) {
  work_t w = begin();
  tar_t *t = tar_new();
  tar_file(t, "a", "b");
  tar_end(t);
  docker_archive(w.file, "t/one", &t, 1, FALSE_DIFF);
  refused(&w, "sha256:");
  oci_archive(w.file, "t/one", &t, 1, FALSE_DIFF);
  refused(&w, "sha256:");
  oci_archive(w.file, "t/one", &t, 1, FALSE_BLOB);
  refused(&w, "digest");
  oci_archive(w.file, "t/one", &t, 1, FOREIGN);
  refused(&w, "s390x");
  oci_archive(w.file, "t/one", &t, 1, 0);
  import(&w);
  tar_free(t);
  /* cut off anywhere: refused */
  must(w.n, "image.remove", "{'image': 't/one'}");
  for (int size = 600; size < 6000; size += 900) {
    oci_archive(w.file, "t/one", (tar_t *[]){t = tar_new(), NULL}, 0, 0);
    tar_free(t);
    t = tar_new();
    tar_file(t, "a", "b");
    tar_end(t);
    oci_archive(w.file, "t/one", &t, 1, 0);
    cr_assert(truncate(w.file, size) == 0);
    kg_msg_t *m = ask(w.n, "image.import", "{'path': '%s'}", w.file);
    cr_expect(kg_msg_type(m) == KG_MSG_ERROR, "cut off at %d it was taken", size);
    kg_msg_unref(m);
    tar_free(t);
  }
  node_free(w.n);
}

Test(images, more_layers_than_a_page_of_names) {
  work_t w = begin();
  enum { MANY = 100 };
  tar_t *layers[MANY] = {busybox_layer()};
  for (int i = 1; i < MANY; i++) {
    char name[16];
    snprintf(name, sizeof name, "f%d", i == MANY - 1 ? 1 : i); /* the last is the second again */
    layers[i] = tar_new();
    tar_file(layers[i], name, name);
  }
  for (int i = 0; i < MANY; i++) tar_end(layers[i]);
  docker_archive(w.file, "t/many", layers, MANY, 0);
  for (int i = 0; i < MANY; i++) tar_free(layers[i]);
  import(&w);
  char *log = seen(&w, "t/many", "cd /; echo f*");
  cr_expect(strstr(log, " f1 ") && strstr(log, " f50 ") && strstr(log, " f98"), "%s", log);
  free(log);
  node_free(w.n);
}

Test(images, what_a_kill_leaves_is_swept) {
  work_t w = begin();
  tar_t *t = tar_new();
  tar_file(t, "a", "b");
  one_layer(&w, t, 0);
  import(&w);
  shell("mkdir -p %s/../tmp/AbCdEf/fs/x; echo y >%s/../tmp/AbCdEf/fs/x/y", w.layers, w.layers);
  shell("mkdir -p %s/%064d/x", w.layers, 7);
  node_restart(w.n);
  for (int i = 0; i < 100 && shell("ls -A %s/../tmp | grep -q .", w.layers) == 0; i++) usleep(20000);
  cr_expect(shell("ls -A %s/../tmp | grep .", w.layers) != 0);
  usleep(50000);
  cr_expect(shell("test $(ls -A %s | wc -l) = 1", w.layers) == 0);
  must(w.n, "image.status", "{'image': 't/one'}");
  node_free(w.n);
}

Test(images, names) {
  work_t w = begin();
  tar_t *t = tar_new();
  tar_file(t, "a", "b");
  one_layer(&w, t, 0);
  import(&w);
  static const char *const same[] = {"t/one", "t/one:latest", "docker.io/t/one", "docker.io/t/one:latest"};
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) must(w.n, "image.status", "{'image': '%s'}", same[i]);
  static const char *const other[] = {"one",   "t/one:2", "x.io/t/one",     "localhost/t/one",
                                      "T/one", "",        "t/one@sha256:12"};
  for (size_t i = 0; i < sizeof other / sizeof *other; i++)
    free(must_fail(w.n, 404, "image.status", "{'image': '%s'}", other[i]));
  /* the same name for another image: the older one has none then */
  t = tar_new();
  tar_file(t, "a", "c");
  one_layer(&w, t, 0);
  import(&w);
  kg_msg_t *m = ask_good(w.n, "image.list", "{}");
  kg_view_t images = kg_view_get(kg_msg_args(m), "images");
  cr_expect(kg_view_count(images) == 2);
  size_t names = kg_view_count(kg_view_get(kg_view_at(images, 0), "tags")) +
                 kg_view_count(kg_view_get(kg_view_at(images, 1), "tags"));
  cr_expect(names == 1, "%zu", names);
  kg_msg_unref(m);
  node_free(w.n);
}

Test(images, what_is_no_archive) {
  work_t w = begin();
  shell("head -c 100000 /dev/urandom >%s", w.file);
  refused(&w, "archive");
  shell(": >%s", w.file);
  refused(&w, "images");
  shell("tar -cf %s -C /etc hostname", w.file);
  refused(&w, "holds no images");
  free(must_fail(w.n, 404, "image.import", "{'path': '/nowhere'}"));
  node_free(w.n);
}
