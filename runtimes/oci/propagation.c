/* Whether mounts can pass between host and container below a path of the host, as containerd asks and says it. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "oci.h"

/* A line of mountinfo is "ID PARENT DEV ROOT POINT OPTIONS [shared:N] [master:N] ... - TYPE ...". */
static void read_line(const char *line, char point[PATH_MAX], bool *shared, bool *slave) {
  const char *options = strstr(line, " - ");
  size_t n = options ? (size_t)(options - line) : strlen(line);
  const char *is_shared = memmem(line, n, " shared:", 8), *is_slave = memmem(line, n, " master:", 8);
  *shared = is_shared != NULL;
  *slave = is_slave != NULL;
  if (sscanf(line, "%*s %*s %*s %*s %4095s", point) != 1) point[0] = '\0';
}

/* The mount in which the path lies. False: it cannot be found. */
static bool mount_of(const char *path, char point[PATH_MAX], bool *shared, bool *slave) {
  struct statx st;
  char *line = NULL;
  size_t room = 0;
  bool found = false;
  FILE *f = fopen("/proc/self/mountinfo", "re");
  bool known = f && !statx(AT_FDCWD, path, 0, STATX_MNT_ID, &st) && (st.stx_mask & STATX_MNT_ID);
  while (known && !found && getline(&line, &room, f) > 0) {
    found = strtoull(line, NULL, 10) == st.stx_mnt_id;
    if (found) read_line(line, point, shared, slave);
  }
  free(line);
  if (f) fclose(f);
  return found;
}

int propagation_check(const container_t *c, kg_str_t from, kg_str_t way, kg_error_t *err) {
  char path[PATH_SIZE], real[PATH_MAX], point[PATH_MAX];
  bool both = kg_str_is(way, "Bidirectional"), shared, slave;
  if (!both && !kg_str_is(way, "HostToContainer")) return 0;
  snprintf(path, sizeof path, KG_STR_FMT, KG_STR_ARG(from));
  if (!realpath(path, real)) return 0; /* the runtime says what is wrong with it */
  if (!mount_of(real, point, &shared, &slave)) return 0;
  if (shared || (slave && !both)) return 0;
  return kg_error_set(err, KG_EINVAL,
                      "failed to generate container \"%s\" spec: failed to generate spec: path \"%s\" is mounted on "
                      "\"%s\" but it is not a shared%s mount",
                      c->id, real, point, both ? "" : " or slave");
}
