#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci.h"

int make_dirs(const char *path, int mode, kg_error_t *err) {
  char part[PATH_SIZE];
  if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
    return kg_error_set(err, KG_EINVAL, "the path %s is too long", path);
  for (char *p = part + 1;; p++) {
    if (*p && *p != '/') continue;
    char c = *p;
    *p = '\0';
    if (mkdir(part, (mode_t)mode) < 0 && errno != EEXIST)
      return kg_error_set(err, KG_EINTERNAL, "directory %s could not be made: %s", part, strerror(errno));
    if (!c) return 0;
    *p = c;
  }
}

int write_whole(const char *path, const void *data, size_t n, int mode, kg_error_t *err) {
  char temporary[PATH_SIZE + 8];
  snprintf(temporary, sizeof temporary, "%s.new", path);
  int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  bool good = fd >= 0 && write(fd, data, n) == (ssize_t)n;
  int why = errno;
  if (fd >= 0 && close(fd) < 0) good = false;
  if (good && rename(temporary, path) == 0) return 0;
  if (good) why = errno;
  if (fd >= 0) unlink(temporary);
  return kg_error_set(err, why == ENOSPC ? KG_EFULL : KG_EINTERNAL, "%s could not be written: %s", path, strerror(why));
}

char *read_whole(const char *path, size_t most, size_t *n) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0) return NULL;
  size_t size = fstat(fd, &st) == 0 && st.st_size > 0 && (size_t)st.st_size < most ? (size_t)st.st_size : 4096;
  char *text = malloc(size + 1);
  ssize_t got = text ? read(fd, text, size) : -1;
  close(fd);
  if (got < 0) {
    free(text);
    return NULL;
  }
  text[got] = '\0';
  if (n) *n = (size_t)got;
  return text;
}

int fd_path(int fd, char path[PATH_SIZE]) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, PATH_SIZE);
  if (n < 0 || n >= PATH_SIZE) return n < 0 ? errno : ENAMETOOLONG;
  path[n] = '\0';
  return 0;
}

char *text_of(kg_view_t args, const char *key) {
  kg_str_t s = kg_view_str(kg_view_get(args, key));
  return s.n ? kg_str_dup(s) : NULL;
}

static int write_record(const char *path, kg_pack_t *p, kg_error_t *err) {
  kg_doc_t *doc = kg_pack_doc(p);
  if (!doc) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  int done = write_whole(path, kg_doc_data(doc), kg_doc_size(doc), 0600, err);
  kg_doc_unref(doc);
  return done;
}

int record_sandbox(oci_t *o, const sandbox_t *s, kg_error_t *err) {
  char path[PATH_SIZE];
  kg_pack_t p = kg_pack();
  snprintf(path, sizeof path, "%s/sandboxes/%s", o->dir, s->id);
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "id", s->id);
  kg_pack_kv_view(&p, "args", kg_view_of(s->args));
  kg_pack_kv_str(&p, "ip", s->ip);
  kg_pack_kv_view(&p, "ips", kg_view_of(s->ips));
  kg_pack_kv_int(&p, "created", s->created_us);
  kg_pack_kv_bool(&p, "ready", s->ready);
  kg_pack_end(&p);
  return write_record(path, &p, err);
}

int record_container(oci_t *o, const container_t *c, kg_error_t *err) {
  char path[PATH_SIZE + 16], dir[PATH_SIZE];
  kg_pack_t p = kg_pack();
  container_dir(o, c->id, dir);
  snprintf(path, sizeof path, "%s/record", dir);
  kg_pack_map(&p);
  pack_container(&p, c);
  kg_pack_kv_str(&p, "stored", c->image_id);
  kg_pack_kv_str(&p, "program", c->program);
  kg_pack_kv_str(&p, "kind", c->kind);
  kg_pack_kv_str(&p, "logPath", c->log_path);
  kg_pack_kv_str(&p, "stopSignal", c->stop_signal);
  kg_pack_kv_bool(&p, "tty", c->tty);
  kg_pack_kv_int(&p, "monitor", c->monitor);
  kg_pack_kv_bool(&p, "begun", c->begun);
  kg_pack_key(&p, "moreImages");
  kg_pack_array(&p);
  for (const char *s = c->more_images; s && *s; s = strchr(s, '\n') + 1)
    kg_pack_strn(&p, (kg_str_t){s, strcspn(s, "\n")});
  kg_pack_end(&p);
  kg_pack_end(&p);
  return write_record(path, &p, err);
}

static kg_doc_t *read_record(const char *path) {
  size_t n;
  char *data = read_whole(path, 1 << 20, &n);
  if (!data) return NULL;
  if (kg_doc_check(data, n, NULL) == 0) return kg_doc_take(data, n);
  free(data);
  return NULL;
}

static kg_doc_t *sub_doc(kg_view_t v) {
  return kg_view_count(v) ? kg_doc_copy(v.p, kg_view_span(v)) : NULL;
}

static void read_sandbox(oci_t *o, const char *path) {
  kg_doc_t *doc = read_record(path);
  kg_view_t v = kg_view_of(doc), args = kg_view_get(v, "args");
  char *id = text_of(v, "id");
  if (!id) {
    kg_log(o->ctx, KG_LOG_WARN, "the record %s cannot be read and is passed over", path);
  } else {
    sandbox_t *s = calloc(1, sizeof *s);
    *s = (sandbox_t){.next = o->sandboxes, .id = id, .args = sub_doc(args), .ip = text_of(v, "ip")};
    s->ips = sub_doc(kg_view_get(v, "ips"));
    s->created_us = kg_view_int(kg_view_get(v, "created"), 0);
    s->host_net = kg_view_bool(kg_view_get(args, "hostNetwork"), false);
    s->host_ipc = kg_view_bool(kg_view_get(args, "hostIPC"), false);
    s->host_pid = kg_view_bool(kg_view_get(args, "hostPID"), false);
    s->ready = kg_view_bool(kg_view_get(v, "ready"), false) && sandbox_alive(o, s);
    o->sandboxes = s;
  }
  kg_doc_unref(doc);
}

