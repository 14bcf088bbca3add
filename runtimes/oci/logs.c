/* Log files in the CRI format ("TIME stdout|stderr F|P text") as streams; followed with inotify. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kube/values.h"
#include "oci.h"

enum { BLOCK = 64 * 1024, LINE_MAX_BYTES = 1 << 20, LOOK_MS = 20 };

struct log_stream {
  log_stream_t *next;
  oci_t *oci;
  kg_msg_t *request;
  char *path;
  int fd, watch;
  uint64_t timer;
  bool follow, timestamps, moved, writer_gone, no_credit, line_open; /* line_open: the last part sent was partial */
  int64_t since_us, limit;                                           /* limit: bytes left, -1: none */
  kube_buf_t rest;                                                   /* an unfinished line of the file */
  kube_buf_t out;                                                    /* what has no credit yet */
};

static void drop_watch(log_stream_t *l) {
  bool shared = false; /* two streams of one file have one watch */
  for (log_stream_t *other = l->oci->logs; other; other = other->next) shared |= other != l && other->watch == l->watch;
  if (l->watch >= 0 && !shared) inotify_rm_watch(l->oci->logs_fd, l->watch);
  l->watch = -1;
}

static void log_free(log_stream_t *l) {
  oci_t *o = l->oci;
  for (log_stream_t **at = &o->logs; *at; at = &(*at)->next)
    if (*at == l) {
      *at = l->next;
      break;
    }
  kg_timer_cancel(o->ctx, l->timer);
  drop_watch(l);
  if (l->fd >= 0) close(l->fd);
  kube_buf_free(&l->rest);
  kube_buf_free(&l->out);
  kg_msg_unref(l->request);
  free(l->path);
  free(l);
}

/* --- lines
 * ------------------------------------------------------------------------------------------------------------- */

static void emit(log_stream_t *l, const char *p, size_t n) {
  if (l->limit >= 0 && (int64_t)n > l->limit) n = (size_t)l->limit;
  if (l->limit >= 0) l->limit -= (int64_t)n;
  kube_buf_add(&l->out, p, n);
}

/* Next word of the line, up to a space. */
static kg_str_t word(const char **p, const char *end) {
  const char *space = memchr(*p, ' ', (size_t)(end - *p));
  kg_str_t w = {*p, (size_t)((space ? space : end) - *p)};
  *p = space ? space + 1 : end;
  return w;
}

static void one_line(log_stream_t *l, const char *p, size_t n) {
  const char *end = p + n;
  kg_str_t time = word(&p, end), stream = word(&p, end), tag = word(&p, end);
  int64_t at;
  if (!kg_str_is(stream, "stdout") && !kg_str_is(stream, "stderr")) return; /* no line of this format */
  if (l->since_us && kube_time_parse(time, &at) == 0 && at < l->since_us) return;
  if (l->timestamps && !l->line_open) {
    bool utc = time.n > 6 && !memcmp(time.p + time.n - 6, "+00:00", 6);
    emit(l, time.p, utc ? time.n - 6 : time.n);
    emit(l, utc ? "Z " : " ", utc ? 2 : 1);
  }
  emit(l, p, (size_t)(end - p));
  l->line_open = tag.n && tag.p[0] == 'P';
  if (!l->line_open) emit(l, "\n", 1);
}

static void take_block(log_stream_t *l, const char *p, size_t n) {
  while (n) {
    const char *nl = memchr(p, '\n', n);
    size_t part = nl ? (size_t)(nl - p) : n;
    if (!nl || l->rest.n) kube_buf_add(&l->rest, p, part);
    if (!nl) break;
    if (l->rest.n) {
      one_line(l, l->rest.p, l->rest.n);
      l->rest.n = 0;
    } else {
      one_line(l, p, part);
    }
    p += part + 1;
    n -= part + 1;
  }
  if (l->rest.n > LINE_MAX_BYTES) l->rest.n = 0; /* conmon never writes such a line */
}

/* --- sending
 * ----------------------------------------------------------------------------------------------------------- */

/* False: no credit now. */
static bool flush(log_stream_t *l) {
  if (!l->out.n) return true;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "data");
  kg_pack_bin(&p, l->out.p, l->out.n);
  struct stat st;
  if (l->follow && !fstat(l->fd, &st)) {
    kg_pack_kv_int(&p, "file", (int64_t)st.st_ino);
    kg_pack_kv_int(&p, "at", lseek(l->fd, 0, SEEK_CUR) - (off_t)l->rest.n);
    kg_pack_kv_bool(&p, "open", l->line_open);
  }
  kg_pack_end(&p);
  kg_doc_t *item = kg_pack_doc(&p);
  l->no_credit = kg_stream_item(l->oci->ctx, l->request, item, NULL, 0) < 0;
  kg_doc_unref(item);
  if (!l->no_credit) l->out.n = 0;
  return !l->no_credit;
}

