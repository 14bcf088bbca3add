/* Sandboxes and containers of a real kernel, over the bus. */
#include "node.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

Test(pods, a_sandbox_has_namespaces_and_an_address) {
  node_t *n = node_new();
  sandbox(n, "s1");
  char *json = listed(n, "sandboxes", "s1");
  cr_assert(json && strstr(json, "\"ready\"") && strstr(json, "10.99.0.2"), "%s", json);
  free(json);
  cr_expect(shell("nsenter --net=%s/run/ns/s1/net --uts=%s/run/ns/s1/uts hostname | grep -qx s1", n->dir, n->dir) == 0);
  /* The same again is answered alike. */
  kg_msg_t *m = ask_good(n, "runtime.sandbox.run", "{'id': 's1', 'uid': 'uid-s1', 'hostname': 's1'}");
  cr_expect(kg_str_is(kg_view_str(kg_view_get(kg_msg_args(m), "ip")), "10.99.0.2"));
  kg_msg_unref(m);
  cr_expect(attached == 1);
  free(must_fail(n, 409, "runtime.sandbox.remove", "{'id': 's1'}"));
  must(n, "runtime.sandbox.stop", "{'id': 's1'}");
  must(n, "runtime.sandbox.stop", "{'id': 's1'}");
  must(n, "runtime.sandbox.remove", "{'id': 's1'}");
  must(n, "runtime.sandbox.remove", "{'id': 's1'}");
  cr_expect(detached >= 1);
  node_free(n);
}

Test(pods, a_sandbox_of_the_host) {
  node_t *n = node_new();
  must(n, "runtime.sandbox.run", "{'id': 's1', 'uid': 'u1', 'hostNetwork': true, 'hostname': 'x'}");
  cr_expect(attached == 0);
  must(n, "runtime.sandbox.stop", "{'id': 's1'}");
  must(n, "runtime.sandbox.remove", "{'id': 's1'}");
  node_free(n);
}

Test(pods, exit_codes_and_logs) {
  node_t *n = node_new();
  char path[128];
  sandbox(n, "s1");
  container(n, "c1", "s1", "echo out; echo err >&2; hostname; exit 7", "");
  await(n, "c1", "\"exited\"");
  await(n, "c1", "\"exitCode\":7");
  snprintf(path, sizeof path, "%s/logs/c1/0.log", n->dir);
  char *log = slurp(path);
  cr_expect(strstr(log, " stdout F out\n") && strstr(log, " stderr F err\n") && strstr(log, " stdout F s1\n"), "%s",
            log);
  free(log);
  stop_all(n, "s1", "c1");
  node_free(n);
}

Test(pods, programs_get_no_descriptors_of_this_process) {
  node_t *n = node_new();
  char path[128];
  snprintf(path, sizeof path, "%s/inherited", n->dir);
  int fd = open(path, O_RDWR | O_CREAT, 0600); /* without O_CLOEXEC, as libraries do */
  cr_assert(fd >= 0);
  sandbox(n, "s1");
  container(n, "c1", "s1", "sleep 1000", "");
  await(n, "c1", "\"running\"");
  cr_expect(shell("test -s %s/data/runtime/containers/c1/conmon.pid", n->dir) == 0);
  cr_expect(shell("ls -l /proc/$(cat %s/data/runtime/containers/c1/conmon.pid)/fd | grep -q %s", n->dir, path) != 0);
  close(fd);
  stop_all(n, "s1", "c1");
  node_free(n);
}

Test(pods, killed_by_a_signal) {
  node_t *n = node_new();
  sandbox(n, "s1");
  container(n, "c1", "s1", "sleep 1000", "");
  await(n, "c1", "\"running\"");
  must(n, "runtime.container.stop",
       "{'id': 'c1', 'grace_ms': 100}"); /* the first process of a name space ignores TERM */
  await(n, "c1", "\"exitCode\":137");
  stop_all(n, "s1", "c1");
  node_free(n);
}

Test(pods, the_images_stop_signal_and_a_handler_of_it) {
  node_t *n = node_new();
  sandbox(n, "s1");
  container(n, "c1", "s1", "trap \\\"exit 42\\\" USR1; while true; do sleep 0.1; done", ", 'stopSignal': 'SIGUSR1'");
  nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
  must(n, "runtime.container.stop", "{'id': 'c1', 'grace_ms': 5000}");
  await(n, "c1", "\"exitCode\":42");
  stop_all(n, "s1", "c1");
  node_free(n);
}

