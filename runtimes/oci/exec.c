/* Commands in running containers: `runc exec`, its standard streams bridged to a duplex stream with credit in both
 * directions. */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci.h"

enum { CHUNK = 16 * 1024, DRAIN_MS = 500 };

struct exec_stream {
  exec_stream_t *next;
  oci_t *oci;
  kg_msg_t *request;
  pid_t pid;
  int pidfd;
  int in, out, err; /* -1: closed. With a terminal in and out are its master */
  bool tty, ended, no_credit, cancelled;
  int code;
  stream_input_t input;
  uint64_t drain_timer; /* after the end: what still comes out is waited for a little */
};

static void close_fd(exec_stream_t *x, int *fd) {
  int f = *fd;
  if (f < 0) return;
  *fd = -1;
  if (x->tty && (x->in == f || x->out == f)) return; /* the other direction still uses it */
  kg_fd_forget(x->oci->ctx, f);
  close(f);
}

static void exec_free(exec_stream_t *x) {
  oci_t *o = x->oci;
  for (exec_stream_t **at = &o->execs; *at; at = &(*at)->next)
    if (*at == x) {
      *at = x->next;
      break;
    }
  close_fd(x, &x->in);
  close_fd(x, &x->out);
  close_fd(x, &x->err);
  if (x->pidfd >= 0) {
    kg_fd_forget(o->ctx, x->pidfd);
    close(x->pidfd);
  }
  kg_timer_cancel(o->ctx, x->drain_timer);
  kube_buf_free(&x->input.rest);
  kg_msg_unref(x->request);
  free(x);
}

static void finish(exec_stream_t *x) {
  kg_ctx_t *ctx = x->oci->ctx;
  kg_pack_t p = kg_pack();
  if (!x->cancelled) {
    kg_pack_map(&p);
    kg_pack_kv_int(&p, "exit", x->code);
    kg_pack_end(&p);
    kg_doc_t *item = kg_pack_doc(&p);
    int sent = kg_stream_item(ctx, x->request, item, NULL, 0);
    kg_doc_unref(item);
    if (sent < 0) { /* on_credit comes back here */
      x->no_credit = true;
      return;
    }
    kg_stream_end(ctx, x->request);
  }
  exec_free(x);
}

static void maybe_finish(exec_stream_t *x) {
  if (x->ended && (x->cancelled || (x->out < 0 && x->err < 0))) finish(x);
}

/* --- output
 * ------------------------------------------------------------------------------------------------------------ */

static void pause_output(exec_stream_t *x, bool paused) {
  uint32_t out = paused ? 0 : EPOLLIN;
  x->no_credit = paused;
  if (x->out >= 0) kg_fd_change(x->oci->ctx, x->out, out | (x->tty && input_waits(&x->input) ? EPOLLOUT : 0));
  if (x->err >= 0) kg_fd_change(x->oci->ctx, x->err, out);
}

/* Reads once. False: the descriptor has ended. */
static bool read_output(exec_stream_t *x, int *fd, int number) {
  char buf[CHUNK];
  if (x->no_credit) return true;
  ssize_t n = read(*fd, buf, sizeof buf);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) { /* EIO: the last user of the terminal has closed it */
    close_fd(x, fd);
    return false;
  }
  int left = stream_output(x->oci->ctx, x->request, number, buf, (size_t)n);
  if (left <= 0) pause_output(x, true);
  return true;
}

static void write_input(exec_stream_t *x);

static void on_stream_fd(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)self;
  exec_stream_t *x = arg;
  if ((events & (EPOLLOUT | EPOLLERR)) && fd == x->in) write_input(x);
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  if (fd == x->out)
    read_output(x, &x->out, 1);
  else if (fd == x->err)
    read_output(x, &x->err, 2);
  maybe_finish(x);
}

/* Something in the container keeps the pipe open after the command has ended: it is not waited for. */
static void on_drained(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  exec_stream_t *x = arg;
  x->drain_timer = 0;
  if (x->no_credit) {
    x->drain_timer = kg_timer(ctx, DRAIN_MS, 0, on_drained, x);
    return;
  }
  close_fd(x, &x->in);
  close_fd(x, &x->out);
  close_fd(x, &x->err);
  maybe_finish(x);
}

