/* What survives a restart: one small file for each attached pod. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "network.h"

enum { MOST = 65536 };
#define NSFS_MAGIC_NUMBER 0x6e736673

static int write_whole(const char *path, const void *data, size_t n, kg_error_t *err) {
  char fresh[PATH_SIZE + 8];
  snprintf(fresh, sizeof fresh, "%s.new", path);
  int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool fine = fd >= 0 && write(fd, data, n) == (ssize_t)n;
  if (fd >= 0 && close(fd) < 0) fine = false;
  if (fine && rename(fresh, path) == 0) return 0;
  int code = errno;
  unlink(fresh);
  return kg_error_set(err, KG_EINTERNAL, "%s could not be written: %s", path, strerror(code));
}

static void *read_whole(const char *path, size_t *n) {
  char *data = malloc(MOST + 1);
  int fd = data ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  ssize_t got = fd >= 0 ? read(fd, data, MOST) : -1;
  if (fd >= 0) close(fd);
  if (got < 0) {
    free(data);
    return NULL;
  }
  data[got] = '\0';
  *n = (size_t)got;
  return data;
}

static int make_dir(const char *path, kg_error_t *err) {
  if (mkdir(path, 0700) == 0 || errno == EEXIST) return 0;
  return kg_error_set(err, KG_EINTERNAL, "%s could not be made: %s", path, strerror(errno));
}

int note_write(network_t *n, const char *name, const char *text, kg_error_t *err) {
  char path[PATH_SIZE];
  if (make_dir(n->dir, err) < 0) return -1;
  snprintf(path, sizeof path, "%s/%s", n->dir, name);
  return write_whole(path, text, strlen(text), err);
}

char *note_read(network_t *n, const char *name) {
  char path[PATH_SIZE];
  size_t size;
  snprintf(path, sizeof path, "%s/%s", n->dir, name);
  return read_whole(path, &size);
}

int record_write(network_t *n, const pod_t *p, kg_error_t *err) {
  char path[PATH_SIZE];
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "id", p->id);
  kg_pack_kv_str(&k, "netns", p->netns);
  kg_pack_kv_str(&k, "link", p->link);
  kg_pack_kv_int(&k, "ip", p->ip);
  kg_pack_kv_int(&k, "number", p->number);
  kg_pack_kv_view(&k, "ports", kg_view_of(p->ports));
  kg_pack_end(&k);
  kg_doc_t *doc = kg_pack_doc(&k);
  if (!doc) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  snprintf(path, sizeof path, "%s/pods/%s", n->dir, p->id);
  int r = write_whole(path, kg_doc_data(doc), kg_doc_size(doc), err);
  kg_doc_unref(doc);
  return r;
}

void record_remove(network_t *n, const char *id) {
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "%s/pods/%s", n->dir, id);
  unlink(path);
}

/* After a reboot the records are there, the namespaces are not. */
static bool namespace_lives(const char *path) {
  struct statfs fs;
  return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC_NUMBER;
}

static pod_t *pod_of(kg_view_t v) {
  pod_t *p = calloc(1, sizeof *p);
  if (!p) return NULL;
  p->id = kg_str_dup(kg_view_str(kg_view_get(v, "id")));
  p->netns = kg_str_dup(kg_view_str(kg_view_get(v, "netns")));
  snprintf(p->link, sizeof p->link, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(v, "link"))));
  p->ip = (uint32_t)kg_view_int(kg_view_get(v, "ip"), 0);
  p->number = kg_view_int(kg_view_get(v, "number"), 0);
  kg_view_t ports = kg_view_get(v, "ports");
  if (kg_view_count(ports)) p->ports = kg_doc_copy(ports.p, kg_view_span(ports));
  if (p->id && p->netns && p->ip) return p;
  pod_free(p);
  return NULL;
}

static void read_one(network_t *n, const char *name) {
  char path[PATH_SIZE];
  size_t size;
  kg_error_t err;
  snprintf(path, sizeof path, "%s/pods/%s", n->dir, name);
  void *data = read_whole(path, &size);
  pod_t *p = data && kg_doc_check(data, size, &err) == 0 ? pod_of(kg_view_bytes(data, size)) : NULL;
  free(data);
  if (p && !strcmp(p->id, name) && namespace_lives(p->netns)) {
    p->next = n->pods;
    n->pods = p;
    if (p->number > n->number) n->number = p->number;
    return;
  }
  if (p) pod_free(p);
  unlink(path);
}

int records_read(network_t *n, kg_error_t *err) {
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "%s/pods", n->dir);
  if (make_dir(n->dir, err) < 0 || make_dir(path, err) < 0) return -1;
  DIR *d = opendir(path);
  if (!d) return kg_error_set(err, KG_EINTERNAL, "%s could not be read: %s", path, strerror(errno));
  for (struct dirent *e; (e = readdir(d));)
    if (e->d_name[0] != '.') read_one(n, e->d_name);
  closedir(d);
  return 0;
}