Test(pods, a_command_that_is_not_there) {
  node_t *n = node_new();
  sandbox(n, "s1");
  kg_msg_t *m =
      ask(n, "runtime.container.create",
          "{'id': 'c1', 'sandbox': 's1', 'name': 'c', 'image': 'test/busybox', 'command': ['/nope'], 'logPath': "
          "'%s/logs/c1/0.log'}",
          n->dir);
  const char *text = kg_msg_text(m);
  kg_msg_t *started = NULL;
  if (kg_msg_type(m) == KG_MSG_REPLY) {
    started = ask(n, "runtime.container.start", "{'id': 'c1'}");
    cr_assert(kg_msg_type(started) == KG_MSG_ERROR);
    text = kg_msg_text(started);
  }
  cr_expect(strstr(text, "/nope") && strstr(text, "no such file or directory"), "%s", text);
  kg_msg_unref(m);
  kg_msg_unref(started);
  stop_all(n, "s1", "c1");
  node_free(n);
}

Test(pods, who_runs_and_where) {
  node_t *n = node_new();
  char path[128];
  sandbox(n, "s1");
  container(
      n, "c1", "s1",
      "id -u; id -g; pwd; echo $A; cat /proc/sys/kernel/hostname; touch /x && echo wrote; touch /tmp/y || echo not",
      ", 'workdir': '/var/tmp', 'env': [{'name': 'A', 'value': 'b c'}], 'security': {'uid': 1000, 'gid': 2000, "
      "'readOnlyRoot': true}");
  await(n, "c1", "\"exited\"");
  snprintf(path, sizeof path, "%s/logs/c1/0.log", n->dir);
  char *log = slurp(path);
  cr_expect(strstr(log, "F 1000\n") && strstr(log, "F 2000\n") && strstr(log, "F /var/tmp\n") &&
                strstr(log, "F b c\n") && strstr(log, "F s1\n") && strstr(log, "F not\n") && !strstr(log, "wrote"),
            "%s", log);
  free(log);
  stop_all(n, "s1", "c1");
  node_free(n);
}

Test(pods, two_containers_share_the_network_not_the_processes) {
  node_t *n = node_new();
  sandbox(n, "s1");
  container(n, "c1", "s1", "ip link set lo up; nc -l -p 8080 127.0.0.1 -e echo hello; sleep 100",
            ", 'security': {'privileged': true}");
  nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
  container(n, "c2", "s1", "nc 127.0.0.1 8080; test $(ps | wc -l) -lt 8 && echo few; sleep 0.2", "");
  await(n, "c2", "\"exited\"");
  char path[128];
  snprintf(path, sizeof path, "%s/logs/c2/0.log", n->dir);
  char *log = slurp(path);
  cr_expect(strstr(log, "F hello") && strstr(log, "F few"), "%s", log);
  free(log);
  must(n, "runtime.container.remove", "{'id': 'c2'}");
  stop_all(n, "s1", "c1");
  node_free(n);
}

Test(pods, stopping_the_sandbox_kills_what_runs) {
  node_t *n = node_new();
  sandbox(n, "s1");
  container(n, "c1", "s1", "sleep 1000", "");
  must(n, "runtime.sandbox.stop", "{'id': 's1'}");
  await(n, "c1", "\"exitCode\":137");
  must(n, "runtime.container.remove", "{'id': 'c1'}");
  must(n, "runtime.sandbox.remove", "{'id': 's1'}");
  node_free(n);
}

Test(pods, a_restart_adopts_what_runs_and_learns_what_ended) {
  node_t *n = node_new();
  sandbox(n, "s1");
  container(n, "c1", "s1", "sleep 1000", "");
  container(n, "c2", "s1", "sleep 0.5; exit 5", "");
  node_restart(n);
  await(n, "c1", "\"running\"");
  await(n, "c2", "\"exitCode\":5");
  node_restart(n);
  await(n, "c2", "\"exitCode\":5");
  nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
  char *json = listed(n, "sandboxes", "s1");
  cr_assert(json && strstr(json, "\"ready\""), "%s", json);
  free(json);
  must(n, "runtime.container.remove", "{'id': 'c2'}");
  stop_all(n, "s1", "c1");
  node_free(n);
}