static void end_stream(log_stream_t *l) {
  kg_stream_end(l->oci->ctx, l->request);
  log_free(l);
}

static bool new_is_there(const log_stream_t *l);
static bool go_on_in_new(log_stream_t *l);
static void moved_away(log_stream_t *l);

/* Reads and sends until the end of the file or of the credit. May free l. */
static void pump(log_stream_t *l) {
  char block[BLOCK];
  ssize_t n = 0;
  if (!flush(l)) return;
  bool on;
  do {
    on = new_is_there(l); /* asked before the old one is read to its end */
    while (l->limit != 0 && (n = read(l->fd, block, sizeof block)) > 0) {
      take_block(l, block, (size_t)n);
      if (!flush(l)) return;
    }
  } while (on && l->limit != 0 && go_on_in_new(l));
  if (l->moved && !l->writer_gone) moved_away(l);
  if (l->limit == 0 || !l->follow || l->writer_gone) end_stream(l);
}

static void on_credit(kg_ctx_t *ctx, void *self, const kg_msg_t *request, void *arg) {
  (void)ctx, (void)self, (void)request;
  pump(arg);
}

static void on_cancel(kg_ctx_t *ctx, void *self, const kg_msg_t *request, void *arg) {
  (void)ctx, (void)self, (void)request;
  log_free(arg);
}

static void on_written(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)events, (void)arg;
  oci_t *o = self;
  char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
  ssize_t n;
  while ((n = read(fd, buf, sizeof buf)) > 0) {
    for (char *p = buf; p < buf + n;) {
      const struct inotify_event *e = (const struct inotify_event *)p;
      for (log_stream_t *l = o->logs, *next; l; l = next) {
        next = l->next;
        if (l->watch != e->wd) continue;
        if (e->mask & IN_MOVE_SELF) moved_away(l);
        if (!l->no_credit) pump(l);
      }
      p += sizeof *e + e->len;
    }
  }
}

void logs_ended(oci_t *o, const char *log_path) {
  for (log_stream_t *l = o->logs, *next; l; l = next) {
    next = l->next;
    if (strcmp(l->path, log_path)) continue;
    l->writer_gone = true;
    if (!l->no_credit) pump(l);
  }
}

static int follow_file(oci_t *o, log_stream_t *l, kg_error_t *err) {
  if (o->logs_fd < 0) {
    o->logs_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (o->logs_fd < 0 || kg_fd_watch(o->ctx, o->logs_fd, EPOLLIN, on_written, NULL, err) < 0)
      return kg_error_set(err, KG_EINTERNAL, "logs cannot be followed: %s", strerror(errno));
  }
  l->watch = inotify_add_watch(o->logs_fd, l->path, IN_MODIFY | IN_MOVE_SELF);
  return l->watch < 0 ? kg_error_set(err, KG_EINTERNAL, "%s cannot be followed: %s", l->path, strerror(errno)) : 0;
}

/* --- rotation
 * ----------------------------------------------------------------------------------------------------------- */

static void look_again(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  log_stream_t *l = arg;
  l->timer = 0;
  if (l->no_credit)
    moved_away(l);
  else
    pump(l);
}

static void moved_away(log_stream_t *l) {
  l->moved = true;
  if (!l->timer) l->timer = kg_timer(l->oci->ctx, LOOK_MS, 0, look_again, l);
}

/* Its writer has left the old file then. */
static bool new_is_there(const log_stream_t *l) {
  struct stat old, now;
  return l->moved && !fstat(l->fd, &old) && !stat(l->path, &now) && now.st_ino != old.st_ino;
}

