/* A plugin nobody has seen before runs in a process of its own first: what crashes there has not touched the kernel. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "manager.h"

extern char **environ;

typedef struct trial {
  pid_t pid;
  char dir[PATH_MAX]; /* for its files: what dies leaves them behind */
  int64_t patience_ms;
  int out; /* what the child says: phase names, at last "ok" or "bad SENTENCE" */
  char said[2048];
  size_t size;
} trial_t;

/* The configuration goes in as standard input. */
static int config_file(kg_doc_t *config, kg_error_t *err) {
  int fd = (int)syscall(SYS_memfd_create, "trial", 0u);
  const void *data = config ? kg_doc_data(config) : (const void *)"\x80";
  size_t size = config ? kg_doc_size(config) : 1;
  if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) < 0) {
    if (fd >= 0) close(fd);
    return kg_error_set(err, KG_EINTERNAL, "the trial cannot be prepared: %s", strerror(errno));
  }
  return fd;
}

/* Between vfork-like fork and exec only async-signal-safe calls: other threads may hold any lock. */
static void run_child(const char *command, char *const argv[], int in, int out) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  int null = open("/dev/null", O_WRONLY);
  if (dup2(in, 0) < 0 || dup2(out, 3) < 0 || dup2(null, 1) < 0) _exit(126);
  fcntl(3, F_SETFD, 0);
  execve(command, argv, environ);
  _exit(127);
}

static int start(kg_kernel_t *k, const char *path, const char *name, kg_doc_t *config, trial_t *t, kg_error_t *err) {
  int pipe_fd[2], in = config_file(config, err);
  if (in < 0) return -1;
  if (pipe2(pipe_fd, O_CLOEXEC) < 0) {
    close(in);
    return kg_error_set(err, KG_EINTERNAL, "the trial cannot be prepared: %s", strerror(errno));
  }
  const char *argv[] = {"kogge", "plugin-host", "--trial", path, "--name", name ? name : "trial",
                        "--run", t->dir,        NULL};
  t->pid = fork();
  if (t->pid == 0) run_child(k->trial_command, (char *const *)argv, in, pipe_fd[1]);
  close(in);
  close(pipe_fd[1]);
  t->out = pipe_fd[0];
  if (t->pid > 0) return 0;
  close(t->out);
  return kg_error_set(err, KG_EINTERNAL, "the trial cannot be started: %s", strerror(errno));
}

/* Reads until the child closes its end or the deadline has passed; 0: closed. */
static int listen_to(trial_t *t) {
  int64_t until = kg_clock_us() + t->patience_ms * 1000;
  for (;;) {
    int64_t left = (until - kg_clock_us()) / 1000;
    struct pollfd p = {.fd = t->out, .events = POLLIN};
    if (left <= 0 || poll(&p, 1, (int)left) == 0) return -1;
    ssize_t n = read(t->out, t->said + t->size, sizeof t->said - 1 - t->size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return 0;
    t->size += (size_t)n;
    t->said[t->size] = 0;
    if (t->size == sizeof t->said - 1) return 0;
  }
}

/* The last whole line. */
static char *last_line(trial_t *t) {
  while (t->size && t->said[t->size - 1] == '\n') t->said[--t->size] = 0;
  char *line = strrchr(t->said, '\n');
  return line ? line + 1 : t->said;
}

static int judge(trial_t *t, const char *file, int status, bool late, kg_error_t *err) {
  const char *line = last_line(t);
  const char *phase = *line && strncmp(line, "bad ", 4) != 0 ? line : "loaded";
  if (late)
    return kg_error_set(err, KG_EDEADLINE, "plugin %s hung while it was %s (no end within %lld ms)", file, phase,
                        (long long)t->patience_ms);
  if (WIFSIGNALED(status))
    return kg_error_set(err, KG_EINVAL, "plugin %s died of signal %d (%s) while it was %s", file, WTERMSIG(status),
                        strsignal(WTERMSIG(status)), phase);
  if (strncmp(line, "bad ", 4) == 0) return kg_error_set(err, KG_EINVAL, "%s", line + 4);
  if (strcmp(line, "ok") == 0 && WEXITSTATUS(status) == 0) return 0;
  return kg_error_set(err, KG_EINVAL, "plugin %s ended its process with code %d while it was %s", file,
                      WEXITSTATUS(status), phase);
}

int kg_trial(kg_kernel_t *k, const char *path, const char *name, kg_doc_t *config, kg_error_t *err) {
  trial_t t = {.patience_ms = k->trial_timeout_ms};
  const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
  snprintf(t.dir, sizeof t.dir, "%s/trial-XXXXXX", k->run_dir);
  if (!mkdtemp(t.dir)) return kg_error_set(err, KG_EINTERNAL, "the trial cannot be prepared: %s", strerror(errno));
  if (start(k, path, name, config, &t, err) < 0) {
    kg_remove_tree(t.dir);
    return -1;
  }
  bool late = listen_to(&t) < 0;
  if (late) kill(t.pid, SIGKILL);
  int status = 0;
  while (waitpid(t.pid, &status, 0) < 0 && errno == EINTR) {
  }
  close(t.out);
  kg_remove_tree(t.dir);
  return judge(&t, file, status, late, err);
}
