#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci.h"

enum { CAUGHT_MAX = 64 * 1024 };

typedef struct caught {
  int fd;
  size_t n;
  char *text;
} caught_t;

struct proc {
  proc_t *next;
  oci_t *oci;
  pid_t pid;
  int pidfd;
  caught_t out, err;
  proc_fn fn;
  void *arg;
  work_fn work; /* a thread's; NULL: a process, or it has been joined. pidfd is its eventfd */
  pthread_t thread;
  int thread_code;
  char said[SAID_SIZE];
};

static void drain_pipe(caught_t *c) {
  char buf[4096];
  ssize_t n;
  while (c->fd >= 0 && (n = read(c->fd, buf, sizeof buf)) > 0) {
    size_t keep = c->n + (size_t)n > CAUGHT_MAX ? CAUGHT_MAX - c->n : (size_t)n;
    char *grown = realloc(c->text, c->n + keep + 1);
    if (!grown) return;
    c->text = grown;
    memcpy(c->text + c->n, buf, keep);
    c->n += keep;
    c->text[c->n] = '\0';
  }
}

static void on_output(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)self;
  proc_t *p = arg;
  drain_pipe(fd == p->out.fd ? &p->out : &p->err);
  if (!(events & EPOLLIN) && (events & (EPOLLHUP | EPOLLERR))) kg_fd_forget(ctx, fd);
}

static void close_caught(oci_t *o, caught_t *c) {
  if (c->fd < 0) return;
  kg_fd_forget(o->ctx, c->fd);
  close(c->fd);
  c->fd = -1;
}

static void proc_free(proc_t *p) {
  oci_t *o = p->oci;
  if (p->work) pthread_join(p->thread, NULL); /* short work: its code must not go away under it */
  for (proc_t **at = &o->procs; *at; at = &(*at)->next)
    if (*at == p) {
      *at = p->next;
      break;
    }
  close_caught(o, &p->out);
  close_caught(o, &p->err);
  if (p->pidfd >= 0) kg_fd_forget(o->ctx, p->pidfd);
  if (p->pidfd >= 0) close(p->pidfd);
  free(p->out.text);
  free(p->err.text);
  free(p);
}

static void on_end(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)self, (void)events, (void)fd;
  proc_t *p = arg;
  siginfo_t info = {0};
  if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG) < 0 && errno == EINTR) return;
  drain_pipe(&p->out);
  drain_pipe(&p->err);
  proc_end_t end = {.out = p->out.text ? p->out.text : "", .err = p->err.text ? p->err.text : ""};
  end.code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
  if (p->fn) p->fn(p->oci, &end, p->arg);
  proc_free(p);
}

static int catch_pipe(int ends[2], kg_error_t *err) {
  if (pipe2(ends, O_CLOEXEC) < 0) return kg_error_set(err, KG_EINTERNAL, "no pipe could be made: %s", strerror(errno));
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return 0;
}

static void watch_caught(oci_t *o, proc_t *p, caught_t *c) {
  if (c->fd >= 0) kg_fd_watch(o->ctx, c->fd, EPOLLIN, on_output, p, NULL);
}

static int follow(oci_t *o, pid_t pid, int out, int errfd, proc_fn fn, void *arg, kg_error_t *err) {
  proc_t *p = calloc(1, sizeof *p);
  if (!p) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  *p = (proc_t){.next = o->procs, .oci = o, .pid = pid, .out.fd = out, .err.fd = errfd, .fn = fn, .arg = arg};
  p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  o->procs = p;
  watch_caught(o, p, &p->out);
  watch_caught(o, p, &p->err);
  if (p->pidfd < 0 || kg_fd_watch(o->ctx, p->pidfd, EPOLLIN, on_end, p, err) < 0) {
    proc_free(p);
    return kg_error_set(err, KG_EINTERNAL, "process %d cannot be watched: %s", (int)pid, strerror(errno));
  }
  return 0;
}