static void on_process_end(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)self, (void)events;
  exec_stream_t *x = arg;
  siginfo_t info = {0};
  waitid(P_PID, (id_t)x->pid, &info, WEXITED | WNOHANG);
  x->code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
  x->ended = true;
  kg_fd_forget(ctx, fd);
  close(fd);
  x->pidfd = -1;
  if (!x->drain_timer) x->drain_timer = kg_timer(ctx, DRAIN_MS, 0, on_drained, x);
  maybe_finish(x);
}

/* --- input
 * ------------------------------------------------------------------------------------------------------------- */

static void input_done(exec_stream_t *x) {
  if (!x->input.ended) return;
  if (x->tty) return; /* a terminal has no end; the reader hangs up */
  close_fd(x, &x->in);
}

static void write_input(exec_stream_t *x) {
  stream_input_t *in = &x->input;
  while (x->in >= 0 && input_waits(in)) {
    ssize_t n = write(x->in, in->rest.p + in->taken, in->rest.n - in->taken);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) {
      close_fd(x, &x->in);
      break;
    }
    in->taken += (size_t)n;
  }
  bool rest = x->in >= 0 && input_waits(in);
  if (!rest) {
    input_taken(x->oci->ctx, x->request, in);
    input_done(x);
  }
  if (x->in >= 0)
    kg_fd_change(x->oci->ctx, x->in, (rest ? EPOLLOUT : 0) | (x->tty && x->out >= 0 && !x->no_credit ? EPOLLIN : 0));
}

static void on_item(kg_ctx_t *ctx, void *self, const kg_msg_t *request, const kg_msg_t *item, void *arg) {
  (void)ctx, (void)self, (void)request;
  exec_stream_t *x = arg;
  kg_view_t resize = kg_view_get(kg_msg_args(item), "resize");
  input_add(&x->input, item, x->in >= 0);
  if (kg_view_there(resize) && x->tty && x->out >= 0) {
    struct winsize size = {.ws_col = (unsigned short)kg_view_int(kg_view_get(resize, "w"), 80),
                           .ws_row = (unsigned short)kg_view_int(kg_view_get(resize, "h"), 24)};
    ioctl(x->out, TIOCSWINSZ, &size);
  }
  write_input(x);
}

static void on_credit(kg_ctx_t *ctx, void *self, const kg_msg_t *request, void *arg) {
  (void)ctx, (void)self, (void)request;
  exec_stream_t *x = arg;
  pause_output(x, false);
  maybe_finish(x);
}

static void on_cancel(kg_ctx_t *ctx, void *self, const kg_msg_t *request, void *arg) {
  (void)ctx, (void)self, (void)request;
  exec_stream_t *x = arg;
  x->cancelled = true;
  close_fd(x, &x->in);
  close_fd(x, &x->out);
  close_fd(x, &x->err);
  if (!x->ended)
    kill(x->pid, SIGKILL); /* runc exec hands it on to nobody: the hang-up of the pipes ends most commands */
  maybe_finish(x);
}

static const kg_stream_events_t EVENTS = {
    .on_credit = on_credit, .on_cancel = on_cancel, .on_item = on_item, .manual_credit = true};

/* --- start
 * ------------------------------------------------------------------------------------------------------------- */

typedef struct ends { /* of the child */
  int in, out, err;
} ends_t;

static int open_pipes(exec_stream_t *x, kg_view_t args, ends_t *c) {
  int p[2];
  if (kg_view_bool(kg_view_get(args, "stdin"), false)) {
    if (pipe2(p, O_CLOEXEC) < 0) return -1;
    c->in = p[0];
    x->in = p[1];
  }
  if (pipe2(p, O_CLOEXEC) < 0) return -1;
  c->out = p[1];
  x->out = p[0];
  if (pipe2(p, O_CLOEXEC) < 0) return -1;
  c->err = p[1];
  x->err = p[0];
  return 0;
}

static void close_ends(ends_t *c) {
  if (c->in >= 0) close(c->in);
  if (c->out >= 0 && c->out != c->in) close(c->out);
  if (c->err >= 0) close(c->err);
}

static int open_terminal(exec_stream_t *x, ends_t *c, char name[64]) {
  if (openpty(&x->out, &c->out, NULL, NULL, NULL) < 0) return -1;
  fcntl(x->out, F_SETFD, FD_CLOEXEC);
  fcntl(c->out, F_SETFD, FD_CLOEXEC);
  x->in = x->out;
  return ttyname_r(c->out, name, 64) ? -1 : 0;
}

/* With a terminal the child leads a session and opens it first: it becomes its controlling one, so that resizing
 * reaches it. */
