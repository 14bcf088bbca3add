#include "control.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "make.h"

#define OUT_ENOUGH (1u << 20) /* so much may wait for a slow terminal before its streams are held back */
#define OUT_MOST (32u << 20)  /* and so much before a trace loses what comes */
#define TRACE_CREDIT 1024

typedef struct conn conn_t;

/* A request of the command line that is on its way. */
typedef struct ask {
  struct ask *next;
  conn_t *conn;
  uint64_t id, call; /* the client's number, ours */
  uint32_t owed;     /* credit held back */
  bool trace;
  uint64_t lost;
} ask_t;

struct conn {
  conn_t *prev, *next;
  int fd;
  bool broken;
  uint8_t *in, *out;
  size_t in_size, in_room, out_size, out_room, out_done;
  ask_t *asks;
};

typedef struct control {
  int listener;
  char path[108];
  conn_t *conns;
  kg_tracing_t *traces;
} control_t;

/* --- connections
 * ----------------------------------------------------------------------------------------------------------- */

static void close_conn(kg_ctx_t *ctx, control_t *self, conn_t *c) {
  for (ask_t *a = c->asks, *next; a; a = next) {
    next = a->next;
    kg_cancel(ctx, a->call);
    free(a);
  }
  kg_fd_forget(ctx, c->fd);
  close(c->fd);
  if (c->prev)
    c->prev->next = c->next;
  else
    self->conns = c->next;
  if (c->next) c->next->prev = c->prev;
  free(c->in);
  free(c->out);
  free(c);
}

static void flush(kg_ctx_t *ctx, conn_t *c) {
  while (c->out_done < c->out_size && !c->broken) {
    ssize_t n = send(c->fd, c->out + c->out_done, c->out_size - c->out_done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      c->broken = true;
    else
      c->out_done += (size_t)n;
  }
  if (c->out_done == c->out_size) c->out_done = c->out_size = 0;
  kg_fd_change(ctx, c->fd, EPOLLIN | (c->out_size ? EPOLLOUT : 0));
  if (c->out_size - c->out_done > OUT_ENOUGH) return;
  for (ask_t *a = c->asks; a; a = a->next)
    if (a->owed) {
      kg_credit(ctx, a->call, a->owed);
      a->owed = 0;
    }
}

static int append(uint8_t **buf, size_t *size, size_t *room, const void *data, size_t n) {
  if (*size + n > *room) {
    size_t more = *room ? *room * 2 : 4096;
    while (more < *size + n) more *= 2;
    uint8_t *bigger = realloc(*buf, more);
    if (!bigger) return -1;
    *buf = bigger;
    *room = more;
  }
  memcpy(*buf + *size, data, n);
  *size += n;
  return 0;
}

static void write_frame(kg_ctx_t *ctx, conn_t *c, uint64_t id, const kg_msg_t *m) {
  uint8_t *frame;
  size_t size;
  if (kg_frame_pack(kg_msg_type(m), id, "", kg_msg_topic(m), kg_msg_code(m), kg_msg_text(m), kg_msg_args_doc(m),
                    m->docs, m->ndocs, false, 0, &frame, &size) < 0 ||
      append(&c->out, &c->out_size, &c->out_room, frame, size) < 0)
    c->broken = true;
  free(frame);
  flush(ctx, c);
}

/* --- requests of the command line
 * -------------------------------------------------------------------------------------------- */

static void drop_ask(ask_t *a) {
  ask_t **at = &a->conn->asks;
  while (*at != a) at = &(*at)->next;
  *at = a->next;
  free(a);
}

/* Whole messages may be large: a trace that nobody reads must not fill the memory. True if m is left out. */
static bool too_much(kg_ctx_t *ctx, ask_t *a, const kg_msg_t *m) {
  if (!a->trace || kg_msg_type(m) != KG_MSG_ITEM) return false;
  if (a->conn->out_size - a->conn->out_done > OUT_MOST) {
    a->lost++;
    a->owed++;
    return true;
  }
  if (!a->lost) return false;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "lost", (int64_t)a->lost);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_msg_t *gap = kg_make_answer(ctx, m, KG_MSG_ITEM, 0, args, NULL, 0);
  if (gap) write_frame(ctx, a->conn, a->id, gap);
  if (gap) a->lost = 0;
  kg_msg_unref(gap);
  kg_doc_unref(args);
  return false;
}

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  ask_t *a = arg;
  conn_t *c = a->conn;
  uint64_t id = a->id;
  if (kg_msg_type(m) == KG_MSG_CREDIT || too_much(ctx, a, m)) return;
  if (kg_msg_type(m) == KG_MSG_ITEM)
    a->owed++;
  else
    drop_ask(a);
  write_frame(ctx, c, id, m);
}

