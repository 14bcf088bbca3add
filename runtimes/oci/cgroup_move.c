/*
 * Moves between control groups, which every start of a container makes, exclude all forks and exits of the machine. The
 * kernel lets those pass without a lock until somebody wants to move; then it waits for all processors, 5-16 ms, in
 * which an OCI runtime stands still. Moves within some 20 ms after that do not wait. So the first is made here, to
 * where we are already, while the runtime is only being started.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cgroup_move.h"

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
  const oci_t *o = arg;
  char groups[8192], own[PATH_SIZE], path[PATH_SIZE + 32];
  (void)said;
  if (read_groups(groups, sizeof groups) < 0 || own_group_file(groups, o->unified, own) < 0) return 0;
  snprintf(path, sizeof path, "/sys/fs/cgroup%s", own);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : write(fd, "0", 1); /* where it may not, everything goes as before */
  (void)n;
  if (fd >= 0) close(fd);
  return 0;
}

static void moved(oci_t *o, const proc_end_t *end, void *arg) {
  (void)end, (void)arg;
  o->moving = false;
}

void cgroup_move_soon(oci_t *o) {
  kg_error_t err;
  if (!o->moving) o->moving = proc_thread(o, move, moved, o, &err) == 0;
}