int proc_run_with(oci_t *o, const char *const *argv, const char *dir, int fd3, proc_fn fn, void *arg, kg_error_t *err) {
  static const char *const with[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                     "_OCI_SYNCPIPE=3", NULL};
  int out[2], errs[2];
  if (catch_pipe(out, err) < 0) return -1;
  if (catch_pipe(errs, err) < 0) {
    close(out[0]);
    close(out[1]);
    return -1;
  }
  posix_spawn_file_actions_t fa;
  posix_spawnattr_t at;
  sigset_t none;
  sigemptyset(&none);
  posix_spawn_file_actions_init(&fa);
  posix_spawnattr_init(&at);
  posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setsigmask(&at, &none);
  posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&fa, out[1], 1);
  posix_spawn_file_actions_adddup2(&fa, errs[1], 2);
  if (fd3 >= 0) posix_spawn_file_actions_adddup2(&fa, fd3, 3);
  /* Libraries in this process open files without close-on-exec; a monitor would keep them as long as its container. */
  posix_spawn_file_actions_addclosefrom_np(&fa, fd3 >= 0 ? 4 : 3);
  if (dir) posix_spawn_file_actions_addchdir_np(&fa, dir);
  pid_t pid;
  int failed = posix_spawnp(&pid, argv[0], &fa, &at, (char *const *)argv, fd3 >= 0 ? (char *const *)with : environ);
  posix_spawn_file_actions_destroy(&fa);
  posix_spawnattr_destroy(&at);
  close(out[1]);
  close(errs[1]);
  if (!failed) return follow(o, pid, out[0], errs[0], fn, arg, err);
  close(out[0]);
  close(errs[0]);
  return kg_error_set(err, KG_EINTERNAL, "%s could not be started: %s", argv[0], strerror(failed));
}

int proc_run(oci_t *o, const char *const *argv, const char *dir, proc_fn fn, void *arg, kg_error_t *err) {
  return proc_run_with(o, argv, dir, -1, fn, arg, err);
}

/* --- work that may block, in a thread ------------------------------------------------------------------------------
 */

static void *run_thread(void *arg) {
  proc_t *p = arg;
  uint64_t one = 1;
  p->thread_code = p->work(p->arg, p->said);
  while (write(p->pidfd, &one, sizeof one) < 0 && errno == EINTR) {
  }
  return NULL;
}

static void on_thread_end(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)self, (void)events, (void)fd;
  proc_t *p = arg;
  pthread_join(p->thread, NULL);
  p->work = NULL;
  proc_end_t end = {.code = p->thread_code, .out = "", .err = p->said};
  p->fn(p->oci, &end, p->arg);
  proc_free(p);
}

int proc_thread(oci_t *o, work_fn work, proc_fn fn, void *arg, kg_error_t *err) {
  proc_t *p = calloc(1, sizeof *p);
  if (!p) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  *p = (proc_t){.next = o->procs, .oci = o, .pidfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .fn = fn, .arg = arg};
  p->out.fd = p->err.fd = -1;
  o->procs = p;
  sigset_t all, before;
  sigfillset(&all); /* signals are the kernel's business, not this thread's */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int why = p->pidfd < 0 ? errno : kg_fd_watch(o->ctx, p->pidfd, EPOLLIN, on_thread_end, p, err) < 0 ? ENOMEM : 0;
  p->work = work;
  if (!why && (why = pthread_create(&p->thread, NULL, run_thread, p))) p->work = NULL;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!why) return 0;
  p->work = NULL;
  proc_free(p);
  return kg_error_set(err, KG_EINTERNAL, "no thread could be started: %s", strerror(why));
}

/* --- and in a child --------------------------------------------------------------------------------------------- */

static int run_child(work_fn work, void *arg) {
  char said[SAID_SIZE] = "";
  int code = work(arg, said);
  ssize_t n = write(2, said, strlen(said));
  (void)n;
  return code;
}

int proc_fork(oci_t *o, work_fn work, proc_fn fn, void *arg, kg_error_t *err) {
  int errs[2];
  if (catch_pipe(errs, err) < 0) return -1;
  pid_t pid = fork();
  if (pid == 0) {
    dup2(errs[1], 2);
    _exit(run_child(work, arg));
  }
  close(errs[1]);
  if (pid > 0) return follow(o, pid, -1, errs[0], fn, arg, err);
  close(errs[0]);
  return kg_error_set(err, KG_EINTERNAL, "no process could be made: %s", strerror(errno));
}

void procs_free(oci_t *o) {
  while (o->procs) proc_free(o->procs);
}