static state_t state_of(kg_view_t v) {
  kg_str_t s = kg_view_str(kg_view_get(v, "state"));
  return kg_str_is(s, "running") ? C_RUNNING : kg_str_is(s, "exited") ? C_EXITED : C_CREATED;
}

/* A monitor with that id in its command line: process numbers are used again. */
static bool monitor_lives(const container_t *c) {
  char path[64];
  size_t n;
  if (c->monitor <= 0) return false;
  snprintf(path, sizeof path, "/proc/%d/cmdline", (int)c->monitor);
  char *text = read_whole(path, 8192, &n);
  bool found = text && memmem(text, n, c->id, strlen(c->id));
  free(text);
  return found;
}

/* What happened while nobody looked. */
static void catch_up(container_t *c) {
  bool never_ran = c->state == C_CREATED && !c->begun;
  if (c->state == C_EXITED || (!never_ran && container_reap(c))) return;
  /* Its monitor may have been started, and kogge died before it knew of it. */
  if (c->monitor == 0) c->monitor = container_pid_file(c, "conmon.pid");
  if (c->pid == 0) c->pid = container_pid_file(c, "pid");
  if (monitor_lives(c) && c->pid > 0) return;
  if (never_ran) return container_unfinished(c);
  if (c->pid > 0 && c->state == C_RUNNING) container_kill(c, SIGKILL);
  container_ended(c, 137, "ContainerStatusUnknown");
}

static void set_text(char **at, const char *text) {
  free(*at);
  *at = strdup(text);
}

static void read_container(oci_t *o, const char *path) {
  kg_doc_t *doc = read_record(path);
  kg_view_t v = kg_view_of(doc);
  char *id = text_of(v, "id");
  if (!id) {
    kg_log(o->ctx, KG_LOG_WARN, "the record %s cannot be read and is passed over", path);
    kg_doc_unref(doc);
    return;
  }
  container_t *c = calloc(1, sizeof *c);
  *c = (container_t){.next = o->containers, .oci = o, .id = id, .sandbox = text_of(v, "sandbox")};
  c->name = text_of(v, "name");
  c->image = text_of(v, "image");
  c->image_ref = text_of(v, "imageID");
  c->image_id = text_of(v, kg_view_there(kg_view_get(v, "stored")) ? "stored" : "imageID");
  c->program = text_of(v, "program");
  c->kind = text_of(v, "kind");
  if (!c->program || !c->kind) { /* recorded before there was a choice */
    set_text(&c->program, o->runc);
    set_text(&c->kind, o->kind);
  }
  c->log_path = text_of(v, "logPath");
  c->stop_signal = text_of(v, "stopSignal");
  c->reason = text_of(v, "reason");
  c->attempt = kg_view_int(kg_view_get(v, "attempt"), 0);
  c->state = state_of(v);
  c->tty = kg_view_bool(kg_view_get(v, "tty"), false);
  c->begun = kg_view_bool(kg_view_get(v, "begun"), false);
  c->oom = kg_view_bool(kg_view_get(v, "oom"), false);
  c->pid = (pid_t)kg_view_int(kg_view_get(v, "pid"), 0);
  c->monitor = (pid_t)kg_view_int(kg_view_get(v, "monitor"), 0);
  c->created_us = kg_view_int(kg_view_get(v, "created"), 0);
  c->started_us = kg_view_int(kg_view_get(v, "started"), 0);
  c->finished_us = kg_view_int(kg_view_get(v, "finished"), 0);
  c->exit_code = kg_view_int(kg_view_get(v, "exitCode"), 0);
  o->containers = c;
  if (c->image_id) images_use(o->images, c->image_id);
  for (kg_iter_t it = kg_iter(kg_view_get(v, "moreImages")); kg_iter_next(&it);) {
    char *more = kg_str_dup(kg_view_str(it.value));
    if (more) container_uses(c, more);
    free(more);
  }
  c->user = sub_doc(kg_view_get(v, "user"));
  kg_doc_unref(doc);
  catch_up(c);
}

static void each_entry(oci_t *o, const char *dir, const char *file, void (*fn)(oci_t *o, const char *path)) {
  char path[PATH_SIZE * 2];
  DIR *d = opendir(dir);
  for (struct dirent *e; d && (e = readdir(d));) {
    size_t n = strlen(e->d_name);
    if (e->d_name[0] == '.' || (n > 4 && !strcmp(e->d_name + n - 4, ".new"))) continue;
    snprintf(path, sizeof path, "%s/%s%s", dir, e->d_name, file);
    if (access(path, F_OK) == 0) fn(o, path); /* else its last files are being removed */
  }
  if (d) closedir(d);
}

void records_read(oci_t *o) {
  char dir[PATH_SIZE];
  snprintf(dir, sizeof dir, "%s/sandboxes", o->dir);
  each_entry(o, dir, "", read_sandbox);
  snprintf(dir, sizeof dir, "%s/containers", o->dir);
  each_entry(o, dir, "/record", read_container);
}
