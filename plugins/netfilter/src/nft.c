#include "netfilter/nft.h"

#include <errno.h>
#include <spawn.h>
#include <sys/mman.h>
#include <unistd.h>

extern char **environ;

static int memory_file(const char *text, size_t n) {
  int fd = memfd_create("nft", MFD_CLOEXEC);
  for (size_t done = 0; fd >= 0 && done < n;) {
    ssize_t w = write(fd, text + done, n - done);
    if (w <= 0) {
      close(fd);
      return -1;
    }
    done += (size_t)w;
  }
  if (fd >= 0) lseek(fd, 0, SEEK_SET);
  return fd;
}

static int spawn(int in, int out, pid_t *pid) {
  char *const argv[] = {"nft", "-f", "-", NULL};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, 0);
  posix_spawn_file_actions_adddup2(&actions, out, 1);
  posix_spawn_file_actions_adddup2(&actions, out, 2);
  int code = posix_spawnp(pid, "nft", &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  return code;
}

pid_t nft_spawn(const char *rules, size_t n, int *out) {
  pid_t pid = -1;
  int in = memory_file(rules, n);
  *out = in >= 0 ? memory_file("", 0) : -1;
  int code = *out >= 0 ? spawn(in, *out, &pid) : errno;
  if (in >= 0) close(in);
  if (!code) return pid;
  if (*out >= 0) close(*out);
  *out = -1;
  errno = code;
  return -1;
}
