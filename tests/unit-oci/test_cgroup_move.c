/* Where a process moves itself to when it only wants moves to be quick afterwards: to its own group, as the kernel says
 * it. */
#include <criterion/criterion.h>
#include <string.h>

#include "../../runtimes/oci/cgroup_move.h"

/* Stands for the runtime's threads. */
static int works;
int proc_thread(oci_t *o, work_fn work, proc_fn fn, void *arg, kg_error_t *err) {
  (void)o, (void)work, (void)fn, (void)arg, (void)err;
  works++;
  return 0;
}

static void is(const char *groups, bool unified, const char *file) {
  char path[PATH_SIZE] = "";
  int found = own_group_file(groups, unified, path);
  cr_expect_eq(found, file ? 0 : -1, "%s", groups);
  if (file) cr_expect_str_eq(path, file);
}

Test(cgroup_move, own_group) {
  is("9:name=systemd:/\n8:pids:/\n4:memory:/a/b\n0::/\n", false, "/pids//cgroup.procs");
  is("8:pids:/system.slice/kogge.service\n0::/x\n", false, "/pids/system.slice/kogge.service/cgroup.procs");
  is("0::/system.slice/kogge.service\n", true, "/system.slice/kogge.service/cgroup.procs");
  is("3:cpuset:/a:pids:/b\n", true, NULL);
  is("0::/only/unified\n", false, NULL);
  is("1:cpu:/x0::/no\n8:pids:/y\n", true, NULL);
  is("", true, NULL);
}

Test(cgroup_move, too_long) {
  char groups[2 * PATH_SIZE] = "8:pids:/", path[PATH_SIZE];
  memset(groups + 8, 'x', PATH_SIZE);
  cr_expect_eq(own_group_file(groups, false, path), -1);
}

Test(cgroup_move, one_at_a_time) {
  oci_t o = {0};
  cgroup_move_soon(&o);
  cgroup_move_soon(&o);
  cr_expect_eq(works, 1);
}