static int spawn(exec_stream_t *x, const char *const *argv, const ends_t *c, const char *terminal) {
  posix_spawn_file_actions_t fa;
  posix_spawnattr_t at;
  sigset_t none;
  sigemptyset(&none);
  posix_spawn_file_actions_init(&fa);
  posix_spawnattr_init(&at);
  posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
  posix_spawnattr_setsigmask(&at, &none);
  if (x->tty) {
    posix_spawn_file_actions_addopen(&fa, 0, terminal, O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&fa, 0, 1);
    posix_spawn_file_actions_adddup2(&fa, 0, 2);
  } else {
    if (c->in >= 0)
      posix_spawn_file_actions_adddup2(&fa, c->in, 0);
    else
      posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&fa, c->out, 1);
    posix_spawn_file_actions_adddup2(&fa, c->err, 2);
  }
  posix_spawn_file_actions_addclosefrom_np(&fa, 3);
  int failed = posix_spawnp(&x->pid, argv[0], &fa, &at, (char *const *)argv, environ);
  posix_spawn_file_actions_destroy(&fa);
  posix_spawnattr_destroy(&at);
  errno = failed;
  return failed ? -1 : 0;
}

static int watch(exec_stream_t *x, int fd, uint32_t events, kg_fd_fn fn) {
  if (fd < 0) return 0;
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return kg_fd_watch(x->oci->ctx, fd, events, fn, x, NULL);
}

static int exec_begin(exec_stream_t *x, const container_t *c, kg_view_t args) {
  oci_t *o = x->oci;
  ends_t child = {-1, -1, -1};
  char root[PATH_SIZE], terminal[64] = "";
  const char *argv[300] = {container_program(c), "--root", root, "exec"};
  size_t n = 4;
  snprintf(root, sizeof root, "%s/runc", o->run);
  if (x->tty) argv[n++] = "-t";
  argv[n++] = c->id;
  char *owned[256];
  size_t words = 0;
  for (kg_iter_t it = kg_iter(kg_view_get(args, "command")); kg_iter_next(&it) && words < 256;)
    argv[n++] = owned[words++] = kg_str_dup(kg_view_str(it.value));
  int done = x->tty ? open_terminal(x, &child, terminal) : open_pipes(x, args, &child);
  if (done == 0) done = spawn(x, argv, &child, terminal);
  int why = errno;
  close_ends(&child);
  while (words) free(owned[--words]);
  errno = why;
  if (done < 0) return -1;
  x->pidfd = (int)syscall(SYS_pidfd_open, x->pid, 0);
  bool good = x->pidfd >= 0 && watch(x, x->pidfd, EPOLLIN, on_process_end) == 0 &&
              watch(x, x->out, EPOLLIN, on_stream_fd) == 0 && watch(x, x->err, EPOLLIN, on_stream_fd) == 0 &&
              (x->tty || watch(x, x->in, 0, on_stream_fd) == 0);
  return good ? 0 : -1;
}

void runtime_exec(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  oci_t *o = self;
  kg_view_t args = kg_msg_args(m);
  const container_t *c = container_find(o, kg_view_str(kg_view_get(args, "id")));
  if (!c || c->state != C_RUNNING) return kg_fail(ctx, m, KG_ENOTFOUND, "the container does not run");
  size_t words = kg_view_count(kg_view_get(args, "command"));
  if (!words || words > 256) return kg_fail(ctx, m, KG_EINVAL, "exec: command: 1 to 256 words are needed");
  exec_stream_t *x = calloc(1, sizeof *x);
  if (!x) return kg_fail(ctx, m, KG_EINTERNAL, "out of memory");
  *x = (exec_stream_t){
      .next = o->execs, .oci = o, .request = kg_msg_ref(m), .pidfd = -1, .in = -1, .out = -1, .err = -1};
  x->tty = kg_view_bool(kg_view_get(args, "tty"), false);
  o->execs = x;
  if (exec_begin(x, c, args) < 0) {
    kg_fail(ctx, m, KG_EINTERNAL, "exec: %s could not be started: %s", container_program(c), strerror(errno));
    return exec_free(x);
  }
  kg_stream_open(ctx, m, &EVENTS, x);
}

void execs_free(oci_t *o) {
  while (o->execs) {
    if (!o->execs->ended) kill(o->execs->pid, SIGKILL);
    exec_free(o->execs);
  }
}
