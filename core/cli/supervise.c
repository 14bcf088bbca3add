/* A small parent that starts the kernel again when it crashes. It does nothing else, so that nothing in it can crash.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FIRST_PAUSE_MS 10
#define LONGEST_PAUSE_MS 5000
#define STABLE_S 10 /* a kernel that lived so long starts with the first pause again */

static void pause_ms(int ms) {
  struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
  nanosleep(&t, NULL);
}

static int64_t seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec;
}

static pid_t start_child(int (*serve)(cli_t *, int), cli_t *cli, int *ready, const sigset_t *signals) {
  int fd[2];
  pid_t parent = getpid();
  if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) < 0) return -1;
  pid_t pid = fork();
  if (pid == 0) {
    /* The kernel must not outlive a parent that was killed. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    close(fd[0]);
    sigprocmask(SIG_UNBLOCK, signals, NULL);
    _exit(serve(cli, fd[1]));
  }
  close(fd[1]);
  *ready = fd[0];
  return pid;
}

/* Read-only pages of a program or library come back from its file when they are needed. */
static int let_go(struct dl_phdr_info *object, size_t size, void *arg) {
  (void)size, (void)arg;
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &object->dlpi_phdr[i];
    uintptr_t from = object->dlpi_addr + part->p_vaddr, to = (from + part->p_memsz + page - 1) & ~(page - 1);
    from &= ~(page - 1);
    if (part->p_type == PT_LOAD && !(part->p_flags & PF_W)) madvise((void *)from, to - from, MADV_DONTNEED);
  }
  return 0;
}

/* Waits for the child's end and hands signals on. Meanwhile nothing of the libraries is needed here but this. */
static int wait_for(pid_t pid, const sigset_t *signals, bool *asked) {
  int status;
  dl_iterate_phdr(let_go, NULL);
  for (;;) {
    int got = sigwaitinfo(signals, NULL);
    if (got > 0 && got != SIGCHLD) {
      if (got == SIGTERM || got == SIGINT) *asked = true;
      kill(pid, got);
    }
    if (waitpid(pid, &status, WNOHANG) == pid) return status;
  }
}

/* What the kernel said: "r" when it was ready, "cNAME\n" when a plugin took it down. */
static void listen_to(cli_t *cli, int fd, bool *ready) {
  char said[512];
  ssize_t n = read(fd, said, sizeof said - 1);
  said[n < 0 ? 0 : n] = 0;
  *ready |= *said == 'r';
  char *name = strchr(said, 'c'), *end = name ? strchr(name, '\n') : NULL;
  if (!end || cli->nculprits == sizeof cli->culprits / sizeof *cli->culprits) return;
  *end = 0;
  for (int i = 0; i < cli->nculprits; i++)
    if (strcmp(cli->culprits[i], name + 1) == 0) return;
  fprintf(stderr, "kogge: plugin %s took the kernel down: it gets a process of its own from now on\n", name + 1);
  if ((cli->culprits[cli->nculprits] = strdup(name + 1)) != NULL) cli->nculprits++;
}

int cli_supervise(int (*serve)(cli_t *, int), cli_t *cli) {
  sigset_t signals;
  int pause = FIRST_PAUSE_MS;
  bool was_ready = false, asked = false;
  sigemptyset(&signals);
  for (const int *s = (const int[]){SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD, 0}; *s; s++)
    sigaddset(&signals, *s);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  for (;;) {
    int ready = -1;
    int64_t since = seconds();
    pid_t pid = start_child(serve, cli, &ready, &signals);
    if (pid < 0) {
      fprintf(stderr, "kogge: the kernel process cannot be started: %s\n", strerror(errno));
      return 1;
    }
    int status = wait_for(pid, &signals, &asked);
    listen_to(cli, ready, &was_ready);
    close(ready);
    if (WIFEXITED(status) && (asked || !was_ready || WEXITSTATUS(status) == 0)) return WEXITSTATUS(status);
    if (asked) return 128 + WTERMSIG(status);
    if (seconds() - since >= STABLE_S) pause = FIRST_PAUSE_MS;
    if (WIFSIGNALED(status))
      fprintf(stderr, "kogge: the kernel died of signal %d (%s), it starts again in %d ms\n", WTERMSIG(status),
              strsignal(WTERMSIG(status)), pause);
    else
      fprintf(stderr, "kogge: the kernel ended with code %d, it starts again in %d ms\n", WEXITSTATUS(status), pause);
    pause_ms(pause);
    pause = pause * 4 > LONGEST_PAUSE_MS ? LONGEST_PAUSE_MS : pause * 4;
  }
}

int cli_keep(cli_t *cli, int argc, char **argv) {
  sigset_t signals;
  int pause = FIRST_PAUSE_MS;
  char **words = calloc((size_t)argc + 3, sizeof *words);
  if (!words) return 1;
  words[0] = "kogge";
  words[1] = "plugin-host";
  memcpy(words + 2, argv, (size_t)argc * sizeof *words);
  sigemptyset(&signals);
  for (const int *s = (const int[]){SIGTERM, SIGINT, SIGCHLD, 0}; *s; s++) sigaddset(&signals, *s);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  for (bool asked = false; !asked;) {
    int64_t since = seconds();
    pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      sigprocmask(SIG_UNBLOCK, &signals, NULL);
      execv(cli->self, words);
      _exit(127);
    }
    int status = pid < 0 ? 0 : wait_for(pid, &signals, &asked);
    if (asked) break;
    if (seconds() - since >= STABLE_S) pause = FIRST_PAUSE_MS;
    fprintf(stderr, "kogge: the plugin's host ended (%s %d), it starts again in %d ms\n",
            WIFSIGNALED(status) ? "signal" : "code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
            pause);
    pause_ms(pause);
    pause = pause * 4 > LONGEST_PAUSE_MS ? LONGEST_PAUSE_MS : pause * 4;
  }
  free(words);
  return 0;
}
