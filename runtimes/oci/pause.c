/* The first process of a sandbox whose containers share their processes: takes those whose parents have ended, and
 * waits for its own end. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
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