static void send_request(kg_ctx_t *ctx, conn_t *c, const kg_frame_t *f) {
  char *service = kg_str_dup(f->service), *topic = kg_str_dup(f->topic);
  ask_t *a = calloc(1, sizeof *a);
  kg_doc_t *args = kg_view_type(f->args) == KG_V_MAP ? kg_doc_copy(f->args.p, kg_view_span(f->args)) : NULL;
  size_t ndocs = 0, count = kg_view_count(f->docs);
  kg_doc_t **docs = calloc(count + 1, sizeof *docs);
  for (kg_iter_t it = kg_iter(f->docs); docs && kg_iter_next(&it);) {
    kg_str_t bytes = kg_view_bin(it.value);
    if (bytes.p && ndocs < count && kg_doc_check(bytes.p, bytes.n, NULL) == 0 &&
        (docs[ndocs] = kg_doc_copy(bytes.p, bytes.n)))
      ndocs++;
  }
  if (service && topic && a && docs) {
    *a = (ask_t){.next = c->asks, .conn = c, .id = f->id, .trace = strcmp(topic, "kernel.trace") == 0};
    c->asks = a;
    a->call = kg_send(ctx, &(kg_request_t){.service = service,
                                           .topic = topic,
                                           .args = args,
                                           .docs = docs,
                                           .ndocs = ndocs,
                                           .timeout_ms = f->timeout_ms,
                                           .stream = f->stream,
                                           .credit = a->trace ? TRACE_CREDIT : 0,
                                           .manual_credit = true,
                                           .fn = answered,
                                           .arg = a});
  } else {
    free(a);
    c->broken = true;
  }
  for (size_t i = 0; i < ndocs; i++) kg_doc_unref(docs[i]);
  free(docs);
  kg_doc_unref(args);
  free(service);
  free(topic);
}

static void handle_frame(kg_ctx_t *ctx, conn_t *c, const uint8_t *data, size_t size) {
  kg_frame_t f;
  if (kg_frame_read(data, size, &f) < 0) {
    c->broken = true;
    return;
  }
  if (f.type == KG_MSG_REQUEST) {
    send_request(ctx, c, &f);
    return;
  }
  ask_t *a = c->asks;
  while (a && a->id != f.id) a = a->next;
  if (!a) return;
  if (f.type == KG_MSG_CANCEL) {
    kg_cancel(ctx, a->call);
    drop_ask(a);
  } else if (f.type == KG_MSG_END) {
    kg_call_end(ctx, a->call);
  } else if (f.type == KG_MSG_ITEM) {
    kg_doc_t *args = kg_doc_copy(f.args.p, kg_view_span(f.args));
    if (kg_call_item(ctx, a->call, args, NULL, 0) < 0) c->broken = true;
    kg_doc_unref(args);
  }
}

static void take_frames(kg_ctx_t *ctx, conn_t *c) {
  size_t done = 0;
  while (c->in_size - done >= 4 && !c->broken) {
    const uint8_t *p = c->in + done;
    size_t n = p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    if (n > KG_FRAME_MAX) c->broken = true;
    if (c->broken || c->in_size - done - 4 < n) break;
    handle_frame(ctx, c, p + 4, n);
    done += 4 + n;
  }
  memmove(c->in, c->in + done, c->in_size - done);
  c->in_size -= done;
}

static void conn_ready(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  conn_t *c = arg;
  uint8_t buf[65536];
  if (events & EPOLLOUT) flush(ctx, c);
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    ssize_t n = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) c->broken = true;
    if (n > 0 && append(&c->in, &c->in_size, &c->in_room, buf, (size_t)n) < 0) c->broken = true;
    if (n > 0 && !c->broken) take_frames(ctx, c);
  }
  if (c->broken) close_conn(ctx, self, c);
}

static void accept_ready(kg_ctx_t *ctx, void *me, int listener, uint32_t events, void *arg) {
  (void)events, (void)arg;
  control_t *self = me;
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  conn_t *c = calloc(1, sizeof *c);
  if (!c || kg_fd_watch(ctx, fd, EPOLLIN, conn_ready, c, NULL) < 0) {
    free(c);
    close(fd);
    return;
  }
  c->fd = fd;
  c->next = self->conns;
  if (c->next) c->next->prev = c;
  self->conns = c;
}

/* --- the service `kernel`
 * ---------------------------------------------------------------------------------------------------- */

static void list(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_doc_t *doc = kg_kernel_list(ctx->k);
  kg_reply(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}

static void command(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_control_command(ctx, m);
}

static void trace(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_control_trace(ctx, &((control_t *)self)->traces, m);
}

static void traced(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_control_traced(ctx, ((control_t *)self)->traces, m);
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  kg_pack_kv_int(p, "traces", (int64_t)kg_control_traces(((control_t *)self)->traces));
}

/* --- life
 * --------------------------------------------------------------------------------------------------------------------
 */

/* Nothing but what a kernel leaves there. */
static bool is_run_dir(const char *dir) {
  DIR *d = opendir(dir);
  bool others = false, ours = false;
  for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
    bool dot = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    ours |= strcmp(e->d_name, "kogge.sock") == 0;
    others |= !dot;
  }
  if (d) closedir(d);
  return d && (ours || !others);
}