Test(pods, a_container_that_ends_while_nobody_looks) {
  node_t *n = node_new();
  sandbox(n, "s1");
  container(n, "c1", "s1", "sleep 0.3; exit 9", "");
  driver_free(n->d);
  nanosleep(&(struct timespec){.tv_nsec = 800000000}, NULL);
  n->d = NULL;
  /* begins anew with what is on disk */
  char data[96], run[96];
  snprintf(data, sizeof data, "%s/data", n->dir);
  snprintf(run, sizeof run, "%s/run", n->dir);
  n->d = driver_new(data, run);
  node_restart(n);
  await(n, "c1", "\"exitCode\":9");
  stop_all(n, "s1", "c1");
  node_free(n);
}

Test(pods, watchers_hear_of_every_change) {
  node_t *n = node_new();
  sandbox(n, "s1");
  stream_t *s = driver_stream(n->d, "runtime", "runtime.watch", "{}", 0, false);
  container(n, "c1", "s1", "exit 3", "");
  await(n, "c1", "\"exited\"");
  must(n, "runtime.container.remove", "{'id': 'c1'}");
  static const char *const wanted[] = {"started", "exited", "removed"};
  for (int i = 0; i < 3; i++) {
    kg_msg_t *m = stream_next(s, 5000);
    cr_assert(m && kg_msg_type(m) == KG_MSG_ITEM);
    cr_expect(kg_str_is(kg_view_str(kg_view_get(kg_msg_args(m), "type")), wanted[i]), "%d", i);
    kg_msg_unref(m);
  }
  stream_close(s);
  must(n, "runtime.sandbox.stop", "{'id': 's1'}");
  must(n, "runtime.sandbox.remove", "{'id': 's1'}");
  node_free(n);
}

Test(pods, memory_that_is_too_much) {
  node_t *n = node_new();
  sandbox(n, "s1");
  container(n, "c1", "s1", "x=a; while true; do x=$x$x; done", ", 'resources': {'memory': 16777216}");
  await(n, "c1", "\"exited\"");
  await(n, "c1", "\"oom\":true");
  await(n, "c1", "\"exitCode\":137");
  stop_all(n, "s1", "c1");
  node_free(n);
}

Test(pods, what_it_may_use_changes_while_it_runs) {
  node_t *n = node_new();
  sandbox(n, "s1");
  container(n, "c0", "s1", "exit 1", ", 'resources': {'cpuQuota': 40000, 'cpuPeriod': 100000}");
  await(n, "c0", "\"exited\"");
  container(n, "c1", "s1", "sleep 1000", "");
  await(n, "c1", "\"running\"");
  must(n, "runtime.container.update",
       "{'id': 'c1', 'resources': {'cpuShares': 51, 'cpuQuota': 5000, 'cpuPeriod': 100000, 'memory': 67108864}, "
       "'pod': {'cpuShares': 51, 'cpuQuota': 5000, 'cpuPeriod': 100000, 'memory': 67108864}}");
  cr_expect(
      shell("cat /sys/fs/cgroup/memory/*/poduid-s1/c1/memory.limit_in_bytes /sys/fs/cgroup/*/poduid-s1/c1/memory.max "
            "2>/dev/null | grep -qx 67108864") == 0);
  cr_expect(shell("cat /sys/fs/cgroup/cpu/*/poduid-s1/c1/cpu.cfs_quota_us /sys/fs/cgroup/*/poduid-s1/c1/cpu.max "
                  "2>/dev/null | grep -qwx -e 5000 -e '5000 100000'") == 0);
  cr_expect(shell("cat /sys/fs/cgroup/cpu/*/poduid-s1/cpu.cfs_quota_us /sys/fs/cgroup/*/poduid-s1/cpu.max "
                  "2>/dev/null | grep -qwx -e 5000 -e '5000 100000'") == 0,
            "what ended holds the whole up");
  must(n, "runtime.container.remove", "{'id': 'c0'}");
  char *why = must_fail(n, 409, "runtime.container.update",
                        "{'id': 'c1', 'resources': {'cpuShares': 51, 'cpuPeriod': 100000, 'memory': 4096}}");
  cr_expect(strstr(why, "more than the new limit"), "%s", why);
  free(why);
  free(must_fail(n, 404, "runtime.container.update", "{'id': 'c2', 'resources': {}}"));
  stop_all(n, "s1", "c1");
  node_free(n);
}