static bool go_on_in_new(log_stream_t *l) {
  kg_error_t err;
  int fd = open(l->path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  close(l->fd);
  l->fd = fd;
  l->rest.n = 0;
  l->moved = false;
  drop_watch(l);
  if (follow_file(l->oci, l, &err) < 0) kg_log(l->oci->ctx, KG_LOG_WARN, "%s", err.text);
  return true;
}

void container_reopen_log(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  oci_t *o = self;
  char dir[PATH_SIZE], path[PATH_SIZE + 8];
  kg_str_t id = kg_view_str(kg_view_get(kg_msg_args(m), "id"));
  const container_t *c = container_find(o, id);
  if (!c || c->state != C_RUNNING)
    return kg_fail(ctx, m, KG_ENOTFOUND, "container " KG_STR_FMT " is not running", KG_STR_ARG(id));
  container_dir(o, c->id, dir);
  snprintf(path, sizeof path, "%s/ctl", dir);
  int ctl = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  bool good = ctl >= 0 && write(ctl, "2 0 0\n", 6) == 6; /* conmon: type 2 is a new log, the numbers are unused */
  int why = errno;
  if (ctl >= 0) close(ctl);
  if (!good) return kg_fail(ctx, m, KG_EINTERNAL, "%s could not be written: %s", path, strerror(why));
  kg_reply(ctx, m, NULL, NULL, 0);
}

/* --- start
 * ------------------------------------------------------------------------------------------------------------- */

/* Moves to the first of the last `lines` full lines, reading backwards. Partial lines belong to the full one after
 * them. */
static void seek_tail(int fd, int64_t lines) {
  char block[BLOCK];
  off_t end = lseek(fd, 0, SEEK_END), at = end;
  int64_t seen = -1; /* the newline at the very end ends the last line, it begins none */
  while (at > 0) {
    size_t n = at > BLOCK ? BLOCK : (size_t)at;
    at -= (off_t)n;
    if (pread(fd, block, n, at) != (ssize_t)n) break;
    for (size_t i = n; i-- > 0;) {
      if (block[i] != '\n' || ++seen < lines) continue;
      lseek(fd, at + (off_t)i + 1, SEEK_SET);
      return;
    }
  }
  lseek(fd, 0, SEEK_SET);
}

/* The file that was renamed, if it still is beside the new one. -1: it is not. */
static int open_renamed(const char *path, int64_t file) {
  char pattern[PATH_SIZE + 4];
  glob_t g = {0};
  struct stat st;
  int fd = -1;
  snprintf(pattern, sizeof pattern, "%s.*", path);
  if (!glob(pattern, 0, NULL, &g))
    for (size_t i = 0; i < g.gl_pathc && fd < 0; i++)
      if (!stat(g.gl_pathv[i], &st) && (int64_t)st.st_ino == file) fd = open(g.gl_pathv[i], O_RDONLY | O_CLOEXEC);
  globfree(&g);
  return fd;
}

/* Where a predecessor had come to; in a new file, if that was removed meanwhile, at its beginning. */
static void go_on_from(log_stream_t *l, kg_view_t from) {
  int64_t file = kg_view_int(kg_view_get(from, "file"), 0);
  struct stat st;
  bool same = !fstat(l->fd, &st) && (int64_t)st.st_ino == file;
  int old = same ? -1 : open_renamed(l->path, file);
  if (old >= 0) {
    close(l->fd);
    l->fd = old;
    l->moved = true;
  }
  if (!same && old < 0) return;
  lseek(l->fd, kg_view_int(kg_view_get(from, "at"), 0), SEEK_SET);
  l->line_open = kg_view_bool(kg_view_get(from, "open"), false);
}

static bool being_written(const oci_t *o, const char *path) {
  for (const container_t *c = o->containers; c; c = c->next)
    if (c->log_path && !strcmp(c->log_path, path)) return c->state != C_EXITED;
  return false;
}

static void read_options(log_stream_t *l, kg_view_t args) {
  kg_view_t since = kg_view_get(args, "since");
  l->follow = kg_view_bool(kg_view_get(args, "follow"), false);
  l->timestamps = kg_view_bool(kg_view_get(args, "timestamps"), false);
  l->limit = kg_view_int(kg_view_get(args, "limitBytes"), -1);
  l->since_us = kg_view_int(since, 0);
  if (kg_view_type(since) == KG_V_STR) kube_time_parse(kg_view_str(since), &l->since_us);
  l->writer_gone = !being_written(l->oci, l->path);
}

void runtime_logs(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  static const kg_stream_events_t events = {.on_credit = on_credit, .on_cancel = on_cancel};
  oci_t *o = self;
  kg_view_t args = kg_msg_args(m), tail = kg_view_get(args, "tail");
  kg_error_t err;
  char *path = text_of(args, "path");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) {
    kg_fail(ctx, m, KG_ENOTFOUND, "failed to try resolving symlinks in path \"%s\": %s", path ? path : "",
            strerror(errno));
    free(path);
    return;
  }
  log_stream_t *l = calloc(1, sizeof *l);
  *l = (log_stream_t){.next = o->logs, .oci = o, .request = kg_msg_ref(m), .path = path, .fd = fd, .watch = -1};
  o->logs = l;
  read_options(l, args);
  kg_view_t from = kg_view_get(args, "from");
  if (kg_view_there(from))
    go_on_from(l, from);
  else if (kg_view_type(tail) == KG_V_INT && kg_view_int(tail, 0) >= 0)
    seek_tail(fd, kg_view_int(tail, 0));
  if (l->follow && !l->writer_gone && follow_file(o, l, &err) < 0) {
    kg_fail(ctx, m, err.code, "%s", err.text);
    return log_free(l);
  }
  kg_stream_open(ctx, m, &events, l);
  pump(l);
}

void logs_free(oci_t *o) {
  while (o->logs) log_free(o->logs);
  if (o->logs_fd >= 0) {
    kg_fd_forget(o->ctx, o->logs_fd);
    close(o->logs_fd);
  }
}