/* Whoever can open the run directory can do everything: only its owner may. A directory that serves something else as
 * well is not touched. */
static int close_to_others(const char *dir, kg_error_t *err) {
  struct stat st;
  if (stat(dir, &st) < 0)
    return kg_error_set(err, KG_EINVAL, "run directory %s cannot be opened: %s", dir, strerror(errno));
  if (st.st_uid != geteuid())
    return kg_error_set(err, KG_EINVAL, "run directory %s belongs to another user (%u)", dir, (unsigned)st.st_uid);
  if (!(st.st_mode & 077) || (is_run_dir(dir) && chmod(dir, 0700) == 0)) return 0;
  return kg_error_set(err, KG_EINVAL,
                      "run directory %s can be opened by other users and holds other files: chmod 700 it, or take "
                      "another (--run-dir)",
                      dir);
}

static bool answers(const struct sockaddr_un *a) {
  int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool taken = probe >= 0 && connect(probe, (const struct sockaddr *)a, sizeof *a) == 0;
  if (probe >= 0) close(probe);
  return taken;
}

/* One that was killed a moment ago may still be ending: its socket takes connections until its memory is given back. */
static bool goes_on_answering(const struct sockaddr_un *a) {
  for (int i = 0; i < 50; i++) {
    if (!answers(a)) return false;
    usleep(20000);
  }
  return true;
}

static int listen_at(control_t *self, kg_error_t *err) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  snprintf(a.sun_path, sizeof a.sun_path, "%s", self->path);
  self->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (goes_on_answering(&a))
    return kg_error_set(err, KG_ECONFLICT, "another kogge server answers at %s already", self->path);
  unlink(self->path);
  mode_t old = umask(0177);
  int rc = self->listener < 0 ? -1 : bind(self->listener, (struct sockaddr *)&a, sizeof a);
  umask(old);
  if (rc < 0 || listen(self->listener, 64) < 0)
    return kg_error_set(err, KG_EINVAL, "socket %s cannot be made: %s", self->path, strerror(errno));
  return 0;
}

static int create(kg_ctx_t *ctx, void **out, kg_error_t *err) {
  control_t *self = calloc(1, sizeof *self);
  if (!self) return kg_error_set(err, KG_EFULL, "out of memory");
  self->listener = -1;
  if (snprintf(self->path, sizeof self->path, "%s/kogge.sock", kg_run_dir(ctx)) >= (int)sizeof self->path)
    kg_error_set(err, KG_EINVAL, "the run directory's path %s is too long for a socket", kg_run_dir(ctx));
  else if (close_to_others(kg_run_dir(ctx), err) == 0 && listen_at(self, err) == 0 &&
           kg_fd_watch(ctx, self->listener, EPOLLIN, accept_ready, NULL, err) == 0) {
    *out = self;
    return 0;
  }
  if (self->listener >= 0) close(self->listener);
  free(self);
  return -1;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_ready(ctx);
  return 0;
}

static void destroy(kg_ctx_t *ctx, void *me) {
  control_t *self = me;
  kg_control_trace_end(ctx, &self->traces);
  while (self->conns) close_conn(ctx, self, self->conns);
  close(self->listener);
  unlink(self->path);
  free(self);
}

static const char *const services[] = {"kernel", NULL};
static const kg_handler_t handlers[] = {
    {"kernel.list", list},
    {"kernel.trace", trace},
    {"kernel.traced", traced},
    {"kernel.load", command},
    {"kernel.swap", command},
    {"kernel.unload", command},
    {"kernel.reload", command},
    {"kernel.configure", command},
    {"kernel.shadow", command},
    {"kernel.shadow_report", command},
    {0},
};

const kg_plugin_t kg_control_plugin = {.magic = KG_PLUGIN_MAGIC,
                                       .abi = KG_PLUGIN_ABI,
                                       .size = sizeof(kg_plugin_t),
                                       .name = "kernel",
                                       .role = "kernel",
                                       .version = "0.1.0",
                                       .summary = "The kernel's own service and the socket of the command line.",
                                       .services = services,
                                       .handlers = handlers,
                                       .create = create,
                                       .start = start,
                                       .stats = stats,
                                       .destroy = destroy};

int kg_kernel_open_control(kg_kernel_t *k, kg_error_t *err) {
  return kg_kernel_load(k, &(kg_plugin_spec_t){.name = "kernel", .lane = "kernel", .descriptor = &kg_control_plugin},
                        err);
}
