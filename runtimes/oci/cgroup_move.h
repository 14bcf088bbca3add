#ifndef CGROUP_MOVE_H
#define CGROUP_MOVE_H
#include "oci.h"

/* A container is about to be started: moves between control groups shall not have to wait then. Best effort. */
void cgroup_move_soon(oci_t *o);
void cgroup_move_end(oci_t *o); /* its thread ends within milliseconds */

/* Of the process whose /proc/PID/cgroup says `groups`: the file, below where control groups are mounted, that moves
 * processes to its group. -1: it has none. */
int own_group_file(const char *groups, bool unified, char path[PATH_SIZE]);

#endif
