/*
 * kogge-pause: the first process of a sandbox whose containers share their processes: takes those whose parents have
 * ended, and waits for its own end.
 * kogge-pause FIFO PID: starts a container whose init, process PID, waits for a reader of FIFO. 1: it has died.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 100, AGAIN_US = 2000 };

/* Another one may read the byte: then the fifo vanishes. */
static int start(const char *fifo, pid_t pid) {
  char byte;
  struct pollfd p = {.fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC), .events = POLLIN};
  if (p.fd < 0) return errno != ENOENT;
  for (;;) {
    poll(&p, 1, LOOK_MS);
    if (read(p.fd, &byte, 1) == 1) {
      unlink(fifo); /* its absence is how runc knows that the container runs */
      return 0;
    }
    if (access(fifo, F_OK) < 0) return 0;
    if (kill(pid, 0) < 0) return 1;
    if (p.revents & POLLHUP) usleep(AGAIN_US);
  }
}

int main(int argc, char **argv) {
  if (argc == 3) return start(argv[1], (pid_t)atoi(argv[2]));
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  for (int got = 0; sigwait(&all, &got) == 0;) {
    if (got == SIGTERM || got == SIGINT) return 0;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
  }
  return 1;
}
