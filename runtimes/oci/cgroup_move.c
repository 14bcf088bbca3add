/*
 * Moves between control groups, which every start of a container makes, exclude all forks and exits of the machine. The
 * kernel lets those pass without a lock until somebody wants to move; then it waits for all processors, 5-16 ms, in
 * which an OCI runtime stands still. Moves within some 20 ms after that do not wait. So the first is made here, to
 * where we are already, while the runtime is only being started, and some more until it will have got there.
 */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cgroup_move.h"

enum { MOVES = 12, AGAIN_MS = 4 /* the kernel forgets sooner than it has waited */ };

int own_group_file(const char *groups, bool unified, char path[PATH_SIZE]) {
  const char *const mark = unified ? "0::" : ":pids:";
  for (const char *line = groups; *line; line += strcspn(line, "\n"), line += *line == '\n') {
    const char *own = strstr(line, mark);
    size_t n = strcspn(line, "\n");
    if (!own || own >= line + n || (unified && own != line)) continue;
    own += strlen(mark);
    int all = (int)(line + n - own);
    return snprintf(path, PATH_SIZE, "%s%.*s/cgroup.procs", unified ? "" : "/pids", all, own) < PATH_SIZE ? 0 : -1;
  }
  return -1;
}

/* 0: groups has what the file says, at most n - 1 bytes. Without malloc, for which a thread would get an arena. */
static int read_groups(char *groups, size_t n) {
  int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? -1 : read(fd, groups, n - 1);
  if (fd >= 0) close(fd);
  groups[got > 0 ? got : 0] = '\0';
  return got > 0 ? 0 : -1;
}

static int move(void *arg, char said[SAID_SIZE]) {
  oci_t *o = arg;
  char groups[8192], own[PATH_SIZE], path[PATH_SIZE + 32];
  int fd = -1;
  (void)said;
  if (read_groups(groups, sizeof groups) == 0 && own_group_file(groups, o->unified, own) == 0) {
    snprintf(path, sizeof path, "/sys/fs/cgroup%s", own);
    fd = open(path, O_WRONLY | O_CLOEXEC);
  }
  while (atomic_fetch_sub(&o->moves, 1) > 0 && fd >= 0 && write(fd, "0", 1) == 1)
    nanosleep(&(struct timespec){0, AGAIN_MS * 1000000L}, NULL);
  if (fd >= 0) close(fd);
  return 0; /* where it may not, everything goes as before */
}

static void moved(oci_t *o, const proc_end_t *end, void *arg) {
  (void)end, (void)arg;
  o->moving = false;
}

void cgroup_move_soon(oci_t *o) {
  kg_error_t err;
  atomic_store(&o->moves, MOVES);
  if (!o->moving) o->moving = proc_thread(o, move, moved, o, &err) == 0;
}

void cgroup_move_end(oci_t *o) {
  atomic_store(&o->moves, 0);
}