Test(pods, mounts_and_statistics) {
  node_t *n = node_new();
  char more[256], path[128];
  sandbox(n, "s1");
  shell("mkdir %s/vol; echo host >%s/vol/f", n->dir, n->dir);
  snprintf(
      more, sizeof more,
      ", 'mounts': [{'hostPath': '%s/vol', 'path': '/vol'}, {'hostPath': '%s/vol', 'path': '/ro', 'readOnly': true}]",
      n->dir, n->dir);
  container(n, "c1", "s1", "cat /vol/f /ro/f; echo in >/vol/g; echo x >/ro/h || echo refused; sleep 100", more);
  nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
  snprintf(path, sizeof path, "%s/vol/g", n->dir);
  char *text = slurp(path);
  cr_expect_str_eq(text, "in\n");
  free(text);
  snprintf(path, sizeof path, "%s/logs/c1/0.log", n->dir);
  text = slurp(path);
  cr_expect(strstr(text, "F refused"), "%s", text);
  free(text);
  kg_msg_t *m = ask_good(n, "runtime.stats", "{}");
  kg_view_t c = kg_view_at(kg_view_get(kg_msg_args(m), "containers"), 0);
  cr_expect(kg_view_int(kg_view_get(c, "cpu_ns"), 0) > 0 && kg_view_int(kg_view_get(c, "memory_bytes"), 0) > 0);
  kg_msg_unref(m);
  stop_all(n, "s1", "c1");
  node_free(n);
}

/* Also where the mount lies deep: its path is longer than the runtime's own are. */
Test(pods, mounts_that_let_nothing_pass) {
  node_t *n = node_new();
  char deep[640], a[201];
  sandbox(n, "s1");
  memset(a, 'a', 200);
  a[200] = '\0';
  snprintf(deep, sizeof deep, "%s/%s/%s/%s", n->dir, a, a, a);
  cr_assert(shell("mkdir -p %s && mount -t tmpfs --make-private none %s && ln -s %s %s/short", deep, deep, deep,
                  n->dir) == 0);
  char *why = must_fail(n, 400, "runtime.container.create",
                        "{'id': 'c1', 'sandbox': 's1', 'name': 'c1', 'image': 'test/busybox', 'command': ['true'], "
                        "'logPath': '%s/logs/c1/0.log', 'mounts': [{'hostPath': '%s/short', 'path': '/m', "
                        "'propagation': 'Bidirectional'}]}",
                        n->dir, n->dir);
  cr_expect(strstr(why, "failed to generate container"), "%s", why);
  free(why);
  shell("umount %s", deep);
  stop_all(n, "s1", "c1");
  node_free(n);
}

Test(pods, what_is_refused) {
  node_t *n = node_new();
  sandbox(n, "s1");
  free(must_fail(n, 400, "runtime.sandbox.run", "{'id': '../x'}"));
  free(must_fail(n, 400, "runtime.container.create", "{'id': 'c1'}"));
  free(must_fail(n, 404, "runtime.container.create",
                 "{'id': 'c1', 'sandbox': 'none', 'name': 'c', 'image': 'test/busybox', 'logPath': '/x/y'}"));
  char *text = must_fail(n, 404, "runtime.container.create",
                         "{'id': 'c1', 'sandbox': 's1', 'name': 'c', 'image': 'none', 'logPath': '/x/y'}");
  cr_expect(strstr(text, "none"));
  free(text);
  free(must_fail(n, 404, "runtime.container.start", "{'id': 'c1'}"));
  must(n, "runtime.container.stop", "{'id': 'c1', 'grace_ms': 0}");
  must(n, "runtime.container.remove", "{'id': 'c1'}");
  must(n, "runtime.sandbox.stop", "{'id': 's1'}");
  must(n, "runtime.sandbox.remove", "{'id': 's1'}");
  node_free(n);
}

/* The start waits for runc's init; who takes the container away meanwhile is told so, and so is who started. */
Test(pods, a_start_of_what_is_dead) {
  node_t *n = node_new();
  sandbox(n, "s1");
  kg_msg_t *m =
      ask_good(n, "runtime.container.create",
               "{'id': 'c1', 'sandbox': 's1', 'name': 'c', 'image': 'test/busybox', 'command': ['sleep', '9'], "
               "'logPath': '%s/logs/c1/0.log'}",
               n->dir);
  kg_msg_unref(m);
  cr_assert(shell("kill -9 $(cat %s/data/runtime/containers/c1/pid)", n->dir) == 0);
  char *text = must_fail(n, 500, "runtime.container.start", "{'id': 'c1'}");
  cr_expect(strstr(text, "already dead") || strstr(text, "has stopped") || strstr(text, "has ended"), "%s", text);
  free(text);
  stop_all(n, "s1", "c1");
  node_free(n);
}
